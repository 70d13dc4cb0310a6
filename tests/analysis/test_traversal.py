"""Traversals against closed form, and the correlation ratio against an analysis of variance."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import stats

from genmodels import media
from genmodels.analysis import traversal
from genmodels.data import shapes


def test_quantiles_are_those_of_the_normal():
    expected = stats.norm.ppf([0.05, 0.275, 0.5, 0.725, 0.95])
    np.testing.assert_allclose(traversal.quantiles(5), expected, atol=1e-12)


def test_codes_move_one_dimension_each():
    z, values = np.arange(4.0), np.array([[-1.0, 0, 1], [7, 8, 9]])
    grid = traversal.codes(z, np.array([2, 0]), values)
    assert grid.shape == (2, 3, 4)
    np.testing.assert_array_equal(grid[0], [[0, 1, -1, 3], [0, 1, 0, 3], [0, 1, 1, 3]])
    np.testing.assert_array_equal(grid[1, :, 0], [7, 8, 9])
    np.testing.assert_array_equal(grid[1, :, 1:], [[1, 2, 3]] * 3)
    np.testing.assert_array_equal(z, np.arange(4.0))


def test_the_nearest_column():
    values = np.array([[-1.0, 0, 1], [-1, 0, 1]])
    np.testing.assert_array_equal(traversal.nearest(np.array([5.0, -0.4]), np.array([0, 1]), values), [2, 1])


@pytest.mark.parametrize("groups", [2, 5, 11])
def test_the_correlation_ratio_is_that_of_an_analysis_of_variance(groups: int):
    """F = (eta² / (k - 1)) / ((1 - eta²) / (N - k)), so eta² follows from scipy's F."""
    rng = np.random.default_rng(groups)
    members = rng.integers(0, groups, 400)
    values = rng.normal(size=400) + rng.normal(size=groups)[members]
    f = stats.f_oneway(*(values[members == each] for each in range(groups))).statistic
    eta2 = f * (groups - 1) / (f * (groups - 1) + 400 - groups)
    expected = max(0.0, 1 - (1 - eta2) * 399 / (400 - groups))
    assert traversal.correlation_ratio(values, members) == pytest.approx(expected, abs=1e-12)


def test_chance_alone_follows_nothing():
    """Without the correction, ten groups of 60 images would account for 15% by chance."""
    rng = np.random.default_rng(0)
    found = [traversal.correlation_ratio(rng.normal(size=60), rng.integers(0, 10, 60)) for _ in range(300)]
    assert np.mean(found) < 0.06  # negative ones are cut at 0
    means, factors = rng.normal(size=(4000, 6)), rng.uniform(size=(4000, 3))
    assert traversal.followed(means, factors) == [None] * 6


def test_a_share_known_in_closed_form():
    """z = v + noise, v uniform in [0, 1): ten groups see all of v's variance 1/12 but a hundredth."""
    rng = np.random.default_rng(1)
    v = rng.uniform(size=50_000)
    z = v + rng.normal(0, 0.25, 50_000)
    expected = (1 / 12) * (1 - 1 / 100) / (1 / 12 + 0.25**2)
    assert traversal.correlation_ratio(z, traversal.binned(v)) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    ("values", "groups"),
    [(np.ones(9), np.arange(9) % 3), (np.arange(9.0), np.zeros(9)), (np.arange(3.0), np.arange(3))],
)
def test_what_cannot_be_told_is_zero(values: np.ndarray, groups: np.ndarray):
    assert traversal.correlation_ratio(values, groups) == 0


def test_groups_keep_few_values_and_halve_many():
    np.testing.assert_array_equal(traversal.binned(np.array([5.0, 2, 5, 9])), [1, 0, 1, 2])
    sizes = np.bincount(traversal.binned(np.random.default_rng(0).normal(size=1000)))
    assert len(sizes) == traversal.BINS
    assert set(sizes) == {100}


def test_dimensions_made_of_the_factors_of_shapes_are_named():
    """A class in no order, an angle that comes round again, and a length backwards: each is found."""
    factors = shapes.factors(np.arange(3000))
    noise = np.random.default_rng(0).normal(0, 0.1, (3000, 4))
    kind = np.array([0.0, 2.0, -1.0])[factors[:, 0].astype(int)]
    angle = np.cos(2 * np.pi * factors[:, 2] / 90)
    means = np.stack([kind, angle, -5 * factors[:, 3], np.zeros(3000)], 1) + noise
    found = traversal.followed(means, factors)
    assert [shapes.FACTORS[each.factor] for each in found if each] == ["shape", "orientation", "x"]
    assert all(each.share > 0.85 for each in found if each)
    assert found[3] is None
    assert traversal.followed(means, np.zeros((3000, 0))) == [None] * 4


@pytest.mark.parametrize("channels", [1, 3])
def test_the_picture_of_a_grid_holds_its_images_and_marks_one(channels: int):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, channels, 8, 8), np.uint8)
    picture = traversal.sheet(images, ["z1\n0.5 nats", "z2\n0.1 nats"], ["-1", "0", "+1"], np.array([2, -1]), 4)
    assert picture.dtype == np.uint8
    cell = 8 * 4 + traversal.GAP
    left, top = picture.shape[1] - 3 * cell, picture.shape[0] - 2 * cell
    for row in range(2):
        for column in range(3):
            y, x = top + row * cell, left + column * cell
            seen = picture[y : y + 32 : 4, x : x + 32 : 4].transpose(2, 0, 1)
            np.testing.assert_array_equal(seen, np.broadcast_to(images[row, column], (3, 8, 8)))
    marked = (picture == traversal.MARK).all(2)
    assert marked.any()
    assert np.flatnonzero(marked.any(0)).min() >= left + 2 * cell - traversal.FRAME
    assert (picture[:, : left - traversal.FRAME] < 128).any(), "the rows have letters"


def test_the_film_goes_there_and_back():
    images = np.random.default_rng(0).integers(0, 256, (3, 4, 1, 8, 8), np.uint8)
    film = traversal.frames(images, ["z1\na", "z2\nb", "z3\nc"], 3)
    assert film.shape[:2] == (6, 3)
    np.testing.assert_array_equal(film[1], film[5])
    assert (film[0] != film[3]).any()
    with Image.open(io.BytesIO(media.gif(film, 0.1))) as gif:
        assert gif.n_frames == 6
    assert traversal.frames(images[:, :1], ["z1", "z2", "z3"], 3).shape[0] == 1
