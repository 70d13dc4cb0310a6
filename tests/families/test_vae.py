"""Each equation of the VAE against an independent source, and each known mistake against a test that would catch it."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from genmodels.analysis.metrics import active_units, importance_sampled_nll
from genmodels.analysis.snapshot import codes
from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, build, vae
from genmodels.families.contract import Batch
from genmodels.training import Images, State, measure, place, train


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_kl_is_the_one_of_torch_distributions() -> None:
    mean, log_var = torch.randn(50, 7, generator=seeded()), torch.randn(50, 7, generator=seeded(1))
    oracle = kl_divergence(Normal(mean, torch.exp(0.5 * log_var)), Normal(0.0, 1.0))
    assert torch.allclose(vae.kl_to_standard_normal(mean, log_var), oracle, atol=1e-5)
    assert (vae.kl_to_standard_normal(mean, log_var) >= 0).all()


def test_bernoulli_is_the_one_of_torch_distributions_also_for_extreme_logits() -> None:
    logits = torch.randn(5, 20, 64, generator=seeded()) * 50
    x = (torch.rand(20, 64, generator=seeded(1)) < 0.5).float()
    oracle = Independent(Bernoulli(logits=logits), 1).log_prob(x)
    assert torch.allclose(vae.bernoulli_log_likelihood(logits, x), oracle, rtol=1e-5)


def test_the_slope_of_bernoulli_is_the_one_of_autograd() -> None:
    logits = torch.randn(2, 3, 16, generator=seeded(), dtype=torch.float64).mul(5).requires_grad_()
    x = (torch.rand(3, 16, generator=seeded(1)) < 0.5).double()
    assert torch.autograd.gradcheck(lambda logits: vae.bernoulli_log_likelihood(logits, x), logits)


def test_gaussian_is_the_one_of_torch_distributions_constant_included() -> None:
    mean, x = torch.rand(5, 20, 192, generator=seeded()), torch.rand(20, 192, generator=seeded(1))
    log_sigma = torch.tensor(-1.3)
    oracle = Independent(Normal(mean, log_sigma.exp()), 1).log_prob(x)
    assert torch.allclose(vae.gaussian_log_likelihood(mean, log_sigma, x), oracle, rtol=1e-5)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_only_visible_pixels_are_counted_where_that_is_asked(likelihood: str) -> None:
    model = vae.Model(vae.Config(likelihood=likelihood), (3, 8, 8), 10)
    observed, z = torch.rand(4, 3, 8, 8).round(), torch.randn(4, 16)
    parts = [torch.zeros(3, 8, 8, dtype=torch.bool) for _ in range(2)]
    parts[0][:, :, :5] = True
    parts[1] = ~parts[0]
    both = sum(model.log_likelihood(observed, z, visible) for visible in parts)
    assert torch.allclose(both, model.log_likelihood(observed, z), rtol=1e-5)
    assert not torch.allclose(model.log_likelihood(observed, z, parts[0]), both, rtol=1e-2)


def test_learned_sigma_finds_the_spread_of_the_data() -> None:
    """The maximum-likelihood sigma is the root mean squared error, Eq. 5 of the sigma-VAE paper."""
    log_sigma = torch.zeros((), requires_grad=True)
    x = 0.5 + 0.2 * torch.randn(4, 1, 64, 64, generator=seeded())
    optimizer = torch.optim.Adam([log_sigma], 0.05)
    for _ in range(300):
        optimizer.zero_grad()
        (-vae.gaussian_log_likelihood(torch.full_like(x, 0.5), log_sigma, x).mean() / 4096).backward()
        optimizer.step()
    assert log_sigma.exp().item() == pytest.approx((x - 0.5).square().mean().sqrt().item(), rel=0.01)


def test_binarization_has_the_grey_value_as_its_probability() -> None:
    grey = torch.linspace(0, 1, 256).view(1, 1, 1, 256)
    drawn = vae.binarize(grey.expand(20_000, 1, 1, 256), seeded())
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    error = (drawn.mean(0) - grey[0]).abs()
    assert error.max() < 5 * math.sqrt(0.25 / 20_000)
    assert drawn[..., 0].sum() == 0
    assert drawn[..., -1].min() == 1


def test_binarization_is_drawn_anew_and_follows_its_generator() -> None:
    x = torch.full((2, 1, 5, 5), 0.5)  # 25 pixels: not a whole number of random words
    one = seeded()
    first, second = vae.binarize(x, one), vae.binarize(x, one)
    assert not torch.equal(first, second)
    assert torch.equal(first, vae.binarize(x, seeded()))


def test_beta_is_used_and_warms_up() -> None:
    model = build("vae", vae.Config(beta=4, beta_warm_up=10), (1, 8, 8), 0)
    assert [model.beta_at(step) for step in (0, 4, 9, 1000)] == pytest.approx([0.4, 2.0, 4.0, 4.0])
    seen: list[torch.Tensor] = []
    batch = Batch(torch.rand(8, 1, 8, 8, generator=seeded()), torch.zeros(8, dtype=torch.long), seeded(), 1000)
    losses = model.step(batch, lambda loss, name: seen.append(loss))
    assert seen[0].item() == pytest.approx((losses["reconstruction"] + 4 * losses["kl"]).item(), rel=1e-5)
    assert losses["negative_elbo"].item() == pytest.approx((losses["reconstruction"] + losses["kl"]).item(), rel=1e-5)


def test_losses_sum_over_pixels_and_latents_and_average_over_the_batch() -> None:
    """A batch said twice has the same losses; twice the pixels have twice the reconstruction."""
    observed = (torch.rand(6, 64, generator=seeded()) < 0.5).float()
    logits = torch.randn(6, 64, generator=seeded(1))
    once = vae.bernoulli_log_likelihood(logits, observed)
    assert torch.allclose(vae.bernoulli_log_likelihood(logits.repeat(2, 1), observed.repeat(2, 1)), once.repeat(2))
    wide = vae.bernoulli_log_likelihood(torch.cat([logits, logits], 1), torch.cat([observed, observed], 1))
    assert torch.allclose(wide, 2 * once)


class MeanOverPixels(vae.Model):
    """The best-known mistake: reconstruction averaged over pixels beside a KL summed over latents."""

    def log_likelihood(self, observed: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return super().log_likelihood(observed, z) / observed[0].numel()


@pytest.mark.parametrize(("kind", "collapses"), [(vae.Model, False), (MeanOverPixels, True)])
def test_the_posterior_does_not_collapse_as_it_does_with_the_mean_over_pixels(
    kind: type[vae.Model], collapses: bool, digits: Images
) -> None:
    torch.manual_seed(0)
    model = kind(vae.Config(latent_size=8, hidden_size=64, learning_rate=3e-3), (1, 8, 8), 10)
    for _ in train(model, digits, Schedule(budget=500, unit="steps", precision="float32"), State.new(model, 0)):
        pass
    known = codes(model, digits.images)
    active = active_units(torch.from_numpy(known["means"]))
    kl = measure(model, digits, 500)["kl"]
    assert (active == 0) is collapses
    assert (kl < 0.1) is collapses


def test_wild_log_variances_stay_finite() -> None:
    model = build("vae", vae.Config(), (1, 8, 8), 0)
    with torch.no_grad():
        model.encoder[-2].bias.fill_(1e4)
    batch = Batch(torch.rand(8, 1, 8, 8, generator=seeded()), torch.zeros(8, dtype=torch.long), seeded(), 0)
    assert all(loss.isfinite() for loss in model.step(batch, lambda loss, name: None).values())


class LinearGaussian(nn.Module):
    """z ~ N(0, I), x = W z + b + sigma noise: its likelihood and posterior are known exactly."""

    def __init__(self) -> None:
        super().__init__()
        self.w = torch.randn(6, 2, generator=seeded()) * 0.3
        self.b, self.sigma = torch.rand(6, generator=seeded(1)), 0.5

    def posterior(self, x: torch.Tensor) -> Normal:
        """A good proposal, wider than the exact posterior and without its correlation."""
        precision = torch.eye(2) + self.w.T @ self.w / self.sigma**2
        mean = (x.flatten(1) - self.b) @ self.w @ precision.inverse() / self.sigma**2
        return Normal(mean, 1.3 * precision.inverse().diagonal().sqrt().expand_as(mean))

    def observe(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x

    def log_likelihood(self, observed: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return Independent(Normal(z @ self.w.T + self.b, self.sigma), 1).log_prob(observed.flatten(1))

    def exact_nll(self, x: torch.Tensor) -> float:
        covariance = self.w @ self.w.T + self.sigma**2 * torch.eye(6)
        return -torch.distributions.MultivariateNormal(self.b, covariance).log_prob(x.flatten(1)).mean().item()


def test_importance_sampled_nll_is_exact_on_a_model_of_known_likelihood() -> None:
    model = LinearGaussian()
    images = torch.randint(0, 256, (40, 1, 2, 3), generator=seeded(2), dtype=torch.uint8)
    nll, size = importance_sampled_nll(model, images, draws=2000)
    assert nll == pytest.approx(model.exact_nll(images / 255), abs=0.01)
    assert 1000 < size < 2000
    assert importance_sampled_nll(model, images, draws=1)[0] > nll


class KnownLikelihood(vae.Model):
    """The VAE's objective over the model of known likelihood: encoder and likelihood are those of LinearGaussian."""

    def __init__(self, config: vae.Config) -> None:
        nn.Module.__init__(self)
        self.config, self.known = config, LinearGaussian()

    def observe(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return x

    def mean_and_log_var(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        q = self.known.posterior(x)
        return q.mean, 2 * q.stddev.log()

    def log_likelihood(self, observed: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.known.log_likelihood(observed, z)


def test_the_bound_grows_from_the_elbo_to_the_likelihood_with_the_importance_samples() -> None:
    """Theorem 1 of Burda et al., on a model whose likelihood and ELBO are known in closed form."""
    x = torch.rand(5, 1, 2, 3, generator=seeded(2))
    known, images = LinearGaussian(), x.repeat(4000, 1, 1, 1)
    batch = Batch(images, torch.zeros(len(images)), seeded(), 0)
    bounds = {k: KnownLikelihood(vae.Config(importance_samples=k)).terms(batch)[0].mean() for k in (1, 2, 10, 100)}
    q, covered = known.posterior(x), (known.w.square() / known.sigma**2).sum(0)
    at_the_mean = known.log_likelihood(x, q.mean) - 0.5 * (q.variance * covered).sum(1)
    elbo = at_the_mean - kl_divergence(q, Normal(0.0, 1.0)).sum(1)
    assert bounds[1].item() == pytest.approx(-elbo.mean().item(), abs=0.02)
    assert bounds[1] > bounds[2] > bounds[10] > bounds[100]
    assert bounds[100].item() == pytest.approx(known.exact_nll(x), abs=0.01)
    assert bounds[1] > known.exact_nll(x) + 0.05


def tried(model: vae.Model, batch: Batch, seed: int) -> torch.Tensor:
    """The mean of log 1/k sum w by torch.distributions, from the noise that `terms` draws; slopes by autograd alone."""
    k, beta, generator = model.config.importance_samples, model.config.beta, seeded(seed)
    x = model.observe(batch.images, generator)
    q, prior = model.posterior(x), Normal(0.0, 1.0)
    z = q.mean + q.stddev * torch.randn(k, *q.mean.shape, generator=generator)
    drawn = Bernoulli(logits=torch.stack([model.decoder(each) for each in z]))
    log_p = Independent(drawn, 3).log_prob(x.expand(k, *x.shape))
    log_w = log_p + beta * (prior.log_prob(z) - q.log_prob(z)).sum(2)
    return torch.log(log_w.double().exp().mean(0)).mean()


@pytest.mark.parametrize("beta", [1.0, 0.5, 3.0])
def test_the_doubly_reparameterized_slope_is_that_of_the_bound_with_less_noise(beta: float) -> None:
    """Same value and, for the decoder, same slopes as by autograd; for the encoder the same in the mean."""
    model = build("vae", vae.Config(latent_size=2, hidden_size=8, importance_samples=3, beta=beta), (1, 8, 8), 0)
    images = torch.rand(1, 1, 8, 8, generator=seeded()).round().repeat(500, 1, 1, 1)
    ends = [model.encoder[-1].weight, model.decoder[0].weight]
    ours, plain = [], []
    for seed in range(40):
        batch = Batch(images, torch.zeros(500), seeded(seed), 0)
        objective, oracle = model.terms(batch)[0].mean(), -tried(model, batch, seed)
        assert objective.item() == pytest.approx(oracle.item(), rel=1e-5)
        ours.append([slope.flatten() for slope in torch.autograd.grad(objective, ends)])
        plain.append([slope.flatten() for slope in torch.autograd.grad(oracle, ends)])
    (encoder, decoder), (encoder_plain, decoder_plain) = (
        map(torch.stack, zip(*each, strict=True)) for each in (ours, plain)
    )
    assert torch.allclose(decoder, decoder_plain, rtol=1e-3, atol=1e-4)
    difference = encoder - encoder_plain
    assert (difference.mean(0).abs() <= 5 * difference.std(0) / math.sqrt(40) + 1e-5).all()
    assert difference.std(0).max() > 1e-3  # so that the line above says something
    if beta == 1:
        assert encoder.var(0).sum() < encoder_plain.var(0).sum()


def test_the_curves_are_of_the_plain_elbo_whatever_is_minimised(digits: Images) -> None:
    known = measured = None
    for k in (1, 20):
        model = build("vae", vae.Config(importance_samples=k), (1, 8, 8), 10)
        known, measured = measured, measure(model, digits, 0)
    assert measured == pytest.approx(known, abs=0.1)


def test_a_class_head_learns_as_much_beside_the_importance_weighted_bound() -> None:
    """The factor on the slopes of the bound must not reach those of what else reads z."""
    config = FAMILIES["multi-stage-vae"].Config(importance_samples=5, class_weight=7)
    model: Any = build("multi-stage-vae", config, (1, 8, 8), 10)
    images, labels, seen = torch.rand(10, 1, 8, 8, generator=seeded()), torch.arange(10), []
    model.step(Batch(images, labels, seeded(), 0), lambda loss, name: seen.append(loss))
    seen.append(model.terms(Batch(images, labels, seeded(), 0))[0].mean())
    generator = seeded()
    q = model.posterior(model.observe(images, generator))
    z = q.mean + q.stddev * torch.randn(5, *q.mean.shape, generator=generator)[0]
    seen.append(7 * nn.functional.cross_entropy(model.classifier(z), labels))
    both, bound, head = (torch.autograd.grad(loss, model.encoder[-1].weight)[0] for loss in seen)
    assert torch.allclose(both - bound, head, atol=1e-4)
    assert head.abs().max() > 1e-3


@pytest.mark.parametrize("family", ["vae", "multi-stage-vae", "debiasing-vae"])
@pytest.mark.parametrize("samples", [1, 3])
def test_colour_images_in_the_layout_of_convolutions_are_learned(family: str, samples: int) -> None:
    config = FAMILIES[family].Config(body="conv", importance_samples=samples, hidden_size=16, width=4)
    model: Any = place(build(family, config, (3, 12, 12), 3), torch.device("cpu"))
    images = Images(torch.randint(0, 256, (40, 3, 12, 12), dtype=torch.uint8), torch.arange(40) % 3)
    for step in train(model, images, Schedule(budget=2, unit="steps", batch_size=20), State.new(model, 0)):
        assert math.isfinite(step.losses["negative_elbo"].item())
    assert math.isfinite(importance_sampled_nll(model, images.images, draws=4)[0])


def test_nll_is_below_the_negative_elbo(digits: Images) -> None:
    model: Any = build("vae", vae.Config(latent_size=4), (1, 8, 8), 0)
    for _ in train(model, digits, Schedule(budget=200, unit="steps"), State.new(model, 0)):
        pass
    some = Images(digits.images[:200], digits.labels[:200])
    assert importance_sampled_nll(model, some.images, draws=200)[0] < measure(model, some, 200)["negative_elbo"]


def test_classes_are_needed_only_where_they_are_used() -> None:
    build("vae", vae.Config(), (1, 8, 8), 0)
    with pytest.raises(UserError, match="two classes or more"):
        build("multi-stage-vae", FAMILIES["multi-stage-vae"].Config(), (1, 8, 8), 0)
