"""Normalizing flow: an invertible network takes every image to a point z of as many numbers, and the images together
to a standard normal. So the probability of an image is known, coding loses nothing, and a random z drawn backwards is
a new image.

A pixel is one of 256 levels k. With noise u in (0, 1) the number k + u has a density, and its logit, on the whole line,
is what the flow sees:

    v = logit((k + u) / 256),    log P(k) >= E_q(u|k)[log N(f(v); 0, I) + log |det df/dv| + log dv/du - log q(u|k)].

Minimised is -log P in nats per image, one draw of u each, with every Jacobian: a model that knows nothing has 8 bits
per dimension. Noise is uniform, which makes the logit of a black pixel minus an exponential variable that no affine
step can make normal, or learned (variational), u = sigmoid(a(k) + b(k) e) with e ~ N(0, I), which makes it nearly so.

[1] L. Dinh, J. Sohl-Dickstein and S. Bengio (2017), Density estimation using Real NVP, https://arxiv.org/abs/1605.08803
[2] D. Kingma and P. Dhariwal (2018), Glow, https://arxiv.org/abs/1807.03039
[3] L. Theis, A. van den Oord and M. Bethge (2016), A note on the evaluation of generative models, section 3.1,
    https://arxiv.org/abs/1511.01844
[4] J. Ho et al. (2019), Flow++, section 3.1, variational dequantization, https://arxiv.org/abs/1902.00275
"""

import math
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.config import Config as BaseConfig
from genmodels.config import knob
from genmodels.couplings import CouplingFlow, MultiScaleFlow, conv_network, even, log_standard_normal
from genmodels.families.contract import Batch, Update
from genmodels.nn import Centre, Layers, Shape, adam, mlp

LEVELS = 256
SPREAD = 4.0  # about what the logits of grey pictures deviate, so that the flow starts near a standard normal


class Config(BaseConfig):
    body: Literal["mlp", "conv"] = knob("mlp", help="Couplings of dense layers (fast) or of convolutions (sharper).")
    couplings: int = knob(8, 2, 32, help="Couplings one after another (mlp), or on each scale (conv).")
    dequantization: Literal["uniform", "variational"] = knob(
        "variational", help="The noise that fills the gaps between grey levels: uniform, or learned.", advanced=True
    )
    hidden_size: int = knob(256, 8, 2048, help="Width of each dense hidden layer.", unit="neurons", advanced=True)
    width: int = knob(
        32, 4, 128, help="Channels in a coupling, doubled on each scale (conv body).", unit="channels", advanced=True
    )
    learning_rate: float = knob(1e-3, 1e-6, 1, help="Size of Adam's steps at the start.", advanced=True, log=True)


def levels(x: Tensor) -> Tensor:
    """The level of each pixel, 0 to 255, as a float. [0, 1] -> the same shape."""
    return (x * (LEVELS - 1)).round()


def logit_of_noisy(k: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
    """v = logit((k + u) / 256) / SPREAD for u = sigmoid(h), and log dv/du summed over pixels.

    With A = k + u and B = 256 - k - u it is (log A - log B) / SPREAD, and dv/du = 256 / (A B SPREAD). B is a sum with
    1 - u = sigmoid(-h), so that nothing is lost near white. (N, C, H, W) twice -> (N, C, H, W), (N,).
    """
    log_a, log_b = (k + h.sigmoid()).log(), (LEVELS - 1 - k + (-h).sigmoid()).log()
    constant = math.log(LEVELS / SPREAD) * k[0].numel()
    return (log_a - log_b) / SPREAD, constant - (log_a + log_b).flatten(1).sum(1)


class Model(nn.Module):
    LOSSES: ClassVar = {"bits_per_dimension": "bits, an upper bound", "nll": "nats per image, an upper bound"}
    CODES_AT_MOST = 2000  # a code is as long as its image

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.config, self.shape, self.latent_size = config, shape, math.prod(shape)
        self.flow: CouplingFlow | MultiScaleFlow
        if config.body == "conv":
            self.flow = MultiScaleFlow(shape, config.couplings, config.width)
        else:
            self.flow = CouplingFlow(self.latent_size, config.couplings, config.hidden_size)
        if config.dequantization == "variational":
            self.noise = Layers(Centre(), *self.noise_layers())

    def noise_layers(self) -> list[nn.Module]:
        """(N, C, H, W) -> (N, 2 C, H, W): the mean and the log deviation of h = logit(u) at each pixel."""
        (channels, *sides), config = self.shape, self.config
        if config.body == "mlp":
            dense = mlp(self.latent_size, config.hidden_size, 2 * self.latent_size)
            return [nn.Flatten(), *dense, nn.Unflatten(1, (2 * channels, *sides))]
        if not even(self.shape):
            return [*conv_network(channels, config.width, 2 * channels)]
        return [nn.PixelUnshuffle(2), *conv_network(4 * channels, config.width, 8 * channels), nn.PixelShuffle(2)]

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"flow": adam(self.parameters(), self.config.learning_rate)}

    def dequantized(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """h = logit(u) for e ~ N(0, I), and -log q(u | x) in nats. (N, C, H, W) twice -> (N, C, H, W), (N,)."""
        if self.config.dequantization == "uniform":  # u is the share of the normal that lies below e
            return torch.special.ndtr(e).clamp(1e-6, 1 - 1e-6).logit(), x.new_zeros(x.shape[:1])
        mean, log_sigma = self.noise(x).chunk(2, 1)
        log_sigma = log_sigma.clamp(-5, 2)
        h = mean.clamp(-8, 8) + log_sigma.exp() * e  # bounded, as an early, wild h would end in log 0
        log_slope = log_sigma + F.logsigmoid(h) + F.logsigmoid(-h)  # of u in e
        return h, log_slope.flatten(1).sum(1) - log_standard_normal(e)

    def seen(self, x: Tensor, e: Tensor) -> tuple[Tensor, Tensor]:
        """v, as the flow takes it, and log dv/du - log q(u | x). (N, C, H, W) twice -> (N, ...), (N,)."""
        h, entropy = self.dequantized(x, e)
        v, log_slope = logit_of_noisy(levels(x), h)
        return v.flatten(1) if self.config.body == "mlp" else v, log_slope + entropy

    def log_prob(self, x: Tensor, generator: torch.Generator) -> Tensor:
        v, log_slope = self.seen(x, torch.randn(x.shape, generator=generator, device=x.device))
        return self.flow.log_prob(v) + log_slope

    def encode(self, x: Tensor) -> Tensor:
        return self.flow(self.seen(x, torch.zeros_like(x))[0])[0]

    def decode(self, z: Tensor) -> Tensor:
        y = (SPREAD * self.flow.inverse(z)).sigmoid().view(-1, *self.shape)
        return (LEVELS * y).floor().clamp(max=LEVELS - 1) / (LEVELS - 1)

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        device = next(self.parameters()).device
        return self.decode(torch.randn(n, self.latent_size, generator=generator, device=device))

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        nll = -self.log_prob(batch.images, batch.generator).mean()
        update(nll, "flow")
        return {"bits_per_dimension": nll.detach() / (self.latent_size * math.log(2)), "nll": nll.detach()}

    def views(self, batch: Batch) -> dict[str, Tensor]:
        return {"originals": batch.images, "reconstructions": self.decode(self.encode(batch.images))}
