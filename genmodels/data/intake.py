"""Own images before anything is trained on them: what is in a folder or a zip, what it becomes, and keeping it."""

import hashlib
import io
import os
import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from genmodels import demo
from genmodels.config import UserError
from genmodels.data import aligned, archives, cache, folders
from genmodels.data.dataset import Report
from genmodels.data.folders import File, Layout
from genmodels.data.pictures import UnreadableError, decode, fit, in_blocks
from genmodels.files import disk_errors

Given = str | Path | bytes | BinaryIO  # a folder's path, or a zip archive


@dataclass(frozen=True)
class Picture:
    """One readable image. width, height: upright, in pixels. digest: the same for the same size and pixels."""

    name: str
    label: int
    width: int
    height: int
    grey: bool
    digest: str


@dataclass(frozen=True)
class Intake:
    """What was found. unreadable: (name, reason) of images that cannot be used. ignored: files that are no images."""

    pictures: tuple[Picture, ...]
    classes: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    ignored: tuple[str, ...]

    @property
    def sizes(self) -> Counter[tuple[int, int]]:
        """How many images there are of each (width, height)."""
        return Counter((picture.width, picture.height) for picture in self.pictures)

    @property
    def per_class(self) -> dict[str, int]:
        """Readable images in each class; one line 'all images' without classes."""
        counts = Counter(picture.label for picture in self.pictures)
        return {name: counts[i] for i, name in enumerate(self.classes or ("all images",))}

    @cached_property
    def duplicates(self) -> list[tuple[Picture, ...]]:
        """Groups of images that are exactly the same."""
        groups: dict[str, list[Picture]] = {}
        for picture in self.pictures:
            groups.setdefault(picture.digest, []).append(picture)
        return [tuple(group) for group in groups.values() if len(group) > 1]

    @property
    def side_by_side(self) -> bool:
        """Whether each picture can be a pair: A|B."""
        return bool(self.pictures) and all(aligned.wide(each.width, each.height) for each in self.pictures)

    @property
    def partners(self) -> dict[str, int]:
        """The number of each picture's pair; empty where these are no pairs.

        Two folders are pairs where their files have the same names and they are called as the sides of pairs are (see
        `aligned.SIDES`): of two classes the files may well be numbered alike.
        """
        return self.same_names if aligned.are_sides(self.classes) else {}

    @cached_property
    def same_names(self) -> dict[str, int]:
        """Of two folders with the same names: the same number for both pictures of a name. Else empty."""
        lost = {aligned.stem(name) for name, _ in self.unreadable}
        whole = [(each, stem) for each in self.pictures if (stem := aligned.stem(each.name)) not in lost]
        sides = [sorted(stem for each, stem in whole if each.label == i) for i in range(len(self.classes))]
        if len(sides) != 2 or sides[0] != sides[1] or len(set(sides[0])) < len(sides[0]):
            return {}
        numbers = {stem: number for number, stem in enumerate(sides[0])}
        return {each.name: numbers[stem] for each, stem in whole}

    @property
    def problem(self) -> str | None:
        """Why nothing can be trained on this, or None."""
        few = len(self.pictures) < folders.MIN_IMAGES
        return folders.too_few(len(self.pictures)) if few else None

    @property
    def summary(self) -> str:
        """How many there are of what, in one sentence."""
        sides = [side for size in self.sizes for side in size] or [0]
        kinds = f" in {len(self.classes):,} classes" if self.classes else ""
        return (
            f"{len(self.pictures):,} images{kinds}, {min(sides):,} to {max(sides):,} pixels a side; "
            f"{len(self.unreadable):,} unreadable, {len(self.duplicates):,} found more than once, "
            f"{len(self.ignored):,} other files passed over."
        )

    @property
    def largest_classes(self) -> tuple[list[str], list[int]]:
        """Names and numbers of images of up to 40 classes, for a chart."""
        chosen = Counter(self.per_class).most_common(40)
        return [name for name, _ in chosen], [count for _, count in chosen]

    @property
    def balance(self) -> str:
        """How evenly the classes are filled."""
        counts = self.per_class.values()
        return f"{min(counts):,} to {max(counts):,} images in a class." if self.classes else "There are no classes."

    @property
    def sides(self) -> tuple[list[int], list[int]]:
        """Widths and heights of all readable images."""
        return [picture.width for picture in self.pictures], [picture.height for picture in self.pictures]

    @property
    def spread(self) -> str:
        """Which size is the most frequent."""
        if not self.pictures:
            return "There is nothing to measure."
        (width, height), count = self.sizes.most_common(1)[0]
        if count == len(self.pictures):
            return f"All are {width} x {height} pixels."
        most = f"{count:,} of {len(self.pictures):,} are {width} x {height} pixels"
        return f"{most}; there are {len(self.sizes):,} different sizes."

    @property
    def native(self) -> tuple[int, int]:
        """Image side and channels that suit these images: half of them are at least as large, up to 64 pixels."""
        shorts = [min(picture.width, picture.height) for picture in self.pictures]
        side = int(np.clip(np.median(shorts), 8, 64)) if shorts else 64
        return side, 1 if shorts and all(picture.grey for picture in self.pictures) else 3

    @property
    def becomes(self) -> str:
        """What happens to each image when it is kept and learned from."""
        square = "the middle square of each side" if self.side_by_side else "the middle square"
        copies = "Only whole pairs are kept." if self.partners else "Exact copies are left out."
        return f"Above as they are, below as a model sees them: {square}, resized. {copies}"

    @property
    def findings(self) -> list[dict[str, str]]:
        """A table of the files to look at: their names and what is the matter with them."""
        rows = [{"file": name, "what": f"unreadable: {reason}"} for name, reason in self.unreadable]
        for first, *others in self.duplicates:
            rows += [{"file": picture.name, "what": f"the same as {first.name}"} for picture in others]
        return rows + [{"file": name, "what": "no image, passed over"} for name in self.ignored]

    @property
    def remarks(self) -> list[str]:
        """Sentences about what a person may want to mend first."""
        counts, found = self.per_class, [self.problem] if self.problem else []
        if self.unreadable:
            found.append(f"Left out because they cannot be read: {len(self.unreadable):,}.")
        if self.duplicates:
            extra = sum(len(group) - 1 for group in self.duplicates)
            found.append(f"Exact copies of other images: {extra:,}; a copy in the test set flatters a model.")
        if any(len({picture.label for picture in group}) > 1 for group in self.duplicates):
            found.append("The same image lies in more than one class.")
        if counts and min(counts.values()) == 0:
            found.append("A class has no readable image.")
        elif counts and max(counts.values()) > 10 * min(counts.values()):
            found.append("The largest class has more than ten times the images of the smallest.")
        if self.side_by_side or self.partners:
            found.append(
                "These look like pairs: kept, they can be learned from as pairs too, from one side to the other."
            )
        elif self.same_names:
            found.append(
                "Both folders hold files of the same names, and are two classes: if these are pairs, call the folders "
                "'input' and 'target'."
            )
        elif any(max(size) > 2 * min(size) for size in self.sizes):
            found.append("Some images are more than twice as long as wide: only their middle square is used.")
        return found


