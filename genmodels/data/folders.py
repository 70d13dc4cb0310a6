"""Own images in a folder: what is in it, and the Store that reads it. Sub-folders are classes; links stay closed."""

import hashlib
import os
import re
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genmodels.config import UserError
from genmodels.data import cache
from genmodels.data.dataset import Block, Entry, Report, Source
from genmodels.data.pictures import UnreadableError, decode, fit, in_blocks
from genmodels.files import demo, home

PREFIX = "folder:"
ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp")
# Pictures, but not of a kind that is read: to be named as such rather than passed over.
OTHER_PICTURES = (".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".svg", ".psd", ".ico", ".dng", ".raw", ".jp2")
MAX_FILES, MAX_CLASSES, MIN_IMAGES = 200_000, 1_000, 10
MAX_BYTES = 64 * 2**20  # of one file


@dataclass(frozen=True)
class File:
    """One file of a folder or an archive. name: with / between its parts. read: its bytes, or an UnreadableError."""

    name: str
    read: Callable[[], bytes]
    stamp: str = ""  # changes when the file does


@dataclass(frozen=True)
class Layout:
    """Files sorted out: pictures with their class, what has the wrong format, and how many are no pictures at all."""

    pictures: tuple[tuple[File, int], ...]
    classes: tuple[str, ...]
    refused: tuple[tuple[str, str], ...]  # name, reason
    ignored: tuple[str, ...]


def plain(name: str) -> str:
    """A file name from a stranger, fit for a sentence: short, and with nothing that Markdown or HTML would act on."""
    return re.sub(r"[^\w .,()/@+-]", "?", name)[-60:] or "?"


def own_home() -> Path:
    """Where kept datasets live, one folder each."""
    return home() / "own"


def mark() -> str:
    """What ends the name of a kept dataset in a demo: caches go by names, so no visitor may know another's."""
    return f"-{secrets.token_hex(6)}" if demo() else ""


def without_mark(name: str) -> str:
    """The name, or a class of it, as its owner gave it."""
    return re.sub(r"-[0-9a-f]{12}(?=$|/)", "", name) if demo() else name


def _shown(path: Path) -> str:
    """A folder as a sentence names it: in a demo without the path, which has the key of the space."""
    return plain(without_mark(path.name) if demo() else str(path))


def path_of(name: str) -> Path:
    """The folder behind 'folder:PATH': an absolute path, a kept dataset or one class of it. UserError without one."""
    given = name.removeprefix(PREFIX).strip()
    path = Path(given).expanduser()
    own = re.fullmatch(r"[\w-][\w .-]*(/[\w-][\w .-]*)?", given)
    if "\0" in given or not given or not (path.is_absolute() or own):
        raise UserError(
            f"'{plain(name)}' names no folder: write folder: and an absolute path, or a kept dataset's name."
        )
    if demo() and not own:
        raise UserError(f"'{plain(name)}' is a folder of the server, and this demo shows none: upload your images.")
    path = path if path.is_absolute() else own_home() / given
    if not path.exists():
        raise UserError(f"There is no folder '{_shown(path)}': check the path, or keep the dataset again.")
    if not path.is_dir():
        raise UserError(f"'{_shown(path)}' is a file, not a folder: give the folder the images are in.")
    return path


def listing(folder: Path) -> list[File]:
    """All files under a folder, sorted by name. Links and special files are listed, but reading them is refused."""
    files: list[File] = []
    waiting = [(folder, "")]
    while waiting:
        place, prefix = waiting.pop()
        try:
            entries = list(os.scandir(place))
        except OSError:
            raise UserError(f"The folder '{_shown(place)}' cannot be read: check its permissions.") from None
        for entry in entries:
            name = prefix + entry.name
            if entry.is_dir(follow_symlinks=False):
                waiting.append((Path(entry.path), name + "/"))
            else:
                files.append(_file(entry, name))
        if len(files) > MAX_FILES:
            raise UserError(f"'{_shown(folder)}' holds more than {MAX_FILES:,} files: choose a smaller folder.")
    return sorted(files, key=lambda file: file.name)


def _file(entry: os.DirEntry[str], name: str) -> File:
    if not entry.is_file(follow_symlinks=False):
        return File(name, _refuse("a link or a special file; these are not followed"))
    stat = entry.stat(follow_symlinks=False)
    if stat.st_size > MAX_BYTES:
        return File(name, _refuse(f"larger than {MAX_BYTES >> 20} MB"))
    return File(name, lambda: _read(Path(entry.path)), f"{stat.st_size} {stat.st_mtime_ns}")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(f"cannot be read ({error.strerror})") from None


def _refuse(reason: str) -> Callable[[], bytes]:
    def read() -> bytes:
        raise UnreadableError(reason)

    return read


def layout(files: Sequence[File]) -> Layout:
    """Sort out files: all pictures in one folder (no classes), or one sub-folder for each class.

    Folders that hold everything else are looked through. Raises a UserError when there is no picture, or when the
    folders do not tell which picture is of which class.
    """
    pictures: list[tuple[File, list[str]]] = []
    refused, ignored = [], []
    for file in files:
        parts = file.name.split("/")
        ending = os.path.splitext(file.name)[1].lower()
        if any(part.startswith(".") or part == "__MACOSX" for part in parts) or not ending.endswith(
            ENDINGS + OTHER_PICTURES
        ):
            ignored.append(file.name)
        elif ending in OTHER_PICTURES:
            refused.append((file.name, f"{ending[1:].upper()} is not read; save it as PNG or JPEG"))
        else:
            pictures.append((file, parts[:-1]))
    if not pictures:
        raise UserError("There is no image in it: give PNG, JPEG, BMP, GIF or WebP files, sub-folders being classes.")
    while all(folders for _, folders in pictures) and len({folders[0] for _, folders in pictures}) == 1:
        pictures = [(file, folders[1:]) for file, folders in pictures]
    if len({len(folders) for _, folders in pictures}) > 1 or len(pictures[0][1]) > 1:
        raise UserError(_mixed_up([folders for _, folders in pictures]))
    classes = tuple(sorted({folders[0] for _, folders in pictures if folders}))
    if len(classes) > MAX_CLASSES:
        raise UserError(
            f"There are {len(classes):,} sub-folders with images: at most {MAX_CLASSES:,} classes are learned."
        )
    number = {name: i for i, name in enumerate(classes)}
    labelled = tuple((file, number[folders[0]] if folders else 0) for file, folders in pictures)
    return Layout(labelled, classes, tuple(refused), tuple(ignored))


def _mixed_up(folders: Sequence[list[str]]) -> str:
    loose = sum(not parts for parts in folders)
    if loose:
        return (
            f"Of {len(folders):,} images {loose:,} lie beside the class folders, so their class is unknown: "
            "move them into a class folder, or put all images into one folder."
        )
    longest = max(folders, key=len)
    deep = plain("/".join(longest))
    return f"There are folders inside class folders ('{deep}'): give the folder whose sub-folders are the classes."


def in_order(found: Layout) -> list[tuple[File, int]]:
    """The pictures in an order that is always the same, but not class after class."""
    order = np.random.default_rng(0).permutation(len(found.pictures))
    return [found.pictures[i] for i in order]


@dataclass(frozen=True)
class Folder:
    """The Store of a folder of own images."""

    path: Path

    def present(self) -> bool:
        """The folder is there."""
        return self.path.is_dir()

    def download(self, report: Report) -> None:
        """Own images have no address."""
        raise UserError("Own images cannot be downloaded: give a folder or a zip archive on the page Data.")

    def key(self) -> str:
        """A name for the cache that changes when any file does."""
        total = hashlib.sha256()
        for file in listing(self.path):
            total.update(f"{file.name}\0{file.stamp}\0".encode("utf-8", "surrogateescape"))
        return f"{self.cache_prefix()}{total.hexdigest()[:16]}"

    def cache_prefix(self) -> str:
        """What the names of all caches of this folder begin with."""
        return f"{cache.OWN}{hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]}-"

    def open(self, size: int, channels: int) -> Source:
        """UnreadableError pictures are left out; a UserError when fewer than 10 are left."""
        found = layout(listing(self.path))
        return Source(len(found.pictures), found.classes, _blocks(found, size, channels))


def _blocks(found: Layout, size: int, channels: int) -> Iterator[Block]:
    def one(item: tuple[File, int]) -> tuple[np.ndarray, int] | None:
        try:
            return fit(decode(item[0].read())[0], size, channels), item[1]
        except UnreadableError:
            return None

    read = 0
    for block in in_blocks(one, in_order(found)):
        good = [item for item in block if item]
        read += len(good)
        if good:
            images, labels = np.stack([image for image, _ in good]), np.array([label for _, label in good])
            yield images, labels, np.zeros((len(good), 0), np.float32)
    if read < MIN_IMAGES:
        raise UserError(too_few(read))


def too_few(count: int) -> str:
    """Why so few images are not learned from."""
    return (
        f"Only {count} of the images can be read; at least {MIN_IMAGES} are needed, since a tenth each is held back "
        "for validation and test."
    )


def entry(name: str) -> Entry:
    """The registry entry of 'folder:PATH'. Its native form is guessed from up to 16 of its pictures."""
    path = path_of(name)
    found = layout(listing(path))
    sides, grey = [], True
    for file, _ in in_order(found)[:16]:
        try:
            image, full = decode(file.read())
            sides.append(min(full))
            grey = grey and image.mode == "L"
        except UnreadableError:
            continue  # the intake report names it
    size = int(np.clip(np.median(sides), 8, 64)) if sides else 64
    text = f"{len(found.pictures):,} own images from {path.name}"
    return Entry(path.name, text, size, 1 if grey and sides else 3, found.classes, None, Folder(path))
