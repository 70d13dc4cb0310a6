"""CycleGAN: two kinds of image, A and B, and no pair known. G turns A into B and F turns B into A; a discriminator for
each kind asks that what is made looks real, and whoever goes there and back must arrive where he started. With images
in [0, 1], s the grid of scores of a patch discriminator, and |.| the mean over pixels as published,

    D_B minimises   (E_b[(s(b) - 1)²] + E_a[s(G(a))²]) / 2       D_A likewise; of G(a), half are older ones [2]
    G, F minimise   (E_a[(s(G(a)) - 1)²] + E_b[(s(F(b)) - 1)²]) / 2
                    + cycle_weight (E_a[|F(G(a)) - a|] + E_b[|G(F(b)) - b|])
                    + cycle_weight identity_weight (E_b[|G(b) - b|] + E_a[|F(a) - a|])

This is half of the published objective, whose images are in [-1, 1]: so a cycle_weight of 10 means the same. It is 2
here: who copies his input always gets back where he started, and at 10 some seeds never leave that. The identity term
is for what should keep its colours, as paintings (0.5 there); who learns negatives must do without. Nothing says
which a belongs to which b: any one-to-one map would do, and the networks take an easy one.

[1] J.-Y. Zhu et al. (2017), Unpaired image-to-image translation using cycle-consistent adversarial networks,
    https://arxiv.org/abs/1703.10593, Eq. 1-4 and section 5.2 (identity)
[2] A. Shrivastava et al. (2017), Learning from simulated and unsupervised images through adversarial training,
    https://arxiv.org/abs/1612.07828, section 2.3
[3] X. Mao et al. (2017), Least squares generative adversarial networks, https://arxiv.org/abs/1611.04076
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from genmodels.config import Config as BaseConfig
from genmodels.config import UserError, knob
from genmodels.families.contract import Batch, Update
from genmodels.families.gan import belief, discriminator_loss, generator_loss
from genmodels.families.pix2pix import l1, sources_of
from genmodels.nn import Centre, InstanceNorm, Layers, Shape, Skip, adam, doubled, moving_average, patch_discriminator


class Config(BaseConfig):
    cycle_weight: float = knob(2.0, 0, 1000, help="How much it counts to arrive where one started.", log=True)
    identity_weight: float = knob(
        0.0, 0, 10, help="How much images of the other kind must be left alone: keeps colours, forbids negatives."
    )
    blocks: int = knob(3, 1, 9, help="Residual blocks in each generator.", advanced=True)
    width: int = knob(16, 4, 128, help="Channels after the first halving.", unit="channels", advanced=True)
    pool_size: int = knob(
        50, 0, 1000, help="Older translations that the discriminators are shown again.", unit="images", advanced=True
    )
    average: float = knob(
        0.999, 0, 0.99999, help="Share of the old weights kept at each step in those used.", advanced=True
    )
    learning_rate: float = knob(1e-3, 1e-6, 1, help="Adam's steps at the start, for all.", advanced=True, log=True)
    beta1: float = knob(0.5, 0, 0.99, help="How much of its last step Adam repeats.", advanced=True)


class Residual(nn.Sequential):
    """What goes in plus what its layers make of it."""

    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)


def resnet(shape: Shape, width: int, blocks: int) -> Layers:
    """(N, C, H, W) in [0, 1] -> the same: halved once, twice above 32 pixels, then residual blocks, then up again."""
    grids = [shape]
    for level in range(2 if max(shape) > 32 else 1):
        _, height, wide = grids[-1]
        grids.append((width * 2**level, (height + 1) // 2, (wide + 1) // 2))
    layers: list[nn.Module] = []
    for (inputs, _, _), (outputs, _, _) in pairwise(grids):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1), InstanceNorm(outputs)]
        layers += [nn.ReLU()]
    size = grids[-1][0]
    for _ in range(blocks):
        layers += [
            Residual(
                nn.Conv2d(size, size, 3, padding=1), InstanceNorm(size), nn.ReLU(),
                nn.Conv2d(size, size, 3, padding=1), InstanceNorm(size),
            )
        ]  # fmt: skip
    for _, height, wide in grids[-2::-1]:
        layers += doubled(size, (size // 2, height, wide))
        size //= 2
    # The image itself is handed to the last layer: of all the maps that the objective allows, one that stays in place
    # is then the easiest to find.
    last = nn.Conv2d(shape[0] + size, shape[0], 3, padding=1)
    return Layers(Centre(), Skip(*layers), last, nn.Sigmoid())


class Pool(nn.Module):
    """Translations made earlier, some of which D is shown in place of the newest, so that it forgets no trick [2]."""

    images: Tensor
    filled: Tensor

    def __init__(self, size: int, shape: Shape) -> None:
        super().__init__()
        self.register_buffer("images", torch.zeros(size, *shape))
        self.register_buffer("filled", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def forward(self, made: Tensor, generator: torch.Generator) -> Tensor:
        """As long as there is room each image is kept and handed on; then one in two changes places with an older one.

        (N, C, H, W) -> (N, C, H, W), without a graph.
        """
        size, filled = len(self.images), int(self.filled)
        stock, kept, shown = torch.cat([self.images, made.detach()]), list(range(size)), []  # places in the stock
        draws = torch.rand(len(made), 2, generator=generator, device=made.device).tolist()
        for newest, (coin, place) in enumerate(draws, size):
            shown.append(newest)
            if filled < size:
                kept[filled] = newest
                filled += 1
            elif size and coin < 0.5:
                slot = int(place * size)
                shown[-1], kept[slot] = kept[slot], newest
        self.images.copy_(stock[kept])
        self.filled.fill_(filled)
        return stock[shown]


class Model(nn.Module):
    LOSSES: ClassVar = {
        "cycle": "share of the full range, per pixel",
        "discriminator": "squares per patch",
        "generator": "squares per patch",
        "identity": "share of the full range, per pixel",
        "d_real": "probability",
        "d_fake": "probability",
    }
    CHARTS: ClassVar = (("discriminator", "generator"), ("d_real", "d_fake"))
    DIRECTIONS: ClassVar = ("forward", "back")

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.config = config
        # Each by the direction, first forward, whose translations it makes, judges or keeps.
        ways = range(len(self.DIRECTIONS))
        self.generators = nn.ModuleList(resnet(shape, config.width, config.blocks) for _ in ways)
        self.discriminators = nn.ModuleList(patch_discriminator(shape[0], shape, 2 * config.width) for _ in ways)
        self.pools = nn.ModuleList(Pool(config.pool_size, shape) for _ in ways)
        self.average = moving_average(self.generators, config.average)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        both = {"discriminator": self.discriminators, "generator": self.generators}
        return {
            name: adam(nets.parameters(), self.config.learning_rate, self.config.beta1) for name, nets in both.items()
        }

    def averages(self) -> dict[str, tuple[AveragedModel, nn.Module]]:
        return {"generator": (self.average, self.generators)}

    def translate(self, x: Tensor, direction: str = "forward") -> Tensor:
        """Sources into images, or back. (N, C, H, W) in [0, 1] -> the same. Raises UserError."""
        if direction not in self.DIRECTIONS:
            raise UserError(f"CycleGAN cannot translate '{direction}': it learned two directions, forward and back.")
        generators: Any = self.average.module
        return generators[self.DIRECTIONS.index(direction)](x)

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        starts = sources_of(batch, "CycleGAN"), batch.images
        ends = starts[::-1]
        # What is not learned from is measured on the average, which is what translates.
        nets: Any = self.generators if self.training else self.average.module
        made = [net(x) for net, x in zip(nets, starts, strict=True)]
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.identity_weight > 0):
            identity = l1(nets[0](ends[0]), ends[0]) + l1(nets[1](ends[1]), ends[1])
        cycle = l1(nets[1](made[0]), starts[0]) + l1(nets[0](made[1]), starts[1])
        scores = [judge(images) for judge, images in zip(self.discriminators, made, strict=True)]
        fooling = generator_loss("least-squares", scores[0]) + generator_loss("least-squares", scores[1])
        weight = self.config.cycle_weight
        update(fooling + weight * cycle + weight * self.config.identity_weight * identity, "generator")
        found = {"cycle": cycle.detach() / 2, "generator": fooling.detach(), "identity": identity.detach() / 2}
        return found | self.teach_discriminators(batch, made, ends, update)

    def teach_discriminators(
        self, batch: Batch, made: Sequence[Tensor], ends: Sequence[Tensor], update: Update
    ) -> dict[str, Tensor]:
        """The move of both D. made, ends: translations and real images of the same kind, by direction."""
        losses, real_beliefs, fake_beliefs = [], [], []
        for judge, pool, images, real_images in zip(self.discriminators, self.pools, made, ends, strict=True):
            # Cut off from the generators, which learn nothing in this move. Measuring leaves the pool as it is.
            shown = pool(images, batch.generator) if self.training else images.detach()
            real, fake = judge(torch.cat([real_images, shown])).chunk(2)
            losses.append(discriminator_loss("least-squares", real, fake))
            real_beliefs.append(belief("least-squares", real))
            fake_beliefs.append(belief("least-squares", fake))
        loss = torch.stack(losses).sum()
        update(loss, "discriminator")
        beliefs = {"d_real": torch.stack(real_beliefs).mean(), "d_fake": torch.stack(fake_beliefs).mean()}
        return {"discriminator": loss.detach()} | beliefs

    def views(self, batch: Batch) -> dict[str, Tensor]:
        sources = sources_of(batch, "CycleGAN")
        made = self.translate(sources)
        return {"inputs": sources, "translations": made, "cycled": self.translate(made, "back")}
