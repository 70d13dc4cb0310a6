"""A film that runs in a loop and can be stood still; who asked the system for less motion finds it so."""

from pathlib import Path

import numpy as np
import streamlit as st

from app.components.source import source
from genmodels.browser.message import JS, pack

HERE = Path(__file__).parent

_mount = st.components.v2.component(
    "loop", html=source(HERE, "loop.html"), css=source(HERE, "loop.css"), js=JS + source(HERE, "loop.js")
)


def loop(gif: bytes, width: int, alt: str, *, key: str) -> None:
    """Draw a GIF, so many CSS pixels wide. alt: for those who cannot see it."""
    _mount(data=pack({"width": width, "alt": alt}, {"gif": (np.frombuffer(gif, np.uint8), "u1")}), key=key)
