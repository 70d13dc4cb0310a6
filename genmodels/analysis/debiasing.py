"""What each group of images got: its share of the draws, its mean figures, and how sure these are over seeds."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

LEVEL = 0.95  # share of such intervals that hold the true mean, if the figures of the seeds are normally distributed


class Interval(NamedTuple):
    """A mean over seeds and how far from it the true one may be; not a number where there is one seed alone."""

    mean: float
    half: float
    seeds: int

    @property
    def low(self) -> float:
        return self.mean - self.half

    @property
    def high(self) -> float:
        return self.mean + self.half


def interval(values: Sequence[float] | np.ndarray, among: int = 1) -> Interval:
    """Student's t interval of the mean of (S,) values: mean -+ t s / sqrt(S), t of S - 1 degrees of freedom.

    Student (1908), The probable error of a mean, https://doi.org/10.1093/biomet/6.1.1. among: of so many means this one
    was picked for its value; all their intervals hold at once at LEVEL (Bonferroni's correction).
    """
    from scipy.special import stdtrit  # scipy.stats takes a second to import

    values = np.asarray(values, float)
    count = len(values)
    if count < 2:
        return Interval(float(values.mean()) if count else np.nan, np.nan, count)
    quantile = stdtrit(count - 1, 1 - (1 - LEVEL) / (2 * among))
    return Interval(float(values.mean()), float(quantile * values.std(ddof=1) / np.sqrt(count)), count)


def group_means(values: np.ndarray, groups: np.ndarray, count: int) -> np.ndarray:
    """The mean of the values (N,) in each of `count` groups, by the group of each, int (N,); not a number for an empty
    one. -> (count,)."""
    sizes = np.bincount(groups, minlength=count)
    sums = np.bincount(groups, np.asarray(values, float), minlength=count)
    return np.divide(sums, sizes, out=np.full(count, np.nan), where=sizes > 0)


def group_shares(groups: np.ndarray, count: int, weights: np.ndarray | None = None) -> np.ndarray:
    """The share of all images, or of their weights (N,), that falls on each of `count` groups. -> (count,), sum 1."""
    found = np.bincount(groups, weights, minlength=count).astype(float)
    return found / found.sum()
