"""The one-file explorer: a run that one can give to somebody else, who needs nothing but a browser."""

from functools import partial
from typing import Literal

import streamlit as st

from app import downloads
from app.downloads import File
from app.state import plain
from genmodels.runs import Run

WORDS = "One HTML file with the map, sliders, traversals and class tour. It needs no network, and goes through a mail."


def offer(run: Run, type: Literal["secondary", "tertiary"] = "secondary") -> None:
    """A button that makes it, or a sentence that says why there is none; nothing before the first weights."""
    if not run.stamp:
        return
    from genmodels import explorer  # it looks into the model, and so imports torch

    if why := explorer.refusal(run.config):
        st.caption(f"No one-file explorer: {plain(why)}")
    else:
        made = File("One-file explorer (HTML)", f"{run.id}.html", partial(explorer.build, run), WORDS)
        downloads.button(made, type=type)
