"""What is shown of images that came out of noise: each beside its noise, the film, the schedule, the strip, files."""

import html
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import streamlit as st

from app import pictures, state
from app.charts import chart
from app.components.album import album, figure, picture
from app.components.player import Film, player, sheet_of
from app.downloads import File, offer
from genmodels import figures, media
from genmodels.analysis import transitions
from genmodels.analysis.judge import Judge
from genmodels.denoising import Denoiser, Moment

CELL = 56  # CSS pixels of an image, about
MOMENTS = 10  # of the film strip
PACE = 15  # frames a second


class Tried(NamedTuple):
    """What was sampled. moments: all of it. judge: who reads the results, if anybody. label: the class that they should
    have, None for any. name: of the files."""

    denoiser: Denoiser
    moments: list[Moment]
    judge: Judge | None
    label: int | None
    name: str

    @property
    def results(self) -> np.ndarray:
        return self.moments[-1].predicted

    @property
    def read(self) -> np.ndarray | None:
        """The class that each result is read as, (N,)."""
        return self.judge.probabilities(self.results).argmax(1) if self.judge else None


def results(tried: Tried, before: Sequence[np.ndarray]) -> None:
    """The picture, and each try: what it began as beside what it became, and what that is read as."""
    names, reads = tried.denoiser.classes, tried.read
    words = [str(number + 1) for number in range(len(tried.results))]
    if reads is not None:
        marks = [" ✓" if each == tried.label else "" for each in reads]
        words = [f"{word}: {names[each]}{mark}" for word, each, mark in zip(words, reads, marks, strict=True)]
    pairs(tried.moments[0].noisy, tried.results, tried.denoiser.light, words, before)


def pairs(
    noisy: np.ndarray, made: np.ndarray, light: bool, words: Sequence[str], before: Sequence[np.ndarray] = ()
) -> None:
    """Each noisy image beside what is made of it, with these words below, uint8 (N, C, H, W); others before them."""
    height, width = made.shape[2:]
    factor = pictures.layout(width, CELL, pictures.WIDTH)[0]

    def shown(image: np.ndarray, alt: str) -> str:
        return picture(media.as_people_write(image, light), (factor * width, factor * height), alt)

    cells = [figure([shown(image, "The picture")], "Picture") for image in before]
    for number, word in enumerate(words):
        parts = [shown(noisy[number], f"Noise {number + 1}"), shown(made[number], f"Result {word}")]
        cells.append(figure(parts, html.escape(word)))
    album(cells)


def watch(tried: Tried) -> None:
    """The film of one of them, the schedule beside it, the film strip, and files."""
    st.header("Step by step")
    count, which = len(tried.results), 0
    if count > 1:
        chosen = st.segmented_control(
            "Which one", range(1, count + 1), default=1, required=True, key="which", bind="query-params"
        )
        which = int(chosen) - 1
    noisy, predicted = (
        media.as_people_write(np.stack([getattr(each, name)[which] for each in tried.moments]), tried.denoiser.light)
        for name in ("noisy", "predicted")
    )
    _film(tried, which, noisy, predicted)
    _strip(tried, noisy, predicted)
    _files(tried, which, noisy, predicted)


