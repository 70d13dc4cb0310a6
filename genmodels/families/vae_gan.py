"""VAE-GAN: a VAE whose decoder is the generator of a GAN. What the copy has to share with its original is not each
pixel but what the discriminator sees in both, f(x), the grids before its score: so copies are sharp, and shifted by a
pixel still good. With x' = G(z), z ~ q(z|x), x'' = G(z''), z'' ~ N(0, I), each network minimises its own sum
(Algorithm 1 of [1]; nats per image, summed over features and latents),

    encoder         KL(q(z|x) || N(0, I)) + R,    R = E[|f(x) - f(x')|²] / (2 sigma²), -log N(f(x); f(x'), sigma² I) + c
    decoder G       gamma R + what a GAN's generator minimises, over x' and x''
    discriminator   what a GAN's minimises, with x real and x', x'' made; never R, or it would learn to see nothing

The paper's sigma is 1 beside batch-normalised features. Here sigma² = E[|f(x)|²] / (2 pixels): a copy that shows
nothing costs one nat a pixel, whatever the number and the scale of the features, which change while D learns.

Images have no likelihood under this model, only features do: it has q(z|x), and no NLL.

[1] A. B. L. Larsen, S. K. Sønderby, H. Larochelle and O. Winther (2016), Autoencoding beyond pixels using a learned
    similarity metric, https://arxiv.org/abs/1512.09300
"""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.optim.swa_utils import AveragedModel

from genmodels.config import knob
from genmodels.families import gan, vae
from genmodels.families.contract import Batch, Update
from genmodels.nn import Shape, adam, conv_encoder


class Config(gan.Config):
    gamma: float = knob(
        0.2, 0, 1000, help="What the decoder aims at: more for faithful copies, less for convincing ones.", log=True
    )
    latent_size: int = knob(32, 1, 256, help="How many numbers describe an image.", unit="dimensions")
    hidden_size: int = knob(256, 8, 2048, help="Width of the encoder's dense layer.", unit="neurons", advanced=True)
    learning_rate: float = knob(1e-3, 1e-6, 1, help="Adam's steps at the start, for all.", advanced=True, log=True)


def feature_reconstruction(features: Tensor, copied: Tensor, pixels: int) -> Tensor:
    """R: half the squared error over sigma², summed over features, mean over the batch. Two (N, D) -> (), nats."""
    variance = features.square().sum(1).mean().clamp(min=1e-8) / (2 * pixels)
    return 0.5 * (features - copied).square().sum(1).mean() / variance


class Model(gan.Model):
    LOSSES: ClassVar = {
        "feature_reconstruction": "nats per image",
        "kl": "nats per image",
        **gan.Model.LOSSES,
    }

    config: Config

    def make_networks(self, shape: Shape) -> None:
        super().make_networks(shape)
        self.encoder = conv_encoder(shape, self.config.width, self.config.hidden_size, 2 * self.config.latent_size)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        nets = {"discriminator": self.discriminator, "encoder": self.encoder, "decoder": self.generator}
        return {
            name: adam(net.parameters(), self.config.learning_rate, self.config.beta1) for name, net in nets.items()
        }

    def averages(self) -> dict[str, tuple[AveragedModel, nn.Module]]:
        return {"decoder": (self.average, self.generator)}

    def mean_and_log_var(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu(x) and log sigma²(x), as in the VAE. (N, C, H, W) -> (N, L), (N, L)."""
        mean, log_var = self.encoder(x).chunk(2, 1)
        return mean, log_var.clamp(-15, 10)

    def posterior(self, x: Tensor) -> Normal:
        mean, log_var = self.mean_and_log_var(x)
        return Normal(mean, torch.exp(0.5 * log_var))

    def encode(self, x: Tensor) -> Tensor:
        return self.mean_and_log_var(x)[0]

    def features(self, x: Tensor) -> Tensor:
        """f(x), what D's convolutions see. (N, C, H, W) in [0, 1] -> (N, D)."""
        return self.discriminator.features(2 * x - 1).flatten(1)

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        x, n, kind = batch.images, len(batch.images), self.config.loss
        mean, log_var = self.mean_and_log_var(x)
        noise, prior = self.noise(2 * n, batch.generator).chunk(2)
        z = mean + torch.exp(0.5 * log_var) * noise
        made = self.generator(torch.cat([z, prior]))  # in one batch, so that both are normalised by the same means
        # Cut off from decoder and encoder, which learn nothing in D's move.
        real, fake = self.discriminator(torch.cat([x, made.detach()])).split([n, 2 * n])
        loss = gan.discriminator_loss(kind, real, fake)
        update(loss, "discriminator")
        with torch.no_grad():
            features = self.features(x)  # as D sees it after its move
        reconstruction = feature_reconstruction(features, self.features(made[:n]), x[0].numel())
        kl = vae.kl_to_standard_normal(mean, log_var).sum(1).mean()
        if (batch.step + 1) % self.config.discriminator_steps == 0:
            update(kl + reconstruction, "encoder")
            self.teach_decoder(z.detach(), prior, features, x[0].numel(), update)
        return {
            "feature_reconstruction": reconstruction.detach(),
            "kl": kl.detach(),
            "discriminator": loss.detach(),
            "generator": gan.generator_loss(kind, fake.detach()),
            "d_real": gan.belief(kind, real),
            "d_fake": gan.belief(kind, fake),
        }

    def teach_decoder(self, z: Tensor, prior: Tensor, features: Tensor, pixels: int, update: Update) -> None:
        """The decoder's move, on a graph of its own: the encoder's went with its update."""
        seen = self.features(self.generator(torch.cat([z, prior])))
        fooled = gan.generator_loss(self.config.loss, self.discriminator.score(seen).squeeze(1))
        reconstruction = feature_reconstruction(features, seen[: len(z)], pixels)
        update(self.config.gamma * reconstruction + fooled, "decoder")

    def views(self, batch: Batch) -> dict[str, Tensor]:
        return {"originals": batch.images, "reconstructions": self.decode(self.encode(batch.images))}
