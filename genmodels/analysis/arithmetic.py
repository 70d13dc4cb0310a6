"""Latent arithmetic: the mean code of group A minus that of group B is a direction; an item moved along it is a result.

T. Mikolov, W. Yih and G. Zweig (2013), Linguistic regularities in continuous space word representations,
https://aclanthology.org/N13-1090, for words. A. Radford, L. Metz and S. Chintala (2016), https://arxiv.org/abs/1511.06434,
section 6.3.2, for images: they average several codes in each group because single ones were not stable. How stable the
mean is, the bootstrap says: B. Efron (1979), Bootstrap methods: another look at the jackknife,
https://doi.org/10.1214/aos/1176344552.
"""

from typing import NamedTuple

import numpy as np

from genmodels.analysis.transitions import neighbours, radius
from genmodels.config import UserError

DRAWS = 200  # directions from resampled groups
PAIRS = 2000  # pairs of cross pairs that the agreement is averaged over
MIXTURES = 20  # of both groups, to know what chance gives
KINDS = 12  # a factor with at most so many whole values is a choice among them, not a scale
FEW = 0.1  # of the real codes have so few neighbours that a result like them counts as far from the data


class Spread(NamedTuple):
    """What resampling the groups says of their direction.

    draws: directions of the resampled groups, float32 (B, L). error: standard error of each dimension, (L,).
    length_error: standard error of the direction's length, as a share of it. cosine: mean cosine of the draws with the
    direction itself.
    """

    draws: np.ndarray
    error: np.ndarray
    length_error: float
    cosine: float


class Score(NamedTuple):
    """How much single images agree with the direction.

    agreement: mean cosine of a_i - b_j with a_k - b_m over random pairs of pairs. chance: the same where the images of
    both groups are mixed, mean and standard deviation over the mixtures. effect: Cohen's d along the direction.
    """

    agreement: float
    chance: tuple[float, float]
    effect: float


class Near(NamedTuple):
    """Real codes around one code. ids, distances: of the nearest, (K,). close: how many lie within `radius`."""

    ids: np.ndarray
    distances: np.ndarray
    close: int
    radius: float


class Usual(NamedTuple):
    """What is usual for real codes: how many others lie within `radius`, the median and the FEW quantile."""

    radius: float
    median: float
    few: float

    def extrapolates(self, near: Near) -> bool:
        """Whether so few real images lie near that the decoder had hardly any there to learn from."""
        return near.close <= self.few


