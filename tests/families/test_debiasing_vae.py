"""The debiasing VAE: its densities, weights, draws and indicator, and that it can be left and taken up again."""

import itertools

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from genmodels.config import Schedule, UserError
from genmodels.families import build, debiasing_vae
from genmodels.families.contract import Batch
from genmodels.families.debiasing_vae import draw_weights, histogram_density
from genmodels.training import Images, State, evaluating, order, scaled, train


def new_model(**knobs: object) -> debiasing_vae.Model:
    small = {"latent_size": 4, "hidden_size": 32, "head_size": 16}
    return build("debiasing-vae", debiasing_vae.Config(**small | knobs), (1, 8, 8), 10)


def batch(labels: torch.Tensor) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.rand(len(labels), 1, 8, 8, generator=generator), labels, generator, 0)


@pytest.mark.parametrize("bins", [2, 7, 50])
def test_densities_are_those_of_numpy(bins: int) -> None:
    values = torch.cat([torch.randn(500), 3 + torch.rand(100)]).double()
    density, edges = np.histogram(values.numpy(), bins, density=True)
    place = np.clip(np.searchsorted(edges, values.numpy(), side="right") - 1, 0, bins - 1)
    np.testing.assert_allclose(histogram_density(values, bins).numpy(), density[place], rtol=1e-9)


def test_values_that_are_all_the_same_have_a_density_too() -> None:
    assert histogram_density(torch.full((5,), 2.0), 10).tolist() == [1.0] * 5


def test_weights_of_a_mixture_are_known() -> None:
    """On two points of one axis, 90 of 100 values at one and 10 at the other: two bins that hold all."""
    means = torch.zeros(100, 1)
    means[90:] = 1.0
    width = 1 / np.sqrt(0.9 * 0.1) / 2  # of a bin, in standard deviations
    common, rare = 1 / (0.9 / width + 0.5), 1 / (0.1 / width + 0.5)
    expected = np.r_[np.full(90, common), np.full(10, rare)]
    weights = draw_weights(means, 0.5, 2)
    np.testing.assert_allclose(weights.numpy(), expected / expected.sum(), rtol=1e-6)
    # A second axis on which the same images stand apart is the same axis, and one on which nothing moves is none.
    np.testing.assert_allclose(draw_weights(means.repeat(1, 2), 0.5, 2).numpy(), weights.numpy(), rtol=1e-6)
    still = torch.cat([means, 1e-3 * torch.randn(100, 1)], 1)
    np.testing.assert_allclose(draw_weights(still, 0.5, 2).numpy(), weights.numpy(), rtol=1e-3)


