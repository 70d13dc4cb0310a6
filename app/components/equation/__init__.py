"""An equation of pictures whose strength is dragged, and pictures to look at or to pick."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import streamlit as st

from app.components.source import SHARED, source
from genmodels.browser.message import JS, pack

HERE = Path(__file__).parent
LARGE, PART, STEP, SMALL = 168, 90, 50, 22  # CSS pixels about which images are wide

_css = source(HERE, "equation.css")
_equation = st.components.v2.component(
    "equation",
    html=source(HERE, "equation.html"),
    css=_css,
    js=JS + SHARED + source(HERE, "picture.js", "equation.js"),
)
_picks = st.components.v2.component(
    "picks", html='<div class="picks"></div>', css=_css, js=JS + SHARED + source(HERE, "picture.js", "picks.js")
)


class Part(NamedTuple):
    """One term: its name, a few words about it, its picture uint8 (C, H, W), and some images of it (n, C, H, W)."""

    name: str
    words: str
    picture: np.ndarray
    few: np.ndarray


class Step(NamedTuple):
    """One result of the strip: which strength, what stands under it, and what that means."""

    at: int
    words: str
    title: str


def equation(
    parts: Sequence[Part],
    results: np.ndarray,
    strengths: Sequence[float],
    steps: Sequence[Step],
    start: float,
    key: str,
) -> float:
    """(A - B) times a strength plus an item = result; returns the strength, one of those given.

    parts: A, B and the item. results: uint8 (S, C, H, W), one for each strength; 0 and 1 are among them. start: the
    strength at first; later on the hand of the person decides.
    """
    shape, described = results.shape[1:], []
    pictures: list[np.ndarray] = []
    for part in parts:
        first = sum(len(each) for each in pictures)
        pictures += [part.picture[None], part.few]
        few = list(range(first + 1, first + 1 + len(part.few)))
        alt = f"{part.name}, {part.words}"
        described.append({"name": part.name, "words": part.words, "picture": first, "few": few, "alt": alt})
    about = {
        "shape": shape, "strengths": list(strengths), "strength": start, "parts": described,
        "steps": [step._asdict() for step in steps],
        "large": scale(shape, LARGE), "scale": scale(shape, PART), "step": scale(shape, STEP),
        "small": scale(shape, SMALL),
    }  # fmt: skip
    data = pack(about, {"results": (results, "u1"), "pictures": (np.concatenate(pictures), "u1")})
    found = _equation(data=data, key=key, default={"strength": start}, on_strength_change=lambda: None)
    return found.strength if found.strength in strengths else start


def picks(
    images: np.ndarray,
    ids: Sequence[int],
    words: Sequence[str],
    alts: Sequence[str],
    *,
    name: str,
    key: str,
    pick: Literal["one", "many"] | None = None,
    chosen: Sequence[int] = (),
    on_pick: Callable[[list[int]], None] = lambda _: None,
) -> None:
    """Images uint8 (n, C, H, W) with words under them; on_pick gets the ids that are picked, in order."""
    about = {
        "ids": [int(each) for each in ids], "words": list(words), "alts": list(alts), "name": name, "pick": pick,
        "chosen": [int(each) for each in chosen], "shape": images.shape[1:], "scale": scale(images.shape[1:], STEP),
    }  # fmt: skip

    def told() -> None:
        found = st.session_state[key].get("chosen")
        on_pick([each for each in found if type(each) is int] if isinstance(found, list) else [])

    _picks(data=pack(about, {"images": (images, "u1")}), key=key, on_chosen_change=told)


def scale(shape: tuple[int, ...], width: int) -> int:
    """The whole factor that makes an image about so many CSS pixels wide."""
    return max(1, round(width / shape[-1]))
