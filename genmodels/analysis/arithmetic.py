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

    agreement: mean cosine of a_i - b_j with a_k - b_m over random pairs of pairs. effect: Cohen's d along the
    direction. chance, effect_chance: the same where the images of both groups are mixed, mean and standard deviation
    over the mixtures: the direction is that of the very images it is measured on, so d is above 0 by chance too.
    """

    agreement: float
    chance: tuple[float, float]
    effect: float
    effect_chance: tuple[float, float]


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

    Of 0 and 1, 'yes' and 'no'; of a few whole numbers, each; of anything else, its 'high' and its 'low' third. No image
    is in both; where one would be empty there is nothing.
    """
    found = np.unique(values)
    if set(found.tolist()) <= {0.0, 1.0}:
        return {"yes": values == 1, "no": values == 0}
    if len(found) <= KINDS and (found == found.round()).all():
        return {f"{value:g}": values == value for value in found}
    low, high = np.quantile(values, [1 / 3, 2 / 3])
    thirds = {"high": values >= high if low < high else values > high, "low": values <= low}
    return thirds if all(third.any() for third in thirds.values()) else {}


def bootstrap(codes: np.ndarray, a: np.ndarray, b: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Spread:
    """Directions of groups whose images are drawn anew with replacement. (N, L), numbers of images (n,), (m,).

    Each group is drawn from itself; where they share images, all images of both are drawn together, so that a shared
    one counts as often in A as in B. The standard error of each dimension comes near sqrt(var(A) / n + var(B) / m) for
    groups that share none. Raises UserError for one image.
    """
    whole = direction(codes[a], codes[b])
    for name, group in (("A", a), ("B", b)):
        if len(group) < 2:
            raise UserError(
                f"Group {name} is one image: nothing tells how much another choice would change the result."
            )
    found = _resampled(codes, a, b, draws, np.random.default_rng(seed)).astype(np.float32)
    lengths = np.linalg.norm(found, axis=1)
    length_error = float(lengths.std(ddof=1) / np.linalg.norm(whole))
    return Spread(found, found.std(0, ddof=1), length_error, float(_cosines(found, whole[None]).mean()))


def _resampled(
    codes: np.ndarray, a: np.ndarray, b: np.ndarray, draws: int, generator: np.random.Generator
) -> np.ndarray:
    """mean(A) - mean(B) of each draw: how often each image comes is multinomial. -> (draws, L)."""
    both, a, b = _union(a, b)
    pools = [a, b] if len(a) + len(b) == len(both) else [np.arange(len(both))]
    kept: list[np.ndarray] = []
    while len(kept) < draws:  # a draw that leaves a group without images says nothing of it
        times = np.zeros((draws, len(both)))
        for pool in pools:
            times[:, pool] = generator.multinomial(len(pool), np.full(len(pool), 1 / len(pool)), draws)
        kept += [each for each in times if each[a].any() and each[b].any()]
    times, codes = np.stack(kept[:draws]), codes[both].astype(np.float64)
    means = [times[:, group] @ codes[group] / times[:, group].sum(1, keepdims=True) for group in (a, b)]
    return means[0] - means[1]


def _union(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All images of both groups, each once, and the places of A and of B among them."""
    both = np.union1d(a, b)
    return both, np.searchsorted(both, a), np.searchsorted(both, b)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Of each row with its row; 0 where one of them is zero. (N, L), (N or 1, L) -> (N,)."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return (a * b).sum(1) / np.where(lengths > 0, lengths, 1)


def score(codes: np.ndarray, a: np.ndarray, b: np.ndarray, pairs: int = PAIRS, seed: int = 0) -> Score:
    """How much single images agree with the direction, against groups mixed at random. Raises UserError.

    codes: (N, L). a, b: numbers of images, (n,), (m,), 2 at least. Mixed groups share as many images as these do. The
    agreement is the vector score of Latent Space Cartography: Y. Liu, E. Jun, Q. Li and J. Heer (2019),
    https://doi.org/10.1111/cgf.13672.
    """
    generator = np.random.default_rng(seed)
    both, a, b = _union(a, b)
    codes, agreements, effects = codes[both], [], []
    for _ in range(MIXTURES):
        mixed = generator.permutation(codes)
        agreements.append(_agreement(mixed, a, b, pairs, generator))
        effects.append(cohens_d(mixed[a], mixed[b]))
    agreement = _agreement(codes, a, b, pairs, generator)
    return Score(agreement, _level(agreements), cohens_d(codes[a], codes[b]), _level(effects))


def _level(found: list[float]) -> tuple[float, float]:
    """Mean and standard deviation, of those that are finite: mixed groups may happen to have no spread."""
    finite = np.array([each for each in found if np.isfinite(each)] or [0.0])
    return float(finite.mean()), float(finite.std(ddof=min(1, len(finite) - 1)))


def _agreement(codes: np.ndarray, a: np.ndarray, b: np.ndarray, pairs: int, generator: np.random.Generator) -> float:
    """Mean cosine of a_i - b_j with a_k - b_m at random, of four images each: none is compared with itself."""
    (i, k), (j, m) = (group[np.stack(_two(len(group), pairs, generator))] for group in (a, b))
    other = (i != j) & (i != m) & (k != j) & (k != m)
    if not other.any():
        raise UserError("Groups A and B share so many images that single ones cannot be compared: change one of them.")
    i, j, k, m = (each[other] for each in (i, j, k, m))
    return float(_cosines(codes[i] - codes[j], codes[k] - codes[m]).mean())


def _two(n: int, pairs: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Two different numbers below n, `pairs` times."""
    first = generator.integers(n, size=pairs)
    return first, (first + generator.integers(1, n, size=pairs)) % n


def cohens_d(a: np.ndarray, b: np.ndarray) -> float:
    """(mean(a) - mean(b)) / s along the direction, s the pooled standard deviation; 0 for equal means. (n, L), (m, L).

    J. Cohen (1988), Statistical power analysis for the behavioral sciences, 2nd edition, Eq. 2.5.1 and 2.5.2.
    """
    axis = a.mean(0, dtype=np.float64) - b.mean(0, dtype=np.float64)
    if not axis.any():
        return 0.0
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
