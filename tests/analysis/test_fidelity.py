"""Distances against closed forms and scipy, balls against hand-made cases, and models whose answer is known."""

import numpy as np
import pytest
import scipy.linalg
import torch
from PIL import Image
from sklearn.neighbors import NearestNeighbors
from torch import nn

from genmodels import data
from genmodels.analysis import fidelity
from genmodels.analysis.fidelity import class_shares, frechet, l1, prdc, sample_metrics
from genmodels.analysis.judge import base_of, judge_of
from genmodels.analysis.metrics import evaluate
from genmodels.data import DATASETS
from genmodels.training import Images, scaled


def gaussians(n, means, scales, seed=0):
    """Features whose sample mean and covariance are exactly these: whitened, then scaled. -> (n, F)."""
    x = np.random.default_rng(seed).normal(size=(n, len(means)))
    x -= x.mean(0)
    x = x @ np.linalg.inv(np.linalg.cholesky(np.cov(x, rowvar=False)).T)
    return x * scales + means


def test_frechet_of_diagonal_gaussians_in_closed_form():
    a = gaussians(200, np.array([0.0, 1, 2]), np.array([1.0, 2, 3]))
    b = gaussians(150, np.array([1.0, 1, 0]), np.array([0.5, 2, 4]), seed=1)
    assert frechet(a, b) == pytest.approx((1 + 0 + 4) + (0.5**2 + 0 + 1), rel=1e-9)
    assert frechet(a, a) == pytest.approx(0, abs=1e-9)
    assert frechet(a[:, :1], b[:, :1]) == pytest.approx(1 + 0.25, rel=1e-9)


def test_frechet_as_scipy_takes_the_root_of_the_product():
    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(80, 6)) @ rng.normal(size=(6, 6)) for _ in range(2))
    first, second = np.cov(a.T), np.cov(b.T)
    root = scipy.linalg.sqrtm(first @ second).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first + second - 2 * root)
    assert frechet(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet(a, b) == pytest.approx(frechet(b, a), rel=1e-9)


def test_frechet_where_features_are_dead_or_fewer_are_seen_than_there_are():
    a = np.random.default_rng(0).normal(size=(5, 9)).astype(np.float32)
    a[:, 3] = 0
    assert frechet(a, a) == pytest.approx(0, abs=1e-6)
    assert frechet(a, np.tile(a.mean(0), (4, 1))) == pytest.approx(np.cov(a.T).trace(), rel=1e-5)


def test_balls_by_hand():
    real, fake = np.array([[0.0], [1], [10], [12]]), np.array([[0.5], [11.5], [30]])
    # Nearest other: real 1, 1, 2, 2; fake 11, 11, 18.5. In a real ball: 0.5 (of two), 11.5 (of two), 30 in none.
    found = prdc(real, fake, k=1, wide=1)
    assert found.precision == pytest.approx(2 / 3)
    assert found.recall == pytest.approx(1), "10 and 12 lie within 11 of 11.5"
    assert found.density == pytest.approx(4 / 3)
    assert found.coverage == pytest.approx(1)
    assert prdc(real, np.array([[-0.5], [0.5]]), k=1, wide=1).coverage == pytest.approx(0.5)
    assert prdc(real, np.array([[-0.5], [0.5]]), k=1, wide=1).recall == pytest.approx(0.5), "0 and 1, within 1"


def test_balls_as_scikit_learn_finds_neighbours(monkeypatch):
    rng = np.random.default_rng(0)
    real, fake = rng.normal(size=(60, 4)), 0.7 * rng.normal(size=(50, 4)) + 0.3
    reach = {k: NearestNeighbors(n_neighbors=k + 1).fit(real).kneighbors(real)[0][:, k] for k in (3, 5)}
    of_fake = NearestNeighbors(n_neighbors=4).fit(fake).kneighbors(fake)[0][:, 3]
    apart = np.linalg.norm(fake[:, None] - real, axis=2)
    expected = (
        (apart <= reach[3]).any(1).mean(),
        (apart <= of_fake[:, None]).any(0).mean(),
        (apart <= reach[5]).sum() / (5 * 50),
        (apart <= reach[5]).any(0).mean(),
    )
    assert prdc(real, fake) == pytest.approx(expected)
    monkeypatch.setattr(fidelity, "AT_ONCE", 60 * 7)
    assert prdc(real, fake) == pytest.approx(expected), "the same in small pieces"


def test_balls_of_the_same_law_of_the_same_features_and_of_one_point():
    real, other = np.random.default_rng(0).normal(size=(2, 1500, 5)).astype(np.float32)
    found = prdc(real, other)
    assert found.density == pytest.approx(1, abs=0.05)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.02)
    same = prdc(real, real)
    assert same[:2] == (1, 1)
    assert same.coverage == 1
    assert same.density == pytest.approx(6 / 5, abs=1e-3), "each lies in its own ball too"
    point = prdc(real, np.tile(real.mean(0), (1500, 1)))
    assert point.precision == 1
    assert point.recall == 0
    assert point.coverage < 0.05
    assert prdc(real + 100, real + 100).coverage == 1, "far from the origin too"


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
    assert all(facts.sha256[:8] in each.unit and f"{facts.accuracy:.1%}" in each.unit for each in found.values())
    assert all(len(each.unit) <= 100 for each in found.values()), "as an archive takes them"
    assert found["frechet_distance"].n == 180, "no more than there are test images"
    assert found["frechet_distance"].value < 3 * found["frechet_distance"].floor
    for name in ("precision", "recall", "density", "coverage"):
        assert found[name].value == pytest.approx(found[name].floor, abs=0.15)
    assert found["missing_classes"][0] == found["missing_classes"].floor == 0
    assert found["largest_class_share"].value < 0.2
    assert "class_as_asked" not in found
    assert sample_metrics(real, "digits", loaded, 400) == found, "one seed, one answer"
    test = Images.of(loaded, "test")
    assert evaluate(real, test) == {}
    assert evaluate(real, test, dataset=loaded, samples=400) == found


