"""Models whose answer is known: real images, one image, copies, classes as asked; and what is left out, and why."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from genmodels import data
from genmodels.analysis import fidelity
from genmodels.analysis.distances import SHARPNESS, frechet, sharpness
from genmodels.analysis.features import reader_of
from genmodels.analysis.fidelity import class_shares, l1, left_out, sample_metrics, total_variation
from genmodels.analysis.judge import base_of, judge_of
from genmodels.analysis.metrics import evaluate
from genmodels.data import DATASETS
from genmodels.training import Images, scaled


class Sampler(nn.Module):
    """Draws from an array of images; conditional where it has labels."""

    def __init__(self, images: torch.Tensor, labels: torch.Tensor | None = None) -> None:
        super().__init__()
        self.images, self.labels, self.anything = images, labels, nn.Parameter(torch.zeros(1))
        if labels is not None:
            self.conditional = True

    def sample(self, n, labels=None, generator=None):
        if self.labels is None:
            return self.images[torch.randint(len(self.images), (n,), generator=generator)]
        return torch.stack([self.images[self.labels == label][0] for label in labels])


class Translator(nn.Module):
    DIRECTIONS = ("forward", "back")

    def __init__(self, back) -> None:
        super().__init__()
        self.back, self.anything = back, nn.Parameter(torch.zeros(1))

    def translate(self, x, direction="forward"):
        return 1 - x if direction == "forward" else self.back(x)


def test_a_model_that_samples_real_images_comes_to_the_floor():
    loaded = data.load("digits")
    real = Sampler(scaled(torch.from_numpy(loaded.images[loaded.span("train")])))
    found = sample_metrics(real, "digits", loaded, 400)
    facts = judge_of("digits", loaded.classes).facts
    assert next(iter(found)) == "frechet_distance"
    assert {name for name, each in found.items() if facts.words not in each.unit} == {"sharpness", "memorised"}
    assert f"{facts.sha256[:8]}, accuracy {facts.accuracy:.1%}" in facts.words
    assert all(len(each.unit) <= 100 for each in found.values()), "as an archive takes them"
    assert all(each.floor is not None for each in found.values())
    assert found["frechet_distance"].n == 180, "no more than there are test images"
    assert found["frechet_distance"].value < 3 * found["frechet_distance"].floor
    assert abs(found["kernel_distance"].value) < 5 * abs(found["kernel_distance"].floor)
    for name in ("precision", "recall", "density", "coverage"):
        assert found[name].value == pytest.approx(found[name].floor, abs=0.15)
    assert found["missing_classes"][0] == found["missing_classes"].floor == 0
    assert found["largest_class_share"].value < 0.2
    assert found["class_histogram"].value < 0.1
    assert found["sharpness"].value == pytest.approx(found["sharpness"].floor, rel=0.1)
    assert found["memorised"].value == 1, "each is a training image"
    assert found["memorised"].floor < 0.1
    assert "class_as_asked" not in found
    assert sample_metrics(real, "digits", loaded, 400) == found, "one seed, one answer"
    test = Images.of(loaded, "test")
    assert evaluate(real, test) == {}
    assert evaluate(real, test, dataset=loaded, samples=400) == found
    assert left_out(real, loaded, 400, reader_of("digits", loaded.classes)) == {}


def test_test_images_are_not_memorised_and_their_floor_is_exact():
    loaded = data.load("digits")
    test = loaded.images[loaded.span("test")]
    found = sample_metrics(Sampler(scaled(torch.from_numpy(test))), "digits", loaded, 180)
    assert found["memorised"].value < 0.1
    exact = sharpness(scaled(torch.from_numpy(test))).mean().item()
    assert found["sharpness"].floor == pytest.approx(exact)
    assert found["sharpness"].unit == SHARPNESS
    grey = np.full((2, 1, 8, 8), 128, np.uint8)
    assert sample_metrics(Sampler(scaled(torch.from_numpy(grey))), "digits", loaded, 9)["sharpness"].value == 0


def test_of_large_sets_fewer_are_compared_and_it_is_said(monkeypatch):
    loaded = data.load("digits")
    real = Sampler(scaled(torch.from_numpy(loaded.images[loaded.span("train")])))
    monkeypatch.setattr(fidelity, "MOST", 200 * 64)
    monkeypatch.setattr(fidelity, "PRODUCTS", 1)
    found = sample_metrics(real, "digits", loaded, 150)["memorised"]
    assert "200 training images" in found.unit
    assert found.n == fidelity.LEAST
    assert found.value < 0.5, "most of the training images that it copies are not among those asked"


def test_a_model_of_one_image_lacks_classes_and_covers_nothing():
    """Precision is 1, where a model gives nothing but the most ordinary image: it must not stand alone."""
    loaded = data.load("digits")
    test = loaded.images[loaded.span("test")]
    seen = judge_of("digits", loaded.classes).features(test)
    ordinary = scaled(torch.from_numpy(test[[((seen - seen.mean(0)) ** 2).sum(1).argmin()]]))
    found = sample_metrics(Sampler(ordinary), "digits", loaded, 200)
    assert found["precision"].value == 1
    assert found["recall"].value <= 1 / 180, "itself alone"
    assert found["coverage"].value < 0.2
    assert found["missing_classes"].value == 9
    assert found["largest_class_share"].value == 1
    assert found["frechet_distance"].value > 20 * found["frechet_distance"].floor
    assert found["kernel_distance"].value > 20 * found["kernel_distance"].floor
    told = found["class_histogram"]
    assert sorted(told.parts.values())[-2:] == [0, 1]
    assert tuple(told.parts) == loaded.classes
    learned = np.bincount(loaded.labels[loaded.span("train")]) / loaded.sizes[0]
    only = max(told.parts, key=told.parts.get)
    assert told.value == pytest.approx(1 - learned[loaded.classes.index(only)])
    assert told.floor < 0.2
    mean = scaled(torch.from_numpy(loaded.images)).mean(0, keepdim=True)  # like no image at all
    blurred = sample_metrics(Sampler(mean), "digits", loaded, 200)
    assert blurred["recall"].value == 0
    assert blurred["coverage"].value < 0.05
    assert blurred["missing_classes"].value == 9


def test_total_variation_by_hand():
    assert total_variation(np.array([0.5, 0.5, 0]), np.array([0.25, 0.25, 0.5])) == pytest.approx(0.5)
    assert total_variation(np.array([1.0, 0]), np.array([0, 1.0])) == 1


def test_classes_are_asked_for_where_they_can_be():
    loaded = data.load("digits")
    images, labels = scaled(torch.from_numpy(loaded.images)), torch.from_numpy(loaded.labels)
    asked = sample_metrics(Sampler(images, labels), "digits", loaded, 100)["class_as_asked"]
    assert asked.value == 1, "the first image of each class is one that the judge learned from"
    assert asked.n == 100
    wrong = sample_metrics(Sampler(images, (labels + 1) % 10), "digits", loaded, 100)["class_as_asked"]
    assert wrong.value == 0


def test_a_perfect_translation_and_one_that_does_nothing():
    loaded = data.load("inverted:digits")
    found = sample_metrics(Translator(lambda x: x), "inverted:digits", loaded, 150)
    assert found["l1_to_partner"].value == 0
    assert found["closer_to_partner"].value == 1
    assert found["class_kept"].value == found["class_kept"].floor > 0.95, "read as if it were not inverted"
    assert found["frechet_distance"].value == pytest.approx(0, abs=1e-6)
    assert found["sharpness"].value == found["sharpness"].floor
    assert found["frechet_distance"].floor is None, "other images are no floor for the partners of these"
    assert "against the true partners" in found["frechet_distance"].unit
    assert all(len(each.unit) <= 100 for each in found.values()), "as an archive takes them"
    inputs = loaded.images[loaded.span("test")].astype(float) / 255
    expected = np.abs(inputs - (1 - inputs)).mean()
    assert found["l1_to_partner_back"].value == pytest.approx(expected, abs=0.02), "150 of the 180 images"
    assert found["class_kept_back"].value < 0.5
    assert found["class_kept_back"].floor > 0.95
    assert found["frechet_distance_back"].value > 1
    assert found["frechet_distance_back"].floor is None


class Means(NamedTuple):
    """A reader of two features."""

    facts: Any = SimpleNamespace(features=2, words="two features")

    def features(self, images):
        return np.stack([images.mean((1, 2, 3)), images.std((1, 2, 3))], 1)

    def read(self, images):
        return self.features(images), np.zeros((len(images), 0))


def test_domains_are_measured_against_each_real_image_once(tmp_path, monkeypatch):
    """All are translated into one grey; the smaller domain goes round, and its images count once."""
    for i in range(60):
        Image.fromarray(np.full((8, 8), 4 * i, np.uint8)).save(tmp_path / f"{i}.png")
    name, reader = f"domains:folder:{tmp_path}+digits", Means()
    monkeypatch.setattr(fidelity, "reader_of", lambda *_: reader)
    loaded = data.load(name)
    found = sample_metrics(Translator(lambda x: x), name, loaded, 150)
    assert set(found) == {"frechet_distance", "sharpness"}, "no partners, and nobody reads what is translated back"
    few = np.unique(loaded.sources[loaded.span("test")], axis=0)
    assert found["frechet_distance"].n == len(few) == 6
    rows = np.random.default_rng(0).permutation(loaded.sizes[2])[:150] + loaded.span("test").start
    learned = np.random.default_rng(0).permutation(loaded.sizes[0])[:6]
    real, other = (reader.features(loaded.images[each]) for each in (rows[:6], learned))
    seen = list(dict.fromkeys(image.tobytes() for image in loaded.sources[rows]))
    given = 255 - np.stack([np.frombuffer(each, np.uint8).reshape(1, 8, 8) for each in seen])
    assert found["frechet_distance"].value == pytest.approx(frechet(reader.features(given), real), rel=1e-4)
    assert found["frechet_distance"].floor == pytest.approx(frechet(other, real), rel=1e-4)


def test_what_nothing_can_read_is_told_by_its_pixels_alone():
    loaded = data.load("digits")
    found = sample_metrics(Sampler(torch.rand(2, 1, 8, 8)), "no-such-set", loaded, 20)
    assert set(found) == {"sharpness", "memorised"}
    assert sample_metrics(nn.Linear(1, 1), "digits", loaded, 20) == {}


@pytest.mark.parametrize(
    ("n", "change", "name", "sentence"),
    [
        (64, {}, "frechet_distance", "too few samples: 64, and 65 are needed; make more"),
        (64, {}, "precision", ""),
        (49, {}, "recall", "too few samples: 49, and 50"),
        (99, {}, "class_histogram", "too few samples: 99, and 100"),
        (49, {}, "kernel_distance", ""),
        (1, {}, "sharpness", "too few samples: 1, and 2"),
        (500, {"sizes": (1600, 157, 40)}, "frechet_distance", "too few test images: 40, and 65 are needed; bring more"),
        (500, {"sizes": (30, 1587, 180)}, "coverage", "too few training images: 30"),
        (500, {"classes": ()}, "class_histogram", "trains an autoencoder first"),
        (500, {"classes": ("all",)}, "frechet_distance", "trains an autoencoder first"),
    ],
)  # fmt: skip
def test_what_is_left_out_is_said_and_is_not_measured(n, change, name, sentence):
    model, loaded = Sampler(torch.rand(2, 1, 8, 8)), replace(data.load("digits"), **change)
    told = left_out(model, loaded, n, reader_of("digits", loaded.classes))
    found = sample_metrics(model, "digits", loaded, n)
    assert sentence in told.get(name, "")
    assert (name in found) is (name not in told) is (not sentence)
    assert not set(found) & set(told)


@pytest.mark.parametrize(
    ("model", "names", "sentence"),
    [
        (nn.Linear(1, 1), {"sharpness", "memorised", "frechet_distance"}, "makes no images of its own"),
        (Translator(lambda x: x), {"precision", "class_histogram", "memorised"}, "no samples of its own"),
    ],
)
def test_who_makes_nothing_is_told_so(model, names, sentence):
    loaded = data.load("digits")
    told = left_out(model, loaded, 500, reader_of("digits", loaded.classes))
    assert names <= {name for name, why in told.items() if sentence in why}


def test_shares_and_differences_of_pixels():
    loaded = data.load("digits")
    test = loaded.images[loaded.span("test")]
    shares = class_shares(judge_of("digits", loaded.classes), test)
    assert shares.sum() == pytest.approx(1)
    assert shares == pytest.approx(np.bincount(loaded.labels[loaded.span("test")]) / 180, abs=0.03)
    a, b = np.zeros((2, 1, 2, 2), np.uint8), np.full((2, 1, 2, 2), 51, np.uint8)
    assert l1(a, b) == pytest.approx([0.2, 0.2])
    assert l1(b, a) == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize(
    ("name", "base", "style"),
    [
        ("mnist", "mnist", ""), ("edges:mnist", "mnist", ""), ("inverted:mnist", "mnist", "inverted"),
        ("thickened:mnist", "mnist", ""), ("domains:mnist+kmnist", "kmnist", ""), ("folder:/a:b", "folder:/a:b", ""),
    ],
)  # fmt: skip
def test_which_dataset_a_judge_is_of(name, base, style):
    assert base_of(name) == (base, style)


@pytest.mark.parametrize("style", ["inverted", "coloured", "rotated"])
def test_a_style_is_mapped_back_exactly(style):
    loaded, plain = data.load(f"{style}:digits"), judge_of("digits", DATASETS["digits"].classes)
    styled, test = judge_of(f"{style}:digits", loaded.classes), loaded.span("test")
    assert np.allclose(styled.features(loaded.images[test]), plain.features(loaded.sources[test]), atol=1e-4)


def test_features_are_the_last_maps_averaged():
    judge, images = (
        judge_of("mnist", DATASETS["mnist"].classes),
        np.random.default_rng(0).integers(0, 256, (3, 1, 28, 28)),
    )
    body = [layer for layer in judge.network.body if not isinstance(layer, nn.Flatten | nn.Dropout | nn.Identity)]
    x = torch.from_numpy(images).float() / 255
    with torch.no_grad():
        for layer in body:
            x = layer(x)
    found, said = judge.read(images.astype(np.uint8))
    assert found.shape == (3, 64)
    assert np.allclose(found, x.mean((2, 3)), atol=1e-5)
    with torch.no_grad():
        assert np.allclose(said, judge.network(torch.from_numpy(images).float() / 255).softmax(1), atol=1e-5)
