"""Pairs of one's own in a folder: A|B side by side in one picture, or two sub-folders whose files match by name.

`pairs:PATH` learns from left to right, or from the sub-folder that comes first by name to the other; `pairs-back:PATH`
the other way round. Pictures side by side may lie in `train` with `val`, `validation` or `test` beside it: then that is
the split, and the last of them is the test set. If there is only one, validation images are held back from training.
What is held back and lies in `train` as well is left out: it would be no test.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image

from genmodels.config import UserError
from genmodels.data import folders
from genmodels.data.dataset import Block, Dataset, Entry, Source
from genmodels.data.folders import File, plain
from genmodels.data.pictures import UnreadableError, decode, fit, in_blocks

HEADS = ("pairs", "pairs-back")
HELD_BACK = ("val", "validation", "test")  # sub-folders, in the order of the parts
# What two sub-folders are called that are the sides of pairs, and not two classes with files of the same names.
SIDES = (
    {"a", "b"}, {"x", "y"}, {"traina", "trainb"}, {"left", "right"}, {"in", "out"}, {"input", "output"},
    {"input", "target"}, {"inputs", "targets"}, {"source", "target"}, {"before", "after"}, {"photo", "drawing"},
)  # fmt: skip
Result = TypeVar("Result")
Pair = tuple[File, ...]  # one picture side by side, or two


class Found(NamedTuple):
    """The pairs of each part: of all, where there is no split. names: of the two sub-folders, if any."""

    parts: list[list[Pair]]
    names: tuple[str, ...] = ()


def sort_out(files: Sequence[File]) -> Found:
    """Which files are pairs. A UserError when that cannot be told, or when names do not match."""
    found = folders.layout(files)
    groups: dict[str, list[File]] = {name: [] for name in found.classes or ("",)}
    for file, label in folders.in_order(found):
        groups[found.classes[label] if found.classes else ""].append(file)
    if len(groups) == 1 or ("train" in groups and groups.keys() <= {"train", *HELD_BACK}):
        return Found([[(file,) for file in groups[name]] for name in ("", "train", *HELD_BACK) if name in groups])
    if groups.keys() <= {*HELD_BACK}:
        named = " and ".join(f"'{name}'" for name in groups)
        raise UserError(f"There is {named} and no 'train' beside: put the pairs to learn from into a folder 'train'.")
    if len(groups) == 2:
        return Found([_matched(groups)], tuple(groups))
    raise UserError(
        f"{len(groups):,} sub-folders are not pairs: put pictures A|B side by side into one folder, "
        "or the two sides into two sub-folders under the same names."
    )


def are_sides(names: Sequence[str]) -> bool:
    """Whether two sub-folders are called as the sides of pairs are."""
    return {name.casefold() for name in names} in SIDES


def _unseen(parts: list[list[Pair]]) -> list[list[Pair]]:
    """The parts, without what a part before has already."""
    seen: set[bytes] = set()
    kept = []
    for part in parts if len(parts) > 1 else ():
        digests = [each for block in in_blocks(_digest, part) for each in block]
        kept.append([pair for pair, digest in zip(part, digests, strict=True) if digest not in seen])
        seen.update(digests)
    return kept or parts


def _digest(pair: Pair) -> bytes:
    return hashlib.sha256(b"".join(_checked(file, bytes) for file in pair)).digest()


def stem(name: str) -> str:
    """By what two files of a pair know each other: the name without folder and ending."""
    return os.path.splitext(name.rsplit("/", 1)[-1])[0]


def _matched(groups: dict[str, list[File]]) -> list[Pair]:
    for name, group in groups.items():
        (often, count), *_ = Counter(stem(file.name) for file in group).most_common(1)
        if count > 1:
            raise UserError(
                f"In '{plain(name)}' there are {count:,} files called '{plain(often)}', so it is not known which is of "
                "the pair: remove or rename all but one."
            )
    (left, lefts), (right, rights) = (
        (name, {stem(file.name): file for file in group}) for name, group in groups.items()
    )
    if lone := sorted(lefts.keys() ^ rights.keys()):
        some = ", ".join(f"'{plain(name)}'" for name in lone[:3]) + (" and others" if len(lone) > 3 else "")
        raise UserError(
            f"The names in '{plain(left)}' and '{plain(right)}' do not match: {some} lies in only one of them. "
            "Give both sides of a pair the same name."
        )
    return [(file, rights[each]) for each, file in lefts.items()]


def _checked(file: File, read: Callable[[bytes], Result]) -> Result:
    """What `read` makes of a file, or a UserError: a pair without one side is none, so nothing is passed over."""
    try:
        return read(file.read())
    except UnreadableError as reason:
        raise UserError(f"'{plain(file.name)}' cannot be read ({reason}): mend it or remove the pair.") from None


def sides(pair: Pair) -> tuple[Image.Image, ...]:
    """Left and right. A UserError when a picture cannot be read, or is no two squares or wider images in one."""
    read = [_checked(file, decode) for file in pair]
    if len(read) == 2:
        return read[0][0], read[1][0]
    image, (width, height) = read[0]
    if not wide(width, height):
        raise UserError(
            f"'{plain(pair[0].name)}' has {width:,} x {height:,} pixels: a pair side by side, A|B, is at least twice "
            "as wide as high."
        )
    return cut(image)


def wide(width: int, height: int) -> bool:
    """Whether a picture can be two side by side: each half is a square or wider."""
    return width >= 2 * height


def cut(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """The left and the right half."""
    middle = image.width // 2
    return image.crop((0, 0, middle, image.height)), image.crop((middle, 0, 2 * middle, image.height))


@dataclass(frozen=True)
class Aligned(folders.Folder):
    """The Store of a folder of pairs; its images have both sides, left then right, as channels."""

    back: bool = False

    def open(self, size: int, channels: int) -> Source:
        """A UserError when a pair is not one, or there are fewer than 10."""
        parts = _unseen(sort_out(folders.listing(self.path)).parts)
        pairs, sizes = [pair for part in parts for pair in part], [len(part) for part in parts]
        if len(parts[0]) < folders.MIN_IMAGES or 0 in sizes:
            raise UserError(folders.too_few(min(sizes)))
        official = (sum(sizes[1:-1]), sizes[-1]) if len(sizes) > 1 else None
        return Source(len(pairs), (), _blocks(pairs, size, channels), official)

    def parted(self, both: Dataset) -> Dataset:
        """Sources and images, of a dataset that has them as channels."""
        left, right = np.split(both.images, 2, axis=1)
        images, sources = (left, right) if self.back else (right, left)
        return replace(both, images=images, sources=sources, source_labels=both.labels, pairing="pairs")


def _blocks(pairs: Sequence[Pair], size: int, channels: int) -> Iterator[Block]:
    def one(pair: Pair) -> np.ndarray:
        return np.concatenate([fit(side, size, channels) for side in sides(pair)])

    for block in in_blocks(one, pairs):
        yield np.stack(block), np.zeros(len(block), np.int64), np.zeros((len(block), 0), np.float32)


def _path(name: str) -> Path:
    return folders.path_of(folders.PREFIX + name.partition(":")[2])


def _way(name: str, found: Found) -> str:
    first, second = found.names or ("left", "right")
    return f"{second} to {first}" if name.startswith("pairs-back:") else f"{first} to {second}"


def way(name: str) -> str:
    """What is learned from 'pairs:PATH' or 'pairs-back:PATH': 'Left to right'. Raises a UserError."""
    words = _way(name, sort_out(folders.listing(_path(name))))
    return words[0].upper() + words[1:]


def entry(name: str) -> Entry:
    """The registry entry of 'pairs:PATH' or 'pairs-back:PATH'. Its native form is guessed from up to 16 pictures."""
    path = _path(name)
    found = sort_out(folders.listing(path))
    some = [side for pair in found.parts[0][:16] for side in sides(pair)]
    size = int(np.clip(np.median([min(side.size) for side in some]), 8, 64))
    channels = 1 if all(side.mode == "L" for side in some) else 3
    text = f"{sum(map(len, found.parts)):,} own pairs from {path.name}: {_way(name, found)}"
    title = f"{path.name}, {_way(name, found)}"
    return Entry(title, text, size, channels, (), None, Aligned(path, name.startswith("pairs-back:")))


def is_pairs(path: Path) -> bool:
    """Whether a folder of one's own can be learned as pairs, as far as names and one picture tell."""
    try:
        found = sort_out(folders.listing(path))
        return bool(sides(found.parts[0][0]))
    except UserError:
        return False
