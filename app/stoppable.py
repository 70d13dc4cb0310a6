"""What takes a while on a page: done step by step, told as it goes, stopped by a click, kept for all visitors."""

import time
from collections.abc import Callable, Hashable, Iterator
from typing import Any, TypeVar

import streamlit as st

from app.collected import collecting
from app.plan import duration

AGAIN = 0.2  # seconds between two looks at what is being made
STOPPED = "stoppable-stopped"  # each that was stopped, and where: the number of the step and what it made
Made = TypeVar("Made")
Tell = Callable[[int, Made], tuple[float, str]]


def made(
    key: Hashable,
    steps: Callable[[], Iterator[Made]],
    tell: Tell[Made],
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
    place = st.empty()  # also where nothing is to be done: what follows stays the same element for who is using it
    kept, stopped = memory(key), st.session_state.setdefault(STOPPED, {})
    if not kept and key in stopped:
        if at := stopped[key]:
            st.info(f"Stopped at {tell(*at)[1]}.")
            preview(at[1])
        st.button("Start again", icon=":material/replay:", key=f"again-{name}", on_click=stopped.pop, args=(key, None))
        return None
    if not kept:
        with place.container():
            found = watched(
                steps(), tell, preview, lambda at: stopped.update({key: at}), all_of_it=all_of_it, name=name
            )
        place.empty()
        kept[:] = found
    return kept


def last(key: Hashable) -> Any:
    """What was made last: the end of it, or where it was stopped; None where nothing was."""
    at = st.session_state.get(STOPPED, {}).get(key)
    return kept[-1] if (kept := memory(key)) else at and at[1]


@st.cache_resource(show_spinner=False, max_entries=32)
def memory(key: Hashable) -> list[Any]:
    """What was made, for all visitors; empty until it is there as a whole."""
    return []


def watched(
    steps: Iterator[Made], tell: Tell[Made], preview: Callable[[Made], None],
    stop: Callable[[tuple[int, Made] | None], Any] = lambda _: None, *, all_of_it: bool = True, name: str = "",
) -> list[Made]:  # fmt: skip
    """What the steps made, with progress and a button that ends the script, and the work with it. stop hears where."""
    at: list[tuple[int, Made]] = []  # not in the session: the script may end at any word to that, before it is heard
    with st.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, "The first step")
        st.button("Stop", icon=":material/stop:", key=f"stop-{name}", on_click=lambda: stop(at[0] if at else None))
    place, found, began, looked = st.empty(), list[Made](), time.monotonic(), 0.0
    for number, each in enumerate(alone(steps)):
        if not all_of_it:
            found.clear()
        found.append(each)
        at[:] = [(number, each)]
        if (now := time.monotonic()) - looked > AGAIN:  # more often a browser would not keep up
            share, words = tell(number, each)
            left = f", {duration((now - began) * (1 - share) / share)} left" if share > 0 else ""
            bar.progress(min(1.0, share), words[0].upper() + words[1:] + left)
            with place.container(), collecting():  # no picture that will be kept
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