def direction(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """mean(A) - mean(B), the codes of two groups. (n, L), (m, L) -> float32 (L,). Raises UserError where it is zero."""
    for name, group in (("A", a), ("B", b)):
        if not len(group):
            raise UserError(f"Group {name} has no images: pick some, or choose another group.")
    found = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    if not np.isfinite(found).all():
        raise UserError("A code in these groups is not a number: choose other images, or train the model again.")
    if np.linalg.norm(found) <= 1e-6 * max(1e-6, float(np.abs(a).max()), float(np.abs(b).max())):
        raise UserError(
            "Groups A and B have the same mean, so A minus B is zero and leads nowhere: change one of them."
        )
    return found.astype(np.float32)


def results(item: np.ndarray, direction: np.ndarray, strengths: np.ndarray) -> np.ndarray:
    """z = item + k (mean(A) - mean(B)) for each strength k. (L,), (L,), (S,) -> float32 (S, L)."""
    return (item + np.asarray(strengths)[:, None] * direction).astype(np.float32)


def factor_groups(values: np.ndarray) -> dict[str, np.ndarray]:
    """What of one factor can stand in an equation: name -> bool (N,). values: (N,).

    Of 0 and 1, 'yes' and 'no'; of a few whole numbers, each; of anything else, its 'high' and its 'low' third.
    """
    found = np.unique(values)
    if set(found.tolist()) <= {0.0, 1.0}:
        return {"yes": values == 1, "no": values == 0}
    if len(found) <= KINDS and (found == found.round()).all():
        return {f"{value:g}": values == value for value in found}
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    return {"high": values >= high, "low": values <= low}


def bootstrap(a: np.ndarray, b: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Spread:
    """Directions of groups whose images are drawn anew, each from its own group with replacement. (n, L), (m, L).

    The standard error of each dimension comes near sqrt(var(A) / n + var(B) / m). Raises UserError for one image.
    """
    whole = direction(a, b)
    for name, group in (("A", a), ("B", b)):
        if len(group) < 2:
            raise UserError(
                f"Group {name} is one image: nothing tells how much another choice would change the result."
            )
    generator = np.random.default_rng(seed)
    found = (_resampled(a, draws, generator) - _resampled(b, draws, generator)).astype(np.float32)
    lengths = np.linalg.norm(found, axis=1)
    length_error = float(lengths.std(ddof=1) / np.linalg.norm(whole))
    return Spread(found, found.std(0, ddof=1), length_error, float(_cosines(found, whole[None]).mean()))


def _resampled(group: np.ndarray, draws: int, generator: np.random.Generator) -> np.ndarray:
    """Means of n codes drawn from n with replacement: how often each comes is multinomial. (n, L) -> (draws, L)."""
    n = len(group)
    return generator.multinomial(n, np.full(n, 1 / n), draws) @ group.astype(np.float64) / n


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row with its row; 0 where one of them is zero. (N, L), (N or 1, L) -> (N,)."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / np.where(lengths > 0, lengths, 1)


def score(a: np.ndarray, b: np.ndarray, pairs: int = PAIRS, seed: int = 0) -> Score:
    """How much single images agree with the direction, against groups mixed at random. (n, L), (m, L), n and m > 1.

    The agreement is the vector score of Latent Space Cartography: Y. Liu, E. Jun, Q. Li and J. Heer (2019),
    https://doi.org/10.1111/cgf.13672.
    """
    generator = np.random.default_rng(seed)
    both, mixed = np.concatenate([a, b]), []
    for _ in range(MIXTURES):
        shuffled = generator.permutation(both)
        mixed.append(_agreement(shuffled[: len(a)], shuffled[len(a) :], pairs, generator))
    chance = float(np.mean(mixed)), float(np.std(mixed, ddof=1))
    return Score(_agreement(a, b, pairs, generator), chance, cohens_d(a, b))


def _agreement(a: np.ndarray, b: np.ndarray, pairs: int, generator: np.random.Generator) -> float:
    """Mean cosine of a_i - b_j with a_k - b_m at random, i not k and j not m: no image is compared with itself."""
    (i, k), (j, m) = (_two(len(group), pairs, generator) for group in (a, b))
    return float(_cosines(a[i] - b[j], a[k] - b[m]).mean())


def _two(n: int, pairs: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two different numbers below n, `pairs` times."""
    first = generator.integers(n, size=pairs)
    return first, (first + generator.integers(1, n, size=pairs)) % n


def cohens_d(a: np.ndarray, b: np.ndarray) -> float:
    """(mean(a) - mean(b)) / s along the direction, s the pooled standard deviation. (n, L), (m, L).

    J. Cohen (1988), Statistical power analysis for the behavioral sciences, 2nd edition, Eq. 2.5.1 and 2.5.2.
    """
    axis = direction(a, b).astype(np.float64)
    p, q = a @ axis, b @ axis
    pooled = ((p - p.mean()) ** 2).sum() + ((q - q.mean()) ** 2).sum()
    spread = np.sqrt(pooled / max(1, len(p) + len(q) - 2))
    return float((p.mean() - q.mean()) / spread) if spread > 0 else float("inf")


def corners(points: np.ndarray, count: int = 16) -> np.ndarray:
    """Which of the points lie farthest apart, so that a few show the range of all. (N, L) -> int (count,).

    T. F. Gonzalez (1985), Clustering to minimize the maximum intercluster distance,
    https://doi.org/10.1016/0304-3975(85)90224-5: each next one is the farthest from those chosen.
    """
    chosen = [int(np.linalg.norm(points - points.mean(0), axis=1).argmax())]
    away = np.linalg.norm(points - points[chosen[0]], axis=1)
    while len(chosen) < min(count, len(points)):
        chosen.append(int(away.argmax()))
        away = np.minimum(away, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return np.array(chosen)


def usual(real: np.ndarray, asked: int = 500) -> Usual:
    """What is usual for real codes, measured on some of them evenly taken. (N, L)."""
    within = radius(real)
    counts = neighbours(real[:: -(-len(real) // asked)], real, within) - 1  # itself
    return Usual(within, float(np.median(counts)), float(np.quantile(counts, FEW)))


def nearest(code: np.ndarray, real: np.ndarray, within: float, besides: int | None = None, count: int = 8) -> Near:
    """The real codes nearest to this one, in Euclidean distance, and how many lie within a radius. (L,), (N, L).

    besides: one that does not count, because the result was made from it.
    """
    away = np.linalg.norm(real.astype(np.float64) - code, axis=1)
    if besides is not None:
        away[besides] = np.inf
    count = min(count, int(np.isfinite(away).sum()))
    ids = np.argsort(away, kind="stable")[:count]
    return Near(ids, away[ids], int((away <= within).sum()), within)
