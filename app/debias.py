"""Which debiasing experiment the page shows, the form that starts one, and where its runs stand.

The address is the truth: `experiment=<id>`, `figure` and `seed` say what is looked at.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import streamlit as st

from app import cards, groups, panels, pictures, plan, state
from app.controls import attempt, bounds, number
from genmodels import data, debiasing, jobs
from genmodels.config import Schedule, UserError
from genmodels.data import DATASETS, intake
from genmodels.data.selection import named
from genmodels.families import FAMILIES
from genmodels.runs import Run, RunConfig, Status
from genmodels.worker import slots

SEEDS = "1-3"
STEPS, BATCH = 400, 512  # of each run: some ten seconds on MNIST, and four passes over it, three of them resampled
KEPT, FEW = 5, 20  # percent; the second where there are few images
MANY = 10_000
USUAL = {"mnist": "2"}  # what is made scarce unasked; elsewhere the last class
EXPLAINED = r"""
Class head and VAE are learned together; the VAE part of an image may be switched off by $I(x)$ while its class is still
learned:

$$\lambda\, \mathrm{CE}(y, \hat y) + I(x) \left( \mathbb{E}_{q(z|x)}[-\log p(x|z)] + \beta\,
\mathrm{KL}(q(z|x) \,\|\, \mathcal{N}(0, I)) \right)$$

Here $I(x) = 1$ for every image, as every class is of interest. Without resampling each image is seen once in each pass
over the data. With it, all training images are encoded before each pass but the first, and drawn with replacement in
proportion to

$$W(x) = \prod_i \frac{1}{Q_i(z_i(x)) + \alpha}$$

where $Q_i$ is the histogram of the $i$-th latent mean over the training images, along its principal axes and in
standard deviations, and $\alpha$ the smoothing: a large one draws all alike, a small one the oddest images alone.
Labels play no part in $W$: nobody says which group is scarce.

