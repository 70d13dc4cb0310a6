"""The accounting of the flow: every Jacobian counted, nothing lost on the way, and probabilities that add up to one."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.analysis.metrics import bits_per_dimension, evaluate
from genmodels.families import flow
from genmodels.families.contract import Batch
from genmodels.training import Images, measure


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(*shape: int) -> Tensor:
    return torch.randint(256, shape, generator=seeded()) / 255


def wild(shape: tuple[int, int, int], **knobs: Any) -> flow.Model:
    """A small flow with weights that are far from those of the identity."""
    torch.manual_seed(0)
    model = flow.Model(flow.Config(couplings=4, hidden_size=16, width=8, **knobs), shape, 10).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=seeded(1)))
    return model


class EveryPictureAsLikely(nn.Module):
    """The density of v where the number k + u in (0, 256) is uniform: a logistic one."""

    def log_prob(self, v: Tensor) -> Tensor:
        v = flow.SPREAD * v.flatten(1)
        return (math.log(flow.SPREAD) + F.logsigmoid(v) + F.logsigmoid(-v)).sum(1)


def test_a_uniform_model_has_exactly_eight_bits_per_dimension() -> None:
    model: Any = flow.Model(flow.Config(dequantization="uniform"), (3, 8, 8), 10)
    model.flow = EveryPictureAsLikely()
    x = (255 * pictures(50, 3, 8, 8)).byte()
    assert bits_per_dimension(model, x) == pytest.approx(8, abs=1e-5)


def test_bits_per_dimension_is_among_the_numbers_of_a_run() -> None:
    model, images = wild((1, 8, 8)), Images((255 * pictures(50, 1, 8, 8)).byte(), torch.zeros(50, dtype=torch.long))
    found = evaluate(model, images)["bits_per_dimension"]
    assert found.value == pytest.approx(measure(model, images, 0)["bits_per_dimension"])
    assert found[1:] == ("bits, an upper bound by one draw of noise", "lower", 50, None, {})


@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
@pytest.mark.parametrize("body", ["mlp", "conv"])
def test_the_probabilities_of_all_pictures_of_two_pixels_add_up_to_one(body: str, dequantization: str) -> None:
    """One draw of noise gives each probability without bias, so that 65,536 of them add up closely."""
    model = wild((1, 1, 2), body=body, dequantization=dequantization)
    if dequantization == "variational":  # noise that reaches all of (0, 1), else a rare draw would weigh a lot
        wide = torch.tensor([0.0, 0.7]).view(1, 2, 1, 1)
        model.noise.register_forward_hook(lambda module, x, made: 0.3 * made + wide)
    every = torch.cartesian_prod(torch.arange(256), torch.arange(256)).view(-1, 1, 1, 2) / 255
    with torch.no_grad():
        assert model.log_prob(every, seeded()).exp().sum() == pytest.approx(1, abs=0.02)


def test_the_slope_of_the_logit_is_the_one_of_autograd_also_for_black_and_white() -> None:
    k = torch.tensor([0.0, 1, 100, 254, 255], dtype=torch.float64).view(1, 1, 1, 5)
    u = torch.tensor([1e-4, 0.2, 0.5, 0.9, 1 - 1e-4], dtype=torch.float64).view(1, 1, 1, 5).requires_grad_()
    v, log_slope = flow.logit_of_noisy(k, u.logit())
    assert torch.allclose(v, ((k + u) / 256).logit() / flow.SPREAD, atol=1e-10)
    (slope,) = torch.autograd.grad(v.sum(), u)
    assert log_slope.item() == pytest.approx(slope.log().sum().item(), abs=1e-10)


def test_the_density_of_the_learned_noise_is_the_one_of_torch_distributions() -> None:
    from torch.distributions import Normal, SigmoidTransform, TransformedDistribution

    model, x, e = wild((1, 8, 8)), pictures(4, 1, 8, 8), torch.randn(4, 1, 8, 8, generator=seeded())
    with torch.no_grad():
        h, entropy = model.dequantized(x, e)
        mean, log_sigma = model.noise(x).chunk(2, 1)
    theirs = TransformedDistribution(Normal(mean, log_sigma.exp()), SigmoidTransform()).log_prob(h.sigmoid())
    assert torch.allclose(entropy, -theirs.flatten(1).sum(1), atol=0.01)


@pytest.mark.parametrize("dequantization", ["uniform", "variational"])
@pytest.mark.parametrize(("body", "shape"), [("mlp", (1, 8, 8)), ("conv", (3, 8, 8)), ("conv", (1, 9, 9))])
def test_coding_loses_nothing(body: str, shape: tuple[int, int, int], dequantization: str) -> None:
    model, x = wild(shape, body=body, dequantization=dequantization), pictures(20, *shape)
    with torch.no_grad():
        z = model.encode(x)
        assert z.shape == (20, model.latent_size)
        assert torch.equal((255 * model.decode(z)).round(), (255 * x).round())
        assert torch.equal(model.encode(x), z), "without noise"


def test_both_losses_are_the_log_probability() -> None:
    model, x = wild((1, 8, 8)), pictures(10, 1, 8, 8)
    seen: list[Tensor] = []
    losses = model.step(Batch(x, torch.zeros(10), seeded(), 0), lambda loss, name: seen.append(loss))
    nats = -model.log_prob(x, seeded()).mean().item()
    assert losses["nll"].item() == seen[0].item() == pytest.approx(nats)
    assert losses["bits_per_dimension"].item() == pytest.approx(nats / (64 * math.log(2)))
