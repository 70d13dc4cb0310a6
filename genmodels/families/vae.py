"""Variational autoencoder and beta-VAE: a code with noise in it, kept near a standard normal, so that nearby codes
mean similar images and a random code means a new one.

Minimise, in nats per image (sum over pixels, sum over latents, mean over the batch),

    E_q(z|x)[-log p(x|z)] + beta KL(q(z|x) || N(0, I)),    q(z|x) = N(mu(x), diag(sigma²(x))).

With beta = 1 this is -ELBO, an upper bound on -log p(x). A larger beta buys simpler, less entangled codes with blur.
With k > 1 importance samples the bound is importance-weighted, and closer to -log p(x) the larger k is:

    -E[log 1/k sum_i w_i],    w_i = p(x|z_i) (p(z_i) / q(z_i|x))^beta,    z_1 ... z_k ~ q(z|x).

[1] D. Kingma and M. Welling (2014), Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114
[2] I. Higgins et al. (2017), beta-VAE, https://openreview.net/forum?id=Sy2fzU9gl
[3] O. Rybkin, K. Daniilidis and S. Levine (2021), Simple and effective VAE training with calibrated decoders,
    https://arxiv.org/abs/2006.13202
[4] Y. Burda, R. Grosse and R. Salakhutdinov (2016), Importance weighted autoencoders, https://arxiv.org/abs/1509.00519
[5] G. Tucker et al. (2019), Doubly reparameterized gradient estimators, https://arxiv.org/abs/1810.04152
"""

import math
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributions import Normal

from genmodels.config import Config as BaseConfig
from genmodels.config import knob
from genmodels.families.contract import Batch, Update
from genmodels.nn import Shape, adam, conv_decoder, conv_encoder, mlp_decoder, mlp_encoder


class Config(BaseConfig):
    beta: float = knob(1.0, 0, 1000, help="Weight of the KL term; 1 is the plain VAE.", unit="nats per nat", log=True)
    latent_size: int = knob(16, 1, 256, help="How many numbers describe an image.", unit="dimensions")
    body: Literal["mlp", "conv"] = knob("mlp", help="Networks of dense layers (fast) or of convolutions (sharper).")
    beta_warm_up: int = knob(0, 0, 1_000_000, help="Beta grows from 0 over so many steps.", unit="steps", advanced=True)
    importance_samples: int = knob(
        1, 1, 100, help="Codes tried for each image: more tighten the bound (IWAE) and take longer.", advanced=True
    )
    likelihood: Literal["bernoulli", "gaussian"] = knob(
        "bernoulli",
        help="Bernoulli: pixels are drawn black or white anew at each step. Gaussian: grey values, learned spread.",
        advanced=True,
    )
    hidden_size: int = knob(400, 8, 2048, help="Width of each dense hidden layer.", unit="neurons", advanced=True)
    layers: int = knob(1, 1, 4, help="Dense hidden layers in each network (mlp body).", advanced=True)
    width: int = knob(16, 4, 128, help="Channels after the first halving (conv body).", unit="channels", advanced=True)
    learning_rate: float = knob(2e-3, 1e-6, 1, help="Size of Adam's steps at the start.", advanced=True, log=True)


def kl_to_standard_normal(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(mu, sigma²) || N(0, 1)) of each latent, appendix B of [1]: (mu² + sigma² - 1 - log sigma²) / 2.

    (N, L), (N, L) -> (N, L), nats.
    """
    return 0.5 * (mean.square() + log_var.exp() - 1 - log_var)


def binarize(x: Tensor, generator: torch.Generator) -> Tensor:
    """Draw each pixel black or white with its grey value as the probability. (N, C, H, W) in [0, 1] -> {0, 1}."""
    if x.device.type != "cpu":
        return (torch.rand(x.shape, generator=generator, device=x.device) < x).float()
    # Sixteen random bits a pixel are ten times as fast as torch.bernoulli here, and off by less than 2e-5.
    words = torch.empty((x.numel() + 3) // 4, dtype=torch.int64).random_(-(2**63), None, generator=generator)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    # x - u for a uniform u in [0, 1), rounded up: 1 where u < x, else 0; a comparison takes three times as long.
    return torch.add(x - 0.5, bits.float(), alpha=-(2**-16)).ceil_()


class BernoulliLogLikelihood(torch.autograd.Function):
    """See `bernoulli_log_likelihood`. Its slope in the logits is x - p: said here, autograd is spared six passes."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, x: Tensor) -> Tensor:
        p = logits.sigmoid()
        ctx.save_for_backward(p, x)
        # x l - softplus(l), in steps that are vectorised on a processor: F.softplus is five times slower. Of factors
        # that are at least 1/2, 32 are multiplied before the logarithm is taken: far from underflow.
        factors = 1 - p
        factors = torch.maximum(p, factors, out=factors).unflatten(-1, (math.gcd(p.shape[-1], 32), -1)).prod(-2)
        return torch.linalg.vecdot(logits, x) - logits.relu().sum(-1) + factors.log().sum(-1)

    @staticmethod
    @once_differentiable  # what is saved would give a wrong second derivative
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor, None]:
        p, x = ctx.saved_tensors
        return (x - p).mul_(slopes[0].unsqueeze(-1)), None


def bernoulli_log_likelihood(logits: Tensor, x: Tensor) -> Tensor:
    """Sum over pixels of x log p + (1 - x) log(1 - p), p = sigmoid(logits); appendix C.1 of [1].

    (..., N, D), (N, D) -> (..., N), nats.
    """
    return BernoulliLogLikelihood.apply(logits, x)


