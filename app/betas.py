"""Which models the Beta page compares, and the form that starts a comparison.

The address is the truth: `experiment=<id>` or `runs=<id>,<id>` say what is compared, `beta` which member is looked at.
"""

from collections.abc import Sequence

import streamlit as st

from app import cards, look, panels, pictures, plan, state, steering
from genmodels import data, experiment
from genmodels.config import Schedule, UserError
from genmodels.data import DATASETS, intake
from genmodels.families import FAMILIES
from genmodels.runs import Run, RunConfig
from genmodels.worker import slots

STEPS = 2000  # of a comparison that does not start from a run: seconds on digits, half a minute on MNIST
NEW = "new:"  # before the name of a family: its defaults, not those of a run


# --- what is compared -----------------------------------------------------------------------------------------------


def chosen_members() -> dict[str, Run]:
    """The comparison in the address, or the newest; {} where there is none. Raises UserError."""
    known = experiment.experiments()
    if ids := st.query_params.get("runs"):
        return experiment.labelled(experiment.assembled(ids))
    asked = st.query_params.get("experiment")
    if asked and asked not in known:
        return experiment.labelled(experiment.members(asked))  # says that it is not here
    if not known or (not asked and "run" in st.query_params):
        return {}
    names = list(known)
    picked = st.selectbox(
        "Comparison", names, names.index(asked) if asked else 0, lambda name: _name(known[name]),
        key=f"choose-{asked or names[0]}-{names[0]}", label_visibility="collapsed",
    )  # fmt: skip
    if picked != asked:
        st.query_params["experiment"] = picked
    return experiment.labelled(known[picked])


def _name(runs: Sequence[Run]) -> str:
    """VAE on Digits · beta 0.25, 1, 4 · 21 Nov, 18:02 UTC."""
    config = runs[0].config
    when = "ready-made" if runs[0].shipped else cards.moment(config.created)
    return f"{panels.name_of(config)} · beta {', '.join(experiment.labelled(runs))} · {when}"


# --- a new one ------------------------------------------------------------------------------------------------------


def form() -> None:
    """Start a comparison, or put one together from runs that there are. Raises UserError."""
    anew, existing = st.tabs(["Train them", "Take runs you have"])
    runs = look.able("log_likelihood", "decode")
    runs = [run for run in runs if experiment.has_beta(run)]
    with anew:
        _say_why_not(runs)
        left, right = st.columns([3, 2], gap="large")
        with left:
            base, parent = _base(runs)
            text = st.text_input(
                "Betas", ", ".join(f"{beta:g}" for beta in experiment.BETAS), key="betas",
                help="The weight of the KL term: below 1 for sharper copies, above 1 for simpler codes.",
            )  # fmt: skip
            here = data.is_present(base.dataset)
            budget = _budget(base, parent) if here else base.schedule
        with right.container(border=True):
            if here:
                _start(base, text, budget, parent)
            else:
                _fetch(base.dataset)
    with existing:
        ids = [run.id for run in runs]
        picked = st.multiselect("Runs", ids, format_func=look.name_of, max_selections=experiment.MOST, key="take")
        if st.button("Compare them", disabled=len(picked) < 2, icon=":material/compare_arrows:"):
            state.go("beta", runs=",".join(picked))


def _say_why_not(runs: Sequence[Run]) -> None:
    """Why the run in the address does not lend its settings, where it does not."""
    asked = st.query_params.get("run")
    if not asked or asked in [run.id for run in runs]:
        return
    try:
        run = state.by_id(asked)
    except UserError as error:
        st.error(state.plain(str(error)))
        return
    if experiment.has_beta(run):
        st.info(
            f"The run '{run.id}' has no weights yet, so its settings cannot be taken over: wait for its first step."
        )
        return
    having = ", ".join(FAMILIES[name].title for name in experiment.families())
    st.info(f"{panels.heading(run.config)}: this family has no beta. These have: {having}.")


