"""How far two sets of images are from each other: in any features, or by how sharp they are. Arrays in, numbers out."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 4_000_000  # distances held in memory together
SHARPNESS = "variance of the Laplacian; best as of real images"


class PRDC(NamedTuple):
    """Four shares of two sets of features; density alone can exceed 1. For two sets of the same law, precision and
    recall are near 1, density is 1 on average, and coverage 1 - 2^-wide."""

    precision: float
    recall: float
    density: float
    coverage: float


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features. (N, F), (M, F) -> 0 or more.

    M. Heusel et al. (2017), GANs trained by a two time-scale update rule, https://arxiv.org/abs/1706.08500, Eq. 6:
    |m - m'|² + tr(C + C' - 2 (C C')^(1/2)), where the last trace is the sum of the singular values of C^(1/2) C'^(1/2).
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    first, second = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (a, b))
    shared = np.linalg.svd(_root(first) @ _root(second), compute_uv=False).sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return max(0.0, float(apart + np.trace(first) + np.trace(second) - 2 * shared))


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root; what rounding made negative counts as nothing."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy of two sets of features. (N, F), (M, F), two or more of each.

    The kernel inception distance of M. Binkowski et al. (2018), Demystifying MMD GANs,
    https://arxiv.org/abs/1801.01401, with their kernel (x.y / F + 1)³, over all pairs at once. Of two sets of the same
    law it is 0 on average, and so as often a little below it.
    """
    x, y = (torch.from_numpy(np.asarray(each, np.float64)) for each in (a, b))

    def kernel(products: Tensor) -> Tensor:
        return (products / x.shape[1] + 1) ** 3

    def total(p: Tensor, q: Tensor) -> float:
        return sum(kernel(rows @ q.T).sum().item() for rows in p.split(max(1, AT_ONCE // len(q))))

    def within(p: Tensor) -> float:
        return (total(p, p) - kernel(p.square().sum(1)).sum().item()) / (len(p) * (len(p) - 1))

    return within(x) + within(y) - 2 * total(x, y) / (len(x) * len(y))


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 3, wide: int = 5) -> PRDC:
    """Precision and recall with balls that reach the k-th neighbour, density and coverage with the `wide`-th.

    real: (N, F), fake: (M, F). A ball lies round each feature, as wide as to its k-th nearest other one of its set.
    precision: fakes in a ball of a real one; recall: real ones in a ball of a fake: T. Kynkäänniemi et al. (2019),
    Improved precision and recall metric, https://arxiv.org/abs/1904.06991, Eq. 1-2, k = 3. density: balls of real ones
    that a fake lies in, over `wide`; coverage: balls of real ones with a fake in them: M. F. Naeem et al. (2020),
    Reliable fidelity and diversity metrics, https://arxiv.org/abs/2002.09797, Eq. 4-5, k = 5.
    """
    middle = real.mean(0)  # what is subtracted from each other should not be large
    x, y = (torch.from_numpy(np.ascontiguousarray(each - middle, np.float32)) for each in (real, fake))
    # What lies on the edge is within, whatever the last digit of a product says.
    slack = 1e-6 * float(max(x.square().sum(1).max(), y.square().sum(1).max()))
    narrow, broad = (_reach(x, nearest) + slack for nearest in (k, wide))
    of_fake = _reach(y, k) + slack
    precise, inside = 0, 0
    recalled, covered = (torch.zeros(len(x), dtype=torch.bool) for _ in range(2))
    for rows in torch.arange(len(y)).split(max(1, AT_ONCE // len(x))):
        apart = _squares(y[rows], x)
        precise += int((apart <= narrow).any(1).sum())
        recalled |= (apart <= of_fake[rows, None]).any(0)
        within = apart <= broad
        inside += int(within.sum())
        covered |= within.any(0)
    wide = min(wide, len(x) - 1)
    return PRDC(
        precise / len(y), recalled.sum().item() / len(x), inside / (wide * len(y)), covered.sum().item() / len(x)
    )


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances. (A, F), (B, F) -> (A, B)."""
    return torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True))


def _reach(x: Tensor, k: int) -> Tensor:
    """The squared distance of each to its k-th nearest other one. (N, F) -> (N,)."""
    k = min(k, len(x) - 1)  # itself is the first of k + 1
    parts = x.split(max(1, AT_ONCE // len(x)))
    return torch.cat([_squares(part, x).topk(k + 1, largest=False).values[:, k] for part in parts])


def sharpness(images: Tensor) -> Tensor:
    """Variance of the Laplacian of each image, its channels averaged: 0 of one that is flat, little of one that is
    blurred, and much of noise. Float (N, C, H, W) -> (N,), squared grey levels.

    I. Tolstikhin et al. (2018), Wasserstein auto-encoders, https://arxiv.org/abs/1711.01558, measure blur like this.
    """
    x = images.mean(1)
    around = x[:, :-2, 1:-1] + x[:, 2:, 1:-1] + x[:, 1:-1, :-2] + x[:, 1:-1, 2:]
    return (around - 4 * x[:, 1:-1, 1:-1]).flatten(1).var(1, correction=0)
