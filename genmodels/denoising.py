"""A trained run that denoises, opened: paths from noise to images, and pictures noised and brought back.

Noising a picture part of the way and denoising it again gives something like it, the less so the farther one went: C.
Meng et al. (2022), SDEdit, https://arxiv.org/abs/2108.01073, algorithm 1.
"""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmodels import data
from genmodels.analysis.sampling import finite
from genmodels.analysis.snapshot import to_bytes
from genmodels.config import UserError
from genmodels.families.contract import Frame, abilities
from genmodels.media import is_light_on_dark
from genmodels.opening import one_copy, opened_once
from genmodels.runs import Run
from genmodels.training import evaluating, scaled

STAND_INS = 20  # pictures of the model's own making, where the dataset is not on this machine


class Way(NamedTuple):
    """How it is denoised. steps: for the whole way from noise. label: the class that is asked for, None for none."""

    steps: int = 50
    sampler: str = "ddim"
    guidance: float = 1.0
    label: int | None = None
    seed: int = 0

    def steps_from(self, level: float) -> int:
        """Part of the way takes its share of the steps."""
        return max(min(1, self.steps), round(self.steps * level))


class Moment(NamedTuple):
    """A frame as pictures, uint8 (N, C, H, W) both: x_t from -1 to 1, what lies beyond cut off, and the image that is
    expected of it."""

    level: float
    noisy: np.ndarray
    predicted: np.ndarray


@dataclass(frozen=True)
class Denoiser:
    """Shared by all who look: nothing in it is changed, trained or moved.

    images: uint8 (N, C, H, W), the test images in their order. labels: int64 (N,). real: whether these are the true
    ones; where the dataset is not on this machine, a few that the model made stand in. classes: names, or ().
    """

    run: Run
    model: Any
    images: np.ndarray
    labels: np.ndarray
    real: bool
    classes: tuple[str, ...]

    @cached_property
    def light(self) -> bool:
        """Whether images are shown inverted, as dark ink on light paper."""
        return is_light_on_dark(self.images[:500])

    @property
    def conditional(self) -> bool:
        """Whether it can be asked for a class."""
        return "conditional" in abilities(self.model) and len(self.classes) > 1

    def from_noise(self, n: int, way: Way) -> Iterator[Moment]:
        """The way of n images, from noise alone. Raises UserError, as do all these."""
        generator = torch.Generator().manual_seed(way.seed)
        noise = torch.randn(n, *self.run.config.shape, generator=generator)
        return self._along(noise, 1.0, way, generator)

    def from_picture(self, image: np.ndarray, level: float, tries: int, way: Way) -> Iterator[Moment]:
        """The way back of one picture, uint8 (C, H, W), noised to a level in as many ways as there are tries."""
        generator = torch.Generator().manual_seed(way.seed)
        copies = scaled(torch.tensor(image[None])).expand(tries, *image.shape)
        with torch.no_grad():
            noisy = self.model.noised(copies, level, generator)
        return self._along(noisy, level, way, generator)

    def from_levels(self, image: np.ndarray, levels: Sequence[float], tries: int, way: Way) -> Iterator[Moment]:
        """The same from one level after the other; what came back are the moments at level 0."""
        return chain.from_iterable(self.from_picture(image, level, tries, way) for level in levels)

    def schedule(self, levels: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
        """How much of the image, alpha, and of noise, sigma, there is at each level. -> (F,) both."""
        alpha, sigma = np.array([self.model.signal(level) for level in levels], float).T
        return alpha, sigma

    def _along(self, noisy: Tensor, level: float, way: Way, generator: torch.Generator) -> Iterator[Moment]:
        """Without gradients step by step: whoever takes a step leaves nothing switched off behind."""
        labels = None if way.label is None else torch.full((len(noisy),), way.label)
        path = iter(
            self.model.denoise_path(
                noisy, level, labels, generator, steps=way.steps_from(level), sampler=way.sampler,
                guidance=way.guidance,
            )
        )  # fmt: skip
        while True:
            with evaluating(self.model):
                frame = next(path, None)
            if frame is None:
                return
            yield _moment(frame)


def _moment(frame: Frame) -> Moment:
    return Moment(frame.level, to_bytes(finite(frame.noisy) / 2 + 0.5), to_bytes(finite(frame.predicted)))


@opened_once
def open_denoiser(run: Run, present: bool) -> Denoiser:
    """The run, from memory where it was opened before and has not learned since. Raises UserError."""
    config = run.config
    model: Any = run.model
    if "denoise_path" not in abilities(model):
        raise UserError(f"The run {run.id} cannot denoise images.")
    if present:
        with contextlib.suppress(UserError):  # damaged: as if it were not here
            loaded = data.load(config.dataset, config.size, config.channels, config.seed)
            if loaded.shape == config.shape:
                span = loaded.span("test")  # copies: a part would keep all images in memory
                images = one_copy(loaded.images[span].copy())
                return Denoiser(run, model, images, loaded.labels[span].copy(), True, config.classes)
    known = len(config.classes) if "conditional" in abilities(model) else 0
    labels = torch.arange(STAND_INS) % known if known else torch.zeros(STAND_INS, dtype=torch.int64)
    with evaluating(model):
        made = model.sample(STAND_INS, labels if known else None, torch.Generator().manual_seed(0))
    classes = config.classes if known else ()
    return Denoiser(run, model, to_bytes(finite(made)), labels.numpy(), False, classes)
