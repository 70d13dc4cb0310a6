"""Draws a run: where it stands, its curves, its pictures, its latent dimensions."""

import contextlib
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

from app import doctor, game, pictures, settings, steering
from app.controls import attempt
from app.plan import duration
from app.state import go, page_file, plain
from genmodels import data, duel, figures, jobs
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.runs import Run, RunConfig, Status
from genmodels.steering import Turn

READER = re.compile(r", (?=(?:judge|autoencoder) features)")  # in a unit, before what read the images
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
NAT = "A nat is the natural unit of information: 1 nat = 1.44 bits."
LATEST = -1  # on the time slider: the newest pictures, whatever their step
Point = dict[str, Any]


def heading(config: RunConfig) -> str:
    """VAE on Digits."""
    family = FAMILIES[config.family].title if config.family in FAMILIES else plain(config.family)
    return f"{family} on {dataset_title(config.dataset)}"


def dataset_title(name: str) -> str:
    """Edges of MNIST."""
    return plain(data.title(name))


def badge(status: Status) -> None:
    icon, colour = STATES[status.state]
    st.badge(status.state, icon=icon, color=colour)  # type: ignore[arg-type]


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
    if status.state != known or (status.active and awaited(run, status) != (pace == AWAITED)):
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
        seen, arrays = pictures.of_run(run, name), run.arrays(name)
    except UserError as error:
        st.error(plain(str(error)))
    if told or seen or status.active:
        charts(run, status, seen, arrays, told, step)
    if not status.active:
        final_figures(run)


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
    places = left, right = st.columns(2, gap="large")
    with left:
        if len(seen) > 1:
            pictures_of(run, seen, ["reconstructions"])
    with right:
        dimensions(run, arrays)
    for number, each in enumerate(drawn[beside:]):
        places = st.columns(2, gap="large") if number % 2 == 0 else places
        with places[number % 2]:
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
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(run.path / "weights.safetensors", framework="numpy"):
            return None
    except FileNotFoundError:
        return "Its weights are missing: there is no file weights.safetensors."
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
                    st.page_link(page_file(page), label=label, icon=icon, query_params={"run": run.id})


def standing(run: Run, status: Status) -> None:
    """State in words, progress, and what can be done about it."""
    with st.container(horizontal=True, vertical_alignment="center"):
        badge(status)
        steering.badge(run)
        actions(run, status)
    if status.state == "failed":
        st.error(plain(status.error or "It failed without a word."))
        if words := run.last_words(12):
            with st.expander("Last lines of its log"):
                st.code(words, language=None, wrap_lines=True)
    elif status.state == "finished":
        st.caption(f"{status.step:,} steps in {duration(status.seconds)} on {plain(status.device)}.")
    else:
        st.progress(min(1.0, max(0.0, status.share)), in_words(run, status))


def in_words(run: Run, status: Status) -> str:
    """One line that says where the run stands and what comes next."""
    wish = run.wish
    if status.state == "queued":
        place = jobs.place_in_queue(run, status)
        return f"Number {place} in the queue. It starts by itself when there is room."
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
    parts = [
        f"Training on {plain(status.device)}",
        f"step {status.step:,}",
        f"{status.images_per_second:,.0f} images/s",
    ]
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
    if st.button("Train another", icon=":material/add:"):
        go("train")


def time_slider(run: Run, status: Status) -> int:
    """The step to look at: one slider moves the cursor on the curves and the pictures."""
    steps = run.snapshots()
    if status.active or not steps or ((run.path / "live.npz").exists() and steps[-1] < status.step):
        steps = [*steps, LATEST]
    if len(steps) < 2:
        return LATEST
    key, end = f"step-{run.id}", "now" if status.active else "end"
    if st.session_state.get(key) not in steps:
        st.session_state.pop(key, None)
    chosen = st.select_slider(
        "Look back in time (step)", steps, steps[-1], lambda each: end if each == LATEST else f"{each:,}", key=key,
        help="Moves the line on the curves and the pictures together.",
    )  # fmt: skip
    return LATEST if chosen == steps[-1] and steps[-1] == LATEST else int(chosen)


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
            "Across", ["step", "seconds"], default="step", required=True, key="curves-x", label_visibility="collapsed"
        )
        return x, st.toggle("Logarithmic", key="curves-log")


def curve(axes: Axes, run: Run, names: tuple[str, ...], height: int) -> None:
    """A chart of one loss, train and test told apart by dash as well as colour; or of several, in training."""
    unit = losses(run)[names[0]]
    lines = {part: {name: series(axes.told, part, name, axes.x) for name in names} for part in ("train", "test")}
    alone, (name, *_) = len(names) == 1, names
    st.markdown(f"**{' and '.join(map(figures.title, names))}**, {unit}", help=NAT if unit.startswith("nats") else None)
    chart = figures.live_curves(
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
    st.vega_lite_chart(chart, key=f"curve-{name}", alt=sentence.replace("**", ""))
    st.caption(sentence)


def dimensions(run: Run, arrays: Mapping[str, np.ndarray]) -> None:
    """KL of each latent dimension, where the family has it."""
    if "kl" not in arrays:
        return
    kl = arrays["kl"]
    st.markdown("**What each latent dimension carries**, KL in nats")
    sentence = figures.kl_sentence(kl)
    st.vega_lite_chart(figures.live_kl_bars(kl), key="kl", alt=sentence)
    if "latents" in arrays and run.config.knobs.get("likelihood") == "bernoulli":
        sentence += (
            f" Measured on {len(arrays['latents']):,} test images in grey. The KL in the curves and figures differs:"
            " it is of images drawn in black and white, as the model learns from them."
        )
    st.caption(sentence)


def final_figures(run: Run) -> None:
    """The metrics of the test set, with unit and number of images."""
    try:
        found = run.summary()
    except UserError as error:
        st.error(plain(str(error)))
        return
    if not found:
        return
    st.subheader("Measured on the test images")
    judges: set[str] = set()
    with st.container(horizontal=True):
        for name, metric in found.items():
            unit, *reader = READER.split(metric["unit"], maxsplit=1)  # the same for all that were read by it
            better = "" if metric["better"] == "neither" else f" {metric['better'].capitalize()} is better."
            with st.container(width=165, gap=None):
                nat = f" {NAT}" if metric["unit"].startswith("nats") else ""
                help_ = f"Measured on {metric['n']:,} images.{better}{nat}"
                st.metric(figures.title(name), figures.number(metric["value"], unit), help=help_)
                if metric["floor"] is not None:  # of real images, unless the unit says of what
                    floor = figures.number(metric["floor"])
                    unit += f" ({floor})" if "; floor:" in unit else f"; real images: {floor}"
                st.caption(plain(unit))
                judges |= set(reader)
    for each in sorted(judges):
        st.caption(
            f"Read by a fixed network of this dataset: {plain(each)}. Its hash says which one it is: compare values "
            "only where it is the same."
        )
    if any(metric["floor"] is not None for metric in found.values()):
        st.caption(
            "Real images: what real ones score in the place of the model's. It is no limit: where images are few it "
            "varies with the choice, and a model can score better."
        )
