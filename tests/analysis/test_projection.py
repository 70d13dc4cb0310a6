"""Projections against numpy's SVD and scikit-learn, the way back, and what t-SNE promises."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness

from genmodels.analysis import projection
from genmodels.config import UserError


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    """Codes that vary differently along turned axes, away from the origin. (300, 7)."""
    random = np.random.default_rng(0)
    turned = np.linalg.qr(random.normal(size=(7, 7)))[0]
    return (random.normal(size=(300, 7)) * [5, 3, 2, 1, 1, 0.5, 0.1] @ turned + 10).astype(np.float32)


def test_pca_is_the_one_of_numpy_and_of_sklearn(codes: np.ndarray) -> None:
    found = projection.pca(codes)
    centred = codes - codes.mean(0)
    _, singular, axes = np.linalg.svd(centred.astype(float), full_matrices=False)
    assert np.abs(np.sum(found.basis * axes[:2].T, 0)) == pytest.approx(1, abs=1e-6)
    assert found.shares == pytest.approx(singular[:2] ** 2 / (singular**2).sum(), rel=1e-5)
    other = PCA(2).fit(codes.astype(float))
    assert found.shares == pytest.approx(other.explained_variance_ratio_, rel=1e-5)
    signs = np.sign((found.basis * other.components_.T).sum(0))
    assert found.place(codes) == pytest.approx(other.transform(codes.astype(float)) * signs, abs=1e-3)


def test_codes_longer_than_there_are_images_have_the_same_axes() -> None:
    wide = np.random.default_rng(0).normal(size=(12, 300)) * np.linspace(3, 0.1, 300)
    found, expected = projection.pca(wide), PCA(2, svd_solver="full").fit(wide)
    assert np.allclose(found.basis.T @ found.basis, np.eye(2))
    assert np.allclose(np.abs((found.basis * expected.components_.T).sum(0)), 1)
    assert np.allclose(found.shares, expected.explained_variance_ratio_)


def test_pca_says_the_same_every_time_and_its_largest_part_is_positive(codes: np.ndarray) -> None:
    found, mirrored = projection.pca(codes), projection.pca(codes[::-1])
    assert found.basis == pytest.approx(mirrored.basis, abs=1e-5)
    assert (found.basis[np.abs(found.basis).argmax(0), [0, 1]] > 0).all()


@pytest.mark.parametrize("kind", ["pca", "dimensions"])
def test_there_and_back(codes: np.ndarray, kind: str) -> None:
    plane = projection.pca(codes) if kind == "pca" else projection.dimensions(codes, 4, 2)
    assert plane.basis.T @ plane.basis == pytest.approx(np.eye(2), abs=1e-9)
    points = np.random.default_rng(1).normal(size=(50, 2))
    assert plane.place(plane.code(points)) == pytest.approx(points, abs=1e-5)
    # At right angles: what is lost on the way lies off the plane.
    lost = codes - plane.code(plane.place(codes))
    assert np.abs(lost @ plane.basis).max() < 1e-3


def test_dimensions_are_the_columns_and_hold_the_others_at_their_mean(codes: np.ndarray) -> None:
    plane = projection.dimensions(codes, 5, 1)
    assert (plane.place(codes) == codes[:, [5, 1]]).all()
    back = plane.code(np.array([[3.0, -2.0]]))[0]
    assert (back[5], back[1]) == (3, -2)
    others = [0, 2, 3, 4, 6]
    assert back[others] == pytest.approx(codes.mean(0)[others], rel=1e-5)
    variances = codes.var(0)
    assert plane.shares == pytest.approx(variances[[5, 1]] / variances.sum(), rel=1e-4)


def test_a_plane_of_two_dimensions_loses_nothing(codes: np.ndarray) -> None:
    for plane in (projection.pca(codes[:, :2]), projection.dimensions(codes[:, :2], 0, 1)):
        assert plane.code(plane.place(codes[:, :2])) == pytest.approx(codes[:, :2], abs=1e-4)
        assert plane.shares.sum() == pytest.approx(1)


def test_codes_that_are_all_the_same_have_no_variance() -> None:
    for codes in (np.ones((1, 3), np.float32), np.ones((4, 3), np.float32)):
        plane = projection.pca(codes)
        assert (plane.shares == 0).all()
        assert np.isfinite(plane.place(codes)).all()


def test_tsne_keeps_neighbours_says_how_far_it_is_and_follows_the_seed() -> None:
    images = load_digits().data[:400] / 16
    told: list[float] = []
    found = projection.tsne(images, 20, 3, told.append)
    assert found.shape == (400, 2)
    assert found.dtype == np.float32
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)
    assert trustworthiness(images, found, n_neighbors=10) > 0.97
    assert trustworthiness(images, projection.pca(images).place(images), n_neighbors=10) < 0.9
    assert (found == projection.tsne(images, 20, 3)).all()


def test_tsne_ends_with_what_progress_raises() -> None:
    class Stop(BaseException):
        pass

    def stop(share: float) -> None:
        if share > 0.1:
            raise Stop

    with pytest.raises(Stop):
        projection.tsne(np.random.default_rng(0).normal(size=(100, 4)), 5, 0, stop)


def test_tsne_refuses_too_few_images_in_a_sentence() -> None:
    with pytest.raises(UserError, match="needs more than 90 images"):
        projection.tsne(np.zeros((90, 3)), 30)


def test_neighbour_agreement_by_hand_and_by_chance() -> None:
    line = np.array([[0.0], [1.0], [2.0], [10.0], [11.0], [12.5]])
    assert projection.neighbour_agreement(line, np.array([0, 0, 0, 1, 1, 1]), k=2) == 1
    # of the nearest one: 0-1, 1-0 (ties apart), 10-11, 11-10, 12.5-11
    assert projection.neighbour_agreement(line[[0, 1, 3, 4, 5]], np.array([0, 1, 1, 1, 0]), k=1) == pytest.approx(2 / 5)
    random = np.random.default_rng(0)
    points, labels = random.normal(size=(3000, 2)), random.integers(0, 4, 3000)
    assert projection.neighbour_agreement(points, labels) == pytest.approx(0.25, abs=0.02)
    assert np.isnan(projection.neighbour_agreement(points[:1], labels[:1]))
