"""Draws a run: where it stands, its curves, its pictures, its latent dimensions."""

import contextlib
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

from app import doctor, downloads, game, pictures, settings, sharing, steering, summary
from app.charts import NAT, chart
from app.controls import attempt
from app.plan import duration
from app.state import go, here, page_file, plain
from genmodels import data, demo, duel, figures, jobs
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.files import remembered
from genmodels.runs import Run, RunConfig, Status
from genmodels.steering import Turn

# icon and colour of each state; the word is the state's own name
STATES = {
    "queued": (":material/hourglass_empty:", "orange"),
    "running": (":material/play_circle:", "blue"),
    "paused": (":material/pause_circle:", "orange"),
    "stopped": (":material/stop_circle:", "gray"),
    "finished": (":material/check_circle:", "green"),
    "failed": (":material/error:", "red"),
}
AWAITED = 0.3  # seconds between two looks while something is waited for; else 1
# The pages that look inside a run, and what its model must be able to do for each; one set of several is enough.
LOOKS: dict[str, tuple[str, str, *tuple[set[str], ...]]] = {
    "latent_map": ("Latent map", ":material/scatter_plot:", {"encode"}),
    "perturbation": ("Perturbation", ":material/tune:", {"encode", "decode"}),
    "transitions": ("Transitions", ":material/animation:", {"encode", "decode"}),
    "arithmetic": ("Arithmetic", ":material/calculate:", {"encode", "decode"}),
    "beta": ("Beta", ":material/compare_arrows:", {"log_likelihood", "decode"}),
    "samples": ("Samples", ":material/auto_awesome:", {"sample"}),
    "denoising": ("Denoising", ":material/blur_on:", {"denoise_path"}),
    "translate": ("Translate", ":material/translate:", {"translate"}),
    "complete": ("Complete", ":material/extension:", {"denoise_path"}, {"log_likelihood", "decode"}, {"translate"}),
    "outliers": ("Outliers", ":material/search_insights:", {"encode"}),
}
LATEST = -1  # on the time slider: the newest pictures, whatever their step
Point = dict[str, Any]


def name_of(config: RunConfig) -> str:
    """VAE on Digits: for a menu, which knows no Markdown."""
    family = FAMILIES[config.family].title if config.family in FAMILIES else config.family
    return f"{family} on {data.title(config.dataset)}"


def heading(config: RunConfig) -> str:
    """VAE on Digits, as Markdown."""
    return plain(name_of(config))


def dataset_title(name: str) -> str:
    """Edges of MNIST, as Markdown."""
    return plain(data.title(name))


def badge(status: Status) -> str:
    """As Markdown, as are those of `steering` and `doctor`: several of them are one element of the page."""
    icon, colour = STATES[status.state]
    return f":{colour}-badge[{icon} {status.state}]"


def series(told: list[Point], part: str, name: str, x: str) -> figures.Series:
    """One loss of one part over steps or seconds."""
    pairs = [(point[x], point[part][name]) for point in told if name in point.get(part, ())]
    array = np.array(pairs, float).reshape(-1, 2)
    return array[:, 0], array[:, 1]


def losses(run: Run) -> dict[str, str]:
    """Name -> unit of every loss of the run's family; the first is the main figure."""
    return FAMILIES[run.config.family].Model.LOSSES


def together(run: Run) -> tuple[tuple[str, ...], ...]:
    """The losses that share a chart: of networks that compete."""
    return getattr(FAMILIES[run.config.family].Model, "CHARTS", ())


def charts_of(run: Run) -> list[tuple[str, ...]]:
    """The losses of each chart, the main one first."""
    shared = {name: names for names in together(run) for name in names}
    return list(dict.fromkeys(shared.get(name, (name,)) for name in losses(run)))


def watch(run: Run) -> None:
    """The whole of a run, live while it is active: everything comes from its folder, so a reload changes nothing."""
    status = run.status()
    pace: float | None = AWAITED if awaited(run, status) else 1.0
    if not status.active:  # somebody else may resume it
        pace = None if status.state == "finished" or run.shipped else 3.0
    if changed := settings.in_words(run.config):
        st.caption(f"{plain(changed[0].upper() + changed[1:])}; all else as by default.")
    # How often a fragment runs is settled when the whole page runs, so the page runs again when that should change.
    st.fragment(_watch, run_every=pace)(run, status.state, pace)
    if together(run):
        st.fragment(game.slow_motion)(run)
    settings.table(run.config, dataset_title(run.config.dataset))


