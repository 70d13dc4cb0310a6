"""What models under several betas pay for the code and for the image: numbers in, a chart and its words out."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from genmodels.figures import COLOURS, EDGE, Data, Spec, number, spec, title


class Trade(NamedTuple):
    """Where a model stands between rate and distortion, both nats per image. beta: as text, its name in the plot."""

    beta: str
    run: str
    kl: float
    reconstruction: float


def rate_distortion(points: Sequence[Trade], chosen: str, height: int = 330) -> Spec:
    """KL against reconstruction, each beta written beside its mark; the run clicked on is the selection `picked`.

    On the dashed line -ELBO at beta 1, their sum, is that of the best. A. Alemi et al. (2018), Fixing a broken ELBO,
    https://arxiv.org/abs/1711.00464, Fig. 1.
    """
    frame = pd.DataFrame(points, columns=Trade._fields)
    frame["negative_elbo"] = frame["kl"] + frame["reconstruction"]
    frame["words"] = _apart(points)
    best, x = frame["negative_elbo"].min(), frame["kl"]
    line = pd.DataFrame({"kl": [x.min(), x.max()], "reconstruction": [best - x.min(), best - x.max()]})
    return spec(_trades, {"trades": frame, "best": line}, {"chosen": chosen, "height": height})


def _trades(points: Data, best: Data, *, chosen: str, height: int) -> alt.LayerChart | alt.FacetChart:
    shared: dict[str, Any] = {
        "scale": alt.Scale(zero=False, nice=False, padding=28), "axis": alt.Axis(format=",.3~r", tickCount=5)
    }  # fmt: skip
    x = alt.X("kl:Q", title="rate: KL, nats per image", **shared)
    y = alt.Y("reconstruction:Q", title="distortion: reconstruction, nats per image", **shared)
    is_chosen = alt.datum.beta == chosen
    tooltip = [
        alt.Tooltip("beta:N"),
        *(
            alt.Tooltip(f"{name}:Q", format=",.2f", title=title(name))
            for name in ("kl", "reconstruction", "negative_elbo")
        ),
    ]
    picked = alt.selection_point(name="picked", fields=["run"], on="click", empty=False)
    base = alt.Chart(points).encode(x=x, y=y, tooltip=tooltip)
    path = base.mark_line(color=EDGE, strokeWidth=1).encode(tooltip=alt.Undefined, order="kl:Q")
    dots = base.mark_point(filled=True, opacity=1, cursor="pointer").encode(
        size=alt.condition(is_chosen, alt.value(260), alt.value(110)),
        shape=alt.condition(is_chosen, alt.value("diamond"), alt.value("circle")),
        color=alt.condition(is_chosen, alt.value(COLOURS[1]), alt.value(COLOURS[0])),
    )
    words = base.mark_text(align="left", dx=10, dy=-9, fontSize=13, color=EDGE).encode(text="words:N")
    limit = alt.Chart(best).mark_line(strokeDash=[4, 4], color=EDGE, clip=True).encode(x=x, y=y)
    return alt.layer(limit, path, dots.add_params(picked), words).properties(height=height)


def _apart(points: Sequence[Trade]) -> list[str]:
    """What is written beside each point: where several all but coincide, the last of them has the names of all."""
    places = np.array([(each.kl, each.reconstruction) for each in points])
    near = np.ptp(places, axis=0) * 0.04 + 1e-9
    words: list[str] = [each.beta for each in points]
    for late in range(1, len(points)):
        for early in range(late):
            if words[early] and (np.abs(places[late] - places[early]) < near).all():
                words[late], words[early] = f"{words[early]}, {words[late]}", ""
    return words


def trade_sentence(points: Sequence[Trade]) -> str:
    """What the plot says: the ends of the trade, and which beta has the best bound."""
    if len(points) < 2:
        return "Each model becomes a point after its first look at the test images."
    low, high = min(points, key=lambda each: each.kl), max(points, key=lambda each: each.kl)
    best = min(points, key=lambda each: each.kl + each.reconstruction)
    return (
        f"Beta {high.beta} spends **{number(high.kl, 'nats')} nats per image** on the code, and the image costs "
        f"another {number(high.reconstruction)}; beta {low.beta} spends {number(low.kl, 'nats')} and "
        f"{number(low.reconstruction)}. "
        f"The sum, -ELBO at beta 1, is lowest for beta {best.beta}: {number(best.kl + best.reconstruction)}."
    )
