"""Traversals: one latent dimension moves while the others stay, and which known factor a dimension follows.

The grid with a row for each dimension, ordered by KL, is that of Y. Dubois et al., disentangling-vae
(https://github.com/YannDubs/disentangling-vae), with quantiles of the prior as columns.
"""

from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from genmodels import media
from genmodels.media import PAPER, enlarge

BINS = 10  # values of a factor that are told apart; one with fewer values keeps them
WEAK = 0.1  # a share of the variance below which a dimension follows no factor
INK, MARK = (38, 39, 48), (224, 16, 124)  # of the letters; of the frame around what is marked
GAP, FRAME = 6, 2  # pixels between the images; of the frame


class Follows(NamedTuple):
    """The factor that a dimension follows best, by its column, and the share of the variance it accounts for."""

    factor: int
    share: float


def quantiles(columns: int, tail: float = 0.05) -> np.ndarray:
    """Standard normal quantiles at evenly spaced levels from `tail` to 1 - tail. (columns,), standard deviations."""
    return np.array([NormalDist().inv_cdf(level) for level in np.linspace(tail, 1 - tail, columns)])


def codes(z: np.ndarray, dimensions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Copies of z, (L,), in which one of `dimensions`, (R,), has one of its `values`, (R, K). -> (R, K, L)."""
    rows = np.arange(len(dimensions))
    grid = np.broadcast_to(z, (*values.shape, len(z))).copy()
    grid[rows, :, dimensions] = values
    return grid


def decoded(
    decode: Callable[[np.ndarray], np.ndarray], z: np.ndarray, dimensions: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """The grid of `codes` as pictures. decode: (N, L) -> uint8 (N, C, H, W). -> uint8 (R, K, C, H, W)."""
    images = decode(codes(z, dimensions, values).reshape(-1, len(z)))
    return images.reshape(*values.shape, *images.shape[1:])


def nearest(z: np.ndarray, dimensions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The column of each row whose value is nearest to that of z. (L,), (R,), (R, K) -> (R,)."""
    return np.abs(values - z[dimensions][:, None]).argmin(1)


def correlation_ratio(values: np.ndarray, groups: np.ndarray) -> float:
    """epsilon² = 1 - (1 - eta²) (N - 1) / (N - k): the share of the variance of `values` between k groups, in [0, 1].

    eta² is Pearson's correlation ratio, the variance of the group means over the variance; the factor takes away what
    chance alone would give. For groups in any order: a class or an angle is no worse than a length. (N,), (N,).

    T. Kelley (1935), An unbiased correlation ratio measure, PNAS 21, https://doi.org/10.1073/pnas.21.9.554
    """
    _, members, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    total = float(np.square(values - values.mean()).sum())
    if total == 0 or len(sizes) < 2 or len(values) <= len(sizes):
        return 0.0
    means = np.bincount(members, values) / sizes
    within = float(np.square(values - means[members]).sum())
    return max(0.0, 1 - within / total * (len(values) - 1) / (len(values) - len(sizes)))


def binned(factor: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Groups of about equal size, in order; a factor with no more values than bins keeps them. (N,) -> int (N,)."""
    values, groups = np.unique(factor, return_inverse=True)
    if len(values) <= bins:
        return groups
    return np.searchsorted(np.quantile(factor, np.arange(1, bins) / bins), factor, side="right")


def followed(means: np.ndarray, factors: np.ndarray) -> list[Follows | None]:
    """For each dimension the factor that accounts for most of its variance; None where none has a tenth of it.

    (N, L), (N, F) -> L of them. A dimension may follow a factor back and forth: the groups are in no order.
    """
    if not factors.shape[1]:
        return [None] * means.shape[1]
    groups = [binned(column) for column in factors.T]
    table = np.array([[correlation_ratio(column, each) for each in groups] for column in means.astype(np.float64).T])
    best = [Follows(int(row.argmax()), float(row.max())) for row in table]
    return [each if each.share >= WEAK else None for each in best]


def sheet(
    images: np.ndarray, rows: Sequence[str], columns: Sequence[str], marked: np.ndarray, scale: int, least: int = 11
) -> np.ndarray:
    """The grid as one picture with its labels, each image `scale` times as large, the marked of each row framed.

    images: uint8 (R, K, C, H, W) as people look at them. rows: R labels. columns: K labels, or none.
    marked: (R,), the column of each row that is framed; -1 for none. least: pixels of a letter. -> uint8 (H', W', 3).
    """
    height, width = (scale * side + GAP for side in images.shape[3:])
    size = max(least, min(24, height // 4))
    font = ImageFont.load_default(size)
    left = _widest(font, rows) + 3 * GAP
    top = size + 4 * GAP if columns else GAP
    picture = Image.new("RGB", (left + width * images.shape[1], top + height * len(rows)), (PAPER,) * 3)
    pen = ImageDraw.Draw(picture)
    for place, label in enumerate(columns):
        _head(pen, left + place * width + (width - GAP) // 2, top - 2 * GAP, label, font, size)
    for down, label in enumerate(rows):
        y = top + down * height
        pen.text((left - 2 * GAP, y + (height - GAP) // 2), label, INK, font, "rm", align="right")
        picture.paste(Image.fromarray(media.grid(images[down], images.shape[1], scale, GAP)), (left, y))
        if marked[down] >= 0:
            x = left + int(marked[down]) * width
            pen.rectangle((x - FRAME, y - FRAME, x + width - GAP + 1, y + height - GAP + 1), None, MARK, FRAME)
    return np.asarray(picture)


def _head(
    pen: ImageDraw.ImageDraw, x: int, y: int, label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, size: int
) -> None:
    """A number centred on x, its foot on y. Pillow's own font has no minus: it is drawn, and hangs to the left."""
    digits = label.removeprefix("−")
    pen.text((x, y), digits, INK, font, "ms")
    if digits != label:
        end, middle = x - font.getlength(digits) / 2 - size / 8, y - size / 3
        pen.line((end - size / 2, middle, end, middle), INK, max(1, size // 12))


def frames(images: np.ndarray, rows: Sequence[str], scale: int) -> np.ndarray:
    """The grid as a film: at each moment one column of it, there and back, the rows side by side.

    images: uint8 (R, K, C, H, W). -> uint8 (2 K - 2, 3, H', W'), one still where there is one column.
    """
    across = int(np.ceil(np.sqrt(len(rows))))
    order = [*range(images.shape[1]), *range(images.shape[1] - 2, 0, -1)]
    return np.stack([_moment(images[:, column], rows, across, scale) for column in order]).transpose(0, 3, 1, 2)


def _moment(images: np.ndarray, rows: Sequence[str], across: int, scale: int) -> np.ndarray:
    """One frame: images (R, C, H, W), each with its label above."""
    height, width = (scale * side for side in images.shape[2:])
    font = ImageFont.load_default(14)
    wide = max(width, _widest(font, rows)) + 2 * GAP
    above = 18 * max(label.count("\n") + 1 for label in rows)
    tall = height + above + GAP
    picture = Image.new("RGB", (across * wide, -(-len(rows) // across) * tall), (PAPER,) * 3)
    pen = ImageDraw.Draw(picture)
    for n, (image, label) in enumerate(zip(enlarge(images, scale), rows, strict=True)):
        x, y = n % across * wide, n // across * tall
        pen.text((x + wide // 2, y), label, INK, font, "ma", align="center")
        pixels = np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0)
        picture.paste(Image.fromarray(pixels), (x + (wide - width) // 2, y + above))
    return np.asarray(picture)


def _widest(font: ImageFont.FreeTypeFont | ImageFont.ImageFont, labels: Sequence[str]) -> int:
    return max(int(font.getlength(line)) for label in labels for line in label.split("\n"))
