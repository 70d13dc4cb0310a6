"""What the Arithmetic page draws: the equation with its slider, what lies near the result, how sure it is."""

from typing import Any

import numpy as np
import streamlit as st

from app import pictures, state
from app.components.equation import Part, Step, equation, picks
from app.controls import attempt
from app.downloads import File, offer
from app.terms import FEW, Sum, described, once, tell, which
from genmodels import directions, figures
from genmodels.analysis import arithmetic
from genmodels.analysis.traversal import sheet
from genmodels.config import UserError
from genmodels.media import as_people_write, gif, png
from genmodels.runs import Run

STRENGTHS = [round(-0.5 + 0.05 * i, 2) for i in range(51)]  # to 2: beyond what the groups differ by
PACE = 0.08  # seconds of a frame of the GIF
STRIP = (0, *range(10, 51, 5))  # of them, those shown beside each other

FORMULA = r"""
With the mean codes $\mu(x)$ of the test images, the direction is the difference of two centroids, and the result lies
$k$ times along it from the item:

$$d = \frac{1}{n} \sum_{x \in A} \mu(x) - \frac{1}{m} \sum_{x \in B} \mu(x), \qquad z = \mu(\text{item}) + k\, d,$$

decoded by the model ([Radford et al., 2016](https://arxiv.org/abs/1511.06434), section 6.3.2). Beyond $k = 1$ more is
added than the groups differ by.

**How sure.** Each group is drawn anew from itself with replacement, 200 times, and each time there is another $d$ (the
bootstrap, [Efron, 1979](https://doi.org/10.1214/aos/1176344552)). Their standard deviation in dimension $j$ comes near
$\sqrt{\sigma_{A,j}^2 / n + \sigma_{B,j}^2 / m}$. *Length* is the standard deviation of $\|d\|$ as a share of it,
*cosine* the mean of $\cos(d_b, d)$. Groups that share images are drawn together, so that a shared image comes as often
in one as in the other.

**How general.** *Agreement* is the mean of $\cos(a_i - b_j,\; a_k - b_m)$ over random images, none compared with itself
([Liu et al., 2019](https://doi.org/10.1111/cgf.13672)); by chance, with both groups mixed, it is near 0. *Cohen's d* is
$(\bar p - \bar q) / s$ of the groups' places $p = \mu^\top d$ along the direction, $s$ their pooled standard deviation.
As $d$ comes from the same images, mixed groups lie apart along theirs too, and the farther the smaller they are: only
what is more than by chance counts.

**What lies near.** Distances are Euclidean, between mean codes. The radius is the median distance of a test image to
its 10th nearest other one; the image that the item is does not count.
"""


def show(found: Sum) -> None:
    """The equation with its slider; below, what lies near the result, and how sure it is."""
    real = found.inside.means
    usual = once(found.inside, "usual", lambda inside: arithmetic.usual(inside.means))
    codes = arithmetic.results(found.item.code, found.direction, np.array(STRENGTHS))
    nears = {at: arithmetic.nearest(codes[at], real, usual.radius, found.item.image) for at in STRIP}
    steps = [
        Step(at, f"{near.close:,} near", f"{near.close:,} test images within {figures.number(usual.radius)}")
        for at, near in nears.items()
    ]
    key, start = _start(found)
    strength = equation(
        _parts(found), as_people_write(found.inside.decode(codes), found.inside.light), STRENGTHS, steps, start, key
    )
    st.session_state["strength-told"] = f"{strength:g}"
    tell(found.inside, strength=f"{strength:g}")
    files(found, codes, strength)
    left, right = st.columns(2, gap="large")
    with left:
        near_to(found, codes[STRENGTHS.index(strength)], usual)
    try:
        spread, score = _sure(which(found.inside), found.a.ids, found.b.ids, real)
        with right:
            how_sure(found, strength, spread)
        how_general(spread, score)
    except UserError as error:
        right.info(state.plain(str(error)))


@st.cache_data(show_spinner=False, max_entries=64)
def _sure(
    which: tuple[Any, ...], a: np.ndarray, b: np.ndarray, _codes: np.ndarray
) -> tuple[arithmetic.Spread, arithmetic.Score]:
    """For groups of images of this run, for all who look at them. Raises UserError."""
    return arithmetic.bootstrap(_codes, a, b), arithmetic.score(_codes, a, b)