def awaited(run: Run, status: Status) -> bool:
    """Whether somebody waits for the first point, or for a pause or stop to take effect."""
    return status.state in ("queued", "running") and (run.newest_point() is None or run.wish != "run")


def _watch(run: Run, known: str, pace: float | None) -> None:
    status, told = run.status(), run.metrics()
    gone = not run.path.exists()  # deleted since the page was begun: begun anew, it says so
    if gone or status.state != known or (status.active and awaited(run, status) != (pace == AWAITED)):
        st.rerun()
    standing(run, status)
    with st.container():
        steering.controls(run, status)
    with st.container():
        troubles(run, status, told)
        links(run)
        doctor.panel(run, status)
    if status.state == "queued" and not told:
        st.info("Loss curves, samples and reconstructions appear here as soon as it learns.")
        return
    with st.container():  # one place, whether there is a slider yet or not: what follows stays where it is
        step = time_slider(run, status)
    seen: Mapping[str, pictures.Picture] = {}
    arrays: Mapping[str, np.ndarray] = {}
    try:
        name = pictures.newest(run) if step == LATEST else f"snapshots/{step}"
        seen, arrays = pictures.of_run(run, name), pictures.arrays_of(run, name)
    except UserError as error:
        st.error(plain(str(error)))
    if told or seen or status.active:
        # What is drawn anew every second is kept once it has come to rest.
        with contextlib.nullcontext() if status.active else downloads.keeping("train", f"pictures-{run.id}"):
            charts(run, status, seen, arrays, told, step)
    if not status.active:
        summary.final_figures(run)


def charts(
    run: Run,
    status: Status,
    seen: Mapping[str, pictures.Picture],
    arrays: Mapping[str, np.ndarray],
    told: list[Point],
    step: int,
) -> None:
    """Pictures on the left, curves on the right, the other losses below."""
    drawn = charts_of(run) if told or status.active else []
    names = [name for name in seen if name != "reconstructions"] or ["reconstructions"]
    beside = 2 if together(run) and len(names) > 1 else 1  # as many charts as are as high as the pictures
    left, right = st.columns(2, gap="large")
    with right:
        if drawn:
            axes = Axes(*axes_form(), told, step, steering.turns_of(run))
            for number, each in enumerate(drawn[:beside]):
                curve(axes, run, each, 240 if number else 330)
    with left:
        pictures_of(run, seen, names)
        if together(run):
            game.balance(run, told, math.inf if step == LATEST else step)
    row, rest = st.container(), [name for name in seen if name not in names]
    if rest or "kl" in arrays:  # what follows keeps its place when there comes to be something
        left, right = row.columns(2, gap="large")
        with left:
            pictures_of(run, seen, rest)
        with right:
            dimensions(run, arrays)
    for first in range(beside, len(drawn), 2):
        for place, each in zip(st.columns(2, gap="large"), drawn[first : first + 2], strict=False):
            with place:
                curve(axes, run, each, 240)


def troubles(run: Run, status: Status, told: list[Point]) -> None:
    """Files of an ended run that cannot be read: said when it is opened, not when they are needed."""
    if status.active:
        return
    if lost := unread(run, told):
        those = "One point of the curves" if lost == 1 else f"{lost:,} points of the curves"
        st.warning(f"{those} could not be read: metrics.jsonl is damaged there. The others are shown.")
    if status.step and (wrong := wrong_weights(run)):
        way = "Resume it or train a copy" if run.can_resume(status) else "Train a copy"
        st.error(f"{wrong} Its curves and pictures are still here, but nothing new can be drawn with it. {way}.")


def unread(run: Run, told: list[Point]) -> int:
    """Lines of the curves' file that are no point."""
    path = run.path / "metrics.jsonl"
    return len(path.read_bytes().splitlines()) - len(told) if path.exists() else 0


