"""How much of the image and how much noise there is at each level, from 0, the image, to 1, noise alone.

x_t = alpha x_0 + sigma e. Noise prediction follows the cosine schedule of A. Nichol and P. Dhariwal (2021), Improved
denoising diffusion probabilistic models, https://arxiv.org/abs/2102.09672, in 1000 steps; flow matching a straight
line, Y. Lipman et al. (2023), https://arxiv.org/abs/2210.02747.
"""

import math
from functools import cache
from typing import Literal

import torch
from torch import Tensor

from genmodels.config import UserError

T = 1000  # steps of the cosine schedule
Objective = Literal["noise", "flow-matching"]


@cache
def cosine_schedule() -> Tensor:
    """alpha and sigma after each step, Eq. 17, beta <= 0.999; row 0 is the image. -> float64 (T + 1, 2)."""
    f = (((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008) * math.pi / 2).cos().square()
    kept = torch.cat([torch.ones_like(f[:1]), (f[1:] / f[:-1]).clamp(min=0.001).cumprod(0)])
    return torch.stack([kept, 1 - kept], 1).sqrt()


def signals(objective: Objective, level: Tensor) -> tuple[Tensor, Tensor]:
    """alpha and sigma at each level; of a schedule, at its nearest step. (N,) in [0, 1] -> (N, 1, 1, 1) twice."""
    level = level[:, None, None, None]
    if objective == "flow-matching":
        return 1 - level, level
    alpha, sigma = cosine_schedule().to(level)[(T * level).round().long()].unbind(-1)
    return alpha, sigma


def levels(objective: Objective, u: Tensor) -> Tensor:
    """Levels to learn at, from uniform ones: any step of a schedule as often as another; of a straight line the middle
    more often, where it is hardest to tell: logit-normal, P. Esser et al. (2024), Scaling rectified flow transformers,
    https://arxiv.org/abs/2403.03206, Eq. 19. (N,) in (0, 1) -> the same."""
    if objective == "noise":
        return (T * u).ceil().clamp(1, T) / T
    return torch.special.ndtri(u.clamp(1e-4, 1 - 1e-4)).sigmoid()


def checked(level: float) -> float:
    """The level, where it is one. Raises UserError."""
    if not 0 <= level <= 1:
        raise UserError(f"A level of noise is between 0, the image, and 1, noise alone, not {level:g}.")
    return level


def check_step(level: float, to: float, sampler: str, samplers: tuple[str, ...], guidance: float) -> None:
    """Raises UserError for a step that cannot be taken."""
    if not 0 <= to <= level <= 1 or level == 0:
        raise UserError(f"A step leads from a level of noise, at most 1, to a lower one, not {level:g} to {to:g}.")
    if sampler not in samplers:
        raise UserError(f"There is no sampler '{sampler[:40]}' here; there is: {', '.join(samplers)}.")
    if not 0 <= guidance <= 10:
        raise UserError(f"Guidance must be between 0 and 10, not {guidance:g}.")


def ddpm(x: Tensor, image: Tensor, noise: Tensor, before: tuple[float, float], after: tuple[float, float]) -> Tensor:
    """A draw from q(x_s | x_t, x_0) at alpha and sigma after the step, from x_t at those before. (N, C, H, W) thrice.

    J. Ho, A. Jain and P. Abbeel (2020), https://arxiv.org/abs/2006.11239, Eq. 6 and 7, between any two levels.
    """
    (alpha, sigma), (alpha_to, sigma_to) = before, after
    kept = (alpha / alpha_to) ** 2
    mean = alpha_to * (1 - kept) / sigma**2 * image + math.sqrt(kept) * (sigma_to / sigma) ** 2 * x
    return mean + sigma_to / sigma * math.sqrt(1 - kept) * noise
