"""The training image nearest to each sample, and how near training images are to each other: whether a model copies.

Distances are the root of the mean squared difference of a pixel, as a share of the full range from black to white.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 8_000_000  # pixels of training images held in memory as floats
ASKED = 500  # training images whose nearest other one is looked for
RARE = 0.01  # of the training images have another one as near as this


class Nearness(NamedTuple):
    """Of each image: the place of its nearest training image, int64 (n,), and the distance, float (n,)."""

    indices: np.ndarray
    distance: np.ndarray


class Usual(NamedTuple):
    """How far a training image is from its nearest other one: half of n are nearer than `median`, 1% than `low`."""

    median: float
    low: float
    n: int


def nearest(samples: np.ndarray, images: np.ndarray, own: np.ndarray | None = None) -> Nearness:
    """The nearest of `images` to each sample. uint8 (n, C, H, W), (N, C, H, W), which may be memory-mapped.

    own: the place of each sample among the images, which is left out, (n,).
    """
    flat = _floats(samples)
    best, index = torch.full((len(flat),), torch.inf), torch.zeros(len(flat), dtype=torch.int64)
    size = max(1, AT_ONCE // flat.shape[1])
    for first in range(0, len(images), size):
        apart = _partial(flat, images[first : first + size])
        if own is not None:
            here = np.flatnonzero((own >= first) & (own < first + apart.shape[1]))
            apart[here, own[here] - first] = torch.inf
        least, where = apart.min(1)
        nearer = least < best
        best, index = torch.where(nearer, least, best), torch.where(nearer, first + where, index)
    # The products are rounded; the distance to the image that was found is not.
    found = _floats(images[index.numpy()])
    return Nearness(index.numpy(), ((found - flat) / 255).square().mean(1).sqrt().numpy())


def _partial(flat: Tensor, images: np.ndarray) -> Tensor:
    """Squared distances less the samples' own squares, which change no order. (n, D), uint8 (m, ...) -> (n, m)."""
    x = _floats(images)
    return torch.addmm(torch.linalg.vector_norm(x, dim=1).square_(), flat, x.T, alpha=-2)


def _floats(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images.reshape(len(images), -1).astype(np.float32))


def usual(images: np.ndarray, count: int = ASKED) -> Usual:
    """How near training images are to each other, on the same `count` of them at every call. uint8 (N, C, H, W).

    It costs as much as `nearest` of so many samples: callers keep it.
    """
    asked = np.sort(np.random.default_rng(0).permutation(len(images))[:count])
    distance = nearest(images[asked], images, asked).distance
    return Usual(float(np.median(distance)), float(np.quantile(distance, RARE)), len(asked))


def too_near(found: Nearness, known: Usual) -> np.ndarray:
    """Which samples are nearer to a training image than 99% of the training images are to another. bool (n,).

    A copy always is, also where one in a hundred training images is there twice.
    """
    return (found.distance < known.low) | (found.distance == 0)


def sentence(found: Nearness, known: Usual) -> str:
    """What the distances say, in plain words."""
    near, median = int(too_near(found, known).sum()), float(np.median(found.distance))
    those, copies = {
        0: ("None of them is", ", so none is a copy pixel by pixel"),
        1: ("1 of them is", ": look whether it is a copy"),
    }.get(near, (f"{near} of them are", ": look whether they are copies"))
    return (
        f"Half of these samples are within {median:.1%} of a training image; of the training images themselves, half "
        f"are within {known.median:.1%} of another one. {those} nearer than 99 in 100 training images are to another "
        f"one ({known.low:.1%}){copies}."
    )
