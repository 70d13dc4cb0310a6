"""Diffusion: an image x in [-1, 1] is drowned in noise e, and a network learns to say what in it is noise. From noise
alone, what it says leads back to an image in small steps. At a level from 0, the image, to 1, noise alone,

    x_t = alpha x + sigma e,    e ~ N(0, I).

Noise prediction [1]: alpha and sigma follow a cosine schedule [2]. The output is v' = alpha e' - sigma x' [3], so that
e' = sigma x_t + alpha v' and x' = alpha x_t - sigma v': nothing is divided by a small alpha. The loss is |v' - v|²,
which is |e' - e|² / alpha²: plainly |e' - e|², noisy levels hardly count, and there the shape is decided. Flow matching
[4, 5]: alpha = 1 - t, sigma = t, a straight line, and v = e - x is its direction. Both are summed over pixels.

DDPM [1] puts back part of the noise that it takes; DDIM [6] does not, so that it can be run backwards. On a straight
line DDIM's step is Euler's for dx/dt = v'. Not told the class of some images, the network learns that too, and guidance
[7] goes on from what it then says to what it says when told: 0 stays there, 1 comes to the latter, more leads beyond.

[1] J. Ho, A. Jain and P. Abbeel (2020), Denoising diffusion probabilistic models, https://arxiv.org/abs/2006.11239
[2] A. Nichol and P. Dhariwal (2021), Improved DDPM, https://arxiv.org/abs/2102.09672, Eq. 17
[3] T. Salimans and J. Ho (2022), Progressive distillation, https://arxiv.org/abs/2202.00512, appendix D
[4] Y. Lipman et al. (2023), Flow matching for generative modeling, https://arxiv.org/abs/2210.02747
[5] X. Liu, C. Gong and Q. Liu (2023), Flow straight and fast, https://arxiv.org/abs/2209.03003
[6] J. Song, C. Meng and S. Ermon (2021), Denoising diffusion implicit models, https://arxiv.org/abs/2010.02502
[7] J. Ho and T. Salimans (2022), Classifier-free diffusion guidance, https://arxiv.org/abs/2207.12598
"""

import math
from collections.abc import Iterator
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from genmodels.config import Config as BaseConfig
from genmodels.config import UserError, knob
from genmodels.families.contract import Batch, Frame, Update
from genmodels.families.schedules import Objective, T, check_step, checked, ddpm, levels, signals
from genmodels.nn import Shape, adam, moving_average
from genmodels.unet import UNet

CODE_STEPS = 20  # between an image and its code


class Config(BaseConfig):
    objective: Objective = knob("noise", help="What the network tells: the noise, or the direction of a straight line.")
    steps: int = knob(50, 1, T, help="Steps from noise to a sample.", unit="steps")
    guidance: float = knob(1.2, 0, 10, help="How far samples go towards their class: 1 as learned, more: clearer.")
    label_dropout: float = knob(0.1, 0, 1, help="Share of images whose class is kept back.", advanced=True)
    plain_loss: bool = knob(False, help="Count each level by its error in the noise alone.", advanced=True)
    width: int = knob(40, 8, 128, help="Channels of the larger grid.", unit="channels", advanced=True)
    average: float = knob(
        0.999, 0, 0.99999, help="Share of the old weights kept at each step in those sampled from.", advanced=True
    )
    learning_rate: float = knob(2e-3, 1e-6, 1, help="Size of Adam's steps at the start.", advanced=True, log=True)


def unit(x: Tensor) -> Tensor:
    """[-1, 1] -> [0, 1], what lies beyond cut off."""
    return (x / 2 + 0.5).clamp(0, 1)


