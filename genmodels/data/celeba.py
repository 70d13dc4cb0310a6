"""CelebA: 202,599 faces with 40 attributes, decoded in blocks from the archive itself or from torchvision's folder."""

import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from genmodels.config import UserError
from genmodels.data import fetch
from genmodels.data.dataset import Block, Report, Source
from genmodels.data.pictures import UnreadableError, decode, fit, in_blocks
from genmodels.files import data_home

ATTRIBUTES, PARTITION, ARCHIVE = "list_attr_celeba.txt", "list_eval_partition.txt", "img_align_celeba.zip"
DRIVE = "https://drive.usercontent.google.com/download?export=download&confirm=t&id="


class CelebA:
    """The Store of CelebA. The middle 178 x 178 pixels of the aligned faces; official validation and test sets."""

    def folder(self) -> Path:
        """Where torchvision and this program put it."""
        return data_home() / "celeba"

    def present(self) -> bool:
        """Both lists, and the archive or the folder unpacked from it."""
        folder = self.folder()
        lists = (folder / ATTRIBUTES).is_file() and (folder / PARTITION).is_file()
        return lists and ((folder / ARCHIVE).is_file() or (folder / "img_align_celeba").is_dir())

    def open(self, size: int, channels: int) -> Source:
        """Factors are the 40 attributes, 0 or 1; there are no classes."""
        names, attributes, files, parts = _tables(self.folder())
        official = (int((parts == 1).sum()), int((parts == 2).sum()))
        blocks = _blocks(self.folder(), files, attributes, size, channels)
        return Source(len(files), (), blocks, official, names)

    def download(self, report: Report) -> None:
        """The archive stays packed: 200,000 small files would only be slower to read."""
        from torchvision.datasets import CelebA as Known

        known = {name: (identifier, md5) for identifier, md5, name in Known.file_list}
        for name, first, last in ((ATTRIBUTES, 0.0, 0.02), (PARTITION, 0.02, 0.03), (ARCHIVE, 0.03, 1.0)):
            identifier, md5 = known[name]
            fetch.save([DRIVE + identifier], md5, fetch.target("celeba", name), fetch.part_of(report, first, last))


def _tables(folder: Path) -> tuple[tuple[str, ...], np.ndarray, list[str], np.ndarray]:
    """Attribute names, attributes float32 (N, 40) of 0 and 1, file names, and part 0, 1 or 2 (N,), sorted by part."""
    try:
        lines = (folder / ATTRIBUTES).read_text(encoding="utf-8").splitlines()
        names = tuple(name.replace("_", " ") for name in lines[1].split())
        rows = [line.split() for line in lines[2:] if line.strip()]
        files = [row[0] for row in rows]
        attributes = (np.array([row[1:] for row in rows], np.int64) > 0).astype(np.float32)
        part_of = dict(
            line.split() for line in (folder / PARTITION).read_text(encoding="utf-8").splitlines() if line.strip()
        )
        parts = np.array([int(part_of[file]) for file in files])
        if attributes.shape != (len(files), len(names)):
            raise ValueError
    except (OSError, ValueError, LookupError):
        raise UserError(f"The lists in {folder} are damaged: delete them and download CelebA again.") from None
    order = np.argsort(parts, kind="stable")
    return names, attributes[order], [files[i] for i in order], parts[order]


@contextmanager
def _reader(folder: Path) -> Iterator[Callable[[str], bytes]]:
    """A function from file name to its bytes."""
    if (folder / "img_align_celeba").is_dir():
        yield lambda name: (folder / "img_align_celeba" / name).read_bytes()
    else:
        with zipfile.ZipFile(folder / ARCHIVE) as archive:
            yield lambda name: archive.read(f"img_align_celeba/{name}")


def _blocks(folder: Path, files: list[str], attributes: np.ndarray, size: int, channels: int) -> Iterator[Block]:
    try:
        with _reader(folder) as read:

            def one(name: str) -> np.ndarray:
                return fit(decode(read(name))[0], size, channels)

            first = 0
            for images in in_blocks(one, files):
                rows = slice(first, first + len(images))
                yield np.stack(images), np.zeros(len(images), np.int64), attributes[rows]
                first = rows.stop
    except (UnreadableError, OSError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(
            f"The pictures in {folder} cannot be read ({error}): delete them and download CelebA again."
        ) from None
