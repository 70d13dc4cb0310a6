"""Shapes: a synthetic set with five known factors, to see whether latents find them. The n-th image depends on n only.

shape        square, ellipse or triangle; the class, and in colour also the colour
scale        half the width of the square, 0.10 to 0.20 of the image's side: the whole shape stays inside
orientation  0 to 90 degrees: the square looks the same after 90, so more would make two truths of one picture
x, y         the centre of mass, 0.3 to 0.7 of the side; x to the right, y downwards
"""

from collections.abc import Iterator

import numpy as np

from genmodels.data.dataset import Block, Source

COUNT = 16_384
CLASSES = ("square", "ellipse", "triangle")
FACTORS = ("shape", "scale", "orientation", "x", "y")
LOW = np.array([0.0, 0.10, 0.0, 0.3, 0.3])
HIGH = np.array([3.0, 0.20, 90.0, 0.7, 0.7])
# Okabe and Ito's orange, sky blue and bluish green: told apart by colour-blind people too.
COLOURS = np.array([[230, 159, 0], [86, 180, 233], [0, 158, 115]], np.float32) / 255
BLOCK = 1024


def factors(n: np.ndarray) -> np.ndarray:
    """The five factors of images n, (N,) integers: float32 (N, 5), columns as in FACTORS, shape 0, 1 or 2.

    Each column steps by the square root of a prime, modulo its range: that covers the ranges more evenly than chance
    would, and leaves the factors uncorrelated.
    """
    share = (0.5 + np.asarray(n, np.float64)[:, None] * np.sqrt([2, 3, 5, 7, 11])) % 1.0
    values = LOW + (HIGH - LOW) * share
    values[:, 0] = np.floor(values[:, 0])
    return values.astype(np.float32)


def render(true_factors: np.ndarray, size: int, channels: int = 1) -> np.ndarray:
    """Draw factors (N, 5) on black: uint8 (N, C, size, size). A pixel is as bright as the share of it that is covered.

    The edge is smoothed over one pixel by the distance to it: exact for straight edges, first order for the ellipse.
    """
    kind, scale, angle, x, y = (column[:, None, None].astype(np.float32) for column in true_factors.T)
    centres = (np.arange(size, dtype=np.float32) + 0.5) / size
    across, down = centres[None, None, :] - x, centres[None, :, None] - y
    cosine, sine = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    u, v = (across * cosine + down * sine) / scale, (down * cosine - across * sine) / scale
    square = np.maximum(abs(u), abs(v)) - 1
    # The ellipse's half axes are 1.4 and 0.7; its level set over its gradient is the distance near the edge.
    level = np.sqrt((u / 1.4) ** 2 + (v / 0.7) ** 2)
    slope = np.sqrt((u / 1.4**2) ** 2 + (v / 0.7**2) ** 2) / np.maximum(level, 1e-6)
    ellipse = (level - 1) / np.maximum(slope, 1e-6)
    # An equilateral triangle around its centre of mass: three half planes at distance 0.72.
    triangle = np.maximum(v, abs(u) * np.sqrt(np.float32(0.75)) - v / 2) - np.float32(0.72)
    distance = np.where(kind == 0, square, np.where(kind == 1, ellipse, triangle)) * scale * size  # in pixels
    cover = np.clip(0.5 - distance, 0, 1)[:, None]
    if channels == 3:
        cover = cover * COLOURS[true_factors[:, 0].astype(int)][:, :, None, None]
    return np.round(255 * cover).astype(np.uint8)


def open_shapes(size: int, channels: int) -> Source:
    """The first 16,384 images."""
    return Source(COUNT, CLASSES, _blocks(size, channels), factor_names=FACTORS)


def _blocks(size: int, channels: int) -> Iterator[Block]:
    for first in range(0, COUNT, BLOCK):
        true_factors = factors(np.arange(first, first + BLOCK))
        yield render(true_factors, size, channels), true_factors[:, 0].astype(np.int64), true_factors
