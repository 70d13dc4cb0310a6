"""The scores on codes whose values are known: the factors themselves, nothing, twice the same, turned, noise."""

import itertools

import numpy as np
import pytest
from sklearn.feature_selection import r_regression

from genmodels.analysis.disentanglement import concentration, dci, factor_vae, levels, mig, sap
from genmodels.data.shapes import factors as shapes


def grid(*sizes):
    """Every combination of so many levels once: factors that are exactly independent. -> float (N, F)."""
    return np.array(list(itertools.product(*map(range, sizes))), float)


@pytest.fixture(scope="module")
def known():
    """Factors of shapes, spread over all of them: one category and four numbers, float64 (2,000, 5)."""
    return shapes(np.random.default_rng(0).permutation(16_384)[:2000]).astype(float)


@pytest.fixture(scope="module")
def turned(known):
    """The same, each of unit variance, turned at random: every latent tells of every factor."""
    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 5)))[0]
    return (known - known.mean(0)) / known.std(0) @ rotation


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(2).normal(size=(2000, 6))


def binned(factors):
    return np.stack([levels(factor) for factor in factors.T], 1)


def test_levels_are_values_where_they_are_few_and_bins_of_equal_width_where_not():
    assert levels(np.array([0.5, 7, 0.5, -1])).tolist() == [1, 2, 1, 0]
    places = levels(np.arange(100.0) ** 2)
    assert places.min() == 0
    assert places.max() == 19
    assert np.bincount(places)[0] == 23, "the squares below a twentieth of 99²"


def test_mig_of_the_factors_themselves_is_exact():
    few = grid(3, 6, 20)
    assert mig(few, few) == pytest.approx(1)
    many = grid(3, 40)
    assert mig(many, many) == pytest.approx((1 + np.log(20) / np.log(40)) / 2), "two of 40 levels share a bin"


def test_mig_of_the_levels_of_dsprites_is_the_published_value_of_the_identity():
    factors = np.random.default_rng(0).integers((3, 6, 40, 32, 32), size=(10_000, 5)).astype(float)
    assert mig(factors, factors) == pytest.approx(0.896, abs=0.003)


def test_mig_of_one_latent_among_noise_by_hand():
    v = grid(4, 2)  # the latent tells half of the first factor, and nothing of the second
    z = np.stack([v[:, 0] // 2, np.zeros(8)], 1)
    assert mig(z, v) == pytest.approx((np.log(2) / np.log(4) + 0) / 2)


@pytest.mark.parametrize("score", [mig, sap, factor_vae], ids=lambda score: score.__name__)
def test_a_code_that_says_nothing_has_nothing_and_a_repeated_one_no_gap(score, known, noise):
    factors = binned(known) if score is mig else known
    assert score(np.zeros_like(known), factors) == 0
    assert score(np.ones((2000, 1)), factors) == 0
    if score is not factor_vae:
        assert score(np.hstack([known, known]), factors) == pytest.approx(0, abs=1e-12)
        assert 0 <= score(noise, factors) < 0.02


def test_turning_the_factors_lowers_every_score(known, turned):
    for score, best in ((mig, 0.97), (sap, 0.9), (factor_vae, 1.0)):
        factors = binned(known) if score is mig else known
        assert score(known, factors) >= best
        assert score(turned, factors) < best - 0.05
    whole, mixed = dci(known, known), dci(turned, known)
    assert min(whole) > 0.98
    assert max(mixed.disentanglement, mixed.completeness) < 0.6
    assert mixed.informativeness > 0.9, "the factors are still in it"


def test_no_score_asks_for_units_order_or_sign(known, turned):
    other = (turned * [-1, 5, 1e-3, 100, 2] + 7)[:, ::-1]
    assert mig(other, binned(known)) == pytest.approx(mig(turned, binned(known)), abs=0.01)
    assert sap(other, known) == pytest.approx(sap(turned, known), abs=0.01)
    assert factor_vae(other, known) == pytest.approx(factor_vae(turned, known), abs=0.05)


def test_sap_of_numbers_is_the_gap_between_squared_correlations(known, turned):
    numbers = known[:, 1:]
    squares = np.sort([r_regression(turned, number) ** 2 for number in numbers.T])
    assert sap(turned, numbers) == pytest.approx((squares[:, -1] - squares[:, -2]).mean())


def test_sap_of_categories_is_the_gap_between_balanced_accuracies():
    kinds = np.repeat([0.0, 1, 2], [80, 10, 10])[:, None]
    assert sap(np.hstack([kinds, np.zeros((100, 1))]), kinds) == pytest.approx(1 - 1 / 3), "chance is a third each"
    halves = np.hstack([np.minimum(kinds, 1), np.zeros((100, 1))])  # tells 0 from the others, and these not apart
    assert sap(halves, kinds) == pytest.approx(2 / 3 - 1 / 3)
    rare = np.repeat([0.0, 1], [90, 10])[:, None]  # a threshold is right of 60 in 90 and of 8 in 10
    latent = np.repeat([0.0, 1, 0, 1], [60, 30, 2, 8])[:, None]
    assert sap(latent, rare) == pytest.approx((60 / 90 + 8 / 10) / 2 - 1 / 2), "though the rare are few everywhere"


def test_concentration_has_the_published_values():
    one = np.diag(5.0 * np.ones(5))
    half = 1 - np.log(2) / np.log(10)
    assert concentration(one) == pytest.approx((1, 1))
    assert concentration(np.array([[1.0, 0], [0, 1], [0, 0]])) == pytest.approx((1, 1)), "a latent nobody uses"
    assert concentration(np.zeros((10, 10))) == (0, 0)
    assert concentration(np.vstack([one, one])) == pytest.approx((1, half)), "two latents for each factor"
    assert concentration(one[:2]) == pytest.approx((1, 1)), "three factors that nothing tells"
    assert concentration(np.hstack([one, one])) == pytest.approx((half, 1)), "two factors in each latent"
    assert concentration(np.ones((4, 3))) == pytest.approx((0, 0))
    uneven = np.array([[3.0, 0], [1, 1]])  # weights 3/5 and 2/5; entropies 0 and 1
    assert concentration(uneven)[0] == pytest.approx(3 / 5)


def test_dci_of_nothing_of_noise_and_of_what_is_there_twice(known, noise):
    assert dci(np.zeros_like(known), known) == pytest.approx((0, 0, 0), abs=0.01)
    assert max(dci(noise, known)) < 0.1
    twice = dci(np.hstack([known, known]), known)
    assert twice.disentanglement > 0.98
    assert twice.completeness == pytest.approx(1 - np.log(2) / np.log(10), abs=0.1)
    assert twice.informativeness > 0.98


def test_dci_informativeness_is_r2_against_known_noise(known):
    numbers = known[:, 1:]
    unit = (numbers - numbers.mean(0)) / numbers.std(0)
    z = unit + np.random.default_rng(0).normal(size=unit.shape) * 0.5
    found = dci(z, numbers).informativeness
    assert 0.7 < found < 1 / (1 + 0.5**2) + 0.02, "no more than noise of a quarter of the variance leaves, about"


def test_the_factor_vae_score_of_noise_is_about_chance(known, noise):
    assert factor_vae(noise, known) == pytest.approx(1 / 5, abs=0.06)
    assert factor_vae(known[:, :1], known) == pytest.approx(1 / 5, abs=0.05), "one latent can stand for one factor"
    assert factor_vae(known[:, :3], known) == pytest.approx(3 / 5, abs=0.06)
