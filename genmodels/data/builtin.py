"""Small sets with a reader of their own: scikit-learn's digits, CIFAR-10 and the Olivetti faces."""

import codecs
import io
import pickle
import shutil
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from genmodels.config import UserError
from genmodels.data import fetch
from genmodels.data.dataset import Report, Source, array_blocks
from genmodels.files import data_home, write_atomically

DIGITS = tuple("0123456789")
PEOPLE = tuple(f"person {i + 1}" for i in range(40))
OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def open_digits(size: int, channels: int) -> Source:
    """scikit-learn's 1,797 digits of 8x8 pixels, 0 to 16 stretched to 0 to 255."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    return Source(len(images), DIGITS, array_blocks(images, bunch.target, size, channels))


class Cifar10:
    """The Store of CIFAR-10: six pickles in <data_home>/cifar-10-batches-py."""

    names = ("data_batch_1", "data_batch_2", "data_batch_3", "data_batch_4", "data_batch_5", "test_batch")

    def paths(self) -> list[Path]:
        """Five training batches and the test batch."""
        return [data_home() / "cifar-10-batches-py" / name for name in self.names]

    def present(self) -> bool:
        """All six files are there and longer than their pixels (10,000 x 3,072 bytes); reading checks the rest."""
        return all(path.is_file() and path.stat().st_size > 30_720_000 for path in self.paths())

    def open(self, size: int, channels: int) -> Source:
        """See Store.open."""
        batches = [_read_batch(path) for path in self.paths()]
        images = np.concatenate([images for images, _ in batches])
        labels = np.concatenate([labels for _, labels in batches])
        blocks = array_blocks(images, labels, size, channels)
        return Source(len(images), OBJECTS, blocks, official=(0, len(batches[-1][0])))

    def download(self, report: Report) -> None:
        """See Store.download."""
        from torchvision.datasets import CIFAR10

        paths = self.paths()
        fetch.target("cifar-10-batches-py", self.names[0])
        with (
            fetch.fetch_aside([CIFAR10.url], CIFAR10.tgz_md5, paths[0], report) as file,
            tarfile.open(fileobj=file, mode="r:gz") as archive,
        ):
            for path in paths:
                member = archive.extractfile(f"cifar-10-batches-py/{path.name}")
                if member:
                    write_atomically(path, partial(shutil.copyfileobj, member))


def _empty(*_: object) -> np.ndarray:
    """What a pickled array is filled into."""
    return np.ndarray((0,), np.int8)


class _ArraysOnly(pickle.Unpickler):
    """CIFAR-10 comes as pickles of numpy arrays: nothing else in them is called."""

    def find_class(self, module: str, name: str) -> Any:
        """The names such a pickle needs, written by any version of numpy."""
        allowed: dict[str, Callable[..., Any]] = {
            "numpy.core.multiarray._reconstruct": _empty,
            "numpy._core.multiarray._reconstruct": _empty,
            "numpy.ndarray": np.ndarray,
            "numpy.dtype": np.dtype,
            "_codecs.encode": codecs.encode,
        }
        if f"{module}.{name}" not in allowed:
            raise pickle.UnpicklingError(f"{module}.{name}")
        return allowed[f"{module}.{name}"]


def _read_batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 32, 32, 3) and labels int64 (n,)."""
    try:
        batch = _ArraysOnly(io.BytesIO(path.read_bytes()), encoding="bytes").load()
        images = np.asarray(batch[b"data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        labels = np.asarray(batch[b"labels"], np.int64).reshape(len(images))
    except (pickle.UnpicklingError, EOFError, ValueError, LookupError, TypeError, AttributeError):
        raise UserError(f"The file {path} is damaged: delete it and download the dataset again.") from None
    return images, labels


class Olivetti:
    """The Store of the Olivetti faces: <data_home>/olivetti/olivettifaces.mat."""

    def path(self) -> Path:
        """The one file."""
        return data_home() / "olivetti" / "olivettifaces.mat"

    def present(self) -> bool:
        """It appears whole or not at all when this program downloads it."""
        return self.path().is_file()

    def open(self, size: int, channels: int) -> Source:
        """400 faces of 64x64, ten each of 40 people."""
        from scipy.io import loadmat

        try:
            faces = loadmat(self.path())["faces"]  # (4096, 400), each column an image stored column by column
            images = np.ascontiguousarray(faces.T.reshape(400, 64, 64).transpose(0, 2, 1)).astype(np.uint8)
        except (ValueError, KeyError, TypeError, OSError, EOFError, NotImplementedError):
            raise UserError(f"The file {self.path()} is damaged: delete it and download the faces again.") from None
        labels = np.repeat(np.arange(40), 10)
        order = np.random.default_rng(0).permutation(400)  # so that the first images are not all of one person
        return Source(400, PEOPLE, array_blocks(images[order], labels[order], size, channels))

    def download(self, report: Report) -> None:
        """From the address scikit-learn uses."""
        url = "https://ndownloader.figshare.com/files/5976027"
        sha256 = "b612fb967f2dc77c9c62d3e1266e0c73d5fca46a4b8906c18e454d41af987794"
        fetch.save([url], sha256, fetch.target("olivetti", "olivettifaces.mat"), report)
