"""Every dataset that is on this machine keeps the promises of `load`. Nothing here uses the network."""

import dataclasses
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from genmodels import data
from genmodels.config import UserError
from genmodels.data import cache
from genmodels.data.dataset import Source, split
from genmodels.files import data_home

HERE = data_home()  # before a test gives itself an empty home
PRESENT = [name for name in data.DATASETS if data.is_present(name)]
FAST = ["digits", "shapes"]
# torchvision's class for each set in the format of MNIST
PEERS = {"mnist": "MNIST", "fashion-mnist": "FashionMNIST", "kmnist": "KMNIST"}


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_DATA", str(HERE))
    monkeypatch.setenv("GENMODELS_HOME", str(tmp_path))


@pytest.mark.parametrize("name", PRESENT)
def test_promises_of_load(name):
    entry = data.DATASETS[name]
    dataset = data.load(name)
    count = len(dataset.images)
    assert dataset.images.dtype == np.uint8
    assert dataset.shape == (entry.channels, entry.size, entry.size)
    assert dataset.labels.dtype == np.int64
    assert dataset.labels.shape == (count,)
    assert dataset.classes == entry.classes
    assert set(np.unique(dataset.labels)) == set(range(max(1, len(entry.classes))))
    assert dataset.factors.dtype == np.float32
    assert dataset.factors.shape == (count, len(dataset.factor_names))
    assert sum(dataset.sizes) == count
    assert min(dataset.sizes) > 0
    assert dataset.images.max() > 200
    assert dataset.images.flags.writeable
    again = data.load(name)
    assert np.array_equal(again.images, dataset.images)
    assert np.array_equal(again.labels, dataset.labels)
    assert np.array_equal(again.factors, dataset.factors)


@pytest.mark.parametrize("name", FAST)
def test_second_load_reads_the_cache(name, monkeypatch):
    data.load(name, 8)

    def forbidden(*_):
        raise AssertionError("built again")

    monkeypatch.setattr(cache, "_build", forbidden)
    assert data.load(name, 8).sizes


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize(("size", "channels"), [(8, 3), (13, 1), (32, 3), (64, 1)])
def test_any_size_and_channels(name, size, channels):
    if name == "digits" or size < 64:  # 16,384 shapes of 64 x 64 only take time
        dataset = data.load(name, size, channels)
        assert dataset.shape == (channels, size, size)


