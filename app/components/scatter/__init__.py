"""A map of many points in the browser: pan, zoom, lasso, pictures on hover; drawn by WebGL, or without where it lacks.

The points travel once: a rerun with the same arrays costs a kilobyte, because the message is the same to the byte.
"""

import base64
import binascii
import zlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from app.charts import table
from app.components.source import SHARED, source
from app.routes import address
from genmodels.browser import HERE as BROWSER
from genmodels.browser import SCATTER
from genmodels.browser.message import JS, Kind, pack
from genmodels.figures import COLOURS, MARKS

HERE, FILES = Path(__file__).parent, BROWSER / "scatter"
MOST = 1_000_000  # image numbers in a selection: what a browser may ask to be unpacked

_mount = st.components.v2.component(
    "scatter",
    html=source(FILES, "scatter.html"),
    css=source(FILES, "scatter.css"),
    js=JS + SHARED + source(FILES, *(f"{part}.js" for part in SCATTER)) + source(HERE, "door.js"),
)


class Pictures(NamedTuple):
    """Where hover and thumbnails come from: the run, the shape (C, H, W), and whether its originals are true ones."""

    run: str
    shape: tuple[int, int, int]
    real: bool = True


class Plane(NamedTuple):
    """The code of a place on the map, z = offset + basis @ (x, y). offset: (L,), basis: (L, 2)."""

    offset: np.ndarray
    basis: np.ndarray


class Replay(NamedTuple):
    """How the map formed. steps: (S,), ids: test image numbers (M,), points: float32 (S, M, 2) on the same axes."""

    steps: Sequence[int]
    ids: np.ndarray
    points: np.ndarray


def scatter(
    points: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    *,
    key: str,
    keep: Sequence[str] = (),
    ids: np.ndarray | None = None,
    axes: tuple[str, str] = ("", ""),
    name: str = "Map",
    title: str = "",
    pictures: Pictures | None = None,
    plane: Plane | None = None,
    replay: Replay | None = None,
    colours: Sequence[str] = COLOURS,
    height: int = 560,
) -> list[int]:
    """Draw the map; returns the test image numbers that are selected, in order.

    points: float32 (N, 2). labels: int (N,), into `classes`. ids: test image number of each point, (N,); 0 to N-1 if
    not given. keep: keys of st.session_state that hold the selection as a list of int, `selection-<run id>` by custom;
    maps that have one in common share it, also across pages. pictures: shows images on hover and as thumbnails.
    plane: lets an empty place be decoded, needs pictures. name: for those who cannot see it. title: stands above it.
    """
    keep, legend = tuple(keep) or (f"selection-{key}",), legend_of(key, classes)
    about = {
        "keep": keep, "axes": axes, "name": name, "title": title, "height": height, "classes": list(classes),
        "colours": list(colours), "marks": list(MARKS), "legend": legend,
    } | _first(key, keep, legend) | _pictured(pictures, plane)  # fmt: skip
    size: Kind = "u2" if len(classes) > 256 else "u1"
    arrays: dict[str, tuple[Any, Kind]] = {"points": (points, "f4"), "labels": (labels, size)}
    if ids is not None and not np.array_equal(ids, np.arange(len(points))):
        arrays["ids"] = (ids, "u4")
    if replay is not None and len(replay.steps):
        about["steps"] = [int(step) for step in replay.steps]
        arrays |= {"frames": (replay.points, "f4"), "watched": (replay.ids, "u4")}
    pressed = partial(_press, key, legend, classes)
    _mount(data=pack(about, arrays), key=key, on_selection_change=lambda: _store(key, keep), on_shown_change=pressed)
    table(lambda: _by_point(points, labels, classes, ids, axes, _kept(keep)), key)
    return _kept(keep)


def legend_of(key: str, classes: Sequence[str]) -> str:
    """The key of st.session_state that holds which labels are shown alone on that map, a list; none: all are shown."""
    return f"shown-{key}-{zlib.crc32(repr(list(classes)).encode()):08x}"


def _by_point(
    points: np.ndarray, labels: np.ndarray, classes: Sequence[str], ids: np.ndarray | None, axes: tuple[str, str],
    chosen: Sequence[int],
) -> pd.DataFrame:  # fmt: skip
    """Where each test image lies, what it is, and whether it is selected. People count them from 1."""
    x, y = axes if all(axes) else ("x", "y")
    images = np.arange(len(points)) if ids is None else ids
    names, selected = [classes[each] for each in labels], np.isin(images, chosen)
    return pd.DataFrame(
        {"test image": images + 1, "class": names, x: points[:, 0], y: points[:, 1], "selected": selected}
    )


def _first(key: str, keep: tuple[str, ...], legend: str) -> dict[str, Any]:
    """What was selected when the map was first drawn, as `unpack_selection` reads it, and which labels were shown
    alone: later the browser knows better.

    Always the same in a session, so that a selection does not send the points again.
    """
    ids = np.array([i for i in _kept(keep) if 0 <= i < MOST], int)
    bits = np.bincount(ids).clip(0, 1).astype(np.uint8)
    text = base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode()
    return {
        "first": str(st.session_state.setdefault(f"first-{key}-{'-'.join(keep)}", text)),
        "on": st.session_state.setdefault(f"first-{legend}", st.session_state.get(legend, [])),
    }


def _kept(keep: tuple[str, ...]) -> list[int]:
    return next((st.session_state[each] for each in keep if each in st.session_state), [])


def _pictured(pictures: Pictures | None, plane: Plane | None) -> dict[str, Any]:
    if pictures is None:
        return {}
    found: dict[str, Any] = {"images": address("images", pictures.run), "shape": pictures.shape, "real": pictures.real}
    if plane is not None:
        rows = np.column_stack([plane.offset, plane.basis]).astype(float)
        found |= {"decode": address("decode", pictures.run), "plane": rows.tolist()}
    return found


def unpack_selection(text: object) -> list[int] | None:
    """Image numbers from base64 of one bit for each image, lowest first; None for what no map of ours has sent."""
    if not isinstance(text, str) or len(text) > MOST // 6 + 8:
        return None
    try:
        found = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return np.flatnonzero(np.unpackbits(np.frombuffer(found, np.uint8), bitorder="little")).tolist()


def _store(key: str, keep: tuple[str, ...]) -> None:
    chosen = unpack_selection(st.session_state[key].get("selection"))
    if chosen is not None:
        for each in keep:
            st.session_state[each] = chosen


def _press(key: str, legend: str, classes: Sequence[str]) -> None:
    said = st.session_state[key].get("shown")
    if isinstance(said, list) and all(isinstance(each, int) and 0 <= each < len(classes) for each in said):
        st.session_state[legend] = sorted(said)
