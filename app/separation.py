"""How scores tell two sets apart, as charts and in words."""

from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd

from genmodels.analysis.outliers import LIKELIHOODS, SCORES, Separation
from genmodels.figures import COLOURS, DASHES, EDGE, number

BINS = 40
SHOWN = (0.002, 0.998)  # shares of all scores between which the bars lie: one odd image would squeeze the rest
SIGNS = ("●", "■")  # beside the colour, in captions of pictures: of the run's own kind, and of the second set
IDEA = r"""
Each score is a number for each image, the higher the odder. With $q = \mathcal N(\mu, \sigma^2)$ of the encoder and
$\mathrm{ELBO}(x; \mu, \sigma) = \mathbb E_q[\log p(x \mid z)] - \mathrm{KL}(q \,\|\, \mathcal N(0, I))$:

- **Negative ELBO** $-\mathrm{ELBO}(x; \mu(x), \sigma(x)) \ge -\log p(x)$; **exact likelihood** $-\log p(x)$ of a flow.
- **Likelihood regret** $\max_{\mu, \sigma} \mathrm{ELBO}(x; \mu, \sigma) - \mathrm{ELBO}(x; \mu(x), \sigma(x))$, by 50
  steps of Adam ([Xiao et al. 2020](https://arxiv.org/abs/2003.02977)).
- **Corrected likelihood** $-\log p(x) - L(x)$, where $L(x)$ is the length of the image as a compressed file
  ([Serrà et al. 2020](https://arxiv.org/abs/1909.11480)): two codes of one image are compared, the model's own and that
  of zlib, which has learned no pictures.
- **Reconstruction** $\|x - g(f(x))\|^2$.
- **Mahalanobis distance** $\sqrt{(f(x) - m)^\top C^{-1} (f(x) - m)}$ with mean $m$ and covariance $C$ of the training
  codes ([Lee et al. 2018](https://arxiv.org/abs/1807.03888)); **neighbour distance** to the tenth nearest of these
  codes ([Sun et al. 2022](https://arxiv.org/abs/2204.06507)).
- **Ink**: the sum of the pixels. It knows no model.

**Why a likelihood can be the wrong way round.** It is a sum over pixels, and what makes an image cheap is mostly that
it is simple: smooth, empty, with few edges. A stranger simpler than the data can cost fewer nats than the data itself,
though the model has never seen its like ([Nalisnick et al. 2019](https://arxiv.org/abs/1810.09136)).

**AUROC**, the area under the ROC curve, is the share of pairs, an odd and a usual image, in which the odd one has the
higher score. 1 is perfect, 1/2 is guessing, below 1/2 is the wrong way round.
"""


class Sides(NamedTuple):
    """What is beyond a threshold: numbers of images of the run's own kind and of the second set, where there is one."""

    own: int
    of_own: int
    other: int = 0
    of_other: int = 0