class Shown(NamedTuple):
    """One image before, uint8 (H, W) or (H, W, 3) with a short side of at most 256, and after, uint8 (C, S, S)."""

    name: str
    before: np.ndarray
    after: np.ndarray


@contextmanager
def _opened(given: Given) -> Iterator[list[File]]:
    if isinstance(given, str | Path):
        yield folders.listing(folders.path_of(f"{folders.PREFIX}{Path(given).expanduser().absolute()}"))
    else:
        yield archives.entries(io.BytesIO(given) if isinstance(given, bytes) else given)


def fingerprint(folder: str) -> str:
    """Changes when any file in the folder does; a UserError when there is no such folder."""
    return folders.Folder(folders.path_of(f"{folders.PREFIX}{Path(folder).expanduser().absolute()}")).key()


def _inspect(item: tuple[File, int]) -> Picture | tuple[str, str]:
    file, label = item
    try:
        image, (width, height) = decode(file.read())
    except UnreadableError as reason:
        return file.name, str(reason)
    digest = hashlib.sha256(f"{width} {height} {image.mode}".encode() + image.tobytes()).hexdigest()
    return Picture(file.name, label, width, height, image.mode == "L", digest)


def examine(given: Given, report: Report | None = None) -> Intake:
    """Look at every file of a folder or a zip archive without writing anything.

    Raises a UserError when there is no such folder, no image, a mixed-up folder, or an archive that is refused.
    """
    with _opened(given) as files:
        found = folders.layout(files)
        pictures: list[Picture] = []
        unreadable = list(found.refused)
        for block in in_blocks(_inspect, found.pictures):
            pictures += [item for item in block if isinstance(item, Picture)]
            unreadable += [item for item in block if not isinstance(item, Picture)]
            done = len(pictures) + len(unreadable) - len(found.refused)
            if report:
                report(done / len(found.pictures), f"Looked at {done:,} of {len(found.pictures):,} images")
    return Intake(tuple(pictures), found.classes, tuple(sorted(unreadable)), found.ignored)


