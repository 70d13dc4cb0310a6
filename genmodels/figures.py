"""Arrays in, Altair charts out: the same for a page, a notebook and the README. Beside them, what they say in words."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal

import altair as alt
import numpy as np
import pandas as pd

# Ten class colours, the same everywhere. Chosen so that the two nearest are as far apart as can be for normal,
# protanopic, deuteranopic and tritanopic eyes. On white or on near-black some are faint.
COLOURS = (
    "#0173b5", "#e0107c", "#bab30d", "#a06bfc", "#5c4d09",
    "#4cb9ed", "#90156f", "#a87213", "#f57e9e", "#5a12d8",
)  # fmt: skip
# A shape beside each colour, so that no class is told by its colour alone.
MARKS = (
    "circle", "square", "triangle-up", "diamond", "cross",
    "triangle-down", "triangle-right", "triangle-left", "arrow", "wedge",
)  # fmt: skip
# Those that have a contrast of 3 and more on white and on near-black: lines have no room for an edge.
STRONG = tuple(COLOURS[i] for i in (0, 1, 7, 3))
LINES = (*STRONG, *(each for each in COLOURS if each not in STRONG))
EDGE = "#888888"  # round what may be too faint on either
DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3], [12, 3], [4, 6])  # solid first
LIMIT = 500  # points a browser draws for one line
FEW = 25  # points of a line that is short enough to show each of them
CARRIES = 0.1  # nats from which a latent dimension says something about the image
Series = tuple[np.ndarray, np.ndarray]  # x and y, float (N,)
Mark = tuple[float, str]  # a place on the x axis, and what happened there
Spec = dict[str, Any]  # a Vega-Lite chart; its datasets are data frames
Data = pd.DataFrame | alt.NamedData

_WORDS = {word.lower(): word for word in ("ELBO", "KL", "NLL", "MIG", "DCI", "SAP", "VAE")}
_WORDS |= {"d_real": "D(x)", "d_fake": "D(G(z))", "frechet": "Fréchet"}


def title(name: str) -> str:
    """A name from the code as a person writes it: negative_elbo -> Negative ELBO."""
    words = [_WORDS.get(word, word) for word in ([name] if name in _WORDS else name.split("_"))]
    return " ".join([words[0][0].upper() + words[0][1:], *words[1:]])


def number(value: float, unit: str = "") -> str:
    """Three digits that count, no exponent where it can be helped: 1,234 / 24.5 / 0.0314. Nats end at the hundredth."""
    if isinstance(value, int):
        return f"{value:,}"
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    if unit.startswith("nats") and abs(value) < 0.005:
        return "0.00"
    digits = max(0, 2 - int(np.floor(np.log10(abs(value)))))
    return f"{value:,.{digits}f}" if digits < 7 else f"{value:.2e}"


def thin(series: Series, limit: int = LIMIT) -> Series:
    """At most `limit` points that keep every peak: the lowest and highest of each bucket, and both ends."""
    x, y = series
    if len(x) <= limit:
        return series
    edges = np.linspace(1, len(x) - 1, (limit - 2) // 2 + 1).astype(int)
    kept = {0, len(x) - 1}
    for first, stop in pairwise(edges):
        bucket = y[first:stop]
        kept |= {first + int(bucket.argmin()), first + int(bucket.argmax())}
    chosen = np.array(sorted(kept))
    return x[chosen], y[chosen]


def loss_curves(
    lines: Mapping[str, Series],
    *,
    x_title: str = "step",
    log: bool = False,
    cursor: float | None = None,
    marks: Sequence[Mark] = (),
    height: int = 300,
) -> alt.LayerChart | alt.FacetChart:
    """Lines over steps or seconds, told apart by colour and by dash; values on hover; a vertical rule at the cursor,
    and one with words at each mark."""
    frames, options = _curve_parts(lines, x_title, log, cursor, marks, height)
    return _curves(*frames.values(), **options)


def live_curves(
    lines: Mapping[str, Series],
    *,
    x_title: str = "step",
    log: bool = False,
    cursor: float | None = None,
    marks: Sequence[Mark] = (),
    height: int = 300,
    level: float | None = None,
) -> Spec:
    """`loss_curves` for a page that draws them every second: 2 ms instead of 30. level: of probabilities, a line."""
    frames, options = _curve_parts(lines, x_title, log and level is None, cursor, marks, height)
    return spec(_curves, frames, options | {"level": level})


def _curve_parts(
    lines: Mapping[str, Series], x_title: str, log: bool, cursor: float | None, marks: Sequence[Mark], height: int
) -> tuple[dict[str, pd.DataFrame], dict[str, Any]]:
    """The data of the curves, and all else that decides how they look."""
    frame = _long({name: thin(series) for name, series in lines.items()})
    where = pd.DataFrame({"x": np.array([] if cursor is None else [cursor], float)})
    told = _told(marks, frame["x"].to_numpy())
    few = bool(frame["line"].value_counts().max() < FEW) if len(frame) else True
    scale = _log_scale(frame["y"].to_numpy()) if log else "linear"
    options = {"names": tuple(lines), "x_title": x_title, "scale": scale, "few": few, "height": height}
    return {"lines": frame, "cursor": where, "marks": told}, options


def _told(marks: Sequence[Mark], x: np.ndarray) -> pd.DataFrame:
    """Marks with the words that are written beside them: of those too near each other, the last one's."""
    frame = pd.DataFrame(list(marks), columns=["x", "label"]).astype({"x": float, "label": str}).sort_values("x")
    gaps = np.append(np.diff(frame["x"]), np.inf)[: len(frame)]
    return frame.assign(words=frame["label"].where(gaps > 0.05 * (np.ptp(x) if len(x) else 0), ""))


