"""A drawing pad: dark ink on white paper, by mouse, finger or keyboard."""

import base64
import binascii
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import streamlit as st

from app.components.source import SHARED, source
from genmodels.config import UserError
from genmodels.data.pictures import UnreadableError, decode

HERE = Path(__file__).parent
SIDE = 224  # pixels of the picture: a whole multiple of 28 and 32
BLACK = ("#000000",)
# Inks by name, for those who cannot see them.
NAMES = {
    "#000000": "black", "#ffffff": "white", "#d62728": "red", "#ff9f1c": "orange", "#f4d35e": "yellow",
    "#2a9d4b": "green", "#1f77b4": "blue", "#7b4fb5": "violet", "#8d5a3b": "brown", "#e8b796": "skin",
}  # fmt: skip
START = "data:image/png;base64,"

_pad = st.components.v2.component(
    "pad",
    html=source(HERE, "pad.html"),
    css=source(HERE, "pad.css"),
    js=SHARED + source(HERE, "pad.js", "live.js"),
)


class Live(NamedTuple):
    """What a route makes of the drawing, shown beside it while one draws.

    route: its address; it takes uint8 (S, S), dark ink on white. shape: of each image that it answers with. names: of
    these images, in words. says: words before the difference in % between the first and the third, "" for none.
    """

    route: str
    shape: tuple[int, int, int]
    names: Sequence[str]
    says: str = ""


def pad(
    label: str,
    *,
    key: str,
    inks: Sequence[str] = BLACK,
    pen: float = 0.1,
    on_drawn: Callable[[], None] = lambda: None,
    live: Live | None = None,
    under: str | None = None,
) -> np.ndarray | None:
    """What was drawn: uint8 (224, 224, 3), or None while the paper is blank. Raises UserError for what is no picture.

    It outlives a visit to another page. inks: colours to choose from, as #rrggbb; those in NAMES are read out by name.
    pen: how wide a usual stroke is, as a share of the side. on_drawn is called after each stroke. under: address of a
    picture to paint over, which is no part of what comes back.
    """
    kept = f"{key}-kept"

    def drawn() -> None:
        st.session_state[kept] = st.session_state[key].get("picture")
        on_drawn()

    named = [(ink, NAMES.get(ink, ink)) for ink in inks]
    data = {"side": SIDE, "inks": named, "pen": pen, "label": label, "picture": st.session_state.get(kept)}
    if live:
        data["live"] = live._asdict()
    if under:
        data["under"] = under
    _pad(key=key, data=data, on_picture_change=drawn)
    return read(st.session_state.get(kept))


def read(said: object) -> np.ndarray | None:
    """A PNG data address as pixels: uint8 (H, W, 3). None for no address. Raises UserError."""
    if said is None:
        return None
    try:
        if not isinstance(said, str) or not said.startswith(START):
            raise UnreadableError("it is no PNG")
        image, _ = decode(base64.b64decode(said.removeprefix(START), validate=True))
    except (UnreadableError, binascii.Error) as error:
        raise UserError(f"The drawing cannot be read: {error}.") from None
    return np.asarray(image.convert("RGB"))
