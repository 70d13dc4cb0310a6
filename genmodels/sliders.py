"""One slider for each latent dimension, ordered by what it carries: where it goes, and what it says in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from genmodels.analysis.traversal import followed
from genmodels.figures import COLOURS, number
from genmodels.inside import DEAD, Inside

REACH = 3.0  # standard deviations to either side
STEP = 0.05  # standard deviations: what one press of an arrow key moves
STRENGTH = 2.0  # of a named direction, to either side
DARKER, LIGHTER = COLOURS[0], COLOURS[7]  # blue and ochre: apart for every kind of eye


def facts(spread: np.ndarray, order: Sequence[int], told: Sequence[str], light: bool) -> dict[str, Any]:
    """What the sliders are in the browser. spread: centre and standard deviation of the codes, (2, L). order: the
    dimensions that have one. told: of every dimension, in words. light: whether images are shown inverted."""
    return {
        "light": light,
        "centre": spread[0].tolist(),
        "spread": spread[1].tolist(),
        "sliders": [_slider(spread, int(index), told[index]) for index in order],
        "darker": _rgb(DARKER),
        "lighter": _rgb(LIGHTER),
    }


def of_directions(directions: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """The sliders of named directions, (L,) for strength 1."""
    ends = {"told": "strength", "low": -STRENGTH, "high": STRENGTH, "step": 0.05}
    return [
        {"index": index, "name": name, "vector": vector.tolist()} | ends
        for index, (name, vector) in enumerate(directions.items())
    ]


def _slider(spread: np.ndarray, index: int, told: str) -> dict[str, Any]:
    centre, deviation = (float(row[index]) for row in spread)
    deviation = deviation or 1.0  # a code that is the same for all images
    ends = {"low": centre - REACH * deviation, "high": centre + REACH * deviation}
    return {"index": index, "name": f"z{index + 1}", "told": told, "step": STEP * deviation, **ends}


def _rgb(colour: str) -> list[int]:
    return list(bytes.fromhex(colour[1:]))


def unit(inside: Inside) -> str:
    return "variance" if inside.kl is None else "nats"


def carries(inside: Inside) -> list[str]:
    """What each dimension carries: 1.24 nats."""
    name = unit(inside)
    amounts = [number(each) if each >= 0.005 else "0.00" for each in inside.importance]
    return [f"{name} {each}" if inside.kl is None else f"{each} {name}" for each in amounts]


def told(inside: Inside) -> list[str]:
    """What each dimension carries, and the true factor that it follows, where factors are known."""
    words = carries(inside)
    if inside.factor_names:
        for index, follows in enumerate(followed(inside.means, inside.factors)):
            if follows:
                words[index] += f", follows {inside.factor_names[follows.factor]} ({follows.share:.0%})"
    return words


def dead_words(inside: Inside) -> str:
    count = inside.latent_size - inside.active
    what = "1 dead dimension" if count == 1 else f"{count} dead dimensions"
    less = f"less than {DEAD:g} nats" if inside.kl is not None else f"a variance below {DEAD:g}"
    return f"{what} ({less}: moving them changes next to nothing)"
