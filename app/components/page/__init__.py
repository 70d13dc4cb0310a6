"""What the theme cannot say of how the whole page looks."""

from pathlib import Path

import streamlit as st

HERE = Path(__file__).parent


def dress() -> None:
    """Put the style into the page; it takes no room."""
    st.html(HERE / "page.css")
