"""Sliders on the latent dimensions and the image that they make, decoded in the browser or, if large, by the route.

The weights of a small decoder travel once: they are a component of their own, whose message stays the same to the byte.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import streamlit as st

from app.components.source import SHARED, source
from app.routes import address
from genmodels import sliders
from genmodels.browser import HERE as BROWSER
from genmodels.decoder import Decoder, describe
from genmodels.inside import Inside
from genmodels.media import as_people_write

HERE, FILES = Path(__file__).parent, BROWSER / "latents"

_decoder = st.components.v2.component("latent_decoder", js=source(BROWSER, "decoder.js") + source(HERE, "door.js"))
_latents = st.components.v2.component(
    "latents",
    html=source(FILES, "latents.html"),
    css=source(FILES, "latents.css"),
    js=SHARED + source(FILES, "latents.js"),
)
_described: WeakKeyDictionary[Any, Decoder | None] = WeakKeyDictionary()


class Place(NamedTuple):
    """Where the sliders stand. z: (L,), without the directions. strengths: of the named directions, by name."""

    z: np.ndarray
    strengths: Mapping[str, float]


def latents(
    inside: Inside,
    start: np.ndarray,
    place: Place,
    directions: Mapping[str, np.ndarray],
    told: Sequence[str],
    dead: str,
    *,
    original: np.ndarray | None,
    key: str,
    on_moved: Callable[[Place], None],
    shown: int,
) -> None:
    """Draw it. A new `start`, (L,), or other directions put all sliders to `place`; on_moved hears where they rest.

    told: for each dimension what it carries and follows, in words. dead: the words over those folded away.
    original: the picture that was encoded, uint8 (C, H, W). shown: how many dimensions have a slider at most.
    """
    small = decoder_of(inside.model)
    token = _token(inside.run.id, start, directions)

    def moved() -> None:
        found = read(st.session_state[key].get("moved"), token, inside.latent_size, list(directions))
        if found:
            on_moved(found)

    data = _facts(inside, small, told, shown) | {
        "token": token,
        "dead": dead,
        "original": None if original is None else as_people_write(original, inside.light).ravel().tolist(),
        "start": np.asarray(start, float).tolist(),
        "z": np.asarray(place.z, float).tolist(),
        "strengths": [place.strengths.get(name, 0.0) for name in directions],
        "directions": sliders.of_directions(directions),
    }
    with st.container(gap=None):
        if small:
            _decoder(key=f"{key}-decoder", data=small.payload)
        _latents(key=key, data=data, on_moved_change=moved)


def _token(run: str, start: np.ndarray, directions: Mapping[str, np.ndarray]) -> str:
    """What tells apart answers of the browser that are about other sliders."""
    found = sha256(repr((run, list(directions))).encode())
    for numbers in (start, *directions.values()):
        found.update(np.asarray(numbers, "<f8").tobytes())
    return found.hexdigest()[:16]


def _facts(inside: Inside, small: Decoder | None, told: Sequence[str], shown: int) -> dict[str, Any]:
    """What stays the same for a run."""
    return sliders.facts(inside.spread, inside.order[:shown].tolist(), told, inside.light) | {
        "decoder": small.id if small else None,
        "route": address("decode", inside.run.id),
        "shape": inside.images.shape[1:],
        "active": min(inside.active, shown),
        "walks": not inside.in_noise,
    }


def read(said: Any, token: str, size: int, names: Sequence[str]) -> Place | None:
    """What the browser says of the sliders; None where it is of another start, or no numbers."""
    if not isinstance(said, Mapping) or said.get("token") != token:
        return None
    try:
        z, strengths = (np.array(list(said[part]), np.float64) for part in ("z", "strengths"))
    except (KeyError, TypeError, ValueError):
        return None
    if z.shape != (size,) or strengths.shape != (len(names),) or not np.isfinite([*z, *strengths]).all():
        return None
    return Place(z, dict(zip(names, strengths.tolist(), strict=True)))


def decoder_of(model: Any) -> Decoder | None:
    """The description of a model's decoder, made once."""
    if model not in _described:
        _described[model] = describe(model)
    return _described[model]
