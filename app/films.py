"""The tour as files: a GIF, a film or a film strip, to look at and to keep."""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from app import pictures, state
from app.components.loop import loop
from app.downloads import File, offer
from app.tours import Take
from genmodels import media

VIDEO = 448  # pixels of a frame in a film at least: the browser's controls lie over its lower edge
SIDE = 112  # pixels of a frame in a file, about: a whole factor of the model's own
PER_LEG = 10  # frames of each leg on the film strip
GAP = 8  # white pixels between two runs in one file


@dataclass(frozen=True)
class Beside(Sequence[np.ndarray]):
    """Frames of all runs beside each other, each enlarged by a whole factor, made when they are asked for: all frames
    of a long tour would fill the memory. uint8 (C, H, W) each, a slice (F, C, H, W)."""

    takes: Sequence[Take]

    def __len__(self) -> int:
        return len(self.takes[0].frames)

    def __getitem__(self, which: Any) -> Any:
        if not isinstance(which, slice):
            return self[which : which + 1][0]
        shown = [
            media.enlarge(
                media.as_people_write(each.frames[which], each.inside.light),
                max(1, round(SIDE / each.frames.shape[3])),
            )
            for each in self.takes
        ]
        channels, height = max(each.shape[1] for each in shown), max(each.shape[2] for each in shown)
        parts: list[np.ndarray] = []
        for each in shown:
            each = each.repeat(channels // each.shape[1], axis=1)
            space = [(0, 0), (0, 0), (0, height - each.shape[2]), (GAP if parts else 0, 0)]
            parts.append(np.pad(each, space, constant_values=media.PAPER))
        return np.concatenate(parts, axis=3)


def strip(takes: Sequence[Take]) -> np.ndarray:
    """A row of frames for each leg, as one picture."""
    tour, chosen = takes[0].tour, []
    for leg in range(len(tour.stops.names) - 1):
        here = np.flatnonzero(tour.moving & (tour.legs == leg))
        chosen += here[np.linspace(0, len(here) - 1, min(PER_LEG, len(here))).round().astype(int)].tolist()
    columns = len(chosen) // (len(tour.stops.names) - 1)
    small = [each._replace(frames=each.frames[chosen]) for each in takes]
    return media.film_strip(Beside(small)[:], len(chosen), columns, pad=4)


def show_file(takes: Sequence[Take], view: str, pace: int) -> None:
    """The GIF, the film or the film strip, to look at."""
    what = f"{view} of the tour {' to '.join(takes[0].tour.stops.names)}"
    if view == "Film strip":
        picture = strip(takes)
        address = "data:image/png;base64," + base64.b64encode(media.png(picture)).decode()
        pictures.show(pictures.Picture(address, picture.shape[1] // 2), what)
        return
    frames = Beside(takes)
    width = 2 * frames[0].shape[2]
    if view == "GIF":
        loop(media.gif(frames, 1 / pace, 2), width, what, key="tour-gif")
    else:  # Streamlit's video takes no name, so it stands below
        factor = -(-VIDEO // frames[0].shape[1])
        st.video(media.mp4(frames, pace, factor), loop=True, muted=True, width=factor * frames[0].shape[2])
        st.caption(state.plain(what))


def downloads(takes: Sequence[Take], pace: int) -> None:
    """Files made when they are asked for."""
    name = "-".join(each.inside.run.id for each in takes)
    files: dict[str, tuple[str, Callable[[], bytes]]] = {
        "GIF": ("gif", lambda: media.gif(Beside(takes), 1 / pace)),
        "MP4": ("mp4", lambda: media.mp4(Beside(takes), pace, 2)),
        "Film strip": ("png", lambda: media.png(strip(takes))),
    }
    offer("transitions", *(File(title, f"tour-{name}.{ending}", make) for title, (ending, make) in files.items()))
