"""Each term of the VAE-GAN against an independent source, and each known mistake against a test that would catch it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Independent, Normal, kl_divergence

from genmodels.analysis.metrics import evaluate
from genmodels.analysis.snapshot import codes
from genmodels.families import FAMILIES, build, vae_gan
from genmodels.families.contract import Batch, abilities
from genmodels.training import Images, State

SHAPE = (1, 8, 8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(**knobs: Any) -> Any:
    return build("vae-gan", FAMILIES["vae-gan"].Config.of({"latent_size": 4, "width": 8} | knobs), SHAPE, 10)


def batch_of(n: int = 8) -> Batch:
    return Batch(torch.rand(n, *SHAPE, generator=seeded(1)), torch.arange(n) % 10, seeded(), 0)


def test_reconstruction_is_a_gaussian_but_for_its_constant() -> None:
    seen, copied = torch.randn(5, 48, generator=seeded()), torch.randn(5, 48, generator=seeded(1))
    sigma = (seen.square().sum(1).mean() / (2 * 64)).sqrt()
    oracle = -Independent(Normal(copied, sigma), 1).log_prob(seen)
    constant = -Normal(0.0, sigma).log_prob(torch.tensor(0.0)) * 48
    assert vae_gan.feature_reconstruction(seen, copied, 64).item() == pytest.approx((oracle - constant).mean().item())


def test_reconstruction_means_the_same_whatever_the_number_and_scale_of_features() -> None:
    """A copy that shows nothing costs a nat a pixel; a sum or a mean over features would depend on the width of D."""
    seen, copied = torch.randn(5, 48, generator=seeded()), torch.randn(5, 48, generator=seeded(1))
    once = vae_gan.feature_reconstruction(seen, copied, 64).item()
    assert vae_gan.feature_reconstruction(3 * seen, 3 * copied, 64).item() == pytest.approx(once, rel=1e-5)
    twice = vae_gan.feature_reconstruction(seen.repeat(1, 2), copied.repeat(1, 2), 64).item()
    assert twice == pytest.approx(once, rel=1e-5)
    assert vae_gan.feature_reconstruction(seen, 0 * copied, 64).item() == pytest.approx(64, rel=1e-5)
    assert vae_gan.feature_reconstruction(0 * seen, 0 * copied, 64).item() == 0


def test_each_network_minimises_its_own_sum() -> None:
    """Algorithm 1: KL + R, gamma R - L_GAN, L_GAN. Recomputed by hand from the networks, nobody having moved."""
    model, batch, found = model_of(gamma=0.7, spectral_norm=False), batch_of(), {}
    losses = model.step(batch, lambda loss, name: found.update({name: loss.detach()}))
    q = model.posterior(batch.images)
    noise, prior = torch.randn(16, 4, generator=seeded()).chunk(2)
    made = model.generator(torch.cat([q.mean + q.stddev * noise, prior]))
    see, bce = model.discriminator, F.binary_cross_entropy_with_logits
    fooled = bce(see(made), torch.ones(16))
    f, copied = see.features(2 * batch.images - 1), see.features(2 * made[:8] - 1)
    r = 64 * (f - copied).square().sum() / f.square().sum()
    kl = kl_divergence(q, Normal(0.0, 1.0)).sum(1).mean()
    told_apart = bce(see(batch.images), torch.ones(8)) + bce(see(made), torch.zeros(16))
    wanted = {"encoder": kl + r, "decoder": 0.7 * r + fooled, "discriminator": told_apart}
    assert {name: loss.item() for name, loss in found.items()} == pytest.approx(
        {name: loss.item() for name, loss in wanted.items()}, rel=1e-5
    )
    assert losses["feature_reconstruction"].item() == pytest.approx(r.item(), rel=1e-5)
    assert losses["kl"].item() == pytest.approx(kl.item(), rel=1e-5)


def test_the_decoder_is_taught_to_fool_and_the_discriminator_not_to_be_fooled() -> None:
    """The sign of the decoder's GAN term, a known mistake: with gamma = 0 a step raises D's score of what is made."""
    model = model_of(gamma=0, spectral_norm=False, learning_rate=1e-3)
    state, prior = State.new(model, 0), torch.randn(64, 4, generator=seeded(5))

    def score() -> float:
        return model.discriminator(model.generator(prior)).mean().item()

    for name, sign in (("decoder", 1), ("discriminator", -1)):
        before = score()
        for _ in range(5):
            model.zero_grad()
            model.step(
                batch_of(), lambda loss, called, name=name: descend(state, loss, name) if called == name else None
            )
        assert sign * (score() - before) > 0


def descend(state: State, loss: Tensor, name: str) -> None:
    optimizer = state.optimizers[name]
    loss.backward(inputs=[p for group in optimizer.param_groups for p in group["params"]])
    optimizer.step()


def test_it_has_a_posterior_and_no_likelihood(digits: Images) -> None:
    """Its likelihood is of features, which change while it learns: an NLL in nats of pixels would mean nothing."""
    model = model_of()
    assert {"encode", "posterior", "decode", "sample"} <= set(abilities(model))
    assert "log_likelihood" not in abilities(model)
    found = evaluate(model, Images(digits.images[:100], digits.labels[:100]))
    assert {"reconstruction_error", "active_units"} <= set(found)
    assert not {"nll", "negative_elbo", "effective_sample_size"} & set(found)
    assert set(codes(model, digits.images[:10])) == {"means", "log_vars"}
