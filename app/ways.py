"""The way from one sample to another through the noise, as a film. The address carries both ends and the path."""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app import background, judges, look, panels, priors, state, tours
from app.background import Said
from app.components.player import Film, player, sheet_of
from app.controls import bounded
from app.downloads import File, offer
from app.samples import Shown, abilities, opened
from app.start import whole
from genmodels import media
from genmodels.analysis import transitions

if TYPE_CHECKING:
    from genmodels.analysis.judge import Judge

SIDE = 112  # pixels of a frame in a file, about
IDEA = r"""
Each sample is drawn from noise, $z \sim \mathcal N(0, I)$: one seed gives the same noise for ever. The **truncation
trick** takes each number of the noise from the same normal cut off at a threshold $t$,
$z_j = \Phi^{-1}\big(\Phi(-t) + u_j\,(1 - 2\,\Phi(-t))\big)$ with $u_j$ uniform in $[0, 1)$: the smaller $t$, the nearer
to the centre, where the model has seen most ([Brock et al. 2019](https://arxiv.org/abs/1809.11096), section 3.1).

On the way between two samples the noise goes straight, $a + d\,(b - a)$, or *spherical*: its direction turns at
constant speed while its length changes linearly ([Shoemake 1985](https://doi.org/10.1145/325334.325242)). Noise of $L$
numbers is about $\sqrt L$ long; halfway on a straight line it is shorter than what the model has learned from.

A **learned flow** $f$ takes codes to noise, and $f^{-1}$ noise to codes, so that they lie where those of training
images do. It maximises $\log p(z) = \log \mathcal N(f(z); 0, I) + \log |\det \partial f / \partial z|$ over codes of
training images, of a VAE over draws from $q(z \mid x)$, whose mixture is not $\mathcal N(0, I)$
([Hoffman and Johnson 2016](http://approximateinference.org/accepted/HoffmanJohnson2016.pdf)).
"""