def test_independent_axes_multiply_and_smoothing_evens_out() -> None:
    one, two = (torch.tensor([0.0] * 90 + [1.0] * 10).repeat(10), torch.arange(1000) // 100 == 0)
    means = torch.stack([one, 3 * two.float()], 1)  # of two variances, or any axis would be a principal one
    first, second, both = (draw_weights(each, 0.1, 4) for each in (means[:, :1], means[:, 1:], means))
    np.testing.assert_allclose((first * second / (first * second).sum()).numpy(), both.numpy(), rtol=1e-6)
    assert draw_weights(means, 1e6, 4).numpy() == pytest.approx(1 / 1000, rel=1e-4)
    assert draw_weights(torch.zeros(7, 3), 0.5, 4).tolist() == pytest.approx([1 / 7] * 7), "a collapsed code"


def test_the_indicator_is_of_the_vae_part_and_never_of_the_cross_entropy() -> None:
    """(CE + I VAE), not (CE I + VAE): against the terms of each image, written out."""
    labels = torch.arange(10).repeat(3)
    for indicator in (-1, 4):
        model = new_model(indicator=indicator, class_weight=7.0, beta=2.0)
        objective, _, z = model.terms(batch(labels))
        entropy = -F.log_softmax(model.classifier(z), 1)[torch.arange(30), labels]
        wanted = torch.ones(30) if indicator == -1 else (labels == 4).float()
        expected = sum(7 * entropy[i] + wanted[i] * objective[i] for i in range(30)) / 30
        seen: list[torch.Tensor] = []
        model.step(batch(labels), lambda loss, name: seen.append(loss))  # noqa: B023
        assert seen[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_images_outside_the_indicator_teach_the_class_but_not_the_decoder() -> None:
    model = new_model(indicator=4)
    model.step(batch(torch.zeros(10).long()), lambda loss, name: loss.backward())
    assert all(p.grad is None or p.grad.abs().sum() == 0 for p in model.decoder.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.classifier.parameters())
    assert all(p.grad.abs().sum() > 0 for p in model.encoder.parameters())


def drawn_by(model: debiasing_vae.Model, digits: Images, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """The weights and the draw of a second pass."""
    state = State.new(model, seed)
    plan = Schedule(budget=2, unit="epochs", batch_size=128, precision="float32")
    for step in train(model, digits, plan, state):
        if step.number == len(digits.images) // 128:
            with evaluating(model):
                weights = model.draw_weights([scaled(digits.images)], digits.labels)
            assert state.drawn is None, "the first pass is an ordinary one"
    assert weights is not None
    assert state.drawn is not None
    return weights, state.drawn[1]


def test_draws_follow_the_weights(digits: Images) -> None:
    weights, rows = drawn_by(new_model(smoothing=0.1), digits)
    assert len(rows) == len(digits.images)
    bands = weights.argsort().argsort() * 8 // len(weights)  # eight bands of images, from the least likely
    expected = torch.zeros(8, dtype=torch.float64).index_add_(0, bands, weights) * len(rows)
    assert expected[7] > 2 * expected[0]
    seen = torch.bincount(bands[rows], minlength=8)
    assert stats.chisquare(seen.numpy(), expected.numpy()).pvalue > 0.001


def test_an_indicator_leaves_each_kind_its_share_and_draws_the_others_alike(digits: Images) -> None:
    model = new_model(indicator=3)
    with evaluating(model):
        weights = model.draw_weights([scaled(digits.images)], digits.labels)
    mine = digits.labels == 3
    assert weights[mine].sum().item() == pytest.approx(mine.double().mean().item())
    assert weights[~mine].numpy() == pytest.approx(1 / len(mine))
    assert weights[mine].std() > 0


def test_without_resampling_a_pass_is_the_ordinary_one(digits: Images) -> None:
    seen: dict[bool, list[list[int]]] = {}
    for resampling in (False, True):
        model = new_model(resampling=resampling)
        step, labels = model.step, seen.setdefault(resampling, [])
        model.step = lambda batch, update, step=step, labels=labels: (  # type: ignore[method-assign]
            labels.append(batch.labels.tolist()), step(batch, update),
        )[1]  # fmt: skip
        list(train(model, digits, Schedule(budget=22, unit="steps", batch_size=128), State.new(model, 5)))
    per_epoch = len(digits.images) // 128
    assert seen[False][:per_epoch] == seen[True][:per_epoch]
    assert seen[False][per_epoch:] != seen[True][per_epoch:]
    assert seen[False][per_epoch] == digits.labels[order(len(digits.images), 5, 1)[:128]].tolist()


@pytest.mark.parametrize("left_at", [3, 15, 22])  # within the first pass, within the second, and between two
def test_leaving_within_a_draw_and_coming_back_changes_nothing(left_at: int, digits: Images) -> None:
    plan = Schedule(budget=30, unit="steps", precision="float32")
    whole, parts, again = new_model(), new_model(), new_model()
    assert len(digits.images) // plan.batch_size == 11
    expected = [step.losses for step in train(whole, digits, plan, State.new(whole, 0))]
    state, resumed = State.new(parts, 0), State.new(again, 0)
    got = [step.losses for step in itertools.islice(train(parts, digits, plan, state), left_at)]
    resumed.load(state.save())
    got += [step.losses for step in train(again, digits, plan, resumed)]
    assert [{k: v.item() for k, v in losses.items()} for losses in got] == [
        {k: v.item() for k, v in losses.items()} for losses in expected
    ]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_other_families_save_no_draw(digits: Images) -> None:
    for name, kept in (("vae", False), ("debiasing-vae", True)):
        model = build(name, debiasing_vae.Config(hidden_size=8) if kept else None or _vae(), (1, 8, 8), 10)
        state = State.new(model, 0)
        list(train(model, digits, Schedule(budget=12, unit="steps"), state))
        assert ("drawn" in state.save()) is kept


def _vae():
    from genmodels.families import vae

    return vae.Config(hidden_size=8)


def test_codes_that_are_no_numbers_are_left_for_the_loss_to_say(digits: Images) -> None:
    model = new_model()
    with torch.no_grad():
        model.encoder[-1].bias.fill_(float("nan"))
    with evaluating(model):
        assert model.draw_weights([scaled(digits.images)], digits.labels) is None


@pytest.mark.parametrize(("classes", "indicator", "words"), [(1, -1, "two classes"), (10, 10, "from 0 to 9")])
def test_what_it_cannot_learn_is_refused_in_a_sentence(classes: int, indicator: int, words: str) -> None:
    with pytest.raises(UserError, match=words):
        build("debiasing-vae", debiasing_vae.Config(indicator=indicator), (1, 8, 8), classes)
