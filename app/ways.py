"""The way from one sample to another through the noise, as a film. The address carries both ends and the path."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app import look, panels, state
from app.components.player import Film, player, sheet_of
from app.perturb import DOWNLOAD
from app.samples import Shown, abilities, opened
from app.start import whole
from genmodels import media
from genmodels.analysis import transitions
from genmodels.config import UserError
from genmodels.runs import RunConfig

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
"""


def way(shown: Shown) -> None:
    """From one sample to another, where the model has noise to go through. Raises UserError."""
    from genmodels.analysis.sampling import WHOLE, noise

    run, asked = shown.run, shown.asked
    if "decode" not in abilities(run) or len(shown.images) < 2:
        return
    st.subheader("From one sample to another")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        first, second = (_end(shown, *each) for each in (("first", "From", 0), ("second", "To", 1)))
        plan, pace = _plan()
    model: Any = opened(str(run.path), run.stamp).model
    z = noise(asked.n, model.config.latent_size, asked.seed, asked.threshold or WHOLE)
    ends = [first, second]
    labels = None if asked.classes is None else [asked.classes[each // asked.n] for each in ends]
    _film(shown, z[[each % asked.n for each in ends]], labels, ends, plan, pace)


def _plan() -> tuple[transitions.Plan, int]:
    """How it goes, and frames a second; all of it in the address."""
    with st.popover("Path", icon=":material/tune:"):
        path: transitions.Path = st.segmented_control(
            "Path", ["spherical", "straight"], default="spherical", required=True, key="path", bind="query-params",
            help="Straight cuts through the middle of the noise, where there is hardly ever any.",
        )  # fmt: skip
        frames = st.slider("Frames", 2, 240, 60, key="frames", bind="query-params")
        pace = st.slider("Frames a second", 2, 50, 20, key="pace", bind="query-params")
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
    judge = _judge(run.config)
    stops = transitions.Stops(z, np.zeros(2, int), tuple(shown.names[each] for each in ends))
    tour = transitions.tour(stops, plan, np.zeros(z.shape[1]))
    frames = _frames(str(run.path), run.stamp, tour.codes, frames_of)
    probabilities = judge.probabilities(frames) if judge else None
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
        off = int(transitions.off_class(tour, probabilities).sum())
        st.caption(f"{off} of {len(frames)} frames read as a class at neither end.")
    if labels and labels[0] != labels[1]:
        st.caption("The class changes at once, halfway: there is nothing between two classes to ask for.")
    _film_downloads(as_seen, f"way-{run.id}-{'-'.join(str(each + 1) for each in ends)}", pace)


def _judge(config: RunConfig) -> "Judge | None":
    """What reads the frames, where there is one; where it is damaged a sentence, and the film goes without."""
    from genmodels.analysis.judge import judge_of

    try:
        return judge_of(config.dataset, config.classes) if len(config.classes) > 1 else None
    except UserError as error:
        st.warning(state.plain(str(error)))
        return None


@st.fragment
def _watch(film: Film, tour: transitions.Tour, classes: Sequence[str], pace: int) -> None:
    player([film], tour, classes, np.arange(1, len(tour.codes) + 1), key="way", pace=pace)


@st.cache_data(show_spinner=False, max_entries=8)
def _frames(path: str, made: int, codes: np.ndarray, labels: tuple[int, ...] | None) -> np.ndarray:
    from genmodels.analysis.sampling import decoded

    return decoded(opened(path, made).model, codes, labels)


def _film_downloads(frames: np.ndarray, name: str, pace: int) -> None:
    factor = max(1, round(SIDE / frames.shape[3]))
    with st.container(horizontal=True):
        st.download_button(
            "GIF", lambda: media.gif(frames, 1 / pace, factor), f"{name}.gif", "image/gif", icon=DOWNLOAD,
            on_click="ignore",
        )  # fmt: skip
        st.download_button(
            "MP4", lambda: media.mp4(frames, pace, 2 * factor), f"{name}.mp4", "video/mp4", icon=DOWNLOAD,
            on_click="ignore",
        )  # fmt: skip
