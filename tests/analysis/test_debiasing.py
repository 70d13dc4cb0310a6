"""Groups' figures and intervals, on cases that are known."""

import numpy as np
import pytest
from scipy import stats

from genmodels.analysis.debiasing import group_means, group_shares, interval


def test_the_interval_is_that_of_scipy_and_of_the_paper_s_own_table() -> None:
    values = [1.2, 0.4, 2.2, 1.9, 0.7]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(values), scale=stats.sem(values))
    found = interval(values)
    assert (found.low, found.high, found.seeds) == pytest.approx((low, high, 5))
    # t of one degree of freedom is Cauchy's: tan(0.475 pi) = 12.706.
    assert interval([0.0, 2.0]).half == pytest.approx(np.tan(0.475 * np.pi))


def test_it_holds_the_true_mean_as_often_as_it_says() -> None:
    draws = np.random.default_rng(0).normal(3.0, 2.0, (2000, 3))
    held = np.mean([found.low <= 3.0 <= found.high for found in map(interval, draws)])
    assert held == pytest.approx(0.95, abs=0.02)


def test_one_seed_has_a_mean_and_no_interval() -> None:
    found = interval([4.0])
    assert (found.mean, found.seeds) == (4.0, 1)
    assert np.isnan(found.half)


def test_means_and_shares_of_groups_are_counted() -> None:
    groups = np.array([0, 2, 2, 0, 2])
    means = group_means(np.array([True, False, True, True, True]), groups, 4)
    np.testing.assert_allclose(means, [1.0, np.nan, 2 / 3, np.nan])
    np.testing.assert_allclose(group_shares(groups, 4), [0.4, 0, 0.6, 0])
    np.testing.assert_allclose(group_shares(groups, 4, np.array([0.1, 0.2, 0.3, 0.4, 0.0])), [0.5, 0, 0.5, 0])
