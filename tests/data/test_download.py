"""Downloads from files instead of the network: what arrives whole is loaded, anything else is not there."""

import gzip
import hashlib
import io
import pickle
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

from genmodels import data
from genmodels.config import UserError
from genmodels.data import builtin, celeba, fetch


@pytest.fixture(autouse=True)
def server(tmp_path, monkeypatch):
    """A folder whose files have file: addresses, and empty homes."""
    monkeypatch.setenv("GENMODELS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "data"))
    (tmp_path / "server").mkdir()
    return tmp_path / "server"


def offer(server, name, content):
    (server / name).write_bytes(content)
    return hashlib.md5(content).hexdigest()


def idx(array):
    return b"\x00\x00\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def small_set(count, first_label=0, seed=0):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
    return images, (np.arange(count) % 10 + first_label).astype(np.uint8)


def offer_mnist(server, monkeypatch):
    train, test = small_set(50), small_set(20, seed=1)
    names = [name for name, _ in datasets.MNIST.resources]
    content = [gzip.compress(idx(array)) for array in (*train, *test)]
    resources = [(name, offer(server, name, packed)) for name, packed in zip(names, content, strict=True)]
    monkeypatch.setattr(datasets.MNIST, "resources", resources)
    monkeypatch.setattr(datasets.MNIST, "mirrors", ["file:///nowhere/", server.as_uri() + "/"])
    return train, test


def leftovers(tmp_path):
    return sorted(path.name for path in (tmp_path / "data").rglob("*") if path.is_file())


def test_mnist_from_the_second_mirror(server, monkeypatch):
    _, test = offer_mnist(server, monkeypatch)
    shares = []
    assert not data.is_present("mnist")
    data.download("mnist", lambda share, text: shares.append(share))
    assert data.is_present("mnist")
    assert shares == sorted(shares)
    assert shares[-1] == 1
    dataset = data.load("mnist")
    assert dataset.sizes == (45, 5, 20)
    assert np.array_equal(dataset.images[dataset.span("test"), 0], test[0])
    assert datasets.MNIST(data.idx.data_home(), train=False, download=False).data.shape == (20, 28, 28)


def test_what_is_not_what_the_digest_says_is_not_kept(server, monkeypatch, tmp_path):
    offer_mnist(server, monkeypatch)
    broken = server / datasets.MNIST.resources[2][0]
    broken.write_bytes(broken.read_bytes()[:-100])
    with pytest.raises(UserError, match="something else than the dataset"):
        data.download("mnist")
    assert not data.is_present("mnist")
    assert len(leftovers(tmp_path)) == 2  # the two files that came whole


def test_leaving_in_the_middle_keeps_nothing_half(server, monkeypatch, tmp_path):
    offer_mnist(server, monkeypatch)

    def leave(share, text):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        data.download("mnist", leave)
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("cut", [0, 10, 1000])
def test_a_short_file_is_not_present(cut, server, monkeypatch, tmp_path):
    offer_mnist(server, monkeypatch)
    data.download("mnist")
    path = tmp_path / "data/MNIST/raw/train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:cut])
    assert not data.is_present("mnist")
    data.download("mnist")
    assert data.is_present("mnist")


def test_no_network_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(datasets.KMNIST, "mirrors", ["http://127.0.0.1:9/"])  # nobody listens there
    with pytest.raises(UserError, match="'digits' or 'shapes'"):
        data.download("kmnist")
    assert leftovers(tmp_path) == []


def test_full_and_read_only_disks_are_sentences(server, monkeypatch, tmp_path):
    offer_mnist(server, monkeypatch)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(fetch, "_stream", full)
        with pytest.raises(UserError, match="disk is full"):
            data.download("mnist")
    monkeypatch.setattr(fetch.os, "access", lambda *_: False)
    with pytest.raises(UserError, match="GENMODELS_DATA"):
        data.download("mnist")


def test_emnist_is_turned_and_counted_from_zero(server, monkeypatch):
    train, test = small_set(40, first_label=1), small_set(10, first_label=1, seed=1)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for part, (images, labels) in (("train", train), ("test", test)):
            archive.writestr(f"gzip/emnist-letters-{part}-images-idx3-ubyte.gz", gzip.compress(idx(images)))
            archive.writestr(f"gzip/emnist-letters-{part}-labels-idx1-ubyte.gz", gzip.compress(idx(labels)))
    monkeypatch.setattr(datasets.EMNIST, "md5", offer(server, "gzip.zip", file.getvalue()))
    monkeypatch.setattr(datasets.EMNIST, "url", (server / "gzip.zip").as_uri())
    data.download("emnist-letters")
    dataset = data.load("emnist-letters")
    assert np.array_equal(dataset.images[dataset.span("test"), 0], test[0].transpose(0, 2, 1))
    assert np.array_equal(dataset.labels[dataset.span("test")], test[1] - 1)
    peer = datasets.EMNIST(data.idx.data_home(), "letters", train=False, download=False)
    assert np.array_equal(peer.data.numpy(), test[0])  # torchvision leaves them lying on their side


def batch(count, seed):
    rng = np.random.default_rng(seed)
    return {b"data": rng.integers(0, 256, (count, 3072), dtype=np.uint8), b"labels": [i % 10 for i in range(count)]}


def test_cifar_is_read_without_running_its_pickles(server, monkeypatch, tmp_path):
    batches = {name: batch(10, i) for i, name in enumerate(builtin.Cifar10.names)}
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        for name, content in batches.items():
            # As numpy wrote it in the days of Python 2.
            packed = pickle.dumps(content, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(packed)
            archive.addfile(info, io.BytesIO(packed))
    monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", offer(server, "cifar.tar.gz", file.getvalue()))
    monkeypatch.setattr(datasets.CIFAR10, "url", (server / "cifar.tar.gz").as_uri())
    data.download("cifar10")
    assert not data.is_present("cifar10")  # ten images a batch are not CIFAR-10
    monkeypatch.setattr(builtin.Cifar10, "present", lambda self: True)
    dataset = data.load("cifar10")
    assert dataset.images.shape == (60, 3, 32, 32)
    assert np.array_equal(dataset.images[50:], batches["test_batch"][b"data"].reshape(10, 3, 32, 32))
    (tmp_path / "data/cifar-10-batches-py/test_batch").write_bytes(pickle.dumps(print))
    with pytest.raises(UserError, match="test_batch is damaged"):
        data.load("cifar10", 16)


def jpeg(shade):
    file = io.BytesIO()
    pixels = np.zeros((218, 178), np.uint8)
    pixels[20:198] = shade  # black above and below the middle square
    Image.fromarray(pixels).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def celeba_files():
    """Thirty faces; the partition list takes turns, so that they have to be sorted."""
    names = [f"{i:06d}.jpg" for i in range(30)]
    rows = [f"{name}  1 -1 {'1' if i % 2 else '-1'}" for i, name in enumerate(names)]
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as packed:
        for i, name in enumerate(names):
            packed.writestr(f"img_align_celeba/{name}", jpeg(100 + 5 * i))
    return {
        celeba.ATTRIBUTES: ("30\nSmiling Wearing_Hat Young\n" + "\n".join(rows) + "\n").encode(),
        celeba.PARTITION: "\n".join(f"{name} {i % 3}" for i, name in enumerate(names)).encode(),
        celeba.ARCHIVE: archive.getvalue(),
    }


@pytest.mark.parametrize("unpacked", [False, True])
def test_celeba(server, monkeypatch, tmp_path, unpacked):
    known = [(name, offer(server, name, content), name) for name, content in celeba_files().items()]
    monkeypatch.setattr(datasets.CelebA, "file_list", known)
    monkeypatch.setattr(celeba, "DRIVE", server.as_uri() + "/")
    data.download("celeba")
    assert data.is_present("celeba")
    if unpacked:
        folder = tmp_path / "data/celeba"
        with zipfile.ZipFile(folder / celeba.ARCHIVE) as archive:
            archive.extractall(folder)
        (folder / celeba.ARCHIVE).unlink()
        assert data.is_present("celeba")
    dataset = data.load("celeba", 16, seed=3)
    assert dataset.sizes == (10, 10, 10)
    assert dataset.factor_names == ("Smiling", "Wearing Hat", "Young")
    faces = [*range(0, 30, 3), *range(1, 30, 3), *range(2, 30, 3)]
    assert abs(dataset.images.mean((1, 2, 3)) - [100 + 5 * i for i in faces]).max() < 2
    assert dataset.factors[:, 2].tolist() == [i % 2 for i in faces]
    assert dataset.images.std((2, 3)).max() < 2  # nothing of the black bars is left
