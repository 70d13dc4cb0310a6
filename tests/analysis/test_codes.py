"""What codes are worth: bounds against closed forms, probes on codes made by hand, and who gets which number."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

from genmodels.analysis import codes
from genmodels.analysis.codes import OF_FACTORS, PROBES, code_metrics, left_out, log_mixture, marginal_kl, probe, shrunk
from genmodels.analysis.density import Points
from genmodels.config import UserError
from genmodels.data import load
from genmodels.data.dataset import Dataset
from genmodels.session import dataset_of

EVERYTHING = {*PROBES, "aggregate_mismatch", *OF_FACTORS}


def posteriors(n, seed, turn, shift, noise):
    """q(z|x) = N(x A + b, s²) of n images x ~ N(0, I), in float64: q(z) is then N(b, A'A + s²)."""
    x = torch.randn(n, len(turn), dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return Points(x @ turn + shift, noise.expand(n, -1))


def three(*of):
    return [posteriors(n, seed, *of) for seed, n in enumerate((2000, 400, 2000))]


def test_a_mixture_has_the_density_that_torch_gives_it(monkeypatch):
    monkeypatch.setattr(codes, "AT_ONCE", 3)
    generator = torch.Generator().manual_seed(0)
    z, means = (torch.randn(n, 4, dtype=torch.float64, generator=generator) for n in (7, 5))
    variances = torch.rand(5, 4, dtype=torch.float64, generator=generator) + 0.01
    known = MixtureSameFamily(Categorical(torch.ones(5)), Independent(Normal(means, variances.sqrt()), 1))
    torch.testing.assert_close(log_mixture(z, means, variances), known.log_prob(z))


@pytest.mark.parametrize("width", [0, 0.3, 1])
def test_a_smooth_mixture_keeps_mean_and_variance(width):
    raw = posteriors(50, 0, torch.tensor([[2.0, 1], [0, 3]]).double(), torch.tensor([1.0, 5]), torch.tensor([0.5, 2]))
    means, variances = shrunk(raw, width)
    torch.testing.assert_close(means.mean(0), raw.means.mean(0))
    whole = raw.means.var(0, correction=0) + raw.deviations[0] ** 2
    torch.testing.assert_close(means.var(0, correction=0) + variances.mean(0), whole)
    torch.testing.assert_close(shrunk(raw, 0)[0], raw.means)
    assert shrunk(raw, 1)[0].std(0).max() < 1e-12


def test_both_bounds_of_a_gaussian_are_near_the_closed_form():
    turn, shift = torch.tensor([[0.8, 0.5], [0, 0.6]]).double(), torch.tensor([0.5, -1]).double()
    noise = torch.tensor([0.4, 0.7]).double()
    q = MultivariateNormal(shift, turn.T @ turn + torch.diag(noise**2))
    exact = kl_divergence(q, MultivariateNormal(torch.zeros(2).double(), torch.eye(2).double())).item()
    found = marginal_kl(*three(turn, shift, noise))
    assert found.least == pytest.approx(exact, abs=0.06)
    assert found.most == pytest.approx(exact, abs=0.06)
    assert found.least < found.most


def test_what_posteriors_tell_beside_the_mismatch_is_the_known_information():
    turn, shift, noise = torch.eye(2).double() * 0.8, torch.zeros(2).double(), torch.full((2,), 0.6).double()
    learned, tuned, seen = three(turn, shift, noise)
    rate = kl_divergence(Normal(seen.means, seen.deviations), Normal(0.0, 1.0)).sum(1).mean().item()
    information = 0.5 * 2 * math.log(1 + 0.8**2 / 0.6**2)  # of a Gaussian channel: log(1 + signal over noise) / 2
    found = marginal_kl(learned, tuned, seen)
    assert rate - found.most == pytest.approx(information, abs=0.08)
    assert found.least == pytest.approx(0, abs=0.03), "0.8² + 0.6² = 1: q(z) is the prior"


def test_codes_all_in_one_place_miss_nothing_and_codes_far_apart_count_to_the_number_of_images():
    collapsed = three(torch.zeros(3, 3).double(), torch.zeros(3).double(), torch.ones(3).double())
    assert marginal_kl(*collapsed) == pytest.approx((0, 0), abs=1e-9)
    sharp = three(torch.eye(8).double(), torch.zeros(8).double(), torch.full((8,), 1e-3).double())
    rate = kl_divergence(Normal(sharp[2].means, sharp[2].deviations), Normal(0.0, 1.0)).sum(1).mean().item()
    found = marginal_kl(*sharp)
    assert found.most == pytest.approx(rate - math.log(2000), abs=0.2)
    assert found.least == pytest.approx(0, abs=0.2), "though q(z) is nearly the prior"


def test_probes_of_codes_made_by_hand():
    rng = np.random.default_rng(0)
    z = rng.normal(size=(600, 2))
    sides, corners = (z[:, 0] > 0).astype(int), (z[:, 0] * z[:, 1] > 0).astype(int)
    for truth, planes in ((sides, 1.0), (corners, 0.5)):
        linear, near = probe(z[:400], truth[:400], z[400:])
        assert (linear == truth[400:]).mean() == pytest.approx(planes, abs=0.12)
        assert (near == truth[400:]).mean() > 0.9
    assert (probe(z[:3], sides[:3], z)[1] == np.bincount(sides[:3]).argmax()).all(), "three have no fifth neighbour"
    large = probe(1e4 * z[:400], sides[:400], 1e4 * z[400:])
    assert (large[0] == sides[400:]).mean() > 0.95, "codes can be of any size"


class Reader(nn.Module):
    """Its code is the image."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def encode(self, x):
        return self.weight * x.flatten(1)


class Narrow(Reader):
    """A posterior round it, in a latent more that no image moves enough."""

    def posterior(self, x):
        means = torch.cat([self.encode(x), 1e-2 * x.flatten(1)[:, :1]], 1)
        return Normal(means, torch.full_like(means, 0.3))


@pytest.fixture(scope="module")
def known():
    """1,500 images of three pixels, each a factor of ten levels; the class is the first."""
    factors = np.random.default_rng(0).integers(10, size=(1500, 3))
    images = (25 * factors).astype(np.uint8).reshape(1500, 1, 1, 3)
    names = tuple("abc")
    labels = factors[:, 0].astype(np.int64)
    return Dataset("known", images, labels, tuple("0123456789"), (400, 550, 550), factors.astype(np.float32), names)


def test_factors_as_codes_score_as_the_factors_do(known):
    found = code_metrics(Reader(), known)
    assert set(found) == EVERYTHING - {"aggregate_mismatch"}
    for name in OF_FACTORS:
        assert found[name].value == pytest.approx(found[name].floor, abs=1e-6), name
        assert found[name].n == 1100
    assert found["mig"].value == pytest.approx(1, abs=0.03)
    assert min(found[name].value for name in OF_FACTORS if name.startswith(("dci", "factor"))) > 0.95
    assert found["linear_probe"].n == found["neighbour_probe"].n == 550
    assert found["neighbour_probe"].value > 0.5 > 0.2 > found["neighbour_probe"].floor
    often = np.bincount(known.labels[:400]).argmax()
    assert found["linear_probe"].floor == pytest.approx((known.labels[950:] == often).mean())


def test_a_latent_that_its_own_noise_drowns_stands_for_no_factor(known):
    found = code_metrics(Narrow(), known)
    assert set(found) == EVERYTHING
    assert found["mig"].value == pytest.approx(found["mig"].floor), "though its mean follows the first factor exactly"
    assert found["aggregate_mismatch"].n == 550
    bounds = found["aggregate_mismatch"].parts
    assert 1 < found["aggregate_mismatch"].value == bounds["at least"] < bounds["at most"], (
        "the mean is 0.45 and never below 0, the deviations are 0.3"
    )


def test_a_trained_vae_has_all_but_factors(trained):
    run = trained("vae")
    found = code_metrics(run.model, dataset_of(run.config))
    assert set(found) == EVERYTHING - set(OF_FACTORS)
    alike = {name: metric.unit for name, metric in code_metrics(Reader(), dataset_of(run.config)).items()}
    assert alike.items() <= {name: metric.unit for name, metric in found.items()}.items(), "so that they can be ranked"
    assert found["neighbour_probe"].value > 2 * found["neighbour_probe"].floor
    assert found == code_metrics(run.model, dataset_of(run.config)), "one seed, one result"


def test_who_has_no_such_number_says_why(known):
    def why(model, data):
        found = left_out(model, data)
        assert set(code_metrics(model, data)) == EVERYTHING - set(found)
        return found

    assert set(left_out(nn.Identity(), known)) == EVERYTHING
    noise = Narrow()
    noise.latent_size = 3
    assert "noise" in why(noise, known)["linear_probe"]
    assert "no prior" in left_out(Reader(), known)["aggregate_mismatch"]
    assert "one class" in left_out(Narrow(), replace(known, labels=np.zeros(1500, np.int64)))["linear_probe"]
    few = why(Narrow(), replace(known, sizes=(400, 10, 10)))
    assert set(few) == EVERYTHING
    assert "too few test images: 10" in few["linear_probe"]
    assert "too few validation images: 10" in few["aggregate_mismatch"]
    assert "1,000" in few["mig"]
    assert "not known" in why(Reader(), load("digits"))["mig"]
    same = known.factors.copy()
    same[:, 2] = 9 - same[:, 0]
    assert "'a' and 'c' go together" in why(Reader(), replace(known, factors=same))["sap"]
    assert "Fewer than two" in why(Reader(), replace(known, factors=same * [1, 0, 0]))["sap"]


def test_codes_that_are_not_numbers_are_refused(known):
    broken = Reader()
    broken.weight.data.fill_(torch.nan)
    with pytest.raises(UserError, match="not numbers"):
        code_metrics(broken, known)
