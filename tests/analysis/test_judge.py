"""The judges that come with the package are what they say; a new one learns, and the same one each time."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from genmodels import data
from genmodels.analysis import judge
from genmodels.analysis.judge import SHIPPED, Settings, judge_of, train_judge
from genmodels.config import UserError
from genmodels.data import DATASETS
from genmodels.files import read_json
from genmodels.training import Images

NAMES = sorted(path.stem for path in SHIPPED.glob("*.json"))
QUICK = Settings(width=8, epochs=4, batch_size=64)


def test_the_promised_judges_come_with_the_package():
    assert {"digits", "fashion-mnist", "mnist", "shapes"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_are_those_that_were_tested(name: str):
    told, weights = read_json(SHIPPED / f"{name}.json"), (SHIPPED / f"{name}.safetensors").read_bytes()
    assert hashlib.sha256(weights).hexdigest() == told["sha256"]
    assert len(weights) < 1_000_000
    found = judge_of(name, DATASETS[name].classes)
    assert found
    network = judge.Network(found.facts.shape, len(found.facts.classes), Settings.of(found.facts.settings))
    assert sum(p.numel() for p in network.parameters()) == found.facts.parameters
    assert not found.network.training


@pytest.mark.parametrize("name", NAMES)
def test_a_judge_is_as_accurate_as_it_says(name: str):
    if not data.is_present(name):
        pytest.skip(f"{name} is not on this machine")
    found, loaded = judge_of(name, DATASETS[name].classes), data.load(name)
    count = min(2000, loaded.sizes[2])
    share = judge.accuracy(found, Images.of(loaded, "test", limit=count))
    if count == found.facts.n:
        assert share == pytest.approx(found.facts.accuracy, abs=1.01 / count)
    else:
        noise = (found.facts.accuracy * (1 - found.facts.accuracy) / count) ** 0.5
        assert share == pytest.approx(found.facts.accuracy, abs=5 * noise)


def test_it_reads_other_sizes_and_colours():
    found, loaded = judge_of("digits", DATASETS["digits"].classes), data.load("digits")
    test = Images.of(loaded, "test")
    as_they_are = found.probabilities(test.images.numpy())
    assert as_they_are.shape == (len(test.images), 10)
    assert np.allclose(as_they_are.sum(1), 1, atol=1e-5)
    larger = test.images.numpy().repeat(3, 2).repeat(3, 3).repeat(3, 1)
    agree = (found.probabilities(larger).argmax(1) == as_they_are.argmax(1)).mean()
    assert agree > 0.9


def test_images_are_fitted_by_closed_form():
    images = torch.tensor([[[[0, 255], [255, 0]]]], dtype=torch.uint8)
    assert torch.allclose(judge.fitted(images, (1, 1, 1)), torch.tensor(0.5))
    assert judge.fitted(images, (3, 2, 2)).shape == (1, 3, 2, 2)
    assert torch.equal(judge.fitted(images, (1, 2, 2)), images / 255)
    colour = torch.tensor([10, 20, 60], dtype=torch.uint8).view(1, 3, 1, 1)
    assert judge.fitted(colour, (1, 1, 1)).item() == pytest.approx(30 / 255)


def test_a_new_judge_learns_is_kept_and_comes_out_the_same(monkeypatch, tmp_path, home):
    told = []
    first = train_judge("digits", report=lambda share, text: told.append((share, text)), settings=QUICK)
    assert first.facts.accuracy > 0.7
    assert told[-1][0] == pytest.approx(1, abs=0.05)
    assert "epoch 4 of 4" in told[-1][1]
    assert train_judge("digits", tmp_path, settings=QUICK).facts == first.facts, "the same weights, to the bit"

    monkeypatch.setattr(judge, "SHIPPED", tmp_path / "none")
    kept = judge_of("digits", DATASETS["digits"].classes)
    assert kept.facts == first.facts
    images = data.load("digits").images[:50]
    assert np.allclose(kept.probabilities(images), first.probabilities(images), atol=1e-4), "fused, it reads the same"
    assert judge_of("digits", ("other", "classes")) is None, "a set of that name that knows other classes"

    weights = home / "judges" / "digits.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\1\2\3")
    judge._opened.cache_clear()
    with pytest.raises(UserError, match="damaged"):
        judge_of("digits", DATASETS["digits"].classes)


def test_a_dataset_without_classes_has_no_judge(monkeypatch):
    loaded = replace(data.load("digits"), classes=())
    monkeypatch.setattr(data, "load", lambda name: loaded)
    with pytest.raises(UserError, match="no classes"):
        train_judge("digits")


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 9, 9)])
def test_a_network_for_every_size_of_image(shape):
    network = judge.Network(shape, 5, Settings())
    assert network(torch.rand(2, *shape)).shape == (2, 5)
    assert sum(p.numel() for p in network.parameters()) < 150_000


def test_the_judge_of_a_folder_is_gone_when_its_images_are_others(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(40):
        place = tmp_path / "own" / ("ab"[number % 2])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)).save(place / f"{number}.png")
    name = f"folder:{tmp_path / 'own'}"
    made = train_judge(name, settings=Settings(width=4, epochs=1))
    assert judge_of(name, ("a", "b")).facts == made.facts
    Image.fromarray(rng.integers(0, 256, (9, 9), dtype=np.uint8)).save(tmp_path / "own" / "a" / "0.png")
    assert judge_of(name, ("a", "b")) is None
    assert train_judge(name, settings=Settings(width=4, epochs=1)).facts.data != made.facts.data
    assert judge_of(name, ("a", "b"))
    (tmp_path / "own").rename(tmp_path / "moved")
    assert judge_of(name, ("a", "b")), "nothing to compare with"


def test_folders_that_sound_alike_have_judges_of_their_own():
    assert judge.file_name("folder:/a/b-c") != judge.file_name("folder:/a-b/c")
    assert judge.file_name("mnist") == "mnist"
