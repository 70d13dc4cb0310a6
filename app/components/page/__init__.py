"""What the theme cannot say of how the whole page looks, and what helps by keyboard, on a phone and on the way back."""

from pathlib import Path

import streamlit as st

from app.components.source import source

HERE = Path(__file__).parent
SCRIPT = f"<script>{source(HERE, 'page.js')}</script>"


def dress() -> None:
    """Put the style and the script into the page; they take no room."""
    st.html(HERE / "page.css")
    st._event.html(SCRIPT, unsafe_allow_javascript=True)  # where Streamlit puts a style too: out of what is laid out
