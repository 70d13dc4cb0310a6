"""Pairs and domains, made of other datasets: what a family that translates learns from.

`edges:BASE` and its like make the input of each image; `inverted:BASE` and its like make another domain whose true
partners are known; `domains:BASE+BASE` are two datasets without partners; `pairs:PATH` are pairs of one's own.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import NamedTuple

import numpy as np

from genmodels.config import UserError
from genmodels.data.cache import Prepared
from genmodels.data.dataset import PARTS, Block, Dataset, Entry, Pairing, Report, Source, Store
from genmodels.data.folders import PREFIX, path_of, plain

DOMAINS = "domains:"
GOLDEN = (5**0.5 - 1) / 2  # steps of this share of the colour wheel never come near a colour they have been at
LUMA = np.array([0.299, 0.587, 0.114], np.float32)[:, None, None]  # ITU-R 601, as when a picture is read as grey
EDGE, NOISE = 0.25, 16  # an edge: a step of this share of the image's largest one, and of more than this of 255
BLOCK = 4096  # images changed at a time


class Recipe(NamedTuple):
    """How a dataset is changed. title: with {} for the dataset's. change: uint8 (n, C, H, W), number of the first."""

    title: str
    task: str  # what is learned, in a few words
    pairing: Pairing
    change: Callable[[np.ndarray, int], np.ndarray]
    colour: bool = False  # needs three channels


def _cross(images: np.ndarray) -> list[np.ndarray]:
    """Each pixel and its four neighbours; beyond the border lies what is at the border."""
    height, width = images.shape[2:]
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), "edge")
    return [padded[:, :, y : y + height, x : x + width] for y, x in ((1, 1), (0, 1), (2, 1), (1, 0), (1, 2))]


def edges(images: np.ndarray, first: int = 0) -> np.ndarray:
    """White lines on black, on the brighter side of each edge: where the image minus its erosion is large.

    The half-gradient by erosion: Rivest, Soille and Beucher 1993, "Morphological gradients".
    """
    steps = (images - reduce(np.minimum, _cross(images))).max(1, keepdims=True)
    least = np.maximum(NOISE, EDGE * steps.max((2, 3), keepdims=True))
    return np.broadcast_to(np.where(steps > least, np.uint8(255), np.uint8(0)), images.shape)


def grey(images: np.ndarray, first: int = 0) -> np.ndarray:
    """Brightness alone, in three channels."""
    return np.broadcast_to(np.rint((images * LUMA).sum(1, keepdims=True)).astype(np.uint8), images.shape)


