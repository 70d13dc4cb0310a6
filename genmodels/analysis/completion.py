"""Questions with many right answers: what could the hidden part of a picture be? Several answers, and what they share.

A hole and a lost colour are one question, asked in other channels: an orthogonal change of the channels, in which some
numbers are known and the others are not (Y. Song et al. 2021, Score-based generative modeling through stochastic
differential equations, https://arxiv.org/abs/2011.13456, appendix I.2 and I.3). For holes the channels stay as they
are; for colour the first of the new ones is the brightness.
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor

from genmodels.config import UserError
from genmodels.data.pairs import LUMA

STEPS, TURNS = 50, 4  # of repeated resampling: levels, and how often each is gone through
PARTICLES = 64  # of a posterior: the answers are some of these
MOVES, LEAPS = 3, 4  # at each temperature; leapfrog steps in each move
ACCEPTED = 0.7  # share of moves that the step's size is kept at
GREY_SPREAD = 0.1  # standard deviation of a brightness that is seen, for likelihoods that have none of their own
QUESTIONS = ("most", "right", "lower", "middle", "painted", "colour")


class Question(NamedTuple):
    """What is known. basis: (C, C), its rows orthonormal, the new channels. visible: bool (C, H, W), in these."""

    basis: Tensor
    visible: Tensor

    @property
    def hidden(self) -> Tensor:
        """The pixels of which something is not known: bool (H, W)."""
        return ~self.visible.all(0)

    @property
    def about_colour(self) -> bool:
        return bool(self.hidden.all())

    def turned(self, x: Tensor) -> Tensor:
        """In the new channels. (N, C, H, W) -> the same."""
        return torch.einsum("kc,nchw->nkhw", self.basis, x)

    def joined(self, known: Tensor, answers: Tensor) -> Tensor:
        """What is known from the one, the rest from the others. (N or 1, C, H, W), (N, C, H, W) -> (N, C, H, W)."""
        both = torch.where(self.visible, self.turned(known), self.turned(answers))
        return torch.einsum("kc,nkhw->nchw", self.basis, both)


class Draft(NamedTuple):
    """Answers on the way. done: share of the way. images: (N, C, H, W) in [0, 1], as the model has them, the known part
    not pasted in. accepted: share of the moves that were, where there are any. evidence: log p(what is seen), nats."""

    done: float
    images: Tensor
    accepted: float | None = None
    evidence: float | None = None


class Measured(NamedTuple):
    """Shares of the full range of a pixel. spread: None of one answer alone. errors: squared, from the true picture."""

    spread: float | None  # mean absolute difference of two answers in the hidden part
    disagreement: float  # and of an answer from what is known
    error: float  # of an answer in the hidden part, the mean over the answers
    error_of_average: float


def question(kind: str, shape: tuple[int, int, int], painted: Tensor | None = None) -> Question:
    """One of QUESTIONS for images of a shape. painted: bool (H, W), the hole. Raises UserError."""
    channels, height, width = shape
    if kind == "colour":
        return _colour(shape)
    hidden = torch.zeros(height, width, dtype=torch.bool)
    if kind == "most":
        hidden[:, -(-width // 3) :] = True
    elif kind == "right":
        hidden[:, width // 2 :] = True
    elif kind == "lower":
        hidden[height // 2 :] = True
    elif kind == "middle":
        hidden[height // 4 : height - height // 4, width // 4 : width - width // 4] = True
    elif painted is not None:
        hidden = painted
    if not hidden.any():
        raise UserError("Nothing is hidden, so there is nothing to complete: paint over a part of the picture.")
    if hidden.all():
        raise UserError("All of the picture is hidden, so nothing is left to complete it from: leave a part of it.")
    return Question(torch.eye(channels), (~hidden).expand(shape))


def _colour(shape: tuple[int, int, int]) -> Question:
    if shape[0] != 3:
        raise UserError("These pictures are grey, so there is no colour to take away: hide a part of them instead.")
    axis = torch.from_numpy(LUMA).reshape(3, 1)
    basis = torch.linalg.qr(torch.cat([axis, torch.eye(3)[:, 1:]], 1))[0].T
    visible = torch.zeros(shape, dtype=torch.bool)
    visible[0] = True
    return Question(basis * basis[0].sum().sign(), visible)


def repaint(
    model: Any, x: Tensor, asked: Question, n: int, generator: torch.Generator, steps: int = STEPS, turns: int = TURNS
) -> Iterator[Draft]:
    """Answers of a model that denoises: at each level the known part is put in, with the noise of that level, and each
    step is taken `turns` times, with fresh noise in between, so that both parts come to fit. x: (C, H, W) in [0, 1].

    A. Lugmayr et al. (2022), RePaint, https://arxiv.org/abs/2201.09865, algorithm 1. Approximate: on Gaussian data of
    known law answers come within a fifth of the right mean, and differ by up to a quarter too little. Noise is the
    same in any orthonormal basis, so this holds for colour too.
    """
    sampler = "ddpm" if "ddpm" in model.SAMPLERS else model.SAMPLERS[0]
    known = asked.joined(x[None], torch.full_like(x, 0.5)[None]).expand(n, *x.shape)  # nothing of the rest leaks
    noisy = torch.randn(known.shape, generator=generator)
    levels = torch.linspace(1, 0, steps + 1).tolist()
    for number, (level, to) in enumerate(pairwise(levels)):
        for turn in range(turns):
            if turn:
                noisy = renoised(model, noisy, to, level, generator)
            lower, predicted = model.denoise_step(noisy, level, to, None, generator, sampler=sampler)
            noisy = asked.joined(model.noised(known, to, generator) if to else 2 * known - 1, lower)
            yield Draft((number * turns + turn + 1) / (steps * turns), predicted)


def renoised(model: Any, noisy: Tensor, level: float, to: float, generator: torch.Generator) -> Tensor:
    """x_t at the higher level `to` from x_s: (a_t / a_s) x_s + sqrt(s_t² - (a_t / a_s)² s_s²) noise."""
    (alpha, sigma), (alpha_up, sigma_up) = model.signal(level), model.signal(to)
    ratio = alpha_up / alpha
    fresh = math.sqrt(max(0.0, sigma_up**2 - (ratio * sigma) ** 2))
    return ratio * noisy + fresh * torch.randn(noisy.shape, generator=generator)


def seen(model: Any, asked: Question, observed: Tensor, z: Tensor) -> Tensor:
    """log p(what is known | z) in nats. (1, C, H, W), (N, L) -> (N,).

    Pixels by the model's own likelihood. A brightness as Gaussian about that of the decoded image: exact where the
    likelihood is Gaussian, as its noise is the same in any orthonormal basis; else of GREY_SPREAD.
    """
    if not asked.about_colour:
        return model.log_likelihood(observed.expand(len(z), *observed.shape[1:]), z, asked.visible)
    spread = model.log_sigma.clamp(min=-5).exp() if hasattr(model, "log_sigma") else torch.tensor(GREY_SPREAD)
    error = (asked.turned(model.decode(z)) - asked.turned(observed))[:, asked.visible] / spread
    return -(0.5 * error.square() + spread.log() + 0.5 * math.log(2 * math.pi)).sum(1)


def posterior(
    model: Any, x: Tensor, asked: Question, n: int, generator: torch.Generator, latent: int, particles: int = PARTICLES
) -> Iterator[Draft]:
    """Answers of a model with a likelihood: codes from p(z | what is seen), decoded. x: (C, H, W) in [0, 1].

    A sequential Monte Carlo sampler from the prior: what is seen counts more and more, so much at a time that half of
    the effective sample is left; codes are resampled by their weights and moved by Hamiltonian Monte Carlo.
    P. Del Moral, A. Doucet and A. Jasra (2006), https://doi.org/10.1111/j.1467-9868.2006.00553.x, section 3; R. Neal
    (2011), https://arxiv.org/abs/1206.1901, Eq. 5.18 to 5.20.
    """
    # The brightness is that of the picture itself: drawn in black and white, channel by channel, it has another.
    observed = x[None] if asked.about_colour else model.observe(x[None], generator)
    z = torch.randn(max(n, particles), latent, generator=generator)
    heat, evidence, size, accepted = 0.0, 0.0, 0.5, 1.0
    which = torch.randperm(len(z), generator=generator)[:n]
    while heat < 1:
        with torch.no_grad():
            told = seen(model, asked, observed, z)
        if not told.isfinite().all():
            raise UserError("The model gives no likelihood for this picture: train it again.")
        share = _next_share(told, 1 - heat)
        heat = 1.0 if share == 1 - heat else heat + share
        evidence += (share * told).logsumexp(0).item() - math.log(len(z))
        z = z[_resampled((share * told).softmax(0), generator)]
        for _ in range(MOVES if heat < 1 else 4 * MOVES):
            z, accepted = _moved(model, asked, observed, z, heat, size, generator)
            size = min(2.0, max(1e-4, size * math.exp(accepted - ACCEPTED)))
        with torch.no_grad():
            images = model.decode(z[which])
        # What is seen comes to count by factors, from about a ten-thousandth: so its logarithm tells how far it is.
        yield Draft(max(0.0, 1 + math.log(heat) / math.log(1e4)), images, accepted, evidence)


def _next_share(told: Tensor, most: float) -> float:
    """How much more of the log-likelihoods leaves an effective sample of half of them; `most` where all of it does."""

    def effective(share: float) -> float:
        weights = (share * told).softmax(0)
        return 1 / weights.square().sum().item()

    low, high = 0.0, most
    if effective(most) >= len(told) / 2:
        return most
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if effective(middle) >= len(told) / 2 else (low, middle)
    return max(low, 1e-6 * most)


def _resampled(weights: Tensor, generator: torch.Generator) -> Tensor:
    """Systematic resampling: as many as there are, each about as often as its weight says. (N,) -> int64 (N,)."""
    n = len(weights)
    places = (torch.arange(n) + torch.rand((), generator=generator)) / n
    return torch.searchsorted(weights.cumsum(0), places).clamp(max=n - 1)


def _moved(
    model: Any, asked: Question, observed: Tensor, z: Tensor, heat: float, size: float, generator: torch.Generator
) -> tuple[Tensor, float]:
    """A move of Hamiltonian Monte Carlo for each code, and the share that was accepted.

    Steps are as wide as the codes are spread, dimension by dimension.
    """

    def energy(at: Tensor) -> tuple[Tensor, Tensor]:
        with torch.enable_grad():
            at = at.detach().requires_grad_()
            value = 0.5 * at.square().sum(1) - heat * seen(model, asked, observed, at)
            return value.detach(), torch.autograd.grad(value.sum(), at)[0]

    wide = size * z.std(0).clamp(min=1e-3)
    momentum = torch.randn(z.shape, generator=generator)
    before, slope = energy(z)
    before, at = before + 0.5 * momentum.square().sum(1), z
    for _ in range(LEAPS):
        momentum = momentum - 0.5 * wide * slope
        at = at + wide * momentum
        after, slope = energy(at)
        momentum = momentum - 0.5 * wide * slope
    chance = (before - after - 0.5 * momentum.square().sum(1)).exp().nan_to_num(0).clamp(max=1)
    taken = torch.rand(len(z), generator=generator) < chance
    return torch.where(taken[:, None], at, z), chance.mean().item()


def measured(asked: Question, truth: Tensor, answers: Tensor) -> Measured:
    """What the answers, (N, C, H, W) as the model has them, have in common with each other and with (C, H, W)."""
    known = truth[None]
    range_of_each = asked.basis.abs().sum(1)[:, None, None]  # of a channel, over all colours
    off = (asked.turned(answers - known).abs() / range_of_each)[:, asked.visible].mean().item()
    filled = asked.joined(known, answers).clamp(0, 1)[:, :, asked.hidden]
    real = truth[:, asked.hidden]
    spread = torch.pdist(filled.flatten(1), 1).mean().item() / real.numel() if len(answers) > 1 else None
    error = (filled - real).square().mean().item()
    return Measured(spread, off, error, (filled.mean(0) - real).square().mean().item())
