"""Where codes lie: a known law is found again, every Jacobian counts, one seed is one result, files are checked."""

import math
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.distributions import Normal

from genmodels.analysis import density, learned_prior
from genmodels.analysis.density import Points, fit, gaussian, mean_log_prob, new_flow
from genmodels.analysis.learned_prior import LearnedPrior, learn, load, save
from genmodels.config import UserError


def banana(n: int, seed: int) -> tuple[Tensor, Tensor]:
    """x1 ~ N(3, 2), x2 | x1 ~ N(x1² / 4, 1/2): points (n, 2) and their true log p, (n,)."""
    generator = torch.Generator().manual_seed(seed)
    x = 3 + 2 * torch.randn(n, generator=generator)
    y = x**2 / 4 + 0.5 * torch.randn(n, generator=generator)
    return torch.stack([x, y], 1), Normal(3, 2).log_prob(x) + Normal(x**2 / 4, 0.5).log_prob(y)


def done(path: Generator[Any, None, LearnedPrior]) -> LearnedPrior:
    while True:
        try:
            next(path)
        except StopIteration as end:
            return end.value


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A flow that is learned in a moment."""
    monkeypatch.setattr(learned_prior, "LAYERS", 4)
    monkeypatch.setattr(learned_prior, "HIDDEN", 24)


def test_a_known_law_is_found_again(small: None) -> None:
    points, _ = banana(6000, 0)
    prior = done(learn(Points(points), steps=400))
    others, truth = banana(4000, 1)
    found = mean_log_prob(prior.flow, others)
    assert float(truth.mean()) - 0.08 < found < float(truth.mean()) + 0.02, "nobody can know more than the truth"
    assert prior.log_likelihood > prior.normal + 0.4
    assert prior.held_out == 600
    drawn = prior.from_flow(np.random.default_rng(0).standard_normal((4000, 2)).astype(np.float32))
    assert drawn.mean(0) == pytest.approx(others.mean(0).numpy(), abs=0.15)
    assert np.corrcoef(drawn[:, 0] ** 2, drawn[:, 1])[0, 1] > 0.95, "bent as the law is"


def test_the_normal_is_the_likeliest_one_and_draws_as_it_should(small: None) -> None:
    points, _ = banana(3000, 0)
    prior = done(learn(Points(points), steps=2))
    drawn = prior.from_normal(np.random.default_rng(0).standard_normal((20_000, 2)).astype(np.float32))
    assert np.cov(drawn.T) == pytest.approx(np.cov(points.numpy().T), rel=0.1)
    fitted = gaussian(points)
    wider = torch.distributions.MultivariateNormal(fitted.mean, 1.1 * fitted.covariance_matrix)
    assert fitted.log_prob(points.double()).mean() > wider.log_prob(points.double()).mean()


def test_the_jacobian_of_the_standardisation_counts() -> None:
    points = torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    scale = torch.tensor([10.0, 0.1, 5.0])
    near, far = (mean_log_prob(new_flow(each, 2, 8, 0), each) for each in (points, points * scale + 7))
    assert far == pytest.approx(near - float(scale.log().sum()), abs=1e-3)
    assert near == pytest.approx(-1.5 * math.log(2 * math.pi * math.e), abs=0.05)


def test_with_a_posterior_draws_are_learned_from_and_the_standard_normal_compared(small: None) -> None:
    means = 0.6 * torch.randn(3000, 2, generator=torch.Generator().manual_seed(0))
    prior = done(learn(Points(means, torch.full_like(means, 0.8)), steps=60))  # in all N(0, I)
    entropy = -math.log(2 * math.pi * math.e)
    assert prior.normal == pytest.approx(entropy, abs=0.1)
    assert prior.log_likelihood == pytest.approx(entropy, abs=0.1)
    narrow = done(learn(Points(means, torch.full_like(means, 1e-3)), steps=60))
    assert narrow.log_likelihood > narrow.normal + 0.2, "here the posteriors leave a gap, and it is seen"


def test_one_seed_is_one_result_and_the_best_is_kept(small: None) -> None:
    points, _ = banana(500, 0)
    first, again, other = (done(learn(Points(points), seed, 40)) for seed in (3, 3, 4))
    noise = np.ones((1, 2), np.float32)
    assert np.array_equal(first.from_flow(noise), again.from_flow(noise))
    assert not np.array_equal(first.from_flow(noise), other.from_flow(noise))
    flow, held_out = new_flow(points[:40], 4, 64, 0), points[400:]
    told = list(fit(flow, Points(points[:40]), held_out, steps=400, rate=1e-2, seed=0))
    assert told[-1].share == 1
    assert told[-1].step < 400, "of forty points it soon knows too much, and stops"
    assert mean_log_prob(flow, held_out) == pytest.approx(max(each.held_out for each in told))
    assert len(told) <= density.LOOKS + 1


class Coder(nn.Module):
    """As much of a model as a prior needs to know."""

    latent_size = 2


@pytest.fixture
def saved(small: None, tmp_path: Path) -> Path:
    path = tmp_path / "prior.safetensors"
    save(done(learn(Points(banana(300, 0)[0]), steps=4)), path, 17)
    return path


def test_what_is_saved_comes_back(saved: Path) -> None:
    prior, noise = done(learn(Points(banana(300, 0)[0]), steps=4)), np.ones((3, 2), np.float32)
    back = load(saved, Coder(), 17)
    assert back is not None
    assert np.array_equal(back.from_flow(noise), prior.from_flow(noise))
    assert np.array_equal(back.from_normal(noise), prior.from_normal(noise))
    assert (back.held_out, back.log_likelihood, back.normal) == (prior.held_out, prior.log_likelihood, prior.normal)
    assert load(saved.with_name("none"), Coder(), 17) is None


def test_a_stale_or_damaged_file_is_one_sentence(saved: Path) -> None:
    with pytest.raises(UserError, match="has learned since"):
        load(saved, Coder(), 18)
    whole = saved.read_bytes()
    for broken in (whole[:-9], b"", b"no tensors at all", whole.replace(b"held_out", b"hold_out")):
        saved.write_bytes(broken)
        with pytest.raises(UserError, match="is damaged: learn again"):
            load(saved, Coder(), 17)
    saved.write_bytes(whole)
    tensors = load_file(saved)
    for change in ({"mean": torch.full((2,), torch.nan)}, {"mean": torch.zeros(3)}, {"more": torch.zeros(1)}):
        save_file(tensors | change, saved, {"about": '{"stamp": 17, "held_out": 1, "log_likelihood": 0, "normal": 0}'})
        with pytest.raises(UserError, match="is damaged"):
            load(saved, Coder(), 17)


def test_too_few_codes_one_number_and_no_numbers_are_sentences() -> None:
    with pytest.raises(UserError, match="too few"):
        done(learn(Points(torch.zeros(3, 2))))
    with pytest.raises(UserError, match="at least two"):
        done(learn(Points(torch.randn(100, 1))))
    with pytest.raises(UserError, match="not numbers"):
        done(learn(Points(torch.full((100, 2), torch.nan))))


def test_a_number_that_never_changes_is_no_trouble(small: None) -> None:
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 0.0, 1.0])
    prior = done(learn(Points(points), steps=4))
    assert np.isfinite(prior.from_flow(np.ones((2, 3), np.float32))).all()
    assert math.isfinite(prior.log_likelihood)
    assert math.isfinite(prior.normal)