class Model(nn.Module):
    LOSSES: ClassVar = {"squared_error": "per image"}
    SAMPLERS: tuple[str, ...] = ("ddim", "ddpm")
    CODES_AT_MOST: ClassVar = 300  # each takes the network 40 times

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.config, self.shape, self.classes = config, shape, classes
        self.latent_size = math.prod(shape)
        if config.objective == "flow-matching":
            self.SAMPLERS = ("ddim",)
        self.network = UNet(shape, config.width, classes + 1 if classes > 1 else 0)  # the last is no class at all
        self.average = moving_average(self.network, config.average)

    @property
    def conditional(self) -> bool:
        """There only where there are classes to ask for."""
        if self.classes < 2:
            raise AttributeError("conditional")
        return True

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"diffusion": adam(self.network.parameters(), self.config.learning_rate)}

    def averages(self) -> dict[str, tuple[AveragedModel, nn.Module]]:
        return {"diffusion": (self.average, self.network)}

    def mixed(self, images: Tensor, level: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """x_t of images in [0, 1], each at its own level, and v: what should be said. (N, C, H, W), (N,)."""
        x, noise = 2 * images - 1, torch.randn(images.shape, generator=generator, device=images.device)
        alpha, sigma = signals(self.config.objective, level)
        noisy = alpha * x + sigma * noise
        return noisy, noise - x if self.config.objective == "flow-matching" else alpha * noise - sigma * x

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        n, device = len(batch.images), batch.images.device
        u, chance = torch.rand(2, n, generator=batch.generator, device=device)
        evenly = (torch.arange(n, device=device) + u) / n  # a steadier loss
        level = levels(self.config.objective, evenly)
        labels = batch.labels.where(chance >= self.config.label_dropout, self.classes)
        noisy, v = self.mixed(batch.images, level, batch.generator)
        error = (self.network if self.training else self.average)(noisy, level, labels) - v
        if self.config.plain_loss and self.config.objective == "noise":
            error = signals("noise", level)[0] * error
        loss = error.square().flatten(1).sum(1).mean()
        update(loss, "diffusion")
        return {"squared_error": loss.detach()}

    def views(self, batch: Batch) -> dict[str, Tensor]:
        level = torch.arange(1, len(batch.images) + 1, device=batch.images.device) / len(batch.images)
        noisy, _ = self.mixed(batch.images, level, batch.generator)
        image, _ = self.split(noisy, level, batch.labels)
        return {"originals": batch.images, "noised": unit(noisy), "predicted": unit(image)}

    def split(self, noisy: Tensor, level: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """The image, in [-1, 1], and the noise that x_t is made of. (N, C, H, W), (N,), (N,) -> (N, C, H, W) twice."""
        said = self.average(noisy, level, labels)
        alpha, sigma = signals(self.config.objective, level)
        if self.config.objective == "flow-matching":
            return noisy - sigma * said, noisy + alpha * said
        return alpha * noisy - sigma * said, sigma * noisy + alpha * said

    def predict(self, noisy: Tensor, level: float, labels: Tensor | None, guidance: float) -> tuple[Tensor, Tensor]:
        """What `split` finds, in the direction of the class: Eq. 6 of [7], whose w is guidance - 1."""
        levels = noisy.new_full((len(noisy),), level)
        found = self.split(noisy, levels, self.known(labels, len(noisy)))
        if labels is None or guidance == 1:
            return found
        plain = self.split(noisy, levels, self.known(None, len(noisy)))
        image, noise = (torch.lerp(none, told, guidance) for none, told in zip(plain, found, strict=True))
        return image, noise

    def known(self, labels: Tensor | None, n: int) -> Tensor:
        """Classes as the network takes them, None as no class. -> int64 (n,). Raises UserError."""
        if labels is None:
            return torch.full((n,), self.classes, device=next(self.parameters()).device)
        if not ((labels >= 0) & (labels < self.classes)).all():
            raise UserError(f"There are {self.classes} classes: ask for numbers from 0 to {self.classes - 1}.")
        return labels

    def signal(self, level: float) -> tuple[float, float]:
        alpha, sigma = signals(self.config.objective, torch.tensor([checked(level)], dtype=torch.float64))
        return alpha.item(), sigma.item()

    def noised(self, x: Tensor, level: float, generator: torch.Generator) -> Tensor:
        return self.mixed(x, x.new_full((len(x),), checked(level)), generator)[0]

    def denoise_step(
        self, noisy: Tensor, level: float, to: float, labels: Tensor | None = None,
        generator: torch.Generator | None = None, *, sampler: str = "ddim", guidance: float = 1.0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        check_step(level, to, sampler, self.SAMPLERS, guidance)
        image = self.predict(noisy, level, labels, guidance)[0].clamp(-1, 1)
        before, after = self.signal(level), self.signal(to)
        if sampler == "ddim" or before == after:  # Eq. 12 of [6] without fresh noise
            noise = (noisy - before[0] * image) / max(before[1], 1e-8)  # all else, or what was cut off would be lost
            return after[0] * image + after[1] * noise, unit(image)
        fresh = torch.randn(noisy.shape, generator=generator, device=noisy.device)
        return ddpm(noisy, image, fresh, before, after), unit(image)

    def denoise_path(
        self, noisy: Tensor, level: float = 1.0, labels: Tensor | None = None,
        generator: torch.Generator | None = None, *, steps: int = 50, sampler: str = "ddim", guidance: float = 1.0,
    ) -> Iterator[Frame]:  # fmt: skip
        if steps < 1:
            raise UserError(f"It takes at least one step, not {steps}.")
        check_step(level, 0.0, sampler, self.SAMPLERS, guidance)
        self.known(labels, len(noisy))

        def frames(noisy: Tensor) -> Iterator[Frame]:
            for here, to in pairwise(level * (1 - number / steps) for number in range(steps + 1)):
                moved, image = self.denoise_step(noisy, here, to, labels, generator, sampler=sampler, guidance=guidance)
                yield Frame(here, noisy, image)
                noisy = moved
            yield Frame(0.0, noisy, unit(noisy))

        return frames(noisy)  # what is wrong is said at the call, not when the first frame is taken

    def decode(
        self, z: Tensor, labels: Tensor | None = None, *, steps: int = CODE_STEPS, guidance: float = 1.0
    ) -> Tensor:
        """The image that DDIM comes to from this noise. (N, L) -> (N, C, H, W) in [0, 1]."""
        *_, last = self.denoise_path(z.unflatten(1, self.shape), 1.0, labels, steps=steps, guidance=guidance)
        return last.predicted

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        z = torch.randn(n, self.latent_size, generator=generator, device=next(self.parameters()).device)
        return self.decode(z, labels, steps=self.config.steps, guidance=self.config.guidance)

    def encode(self, x: Tensor) -> Tensor:
        """The noise from which DDIM comes to each image, by running it backwards with no class."""
        x, noise = 2 * x - 1, torch.zeros_like(x)
        for level, to in pairwise(number / CODE_STEPS for number in range(CODE_STEPS + 1)):
            (alpha, sigma), (alpha_to, sigma_to) = self.signal(level), self.signal(to)
            for _ in range(2):  # a step back takes the noise of where it leads, which is sought by going there
                found = alpha_to / alpha * (x - sigma * noise) + sigma_to * noise
                _, noise = self.predict(found, to, None, 1.0)
            x = alpha_to / alpha * (x - sigma * noise) + sigma_to * noise
        return x.flatten(1)
