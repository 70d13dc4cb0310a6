"""Whether each true factor has a latent of its own: four published scores of codes whose factors are known.

All are of codes (N, L) and factors (N, F), and lie in [0, 1]. A code that is the factors themselves has the best score
that these images and bins allow; one that says nothing has 0, but for the FactorVAE score, where guessing has 1 / F.

A factor of at most 20 values is taken as categories; any other as a number, and in 20 bins of equal width where values
have to be shared or counted.

F. Locatello et al. (2019), Challenging common assumptions, https://arxiv.org/abs/1811.12359, appendix C, compares them
on the posterior means, in 20 bins of equal width as here.
"""

from typing import NamedTuple

import numpy as np

BINS = 20
VOTES, GROUP = 800, 64  # of the FactorVAE score: groups to learn from and as many to score; images in each
TREES, LEAF = 10, 5  # of DCI: trees in a forest, images in a leaf at least


class DCI(NamedTuple):
    """Does a latent tell of one factor only, is a factor told by one latent only, and how well is it told at all?"""

    disentanglement: float
    completeness: float
    informativeness: float


def is_category(values: np.ndarray) -> bool:
    """Whether there are few enough values to take each for itself. (N,)."""
    return len(np.unique(values)) <= BINS


def levels(values: np.ndarray) -> np.ndarray:
    """Each value's place: among the values of a category, or among 20 bins of equal width. (N,) -> int64 (N,)."""
    if is_category(values):
        return np.unique(values, return_inverse=True)[1]
    return _bins(values)


def _bins(values: np.ndarray) -> np.ndarray:
    edges = np.linspace(values.min(), values.max(), BINS + 1)[1:-1]
    return np.digitize(values, edges)


def mig(codes: np.ndarray, factors: np.ndarray) -> float:
    """Mutual information gap: how much more the latent that tells most of a factor tells than the next one.

    (N, L), (N, F) -> the mean over factors of (I(z_1; v) - I(z_2; v)) / H(v). Latents are put into 20 bins of equal
    width, factors are counted value by value: give the `levels` of those that are numbers.

    R. Chen et al. (2018), Isolating sources of disentanglement in VAEs, https://arxiv.org/abs/1802.04942, section 4.
    """
    from sklearn.metrics import mutual_info_score

    binned = [_bins(code) for code in _and_nothing(codes).T]
    told = np.array([[mutual_info_score(factor, code) for code in binned] for factor in factors.T])
    entropy = np.array([mutual_info_score(factor, factor) for factor in factors.T])
    return float((_gap(told) / entropy).mean())


def _and_nothing(codes: np.ndarray) -> np.ndarray:
    """With one more latent, which never moves: the next best one where all others are worse. (N, L) -> (N, L + 1)."""
    return np.pad(codes, ((0, 0), (0, 1)))


def _gap(scores: np.ndarray) -> np.ndarray:
    """The best latent of each factor less the next best. (F, L) -> (F,)."""
    best = np.sort(scores, axis=1)
    return best[:, -1] - best[:, -2]


def sap(codes: np.ndarray, factors: np.ndarray) -> float:
    """Separated attribute predictability: how much better the best single latent predicts a factor than the next one.

    (N, L), (N, F) -> the mean gap over factors. A number is predicted by a line, scored by R² (the squared
    correlation); a category by as few thresholds as it needs, scored by the balanced accuracy.

    A. Kumar, P. Sattigeri and A. Balakrishnan (2018), Variational inference of disentangled latent concepts,
    https://arxiv.org/abs/1711.00848, section 3.
    """
    codes = _and_nothing(codes)
    told = [(_thresholds if is_category(factor) else _line)(codes, factor) for factor in factors.T]
    return float(_gap(np.array(told)).mean())


