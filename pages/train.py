"""Train: pick data, model and budget; press one button; watch it learn. `?run=<id>` in the address is one run."""

import streamlit as st

from app import controls, doctor, panels, plan, settings, state, steering
from genmodels import demo
from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES
from genmodels.runs import RunConfig

if run := state.run_in_address():
    try:
        st.title(panels.heading(run.config))
        panels.watch(run)
    except UserError as error:
        state.refuse(error)
    st.stop()

like = state.run_in_address("like")
key = f"new-{like.id if like else ''}{st.query_params.get('with', '') if like else ''}"
st.title("Train a model")
st.write("Choose what it learns from and what it is. Then press **Train** and watch.")

try:
    old = doctor.asked(like) if like else None
    # Two rows, so that on a phone the button comes before the knobs.
    first, ready = st.columns([3, 2], gap="large")
    second, _ = st.columns([3, 2], gap="large")
    with first:
        asked = state.dataset_in_address()
        dataset, family, shown = controls.choose(key, asked, (old.dataset, old.family) if old else None)
    basic = second.container()
    folded = second.expander("Fine-tuning", icon=":material/tune:")
    problems: list[str] = []
    side, depth = controls.image_form(
        folded, key, dataset, *((old.size, old.channels) if old and old.dataset == dataset else (None, None)), problems
    )
    with shown:
        facts = controls.preview(dataset, side, depth)
    knobs = controls.knobs(
        FAMILIES[family].Config, f"{key}-{family}", basic, folded,
        old.knobs if old and old.family == family else {}, problems,
    )  # fmt: skip
    known = old.schedule.model_dump() if old else {}
    schedule = controls.knobs(Schedule, f"{key}-schedule", basic, folded, known, problems)
    seed = controls.number(
        folded, "Seed", (0, 2**31 - 1), old.seed if old else 0, problems, key=f"{key}-seed", persist_state="session",
        help="The same seed and settings give the same run on one processor thread.",
    )  # fmt: skip
    with second.expander("The idea and the formula", icon=":material/functions:"):
        st.markdown(FAMILIES[family].about.replace("\n[", "\n\n["))
    config = RunConfig(
        family=family, knobs=knobs.model_dump(), dataset=dataset, size=side, channels=depth, seed=seed,
        schedule=schedule, shape=facts.shape, classes=facts.classes, parent=like.id if like else None,
        selection=settings.selection_for(old, dataset, seed),
    )  # fmt: skip
    problems += demo.refusals(config, facts.sizes[0])
    layers = plan.layers(config)
    with ready.container(border=True):
        st.markdown(f"**{panels.heading(config)}**")
        turns = steering.offer(like, family)
        pressed = st.button(
            "Train", type="primary", icon=":material/play_arrow:", width="stretch", disabled=bool(problems)
        )
        for problem in problems:
            st.error(problem)
        if pressed and not problems:
            plan.begin(config, turns)
        st.write(f"**{sum(layer.parameters for layer in layers):,}** parameters.")
        told = st.empty()
    with ready.expander("Its layers"):
        st.markdown("\n".join(f"- {layer.name}: {layer.parameters:,}" for layer in layers))
    if not problems:
        told.caption(plan.estimate(config, facts.sizes[0]))
except UserError as error:
    st.error(state.plain(str(error)))