def way(shown: Shown) -> None:
    """From one sample to another, where the model has noise to go through. Raises UserError."""
    from genmodels.analysis.sampling import WHOLE, noise
    from genmodels.families.contract import latent_size

    run, asked = shown.run, shown.asked
    if "decode" not in abilities(run) or len(shown.images) < 2:
        return
    st.header("From one sample to another")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first, second = (_end(shown, *each) for each in (("first", "From", 0), ("second", "To", 1)))
        plan, pace = _plan("denoise_path" in abilities(run))
    model: Any = opened(str(run.path), run.stamp).model
    z = noise(asked.n, latent_size(model), asked.seed, asked.threshold or WHOLE)
    ends = [first, second]
    labels = None if asked.classes is None else [asked.classes[each // asked.n] for each in ends]
    _film(shown, z[[each % asked.n for each in ends]], labels, ends, plan, pace)


def _plan(in_steps: bool) -> tuple[transitions.Plan, int]:
    """How it goes, and frames a second; all of it in the address. in_steps: a frame takes long."""
    with st.popover("Path", icon=":material/tune:"):
        path: transitions.Path = st.segmented_control(
            "Path", ["spherical", "straight"], default="spherical", required=True, key="path", bind="query-params",
            help="Straight cuts through the middle of the noise, where there is hardly ever any.",
        )  # fmt: skip
        most, usual = (3 * tours.IN_STEPS, tours.IN_STEPS) if in_steps else (240, 60)
        bounded("frames", most)
        frames = st.slider("Frames", 2, most, usual, key="frames", bind="query-params")
        pace = st.slider("Frames a second", 2, 50, 5 if in_steps else 20, key="pace", bind="query-params")
    return transitions.Plan(frames, path=path), pace


def _end(shown: Shown, key: str, label: str, usual: int) -> int:
    widget = f"samples-{key}"
    st.session_state[widget] = whole(key, len(shown.images) - 1, usual)

    def told() -> None:
        st.query_params[key] = str(st.session_state[widget])

    st.selectbox(
        f"{label} sample", range(len(shown.images)), key=widget, format_func=shown.names.__getitem__, on_change=told,
        width=145,
    )  # fmt: skip
    return int(st.session_state[widget])


def _film(
    shown: Shown, z: np.ndarray, labels: list[int] | None, ends: list[int], plan: transitions.Plan, pace: int
) -> None:
    run, classes = shown.run, shown.run.config.classes
    frames_of = None if labels is None else tuple(labels[i >= plan.frames / 2] for i in range(plan.frames))
    judge = judges.reader(run.config.dataset, classes)
    stops = transitions.Stops(z, np.zeros(2, int), tuple(shown.names[each] for each in ends))
    tour = transitions.tour(stops, plan, np.zeros(z.shape[1]))
    frames = _frames(shown, tour.codes, frames_of)
    if frames is None:
        return
    probabilities = _read(judge.facts.sha256, frames, judge) if judge else None
    if probabilities is not None:
        read = labels or probabilities[[0, -1]].argmax(1)
        tour = tour._replace(stops=stops._replace(labels=np.array(read)))
    meter = transitions.Meter(probabilities, np.zeros(0, int), transitions.jumps(frames))
    for note in tour.notes:
        st.info(state.plain(note))
    as_seen = media.as_people_write(frames, shown.light)
    name = f"{panels.heading(run.config)} · {look.short(run)}"
    caption = "What each frame reads as, stacked by class" if judge else "Change of a pixel since the frame before"
    _, _, height, width = frames.shape
    film = Film(name, sheet_of(as_seen), height, width, meter, f"{caption}, over the frames", caption)
    _watch(film, tour, classes, pace)
    if probabilities is not None:
        off, (start, end) = int(transitions.off_class(tour, probabilities).sum()), tour.stops.labels
        if start != end:
            way = f"On the way from {classes[start]} to {classes[end]}"
            st.caption(state.plain(f"{way}, the judge takes {off} of {len(frames)} frames for something else."))
    if labels and labels[0] != labels[1]:
        st.caption("The class changes at once, halfway: there is nothing between two classes to ask for.")
    _film_downloads(as_seen, f"way-{run.id}-{'-'.join(str(each + 1) for each in ends)}", pace)


@st.fragment
def _watch(film: Film, tour: transitions.Tour, classes: Sequence[str], pace: int) -> None:
    player([film], tour, classes, np.arange(1, len(tour.codes) + 1), key="way", pace=pace)


def _frames(shown: Shown, noise: np.ndarray, labels: tuple[int, ...] | None) -> np.ndarray | None:
    """From memory where they were made before; None while they are on their way. -> uint8 (F, C, H, W)."""
    from genmodels.analysis import sampling

    path, stamp, prior = str(shown.run.path), shown.run.stamp, shown.asked.prior
    run, in_steps = opened(path, stamp), "denoise_path" in abilities(shown.run)
    key = (path, stamp, hashlib.sha256(noise.tobytes()).hexdigest(), labels, prior)

    def make(said: Said) -> np.ndarray:
        codes_from = priors.codes_from(run, prior)
        codes = codes_from(noise) if codes_from else noise
        together = tours.IN_STEPS if in_steps else len(codes)
        return tours.decoded(
            lambda part: sampling.decoded(run.model, codes[part], labels and labels[part]), len(codes), together, said
        )

    return background.remembered(
        _kept(*key), key, "Making the frames", make, "way", in_steps and not run.status().active
    )


@st.cache_resource(show_spinner=False, max_entries=16)
def _kept(path: str, made: int, noise: str, labels: tuple[int, ...] | None, prior: str) -> list[np.ndarray]:
    """Filled by who first asks: a function whose value is kept cannot wait for what goes on beside the page."""
    return []


@st.cache_data(show_spinner=False, max_entries=32)
def _read(eyes: str, frames: np.ndarray, _judge: "Judge") -> np.ndarray:
    """What the judge takes each frame for, kept: a rerun shows the same film. (F, K)."""
    return _judge.probabilities(frames)


def _film_downloads(frames: np.ndarray, name: str, pace: int) -> None:
    factor = max(1, round(SIDE / frames.shape[3]))
    offer(
        "samples",
        File("GIF", f"{name}.gif", lambda: media.gif(frames, 1 / pace, factor)),
        File("MP4", f"{name}.mp4", lambda: media.mp4(frames, pace, 2 * factor)),
    )
