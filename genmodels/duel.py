"""Charts and words of networks that compete: arrays in, charts out, as in figures."""

from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import pandas as pd

from genmodels.figures import COLOURS, DASHES, Series, lowered, number, title

EVEN = 0.5  # what D says of images where it cannot tell


def pair_sentence(names: Sequence[str], unit: str, train: Mapping[str, Series], test: Mapping[str, Series]) -> str:
    """Where losses that share a chart stand, and how they are to be read together."""
    now = [
        f"{lowered(title(name))} **{number(float(train[name][1][-1]), unit)}**" for name in names if len(train[name][1])
    ]
    if not now:
        return "The first point comes after the first step."
    if unit != "probability":
        return (
            f"In training {' and '.join(now)} {unit}. They pull against each other: neither has to fall, and what "
            "matters is the pictures."
        )
    told = f"In training {' and '.join(now)}: how sure the discriminator is that real and made images are real."
    real = test.get("d_real")
    if real is not None and len(real[1]):
        told += f" Of real images that it has not learned from it says {number(float(real[1][-1]), unit)}."
    return told + " At the line, 1/2, it cannot tell."


def scores(
    before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]], height: int = 230
) -> alt.LayerChart | alt.FacetChart:
    """How real D takes each of a few images, real ones and made ones: from what it said before to what it says now.

    before, after: "d_real" and "d_fake", each a probability for each image.
    """
    kinds = {"d_real": "real", "d_fake": "made"}
    rows = [
        {"image": number + 1, "kind": kinds[name], "before": was, "now": now}
        for name in kinds
        for number, (was, now) in enumerate(zip(before[name], after[name], strict=True))
    ]
    names, x = list(kinds.values()), alt.X("image:O", title="image", axis=alt.Axis(labelAngle=0))
    y: dict[str, Any] = {
        "title": "taken for real",
        "scale": alt.Scale(domain=[0, 1]),
        "axis": alt.Axis(values=[0, EVEN, 1]),
    }
    legend = alt.Legend(title=None, orient="top")
    base = alt.Chart(pd.DataFrame(rows)).encode(
        x=x,
        xOffset=alt.XOffset("kind:N", scale=alt.Scale(domain=names)),
        color=alt.Color("kind:N", scale=alt.Scale(domain=names, range=list(COLOURS[:2])), legend=legend),
        tooltip=["image", "kind", alt.Tooltip("before:Q", format=".4f"), alt.Tooltip("now:Q", format=".4f")],
    )
    way = base.mark_rule(strokeWidth=3).encode(y=alt.Y("before:Q", **y), y2="now:Q")
    shape = alt.Shape("kind:N", scale=alt.Scale(domain=names, range=["circle", "square"]), legend=legend)
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(y=alt.Y("now:Q", **y), shape=shape)
    line = pd.DataFrame({"y": [EVEN]})
    even = alt.Chart(line).mark_rule(strokeDash=list(DASHES[1]), color="#888888").encode(y="y:Q")
    return alt.layer(even, way, dots).properties(height=height)


def scores_sentence(before: Mapping[str, Sequence[float]], after: Mapping[str, Sequence[float]]) -> str:
    """What the chart of scores says."""
    caught = sum(score < EVEN for score in after["d_fake"])
    missed = sum(score < EVEN for score in after["d_real"])
    text = (
        f"Images are numbered row by row. It takes {caught} of {len(after['d_fake'])} made images for made, and "
        f"{missed} of {len(after['d_real'])} real ones too"
    )
    ways = {name: sum(after[name]) / len(after[name]) - sum(before[name]) / len(before[name]) for name in after}
    if any(ways.values()):
        text += "; a stalk leads from what it said before"
    return text + "."
