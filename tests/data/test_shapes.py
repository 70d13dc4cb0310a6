"""The shapes are what their factors say."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from genmodels.data import shapes


@given(st.integers(0, 10**6), st.integers(8, 64), st.sampled_from([1, 3]))
def test_the_nth_image_depends_on_n_only(n, size, channels):
    alone = shapes.render(shapes.factors(np.array([n])), size, channels)
    among = shapes.render(shapes.factors(np.array([n + 1, n, 5])), size, channels)
    assert alone.shape == (1, channels, size, size)
    assert np.array_equal(alone[0], among[1])


def test_factors_are_in_range_and_independent():
    found = shapes.factors(np.arange(shapes.COUNT))
    assert (found >= shapes.LOW - 1e-6).all()
    assert (found <= shapes.HIGH + 1e-6).all()
    assert np.ptp(np.bincount(found[:, 0].astype(int))) < 0.01 * len(found)
    assert abs(np.corrcoef(found.T) - np.eye(5)).max() < 0.01


@pytest.mark.parametrize("size", [16, 33, 64])
def test_mass_lies_where_the_factors_say(size):
    factors = shapes.factors(np.arange(300))
    ink = shapes.render(factors, size)[:, 0] / 255.0
    area = ink.sum((1, 2))
    centres = (np.arange(size) + 0.5) / size
    x, y = (ink.sum(1) * centres).sum(1) / area, (ink.sum(2) * centres).sum(1) / area
    assert abs(x - factors[:, 3]).max() < 0.1 / size  # a tenth of a pixel
    assert abs(y - factors[:, 4]).max() < 0.1 / size
    # Square, ellipse with half axes 1.4 and 0.7, triangle with inner radius 0.72, all times the scale.
    per_scale = np.array([4, np.pi * 1.4 * 0.7, 3 * np.sqrt(3) * 0.72**2])[factors[:, 0].astype(int)]
    expected = per_scale * (factors[:, 1] * size) ** 2
    assert abs(area / expected - 1).max() < 1.5 / size


def test_orientation_turns_the_ellipse():
    factors = shapes.factors(np.arange(600))
    factors = factors[factors[:, 0] == 1]
    ink = shapes.render(factors, 64)[:, 0].astype(float)
    centres = (np.arange(64) + 0.5) / 64
    across = centres[None, None, :] - factors[:, 3, None, None]
    down = centres[None, :, None] - factors[:, 4, None, None]
    xx, yy, xy = ((ink * moment).sum((1, 2)) for moment in (across**2, down**2, across * down))
    angle = np.rad2deg(0.5 * np.arctan2(2 * xy, xx - yy))
    assert abs((angle - factors[:, 2] + 90) % 180 - 90).max() < 2  # degrees


def test_nothing_is_cut_off_and_edges_are_smooth():
    ink = shapes.render(shapes.factors(np.arange(2000)), 32)
    border = np.concatenate([ink[..., 0, :], ink[..., -1, :], ink[..., :, 0], ink[..., :, -1]], -1)
    assert border.max() == 0
    assert ((ink > 0) & (ink < 255)).any((1, 2, 3)).mean() > 0.99


def test_colour_tells_the_shape():
    factors = shapes.factors(np.arange(100))
    brightest = shapes.render(factors, 32, 3).reshape(100, 3, -1).max(-1)
    assert np.array_equal(brightest, np.round(255 * shapes.COLOURS)[factors[:, 0].astype(int)])
