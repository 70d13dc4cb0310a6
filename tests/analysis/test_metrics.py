"""-ELBO in its terms against torch.distributions and the family's own losses, copies, and what a family cannot have."""

import math

import numpy as np
import pytest
import torch
from torch.distributions import Bernoulli, Independent, Normal, kl_divergence

from genmodels import data
from genmodels.analysis import metrics
from genmodels.analysis.distances import sharpness
from genmodels.analysis.metrics import Metric, active_units, bits_per_dimension, evaluate, left_out, negative_elbo
from genmodels.config import Config
from genmodels.families import FAMILIES, build, vae
from genmodels.training import Images, measure, scaled


@pytest.fixture(scope="module")
def model() -> vae.Model:
    return build("vae", vae.Config(latent_size=5, hidden_size=16), (1, 8, 8), 10)


def test_an_entry_has_parts_only_where_there_are_any() -> None:
    plain = Metric(1.0, "nats", "lower", 3)
    assert plain.entry() == {"value": 1.0, "unit": "nats", "better": "lower", "n": 3, "floor": None}
    assert plain._replace(parts={"a": 2.0}).entry() == plain.entry() | {"parts": {"a": 2.0}}


def test_the_terms_of_the_elbo_are_those_of_torch_distributions_and_of_the_losses(model, digits: Images) -> None:
    some = digits.at(slice(0, 700))
    found = negative_elbo(model, some.images, seed=3)
    assert found.kl.shape == (5,)
    losses = measure(model, some, 0, seed=3)
    assert found.kl.sum().item() == pytest.approx(losses["kl"], rel=1e-5)
    assert found.reconstruction == pytest.approx(losses["reconstruction"], rel=1e-5)
    generator = torch.Generator().manual_seed(3)
    few = some.images[:100]
    with torch.no_grad():
        observed = model.observe(scaled(few), generator)
        q = model.posterior(observed)
        z = q.mean + q.stddev * torch.randn(q.mean.shape, generator=generator)
        likelihood = Independent(Bernoulli(logits=model.decoder(z)), 3).log_prob(observed)
        kl = kl_divergence(q, Normal(0.0, 1.0)).mean(0)
    again = negative_elbo(model, few, seed=3)
    assert again.kl.numpy() == pytest.approx(kl.numpy(), rel=1e-5)
    assert again.reconstruction == pytest.approx(-likelihood.mean().item(), rel=1e-5)


def test_the_kl_says_what_each_dimension_has_of_it(model, digits: Images) -> None:
    found = evaluate(model, digits.at(slice(0, 60)), draws=2, nll_images=5)
    assert list(found["kl"].parts) == ["1", "2", "3", "4", "5"]
    assert sum(found["kl"].parts.values()) == pytest.approx(found["kl"].value)
    assert found["negative_elbo"].value == pytest.approx(found["kl"].value + found["reconstruction"].value)
    dead = build("vae", vae.Config(latent_size=3, hidden_size=16), (1, 8, 8), 10)
    with torch.no_grad():  # q(z|x) = N((0, 2, x's mean), 1): KL 0, 2 and something
        dead.encoder[-1].weight.zero_()
        dead.encoder[-1].bias.copy_(torch.tensor([0.0, 2, 1, 0, 0, 0]))
    assert list(evaluate(dead, digits.at(slice(0, 60)), draws=2, nll_images=5)["kl"].parts.values()) == pytest.approx(
        [0, 2, 0.5], abs=1e-5
    )


def test_units_that_follow_the_image_are_active() -> None:
    means = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.2, 0.05])
    assert active_units(means) == 2, "variances 1, 0.04 and 0.0025 against 0.01"


def test_bits_of_a_model_that_knows_nothing_and_of_one_that_knows_the_picture() -> None:
    class Even(torch.nn.Module):
        def log_prob(self, x, generator):
            return torch.full((len(x),), -x[0].numel() * math.log(256))

    images = torch.zeros(4, 3, 8, 8, dtype=torch.uint8)
    assert bits_per_dimension(Even(), images) == pytest.approx(8)
    Even.log_prob = lambda self, x, generator: torch.zeros(len(x))
    assert bits_per_dimension(Even(), images) == 0


