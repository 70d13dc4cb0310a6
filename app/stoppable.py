"""What takes a while on a page: done step by step, told as it goes, stopped by a click, kept for all visitors."""

import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import streamlit as st

from app.plan import duration

AGAIN = 0.2  # seconds between two looks at what is being made
STOPPED, LAST = "stoppable-stopped", "stoppable-last"  # what was stopped, and where
Made = TypeVar("Made")


def made(
    key: Hashable,
    steps: Callable[[], Iterator[Made]],
    tell: Callable[[int, Made], tuple[float, str]],
    preview: Callable[[Made], None],
    *,
    all_of_it: bool = True,
    name: str = "",
) -> list[Made] | None:
    """What the steps made, from memory where that was done before; None where it was stopped.

    Any look may be the last: a click on Stop or a changed setting ends the script at the next one. tell: from the
    number of a step, from 0, and what it made to the share that is done and words for it, "step 3 of 50". preview draws
    it meanwhile. all_of_it: else the last is kept alone. name: tells two of them on one page apart.
    """
    kept = memory(key)
    if not kept and st.session_state.get(STOPPED) == key:
        if (last := st.session_state.get(LAST)) is not None:
            st.info(f"Stopped at {tell(*last)[1]}.")
            preview(last[1])
        st.button(
            "Start again", icon=":material/replay:", key=f"again-{name}", on_click=st.session_state.pop,
            args=(STOPPED, None),
        )  # fmt: skip
        return None
    if not kept:
        place = st.empty()
        with place.container():
            found = _watched(key, steps(), tell, preview, name)
        place.empty()
        kept[:] = found if all_of_it else found[-1:]
    return kept


@st.cache_resource(show_spinner=False, max_entries=64)
def memory(key: Hashable) -> list[Any]:
    """What was made, for all visitors; empty until it is there as a whole."""
    return []


def _watched(
    key: Hashable, steps: Iterator[Made], tell: Callable[[int, Made], tuple[float, str]],
    preview: Callable[[Made], None], name: str,
) -> list[Made]:  # fmt: skip
    st.session_state.pop(LAST, None)
    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, "The first step")
        st.button(
            "Stop", icon=":material/stop:", key=f"stop-{name}", on_click=st.session_state.update, args=({STOPPED: key},)
        )
    place, found, began, looked = st.empty(), list[Made](), time.monotonic(), 0.0
    for number, each in enumerate(alone(steps)):
        found.append(each)
        st.session_state[LAST] = number, each
        if (now := time.monotonic()) - looked > AGAIN:  # more often a browser would not keep up
            share, words = tell(number, each)
            left = f", {duration((now - began) * (1 - share) / share)} left" if share > 0 else ""
            bar.progress(min(1.0, share), words[0].upper() + words[1:] + left)
            with place.container():
                preview(each)
            looked = now
    return found


def alone(steps: Iterator[Made]) -> Iterator[Made]:
    """With one thread, which is given back after each step: so nobody waits for all the steps of somebody else."""
    from genmodels.stepping import one_thread

    while True:
        with one_thread():
            each = next(steps, None)
        if each is None:
            return
        yield each
