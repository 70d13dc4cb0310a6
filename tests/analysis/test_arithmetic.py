"""Each formula of latent arithmetic against a closed form, theory or scikit-learn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn.neighbors import NearestNeighbors

from genmodels.analysis import arithmetic
from genmodels.analysis.transitions import radius
from genmodels.config import UserError


def groups(seed: int = 0, n: int = 400, m: int = 100, size: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two linear-Gaussian groups, A around B's mean plus a known direction, with known spreads 1.5 and 0.5."""
    generator, true = np.random.default_rng(seed), np.linspace(-1, 2, size)
    a = 3 + true + 1.5 * generator.standard_normal((n, size))
    b = 3 + 0.5 * generator.standard_normal((m, size))
    return a.astype(np.float32), b.astype(np.float32), true


def test_the_direction_is_the_difference_of_centroids():
    a, b = np.array([[1.0, 2], [3, 4]], np.float32), np.array([[0.0, 1], [0, 0], [3, -4]], np.float32)
    assert arithmetic.direction(a, b) == pytest.approx([2 - 1, 3 + 1])
    found = arithmetic.results(np.array([10.0, 20]), np.array([1.0, 4]), np.array([-0.5, 0, 1, 2]))
    assert np.array_equal(found, [[9.5, 18], [10, 20], [11, 24], [12, 28]])
    assert found.dtype == np.float32


def test_moving_b_s_mean_by_the_direction_gives_a_s_mean():
    a, b, _ = groups()
    moved = arithmetic.results(b.mean(0), arithmetic.direction(a, b), np.array([1.0]))[0]
    assert moved == pytest.approx(a.mean(0), abs=1e-5)


@pytest.mark.parametrize(("n", "m"), [(400, 100), (50, 1000)])
def test_the_bootstrap_s_standard_error_is_sigma_over_root_n(n: int, m: int):
    a, b, true = groups(n=n, m=m, size=40)
    spread = arithmetic.bootstrap(a, b, draws=2000)
    theory = np.sqrt(1.5**2 / n + 0.5**2 / m)
    assert spread.error.mean() == pytest.approx(theory, rel=0.05)
    exact = np.sqrt(a.var(0) / n + b.var(0) / m)  # of these very groups: what the draws estimate
    assert spread.error == pytest.approx(exact, rel=0.1)
    assert spread.draws.mean(0) == pytest.approx(arithmetic.direction(a, b), abs=5 * theory / np.sqrt(2000))
    assert np.linalg.norm(arithmetic.direction(a, b) - true) < 3 * theory * np.sqrt(40)


def test_length_and_cosine_agree_with_theory_for_a_long_direction():
    """Along it the error is one of the dimensions'; across, cos is 1 - |error across|^2 / (2 |d|^2)."""
    generator = np.random.default_rng(1)
    true = np.zeros(10)
    true[0] = 20
    a, b = true + generator.standard_normal((200, 10)), generator.standard_normal((200, 10))
    spread, whole = arithmetic.bootstrap(a, b, draws=2000), arithmetic.direction(a, b)
    error = np.sqrt(a.var(0) / 200 + b.var(0) / 200)
    length = float(np.linalg.norm(whole))
    assert spread.length_error == pytest.approx(error[0] / length, rel=0.1)
    assert 1 - spread.cosine == pytest.approx((error[1:] ** 2).sum() / (2 * length**2), rel=0.1)


