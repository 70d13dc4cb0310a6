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


def together(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All codes, and the numbers of both groups, which share none."""
    return np.concatenate([a, b]), np.arange(len(a)), np.arange(len(a), len(a) + len(b))


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
    spread = arithmetic.bootstrap(*together(a, b), draws=2000)
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
    spread, whole = arithmetic.bootstrap(*together(a, b), draws=2000), arithmetic.direction(a, b)
    error = np.sqrt(a.var(0) / 200 + b.var(0) / 200)
    length = float(np.linalg.norm(whole))
    assert spread.length_error == pytest.approx(error[0] / length, rel=0.1)
    assert 1 - spread.cosine == pytest.approx((error[1:] ** 2).sum() / (2 * length**2), rel=0.1)


@pytest.mark.parametrize(("n", "shared"), [(150, 100), (40, 10), (6, 3)])
def test_the_bootstrap_draws_shared_images_with_both_groups(n: int, shared: int):
    """What both share cancels: the variance is 2 (n - shared) / n^2 for independent codes of variance 1."""
    codes, found = np.random.default_rng(0), []
    a, b = np.arange(n), np.arange(n - shared, 2 * n - shared)
    for seed in range(30):
        spread = arithmetic.bootstrap(codes.standard_normal((2 * n - shared, 12)), a, b[::-1], seed=seed)
        found.append(np.sqrt((spread.error**2).mean()))
    theory = np.sqrt(2 * (n - shared)) / n
    assert np.mean(found) == pytest.approx(theory, rel=0.05 if n > 10 else 0.2)
    assert np.mean(found) < 0.9 * np.sqrt(2 / n), "less than as if they were independent"


def test_a_group_of_two_within_a_large_one_is_never_empty():
    codes = np.random.default_rng(0).standard_normal((60, 3))
    spread = arithmetic.bootstrap(codes, np.array([3, 4]), np.arange(60))
    assert np.isfinite(spread.draws).all()
    assert spread.draws.shape == (arithmetic.DRAWS, 3)


def test_resampling_is_seeded_and_stays_within_the_group():
    a, b, _ = groups(n=5, m=3)
    one, two, other = (arithmetic.bootstrap(*together(a, b), seed=seed) for seed in (0, 0, 1))
    assert np.array_equal(one.draws, two.draws)
    assert not np.array_equal(one.draws, other.draws)
    assert one.draws.shape == (arithmetic.DRAWS, 6)
    assert (one.draws <= a.max(0) - b.min(0) + 1e-5).all()
    assert (one.draws >= a.min(0) - b.max(0) - 1e-5).all()


def test_equal_images_leave_no_doubt():
    spread = arithmetic.bootstrap(*together(np.ones((4, 3), np.float32), np.zeros((2, 3), np.float32)))
    assert spread.length_error == pytest.approx(0, abs=1e-6)
    assert spread.cosine == pytest.approx(1)
    assert spread.error == pytest.approx(0, abs=1e-6)


def test_the_score_tells_a_direction_from_chance():
    a, b, _ = groups(n=60, m=40)
    a[:, 0] += 20
    found = arithmetic.score(*together(a, b))
    assert found.agreement > 0.8
    assert abs(found.chance[0]) < 4 * found.chance[1] / np.sqrt(arithmetic.MIXTURES) + 0.01
    noise = np.random.default_rng(0).standard_normal((200, 8))
    nothing = arithmetic.score(noise, np.arange(100), np.arange(100, 200))
    assert abs(nothing.agreement - nothing.chance[0]) < 5 * nothing.chance[1] + 0.02


def test_the_agreement_is_the_mean_over_all_pairs_of_pairs():
    """Few images: every pair of pairs can be written out."""
    a, b, _ = groups(n=4, m=3)
    found = []
    for i, k in ((i, k) for i in range(4) for k in range(4) if i != k):
        for j, m in ((j, m) for j in range(3) for m in range(3) if j != m):
            one, two = a[i] - b[j], a[k] - b[m]
            found.append(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
    assert arithmetic.score(*together(a, b), pairs=100_000).agreement == pytest.approx(np.mean(found), abs=0.01)


def test_cohen_s_d_is_the_t_statistic_by_another_name():
    a, b, _ = groups()
    axis = arithmetic.direction(a, b).astype(float)
    t = stats.ttest_ind(a @ axis, b @ axis).statistic
    assert arithmetic.cohens_d(a, b) == pytest.approx(t / np.sqrt(400 * 100 / 500), rel=1e-5)
    assert arithmetic.cohens_d(np.ones((2, 1)), np.zeros((2, 1))) == np.inf


@pytest.mark.parametrize("n", [3, 10, 50])
def test_on_noise_cohen_s_d_is_what_chance_gives(n: int):
    """The direction is fitted to the very images: d is far above 0 without any effect, and no more than by chance."""
    generator, away, effects = np.random.default_rng(0), [], []
    for seed in range(40):
        found = arithmetic.score(generator.standard_normal((2 * n, 16)), np.arange(n), np.arange(n, 2 * n), seed=seed)
        mean, scatter = found.effect_chance
        away.append((found.effect - mean) / scatter)
        effects.append(found.effect)
    assert np.mean(effects) > 0.5
    assert abs(np.mean(away)) < 4 * 1.2 / np.sqrt(40)
    assert np.mean(np.abs(away) < 3) > 0.9


def test_a_true_effect_is_beyond_chance():
    a, b, _ = groups(n=50, m=50)
    found = arithmetic.score(*together(a, b))
    assert found.effect > found.effect_chance[0] + 5 * found.effect_chance[1]


def test_no_shared_image_is_compared_with_itself():
    """Noise agrees with nothing; with its own copies in the other group it would."""
    codes = np.random.default_rng(0).standard_normal((90, 30))
    found = arithmetic.score(codes, np.arange(50), np.arange(40, 90), pairs=40_000)
    assert found.agreement == pytest.approx(found.chance[0], abs=0.02)
    few = np.arange(4), np.arange(2, 6)
    pairs = [
        (codes[i] - codes[j], codes[k] - codes[m])
        for i in few[0] for k in few[0] for j in few[1] for m in few[1] if len({i, j, k, m}) == 4
    ]  # fmt: skip
    exact = np.mean([one @ two / np.linalg.norm(one) / np.linalg.norm(two) for one, two in pairs])
    assert arithmetic.score(codes, *few, pairs=40_000).agreement == pytest.approx(exact, abs=0.01)
    with pytest.raises(UserError, match="share so many images"):
        arithmetic.score(codes, np.array([0, 1]), np.array([0, 1, 2]))


def test_equal_codes_have_no_effect_and_no_chance_level_breaks():
    assert arithmetic.cohens_d(np.ones((3, 2)), np.ones((2, 2))) == 0
    found = arithmetic.score(np.array([[0.0], [0], [1], [1]]), np.array([2, 3]), np.array([0, 1]))
    assert found.effect == np.inf
    assert np.isfinite(found.effect_chance).all()


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
    elif found:
        assert sum(mask.sum() for mask in found.values()) == len(column)
    assert all(mask.any() for mask in found.values()) or set(found) == {"yes", "no"}
    assert sum(mask.astype(int) for mask in found.values()).max(initial=0) <= 1 if found else True


def test_thirds_of_a_scale_and_each_of_a_choice():
    thirds = arithmetic.factor_groups(np.linspace(0, 1, 99) ** 3)
    assert [int(mask.sum()) for mask in thirds.values()] == [33, 33]
    assert not (thirds["high"] & thirds["low"]).any()
    mostly = arithmetic.factor_groups(np.array([0, 0, 0, 0, 0, 0.5]))
    assert [mask.nonzero()[0].tolist() for mask in mostly.values()] == [[5], [0, 1, 2, 3, 4]]
    assert arithmetic.factor_groups(np.array([0, 0.5, 0.5, 0.5, 0.5])) == {}, "nothing is above"
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
        arithmetic.bootstrap(*together(a, b))


def test_one_latent_dimension():
    a, b, _ = groups(n=30, m=30, size=1)
    spread, found = arithmetic.bootstrap(*together(a + 9, b)), arithmetic.score(*together(a + 9, b))
    assert (spread.cosine, found.agreement) == (pytest.approx(1), pytest.approx(1))
    assert abs(found.chance[0]) < 0.2
