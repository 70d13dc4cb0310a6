"""Generative adversarial network: a generator G turns noise into images, a discriminator D tells them from real ones,
and each learns from the other. D is taught first, then G, with s(x) the unbounded score and D(x) = sigmoid(s(x)):

    D minimises   E_x[softplus(-s(x))] + E_z[softplus(s(G(z)))]              (Algorithm 1 of [1])
    G minimises   E_z[softplus(-s(G(z)))]       non-saturating: -log D(G(z))
                  E_z[-softplus(s(G(z)))]       minimax: log(1 - D(G(z))), flat where D is sure, so G stops learning
    hinge [2]     D: E[max(0, 1 - s(x))] + E[max(0, 1 + s(G(z)))],   G: -E[s(G(z))]
    least squares [3]   D: (E[(s(x) - 1)²] + E[s(G(z))²]) / 2,   G: E[(s(G(z)) - 1)²] / 2

Spectral normalisation [4] divides each weight of D by its largest singular value, so that D cannot become steep. One
samples from the exponential moving average of G's weights [5]: G itself circles round its goal.

[1] I. Goodfellow et al. (2014), Generative adversarial nets, https://arxiv.org/abs/1406.2661
[2] J. Lim and J. Ye (2017), Geometric GAN, https://arxiv.org/abs/1705.02894
[3] X. Mao et al. (2017), Least squares generative adversarial networks, https://arxiv.org/abs/1611.04076
[4] T. Miyato et al. (2018), Spectral normalization for GANs, https://arxiv.org/abs/1802.05957
[5] Y. Yazici et al. (2019), The unusual effectiveness of averaging in GAN training, https://arxiv.org/abs/1806.04498
[6] A. Radford, L. Metz and S. Chintala (2016), DCGAN, https://arxiv.org/abs/1511.06434
"""

import math
from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel

from genmodels.config import Config as BaseConfig
from genmodels.config import knob
from genmodels.families.contract import Batch, Update
from genmodels.nn import Crop, Dense, Layers, Shape, adam, conv_grids, moving_average

Loss = Literal["non-saturating", "minimax", "hinge", "least-squares"]


class Config(BaseConfig):
    loss: Loss = knob("non-saturating", help="What the two networks play for. Minimax shows why learning can stop.")
    latent_size: int = knob(64, 1, 256, help="How many random numbers an image is made from.", unit="dimensions")
    discriminator_steps: int = knob(1, 1, 10, help="Updates of the discriminator for each one of the generator.")
    spectral_norm: bool = knob(True, help="Keep the discriminator smooth: steadier, and with more variety.")
    width: int = knob(32, 4, 128, help="Channels after the first halving.", unit="channels", advanced=True)
    average: float = knob(
        0.999, 0, 0.99999, help="Share of the old weights kept at each step in those sampled from.", advanced=True
    )
    learning_rate: float = knob(8e-3, 1e-6, 1, help="Adam's steps at the start, for both.", advanced=True, log=True)
    # What was good a step ago is no guide where the other side has moved: 0 needs half the steps of the usual 0.5 here.
    beta1: float = knob(0.0, 0, 0.99, help="How much of its last step Adam repeats.", advanced=True)


def discriminator_loss(loss: Loss, real: Tensor, fake: Tensor) -> Tensor:
    """What D minimises, from its scores of real and of made images. (N,), (M,) -> (), nats where it is logarithmic."""
    if loss == "hinge":
        return (1 - real).relu().mean() + (1 + fake).relu().mean()
    if loss == "least-squares":
        return 0.5 * ((real - 1).square().mean() + fake.square().mean())
    return F.softplus(-real).mean() + F.softplus(fake).mean()


def generator_loss(loss: Loss, fake: Tensor) -> Tensor:
    """What G minimises, from D's scores of its images. (N,) -> (), nats where it is logarithmic."""
    if loss == "hinge":
        return -fake.mean()
    if loss == "least-squares":
        return 0.5 * (fake - 1).square().mean()
    return -F.softplus(fake).mean() if loss == "minimax" else F.softplus(-fake).mean()


def belief(loss: Loss, scores: Tensor) -> Tensor:
    """How sure D is on average that images are real, in [0, 1]; least squares learns that number itself. (N,) -> ()."""
    scores = scores.detach()
    return (scores.clamp(0, 1) if loss == "least-squares" else scores.sigmoid()).mean()


