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

from app.components.latents.decoder import Decoder, describe
from app.components.source import SHARED, source
from app.routes import address
from genmodels.figures import COLOURS
from genmodels.inside import Inside
from genmodels.media import as_people_write

HERE = Path(__file__).parent
REACH = 3.0  # standard deviations to either side
STEP = 0.05  # standard deviations: what one press of an arrow key moves
STRENGTH = 2.0  # of a named direction, to either side
DARKER, LIGHTER = COLOURS[0], COLOURS[7]  # blue and ochre: apart for every kind of eye

_decoder = st.components.v2.component("latent_decoder", js=source(HERE, "decoder.js"))
_latents = st.components.v2.component(
    "latents",
    html=source(HERE, "latents.html"),
    css=source(HERE, "latents.css"),
    js=SHARED + source(HERE, "latents.js"),
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
        "directions": [_direction(number, *item) for number, item in enumerate(directions.items())],
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
    return {
        "decoder": small.id if small else None,
        "route": address("decode", inside.run.id),
        "shape": inside.images.shape[1:],
        "light": inside.light,
        "centre": inside.spread[0].tolist(),
        "spread": inside.spread[1].tolist(),
        "active": min(inside.active, shown),
        "walks": not inside.in_noise,
        "sliders": [_slider(inside, int(index), told[index]) for index in inside.order[:shown]],
        "darker": _rgb(DARKER),
        "lighter": _rgb(LIGHTER),
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


def _slider(inside: Inside, index: int, told: str) -> dict[str, Any]:
    centre, spread = (float(row[index]) for row in inside.spread)
    spread = spread or 1.0  # a code that is the same for all images
    ends = {"low": centre - REACH * spread, "high": centre + REACH * spread}
    return {"index": index, "name": f"z{index + 1}", "told": told, "step": STEP * spread, **ends}


def _direction(number: int, name: str, vector: np.ndarray) -> dict[str, Any]:
    ends = {"low": -STRENGTH, "high": STRENGTH, "step": 0.05}
    return {"index": number, "name": name, "told": "strength", "vector": vector.tolist(), **ends}


def _rgb(colour: str) -> list[int]:
    return list(bytes.fromhex(colour[1:]))