def _line(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """R² of the factor by each latent alone; 0 for a latent that never moves. (N, L), (N,) -> (L,)."""
    z, v = codes - codes.mean(0), factor - factor.mean()
    moves = z.std(0) > 0
    power = np.where(moves, (z**2).sum(0), 1.0) * (v**2).sum()
    return np.where(moves, (v @ z) ** 2 / power, 0.0)


def _thresholds(codes: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Balanced accuracy of the factor by each latent alone, with one interval for each value. (N, L), (N,) -> (L,)."""
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_leaf_nodes=max(2, len(np.unique(factor))), class_weight="balanced")
    truth, found = levels(factor), []
    for code in codes.T[:, :, None]:
        found.append(balanced_accuracy_score(truth, tree.fit(code, truth).predict(code)))
    return np.array(found)


def dci(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> DCI:
    """Disentanglement, completeness and informativeness by random forests, one for each factor. (N, L), (N, F).

    R_ij is how important latent i is to a forest that predicts factor j, learned on half of the images.
    Informativeness is R² on the other half, mean over factors: 1 - NRMSE² of the paper, so that higher is better. The
    values of a category are predicted as 0 or 1 each, where the squared error is the Gini impurity.

    C. Eastwood and C. Williams (2018), A framework for the quantitative evaluation of disentangled representations,
    https://openreview.net/forum?id=By-7dz-AZ, section 2.
    """
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.metrics import r2_score

    order = np.random.default_rng(seed).permutation(len(codes))
    learned, other = order[: len(order) // 2], order[len(order) // 2 :]
    importance, told = [], []
    for factor in factors.T:
        target = np.eye(BINS)[levels(factor)] if is_category(factor) else factor
        forest = RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=seed)
        forest.fit(codes[learned], target[learned])
        importance.append(forest.feature_importances_)
        score = r2_score(target[other], forest.predict(codes[other]), multioutput="variance_weighted")
        told.append(max(0.0, score))
    return DCI(*concentration(np.array(importance).T), float(np.mean(told)))


def concentration(importance: np.ndarray) -> tuple[float, float]:
    """Disentanglement and completeness of importances R (L, F), by Eastwood and Williams (2018), section 2.

    D_i = 1 - H_F(R_i. / sum), weighted by the share that latent i has in all R; C_j = 1 - H_L(R_.j / sum), likewise.
    """
    return _concentrated(importance), _concentrated(importance.T)


def _concentrated(importance: np.ndarray) -> float:
    """1 less the entropy of each row, in units of its greatest, weighted by the row's share. (A, B) -> [0, 1]."""
    from scipy.special import entr

    row = importance.sum(1)
    if not row.any():
        return 0.0
    shares = importance / np.where(row > 0, row, 1)[:, None]  # of what counts for nothing, by weight, anything will do
    entropy = entr(shares).sum(1) / np.log(max(2, importance.shape[1]))
    return max(0.0, float((1 - entropy) @ row / row.sum()))  # rounding can go below


def factor_vae(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> float:
    """How often one can tell which factor a group of images shares by the latent that varies least among them.

    (N, L), (N, F) -> accuracy. The variance of each latent in a group of 64 is taken relative to its variance over
    all; the least one votes. Half of 1,600 groups teach which factor each latent stands for, by majority; the others
    are scored. Of numbers, images within one of 20 bins count as sharing it. A latent that never moves has no vote,
    and without any the score is 0.

    H. Kim and A. Mnih (2018), Disentangling by factorising, https://arxiv.org/abs/1802.05983, section 4.
    """
    codes = codes[:, codes.std(0) > 0]
    if not codes.shape[1]:
        return 0.0
    codes, rng, count = codes / codes.std(0), np.random.default_rng(seed), factors.shape[1]
    places = np.stack([levels(factor) for factor in factors.T], 1)
    shared = rng.integers(count, size=2 * VOTES)
    least = np.empty(2 * VOTES, np.int64)
    for vote, factor in enumerate(shared):
        same = np.flatnonzero(places[:, factor] == places[rng.integers(len(places)), factor])
        least[vote] = codes[rng.choice(same, GROUP)].var(0).argmin()
    votes = np.zeros((codes.shape[1], count), np.int64)
    np.add.at(votes, (least[:VOTES], shared[:VOTES]), 1)
    return float((votes.argmax(1)[least[VOTES:]] == shared[VOTES:]).mean())
