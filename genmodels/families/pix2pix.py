"""pix2pix: a U-Net G turns each image x into its partner y, learned from pairs. The distance in grey values alone would
make it blur where several y are possible; a discriminator D that sees the pair, patch by patch, asks for one that looks
real. With s(x, y) the grid of D's scores, means taken over its patches, and images in [0, 1],

    D minimises   (E[softplus(-s(x, y))] + E[softplus(s(x, G(x)))]) / 2
    G minimises   adversarial E[softplus(-s(x, G(x)))] + l1_weight E[|y - G(x)|]

|y - G(x)| is the mean over pixels and channels, as published, and not the sum: the one objective here that is. The
paper's weight of 100 is for images in [-1, 1], so it is 200 here. With adversarial = 0, G is a plain U-Net that learns
from the distance alone, and D only watches. There is no noise: one x has one translation.

[1] P. Isola et al. (2017), Image-to-image translation with conditional adversarial networks,
    https://arxiv.org/abs/1611.07004, Eq. 1-4 and section 3.3
[2] O. Ronneberger, P. Fischer and T. Brox (2015), U-Net, https://arxiv.org/abs/1505.04597
"""

from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from genmodels.config import Config as BaseConfig
from genmodels.config import UserError, knob
from genmodels.families.contract import Batch, Update
from genmodels.families.gan import belief, discriminator_loss, generator_loss
from genmodels.nn import Centre, InstanceNorm, Layers, Shape, Skip, adam, doubled, moving_average, patch_discriminator


class Config(BaseConfig):
    l1_weight: float = knob(200.0, 0, 10_000, help="Weight of the distance to the true partner.", log=True)
    adversarial: float = knob(1.0, 0, 100, help="How much the discriminator is heard. 0: a plain U-Net, which blurs.")
    width: int = knob(32, 4, 128, help="Channels after the first halving.", unit="channels", advanced=True)
    average: float = knob(
        0.999, 0, 0.99999, help="Share of the old weights kept at each step in those used.", advanced=True
    )
    learning_rate: float = knob(5e-4, 1e-6, 1, help="Adam's steps at the start, for both.", advanced=True, log=True)
    beta1: float = knob(0.5, 0, 0.99, help="How much of its last step Adam repeats.", advanced=True)


def unet(shape: Shape, width: int) -> Layers:
    """(N, C, H, W) in [0, 1] -> the same: halved to four pixels or fewer and up again, each grid handed across [2]."""
    grids = [shape]
    while len(grids) < 3 or (len(grids) < 5 and min(grids[-1][1:]) > 4):
        _, height, wide = grids[-1]
        grids.append((width * 2 ** min(len(grids) - 1, 2), (height + 1) // 2, (wide + 1) // 2))
    inner: list[nn.Module] = []
    made = 0  # channels that the grid below hands up beside its own
    for level, ((inputs, height, wide), (outputs, _, _)) in reversed(list(enumerate(pairwise(grids)))):
        layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)]
        layers += [InstanceNorm(outputs), nn.LeakyReLU(0.2), *inner]
        up = inputs if level else width // 2
        inner = [Skip(*layers, *doubled(outputs + made, (up, height, wide)))]
        made = up
    return Layers(Centre(), *inner, nn.Conv2d(shape[0] + made, shape[0], 3, padding=1), nn.Sigmoid())


def l1(made: Tensor, wanted: Tensor) -> Tensor:
    """Eq. 3 of [1]: the mean of |wanted - made| over pixels, channels and batch. Two (N, C, H, W) -> ()."""
    return (wanted - made).abs().mean()


class Model(nn.Module):
    LOSSES: ClassVar = {
        "l1": "share of the full range, per pixel",
        "discriminator": "nats per patch",
        "generator": "nats per patch",
        "d_real": "probability",
        "d_fake": "probability",
    }
    CHARTS: ClassVar = (("discriminator", "generator"), ("d_real", "d_fake"))
    DIRECTIONS: ClassVar = ("forward",)

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.config = config
        self.generator = unet(shape, config.width)
        self.discriminator = patch_discriminator(2 * shape[0], shape, config.width)
        self.average = moving_average(self.generator, config.average)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        both = {"discriminator": self.discriminator, "generator": self.generator}
        return {
            name: adam(net.parameters(), self.config.learning_rate, self.config.beta1) for name, net in both.items()
        }

    def averages(self) -> dict[str, tuple[AveragedModel, nn.Module]]:
        return {"generator": (self.average, self.generator)}

    def translate(self, x: Tensor, direction: str = "forward") -> Tensor:
        """The partner of each image. (N, C, H, W) in [0, 1] -> the same. Raises UserError."""
        if direction not in self.DIRECTIONS:
            raise UserError(f"pix2pix cannot translate '{direction}': it learned one direction, forward.")
        return self.average(x)

    def scores(self, sources: Tensor, images: Tensor) -> Tensor:
        """D's score of each patch of each pair. (N, C, H, W), (N, C, H, W) -> (N, 1, h, w)."""
        return self.discriminator(torch.cat([sources, images], 1))

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        sources, images, weight = sources_of(batch, "pix2pix"), batch.images, self.config.adversarial
        # What is not learned from is measured on the average, which is what translates.
        made = (self.generator if self.training else self.average)(sources)
        # Cut off from G, which learns nothing in D's move.
        real, fake = self.scores(sources.repeat(2, 1, 1, 1), torch.cat([images, made.detach()])).chunk(2)
        loss = 0.5 * discriminator_loss("non-saturating", real, fake)
        distance = l1(made, images)
        found = {"l1": distance.detach(), "discriminator": loss.detach()}
        found["generator"] = generator_loss("non-saturating", fake.detach())
        update(loss, "discriminator")
        wanted = self.config.l1_weight * distance
        if weight:
            wanted = wanted + weight * generator_loss("non-saturating", self.scores(sources, made))
        update(wanted, "generator")
        return found | {"d_real": belief("non-saturating", real), "d_fake": belief("non-saturating", fake)}

    def views(self, batch: Batch) -> dict[str, Tensor]:
        sources = sources_of(batch, "pix2pix")
        return {"inputs": sources, "translations": self.translate(sources), "targets": batch.images}


def sources_of(batch: Batch, name: str) -> Tensor:
    """What is to be translated, or a UserError where the dataset has nothing of the kind."""
    if batch.sources is None:
        raise UserError(
            f"{name} learns to translate one kind of image into another, and this dataset has one kind only: choose "
            "one with pairs, such as edges:mnist, or two kinds, such as inverted:mnist."
        )
    return batch.sources
