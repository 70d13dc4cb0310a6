"""A flow that is fitted while one looks: progress, the curve so far, and a button that stops it."""

from collections.abc import Callable, Generator
from typing import Any, TypeVar

import numpy as np
import streamlit as st

from genmodels import figures
from genmodels.analysis.density import Progress

T = TypeVar("T")


def watched(
    path: Generator[Progress, None, T], words: str, stop: Callable[[], Any] = lambda: None, key: str = "fitting"
) -> T:
    """Go to the end of it, on one thread, which is given back between two looks; what it returns.

    A press on Stop ends this run of the script at the next word of progress, and the work with it. Raises UserError.
    """
    from genmodels.stepping import one_thread

    place, seen = st.empty(), list[Progress]()
    with place.container():
        with st.container(horizontal=True, vertical_alignment="center"):
            bar = st.progress(0.0, words)
            st.button("Stop", icon=":material/stop:", on_click=stop, key=f"{key}-stop")
        chart = st.empty()
    while True:
        try:
            with one_thread():
                seen.append(next(path))
        except StopIteration as end:
            place.empty()
            return end.value
        now = seen[-1]
        bar.progress(now.share, f"{words}: step {now.step:,}, {now.held_out:.2f} nats a held-out point")
        with chart.container():
            curve(seen, f"{key}-live")


def curve(seen: list[Progress], key: str) -> None:
    """Mean log-likelihood of the held-out points over the steps."""
    lines = {"held out": (np.array([each.step for each in seen]), np.array([each.held_out for each in seen]))}
    drawn = figures.live_curves(lines, height=180)
    for channel in ("color", "strokeDash"):  # one line needs no name
        drawn["layer"][0]["encoding"][channel]["legend"] = None
    st.markdown("**Log-likelihood of held-out points**, nats")
    st.vega_lite_chart(
        drawn, key=key, alt=f"Log-likelihood over {seen[-1].step:,} steps, now {seen[-1].held_out:.2f} nats"
    )
