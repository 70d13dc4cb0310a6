"""Fit a coupling flow to points by maximum likelihood, and stop where points it does not learn from get no likelier."""

import copy
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.nn.utils import clip_grad_norm_

from genmodels.config import UserError
from genmodels.couplings import CouplingFlow
from genmodels.nn import adam

LOOKS = 40  # times that the held-out points are looked at, unless it stops before
PATIENCE = 6  # looks without a better one
STEEPEST = 1.0  # a steeper gradient is shortened: a few far points would else undo what many steps learned


class Progress(NamedTuple):
    """share: of the steps, 1 where it ends. held_out: mean log-likelihood of the held-out points, nats."""

    step: int
    share: float
    held_out: float


class Points(NamedTuple):
    """What a flow is fitted to. means: (N, D). deviations: of the noise about each, (N, D); None for none."""

    means: Tensor
    deviations: Tensor | None = None

    def drawn(self, generator: torch.Generator, at: Tensor | slice = slice(None)) -> Tensor:
        """Each of them, with fresh noise. -> (n, D)."""
        means = self.means[at]
        if self.deviations is None:
            return means
        return means + self.deviations[at] * torch.randn(means.shape, generator=generator)

    def split(self, share: float, seed: int) -> "tuple[Points, Points]":
        """A share of them, held out, comes second. Raises UserError where there are too few or no numbers."""
        if len(self.means) < 20 or not self.means.isfinite().all():
            raise UserError("There are too few points for a flow to learn from, or some of them are not numbers.")
        order = torch.randperm(len(self.means), generator=torch.Generator().manual_seed(seed))
        parts = order.tensor_split([len(order) - max(2, round(share * len(order)))])
        first, second = (
            Points(self.means[part], None if self.deviations is None else self.deviations[part]) for part in parts
        )
        return first, second


def new_flow(points: Tensor, layers: int, hidden: int, seed: int) -> CouplingFlow:
    """A flow that begins with standardising these points, (N, D); its weights depend on the seed alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        flow = CouplingFlow(points.shape[1], layers, hidden)
    flow.standardize(points)
    return flow


def fit(
    flow: CouplingFlow, points: Points, held_out: Tensor, *, steps: int, batch: int = 256, rate: float = 2e-3,
    seed: int, patience: int = PATIENCE,
) -> Iterator[Progress]:  # fmt: skip
    """Maximise the mean of log p, in place; it ends as it was when the held-out points, (M, D), were likeliest.

    It stops early where so many looks in turn, its patience, found them no likelier. The learning rate falls to zero as
    a cosine. One seed gives one result.
    """
    generator, optimizer = torch.Generator().manual_seed(seed), adam(flow.parameters(), rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    every, worse = max(1, steps // LOOKS), 0
    best, kept = mean_log_prob(flow, held_out), copy.deepcopy(flow.state_dict())
    yield Progress(0, 0.0, best)
    for step in range(1, steps + 1):
        chosen = torch.randint(len(points.means), (batch,), generator=generator)
        loss = -flow.log_prob(points.drawn(generator, chosen)).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        clip_grad_norm_(flow.parameters(), STEEPEST)
        optimizer.step()
        schedule.step()
        if step % every and step < steps:
            continue
        now = mean_log_prob(flow, held_out)
        worse = 0 if now > best else worse + 1
        if now > best:
            best, kept = now, copy.deepcopy(flow.state_dict())
        over = step == steps or worse == patience or not math.isfinite(now)
        if over:
            flow.load_state_dict(kept)
        yield Progress(step, 1.0 if over else step / steps, now)
        if over:
            return


@torch.no_grad()
def mean_log_prob(flow: CouplingFlow, points: Tensor) -> float:
    """Nats. (N, D)."""
    return float(torch.cat([flow.log_prob(part) for part in points.split(5000)]).mean())


def gaussian(points: Tensor) -> MultivariateNormal:
    """The likeliest normal distribution of points (N, D), with their whole covariance."""
    points = points.double()
    covariance = torch.cov(points.T, correction=0).reshape(points.shape[1], -1)
    tiny = 1e-6 * covariance.diagonal().mean().clamp(min=1e-6)  # where a number never changes
    return MultivariateNormal(points.mean(0), covariance + tiny * torch.eye(len(covariance), dtype=torch.float64))