def test_a_model_of_one_image_lacks_classes_and_covers_nothing():
    loaded = data.load("digits")
    mean = scaled(torch.from_numpy(loaded.images)).mean(0, keepdim=True)
    found = sample_metrics(Sampler(mean), "digits", loaded, 200)
    assert found["recall"].value == 0
    assert found["coverage"].value < 0.05
    assert found["missing_classes"].value == 9
    assert found["largest_class_share"].value == 1
    assert found["frechet_distance"].value > 20 * found["frechet_distance"].floor


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


def test_domains_are_measured_against_each_real_image_once(tmp_path):
    """All are translated into one grey; the smaller domain goes round, and its images count once."""
    for i in range(60):
        Image.fromarray(np.full((8, 8), 4 * i, np.uint8)).save(tmp_path / f"{i}.png")
    name = f"domains:folder:{tmp_path}+digits"
    loaded = data.load(name)
    found = sample_metrics(Translator(lambda x: x), name, loaded, 150)
    assert list(found) == ["frechet_distance"], "no partners, and nobody reads what is translated back"
    few = np.unique(loaded.sources[loaded.span("test")], axis=0)
    assert found["frechet_distance"].n == len(few) == 6
    judge = judge_of(name, loaded.classes)
    rows = np.random.default_rng(0).permutation(loaded.sizes[2])[:150] + loaded.span("test").start
    learned = np.random.default_rng(0).permutation(loaded.sizes[0])[:6]
    real, other = (judge.features(loaded.images[each]) for each in (rows[:6], learned))
    seen = list(dict.fromkeys(image.tobytes() for image in loaded.sources[rows]))
    given = 255 - np.stack([np.frombuffer(each, np.uint8).reshape(1, 8, 8) for each in seen])
    assert found["frechet_distance"].value == pytest.approx(frechet(judge.features(given), real), rel=1e-4)
    assert found["frechet_distance"].floor == pytest.approx(frechet(other, real), rel=1e-4)


def test_what_nothing_can_read_is_not_measured():
    loaded = data.load("digits")
    assert sample_metrics(Sampler(torch.rand(2, 1, 8, 8)), "no-such-set", loaded, 20) == {}
    assert sample_metrics(nn.Linear(1, 1), "digits", loaded, 20) == {}


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
