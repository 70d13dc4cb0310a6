"""Autoencoder: squeeze each image x into a short code z = f(x) and draw it again, x_hat = g(z).

Both networks are trained together to make the copy close: minimise ||x - g(f(x))||², summed over pixels and averaged
over images. With linear f and g this is principal component analysis; the hidden layers let the code follow curved
families of images. Nothing gives the codes a law, so an autoencoder has no samples of its own.

G. Hinton and R. Salakhutdinov (2006), Reducing the dimensionality of data with neural networks,
Science 313, https://doi.org/10.1126/science.1127647
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from genmodels.config import Config as BaseConfig
from genmodels.config import knob
from genmodels.families.contract import Batch, Update
from genmodels.nn import Shape, adam, mlp_decoder, mlp_encoder


class Config(BaseConfig):
    latent_size: int = knob(16, 1, 256, help="How many numbers an image is squeezed into.", unit="dimensions")
    hidden_size: int = knob(512, 8, 2048, help="Width of each hidden layer.", unit="neurons", advanced=True)
    layers: int = knob(2, 1, 4, help="Hidden layers in the encoder, and as many in the decoder.", advanced=True)
    learning_rate: float = knob(1e-3, 1e-6, 1, help="Size of Adam's steps at the start.", advanced=True, log=True)


def squared_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """||x - x_hat||², summed over pixels. (N, C, H, W), (N, C, H, W) -> (N,)."""
    return (x - x_hat).square().flatten(1).sum(1)


class Model(nn.Module):
    LOSSES: ClassVar = {"reconstruction": "squared error per image"}

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = self.networks(config, shape)

    def networks(self, config: Config, shape: Shape) -> tuple[nn.Module, nn.Module]:
        hidden = (config.hidden_size,) * config.layers
        return mlp_encoder(shape, hidden, config.latent_size), mlp_decoder(config.latent_size, hidden, shape)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"autoencoder": adam(self.parameters(), self.config.learning_rate)}

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).clamp(0, 1)

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        # The copy before it is clamped: a bounded output would have no slope where a mostly black picture drives it.
        loss = squared_error(batch.images, self.decoder(self.encode(batch.images))).mean()
        update(loss, "autoencoder")
        return {"reconstruction": loss.detach()}

    def views(self, batch: Batch) -> dict[str, Tensor]:
        return {"originals": batch.images, "reconstructions": self.decode(self.encode(batch.images))}