def counted(scores: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """How many lie between each two edges, in the outer ones also what lies beyond. (N,), (B + 1,) -> (B,)."""
    return np.histogram(scores.clip(edges[0], edges[-1]), edges)[0]


def histogram(piles: dict[str, np.ndarray], threshold: float, unit: str, height: int = 300) -> Any:
    """How many images of each set, by its name, have which score; a line at the threshold."""
    every = np.concatenate([*piles.values()])
    low, high = np.quantile(every, SHOWN)
    edges = np.linspace(float(low), float(high), BINS + 1)
    names = list(piles)
    frame = pd.concat(
        pd.DataFrame({"from": edges[:-1], "to": edges[1:], "images": counted(each, edges), "set": name})
        for name, each in piles.items()
    )
    legend = alt.Legend(title=None, orient="top", labelLimit=400)
    scale = alt.Scale(domain=names, range=list(COLOURS[: len(names)]))
    bars = (
        alt.Chart(frame)
        .mark_bar(opacity=0.55, binSpacing=0, strokeWidth=1.5)
        .encode(
            x=alt.X("from:Q", bin="binned", title=f"score, {unit} (outer bars: and beyond)"),
            x2="to:Q",
            y=alt.Y("images:Q", stack=None, title="images"),
            color=alt.Color("set:N", scale=scale, legend=legend),
            stroke=alt.Stroke("set:N", scale=scale),
            strokeDash=alt.StrokeDash("set:N", scale=alt.Scale(domain=names, range=DASHES[: len(names)])),
            tooltip=[
                alt.Tooltip("set:N"), alt.Tooltip("images:Q", format=","), alt.Tooltip("from:Q", format=",.4~g"),
                alt.Tooltip("to:Q", format=",.4~g"),
            ],
        )
    )  # fmt: skip
    at = pd.DataFrame({"score": [threshold], "words": ["threshold"]})
    rule = alt.Chart(at).mark_rule(color=EDGE, strokeWidth=2).encode(x="score:Q")
    words = alt.Chart(at).mark_text(angle=270, align="right", dx=-4, dy=-7, color=EDGE).encode(
        x="score:Q", y=alt.value(0), text="words:N"
    )  # fmt: skip
    return alt.layer(bars, rule, words).properties(height=height)


def middles(piles: dict[str, np.ndarray], unit: str) -> str:
    """What the histogram says: the middle of each set."""
    found = (f"{number(float(np.median(each)))} of {name}" for name, each in piles.items())
    return f"Median score, {unit}: {', '.join(found)}."


def roc(curves: dict[str, Separation], sides: Sides, height: int = 300) -> Any:
    """Of each score, by its name, the share of odd images found over that of usual ones taken for odd; the threshold is
    a mark on the first curve."""
    names = list(curves)
    frame = pd.concat(
        pd.DataFrame({"false": each.false, "true": each.true, "score": name, "order": np.arange(len(each.false))})
        for name, each in curves.items()
    )
    legend = alt.Legend(title=None, orient="top", symbolType="stroke", symbolSize=500, labelLimit=400)
    axis = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])
    x = alt.X("false:Q", title="own images beyond the threshold", axis=axis)
    y = alt.Y("true:Q", title="of the second set", axis=axis)
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=2, interpolate="linear")
        .encode(
            x=x, y=y, order="order:Q",
            color=alt.Color("score:N", scale=alt.Scale(domain=names, range=list(COLOURS[: len(names)])), legend=legend),
            strokeDash=alt.StrokeDash("score:N", scale=alt.Scale(domain=names, range=DASHES[: len(names)])),
            tooltip=["score:N", alt.Tooltip("false:Q", format=".1%"), alt.Tooltip("true:Q", format=".1%")],
        )
    )  # fmt: skip
    guess = alt.Chart(pd.DataFrame({"false": [0, 1], "true": [0, 1]}))
    here = pd.DataFrame({"false": [sides.own / sides.of_own], "true": [sides.other / sides.of_other]})
    mark = alt.Chart(here).mark_point(filled=True, size=110, shape="diamond", color=COLOURS[0], opacity=1)
    tooltip = [alt.Tooltip("false:Q", format=".1%"), alt.Tooltip("true:Q", format=".1%")]
    return alt.layer(
        guess.mark_line(color=EDGE, strokeDash=[4, 4], strokeWidth=1).encode(x=x, y=y), lines,
        mark.encode(x=x, y=y, tooltip=tooltip),
    ).properties(height=height)  # fmt: skip


def beyond_in_words(sides: Sides, threshold: float, unit: str, own: str, other: str | None) -> str:
    """What the threshold does."""
    text = f"Beyond {number(threshold, unit)} {unit}: **{_share(sides.own, sides.of_own)} of {own}**"
    return text + (f" and **{_share(sides.other, sides.of_other)} of {other}**." if other else ".")


def _share(some: int, of: int) -> str:
    return f"{some:,} of {of:,} ({some / of:.1%})"


def verdict(which: str, found: float, by_ink: float, means: tuple[float, float], own: str, other: str) -> str:
    """What the two AUROC say. means: of the scores of the run's own kind, and of the second set."""
    unit, title = SCORES[which].unit, SCORES[which].title
    pairs = f"of an image of {own} and one of {other}, the second has the higher score in {found:.1%} of all pairs"
    text = f"{title} has an AUROC of **{found:.3f}**: {pairs}."
    if found < 0.5:
        text += (
            f" That is below one half: by this score **{other} looks more normal than what the model has learned** "
            f"({number(means[1], unit)} {unit} on average, against {number(means[0], unit)})."
        )
    if which in LIKELIHOODS:
        text += (
            " A likelihood is a sum over pixels, and simple images, smooth or with little ink, cost few nats under "
            "almost any model, even one that never saw their like: it can rank strangers as more normal than the data."
        )
    return text if which == "ink" else f"{text} {_beside_ink(found, by_ink)}"


def _beside_ink(found: float, by_ink: float) -> str:
    """The baseline knows no direction: what is best said of it is the farther from one half."""
    either = max(by_ink, 1 - by_ink)
    turned = "" if either - by_ink < 0.001 else f", or {either:.3f} where little ink counts as odd"
    text = f"Counting ink alone, without a model, has **{by_ink:.3f}**{turned}"
    if found > either + 0.005:
        return f"{text}: the score knows more than that."
    return f"{text}: here the model is of no more use than that."
