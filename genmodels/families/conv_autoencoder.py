"""Convolutional autoencoder: the autoencoder's objective, ||x - g(f(x))||², with networks that share weights over
the picture. A stroke is learned once instead of once for each place, so copies are sharper with fewer parameters.

J. Masci, U. Meier, D. Cireşan and J. Schmidhuber (2011), Stacked convolutional auto-encoders for hierarchical
feature extraction, https://doi.org/10.1007/978-3-642-21735-7_7
"""

from torch import nn

from genmodels.config import Config as BaseConfig
from genmodels.config import knob
from genmodels.families import autoencoder
from genmodels.nn import Shape, conv_decoder, conv_encoder


class Config(BaseConfig):
    latent_size: int = knob(16, 1, 256, help="How many numbers an image is squeezed into.", unit="dimensions")
    width: int = knob(32, 4, 128, help="Channels after the first halving; the next has twice as many.", unit="channels")
    hidden_size: int = knob(512, 8, 2048, help="Width of the dense layer beside the code.", advanced=True)
    learning_rate: float = knob(1e-3, 1e-6, 1, help="Size of Adam's steps at the start.", advanced=True, log=True)


class Model(autoencoder.Model):
    def networks(self, config: Config, shape: Shape) -> tuple[nn.Module, nn.Module]:  # type: ignore[override]
        encoder = conv_encoder(shape, config.width, config.hidden_size, config.latent_size)
        return encoder, conv_decoder(config.latent_size, config.hidden_size, config.width, shape)
