"""Turning the knobs of a model that trains: the sliders, the marks they leave on the curves, the badge of the run."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from app.controls import attempt
from app.state import plain
from genmodels import figures, steering
from genmodels.config import UserError
from genmodels.runs import Run, Status
from genmodels.steering import Turn

SAID = 5  # turns that are written out


def turns_of(run: Run) -> list[Turn]:
    """The turns of a run, none where its record cannot be read: `controls` says so."""
    try:
        return steering.record(run)
    except UserError:
        return []


def badge(run: Run) -> str:
    """Steered runs are told apart wherever a run's state is shown."""
    return ":violet-badge[:material/tune: steered]" if turns_of(run) else ""


def controls(run: Run, status: Status) -> None:
    """What was turned, and a slider for each knob that can be while the run is at work."""
    try:
        turns = steering.record(run)
    except UserError as error:
        st.error(plain(str(error)))
        return
    if turns:
        earlier = f", and {len(turns) - SAID:,} earlier turns" if len(turns) > SAID else ""
        told = plain(steering.in_words(turns[-SAID:])) + earlier
        st.caption(f"Steered: {told}. Resumed or copied, it is steered the same.")
    if status.state not in ("running", "paused"):
        return
    now = steering.values_at(run.config, turns, status.step) | steering.asked(run)
    for place, (name, value) in zip(st.columns(2, gap="large"), now.items(), strict=False):
        with place:
            _slider(run, status, name, value, turns)


def _slider(run: Run, status: Status, name: str, value: float, turns: Sequence[Turn]) -> None:
    known = [each.values[name] for each in turns if name in each.values]
    options = steering.choices(run.config, name, value, *known)
    key = f"turn-{name}-{run.id}"
    if st.session_state.get(key, value) != value:
        st.session_state[key] = value  # somebody else has turned it
    st.select_slider(
        figures.title(name), options, value, "{:g}".format, key=key, on_change=_turned, args=(run, name),
        help="Turn it while the model trains: it takes effect at the next step and leaves a mark on the curves.",
    )  # fmt: skip
    if words := _meaning(run, status, name):
        st.caption(words)


def _turned(run: Run, name: str) -> None:
    attempt(steering.turn, run, {name: st.session_state[f"turn-{name}-{run.id}"]})


def _meaning(run: Run, status: Status, name: str) -> str:
    """What the value is at this moment, where it is not simply the knob's."""
    if name == "learning_rate" and run.config.schedule.decay == "cosine":
        share = 0.5 * (1 + math.cos(math.pi * min(1.0, status.share)))
        return f"The rate at the start: it falls along a cosine, and steps are made with {share:.0%} of it now."
    if name == "beta" and (warm_up := run.config.knobs.get("beta_warm_up", 0)) > status.step:
        return f"It is still growing from 0 and is reached at step {warm_up:,}."
    return ""


def marks(turns: Sequence[Turn], told: Sequence[dict[str, Any]], x: str) -> list[figures.Mark]:
    """Where the turns made so far stand on the x axis of the curves: in steps or in seconds."""
    steps = [point["step"] for point in told]
    made = [each for each in turns if steps and each.step <= steps[-1]]
    places = np.interp([each.step for each in made], steps, [point[x] for point in told]) if made else []
    return [(float(place), steering.values_in_words(each.values)) for place, each in zip(places, made, strict=True)]


def difference(named: Mapping[str, Run]) -> list[dict[str, str]]:
    """A row for a table of what differs between runs, where they were not steered the same."""
    told = {name: steering.said(run) for name, run in named.items()}
    return [{"setting": "Steered", **told}] if len(set(told.values())) > 1 else []


def offer(like: Run | None, family_name: str) -> list[Turn]:
    """Whether a copy of a steered run is to be steered the same; the turns it is to follow."""
    turns = turns_of(like) if like and like.config.family == family_name else []
    if not turns or not like:
        return []
    again = st.toggle(
        "Steer it the same", True, key=f"replay-{like.id}",
        help=f"The run it is a copy of was steered: {steering.in_words(turns)}.",
    )  # fmt: skip
    return turns if again else []


def follow(run: Run, turns: Sequence[Turn]) -> None:
    """Give a run that has not started these turns to follow. Raises UserError."""
    if turns:
        steering.replace(run, turns)
