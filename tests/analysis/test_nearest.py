"""The nearest image as one finds it by trying all, how near images are to each other, and what is said of it."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from genmodels import data
from genmodels.analysis import nearest as module
from genmodels.analysis.nearest import Nearness, Usual, nearest, sentence, too_near, usual


@pytest.fixture
def digits() -> np.ndarray:
    loaded = data.load("digits")
    return np.ascontiguousarray(loaded.images[loaded.span("train")])


def flat(images):
    return images.reshape(len(images), -1) / 255


def test_as_scikit_learn_finds_them(digits, monkeypatch):
    samples, images = digits[:40], digits[40:]
    distance, _ = NearestNeighbors(n_neighbors=1).fit(flat(images)).kneighbors(flat(samples))
    for at_once in (module.AT_ONCE, 64 * 7):
        monkeypatch.setattr(module, "AT_ONCE", at_once)
        found = nearest(samples, images)
        assert found.distance == pytest.approx(distance[:, 0] / 8, rel=1e-5), "of 64 pixels"
        chosen = np.linalg.norm(flat(images)[found.indices] - flat(samples), axis=1)
        assert chosen == pytest.approx(distance[:, 0], rel=1e-5)


def test_distances_in_closed_form_and_copies_are_at_zero():
    black, grey, white = (np.full((1, 3, 4, 4), value, np.uint8) for value in (0, 100, 255))
    found = nearest(np.concatenate([grey, white]), np.concatenate([white, black, grey]))
    assert found.indices.tolist() == [2, 0]
    assert found.distance.tolist() == [0, 0]
    assert nearest(grey, black).distance == pytest.approx(100 / 255)


def test_images_may_lie_on_disk(digits, tmp_path):
    np.save(tmp_path / "images.npy", digits)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert np.array_equal(nearest(digits[:9] // 2, mapped).indices, nearest(digits[:9] // 2, digits).indices)


def test_usual_leaves_the_image_itself_out(digits, monkeypatch):
    monkeypatch.setattr(module, "AT_ONCE", 64 * 100)
    some = digits[:300]
    distance = NearestNeighbors(n_neighbors=2).fit(flat(some)).kneighbors(flat(some))[0][:, 1] / 8
    found = usual(some, 500)
    assert found.n == 300
    assert found.median == pytest.approx(np.median(distance), rel=1e-5)
    assert found.low == pytest.approx(np.quantile(distance, 0.01), rel=1e-5)
    assert usual(digits, 50) == usual(digits, 50), "the same ones at every call"


def test_copies_are_flagged_and_what_is_said(digits):
    known = usual(digits, 200)
    samples = np.concatenate([digits[:3], 255 - digits[:5]])
    found = nearest(samples, digits)
    assert too_near(found, known).tolist() == [True] * 3 + [False] * 5
    assert "3 of them are nearer" in sentence(found, known)
    assert "1 of them is nearer" in sentence(nearest(samples[2:], digits), known)
    assert too_near(found, known._replace(low=0.0)).tolist() == [True] * 3 + [False] * 5, "where many are there twice"
    far = Nearness(np.array([0]), np.array([0.5]))
    assert "none is a copy pixel by pixel" in sentence(far, Usual(0.2, 0.1, 9))
