"""Each score against a closed form or another library, and what all of them promise."""

import math
import zlib

import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist, mahalanobis
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from genmodels import data
from genmodels.analysis import outliers
from genmodels.analysis.outliers import SCORES, Known, able, aurocs, complexity, ink, scores, separation
from genmodels.config import UserError
from genmodels.families import FAMILIES, build
from genmodels.runs import find
from genmodels.training import evaluating

SIDE, LATENT, SIGMA = 3, 2, 0.5


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, *shape), np.uint8)


class LinearGaussian(nn.Module):
    """x = W z + SIGMA e, the columns of W orthogonal: then the posterior has independent dimensions, and so everything
    has a closed form. off, wide: how far the encoder's posterior is from the true one, and how many times wider."""

    def __init__(self, off: float = 0.0, wide: float = 1.0) -> None:
        super().__init__()
        columns = torch.linalg.qr(torch.randn(SIDE * SIDE, LATENT, generator=draw()))[0]
        self.w = nn.Parameter(columns * torch.tensor([1.0, 2.0]))
        self.log_sigma = nn.Parameter(torch.tensor(math.log(SIGMA)))
        self.off, self.wide = off, wide

    def true_posterior(self, x: Tensor) -> Normal:
        variance = 1 / (1 + self.w.square().sum(0) / SIGMA**2)
        return Normal(variance * (x.flatten(1) @ self.w) / SIGMA**2, variance.sqrt().expand(len(x), LATENT))

    def posterior(self, x: Tensor) -> Normal:
        true = self.true_posterior(x)
        return Normal(true.mean + self.off, true.stddev * self.wide)

    def encode(self, x: Tensor) -> Tensor:
        return self.posterior(x).mean

    def observe(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x

    def log_likelihood(self, observed: Tensor, z: Tensor, visible: Tensor | None = None) -> Tensor:
        return Normal(z @ self.w.T, SIGMA).log_prob(observed.flatten(1)).sum(1)

    def exact(self, x: Tensor) -> Tensor:
        covariance = self.w @ self.w.T + SIGMA**2 * torch.eye(SIDE * SIDE)
        return MultivariateNormal(torch.zeros(SIDE * SIDE), covariance).log_prob(x.flatten(1))


@pytest.fixture
def x() -> Tensor:
    return torch.rand(4, 1, SIDE, SIDE, generator=draw(1))


@pytest.mark.parametrize(("off", "wide"), [(0.0, 1.0), (0.5, 1.0), (0.3, 2.0)])
def test_regret_is_what_the_encoder_lacks_of_the_true_posterior(off: float, wide: float, x: Tensor) -> None:
    # ELBO = log p(x) - KL(q || p(z|x)), so the best posterior gains that KL.
    model = LinearGaussian(off, wide)
    with evaluating(model):
        exact = kl_divergence(model.posterior(x), model.true_posterior(x)).sum(1)
        found = outliers.likelihood_regret(model, x, draw(), steps=150, draws=4000)
    assert (found >= 0).all()
    assert torch.allclose(found, exact, rtol=0.03, atol=0.03)
    assert all(parameter.grad is None for parameter in model.parameters()), "the model is shared"


def test_elbo_and_corrected_likelihood_in_closed_form(x: Tensor) -> None:
    model = LinearGaussian()
    with evaluating(model):
        exact = model.exact(x)
        mean, log_var = outliers.encoded(model, x)
        bound = outliers.elbo(model, x, mean, log_var, torch.randn(20_000, *mean.shape, generator=draw()))
        assert torch.allclose(bound, exact, atol=0.05)
        # Under the true posterior every importance weight is p(x) itself; a level of 256 is 1/255 wide.
        found = outliers.corrected_likelihood(model, x, draw())
    levels = (x * 255).round().byte().numpy()
    assert torch.allclose(found, -exact + 9 * math.log(255) - torch.from_numpy(complexity(levels)).float(), atol=1e-3)


def test_complexity_grows_from_one_grey_to_noise() -> None:
    even, stripes = np.full((1, 1, 28, 28), 90, np.uint8), np.zeros((1, 1, 28, 28), np.uint8)
    stripes[..., ::3] = 200
    found = complexity(np.concatenate([even, stripes, noise(1, 1, 28, 28)]))
    assert found[0] < found[1] < found[2]
    assert found[2] >= 28 * 28 * 8 * math.log(2), "noise cannot be packed"
    assert found[0] == pytest.approx(8 * math.log(2) * len(zlib.compress(bytes([90] * 784), 9)))


def test_ink_is_counted_exactly() -> None:
    images = np.zeros((3, 3, 8, 8), np.uint8)
    images[1, :, :4, :4] = 255
    images[2, 0, :4, :4] = 255  # red alone is a third of white
    assert scores(nn.Identity(), images, "ink", draw()) == pytest.approx([0, 16, 16 / 3])
    assert ink(torch.full((1, 1, 8, 8), 0.5)).item() == 32


class Pixels(nn.Module):
    """The code is the image."""

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_distances_as_scipy_measures_them() -> None:
    train, images = noise(300, 1, 2, 3), noise(305, 1, 2, 3)[300:]
    known = Known.of(Pixels(), train)
    codes, own = (each.reshape(len(each), -1) / 255 for each in (train, images))
    inverse = np.linalg.inv(np.cov(codes, rowvar=False))
    wanted = [mahalanobis(each, codes.mean(0), inverse) for each in own]
    assert scores(Pixels(), images, "mahalanobis", draw(), known) == pytest.approx(wanted, rel=1e-4)
    tenth = np.sort(cdist(own, codes), 1)[:, outliers.NEIGHBOUR - 1]
    assert scores(Pixels(), images, "neighbours", draw(), known) == pytest.approx(tenth, rel=1e-4)


def test_codes_that_fill_a_line_alone_have_a_distance_along_it() -> None:
    line = np.arange(40.0)[:, None] * np.array([[1.0, 1.0]])
    assert Known(line).precision.shape == (2, 2)
    along = np.array([1.0, 1.0])
    assert along @ Known(line).precision @ along == pytest.approx(1 / np.arange(40.0).var(ddof=1))
    assert Known(line[:, :1]).precision.shape == (1, 1)


def test_auroc_is_the_share_of_pairs() -> None:
    usual, odd = np.arange(30.0), np.arange(100.0, 140.0)
    assert separation(usual, odd).auroc == 1
    assert separation(odd, usual).auroc == 0
    usual, odd = np.random.default_rng(0).normal(size=(2, 50)) + np.array([[0], [0.7]])
    found = separation(usual, odd)
    assert found.auroc == pytest.approx((odd[:, None] > usual).mean())
    assert np.trapezoid(found.true, found.false) == pytest.approx(found.auroc)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_gives_the_scores_that_it_is_able_to(family: str) -> None:
    shape, entry = (1, 8, 8), FAMILIES[family]
    if entry.learns_from != "images":
        assert able(entry.Model) == ["ink"]
        return
    model, images = build(family, entry.Config(), shape, 3, 0).eval(), noise(30, *shape)
    names = able(model)
    assert names == able(entry.Model)
    assert ("regret" in names) == ("elbo" in names) == ("log_likelihood" in entry.abilities)
    assert ("likelihood" in names) == ("log_prob" in entry.abilities)
    known = Known.of(model, images) if "mahalanobis" in names else None
    for name in names:
        found = scores(model, images, name, draw(), known)
        assert found.shape == (30,)
        assert np.isfinite(found).all()
        assert np.array_equal(found, scores(model, images, name, draw(), known)), "one seed, one result"


def test_scores_find_what_a_trained_model_has_never_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "AT_ONCE", 50)
    model, digits = find("vae-digits").model, data.load("digits")
    test = digits.images[digits.span("test")]
    found = aurocs(model, digits.images[digits.span("train")], test[:100], noise(100, 1, 8, 8))
    assert set(found) == set(able(model))
    assert min(found[name] for name in ("regret", "corrected", "reconstruction", "elbo")) > 0.95


def test_what_cannot_be_scored_is_a_sentence() -> None:
    images = noise(30, 1, 8, 8)
    with pytest.raises(UserError, match="it can tell: ink"):
        scores(nn.Identity(), images, "regret", draw())
    with pytest.raises(UserError, match="codes of training images, and none"):
        scores(Pixels(), images, "mahalanobis", draw())
    with pytest.raises(UserError, match="needs 10 of them"):
        Known.of(Pixels(), images[:5])
    with pytest.raises(UserError, match="Too few images"):
        separation(np.arange(5.0), np.arange(40.0))
    with pytest.raises(UserError, match="another size: 1×8×8, 1×8×8, 1×28×28"):
        aurocs(find("vae-digits").model, images, images, noise(30, 1, 28, 28))
    broken = build("autoencoder", FAMILIES["autoencoder"].Config(), (1, 8, 8), 3, 0)
    nn.init.constant_(next(broken.parameters()), math.nan)
    with pytest.raises(UserError, match="not a number"):
        scores(broken, images, "reconstruction", draw())


def test_every_score_tells_its_unit_and_what_it_is() -> None:
    for score in SCORES.values():
        assert score.title[0].isupper()
        assert score.unit
        assert score.help.endswith(".")