def generator_parts(inputs: int, width: int, shape: Shape) -> list[list[nn.Module]]:
    """The layers before each normalisation and after the last: (N, inputs) -> (N, C, H, W) in [0, 1]."""
    grids = conv_grids(shape, width)[::-1]
    parts: list[list[nn.Module]] = [[Dense(inputs, math.prod(grids[0]), relu=False), nn.Unflatten(1, grids[0])]]
    for (channels_in, _, _), (channels, height, wide) in pairwise(grids):
        conv = nn.Conv2d(channels_in, 4 * channels, 3, padding=1)
        parts.append([nn.ReLU(), conv, nn.PixelShuffle(2), Crop(height, wide)])
    return [*parts[:-1], [*parts[-1], nn.Sigmoid()]]


def normalised(width: int, shape: Shape) -> list[int]:
    """Channels after each part of a generator but the last."""
    return [channels for channels, _, _ in conv_grids(shape, width)[:0:-1]]


def generator(inputs: int, width: int, shape: Shape) -> Layers:
    """(N, inputs) -> (N, C, H, W) in [0, 1]: doublings by pixel shuffle with batch normalisation [6]."""
    *parts, last = generator_parts(inputs, width, shape)
    norms = [nn.BatchNorm2d(channels) for channels in normalised(width, shape)]
    return Layers(*(layer for part, norm in zip(parts, norms, strict=True) for layer in [*part, norm]), *last)


class Discriminator(nn.Module):
    """What D sees in an image, and its score: higher for real. No batch normalisation: each image is judged alone."""

    def __init__(self, config: Config, shape: Shape, classes: int = 0) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        grids = conv_grids(shape, config.width)
        for (inputs, _, _), (channels, _, _) in pairwise(grids):
            layers += [nn.Conv2d(inputs, channels, 5, stride=2, padding=2), nn.LeakyReLU(0.2)]
        size = grids[-1][0] * grids[-1][1] * grids[-1][2]
        self.features = Layers(*layers)
        self.score = nn.Linear(size, 1)
        self.classes = nn.Embedding(classes, size) if classes else None
        if config.spectral_norm:
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Linear | nn.Embedding):
                    spectral_norm(module)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        """Scores. (N, C, H, W) in [0, 1] -> (N,)."""
        seen = self.features(2 * x - 1).flatten(1)
        score = self.score(seen).squeeze(1)
        return score if self.classes is None else score + (self.classes(labels) * seen).sum(1)


class Model(nn.Module):
    LOSSES: ClassVar = {
        "discriminator": "per image",  # nats only for the losses with logarithms
        "generator": "per image",
        "d_real": "probability",
        "d_fake": "probability",
    }
    CHARTS: ClassVar = (("discriminator", "generator"), ("d_real", "d_fake"))

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.config, self.classes = config, classes
        self.make_networks(shape)
        self.average = moving_average(self.generator, config.average)

    def make_networks(self, shape: Shape) -> None:
        self.generator: nn.Module = generator(self.config.latent_size, self.config.width, shape)
        self.discriminator = Discriminator(self.config, shape)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        both = {"discriminator": self.discriminator, "generator": self.generator}
        return {
            name: adam(net.parameters(), self.config.learning_rate, self.config.beta1) for name, net in both.items()
        }

    def averages(self) -> dict[str, tuple[AveragedModel, nn.Module]]:
        return {"generator": (self.average, self.generator)}

    def noise(self, n: int, generator: torch.Generator | None) -> Tensor:
        """z ~ N(0, I). -> (n, L)."""
        return torch.randn(n, self.config.latent_size, generator=generator, device=next(self.parameters()).device)

    def decode(self, z: Tensor) -> Tensor:
        return self.average(z)

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        return self.decode(self.noise(n, generator))

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        images = self.generator(self.noise(len(batch.images), batch.generator))
        return self.play(batch, images, None, update)

    def play(self, batch: Batch, made: Tensor, labels: Tensor | None, update: Update) -> dict[str, Tensor]:
        """One move of D, and one of G where it is its turn. made: G's images, (N, C, H, W), with their graph."""
        kind = self.config.loss
        # Cut off from G, which learns nothing in D's move. Together, so that its weights are normalised once.
        both = None if labels is None else labels.repeat(2)
        real, fake = self.discriminator(torch.cat([batch.images, made.detach()]), both).chunk(2)
        loss = discriminator_loss(kind, real, fake)
        found = {"discriminator": loss.detach(), "generator": generator_loss(kind, fake.detach())}
        update(loss, "discriminator")
        if (batch.step + 1) % self.config.discriminator_steps == 0:
            # Through D as it is now, and not cut off: this is how G learns what D looks at.
            update(generator_loss(kind, self.discriminator(made, labels)), "generator")
        return found | {"d_real": belief(kind, real), "d_fake": belief(kind, fake)}

    def views(self, batch: Batch) -> dict[str, Tensor]:
        return {"latest": self.generator(self.noise(len(batch.images), batch.generator))}