def _curves(
    lines: Data, cursor: Data, marks: Data, *, names: tuple[str, ...], x_title: str, scale: Any, few: bool,
    height: int, level: float | None = None,
) -> alt.LayerChart | alt.FacetChart:  # fmt: skip
    y_scale = alt.Scale(type=scale, zero=False, nice=scale == "linear") if level is None else alt.Scale(domain=[0, 1])
    ticks = {"tickCount": 5} if level is None else {"values": [0, level, 1]}
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=500, labelLimit=400, columns=2)
    line = (
        alt.Chart(lines)
        .mark_line(strokeWidth=2, clip=True, point=few)
        .encode(
            x=alt.X("x:Q", title=x_title, axis=alt.Axis(format=",~r", tickCount=5), scale=alt.Scale(nice=False)),
            y=alt.Y("y:Q", title=None, scale=y_scale, axis=alt.Axis(format=",.4~r", **ticks)),
            color=alt.Color("line:N", scale=alt.Scale(domain=names, range=_cycle(LINES, names)), legend=legend),
            strokeDash=alt.StrokeDash("line:N", scale=alt.Scale(domain=names, range=_cycle(DASHES, names))),
        )
    )
    rule = alt.Chart(cursor).mark_rule(color=EDGE, strokeWidth=2).encode(x="x:Q")
    turned = alt.Chart(marks).mark_rule(color=EDGE, strokeDash=[3, 3]).encode(x="x:Q", tooltip="label:N")
    words = (
        alt.Chart(marks)
        .mark_text(angle=270, align="right", baseline="bottom", dx=-4, dy=-3, color=EDGE)
        .encode(x="x:Q", y=alt.value(0), text="words:N")
    )
    even = [] if level is None else [_level(level)]
    faint = alt.FieldOneOfPredicate("line", names[len(STRONG) :])
    edge = line.mark_line(strokeWidth=4, clip=True).encode(color=alt.value(EDGE)).transform_filter(faint)
    even += [edge] if len(names) > len(STRONG) else []
    return alt.layer(*even, line, rule, turned, words, _hover(line, x_title)).properties(height=height)


def _level(y: float) -> alt.Chart:
    return alt.Chart(alt.InlineData([{"y": y}])).mark_rule(strokeDash=[4, 4], color=EDGE).encode(y="y:Q")


def spec(draw: Callable[..., Any], frames: Mapping[str, pd.DataFrame], options: Mapping[str, Any]) -> Spec:
    """A chart as a dictionary. Altair checks each chart against a large schema; of those alike it checks the first."""
    found = json.loads(_drawn(draw, tuple(frames), tuple(options.items())))
    return found | {"datasets": found.get("datasets", {}) | dict(frames)}


def without_legend(chart: Spec) -> Spec:
    """`live_curves` of one line, which needs no name."""
    for layer in chart["layer"]:
        for channel in {"color", "strokeDash"} & set(layer["encoding"]):
            layer["encoding"][channel]["legend"] = None
    return chart