@pytest.mark.parametrize("name", PRESENT)
def test_seed_decides_the_split_but_never_the_official_test_set(name):
    first, same, other = (data.load(name, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(first.images, same.images)
    assert first.sizes == other.sizes
    validation = first.span("validation")
    assert not np.array_equal(first.images[validation], other.images[validation])
    assert np.array_equal(first.images.sum(0, dtype=np.int64), other.images.sum(0, dtype=np.int64))


@pytest.mark.parametrize("name", [name for name in PRESENT if name in PEERS])
def test_against_torchvision(name):
    from torchvision import datasets

    dataset = data.load(name)
    peer = getattr(datasets, PEERS[name])
    train, test = (peer(HERE, train=part, download=False) for part in (True, False))
    assert dataset.sizes == (55_000, 5_000, 10_000)
    assert np.array_equal(dataset.images[dataset.span("test"), 0], test.data.numpy())
    assert np.array_equal(dataset.labels[dataset.span("test")], test.targets.numpy())
    rows = np.concatenate([dataset.images[:60_000].reshape(60_000, -1), dataset.labels[:60_000, None]], 1)
    expected = np.concatenate([train.data.numpy().reshape(60_000, -1), train.targets.numpy()[:, None]], 1)
    assert sorted(map(hash, map(bytes, rows.astype(np.uint8)))) == sorted(
        map(hash, map(bytes, expected.astype(np.uint8)))
    )


def test_digits_against_scikit_learn():
    from sklearn.datasets import load_digits

    bunch, dataset = load_digits(), data.load("digits")
    ours = sorted(zip(map(bytes, dataset.images[:, 0]), dataset.labels, strict=True))
    stretched = np.round(bunch.images / 16 * 255).astype(np.uint8)
    assert ours == sorted(zip(map(bytes, stretched), bunch.target, strict=True))


@pytest.mark.parametrize(
    ("count", "official", "sizes"),
    [
        (70_000, (0, 10_000), (55_000, 5_000, 10_000)),
        (1_797, None, (1_437, 180, 180)),
        (10, None, (8, 1, 1)),
        (300, (50, 60), (190, 50, 60)),
    ],
)
def test_split(count, official, sizes):
    for seed in range(5):
        got, order = split(count, official, seed)
        assert got == sizes
        assert sorted(order) == list(range(count))
        assert np.array_equal(order, split(count, official, seed)[1])
        fixed = sum(official) if official and official[0] else official[1] if official else 0
        assert np.array_equal(order[count - fixed :], np.arange(count - fixed, count))


def test_split_gives_each_image_the_same_chance():
    held = np.zeros(50)
    for seed in range(4_000):
        held[split(50, None, seed)[1][45:]] += 1  # the test set
    assert held.min() > 320  # 400 expected, standard deviation 19
    assert held.max() < 480


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "factors.npy", "info.json"])
@pytest.mark.parametrize("damage", ["missing", "short", "empty"])
def test_a_damaged_cache_is_built_again(name, damage):
    expected = data.load("digits").images.copy()
    path = cache.folder_of("digits-8x1") / name
    content = path.read_bytes()
    path.unlink()
    if damage != "missing":
        path.write_bytes(content[: len(content) // 2 if damage == "short" else 0])
    assert np.array_equal(data.load("digits").images, expected)


def test_a_cache_that_fails_half_way_is_never_seen(tmp_path):
    def blocks():
        yield np.zeros((3, 1, 8, 8), np.uint8), np.zeros(3, np.int64), np.zeros((3, 0), np.float32)
        raise UserError("no more")

    with pytest.raises(UserError, match="no more"):
        cache.prepared("x", lambda: Source(6, (), blocks()), lambda *_: None)
    assert [path for path in (tmp_path / "cache").iterdir() if path.is_dir()] == []


def test_two_at_once_build_once():
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: data.load("shapes", 8), range(4)))
    assert all(np.array_equal(found[0].images, other.images) for other in found)


def test_large_caches_are_mapped_and_writable(monkeypatch):
    expected = data.load("digits", seed=3)
    monkeypatch.setattr(cache, "LARGE", 1000)
    mapped = data.load("digits", seed=3)
    assert isinstance(mapped.images, np.memmap)
    assert np.array_equal(mapped.images, expected.images)
    mapped.images[:] = 0  # copy on write: the file stays as it is
    assert np.array_equal(data.load("digits", seed=3).images, expected.images)


@pytest.mark.parametrize("name", [name for name in data.DATASETS if data.DATASETS[name].megabytes])
def test_absent_without_network_says_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "empty"))
    assert not data.is_present(name)
    with pytest.raises(UserError, match=f"--download {name}.*digits and shapes"):
        data.load(name)
    assert not (tmp_path / "empty").exists()


@pytest.mark.parametrize(("size", "channels"), [(7, 1), (65, 1), (16, 2), (16, 4), (-8, 1)])
def test_impossible_forms_are_refused(size, channels):
    with pytest.raises(UserError, match="8 to 64"):
        data.load("digits", size, channels)


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="did you mean 'mnist'"):
        data.load("mnst")
    assert not data.is_present("mnst")


def test_full_disk_is_a_sentence(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cache, "_write_images", full)
    with pytest.raises(UserError, match="disk is full"):
        data.load("digits")


def test_importing_and_loading_is_light():
    data.load("digits")
    # The package's own __init__ may import more than its data needs, so only the difference counts.
    code = (
        "import genmodels.config, sys; before = set(sys.modules); from genmodels import data; data.load('digits');"
        "heavy = {'torch', 'torchvision', 'sklearn', 'scipy'} & set(sys.modules) - before;"
        "sys.exit(' '.join(heavy) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.strip() == ""
    assert done.returncode == 0


def test_entries_are_complete():
    for name, entry in data.DATASETS.items():
        assert dataclasses.asdict(entry)
        assert entry.description.endswith(".")
        assert 8 <= entry.size <= 64
        assert name == name.lower()
