"""What every dataset is: an Entry in the registry, a Source while it is read, a Dataset once it is in memory."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np

from genmodels.data.pictures import fit_all

Part = Literal["train", "validation", "test"]
PARTS: tuple[Part, ...] = ("train", "validation", "test")
Pairing = Literal["none", "pairs", "styled", "domains"]
Report = Callable[[float, str], object]  # share done in [0, 1], and what is being done
# images uint8 (n, C, H, W), labels int64 (n,), factors float32 (n, F)
Block = tuple[np.ndarray, np.ndarray, np.ndarray]

VALIDATION = 5_000  # images held back for validation where only a test set is official


@dataclass(frozen=True)
class Dataset:
    """Images with labels, ordered train, then validation, then test.

    images: uint8 (N, C, H, W), memory-mapped when large. labels: int64 (N,), all zero when there are no classes.
    factors: float32 (N, F), the true factors or attributes, one named column each; F may be 0.

    sources: like images, what is translated into them, with source_labels. pairing: "pairs" when row i of both belongs
    together; "styled" when it does in validation and test, while in training they are made of different images;
    "domains" when it never does; "none" without sources.
    """

    name: str
    images: np.ndarray
    labels: np.ndarray
    classes: tuple[str, ...]
    sizes: tuple[int, int, int]  # images in train, validation, test
    factors: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    factor_names: tuple[str, ...] = ()
    sources: np.ndarray | None = None
    source_labels: np.ndarray | None = None
    pairing: Pairing = "none"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of one image."""
        channels, height, width = self.images.shape[1:]
        return channels, height, width

    def span(self, part: Part) -> slice:
        """Where a part lies in `images`, `labels` and `factors`."""
        first = {"train": 0, "validation": self.sizes[0], "test": self.sizes[0] + self.sizes[1]}[part]
        size = self.sizes[PARTS.index(part)]
        return slice(first, first + size)

    @property
    def summary(self) -> str:
        """How many images there are of each part, and what is known of each."""
        train, validation, test = self.sizes
        known = f" Known of each: {', '.join(self.factor_names)}." if self.factor_names else ""
        return f"{train:,} images to train on, {validation:,} for validation, {test:,} for test.{known}"

    def counts(self, part: Part) -> dict[str, int]:
        """Images of a part in each class; empty without classes."""
        found = np.bincount(self.labels[self.span(part)], minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, found, strict=False))

    def examples(self, part: Part, count: int, page: int = 0) -> list[tuple[str, np.ndarray]]:
        """For each class that the part has: its name and `count` images uint8 (n, C, H, W), others on each page.

        Without classes it is one group without a name, of six times as many.
        """
        first = self.span(part).start
        labels, groups = self.labels[self.span(part)], []
        for i, name in enumerate(self.classes or ("",)):
            chosen = np.flatnonzero(labels == i)
            wanted = min(len(chosen), count if self.classes else 6 * count)
            chosen = np.sort(np.roll(chosen, -wanted * page)[:wanted])
            if wanted:
                groups.append((name, np.ascontiguousarray(self.images[first + chosen])))
        return groups

    def couples(self, part: Part, count: int, page: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """`count` sources and the images beside them, uint8 (n, C, H, W), spread over a part, others on each page."""
        size = self.sizes[PARTS.index(part)]
        rows = (np.linspace(0, size, min(count, size), endpoint=False).astype(int) + page) % size
        rows = rows + self.span(part).start
        return np.ascontiguousarray(self.sources[rows]), np.ascontiguousarray(self.images[rows])  # type: ignore[index]


@dataclass(frozen=True)
class Source:
    """A dataset while it is read, before the split.

    count: images at most (unreadable ones are left out). official: how many images at the end, in this order, are the
    official validation and test sets; (0, n) when only the test set is official, None when there is neither.
    """

    count: int
    classes: tuple[str, ...]
    blocks: Iterable[Block]
    official: tuple[int, int] | None = None
    factor_names: tuple[str, ...] = ()


class Store(Protocol):
    """Where a dataset comes from."""

    def present(self) -> bool:
        """Whether it can be read without the network."""

    def download(self, report: Report) -> None:
        """Fetch it into data_home(), or raise a UserError."""

    def open(self, size: int, channels: int) -> Source:
        """Begin to read it as square images of `size` pixels; UserError when its files are damaged."""


@dataclass(frozen=True)
class Entry:
    """One line of the registry. size, channels: its native form. megabytes: of the download, None without one."""

    title: str
    description: str
    size: int
    channels: int
    classes: tuple[str, ...]
    megabytes: int | None
    store: Store


@dataclass(frozen=True)
class Offline:
    """A Store that needs nothing but the installed packages."""

    opener: Callable[[int, int], Source]

    def present(self) -> bool:
        """Always."""
        return True

    def download(self, report: Report) -> None:
        """Nothing to fetch."""
        report(1.0, "No download is needed.")

    def open(self, size: int, channels: int) -> Source:
        """See Store.open."""
        return self.opener(size, channels)


def split(count: int, official: tuple[int, int] | None, seed: int) -> tuple[tuple[int, int, int], np.ndarray]:
    """Sizes of train, validation and test, and which image goes to each of the `count` places.

    Official sets stay where they are, at the end. What is left to choose (about a tenth each for validation and test,
    or 5,000 for validation beside an official test set) is drawn by `seed` and swapped into the last places before
    them: of a memory-mapped array only the rows that move come into memory.
    """
    validation, test = official or (0, 0)
    free = count - validation - test
    if official is None:
        validation = test = max(1, round(count / 10))
        free, drawn = count, 2 * validation
    else:
        drawn = 0 if validation else min(VALIDATION, free // 10)
        validation = validation or drawn
    order = np.arange(count)
    chosen = np.random.default_rng(seed).choice(free, drawn, replace=False)
    places = np.arange(free - drawn, free)
    order[np.setdiff1d(chosen, places)] = np.setdiff1d(places, chosen)
    order[places] = chosen
    return (count - validation - test, validation, test), order


def array_blocks(
    images: np.ndarray, labels: np.ndarray, size: int, channels: int, factors: np.ndarray | None = None
) -> Iterator[Block]:
    """Blocks of `images`, uint8 (N, H, W) or (N, H, W, 3), resized to `size` and converted to `channels`."""
    factors = np.zeros((len(images), 0), np.float32) if factors is None else factors
    for first in range(0, len(images), 4096):
        rows = slice(first, first + 4096)
        yield fit_all(images[rows], size, channels), labels[rows].astype(np.int64), factors[rows]