class Exact(torch.nn.Module):
    """Encodes an image as its pixels, and decodes it at half the contrast."""

    def encode(self, x):
        return x.flatten(1)

    def decode(self, z):
        return z.view(-1, 1, 8, 8) / 2


def test_copies_are_compared_in_error_and_sharpness(digits: Images) -> None:
    test = digits.at(slice(0, 200))
    found = metrics.copy_metrics(Exact(), test)
    x = scaled(test.images)
    assert found["reconstruction_error"].value == pytest.approx((x / 2).square().mean().item(), rel=1e-5)
    assert found["reconstruction_sharpness"].floor == pytest.approx(sharpness(x).mean().item(), rel=1e-5)
    assert found["reconstruction_sharpness"].value == pytest.approx(sharpness(x).mean().item() / 4, rel=1e-5)


@pytest.mark.parametrize(
    ("family", "absent", "sentence"),
    [
        ("vae", "bits_per_dimension", "Only a flow"),
        ("vae", "accuracy", "does not tell classes"),
        ("gan", "nll", "no likelihood"),
        ("gan", "reconstruction_error", "does not draw an image again"),
        ("gan", "active_units", "no posterior"),
        ("autoencoder", "sharpness", "makes no images of its own"),
        ("flow", "kl", "no likelihood p(x | z)"),
        ("vae", "mig", "true factors"),
        ("gan", "linear_probe", "codes"),
    ],
)
def test_what_a_family_or_its_data_cannot_have_is_said_in_a_sentence(family, absent, sentence) -> None:
    config: Config = FAMILIES[family].Config()
    told = left_out(build(family, config, (1, 8, 8), 10), data.load("digits"), 500)
    assert sentence in told[absent]
    assert all(why.endswith(".") for why in told.values())


@pytest.mark.parametrize("family", ["vae", "gan", "autoencoder"])
def test_what_is_not_left_out_is_measured_and_the_other_way_round(family: str) -> None:
    loaded = data.load("digits")
    small = {"latent_size": 4}
    model = build(family, FAMILIES[family].Config.of(small), (1, 8, 8), 10)
    found = evaluate(model, Images.of(loaded, "test"), draws=2, nll_images=5, dataset=loaded, samples=100)
    told = left_out(model, loaded, 100)
    assert not set(found) & set(told)
    everything = {
        *("reconstruction_error", "reconstruction_sharpness", "negative_elbo", "reconstruction", "kl", "nll"),
        *("effective_sample_size", "bits_per_dimension", "active_units", "accuracy", "aggregate_mismatch"),
        *("frechet_distance", "kernel_distance", "precision", "recall", "density", "coverage", "class_histogram"),
        *("missing_classes", "largest_class_share", "sharpness", "memorised", "linear_probe", "neighbour_probe"),
        *("mig", "sap", "dci_disentanglement", "dci_completeness", "dci_informativeness", "factor_vae"),
    }
    assert set(found) | set(told) == everything


def test_of_few_images_the_nll_is_of_the_very_draws_that_the_bound_is_of(model, digits: Images) -> None:
    """Each is drawn black and white several times: of one draw alone the NLL can lie above the bound by chance."""
    for count in (40, 170, 300):
        found = evaluate(model, digits.at(slice(0, count)), draws=300, nll_images=500)
        assert found["nll"].value < found["negative_elbo"].value
        assert found["nll"].n == count
    few = digits.at(slice(0, 40))

    def spread(nll_images: int) -> float:
        found = [evaluate(model, few, draws=1, nll_images=nll_images, seed=seed) for seed in range(8)]
        return float(np.std([each["negative_elbo"].value for each in found]))

    assert spread(500) < spread(1) / 2


def test_a_probability_and_a_density_are_no_two_values_of_one_figure(digits: Images) -> None:
    units = []
    for law in ("bernoulli", "gaussian"):
        other = build("vae", vae.Config(latent_size=2, hidden_size=8, likelihood=law), (1, 8, 8), 10)
        found = evaluate(other, digits.at(slice(0, 30)), draws=2, nll_images=5)
        units.append({found[name].unit for name in ("negative_elbo", "reconstruction", "nll")})
    assert not units[0] & units[1]
