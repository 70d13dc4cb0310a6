"""What the pages that look inside share: which run is looked at, opened once for all visitors."""

from collections.abc import Callable
from typing import NoReturn

import streamlit as st

from app import cards, panels, state
from genmodels import jobs
from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES
from genmodels.inside import Inside, open_inside
from genmodels.runs import Run, RunConfig, all_runs, create, shipped_runs

VERBS = {
    "encode": "encode images",
    "decode": "decode codes",
    "posterior": "say how sure it is of a code",
    "sample": "make new images",
    "sample|decode": "make new images",
    "translate": "translate images",
    "denoise_path": "make images out of noise step by step",
}


def run_to_look_at(*needs: str, key: str = "run") -> Inside:
    """As `choose`, with its latent space opened."""
    run = choose(*needs, key=key)
    with st.spinner("Opening the run", show_time=True):  # where nothing kept its codes, images are encoded now
        return open_inside(run)


def choose(*needs: str, key: str = "run", otherwise: Callable[[], None] | None = None) -> Run:
    """The run in the address, or the newest that can; a menu to change it. Ends the page where there is none.

    otherwise: offers what to do where no run can; by default training one of the families that can.
    """
    runs = able(*needs)
    asked = state.run_in_address(key)
    if asked and (missing := lacking(asked, needs)):
        family = FAMILIES[asked.config.family].title
        st.info(f"{family} '{asked.id}' cannot {VERBS.get(missing, missing)}, and this page needs that.")
        if runs:
            st.write("Choose one that can:")
        asked = None
    if not runs:
        if otherwise:
            otherwise()
            st.stop()
        empty(needs)
    ids = [run.id for run in runs]
    if asked and asked.id not in ids:
        raise UserError(f"The run {asked.id} has no weights yet: wait for its first checkpoint.")
    shown = asked.id if asked else ids[0]  # as the address says from now on: the menu stays the same one
    chosen = st.selectbox(
        "Run", ids, ids.index(shown), name_of, key=f"choose-{key}-{shown}", label_visibility="collapsed"
    )
    if st.query_params.get(key) != chosen:
        st.query_params[key] = chosen
    return runs[ids.index(chosen)]


def able(*needs: str) -> list[Run]:
    """Runs with weights and all these abilities, newest first, then the shipped ones."""
    found = []
    for run in [*all_runs(), *shipped_runs()]:
        try:
            if (run.path / "weights.safetensors").exists() and not lacking(run, needs):
                found.append(run)
        except UserError:  # damaged: the gallery says so
            continue
    return found


def lacking(run: Run, needs: tuple[str, ...]) -> str | None:
    """The first of these abilities that the run's family does not have; "sample|decode": has neither."""
    has = set(FAMILIES[run.config.family].abilities)
    return next((need for need in needs if not has & set(need.split("|"))), None)


def name_of(run_id: str) -> str:
    """1f2e3d4c · VAE on MNIST · 21 Nov, 18:02 UTC. What tells runs apart comes first: a phone cuts the end off."""
    run = state.by_id(run_id)
    if run.shipped:  # its name says what it is
        return f"{run.id} · ready-made"
    return f"{short(run)} · {panels.name_of(run.config)} · {cards.moment(run.config.created)}"


def short(run: Run) -> str:
    """What tells the run apart from others: the end of its id, or the name of one that came with the package."""
    return run.id if run.shipped else run.id.rsplit("-", 1)[-1]


def train_small(family: str, dataset: str, minutes: float = 1) -> NoReturn:
    """Start a run with every default, and go where it is seen learning."""
    from genmodels import data

    known = data.load(dataset)
    config = RunConfig(
        family=family, knobs=FAMILIES[family].Config().model_dump(), dataset=known.name, shape=known.shape,
        classes=known.classes, schedule=Schedule(budget=minutes),
    )  # fmt: skip
    run = create(config)
    jobs.start(run)
    state.go("train", run=run.id)


def empty(needs: tuple[str, ...]) -> None:
    """No run can do it: say what to do."""
    can = [
        family.title
        for family in FAMILIES.values()
        if all(set(need.split("|")) & set(family.abilities) for need in needs)
    ]
    st.info(f"There is no trained run to look into yet. Train one of these first: {', '.join(can)}.")
    if st.button("Train a model", type="primary", icon=":material/model_training:"):
        state.go("train")
    st.stop()