def wrong_weights(run: Run) -> str | None:
    """What is wrong with the file of weights, as its header and its length tell; None where nothing is."""
    try:
        return remembered(run.path / "weights.safetensors", _wrong)
    except FileNotFoundError:
        return "Its weights are missing: there is no file weights.safetensors."


def _wrong(weights: Path) -> str | None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy"):
            return None
    except (SafetensorError, OSError):
        return "Its weights are damaged: the file weights.safetensors was cut off or changed."


def links(run: Run) -> None:
    """The pages of this app that look inside such a run, once it has weights."""
    if wrong_weights(run):
        return
    from genmodels.completion import way_of  # of those that translate, some have learned to complete

    able = set(FAMILIES[run.config.family].abilities)
    with st.container(horizontal=True):
        for page, (label, icon, *ways) in LOOKS.items():
            with contextlib.suppress(StreamlitPageNotFoundError):
                if any(needs <= able for needs in ways) and (page != "complete" or way_of(run)):
                    st.page_link(page_file(page), label=label, icon=icon, query_params=here(run=run.id))


def standing(run: Run, status: Status) -> None:
    """State in words, progress, and what can be done about it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown(badge(status), width="content")
        if steered := steering.badge(run):
            st.markdown(steered, width="content")
        actions(run, status)
    if status.state == "failed":
        st.error(plain(status.error or "It failed without a word."))
        if not demo.on() and (words := run.last_words(12)):
            with st.expander("Last lines of its log"):
                st.code(words, language=None, wrap_lines=True)
    elif status.state == "finished":
        end = f"{status.step:,} steps in {duration(status.seconds)} on {plain(status.device)}."
        st.caption(f"{end} {plain(status.doing)}")
    else:
        st.progress(min(1.0, max(0.0, status.share)), in_words(run, status))


def in_words(run: Run, status: Status) -> str:
    """One line that says where the run stands and what comes next."""
    wish = run.wish
    if status.state == "queued":
        place = jobs.place_in_queue(run, status)
        left = jobs.until_next()
        soon = f" The model that trains now has {duration(left)} left." if left else ""
        return f"Number {place} in the queue. It starts by itself when there is room.{soon}"
    if status.state == "paused":
        return f"Paused at step {status.step:,}. Nothing is lost."
    if status.state == "stopped":
        hint = "" if run.can_resume(status) else " It came without a checkpoint, so train a copy to go further."
        return f"Stopped at step {status.step:,}, with {status.share:.0%} of the budget used.{hint}"
    if wish in ("pause", "stop"):
        return "Pausing ..." if wish == "pause" else "Stopping ..."
    if status.doing != "training":
        return {
            "starting": "Starting: the first point comes in a few seconds.",
            "evaluating": "Measuring the result.",
        }.get(status.doing, "Starting.")
    left = status.seconds_left
    parts = [f"Training on {plain(status.device)}", f"step {status.step:,}"]
    parts.append(f"{status.images_per_second:,.0f} images/s")
    return ", ".join(parts) + (f", {duration(left)} left" if left is not None else "")


def actions(run: Run, status: Status) -> None:
    """Buttons that suit the state. Each takes effect within a second and says so at once."""
    if status.state == "running":
        st.button("Pause", icon=":material/pause:", on_click=attempt, args=(jobs.pause, run))
    if run.can_resume(status):
        st.button("Resume", icon=":material/play_arrow:", type="primary", on_click=attempt, args=(jobs.resume, run))
    if status.active:
        st.button("Stop", icon=":material/stop:", on_click=attempt, args=(jobs.stop, run))
    if st.button("Duplicate with changes", icon=":material/content_copy:"):
        go("train", like=run.id)
    if run.stamp and not status.active:
        sharing.menu(run, status)
    if st.button("Train another", icon=":material/add:"):
        go("train")


def time_slider(run: Run, status: Status) -> int:
    """The step to look at: one slider moves the cursor on the curves and the pictures."""
    steps = run.snapshots()
    if status.active or not steps or ((run.path / "live.npz").exists() and steps[-1] < status.step):
        steps = [*steps, LATEST]
    if len(steps) < 2:
        return LATEST
    end = "now" if status.active else "end"
    key = f"step-{run.id}-{end}"  # what was chosen is sent back by its words
    if st.session_state.get(key) not in steps:
        st.session_state[key] = _step_in_address(steps)

    def told() -> None:
        if st.session_state[key] == steps[-1]:
            st.query_params.pop("step", None)
        else:
            st.query_params["step"] = str(st.session_state[key])

    chosen = st.select_slider(
        "Look back in time (step)", steps, format_func=lambda each: end if each == LATEST else f"{each:,}", key=key,
        help="Moves the line on the curves and the pictures together.", on_change=told,
    )  # fmt: skip
    return LATEST if chosen == steps[-1] and steps[-1] == LATEST else int(chosen)


def _step_in_address(steps: list[int]) -> int:
    """The step that a link asks for, or the last."""
    asked = st.query_params.get("step", "")
    if asked in map(str, steps):
        return int(asked)
    if asked:
        st.warning(f"Of step {plain(asked[:20])} nothing was kept: here is the last.")
    return steps[-1]


def pictures_of(run: Run, seen: Mapping[str, pictures.Picture], names: list[str]) -> None:
    """These sets of pictures, each with what it is."""
    for name in names:
        if name in seen:
            pictures.show(seen[name], f"{figures.title(name)} of {run.id}")
            st.caption(seen[name].caption)


class Axes(NamedTuple):
    """How all curves of a page are drawn."""

    x: str
    log: bool
    told: list[Point]
    step: int
    turns: list[Turn]

    @property
    def cursor(self) -> float | None:
        """Where the step that is looked at lies on the axis; None at the end."""
        steps = [point["step"] for point in self.told]
        if self.step == LATEST or not steps or self.step >= steps[-1]:
            return None
        return float(np.interp(self.step, steps, [point[self.x] for point in self.told]))


def axes_form() -> tuple[str, bool]:
    """Steps or seconds, straight or logarithmic."""
    with st.container(horizontal=True, vertical_alignment="center"):
        x = st.segmented_control(
            "Across", ["step", "seconds"], default="step", required=True, key="curves-x",
            label_visibility="collapsed", bind="query-params",
        )  # fmt: skip
        return x, st.toggle("Logarithmic", key="curves-log", bind="query-params")


def curve(axes: Axes, run: Run, names: tuple[str, ...], height: int) -> None:
    """A chart of one loss, train and test told apart by dash as well as colour; or of several, in training."""
    unit = losses(run)[names[0]]
    lines = {part: {name: series(axes.told, part, name, axes.x) for name in names} for part in ("train", "test")}
    alone, (name, *_) = len(names) == 1, names
    drawn = figures.live_curves(
        {part: each[name] for part, each in lines.items()}
        if alone
        else {figures.title(name): each for name, each in lines["train"].items()},
        x_title=axes.x, log=axes.log, cursor=axes.cursor, marks=steering.marks(axes.turns, axes.told, axes.x),
        height=height, level=duel.EVEN if unit == "probability" and not alone else None,
    )  # fmt: skip
    sentence = (
        figures.curve_sentence(name, unit, lines["train"][name], lines["test"][name])
        if alone
        else duel.pair_sentence(names, unit, lines["train"], lines["test"])
    )
    told = f"**{' and '.join(map(figures.title, names))}**, {unit}"
    chart(drawn, sentence, key=f"curve-{name}", heading=told, help=NAT if unit.startswith("nats") else None)


def dimensions(run: Run, arrays: Mapping[str, np.ndarray]) -> None:
    """KL of each latent dimension, where the family has it."""
    if "kl" not in arrays:
        return
    kl = arrays["kl"]
    sentence = figures.kl_sentence(kl)
    if "latents" in arrays and run.config.knobs.get("likelihood") == "bernoulli":
        sentence += (
            f" Measured on {len(arrays['latents']):,} test images in grey. The KL in the curves and figures differs:"
            " it is of images drawn in black and white, as the model learns from them."
        )
    what = "**What each latent dimension carries**, KL in nats"
    chart(figures.live_kl_bars(kl), sentence, key="kl", heading=what)