[A. Amini et al. (2019), Uncovering and mitigating algorithmic bias through learned latent
structure](https://doi.org/10.1145/3306618.3314243)
"""


# --- which one ------------------------------------------------------------------------------------------------------


def chosen() -> list[Run]:
    """The runs of the experiment in the address, or of the newest; [] where there is none. Raises UserError."""
    known, asked = debiasing.experiments(), st.query_params.get("experiment")
    if asked and asked not in known:
        return debiasing.members(asked)  # says that it is not here
    if not known:
        return []
    names = list(known)
    picked = st.selectbox(
        "Experiment", names, names.index(asked) if asked else 0, lambda name: _name(known[name]),
        key=f"choose-{asked}-{names[0]}", label_visibility="collapsed",
    )  # fmt: skip
    if picked != asked:
        st.query_params["experiment"] = picked
    return known[picked]


def _name(runs: Sequence[Run]) -> str:
    """MNIST, 5% of class 2 · 3 seeds · 1,000 steps · 21 Nov, 18:02 UTC."""
    config, count = runs[0].config, len(debiasing.pairs(runs))
    when = "ready-made" if runs[0].shipped else cards.moment(config.created)
    kept = f"{100 * config.selection.kept:.3g}%" if config.selection else ""
    budget = f"{config.schedule.budget:,g} {config.schedule.unit}"
    what = f"{panels.dataset_title(config.dataset)}, {kept} of {state.plain(debiasing.said(config))}"
    return f"{what} · {count} seed{'s' if count > 1 else ''} · {budget} · {when}"


# --- a new one ------------------------------------------------------------------------------------------------------


def form() -> None:
    """Choose what is made scarce, and start. Raises UserError."""
    problems: list[str] = []
    left, right = st.columns([3, 2], gap="large")
    with left:
        here = [name for name in [*DATASETS, *intake.own_datasets()] if data.is_present(name)]
        index = here.index("mnist") if "mnist" in here else 0
        dataset = st.selectbox("Data", here, index, data.title, key="debias-data")
        facts = pictures.facts(dataset, None, None)
        if len(facts.classes) < 2:
            raise UserError("This dataset has no two classes, and the class head needs them: choose another one.")
        one, other = st.columns(2)
        usual = USUAL.get(dataset, facts.classes[-1])
        options = _choices(dataset)
        scarce = one.selectbox(
            "Make scarce", options, options.index(usual), lambda name: named(name, facts.classes),
            key=f"debias-scarce-{dataset}",
            help="Most of these training images are left out. The test images stay.",
        )  # fmt: skip
        share = float(KEPT if facts.sizes[0] > MANY else FEW)
        kept = number(
            other, "Share that stays (%)", (0.1, 99), share, problems, step=1.0, format="%g",
            key=f"debias-kept-{dataset}",
        )  # fmt: skip
        text = one.text_input("Seeds", SEEDS, key="debias-seeds", help="Each trains two models. Like 1, 2, 3 or 1-5.")
        steps = number(
            other, "Steps of each", (1, 1_000_000), STEPS, problems, step=100, key="debias-steps",
            help=f"Of {BATCH} images each.",
        )  # fmt: skip
        knobs = _knobs(problems)
    base = RunConfig(family=debiasing.FAMILY, dataset=dataset, shape=facts.shape, classes=facts.classes)
    budget = Schedule(budget=float(steps), unit="steps", batch_size=BATCH)
    with right.container(border=True):
        if not problems:
            _start(base, scarce, kept / 100, text, budget, knobs, facts.sizes[0])


@st.cache_data(show_spinner=False, max_entries=50)
def _choices(dataset: str) -> tuple[str, ...]:
    return debiasing.choices(data.load(dataset))


def _knobs(problems: list[str]) -> dict[str, Any]:
    """The two settings of the model that decide how far resampling goes; the others are the family's defaults."""
    found = {}
    for place, (name, usual) in zip(st.columns(2), debiasing.USUAL.items(), strict=True):
        field = FAMILIES[debiasing.FAMILY].Config.model_fields[name]
        found[name] = number(
            place, name.replace("_", " ").capitalize(), bounds(field), usual, problems,
            step=usual / 10, format="%g", help=field.description, key=f"debias-{name}",
        )  # fmt: skip
    return found


def _start(
    base: RunConfig, scarce: str, kept: float, text: str, budget: Schedule, knobs: dict[str, Any], count: int
) -> None:
    what = state.plain(named(scarce, base.classes))
    st.markdown(f"**{panels.dataset_title(base.dataset)} with {100 * kept:.3g}% of {what}**")
    try:
        members = debiasing.plan(base, scarce, kept, debiasing.seeds_of(text), budget, knobs)
    except UserError as error:
        st.error(state.plain(str(error)))
        return
    if st.button(f"Train {len(members)} models", type="primary", icon=":material/play_arrow:", width="stretch"):
        runs = debiasing.start(members)
        state.go("debias", experiment=str(runs[0].config.experiment))
    st.write("In each pair the same images stay, and weights, first pass and budget are the same.")
    rate, source = plan.images_per_second(members[0])
    seconds = budget.budget * min(budget.batch_size, count) / rate * -(-len(members) // slots())
    order = "one after another" if slots() == 1 else f"{slots()} at a time"
    st.caption(
        f"About {plan.duration(seconds)} in all, {order}, and a few seconds for each to start; more where other work "
        f"runs here too. {source}"
    )


# --- what became of it ----------------------------------------------------------------------------------------------


def watch(runs: Sequence[Run]) -> None:
    """The whole experiment, live while a run is at work."""
    states = tuple(run.status().state for run in runs)
    pace = 2.0 if any(run.status().active for run in runs) else None
    st.fragment(_watch, run_every=pace)(runs, states)
    with st.expander("The formulas", icon=":material/functions:"):
        st.markdown(EXPLAINED)


def _watch(runs: Sequence[Run], known: tuple[str, ...]) -> None:
    statuses = {run.id: run.status() for run in runs}
    if tuple(status.state for status in statuses.values()) != known:
        st.rerun()
    standing(runs, statuses)
    groups.results(runs, statuses)


def standing(runs: Sequence[Run], statuses: Mapping[str, Status]) -> None:
    """Where each pair stands; stop or resume them together."""
    active = [run for run in runs if statuses[run.id].active]
    idle = [run for run in runs if run.can_resume(statuses[run.id])]
    with st.container(horizontal=True, vertical_alignment="center"):
        for seed, pair in debiasing.pairs(runs).items():
            _pair(seed, [statuses[run.id] if run else None for run in pair])
        if active:
            st.button("Stop all", icon=":material/stop:", on_click=_each, args=(jobs.stop, active))
        elif idle:
            st.button("Resume", icon=":material/play_arrow:", on_click=_each, args=(jobs.resume, idle))
    if active:
        share = sum(status.share for status in statuses.values()) / len(runs)
        begun = [status for status in statuses.values() if status.share > 0]
        seconds = sum(status.seconds for status in begun) / max(1e-9, sum(status.share for status in begun))
        left = seconds * (1 - share) * len(runs) / slots() if begun else 0
        st.progress(share, f"{share:.0%} of all steps" + (f", about {plan.duration(left)} left" if begun else ""))
    for run in runs:
        if (status := statuses[run.id]).state == "failed":
            error = state.plain(status.error or "it failed without a word.")
            st.error(f"Seed {run.config.seed}, {groups.WORDS[debiasing.resamples(run)]}: {error}")


def _pair(seed: int, pair: Sequence[Status | None]) -> None:
    """A badge: done when both are, else where each of them stands."""
    states = [status.state if status else "deleted" for status in pair]
    if states == ["finished", "finished"]:
        st.badge(f"seed {seed}: done", icon=":material/check_circle:", color="green")
        return
    told = [f"{name} {status.share:.0%}" if status and status.state == "running" else name
            for name, status in zip(states, pair, strict=True)]  # fmt: skip
    now = next((name for name in ("running", "failed", "paused", "stopped", "queued") if name in states), "stopped")
    icon, colour = panels.STATES[now]
    words = told[0] if len(set(told)) == 1 else f"{told[0]}, resampled {told[1]}"
    st.badge(f"seed {seed}: {words}", icon=icon, color=colour)  # type: ignore[arg-type]


def _each(action: Any, runs: Sequence[Run]) -> None:
    for run in runs:
        attempt(action, run)
