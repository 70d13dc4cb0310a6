"""Distances against closed forms, scipy and torchmetrics, balls against hand-made cases, sharpness against scipy."""

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from genmodels import data
from genmodels.analysis import distances
from genmodels.analysis.distances import frechet, kernel_distance, prdc, sharpness
from genmodels.analysis.judge import judge_of


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
    monkeypatch.setattr(distances, "AT_ONCE", 60 * 7)
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


def test_the_kernel_distance_by_hand_and_of_the_same_law(monkeypatch):
    """With one feature k(x, y) = (xy + 1)³; x = 0, 1 and y = 2, 3 give E k(x, x') = 1, k(y, y') = 343."""
    x, y = np.array([[0.0], [1]]), np.array([[2.0], [3]])
    across = (1 + 1 + 3**3 + 4**3) / 4
    assert kernel_distance(x, y) == pytest.approx(1 + 7**3 - 2 * across)
    real, other = np.random.default_rng(0).normal(size=(2, 800, 5))
    whole = kernel_distance(real, other)
    assert 20 * abs(whole) < kernel_distance(real, other + 1)
    found = [kernel_distance(*np.random.default_rng(seed).normal(size=(2, 50, 5))) for seed in range(40)]
    assert min(found) < 0 < max(found), "unbiased: of the same law it is below 0 as often as above"
    monkeypatch.setattr(distances, "AT_ONCE", 800 * 9)
    assert kernel_distance(real, other) == pytest.approx(whole), "the same in small pieces"


class Features(nn.Module):
    """A judge as torchmetrics takes a network."""

    num_features = 64

    def __init__(self, judge) -> None:
        super().__init__()
        self.judge = judge

    def forward(self, images):
        return torch.from_numpy(self.judge.features(images.numpy()))


def test_both_distances_are_those_of_torchmetrics_in_the_features_of_a_judge():
    from torchmetrics.image.fid import FrechetInceptionDistance
    from torchmetrics.image.kid import KernelInceptionDistance

    loaded = data.load("digits")
    judge = judge_of("digits", loaded.classes)
    real, made = loaded.images[:150], 255 - loaded.images[150:300] // 2
    oracles = (
        (frechet, FrechetInceptionDistance(Features(judge), input_img_size=(1, 8, 8))),
        (kernel_distance, KernelInceptionDistance(Features(judge), subsets=1, subset_size=150)),
    )
    for ours, oracle in oracles:
        oracle.update(torch.from_numpy(real), real=True)
        oracle.update(torch.from_numpy(made), real=False)
        expected = oracle.compute()
        expected = expected if ours is frechet else expected[0]
        assert ours(judge.features(made), judge.features(real)) == pytest.approx(expected.item(), rel=1e-3)


def test_sharpness_is_the_variance_of_scipys_laplacian_and_falls_with_blur():
    images = np.random.default_rng(0).random((4, 3, 9, 12))
    expected = [scipy.ndimage.laplace(image.mean(0))[1:-1, 1:-1].var() for image in images]
    assert sharpness(torch.from_numpy(images)).numpy() == pytest.approx(expected)
    blurred = scipy.ndimage.gaussian_filter(images, (0, 0, 1, 1))
    assert (sharpness(torch.from_numpy(blurred)) < 0.2 * sharpness(torch.from_numpy(images))).all()
    assert sharpness(torch.full((1, 1, 8, 8), 0.7)).item() == pytest.approx(0, abs=1e-10)
