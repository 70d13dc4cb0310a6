"""A film in the browser: one or two runs on the same tour, played or scrubbed, with what the meter says of each frame.

All frames travel once, as one picture, so that scrubbing asks nobody.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from app.components.message import JS, Kind, pack
from genmodels import media
from genmodels.analysis.transitions import Meter, Tour
from genmodels.figures import COLOURS

HERE = Path(__file__).parent
COLUMNS = 32  # frames beside each other in the picture that holds them all

_mount = st.components.v2.component(
    "player",
    html=(HERE / "player.html").read_text(),
    css=(HERE / "player.css").read_text(),
    js=JS + "\n".join((HERE / f"{part}.js").read_text() for part in ("strip", "player")),
)


class Film(NamedTuple):
    """One run on the tour. frames: uint8 (F, C, H, W), as shown. sentence: its meter in words, for those who cannot see
    the strip. caption: what stands under the strip."""

    name: str
    frames: np.ndarray
    meter: Meter
    sentence: str
    caption: str


def player(
    films: Sequence[Film], tour: Tour, classes: Sequence[str], *, key: str, pace: float = 20, start: int = 0
) -> int:
    """Draw it; returns the frame at which it last came to rest. pace: frames a second. start: the frame at first."""
    count, labels = len(tour.codes), tour.stops.labels
    arrays: dict[str, tuple[Any, Kind]] = {}
    for number, film in enumerate(films):
        sheet = media.png(media.grid(film.frames, min(COLUMNS, count), pad=0))
        arrays[f"sheet{number}"] = np.frombuffer(sheet, np.uint8), "u1"
        if film.meter.probabilities is not None:
            arrays[f"probabilities{number}"] = (film.meter.probabilities * 255).round(), "u1"
    about = {
        "runs": [_described(film, count) for film in films], "count": count, "pace": pace, "start": start,
        "legs": tour.legs.tolist(), "ends": [[int(a), int(b)] for a, b in pairwise(labels)],
        "stops": tour.stops.names, "names": [tour.leg_name(leg) for leg in range(len(labels) - 1)],
        "classes": list(classes), "colours": list(COLOURS),
    }  # fmt: skip
    _mount(data=pack(about, arrays), key=key, on_frame_change=lambda: None)
    found = st.session_state.get(key, {}).get("frame", start)
    return max(0, min(count - 1, int(found))) if isinstance(found, int | float) else 0


def _described(film: Film, count: int) -> dict[str, Any]:
    height, width = film.frames.shape[2:]
    return {
        "name": film.name, "height": height, "width": width, "columns": min(COLUMNS, count),
        "sentence": film.sentence, "caption": film.caption,
        "neighbours": film.meter.neighbours.tolist(), "jumps": film.meter.jumps.astype(float).round(1).tolist(),
    }  # fmt: skip
