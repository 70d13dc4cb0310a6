"""The doctor: what is odd about a run, why, and a button that trains a changed copy."""

from pathlib import Path
from typing import Any

import streamlit as st

from app import game, plan
from app.state import go, plain
from genmodels.config import UserError
from genmodels.doctor import Cure, Diagnosis, Finding, changed, diagnose, in_words, numbers_of, parsed, written
from genmodels.runs import Run, RunConfig, Status

ICON = ":material/stethoscope:"
# Beside the words, never instead of them.
SIGNS = {
    "serious": (":material/error:", "red"),
    "notice": (":material/warning:", "orange"),
    "hint": (":material/info:", "blue"),
}


def of_run(run: Run, status: Status, expected: bool = True) -> Diagnosis:
    """Made once for what a run's files hold. expected: compare classes with the real ones, which may load the dataset.

    Raises UserError.
    """
    stamps = tuple(run.changed(name) for name in ("metrics.jsonl", "summary.json", "live.npz", "steering.jsonl"))
    return _of_run(str(run.path), status.state, status.error, stamps, expected)


@st.cache_data(show_spinner=False, max_entries=256)
def _of_run(path: str, state: str, error: str | None, stamps: tuple[int, ...], expected: bool) -> Diagnosis:
    run = Run(Path(path))
    points = run.metrics()
    plays = bool(points) and "d_fake" in points[-1]["train"] and bool(run.config.classes)
    real = game.expected(run.config)[0] if expected and plays else None
    return diagnose(numbers_of(run, points=points, real=real))


def panel(run: Run, status: Status) -> None:
    """All findings, each with its cure; or that there is none, and what was looked at."""
    try:
        found = of_run(run, status)
    except UserError:
        return  # the file that cannot be read is named where it is shown
    if not found.findings and not found.fine:
        return
    first = found.findings[0] if found.findings else None
    icon, colour = SIGNS[first.level] if first else (":material/check_circle:", "green")
    so_far = " so far" if status.active else ""
    words = plain(_lowered(first.title)) + _and_more(found) if first else f"no finding{so_far}"
    # Where pictures are worth looking at they come first; and while it trains what is below must not jump.
    opened = bool(first) and first.level == "serious" and not status.active  # type: ignore[union-attr]
    key = f"doctor-{run.id}-{'live' if status.active else 'ended'}"
    with st.expander(f"**Doctor**: :{colour}[{icon} {words}]", expanded=opened, icon=ICON, key=key):
        offered: list[dict[str, Any]] = []  # one cure may be good for two findings
        for each in found.findings:
            icon, colour = SIGNS[each.level]
            st.markdown(f":{colour}[{icon}] **{plain(each.title)}**  \n{plain(each.why)}")
            if each.cure and each.cure.changes not in offered:
                offered.append(each.cure.changes)
                _offer(run, each)
        if found.fine:
            also = "Also looked at, and in order" if found.findings else "Looked at, and in order"
            st.caption(f"{also}:\n" + "\n".join(f"- {plain(each)}" for each in found.fine))


def _offer(run: Run, finding: Finding) -> None:
    """A button that trains the changed copy at once, and a way to look at its settings before."""
    name, cure = finding.name, finding.cure
    assert cure
    words = plain(in_words(run.config, cure.changes))
    lead = "What one may try is" if finding.level == "hint" else "The usual cure is"
    st.caption(f"{lead} {words}. {plain(cure.hope)}")
    with st.container(horizontal=True, vertical_alignment="center"):
        if st.button(f"Train a copy with {words}", key=f"cure-{name}-{run.id}", icon=":material/play_arrow:"):
            _start(run, cure)
        words = "Look at its settings first"
        if st.button(words, key=f"look-{name}-{run.id}", icon=":material/tune:", type="tertiary"):
            go("train", like=run.id, **{"with": written(cure.changes)})


def _start(run: Run, cure: Cure) -> None:
    try:
        config = changed(run.config, cure.changes, run.id)
    except UserError as error:
        st.error(plain(str(error)))
        return
    plan.begin(config)


def badge(run: Run, status: Status) -> str:
    """The gravest finding in a few words, for a card."""
    try:
        found = of_run(run, status, expected=False)
    except UserError:
        return ""
    if found.findings:
        icon, colour = SIGNS[found.findings[0].level]
        return f":{colour}-badge[{icon} {plain(_lowered(found.findings[0].title))}{_and_more(found)}]"
    return f":gray-badge[{ICON} no finding]" if found.fine else ""


def _and_more(found: Diagnosis) -> str:
    return f" and {len(found.findings) - 1} more" if len(found.findings) > 1 else ""


def _lowered(words: str) -> str:
    return words[0].lower() + words[1:]


def asked(like: Run) -> RunConfig:
    """The settings of a run that is copied, with what the address asks to change, which is said. Raises UserError."""
    if not (text := st.query_params.get("with")):
        return like.config
    try:
        names = parsed(text)
        config = changed(like.config, names)
    except UserError as error:
        st.warning(f"The changes in the link cannot be made: {plain(str(error))}")
        return like.config
    known = config.knobs | config.schedule.model_dump()
    words = in_words(config, {name: known[name] for name in names})
    st.info(f"A copy of {plain(like.id)} with {plain(words)}. Press **Train**, or change more.", icon=ICON)
    return config