def files(found: Sum, codes: np.ndarray, strength: float) -> None:
    """The equation at this strength, and its results from the least to the greatest, as a strip and as a film."""
    inside, at = found.inside, STRENGTHS.index(strength)
    terms = np.stack([found.codes(found.a).mean(0), found.codes(found.b).mean(0), found.item.code, codes[at]])
    names = [f"A: {found.a.name}", f"B: {found.b.name}", found.item.name, f"item + {strength:g} (A - B)"]
    heads = [f"{STRENGTHS[each]:g}".replace("-", "−") for each in STRIP]
    scale, unmarked = max(1, round(112 / inside.images.shape[3])), np.full(len(terms), -1)

    def drawn(which: np.ndarray) -> np.ndarray:
        return as_people_write(inside.decode(which), inside.light)

    name = f"arithmetic-{inside.run.id}"
    offer(
        "arithmetic",
        File("PNG", f"{name}.png", lambda: png(sheet(drawn(terms)[:, None], names, (), unmarked, scale))),
        File("Strip", f"{name}-strip.png",
             lambda: png(sheet(drawn(codes[list(STRIP)])[None], [""], heads, unmarked, scale))),
        File("GIF", f"{name}.gif", lambda: gif(drawn(codes), PACE, scale), "From the least strength to the greatest."),
    )  # fmt: skip


def _start(found: Sum) -> tuple[str, float]:
    """Where the slider of this sum begins: where the address says. A link to another strength begins anew.

    While the sum stays it stays too, whatever the hand does: then the message to the browser is the same to the byte.
    """
    asked, told = st.query_params.get("strength", "1"), st.session_state.get("strength-told")
    if asked != told:
        st.session_state["strength-links"] = st.session_state.get("strength-links", 0) + 1
    links = st.session_state["strength-links"]
    which, start = (links, found.key("sum")), st.session_state.get("strength-start")
    if start is None or start[0] != which:
        start = st.session_state["strength-start"] = which, _strength(asked)
    return f"equation-{links}", start[1]


def _strength(text: str) -> float:
    """What the address says, on the slider's steps; 1 where it says nothing of the kind."""
    try:
        found = round(20 * float(text)) / 20
    except (ValueError, OverflowError):
        found = np.nan
    if found in STRENGTHS:
        return found
    st.warning(f"The strength goes from {STRENGTHS[0]:g} to {STRENGTHS[-1]:g}; the one in the address does not.")
    return 1.0


def _parts(found: Sum) -> list[Part]:
    """A, B and the item as pictures: decoded, with a few images of each."""
    inside = found.inside
    codes = np.stack([found.codes(found.a).mean(0), found.codes(found.b).mean(0), found.item.code])
    decoded = as_people_write(inside.decode(codes), inside.light)
    parts = []
    for name, each, picture in zip("AB", (found.a, found.b), decoded[:2], strict=True):
        few = each.ids[np.linspace(0, len(each.ids) - 1, min(FEW, len(each.ids))).astype(int)]
        count = f"mean of {len(each.ids):,} images" if len(each.ids) > 1 else "one image"
        parts.append(Part(f"{name}: {each.name}", count, picture, as_people_write(inside.images[few], inside.light)))
    one = [] if found.item.image is None else [found.item.image]
    words = f"test image {one[0] + 1}, decoded" if one else "decoded"
    parts.append(Part(found.item.name, words, decoded[2], as_people_write(inside.images[one], inside.light)))
    return parts


def near_to(found: Sum, code: np.ndarray, usual: arithmetic.Usual) -> None:
    """The nearest real images, how far they are, and whether the result is where the data is."""
    inside = found.inside
    near = arithmetic.nearest(code, inside.means, usual.radius, found.item.image)
    distances = [figures.number(float(distance)) for distance in near.distances]
    alts = [f"{described(inside, i)}, distance {far}" for i, far in zip(near.ids, distances, strict=True)]
    st.markdown("**The nearest test images**, with their distances from the result")
    picks(
        as_people_write(inside.images[near.ids], inside.light), near.ids.tolist(), distances, alts,
        name="The nearest test images", key=f"near-{inside.run.id}",
    )  # fmt: skip
    st.markdown(
        f"**{near.close:,}** of {len(inside.means):,} test images lie within {figures.number(near.radius)} of the "
        f"result; around a test image it is usually {usual.median:.0f}."
    )
    if usual.extrapolates(near):
        st.warning("Few real images lie near: this result is an extrapolation.", icon=":material/explore_off:")


