"""Sets of points in the plane, and what a flow of couplings makes of the plane, layer by layer."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmodels.config import UserError
from genmodels.couplings import CouplingFlow, Couplings, log_standard_normal

WINDOW = 4.0  # what is looked at: from -4 to 4 both ways
LINES, TICKS = 17, 65  # of the grid: lines each way, points on each
CELLS = 112  # of the heat map, each way
AT_ONCE = 8000  # points whose density is computed together: few enough to stay near the processor


def _moons(n: int, seed: int) -> np.ndarray:
    from sklearn.datasets import make_moons

    return make_moons(n, noise=0.07, random_state=seed)[0]


def _circles(n: int, seed: int) -> np.ndarray:
    from sklearn.datasets import make_circles

    return make_circles(n, noise=0.05, factor=0.45, random_state=seed)[0]


def _gaussians(n: int, seed: int) -> np.ndarray:
    from sklearn.datasets import make_blobs

    turn = np.arange(8) * np.pi / 4
    return make_blobs(n, centers=np.column_stack([np.cos(turn), np.sin(turn)]), cluster_std=0.12, random_state=seed)[0]


def _spiral(n: int, seed: int) -> np.ndarray:
    from sklearn.datasets import make_swiss_roll

    return make_swiss_roll(n, noise=0.5, random_state=seed)[0][:, [0, 2]]


def _checkerboard(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    x, row = rng.uniform(0, 4, n), rng.integers(0, 2, n)
    return np.column_stack([x, 2 * row + np.floor(x) % 2 + rng.uniform(0, 1, n)])


SETS: dict[str, Callable[[int, int], np.ndarray]] = {
    "moons": _moons, "circles": _circles, "gaussians": _gaussians, "spiral": _spiral, "checkerboard": _checkerboard,
}  # fmt: skip
TITLES = {
    "moons": "Two moons", "circles": "Two circles", "gaussians": "Eight Gaussians", "spiral": "Spiral",
    "checkerboard": "Checkerboard",
}  # fmt: skip


def points(name: str, n: int, seed: int = 0) -> Tensor:
    """n points of a set, standardised: each coordinate has mean 0 and deviation 1. -> float32 (n, 2). UserError."""
    if name not in SETS:
        raise UserError(f"There is no set '{name[:40]}' of points; there is: {', '.join(SETS)}.")
    found = SETS[name](n, seed)
    return torch.from_numpy((found - found.mean(0)) / found.std(0)).float()


class Bending(NamedTuple):
    """Where noise is after 0 to K layers, on its way to the data: 0 is the noise itself, K the data.

    points: float32 (K+1, N, 2). noise: N(0, I) (N, 2), where they began. lines: the grid (K+1, M, T, 2).
    densities: of the points, (K+1, S, S) over the window, the top row first.
    """

    points: np.ndarray
    noise: np.ndarray
    lines: np.ndarray
    densities: np.ndarray


@torch.no_grad()
def bending(flow: CouplingFlow, n: int = 600, seed: int = 0) -> Bending:
    """All of it at once, so that going to and fro is quick."""
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(seed))
    grid = _grid()
    moved, layers = [torch.cat([noise, grid.flatten(0, 1)])], list[Any](flow.couplings)
    for coupling in reversed(layers):
        moved.append(coupling.inverse(moved[-1]))
    moved[-1] = moved[-1] * flow.deviation + flow.mean
    side = (torch.arange(CELLS) + 0.5) / CELLS * 2 * WINDOW - WINDOW
    cells = torch.stack(torch.meshgrid(side, -side, indexing="xy"), -1).flatten(0, 1)
    densities = [_density(flow, cells, k).reshape(CELLS, CELLS) for k in range(len(moved))]
    stacked = torch.stack(moved)
    lines = stacked[:, n:].reshape(len(moved), *grid.shape)
    return Bending(stacked[:, :n].numpy(), noise.numpy(), lines.numpy(), torch.stack(densities).numpy())


def _grid() -> Tensor:
    """Lines up and across, from -3 to 3, where noise is. -> (2 LINES, TICKS, 2)."""
    at, along = torch.linspace(-3, 3, LINES), torch.linspace(-3, 3, TICKS)
    up = torch.stack(torch.meshgrid(at, along, indexing="ij"), -1)
    return torch.cat([up, up.flip(-1)])


@torch.no_grad()
def _density(flow: CouplingFlow, y: Tensor, k: int) -> Tensor:
    """p of what the noise has become after k layers, at points (N, 2): N(f(y); 0, I) |det df/dy|. -> (N,)."""
    layers = list(flow.couplings)
    if k == len(layers):
        return flow.log_prob(y).exp()
    z, log_det = Couplings(*layers[len(layers) - k :])(y)
    return (log_standard_normal(z) + log_det).exp()


def integral(flow: CouplingFlow, reach: float = 6.0, cells: int = 600) -> float:
    """The flow's density summed over the square from -reach to reach, cell by cell: 1 but for what lies outside."""
    side = (torch.arange(cells) + 0.5) / cells * 2 * reach - reach
    parts = torch.cartesian_prod(side, side).split(AT_ONCE)
    total = sum(float(_density(flow, part, len(flow.couplings)).double().sum()) for part in parts)
    return total * (2 * reach / cells) ** 2