def preview(given: Given, intake: Intake, size: int, channels: int, count: int = 8) -> list[Shown]:
    """What some images, spread over all, become."""
    last = len(intake.pictures) - 1
    places = sorted({round(last * i / max(1, count - 1)) for i in range(count)}) if intake.pictures else []
    with _opened(given) as files:
        by_name = {file.name: file for file in files}
        shown = []
        for picture in (intake.pictures[i] for i in places):
            try:
                image = decode(by_name[picture.name].read())[0]
            except (UnreadableError, KeyError):
                continue  # gone or changed since it was examined
            parts = aligned.cut(image) if intake.side_by_side else (image,)
            after = np.concatenate([fit(part, size, channels) for part in parts], 2)
            shown.append(Shown(picture.name, np.asarray(image), after))
    return shown


def suggested(given: Given) -> str:
    """A title to begin with: the name of the folder or of the uploaded file."""
    name = given if isinstance(given, str | Path) else getattr(given, "name", "")
    return re.sub(r"[^\w-]+", "-", Path(str(name)).stem).strip("-_").lower()[:40] or "my-images"


def slug(title: str) -> str:
    """The name under which a dataset called `title` is kept; a UserError when nothing is left of it."""
    name = re.sub(r"[^\w-]+", "-", title).strip("-_").lower()[:40]
    if not name:
        raise UserError("The dataset needs a name of letters or digits: type one.")
    return name


def keep(given: Given, intake: Intake, title: str, copies: bool = True, report: Report | None = None) -> str:
    """Copy the readable images, shrunk to what training can use, into home()/own and return the dataset's name.

    They are written as PNG under names of our own, the same for both of a pair. copies: also exact duplicates, except
    that of two folders of pairs whole pairs are kept, and nothing else. Raises a UserError when the name is
    taken, there are too few images, or the disk is full; then nothing is left behind.
    """
    if intake.problem:
        raise UserError(intake.problem)
    _check_quotas(given)
    name, own = slug(title), folders.own_home()
    taken = UserError(f"There is already a dataset '{name}': choose another name, or delete that one first.")
    if name in (folders.without_mark(each.removeprefix(folders.PREFIX)) for each in own_datasets()):
        raise taken
    name += folders.mark()
    left_out = set() if copies else {picture.name for group in intake.duplicates for picture in group[1:]}
    everything = {picture.name: number for number, picture in enumerate(intake.pictures)}
    numbers = intake.partners or {name: number for name, number in everything.items() if name not in left_out}
    with disk_errors("your images"), _opened(given) as files:
        own.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=own, prefix=".new-", ignore_cleanup_errors=True) as part:
            _write(folders.layout(files), numbers, Path(part) / "images", report)
            try:
                os.rename(Path(part) / "images", own / name)
            except OSError:
                if (own / name).exists():
                    raise taken from None
                raise
    return f"{'pairs:' if intake.partners or intake.side_by_side else folders.PREFIX}{name}"