@lru_cache(maxsize=512)  # of some kilobytes each: runs are compared under many names
def _drawn(draw: Callable[..., Any], names: tuple[str, ...], options: tuple[tuple[str, Any], ...]) -> str:
    chart = draw(*(alt.NamedData(name=name) for name in names), **dict(options)).to_dict()
    return json.dumps({key: value for key, value in chart.items() if key != "config"})


def _long(lines: Mapping[str, Series]) -> pd.DataFrame:
    """One row for each point: x, y and the name of its line."""
    x = np.concatenate([x for x, _ in lines.values()] or [np.zeros(0)])
    y = np.concatenate([y for _, y in lines.values()] or [np.zeros(0)])
    return pd.DataFrame({"x": x, "y": y, "line": np.repeat(list(lines), [len(x) for x, _ in lines.values()])})


def _hover(line: alt.Chart, x_title: str) -> alt.Chart:
    """The point nearest to the mouse, with its values."""
    nearest = alt.selection_point(name="nearest", nearest=True, on="pointerover", clear="pointerout", empty=False)
    tooltip = [
        alt.Tooltip("line:N", title="curve"),
        alt.Tooltip("y:Q", title="value", format=",.4~g"),
        alt.Tooltip("x:Q", title=x_title, format=",~f"),
    ]
    dots = line.mark_point(filled=True, size=70).encode(
        strokeDash=alt.Undefined, opacity=alt.condition(nearest, alt.value(1), alt.value(0)), tooltip=tooltip
    )
    # altair would make up a name from the data, and with a new name the browser builds the chart anew.
    return dots.add_params(nearest).properties(name="hover")


def _cycle(values: Sequence[Any], names: Sequence[str]) -> list[Any]:
    return [values[i % len(values)] for i in range(len(names))]


def _log_scale(values: np.ndarray) -> Literal["log", "symlog"]:
    """A logarithm where there is one for every value; a loss may be negative or zero, and then symlog."""
    return "log" if len(values) and values.min() > 0 else "symlog"


def curve_sentence(name: str, unit: str, train: Series, test: Series) -> str:
    """What the curve says: where it stands, whence it came, and the gap between test and train."""
    if not len(train[0]):
        return "The first point comes after the first step."
    fresh = len(test[0]) and test[0][-1] >= 0.8 * train[0][-1]  # the test images are looked at less often
    which, (_, values) = ("Test", test) if fresh else ("Training", train)
    text = f"{which} {lowered(title(name))}: **{number(values[-1], unit)} {unit}**"
    if len(values) > 1:
        word = "down from" if values[-1] < values[0] else "up from"
        text += f", {word} {number(values[0], unit)} at the start"
    if fresh and len(train[0]) > 1:
        gap = test[1][-1] - train[1][-1]
        if abs(gap) > 0.02 * abs(train[1][-1]):
            text += f"; {number(abs(gap), unit)} {'above' if gap > 0 else 'below'} training"
        else:
            text += "; training is about the same"
    return text + "."


def lowered(text: str) -> str:
    """As it stands within a sentence."""
    first = text.split(" ")[0]
    return text if first.isupper() or "(" in first else text[0].lower() + text[1:]


def kl_bars(kl: np.ndarray, height: int = 180) -> alt.LayerChart | alt.FacetChart:
    """What each latent dimension says about the image. kl: (L,), nats."""
    return _bars(_kl_frame(kl), height=height)


def live_kl_bars(kl: np.ndarray, height: int = 180) -> Spec:
    """`kl_bars` for a page that draws them every second."""
    return spec(_bars, {"kl": _kl_frame(kl)}, {"height": height})


def _kl_frame(kl: np.ndarray) -> pd.DataFrame:
    use = np.where(kl > CARRIES, "active", "hardly used")
    return pd.DataFrame({"dimension": np.arange(1, len(kl) + 1), "nats": kl.astype(float), "use": use})


def _bars(data: Data, *, height: int) -> alt.LayerChart | alt.FacetChart:
    axis = alt.Axis(labelAngle=0, labelOverlap=True, ticks=False)
    colours = alt.Scale(domain=["active", "hardly used"], range=[COLOURS[0], EDGE])
    bars = (
        alt.Chart(data)
        .mark_bar()
        .encode(
            x=alt.X("dimension:O", title="latent dimension", axis=axis),
            y=alt.Y("nats:Q", title=None, axis=alt.Axis(tickCount=4)),
            color=alt.Color("use:N", scale=colours, legend=None),
            tooltip=[
                alt.Tooltip("dimension:O"),
                alt.Tooltip("nats:Q", format=".3f", title="KL, nats"),
                alt.Tooltip("use:N", title="this one is"),
            ],
        )
    )
    return alt.layer(bars, _level(CARRIES)).properties(height=height)