def how_sure(found: Sum, strength: float, spread: arithmetic.Spread) -> None:
    """What other images of the same groups would have made of it."""
    st.markdown("**How sure it is**: the result, if each group were drawn anew from its images")
    inside, others = found.inside, found.item.code + strength * spread.draws
    decoded = inside.decode(others)
    deviation = decoded.std(0).mean(0, keepdims=True)
    largest = float(deviation.max())
    dark = (255 - 255 * deviation / max(largest, 1)).astype(np.uint8)[None]
    factor, _, gap = pictures.layout(decoded.shape[3], 48, pictures.WIDTH)
    side = decoded.shape[3] * factor
    corners = pictures.sheet(decoded[arithmetic.corners(others)], 48, inside.light, 4, 4 * side + 3 * gap)
    with st.container(horizontal=True):
        pictures.show(corners, "Results of 16 resamplings")
        pictures.show(pictures.sheet(dark, 96, False, 1, 1), f"How much each pixel varies, up to {largest:.0f} of 255")
    st.caption(
        f"The {min(16, len(others))} of {len(others)} results that differ most, and where they differ: the darkest "
        f"pixel by {largest:.0f} of 255 grey levels (standard deviation)."
    )


def how_general(spread: arithmetic.Spread, score: arithmetic.Score) -> None:
    """The figures of the direction, each with what it means and, where chance gives something, with how much."""
    agreement, effect = f"{round(score.agreement, 2) + 0.0:.2f}", f"{score.effect:.1f}"
    by_chance = {
        "Agreement": f"{round(score.chance[0], 2) + 0.0:.2f} ± {score.chance[1]:.2f}",  # + 0: no minus zero
        "Cohen's d": f"{score.effect_chance[0]:.1f} ± {score.effect_chance[1]:.1f}",
    }
    facts = {
        "Length": (f"± {spread.length_error:.1%}", "Standard error of the direction's length, over 200 resamplings."),
        "Cosine": (f"{spread.cosine:.3f}", "Mean cosine of the resampled directions with this one; 1: all alike."),
        "Agreement": (agreement, "Mean cosine between differences of single images, one of A less one of B."),
        "Cohen's d": (effect, "How far the groups lie apart along it, in their own spreads."),
    }
    with st.container(horizontal=True):
        for name, (value, meaning) in facts.items():
            chance = f"by chance {by_chance[name]}" if name in by_chance else None
            st.metric(name, value, chance, delta_color="off", delta_arrow="off", help=meaning, width=170)
    apart = by_chance["Cohen's d"]
    words = [
        "more than" if value > chance + 3 * scatter else "no more than"
        for value, (chance, scatter) in ((score.agreement, score.chance), (score.effect, score.effect_chance))
    ]
    st.caption(
        f"With other images of the same kind the direction would be some {spread.length_error:.1%} longer or shorter. "
        f"Differences of single images agree {words[0]} by chance, with the groups mixed: {agreement} against "
        f"{by_chance['Agreement']}. Along it the groups lie {words[1]} by chance apart: {effect} of their spreads "
        f"against {apart}."
    )


# -- directions kept with the run


def keep(found: Sum) -> None:
    """A name for this direction, and those that the run has."""
    run = found.inside.run
    st.header("Directions of this run")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.text_input(
            "Keep A − B as", f"{found.a.name} minus {found.b.name}"[: directions.LONGEST], directions.LONGEST,
            key=found.key("name"), width=280,
        )  # fmt: skip
        st.button(
            "Keep", icon=":material/bookmark_add:", on_click=attempt,
            args=(directions.keep_direction, run, name, found.direction),
        )  # fmt: skip
    kept = directions.directions_of(run)
    st.caption("They can be pulled on the Perturbation page, and travel with the run." if kept else "None is kept yet.")
    for name, vector in kept.items():
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{state.plain(name)}, length {figures.number(float(np.linalg.norm(vector)))}", width="content")
            if st.button("Delete", key=f"forget-{name}", icon=":material/delete:", type="tertiary"):
                confirm(run, name)


@st.dialog("Delete this direction?")
def confirm(run: Run, name: str) -> None:
    """Ask before anything is lost."""
    st.write(f"**{state.plain(name)}** of {state.plain(run.id)} will be gone.")
    with st.container(horizontal=True):
        args = (directions.forget_direction, run, name)
        if st.button("Delete", type="primary", icon=":material/delete:", on_click=attempt, args=args):
            st.rerun()
        if st.button("Keep it"):
            st.rerun()