def _check_quotas(given: Given) -> None:
    """Raises a UserError where a visitor of a demo may not keep this archive too."""
    if demo.on():
        size = len(given) if isinstance(given, bytes) else given.seek(0, 2) if not isinstance(given, str | Path) else 0
        demo.check_upload(size)
        demo.check_count("datasets", len(own_datasets()))
        demo.room(size)


def _write(found: Layout, numbers: Mapping[str, int], folder: Path, report: Report | None) -> None:
    places = [folder / name for name in _safe_names(found.classes)] or [folder]
    for place in places:
        place.mkdir(parents=True)
    items = [(numbers[file.name], file, label) for file, label in found.pictures if file.name in numbers]

    def write(item: tuple[int, File, int]) -> int:
        i, file, label = item
        try:
            image = decode(file.read())[0]
        except UnreadableError:
            return 0  # changed since it was examined
        image.save(places[label] / f"{i:06d}.png", compress_level=3)
        return 1

    done = 0
    for block in in_blocks(write, items):
        done += sum(block)
        if report:
            report(done / len(items), f"Kept {done:,} of {len(items):,} images")
    if done < folders.MIN_IMAGES:
        raise UserError(folders.too_few(done))


def _safe_names(classes: Sequence[str]) -> list[str]:
    """Folder names without anything a file system or a reader could stumble over, still all different."""
    names: list[str] = []
    for name in classes:
        safe = re.sub(r"[^\w -]+", "_", name).strip(" _")[:50] or "class"
        taken = {other.casefold() for other in names}
        number = 2
        unique = safe
        while unique.casefold() in taken:
            unique, number = f"{safe} {number}", number + 1
        names.append(unique)
    return names


def own_datasets() -> list[str]:
    """The names of all kept datasets."""
    own = folders.own_home()
    kept = own.iterdir() if own.is_dir() else ()
    return sorted(f"{folders.PREFIX}{path.name}" for path in kept if path.is_dir() and not path.name.startswith("."))


def _as_folder(name: str) -> str:
    head, _, rest = name.partition(":")
    return f"{folders.PREFIX}{rest}" if head in aligned.HEADS else name


def is_kept(name: str) -> bool:
    """Whether this is a kept dataset, as images or as pairs."""
    return _as_folder(name) in own_datasets()


def own_pairs() -> list[str]:
    """Kept datasets that can be learned as pairs: 'pairs:NAME'."""
    return [
        f"pairs:{name.removeprefix(folders.PREFIX)}"
        for name in own_datasets()
        if aligned.is_pairs(folders.path_of(name))
    ]


def own_classes() -> list[str]:
    """The classes of kept datasets, each as a dataset of its own: 'folder:NAME/CLASS'."""
    found = [path for name in own_datasets() for path in sorted(folders.path_of(name).iterdir()) if path.is_dir()]
    return [f"{folders.PREFIX}{path.parent.name}/{path.name}" for path in found]


def delete(name: str) -> None:
    """Remove a kept dataset and what was prepared from it. A UserError for anything that is not in home()/own."""
    if not is_kept(name):
        raise UserError(f"'{folders.plain(name)}' is not a kept dataset, so it is not deleted.")
    path = folders.path_of(_as_folder(name))
    made = [folders.Folder(each).cache_prefix() for each in (path, *filter(Path.is_dir, path.iterdir()))]
    with disk_errors("the list of datasets"), tempfile.TemporaryDirectory(dir=path.parent, prefix=".old-") as aside:
        os.rename(path, Path(aside) / "images")  # at once, so that no half of it is ever loaded
    for prefix in made:
        cache.forget(prefix)
