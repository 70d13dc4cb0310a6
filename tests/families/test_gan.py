"""Each equation of the GAN against an independent source, and each known mistake against a test that would catch it."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.config import Schedule
from genmodels.families import FAMILIES, build, gan
from genmodels.families.contract import Batch
from genmodels.training import Images, State, evaluating, train, updater

SHAPE = (1, 8, 8)
LOSSES = ("non-saturating", "minimax", "hinge", "least-squares")
KINDS = ("gan", "conditional-gan", "vae-gan")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(name: str = "gan", **knobs: Any) -> Any:
    return build(name, FAMILIES[name].Config.of({"latent_size": 4, "width": 8} | knobs), SHAPE, 10)


def batch_of(n: int = 16, step: int = 0) -> Batch:
    return Batch(torch.rand(n, *SHAPE, generator=seeded(1)), torch.arange(n) % 10, seeded(), step)


# --- the losses -----------------------------------------------------------------------------------------------------


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


REAL, FAKE = np.array([2.0, -0.5, 0.0]), np.array([-1.0, 0.3, 3.0])


@pytest.mark.parametrize(
    ("loss", "of_d", "of_g"),
    [
        (
            "non-saturating",
            -np.log(sigmoid(REAL)).mean() - np.log(1 - sigmoid(FAKE)).mean(),
            -np.log(sigmoid(FAKE)).mean(),
        ),
        (
            "minimax",
            -np.log(sigmoid(REAL)).mean() - np.log(1 - sigmoid(FAKE)).mean(),
            np.log(1 - sigmoid(FAKE)).mean(),
        ),
        ("hinge", (0 + 1.5 + 1) / 3 + (0 + 1.3 + 4) / 3, -(-1 + 0.3 + 3) / 3),
        ("least-squares", (1 + 2.25 + 1) / 6 + (1 + 0.09 + 9) / 6, (4 + 0.49 + 4) / 6),
    ],
)
def test_losses_are_the_published_ones(loss: gan.Loss, of_d: float, of_g: float) -> None:
    real, fake = torch.from_numpy(REAL), torch.from_numpy(FAKE)
    assert gan.discriminator_loss(loss, real, fake).item() == pytest.approx(of_d)
    assert gan.generator_loss(loss, fake).item() == pytest.approx(of_g)


def test_log_losses_are_binary_cross_entropies_also_where_d_is_sure() -> None:
    """-log(sigmoid(s) + eps), the known mistake, stops growing near s = -18, and its slope with it."""
    scores = torch.tensor([-100.0, -20.0, 0.0, 20.0, 100.0], requires_grad=True)
    ones, zeros = torch.ones(5), torch.zeros(5)
    bce = F.binary_cross_entropy_with_logits
    for real, fake in ((scores, scores.flip(0)), (scores, scores)):
        wanted = bce(real, ones) + bce(fake, zeros)
        assert torch.allclose(gan.discriminator_loss("non-saturating", real, fake), wanted)
    assert torch.allclose(gan.generator_loss("non-saturating", scores), bce(scores, ones))
    assert torch.allclose(gan.generator_loss("minimax", scores), -bce(scores, zeros))
    assert gan.generator_loss("non-saturating", scores[:1]).item() == pytest.approx(100)
    (slope,) = torch.autograd.grad(gan.generator_loss("non-saturating", scores), scores)
    assert slope[:2].tolist() == pytest.approx([-0.2, -0.2])


def test_minimax_stops_teaching_where_d_is_sure_and_non_saturating_does_not() -> None:
    scores = torch.full((4,), -30.0, requires_grad=True)  # D takes all of them for fakes
    (flat,) = torch.autograd.grad(gan.generator_loss("minimax", scores), scores)
    (steep,) = torch.autograd.grad(gan.generator_loss("non-saturating", scores), scores)
    assert flat.abs().max() < 1e-10
    assert steep.tolist() == pytest.approx([-0.25] * 4)


def test_the_best_d_is_the_share_of_real_and_its_loss_the_jensen_shannon_divergence() -> None:
    """Proposition 1 and Theorem 1 of Goodfellow et al.: D* = p / (p + q), loss 2 log 2 - 2 JSD(p, q)."""
    p, q = torch.tensor([0.5, 0.3, 0.15, 0.05]), torch.tensor([0.1, 0.2, 0.3, 0.4])
    counts_p, counts_q = (1000 * p).round().long(), (1000 * q).round().long()
    scores = torch.zeros(4, requires_grad=True)  # one score for each of four possible images

    def loss() -> Tensor:
        real, fake = scores.repeat_interleave(counts_p), scores.repeat_interleave(counts_q)
        return gan.discriminator_loss("non-saturating", real, fake)

    optimizer = torch.optim.LBFGS([scores], lr=1, max_iter=100, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = loss()
        found.backward()
        return found

    optimizer.step(closure)
    middle = (p + q) / 2
    jsd = 0.5 * ((p * (p / middle).log()).sum() + (q * (q / middle).log()).sum())
    assert torch.allclose(scores.detach().sigmoid(), p / (p + q), atol=1e-3)
    assert loss().item() == pytest.approx(2 * math.log(2) - 2 * jsd.item(), abs=1e-5)


def test_belief_is_what_d_takes_for_the_probability_of_real() -> None:
    scores = torch.tensor([-3.0, 0.0, 0.5, 4.0])
    assert gan.belief("hinge", scores).item() == pytest.approx(sigmoid(scores.numpy()).mean())
    assert gan.belief("least-squares", scores).item() == pytest.approx((0 + 0 + 0.5 + 1) / 4)


# --- the networks ---------------------------------------------------------------------------------------------------


def singular_values(discriminator: nn.Module) -> list[float]:
    layers = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.Embedding)]
    assert len(layers) >= 3
    return [np.linalg.svd(m.weight.detach().flatten(1).numpy(), compute_uv=False)[0] for m in layers]


@pytest.mark.parametrize("name", KINDS)
def test_spectral_norm_keeps_the_largest_singular_value_at_one(name: str, digits: Images) -> None:
    model = model_of(name)
    free = singular_values(model_of(name, spectral_norm=False).discriminator)
    for _ in train(model, digits, Schedule(budget=40, unit="steps", precision="float32"), State.new(model, 0)):
        pass
    with torch.no_grad():
        for _ in range(50):  # one step of the power iteration each: while weights move it is a little behind
            model.discriminator(batch_of().images, *([batch_of().labels] if name == "conditional-gan" else []))
    with evaluating(model):
        assert singular_values(model.discriminator) == pytest.approx([1] * len(free), abs=0.05)
    assert all(abs(value - 1) > 0.05 for value in free), "and without it they are something else"


def test_batch_normalisation_has_the_usual_eps_and_momentum() -> None:
    """BatchNorm2d(channels, 0.8), the known mistake, sets eps to 0.8 where momentum was meant."""
    norms = [module for module in model_of().modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    assert all(norm.eps == 1e-5 and norm.momentum == 0.1 for norm in norms)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in model_of().discriminator.modules())


@pytest.mark.parametrize("name", KINDS)
def test_d_judges_each_image_alone(name: str) -> None:
    model, batch = model_of(name), batch_of()
    labels = (batch.labels,) if name == "conditional-gan" else ()
    model.discriminator.eval()  # or the weights are normalised a little further at each look
    together = model.discriminator(batch.images, *labels)
    alone = model.discriminator(batch.images[3:4], *(some[3:4] for some in labels))
    assert torch.allclose(together[3:4], alone, atol=1e-5)


@pytest.mark.parametrize("name", KINDS)
def test_at_test_time_an_image_is_the_same_alone_and_in_a_batch(name: str, digits: Images) -> None:
    model = model_of(name)
    for _ in train(model, digits, Schedule(budget=5, unit="steps"), State.new(model, 0)):
        pass
    z = torch.randn(6, 4, generator=seeded()) * 3
    with evaluating(model):
        together = model.decode(z)
        alone = model.decode(z[:1])  # of class 0 where classes are asked for: the first of each in turn
    assert torch.allclose(together[:1], alone, atol=1e-5)


# --- who learns when ------------------------------------------------------------------------------------------------


def networks(model: Any) -> dict[str, nn.Module]:
    """By the name of its optimiser."""
    return {name: getattr(model, "generator" if name == "decoder" else name) for name in model.optimizers()}


def learns(network: nn.Module) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in network.parameters()]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", KINDS)
def test_an_update_moves_one_network_and_gives_no_other_a_gradient(name: str, loss: str) -> None:
    model = model_of(name, loss=loss)
    state = State.new(model, 0)
    update, seen = updater(state, Schedule(budget=1, unit="steps")), []

    def watched(loss: Tensor, optimizer: str) -> None:
        model.zero_grad(set_to_none=True)
        before = {each: learns(network) for each, network in networks(model).items()}
        update(loss, optimizer)
        for each, network in networks(model).items():
            moved = any(not torch.equal(a, b) for a, b in zip(before[each], network.parameters(), strict=True))
            touched = any(parameter.grad is not None for parameter in network.parameters())
            assert moved == touched == (each == optimizer), f"{optimizer} was taught, and {each}: {moved}, {touched}"
        seen.append(optimizer)

    model.step(batch_of(), watched)
    assert sorted(seen) == sorted(networks(model))


@pytest.mark.parametrize("name", KINDS)
def test_d_moves_k_times_for_each_move_of_the_others(name: str) -> None:
    model, moves = model_of(name, discriminator_steps=3), Counter[str]()
    for step in range(7):
        model.step(batch_of(step=step), lambda loss, optimizer: moves.update([optimizer]))
    assert moves == {each: 7 if each == "discriminator" else 2 for each in networks(model)}


def test_g_learns_from_d_as_it_is_after_its_move() -> None:
    """G's gradient is that of the loss on D's new scores: neither cut off nor of the D before."""
    model = model_of(spectral_norm=False)
    state = State.new(model, 0)
    real_update = updater(state, Schedule(budget=1, unit="steps"))
    found: list[Tensor] = []

    def update(loss: Tensor, optimizer: str) -> None:
        if optimizer == "generator":
            found.append(loss.detach())
        real_update(loss, optimizer)

    twin = model_of(spectral_norm=False)
    model.step(batch_of(), update)
    made = twin.generator(twin.noise(16, seeded()))
    wanted = F.binary_cross_entropy_with_logits(model.discriminator(made), torch.ones(16))
    assert found[0].item() == pytest.approx(wanted.item(), rel=1e-6)
    wanted.backward()
    theirs = torch.cat([p.grad.flatten() for p in model.generator.parameters()])
    mine = torch.cat([p.grad.flatten() for p in twin.generator.parameters()])
    assert torch.allclose(theirs, mine, atol=1e-6)
    assert mine.abs().max() > 1e-4


# --- the average ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_the_average_follows_the_generator_and_is_what_one_samples_from(name: str, digits: Images) -> None:
    model = model_of(name, average=0.5)
    follows: dict[str, Tensor] = {}
    for number, _ in enumerate(
        train(model, digits, Schedule(budget=12, unit="steps", precision="float32"), State.new(model, 0))
    ):
        decay = min(0.5, (1 + number) / (10 + number)) if number else 0  # the first is a copy
        for key, value in model.generator.state_dict().items():
            old = follows.get(key, value)
            follows[key] = decay * old + (1 - decay) * value if value.is_floating_point() else value.clone()
    average = model.average.module.state_dict()
    assert all(torch.allclose(value.float(), follows[key].float(), atol=1e-5) for key, value in average.items())
    with evaluating(model):
        sample = model.sample(5, generator=seeded())
        extra = (torch.arange(5),) if name == "conditional-gan" else ()
        z = model.noise(5, seeded())
        assert torch.equal(sample, model.average.module(z, *extra))
        assert not torch.allclose(sample, model.generator(z, *extra), atol=1e-6)


# --- saved and taken up again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS)
def test_taken_up_again_it_goes_on_bit_for_bit(name: str, digits: Images) -> None:
    plan = Schedule(budget=12, unit="steps", precision="float32")
    whole = model_of(name)
    for _ in train(whole, digits, plan, State.new(whole, 0)):
        pass
    part = model_of(name)
    state = State.new(part, 0)
    for step in train(part, digits, plan, state):
        if step.number == 5:
            break
    saved = {key: value.clone() if isinstance(value, Tensor) else value for key, value in state.save().items()}
    again = build(name, part.config, SHAPE, 10, seed=9)
    resumed = State.new(again, 0)
    resumed.load(saved)
    for _ in train(again, digits, plan, resumed):
        pass
    ours, theirs = again.state_dict(), whole.state_dict()
    assert {"average.n_averaged", "discriminator.score.parametrizations.weight.0._u"} <= set(ours)
    assert [key for key in theirs if not torch.equal(ours[key], theirs[key])] == []