def _fetch(dataset: str) -> None:
    """The way to a dataset that is not on this machine."""
    title = panels.dataset_title(dataset)
    st.error(f"The dataset {title} is not on this machine, so nothing can be trained on it yet.")
    known = {"data": dataset} if dataset in DATASETS else {}
    words, query = f"Get {title} on the Data page", state.here(**known)
    st.page_link(state.page_file("data"), label=words, icon=":material/download:", query_params=query)


def _base(runs: Sequence[Run]) -> tuple[RunConfig, Run | None]:
    """Whose settings the members share: those of a run, or the defaults of a family on a dataset. Raises UserError."""
    options = [NEW + name for name in experiment.families()] + [run.id for run in runs]
    asked = st.query_params.get("run")
    picked = st.selectbox(
        "Settings of", options, options.index(asked) if asked in options else 0,
        lambda each: f"{FAMILIES[each[len(NEW) :]].title}, as it is by default" if each.startswith(NEW)
        else look.name_of(each), key=f"settings-{asked}",
        help="All members have these settings, and the same seed.",
    )  # fmt: skip
    if not picked.startswith(NEW):
        run = next(run for run in runs if run.id == picked)
        return run.config, run
    here = [name for name in [*DATASETS, *intake.own_datasets()] if data.is_present(name)]
    name = st.selectbox("Data", here, format_func=data.title, key="data-of-betas")
    facts = pictures.facts(name, None, None)
    return RunConfig(family=picked[len(NEW) :], dataset=name, shape=facts.shape, classes=facts.classes), None


def _budget(base: RunConfig, parent: Run | None) -> Schedule:
    """Steps or epochs; as many as the run made that it starts from."""
    from genmodels.training import steps_per_epoch

    status = parent.status() if parent else None
    steps = status.step if status and status.step else STEPS
    left, right = st.columns(2, vertical_alignment="bottom")
    unit = right.segmented_control("Counted in", ["steps", "epochs"], default="steps", required=True, key="beta-unit")
    each = steps_per_epoch(pictures.facts(base.dataset, base.size, base.channels).sizes[0], base.schedule.batch_size)
    default = steps if unit == "steps" else max(1, round(steps / each))
    amount = left.number_input(
        "Budget of each", 1, 1_000_000, default, key=f"beta-{unit}-{parent.id if parent else ''}"
    )  # fmt: skip
    st.caption("In steps, because in the same minutes the models would not do the same work.")
    return base.schedule.model_copy(update={"budget": float(amount), "unit": unit})


def _start(base: RunConfig, text: str, budget: Schedule, parent: Run | None) -> None:
    st.markdown(f"**{panels.heading(base)}**")
    try:
        if not text.strip(", ;"):
            raise UserError("Write some betas, like 0.25, 1, 4, 16.")
        members = experiment.plan(base, experiment.betas_of(text, base.family), budget, parent.id if parent else None)
    except UserError as error:
        st.error(state.plain(str(error)))
        return
    if st.button(f"Train {len(members)} models", type="primary", icon=":material/play_arrow:", width="stretch"):
        runs = experiment.start(members)
        state.go("beta", experiment=str(runs[0].config.experiment))
    st.write("The same initial weights, batches, noise and budget.")
    if parent and steering.turns_of(parent):
        st.caption("The run that the settings are of was steered; these are not.")
    rate, source = plan.images_per_second(members[0])
    count = pictures.facts(base.dataset, base.size, base.channels).sizes[0]
    seconds = _images(budget, count) / rate * -(-len(members) // slots())
    order = "one after another" if slots() == 1 else f"{slots()} at a time"
    st.caption(f"About {plan.duration(seconds)} in all, {order}. {source}")


def _images(budget: Schedule, count: int) -> float:
    """Images that one member looks at."""
    from genmodels.training import total_steps

    return (total_steps(budget, count) or 0) * min(budget.batch_size, count)
