"""Conditional GAN [1]: generator and discriminator are told the class, so that one can ask for it. In the generator the
class sets gain and bias after each normalisation [2]; in the discriminator it is projected [3]: with phi(x) what D sees
in the image,

    s(x, y) = w · phi(x) + b + v_y · phi(x).

D judges whether an image is real *and* of its class. The labels of made images are those of the real ones in the
batch, so that both have the same law and D cannot tell them apart by it. The class is not put beside the noise, as in
[1]: batch normalisation then takes its variance from the classes, and the noise dies out within a hundred steps.

[1] M. Mirza and S. Osindero (2014), Conditional generative adversarial nets, https://arxiv.org/abs/1411.1784
[2] H. de Vries et al. (2017), Modulating early visual processing by language, https://arxiv.org/abs/1707.00683
[3] T. Miyato and M. Koyama (2018), cGANs with projection discriminator, https://arxiv.org/abs/1802.05637, Eq. 3
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.compiler import is_exporting as exporting

from genmodels.config import UserError
from genmodels.families import gan
from genmodels.families.contract import Batch, Update
from genmodels.nn import Layers, Shape


class Config(gan.Config):
    pass


class ClassNorm(nn.BatchNorm2d):
    """Batch normalisation with the gain and the bias of each image's class [2]. (N, C, H, W), (N,) -> (N, C, H, W)."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, affine=False)
        self.gain, self.shift = nn.Embedding(classes, channels), nn.Embedding(classes, channels)
        nn.init.normal_(self.gain.weight, 1, 0.3)  # classes that differ from the first step are learned much sooner
        nn.init.normal_(self.shift.weight, 0, 0.3)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:  # type: ignore[override]
        return self.gain(labels)[..., None, None] * super().forward(x) + self.shift(labels)[..., None, None]


class Generator(nn.Module):
    """(N, L), (N,) -> (N, C, H, W) in [0, 1]."""

    def __init__(self, config: gan.Config, shape: Shape, classes: int) -> None:
        super().__init__()
        parts = gan.generator_parts(config.latent_size, config.width, shape)
        self.parts = nn.ModuleList(Layers(*part) for part in parts)
        self.norms = nn.ModuleList(ClassNorm(channels, classes) for channels in gan.normalised(config.width, shape))

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        x = z
        for part, norm in zip(self.parts, self.norms, strict=False):
            x = norm(part(x), labels)
        return self.parts[-1](x)


class Model(gan.Model):
    conditional: ClassVar = True

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        if classes < 2:
            raise UserError("A conditional GAN needs images in two classes or more; this dataset has none: use gan.")
        super().__init__(config, shape, classes)

    def make_networks(self, shape: Shape) -> None:
        self.generator = Generator(self.config, shape, self.classes)
        self.discriminator = gan.Discriminator(self.config, shape, self.classes)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """Images of these classes, or of each in turn. (N, L), int64 (N,) -> (N, C, H, W). Raises UserError."""
        labels = torch.arange(len(z), device=z.device) % self.classes if labels is None else labels
        if not exporting() and not ((labels >= 0) & (labels < self.classes)).all():
            raise UserError(f"There are {self.classes} classes: ask for numbers from 0 to {self.classes - 1}.")
        return self.average(z, labels)

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        return self.decode(self.noise(n, generator), labels)

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        made = self.generator(self.noise(len(batch.images), batch.generator), batch.labels)
        return self.play(batch, made, batch.labels, update)

    def views(self, batch: Batch) -> dict[str, Tensor]:
        return {"latest": self.generator(self.noise(len(batch.images), batch.generator), batch.labels)}
