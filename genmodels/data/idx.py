"""MNIST and the sets in its format, read with numpy where torchvision puts them: <data_home>/MNIST/raw and so on."""

import math
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from genmodels.config import UserError
from genmodels.data import fetch
from genmodels.data.dataset import Report, Source, array_blocks
from genmodels.files import data_home


@dataclass(frozen=True)
class Idx:
    """The Store of one set of four idx files. name: torchvision's class, which knows the addresses."""

    name: str
    classes: tuple[str, ...]
    prefix: str = ""
    test: str = "t10k"
    letters: bool = False  # EMNIST: labels begin at 1, images are stored column by column, all splits are in one zip

    def paths(self) -> list[Path]:
        """Training images and labels, test images and labels."""
        raw = data_home() / self.name / "raw"
        kinds = ("images-idx3-ubyte", "labels-idx1-ubyte")
        return [raw / f"{self.prefix}{part}-{kind}" for part in ("train", self.test) for kind in kinds]

    def present(self) -> bool:
        """All four files are there in their full length."""
        try:
            return all(_header(path) for path in self.paths())
        except (OSError, UserError):
            return False

    def open(self, size: int, channels: int) -> Source:
        """See Store.open."""
        images, labels, test_images, test_labels = (_read(path) for path in self.paths())
        every, labels = np.concatenate([images, test_images]), np.concatenate([labels, test_labels])
        if self.letters:
            every, labels = every.transpose(0, 2, 1), labels - 1
        blocks = array_blocks(every, labels, size, channels)
        return Source(len(every), self.classes, blocks, official=(0, len(test_images)))

    def download(self, report: Report) -> None:
        """See Store.download."""
        from torchvision import datasets

        known = getattr(datasets, self.name)
        paths = self.paths()
        fetch.target(*paths[0].relative_to(data_home()).parts)
        if self.letters:
            with (
                fetch.fetch_aside([known.url], known.md5, paths[0], report) as file,
                zipfile.ZipFile(file) as archive,
            ):
                for path in paths:
                    with archive.open(f"gzip/{path.name}.gz") as packed:
                        fetch.gunzip(packed, path)
            return
        for i, (path, (name, md5)) in enumerate(zip(paths, known.resources, strict=True)):
            urls = [mirror + name for mirror in known.mirrors]
            piece = fetch.part_of(report, i / 4, (i + 1) / 4)
            with fetch.fetch_aside(urls, md5, path, piece) as file:
                fetch.gunzip(file, path)


def _header(path: Path) -> tuple[int, ...]:
    """The shape an idx file of bytes announces; UserError when its length does not agree."""
    with path.open("rb") as file:
        magic = file.read(4)
        dimensions = magic[3] if len(magic) == 4 and magic[:3] == b"\x00\x00\x08" else 0
        sides = file.read(4 * dimensions)
    shape = tuple(int.from_bytes(sides[i : i + 4], "big") for i in range(0, len(sides), 4))
    if not dimensions or len(shape) != dimensions or path.stat().st_size != 4 + 4 * dimensions + math.prod(shape):
        raise UserError(f"The file {path} is damaged: delete it and download the dataset again.")
    return shape


def _read(path: Path) -> np.ndarray:
    shape = _header(path)
    return np.fromfile(path, np.uint8, offset=4 + 4 * len(shape)).reshape(shape)