def test_resampling_is_seeded_and_stays_within_the_group():
    a, b, _ = groups(n=5, m=3)
    one, two, other = (arithmetic.bootstrap(a, b, seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.draws, two.draws)
    assert not np.array_equal(one.draws, other.draws)
    assert one.draws.shape == (arithmetic.DRAWS, 6)
    assert (one.draws <= a.max(0) - b.min(0) + 1e-5).all()
    assert (one.draws >= a.min(0) - b.max(0) - 1e-5).all()


def test_equal_images_leave_no_doubt():
    spread = arithmetic.bootstrap(np.ones((4, 3), np.float32), np.zeros((2, 3), np.float32))
    assert spread.length_error == pytest.approx(0, abs=1e-6)
    assert spread.cosine == pytest.approx(1)
    assert spread.error == pytest.approx(0, abs=1e-6)


def test_the_score_tells_a_direction_from_chance():
    a, b, _ = groups(n=60, m=40)
    a[:, 0] += 20
    found = arithmetic.score(a, b)
    assert found.agreement > 0.8
    assert abs(found.chance[0]) < 4 * found.chance[1] / np.sqrt(arithmetic.MIXTURES) + 0.01
    noise = np.random.default_rng(0).standard_normal((200, 8))
    nothing = arithmetic.score(noise[:100], noise[100:])
    assert abs(nothing.agreement - nothing.chance[0]) < 5 * nothing.chance[1] + 0.02


def test_the_agreement_is_the_mean_over_all_pairs_of_pairs():
    """Few images: every pair of pairs can be written out."""
    a, b, _ = groups(n=4, m=3)
    found = []
    for i, k in ((i, k) for i in range(4) for k in range(4) if i != k):
        for j, m in ((j, m) for j in range(3) for m in range(3) if j != m):
            one, two = a[i] - b[j], a[k] - b[m]
            found.append(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
    assert arithmetic.score(a, b, pairs=100_000).agreement == pytest.approx(np.mean(found), abs=0.01)


def test_cohen_s_d_is_the_t_statistic_by_another_name():
    a, b, _ = groups()
    axis = arithmetic.direction(a, b).astype(float)
    t = stats.ttest_ind(a @ axis, b @ axis).statistic
    assert arithmetic.cohens_d(a, b) == pytest.approx(t / np.sqrt(400 * 100 / 500), rel=1e-5)
    assert arithmetic.cohens_d(np.ones((2, 1)), np.zeros((2, 1))) == np.inf


@pytest.mark.parametrize("size", [1, 2, 16])
def test_neighbours_are_those_of_scikit_learn(size: int):
    generator = np.random.default_rng(0)
    real = generator.standard_normal((300, size)).astype(np.float32)
    code, within = generator.standard_normal(size), 1.5
    distances, ids = NearestNeighbors(n_neighbors=8).fit(real).kneighbors(code[None])
    near = arithmetic.nearest(code, real, within)
    assert np.array_equal(near.ids, ids[0])
    assert near.distances == pytest.approx(distances[0], rel=1e-6)
    inside = NearestNeighbors(radius=within).fit(real).radius_neighbors(code[None], return_distance=False)[0]
    assert near.close == len(inside)
    besides = arithmetic.nearest(code, real, within, besides=int(ids[0, 0]))
    assert np.array_equal(besides.ids[:7], ids[0, 1:])
    assert besides.close == len(set(inside) - {ids[0, 0]})


def test_a_few_images_have_few_neighbours():
    near = arithmetic.nearest(np.zeros(2), np.ones((3, 2)), 1.0, besides=1)
    assert near.ids.tolist() == [0, 2]
    assert arithmetic.usual(np.ones((1, 2))).extrapolates(near)


def test_far_from_the_data_is_an_extrapolation_and_amid_it_is_not():
    real = np.random.default_rng(0).standard_normal((2000, 3)).astype(np.float32)
    usual = arithmetic.usual(real)
    assert usual.radius == radius(real)
    assert 8 <= usual.median <= 11  # half of the codes have 10 others within it
    assert not usual.extrapolates(arithmetic.nearest(np.zeros(3), real, usual.radius))
    assert usual.extrapolates(arithmetic.nearest(np.full(3, 9.0), real, usual.radius))
    shares = [usual.extrapolates(arithmetic.nearest(z, real, usual.radius, besides=i)) for i, z in enumerate(real)]
    assert 0.05 < np.mean(shares) < 0.2  # a tenth of the real ones, with ties


def test_corners_are_the_ends_of_a_line_and_the_corners_of_a_square():
    line = np.linspace(-1, 1, 21)[:, None]
    assert {*arithmetic.corners(line, 3)} == {0, 10, 20}
    square = np.array([[0, 0], [0.1, 0], [1, 0], [0, 1], [0.5, 0.4], [1, 1]])
    assert {*arithmetic.corners(square, 4)} == {0, 2, 3, 5}
    assert len(arithmetic.corners(square)) == len(square)


@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, 0.5, -3.25, 7.0]), min_size=1, max_size=40))
def test_groups_of_a_factor_hold_its_lowest_and_highest(values: list[float]):
    column = np.array(values, np.float32)
    found = arithmetic.factor_groups(column)
    if "high" in found:
        assert column[found["high"]].min() >= np.quantile(column, 2 / 3) - 1e-6
        assert found["low"][column.argmin()]
    elif "yes" in found:
        assert np.array_equal(found["yes"], ~found["no"])
    else:
        assert sum(mask.sum() for mask in found.values()) == len(column)


def test_thirds_of_a_scale_and_each_of_a_choice():
    thirds = arithmetic.factor_groups(np.linspace(0, 1, 99) ** 3)
    assert [int(mask.sum()) for mask in thirds.values()] == [33, 33]
    assert not (thirds["high"] & thirds["low"]).any()
    assert list(arithmetic.factor_groups(np.array([2.0, 0, 1, 2]))) == ["0", "1", "2"]
    assert arithmetic.factor_groups(np.array([1.0, 0, 1]))["yes"].tolist() == [True, False, True]


ONE = np.ones((1, 3), np.float32)
TWO = np.stack([np.zeros(3), np.ones(3)]).astype(np.float32)


@pytest.mark.parametrize(
    ("a", "b", "words"),
    [
        (ONE[:0], ONE, "Group A has no images"),
        (ONE, ONE[:0], "Group B has no images"),
        (TWO, TWO, "the same mean"),
        (ONE, ONE * np.nan, "not a number"),
        (ONE, TWO, "Group A is one image"),
        (TWO, 2 * ONE, "Group B is one image"),
    ],
)
def test_what_cannot_be_computed_is_one_sentence(a: np.ndarray, b: np.ndarray, words: str):
    with pytest.raises(UserError, match=words):
        arithmetic.bootstrap(a, b)


def test_one_latent_dimension():
    a, b, _ = groups(n=30, m=30, size=1)
    spread, found = arithmetic.bootstrap(a + 9, b), arithmetic.score(a + 9, b)
    assert (spread.cosine, found.agreement) == (pytest.approx(1), pytest.approx(1))
    assert abs(found.chance[0]) < 0.2
