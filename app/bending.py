"""The plane as a flow bends it: a chart, a heat map, and the frames of a film."""

from functools import cache
from itertools import pairwise
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
from PIL import Image, ImageDraw

from genmodels.figures import MARKS, STRONG
from genmodels.toys import WINDOW, Bending

SIDE = 336  # CSS pixels of a chart, and of a heat map of 112 cells
FRAME = 224  # pixels of a frame
BETWEEN = 6  # frames from a layer to the next
FINE = 2  # times finer a frame is drawn than it is shown
QUARTERS = ("upper right", "upper left", "lower left", "lower right")
CORNERS = {"square": (4, 0), "triangle-up": (3, 0), "diamond": (4, 45)}  # of marks, and the angle they are turned by
RADIUS = 4  # pixels of a finer frame from the middle of such a mark to its corners
INK = np.array([[255, 255, 255], [150, 198, 226], [1, 115, 181], [9, 34, 68]], float)  # of a heat map, from none to all


def quarters(noise: np.ndarray) -> np.ndarray:
    """Which quarter of the noise each point comes from, counted from the upper right. (N, 2) -> (N,)."""
    left, low = noise[:, 0] < 0, noise[:, 1] < 0
    return np.where(low, np.where(left, 2, 3), np.where(left, 1, 0))


def scatter(points: np.ndarray, quarter: np.ndarray | None = None, lines: np.ndarray | None = None) -> Any:
    """Points (N, 2), told apart by their quarter, (N,), on a grid of lines (M, T, 2), where there are any."""
    frame = pd.DataFrame(points, columns=["x", "y"])
    scale = alt.Scale(domain=[-WINDOW, WINDOW], nice=False)
    x, y = (alt.X("x:Q", scale=scale, title=None), alt.Y("y:Q", scale=scale, title=None))
    tooltip = [alt.Tooltip("x:Q", format=".2f"), alt.Tooltip("y:Q", format=".2f")]
    drawn = alt.Chart(frame).mark_point(filled=True, size=18, opacity=0.75, clip=True).encode(x=x, y=y, tooltip=tooltip)
    if quarter is None:
        drawn = drawn.encode(color=alt.value("#888888"))
    else:
        frame["quarter"] = np.array(QUARTERS)[quarter]
        legend = alt.Legend(title="from the noise's quarter", orient="bottom", columns=2, symbolSize=80)
        domain = list(QUARTERS)
        drawn = drawn.encode(
            color=alt.Color("quarter:N", scale=alt.Scale(domain=domain, range=list(STRONG)), legend=legend),
            shape=alt.Shape("quarter:N", scale=alt.Scale(domain=domain, range=list(MARKS[:4])), legend=legend),
            tooltip=[*tooltip, "quarter:N"],
        )
    layers = [drawn]
    if lines is not None:
        grid = pd.DataFrame(lines.reshape(-1, 2), columns=["x", "y"])
        grid["line"], grid["at"] = np.divmod(np.arange(len(grid)), lines.shape[1])
        layers.insert(0, alt.Chart(grid).mark_line(strokeWidth=0.7, color="#888888", opacity=0.8, clip=True).encode(
            x=x, y=y, detail="line:N", order="at:Q"
        ))  # fmt: skip
    # Sizes are those of the square itself: a legend below would else press it flat.
    return alt.layer(*layers).properties(width=SIDE - 36, height=SIDE - 36, autosize=alt.AutoSizeParams(type="pad"))


def extent(points: np.ndarray) -> str:
    """How many there are, and between what most of them lie. (N, 2)."""
    (left, low), (right, high) = np.quantile(points, (0.05, 0.95), axis=0)
    return f"{len(points):,} points, most from {left:.1f} to {right:.1f} across and from {low:.1f} to {high:.1f} up."


def cells(density: np.ndarray) -> pd.DataFrame:
    """The density at the middle of each cell, from the upper left. (S, S)."""
    middles = (np.arange(len(density)) + 0.5) / len(density) * 2 * WINDOW - WINDOW
    y, x = np.meshgrid(middles[::-1], middles, indexing="ij")
    return pd.DataFrame({"x": x.ravel(), "y": y.ravel(), "density": density.ravel()})


def heat(density: np.ndarray) -> np.ndarray:
    """Darker where it is denser, by the root of the share of the densest. (S, S) -> uint8 (3, S, S)."""
    shade = np.sqrt(density / max(float(density.max()), 1e-12))
    places = np.linspace(0, 1, len(INK))
    return np.stack([np.interp(shade, places, INK[:, c]) for c in range(3)]).round().astype(np.uint8)


def film(found: Bending) -> np.ndarray:
    """From noise to data, straight from layer to layer. -> uint8 (F, 3, FRAME, FRAME)."""
    quarter = quarters(found.noise)
    frames = []
    for number, (a, b) in enumerate(pairwise(range(len(found.points)))):
        for share in np.linspace(0, 1, BETWEEN + 1)[min(1, number) :]:
            lines, points = ((1 - share) * each[a] + share * each[b] for each in (found.lines, found.points))
            frames.append(_frame(lines, points, quarter))
    return np.stack(frames)


def layers_of(found: Bending) -> np.ndarray:
    """The layer that each frame of the film belongs to, from 0. -> (F,)."""
    count = len(found.points) - 1
    return np.concatenate([[0], np.repeat(np.arange(count), BETWEEN)])


def _frame(lines: np.ndarray, points: np.ndarray, quarter: np.ndarray) -> np.ndarray:
    side = FINE * FRAME
    sheet = Image.new("RGB", (side, side), "white")
    draw = ImageDraw.Draw(sheet)
    for line in _pixels(lines, side):
        draw.line([tuple(point) for point in line], fill="#9a9a9a", width=FINE)
    for (x, y), which in zip(_pixels(points, side), quarter, strict=True):
        if MARKS[which] == "circle":
            draw.ellipse([x - 3, y - 3, x + 3, y + 3], fill=STRONG[which])
        else:
            corners = _outline(*CORNERS[MARKS[which]]) + np.array([x, y])
            draw.polygon(corners.ravel().tolist(), fill=STRONG[which])
    small = sheet.resize((FRAME, FRAME), Image.Resampling.BOX)
    return np.asarray(small).transpose(2, 0, 1)


@cache
def _outline(sides: int, turned: float) -> np.ndarray:
    """Corners about the middle of a mark that stands on a side, turned by degrees. -> (sides, 2), pixels.

    Pillow's own computes them anew for each mark, which takes as long as all else.
    """
    angles = np.deg2rad(turned + 90 + (np.arange(sides) + 0.5) * 360 / sides)
    return RADIUS * np.column_stack([np.cos(angles), np.sin(angles)])


def _pixels(places: np.ndarray, side: int) -> np.ndarray:
    """Far outside is cut off: it is not seen, and would be too large a number to draw."""
    return ((places.clip(-9, 9) * (1, -1) + WINDOW) / (2 * WINDOW) * side).astype(np.float64)
