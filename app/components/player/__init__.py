"""A film in the browser: one or two runs on the same tour, played or scrubbed, with what the meter says of each frame.

All frames travel once, as one picture, so that scrubbing asks nobody. The frame at which it rests is in the address.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import streamlit as st

from app.charts import table
from app.components.source import source
from genmodels import media
from genmodels.analysis.transitions import Meter, Tour, off_class
from genmodels.browser.message import JS, Kind, pack
from genmodels.figures import COLOURS

HERE = Path(__file__).parent
COLUMNS = 32  # frames beside each other in the picture that holds them all
FRAME = "frame"  # in the address: the number of the frame, as people call it

_mount = st.components.v2.component(
    "player",
    html=source(HERE, "player.html"),
    css=source(HERE, "player.css"),
    js=JS + source(HERE, "strip.js", "player.js"),
)


class Film(NamedTuple):
    """One run on the tour. sheet: all frames as one picture, see `sheet_of`; height, width: of a frame. meter: None
    where nothing is measured, and there is no strip; its neighbours may be empty, (0,), where no codes of real images
    are known. sentence: the meter in words, for those who cannot see the strip. caption: what stands under the strip.
    """

    name: str
    sheet: bytes
    height: int
    width: int
    meter: Meter | None
    sentence: str = ""
    caption: str = ""


def sheet_of(frames: np.ndarray) -> bytes:
    """All frames as one PNG, COLUMNS beside each other. uint8 (F, C, H, W), as shown."""
    return media.png(media.grid(frames, min(COLUMNS, len(frames)), pad=0))


def player(
    films: Sequence[Film],
    tour: Tour,
    classes: Sequence[str],
    numbers: np.ndarray,
    *,
    key: str,
    pace: float = 20,
    usual: int = 0,
) -> int:
    """Draw it; returns the frame at which it last came to rest, from 0. numbers: what people call each frame, (F,).
    pace: frames a second. usual: the frame at first, where the address says none."""
    count, labels = len(tour.codes), tour.stops.labels
    start = _start(key, numbers, usual)
    arrays: dict[str, tuple[Any, Kind]] = {}
    for number, film in enumerate(films):
        arrays[f"sheet{number}"] = np.frombuffer(film.sheet, np.uint8), "u1"
        if film.meter and (probabilities := film.meter.probabilities) is not None:
            arrays[f"probabilities{number}"] = (probabilities * 255).round(), "u1"
            # Rounded they may be equal: what a frame reads as, and what counts, is said once and for all here.
            arrays[f"reads{number}"] = probabilities.argmax(1), "u2"
            arrays[f"off{number}"] = off_class(tour, probabilities), "u1"
    about = {
        "runs": [_described(film, count) for film in films], "count": count, "pace": pace, "start": start,
        "legs": tour.legs.tolist(), "ends": [[int(a), int(b)] for a, b in pairwise(labels)],
        "stops": tour.stops.names, "names": [tour.leg_name(leg) for leg in range(len(labels) - 1)],
        "classes": list(classes), "colours": list(COLOURS), "numbers": numbers.tolist(), "moving": tour.moving.tolist(),
    }  # fmt: skip
    _mount(data=pack(about, arrays), key=key, on_frame_change=lambda: None)
    if any(film.meter for film in films):
        table(lambda: by_frame(films, tour, classes, numbers), key)
    found = st.session_state.get(key, {}).get("frame", start)
    frame = int(max(0, min(count - 1, found))) if isinstance(found, int | float) else 0  # bounds first: it may be inf
    _remember(str(numbers[frame]), str(numbers[usual]))
    return frame


def _start(key: str, numbers: np.ndarray, usual: int) -> int:
    """The frame at first: what the address says where there was no player yet, for later it knows best."""
    if key not in st.session_state:
        st.session_state[f"{key}-asked"] = st.query_params.get(FRAME, "")
    asked = str(st.session_state.get(f"{key}-asked", ""))
    if not asked.isdecimal() or len(asked) > 5:
        return usual
    return int(np.searchsorted(numbers, min(int(asked), numbers[-1])))


def _remember(number: str, usual: str) -> None:
    """Into the address; every change is a place in the browser's history, so nothing is written twice."""
    if number == usual:
        st.query_params.pop(FRAME, None)
    elif number != st.query_params.get(FRAME):
        st.query_params[FRAME] = number


def by_frame(films: Sequence[Film], tour: Tour, classes: Sequence[str], numbers: np.ndarray) -> pd.DataFrame:
    """What the meter says of each frame, which the strip draws."""
    columns: dict[str, Any] = {"frame": numbers, "between": [tour.leg_name(int(leg)) for leg in tour.legs]}
    for film in films:
        of = f": {film.name}" if len(films) > 1 else ""
        if film.meter:
            if film.meter.probabilities is not None:
                columns[f"reads as{of}"] = [classes[each] for each in film.meter.probabilities.argmax(1)]
            if len(film.meter.neighbours):
                columns[f"real images near{of}"] = film.meter.neighbours
            columns[f"jump, grey levels{of}"] = film.meter.jumps.astype(float).round(1)
    return pd.DataFrame(columns)


def _described(film: Film, count: int) -> dict[str, Any]:
    return {
        "name": film.name, "height": film.height, "width": film.width, "columns": min(COLUMNS, count),
        "sentence": film.sentence, "caption": film.caption, "metered": film.meter is not None,
        "neighbours": film.meter.neighbours.tolist() if film.meter else [],
        "jumps": film.meter.jumps.astype(float).round(1).tolist() if film.meter else [],
    }  # fmt: skip