def half(images: np.ndarray, first: int = 0) -> np.ndarray:
    """The right half black."""
    kept = images.copy()
    kept[..., images.shape[3] // 2 :] = 0
    return kept


def small(images: np.ndarray, first: int = 0) -> np.ndarray:
    """Squares of 4x4 pixels, each of its mean; at the right and lower border narrower ones where 4 does not divide."""
    height, width = images.shape[2:]
    down, across = np.arange(0, height, 4), np.arange(0, width, 4)
    sums = np.add.reduceat(np.add.reduceat(images, down, 2, dtype=np.uint32), across, 3)
    tall, wide = np.diff(down, append=height), np.diff(across, append=width)
    means = np.rint(sums / np.outer(tall, wide)).astype(np.uint8)
    return means.repeat(tall, 2).repeat(wide, 3)


def inverted(images: np.ndarray, first: int = 0) -> np.ndarray:
    """The negative."""
    return 255 - images


def coloured(images: np.ndarray, first: int = 0) -> np.ndarray:
    """Brightness in one full colour, whose hue is given by the number of the image."""
    hue = (GOLDEN * (first + np.arange(len(images))) % 1)[:, None] * 6
    paint = np.clip(np.abs((hue + np.array([0, 4, 2])) % 6 - 3) - 1, 0, 1).astype(np.float32)
    return np.rint(grey(images) * paint[:, :, None, None]).astype(np.uint8)


def thickened(images: np.ndarray, first: int = 0) -> np.ndarray:
    """Bright lines one pixel wider on each side: grey dilation by a cross of 3x3."""
    return reduce(np.maximum, _cross(images))


def rotated(images: np.ndarray, first: int = 0) -> np.ndarray:
    """A quarter turn against the clock."""
    return np.rot90(images, axes=(2, 3))


RECIPES: dict[str, Recipe] = {
    "edges": Recipe("Edges of {}", "edges to picture", "pairs", edges),
    "grey": Recipe("{} from grey", "grey to colour", "pairs", grey, colour=True),
    "half": Recipe("Halves of {}", "half to whole", "pairs", half),
    "small": Recipe("Small {}", "small to large", "pairs", small),
    "inverted": Recipe("Inverted {}", "inverted", "styled", inverted),
    "coloured": Recipe("Coloured {}", "coloured", "styled", coloured, colour=True),
    "thickened": Recipe("Thickened {}", "thickened", "styled", thickened),
    "rotated": Recipe("Rotated {}", "rotated by a quarter turn", "styled", rotated),
}


def recipe(name: str, channels: int) -> Recipe | None:
    """The recipe that a name begins with, if any; a UserError where it needs colour and there is none."""
    found = RECIPES.get(name.partition(":")[0]) if ":" in name else None
    if found and found.colour and channels == 1:
        raise UserError(f"{_said(name)} needs images in colour, not grey ones: ask for 3 channels.")
    return found


def bases(name: str, registered: Collection[str]) -> tuple[str, ...]:
    """The datasets that a name is made of; itself when it is not made of others.

    A path may hold + and :, so domains are parted at the first + at which both sides are datasets.
    """
    head, _, rest = name.partition(":")
    if head in RECIPES:
        _check_base(rest, name)
        return (rest,)
    if not name.startswith(DOMAINS):
        return (name,)
    both = parted(rest, registered)
    if len(both) == 1:
        raise UserError(f"{_said(name)} names one domain: write domains:ONE+OTHER, two datasets with + between them.")
    for each in both:
        _check_base(each, name)
    if both[0] == both[1]:
        raise UserError(f"Both domains are {_said(both[0])}: choose two different datasets.")
    return both


def parted(rest: str, registered: Collection[str]) -> tuple[str, ...]:
    """'ONE+OTHER' parted at the first + at which both sides are datasets; as it is without a +."""
    ways: list[tuple[str, ...]] = [(rest[:i], rest[i + 1 :]) for i, letter in enumerate(rest) if letter == "+"]
    known = [both for both in ways if all(each in registered or each.startswith(PREFIX) for each in both)]
    there = [both for both in known if all(each in registered or _is_folder(each) for each in both)]
    return (there or known or ways or [(rest,)])[0]


def _said(name: str) -> str:
    return "'" + ":".join(map(plain, name.split(":"))) + "'"


def _is_folder(name: str) -> bool:
    try:
        return path_of(name).is_dir()
    except UserError:
        return False


def _check_base(base: str, name: str) -> None:
    if ":" in base and not base.startswith(PREFIX):
        raise UserError(
            f"{_said(name)} is made of {_said(base)}, which is made itself: use a plain dataset or folder:PATH."
        )


def entry(name: str, made_of: list[Entry]) -> Entry:
    """The registry entry of a recipe, with the store of its base, or of two domains."""
    first = made_of[0]
    if name.startswith(DOMAINS):
        title, sizes = " and ".join(each.title for each in made_of), [each.size for each in made_of]
        missing = [each.megabytes for each in made_of if each.megabytes and not each.store.present()]
        return Entry(
            title,
            f"Two domains without partners: {title}.",
            min(sizes),
            max(each.channels for each in made_of),
            made_of[1].classes,
            sum(missing) or None,
            Both(tuple(each.store for each in made_of)),
        )
    found = RECIPES[name.partition(":")[0]]
    title = found.title.format(first.title)
    what = "Pairs" if found.pairing == "pairs" else "Two domains whose partners are known"
    channels = 3 if name.startswith("coloured:") else first.channels
    return replace(first, title=title, description=f"{what}, made of {first.title}: {found.task}.", channels=channels)


@dataclass(frozen=True)
class Both:
    """The Store of two domains: all it can do is fetch them, each is read by itself."""

    stores: tuple[Store, ...]

    def present(self) -> bool:
        """Both are."""
        return all(store.present() for store in self.stores)

    def download(self, report: Report) -> None:
        """Those that are not here."""
        for store in self.stores:
            if not store.present():
                store.download(report)

    def open(self, size: int, channels: int) -> Source:
        """Never: see data.load."""
        raise NotImplementedError


def alike(name: str, both: Sequence[Entry], size: int | None, channels: int | None) -> None:
    """A UserError when two domains differ in what is not asked for."""
    for what, asked, each in (
        ("pixels a side", size, [one.size for one in both]),
        ("channels", channels, [one.channels for one in both]),
    ):
        if asked is None and each[0] != each[1]:
            raise UserError(
                f"The domains of {_said(name)} have {each[0]} and {each[1]} {what}: say what both are brought to."
            )


def changed(base: Prepared, recipe: Recipe) -> Source:
    """The images of `base`, in its order, by a recipe."""

    def blocks() -> Iterator[Block]:
        for first in range(0, len(base.images), BLOCK):
            rows = slice(first, first + BLOCK)
            yield recipe.change(base.images[rows], first), base.labels[rows], base.factors[rows]

    return Source(len(base.images), base.classes, blocks(), base.official, base.factor_names)


def with_sources(base: Dataset, made: np.ndarray, kind: Pairing) -> Dataset:
    """A dataset and what a recipe made of its images, in the same order: which of them is the input, the kind says."""
    if kind == "styled":
        return _halves(base, made)
    return replace(base, sources=made, source_labels=base.labels, pairing=kind)


def _halves(base: Dataset, images: np.ndarray) -> Dataset:
    """`images`, the styled version of each of `base`: in training of one half of them, with the other half as sources.

    In the other parts row i of both is the same image. Only the half that moves comes into memory, and only here.
    """
    train, validation, test = base.sizes
    half = train // 2
    labels, factors = base.labels.copy(), base.factors.copy()
    for array in (images, labels, factors):
        array[train - half : train] = array[:half]
    rows = slice(train - half, None)
    return replace(
        base,
        images=images[rows],
        labels=labels[rows],
        factors=factors[rows],
        sizes=(half, validation, test),
        sources=base.images[rows],
        source_labels=base.labels[rows],
        pairing="styled",
    )


def joined(name: str, theirs: Dataset, ours: Dataset) -> Dataset:
    """Two datasets as domains; in each part the one with fewer images goes round."""
    train, validation, test = map(max, theirs.sizes, ours.sizes)
    sizes = (train, validation, test)

    def rows(one: Dataset) -> np.ndarray | slice:
        if one.sizes == sizes:
            return slice(None)
        return np.concatenate(
            [one.span(part).start + np.arange(sizes[i]) % one.sizes[i] for i, part in enumerate(PARTS)]
        )

    of_theirs, of_ours = rows(theirs), rows(ours)
    return Dataset(
        name,
        ours.images[of_ours],
        ours.labels[of_ours],
        ours.classes,
        sizes,
        ours.factors[of_ours],
        ours.factor_names,
        theirs.images[of_theirs],
        theirs.labels[of_theirs],
        "domains",
    )