def gaussian_log_likelihood(mean: Tensor, log_sigma: Tensor, x: Tensor) -> Tensor:
    """Sum over pixels of log N(x; mean, sigma²), the constant included; appendix C.2 of [1], Eq. 4 of [3].

    (..., N, D), (), (N, D) -> (..., N), nats.
    """
    error = (x - mean) * torch.exp(-log_sigma)
    return -(0.5 * error.square() + log_sigma + 0.5 * math.log(2 * math.pi)).sum(-1)


class Model(nn.Module):
    LOSSES: ClassVar = dict.fromkeys(("negative_elbo", "reconstruction", "kl"), "nats per image")
    STEERABLE: ClassVar = ("beta",)  # read from self.config at each step, so that it can be turned while it trains

    def __init__(self, config: Config, shape: Shape, classes: int) -> None:
        super().__init__()
        self.config = config
        latent, hidden = config.latent_size, (config.hidden_size,) * config.layers
        if config.body == "conv":
            self.encoder = conv_encoder(shape, config.width, config.hidden_size, 2 * latent)
            self.decoder = conv_decoder(latent, config.hidden_size, config.width, shape)
        else:
            self.encoder = mlp_encoder(shape, hidden, 2 * latent)
            self.decoder = mlp_decoder(latent, hidden, shape)
        if config.likelihood == "gaussian":
            self.log_sigma = nn.Parameter(torch.zeros(()))

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"vae": adam(self.parameters(), self.config.learning_rate)}

    def mean_and_log_var(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """mu(x) and log sigma²(x). (N, C, H, W) -> (N, L), (N, L)."""
        mean, log_var = self.encoder(x).chunk(2, 1)
        return mean, log_var.clamp(-15, 10)  # exp of an early, wild log-variance would be infinite

    def posterior(self, x: Tensor) -> Normal:
        mean, log_var = self.mean_and_log_var(x)
        return Normal(mean, torch.exp(0.5 * log_var))

    def encode(self, x: Tensor) -> Tensor:
        return self.mean_and_log_var(x)[0]

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).sigmoid()

    def observe(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return binarize(x, generator) if self.config.likelihood == "bernoulli" else x

    def log_likelihood(self, observed: Tensor, z: Tensor, visible: Tensor | None = None) -> Tensor:
        """As the contract has it; and for k codes of each image, (N, C, H, W), (k, N, L) -> (k, N)."""
        drawn, observed = self.decoder(z.flatten(0, -2)).reshape(*z.shape[:-1], -1), observed.flatten(1)
        if visible is not None:
            drawn, observed = (each[..., visible.flatten()] for each in (drawn, observed))
        if self.config.likelihood == "bernoulli":
            return bernoulli_log_likelihood(drawn, observed)
        # The spread cannot fall below e^-5: on exact pixels the density would grow without end.
        return gaussian_log_likelihood(drawn.sigmoid(), self.log_sigma.clamp(min=-5), observed)

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        device = next(self.parameters()).device
        return self.decode(torch.randn(n, self.config.latent_size, generator=generator, device=device))

    def beta_at(self, step: int) -> float:
        """Beta after so many updates: it grows in a straight line while it warms up."""
        return self.config.beta * min(1.0, (step + 1) / max(1, self.config.beta_warm_up))

    def terms(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """What is minimised, of each image (N,), the curves, and one z drawn for each (N, L)."""
        k, beta = self.config.importance_samples if self.training else 1, self.beta_at(batch.step)
        observed = self.observe(batch.images, batch.generator)
        mean, log_var = self.mean_and_log_var(observed)
        z = mean + torch.exp(0.5 * log_var) * torch.randn(k, *mean.shape, generator=batch.generator, device=mean.device)
        tried = z.view_as(z)  # what is hooked below must not touch what others learn from z
        likelihood, kl = self.log_likelihood(observed, tried), kl_to_standard_normal(mean, log_var).sum(1)
        curves = self.named(-likelihood.mean(), kl.mean())
        if k == 1:
            return beta * kl - likelihood[0], curves, z[0]
        # With mu and sigma held, log q changes only through z; by [5] that is exact once the slope in each z_i, which
        # has its share w_i / sum w from the logarithm, is multiplied by 1 - beta + beta w_i / sum w.
        q = Normal(mean.detach(), torch.exp(0.5 * log_var.detach()))
        log_weights = likelihood + beta * (Normal(0.0, 1.0).log_prob(tried) - q.log_prob(tried)).sum(2)
        if z.requires_grad:
            share = log_weights.detach().softmax(0).unsqueeze(2)
            tried.register_hook(lambda slope: slope * (1 - beta + beta * share))
        return math.log(k) - log_weights.logsumexp(0), curves, z[0]

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        objective, curves, _ = self.terms(batch)
        update(objective.mean(), "vae")
        return curves

    def named(self, reconstruction: Tensor, kl: Tensor) -> dict[str, Tensor]:
        """The curves. -ELBO is always the one with beta = 1 and k = 1, so that all runs can be compared."""
        reconstruction, kl = reconstruction.detach(), kl.detach()
        return {"negative_elbo": reconstruction + kl, "reconstruction": reconstruction, "kl": kl}

    def views(self, batch: Batch) -> dict[str, Tensor]:
        return {"originals": batch.images, "reconstructions": self.decode(self.encode(batch.images))}