def kl_sentence(kl: np.ndarray) -> str:
    """How many dimensions are in use, in words."""
    active = int((kl > CARRIES).sum())
    in_all = number(float(kl.sum()), "nats")
    return f"{active} of {len(kl)} latent dimensions carry more than {CARRIES:g} nats; {in_all} nats in all."


def class_counts(
    names: Sequence[str], counts: Sequence[int], height: int = 220, marks: Sequence[float] | None = None
) -> alt.LayerChart | alt.FacetChart:
    """Images in each class; marks: a dash at so many."""
    frame = pd.DataFrame({"class": list(names), "images": list(counts), "mark": list(marks or counts)})
    colours = alt.Scale(domain=list(names), range=_cycle(COLOURS, names))
    axis = alt.Axis(labelAngle=0 if max(map(len, names), default=0) < 4 else -45, labelLimit=120, ticks=False)
    bars = (
        alt.Chart(frame)
        .mark_bar(stroke=EDGE, strokeWidth=1)
        .encode(
            x=alt.X("class:N", sort=None, title=None, axis=axis),
            y=alt.Y("images:Q", title="images"),
            color=alt.Color("class:N", scale=colours, legend=None),
            tooltip=[alt.Tooltip("class:N"), alt.Tooltip("images:Q", format=",")],
        )
    )
    dash = bars.mark_tick(thickness=3, opacity=0.9).encode(y="mark:Q", color=alt.value(EDGE))
    return alt.layer(bars, *([] if marks is None else [dash])).properties(height=height)


def most_and_least(names: Sequence[str], counts: Sequence[int]) -> str:
    """What `class_counts` shows, in words."""
    if not len(names):
        return ""
    most, least = (pick(range(len(names)), key=counts.__getitem__) for pick in (max, min))
    if counts[most] == counts[least]:
        return f"Each class has {counts[most]:,}."
    return f"Most are of class {names[most]} ({counts[most]:,}), fewest of {names[least]} ({counts[least]:,})."


def size_histogram(widths: Sequence[int], heights: Sequence[int], height: int = 220) -> alt.Chart:
    """How large the images of a folder are: their shorter sides, in pixels."""
    frame = pd.DataFrame({"side": np.minimum(widths, heights)})
    return (
        alt.Chart(frame)
        .mark_bar(color=COLOURS[0])
        .encode(
            x=alt.X("side:Q", bin=alt.Bin(maxbins=30), title="shorter side, pixels"),
            y=alt.Y("count()", title="images"),
            tooltip=[
                alt.Tooltip("side:Q", bin=alt.Bin(maxbins=30), title="pixels"),
                alt.Tooltip("count()", title="images"),
            ],
        )
        .properties(height=height)
    )


def stray_lines(meters: Mapping[str, Any], tour: Any) -> dict[str, Series]:
    """The probability that a frame of a tour shows a class at neither end of its leg, a line for each run with a judge.

    These three are for `live_curves`; meters and tour are those of analysis.transitions.
    """
    frames = np.arange(len(tour.legs))
    found = {}
    for name, meter in meters.items():
        if meter.probabilities is not None:
            others = meter.probabilities.astype(float)
            for ends in (tour.stops.labels[tour.legs], tour.stops.labels[tour.legs + 1]):
                others[frames, ends] = 0
            found[name] = (frames + 1, others.sum(1))
    return found


def neighbour_lines(meters: Mapping[str, Any], tour: Any) -> dict[str, Series]:
    """Real images near each frame, a line for each run."""
    frames = np.arange(1, len(tour.legs) + 1)
    return {name: (frames, meter.neighbours.astype(float)) for name, meter in meters.items()}


def jump_lines(meters: Mapping[str, Any], tour: Any) -> dict[str, Series]:
    """Mean change of a pixel since the frame before, in grey levels, a line for each run."""
    return {name: (np.arange(1, len(tour.legs) + 1), meter.jumps.astype(float)) for name, meter in meters.items()}
