"""A trained run opened to complete pictures, by what it is able to do: denoise, tell a likelihood, or translate."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch

from genmodels import data
from genmodels.analysis import completion
from genmodels.analysis.completion import Measured, Question
from genmodels.analysis.metrics import importance_sampled_nll
from genmodels.analysis.sampling import finite
from genmodels.analysis.snapshot import to_bytes
from genmodels.config import UserError
from genmodels.data import pairs
from genmodels.denoising import open_denoiser
from genmodels.families import FAMILIES
from genmodels.families.contract import latent_size
from genmodels.inside import open_inside
from genmodels.media import is_light_on_dark
from genmodels.runs import Run
from genmodels.training import evaluating, scaled
from genmodels.translation import BACK, open_translator

# By what a run answers, in words, and the abilities that it takes.
WAYS = {"denoising": {"denoise_path"}, "posterior": {"log_likelihood", "decode"}, "translation": {"translate"}}
SAME = {"half": "right", "grey": "colour"}  # a recipe of pairs, and the question that it teaches to answer
DRAWS = 200  # codes by which the log-probability of a picture is estimated


class Subject(NamedTuple):
    """What pictures are of: a dataset that is made of no other, and the shape."""

    dataset: str
    shape: tuple[int, int, int]


class Answers(NamedTuple):
    """Answers so far. done: share of the way. images: float32 (N, C, H, W), as the model has them: what is known is not
    pasted in. accepted: share of the moves through the codes that were, where there are any."""

    done: float
    images: np.ndarray
    accepted: float | None


class Findings(NamedTuple):
    """images: uint8 (N, C, H, W), what is known pasted in. average: of these, uint8 (C, H, W). ratio: log p(answer) -
    log p(true picture) in nats, the mean over the answers, None where the model has no p(x)."""

    images: np.ndarray
    average: np.ndarray
    measured: Measured
    ratio: float | None


@dataclass(frozen=True)
class Completer:
    """Shared by all who look. images: uint8 (N, C, H, W), pictures to ask about. labels: int64 (N,). real: whether
    these are the test images; where the dataset is not on this machine, pictures of the model's own stand in."""

    run: Run
    model: Any
    images: np.ndarray
    labels: np.ndarray
    real: bool
    classes: tuple[str, ...]

    @property
    def way(self) -> str:
        return way_of(self.run) or ""

    @cached_property
    def light(self) -> bool:
        """Whether images are shown inverted, as dark ink on light paper."""
        return is_light_on_dark(self.images[:500])


def way_of(run: Run) -> str | None:
    """By which of WAYS the run completes pictures, if by any."""
    able = set(FAMILIES[run.config.family].abilities)
    way = next((name for name, needs in WAYS.items() if needs <= able), None)
    return None if way == "translation" and run.config.dataset.partition(":")[0] not in SAME else way


def subject_of(run: Run) -> Subject:
    return Subject(data.bases(run.config.dataset)[-1], run.config.shape)


def cannot(run: Run, kind: str) -> str | None:
    """Why a run has no answer to a question, in a sentence; None where it has."""
    if way_of(run) != "translation" or SAME[run.config.dataset.partition(":")[0]] == kind:
        return None
    return f"It learned one question only, {pairs.RECIPES[run.config.dataset.partition(':')[0]].task}."


def open_completer(run: Run) -> Completer:
    """The run, from memory where it was opened before and has not learned since. Raises UserError."""
    way = way_of(run)
    if way == "translation":
        look = open_translator(run)
        kind = look.kinds[BACK]
        return Completer(run, look.model, kind.images, kind.labels, not kind.made, look.classes)
    if way is None:
        raise UserError(f"The run {run.id} cannot complete pictures.")
    seen = open_denoiser(run) if way == "denoising" else open_inside(run)
    classes = seen.classes if len(seen.classes) > 1 else ()
    return Completer(run, seen.model, seen.images, seen.labels, seen.real, classes)


def answers(completer: Completer, asked: Question, image: np.ndarray, n: int, seed: int) -> Iterator[Answers]:
    """Answers to a question about uint8 (C, H, W), better and better; the last is the answer. Raises UserError."""
    model, x = completer.model, scaled(torch.tensor(image[None]))[0]
    generator = torch.Generator().manual_seed(seed)
    if completer.way == "translation":
        head = completer.run.config.dataset.partition(":")[0]
        with evaluating(model):
            made = model.translate(scaled(torch.from_numpy(np.array(pairs.RECIPES[head].change(image[None], 0)))))
        yield _checked(completion.Draft(1.0, made))
        return
    if completer.way == "denoising":
        path = completion.repaint(model, x, asked, n, generator)
    else:
        path = completion.posterior(model, x, asked, n, generator, latent_size(model))
    while True:
        with evaluating(model):  # step by step: whoever takes a step leaves nothing switched off behind
            draft = next(path, None)
        if draft is None:
            return
        yield _checked(draft)


def _checked(draft: completion.Draft) -> Answers:
    return Answers(draft.done, finite(draft.images).float().numpy(), draft.accepted)


def findings(completer: Completer, asked: Question, image: np.ndarray, made: np.ndarray) -> Findings:
    """What can be said of answers to a question about uint8 (C, H, W). made: float32 (N, C, H, W), as of `answers`."""
    truth, raw = scaled(torch.tensor(image[None]))[0], torch.from_numpy(made)
    whole = asked.joined(truth[None], raw).clamp(0, 1)
    images = to_bytes(whole)
    return Findings(
        images, to_bytes(whole.mean(0)), completion.measured(asked, truth, raw),
        _ratio(completer, images, image),
    )  # fmt: skip


def _ratio(completer: Completer, images: np.ndarray, truth: np.ndarray) -> float | None:
    """By importance sampling from the encoder's posterior, with the same draws for each of them."""
    if completer.way != "posterior":
        return None
    true, *own = (
        importance_sampled_nll(completer.model, torch.tensor(each[None]), DRAWS)[0] for each in (truth, *images)
    )
    return true - sum(own) / len(own)


def unknown(asked: Question, image: np.ndarray) -> np.ndarray:
    """The picture as it is asked about, a hole in it mid-grey, without its colour. uint8 (C, H, W) -> the same."""
    x = scaled(torch.tensor(image[None]))
    if asked.about_colour:
        return np.ascontiguousarray(pairs.grey(image[None])[0])
    return to_bytes(asked.joined(x, torch.full_like(x, 0.5)))[0]