def _film(tried: Tried, which: int, noisy: np.ndarray, predicted: np.ndarray) -> None:
    """Both films, uint8 (F, C, H, W) as shown. What noise reads as says nothing, so only the other one is read."""
    moments, classes, judge = tried.moments, tried.denoiser.classes, tried.judge
    count, (height, width) = len(moments), noisy.shape[2:]
    expected = np.stack([each.predicted[which] for each in moments])
    probabilities = judge.probabilities(expected) if judge else None
    ends = np.full(2, 0 if probabilities is None else probabilities[-1].argmax())  # it begins as nothing
    stops = transitions.Stops(np.zeros((2, 1)), ends, ("noise", "image"))
    moving = np.ones(count, bool)
    tour = transitions.Tour(np.zeros((count, 1), np.float32), np.zeros(count, int), moving, stops, ())
    change = "Change of a pixel since the step before"
    reads = "What the expected image reads as, stacked by class" if judge else change
    films = [
        Film(name, sheet_of(frames), height, width, meter, f"{caption}, over the steps", caption)
        for name, frames, meter, caption in (
            ("Noisy: x_t", noisy, transitions.Meter(None, np.zeros(0, int), transitions.jumps(noisy)), change),
            (
                "Expected image", predicted,
                transitions.Meter(probabilities, np.zeros(0, int), transitions.jumps(predicted)), reads,
            ),
        )
    ]  # fmt: skip
    _play(tried, films, tour, classes)


@st.fragment
def _play(tried: Tried, films: list[Film], tour: transitions.Tour, classes: Sequence[str]) -> None:
    """The player, and the schedule with a line at the step where it rests."""
    count = len(tried.moments)
    frame = player(films, tour, classes, np.arange(count), key="denoising-film", pace=PACE, usual=count // 2)
    levels = [each.level for each in tried.moments]
    alpha, sigma = tried.denoiser.schedule(levels)
    steps = np.arange(count)
    drawn = figures.live_curves(
        {"image: α": (steps, alpha), "noise: σ": (steps, sigma)}, x_title="step", cursor=frame, height=220
    )
    drawn["padding"] = {"left": 0, "top": 4, "right": 4, "bottom": 0}
    told = (
        f"At step {frame} of {count - 1}, level {levels[frame]:.2f}, x_t is {alpha[frame]:.2f} of the image plus "
        f"{sigma[frame]:.2f} of noise."
    )
    what = "**The schedule**: how much of the image and of the noise there is after each step"
    chart(drawn, state.plain(told), key="denoising-schedule", heading=what)


def _columns(tried: Tried, noisy: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, list[int]]:
    """Moments at even distances: x_t above what is expected of it. -> uint8 (M, C, 2 H + 1, W), and which they are."""
    count = len(tried.moments)
    chosen = np.unique(np.linspace(0, count - 1, min(MOMENTS, count)).round().astype(int))
    between = np.full_like(noisy[chosen][:, :, :1], media.PAPER)
    return np.concatenate([noisy[chosen], between, predicted[chosen]], axis=2), chosen.tolist()


def _strip(tried: Tried, noisy: np.ndarray, predicted: np.ndarray) -> None:
    columns, chosen = _columns(tried, noisy, predicted)
    _, _, height, width = columns.shape
    factor = pictures.layout(width, CELL, pictures.WIDTH)[0]
    cells = [
        figure(
            [picture(image, (factor * width, factor * height), f"x_t and the expected image after step {at}")],
            f"{tried.moments[at].level:.2f}",
        )
        for image, at in zip(columns, chosen, strict=True)
    ]
    album(cells)
    st.caption("The film strip: x_t above, the image that is expected of it below, and the level of noise.")


def _files(tried: Tried, which: int, noisy: np.ndarray, predicted: np.ndarray) -> None:
    """Files made when they are asked for; in the films x_t is beside the expected image."""
    factor = max(1, round(2 * CELL / noisy.shape[3]))

    def film() -> np.ndarray:
        return np.concatenate([noisy, np.full_like(noisy[:, :, :, :1], media.PAPER), predicted], axis=3)

    def strip() -> np.ndarray:
        return media.grid(_columns(tried, noisy, predicted)[0], MOMENTS, factor, 4)

    name = f"denoising-{tried.name}-{which + 1}"
    offer(
        "denoising",
        File("GIF", f"{name}.gif", lambda: media.gif(film(), 1 / PACE, factor)),
        File("MP4", f"{name}.mp4", lambda: media.mp4(film(), PACE, 2 * factor)),
        File("Film strip", f"{name}.png", lambda: media.png(strip())),
    )
