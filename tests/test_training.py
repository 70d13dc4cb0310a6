"""The loop: order, budget, learning rate, clipping, divergence, and that it can be left and taken up again."""

import itertools
import math

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from genmodels import training
from genmodels.config import Schedule, UserError
from genmodels.families import autoencoder, build, vae
from genmodels.families.contract import Batch
from genmodels.nn import moving_average
from genmodels.training import DivergedError, Images, State, measure, order, share_done, total_steps, train


def new_vae(**knobs: object) -> vae.Model:
    return build("vae", vae.Config(latent_size=4, hidden_size=32, **knobs), (1, 8, 8), 10)


def steps_of(model: nn.Module, digits: Images, state: State, **schedule: object) -> list[dict[str, float]]:
    plan = Schedule(**{"unit": "steps", "precision": "float32"} | schedule)
    return [{k: v.item() for k, v in step.losses.items()} for step in train(model, digits, plan, state)]


def test_scaled_images_keep_their_values() -> None:
    images = torch.arange(256, dtype=torch.uint8).view(4, 1, 8, 8)
    assert torch.allclose(training.scaled(images), images / 255)


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own() -> None:
    first, second = order(100, seed=0, epoch=0), order(100, seed=0, epoch=1)
    assert sorted(first.tolist()) == list(range(100))
    assert first.tolist() != second.tolist() != order(100, seed=1, epoch=1).tolist()
    assert first.tolist() == order(100, seed=0, epoch=0).tolist()


def test_every_image_is_shown_in_an_epoch() -> None:
    shown: list[int] = []

    class Spy(nn.Module):
        LOSSES = {"mean": "of nothing"}  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(()))

        def optimizers(self) -> dict[str, torch.optim.Optimizer]:
            return {"spy": torch.optim.SGD(self.parameters(), 0.1)}

        def step(self, batch: Batch, update: training.Update) -> dict[str, torch.Tensor]:
            shown.extend(batch.labels.tolist())
            update(self.weight.square(), "spy")
            return {"mean": self.weight.detach()}

    data = Images(torch.zeros(64, 1, 8, 8, dtype=torch.uint8), torch.arange(64))
    model = Spy()
    list(train(model, data, Schedule(budget=2, unit="epochs", batch_size=16), State.new(model, 0)))
    assert sorted(shown[:64]) == sorted(shown[64:]) == list(range(64))
    assert shown[:64] != shown[64:]


@pytest.mark.parametrize(
    ("unit", "budget", "expected"), [("steps", 7, 7), ("epochs", 2, 14), ("epochs", 0.5, 4), ("minutes", 1, None)]
)
def test_budget(unit: str, budget: float, expected: int | None) -> None:
    schedule = Schedule(budget=budget, unit=unit, batch_size=10)
    assert total_steps(schedule, 75) == expected
    assert share_done(schedule, 75, 0, 0.0) == 0
    assert share_done(schedule, 75, 10**9, 10.0**9) == 1


def test_a_budget_in_minutes_ends_in_time(digits: Images) -> None:
    model = new_vae()
    state = State.new(model, 0)
    steps_of(model, digits, state, budget=0.01, unit="minutes")
    assert state.seconds >= 0.6
    assert share_done(Schedule(budget=0.01, unit="minutes"), 1, state.step, state.seconds) == 1


def test_fewer_images_than_a_batch_are_one_batch(digits: Images) -> None:
    few = Images(digits.images[:5], digits.labels[:5])
    model = new_vae()
    assert len(steps_of(model, few, State.new(model, 0), budget=3)) == 3


def test_the_learning_rate_follows_the_cosine_and_can_stay(digits: Images) -> None:
    for decay, expected in (
        ("cosine", [0.5 * (1 + math.cos(math.pi * k / 8)) for k in range(8)]),
        ("constant", [1] * 8),
    ):
        model = new_vae(learning_rate=0.01)
        state = State.new(model, 0)
        plan = Schedule(budget=8, unit="steps", decay=decay)
        rates = [state.optimizers["vae"].param_groups[0]["lr"] for _ in train(model, digits, plan, state)]
        assert rates == pytest.approx([0.01 * factor for factor in expected])


def test_clipping_bounds_the_gradient(digits: Images) -> None:
    model = new_vae()
    state = State.new(model, 0)
    for _ in train(model, digits, Schedule(budget=3, unit="steps", clip_norm=0.5), state):
        norm = torch.stack([p.grad.norm() for p in model.parameters() if p.grad is not None]).norm()
        assert norm <= 0.5001


def test_leaving_and_coming_back_changes_nothing(digits: Images) -> None:
    whole, parts = new_vae(), new_vae()
    expected = steps_of(whole, digits, State.new(whole, 0), budget=30)
    state = State.new(parts, 0)
    plan = Schedule(budget=30, unit="steps", precision="float32")
    got = [dict(step.losses) for step in itertools.islice(train(parts, digits, plan, state), 13)]
    saved = state.save()
    again = new_vae()
    resumed = State.new(again, 0)
    resumed.load(saved)
    got += [dict(step.losses) for step in train(again, digits, plan, resumed)]
    assert [{k: v.item() for k, v in losses.items()} for losses in got] == expected
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), again.parameters(), strict=True))


def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched(digits: Images) -> None:
    model = new_vae(learning_rate=1.0)
    with torch.no_grad():
        model.decoder[0].bias.fill_(float("nan"))
    before = model.encoder[1].weight.clone()
    with pytest.raises(DivergedError, match=r"no longer a number at step 1.*lower learning_rate"):
        steps_of(model, digits, State.new(model, 0), budget=5)
    assert torch.equal(before, model.encoder[1].weight)


def test_measure_is_the_mean_over_all_images_however_they_are_cut(digits: Images) -> None:
    model = build("autoencoder", autoencoder.Config(hidden_size=16), (1, 8, 8), 10)
    some = Images(digits.images[:130], digits.labels[:130])
    assert measure(model, some, 0, batch_size=50) == pytest.approx(measure(model, some, 0, batch_size=130))


def test_a_device_the_machine_lacks_is_refused() -> None:
    assert training.choose_device("auto").type in ("cpu", "cuda", "mps")
    if not torch.backends.mps.is_available():
        with pytest.raises(UserError, match="no mps device"):
            training.choose_device("mps")


class Pair(nn.Module):
    """Two numbers, each with an optimiser, and a loss that both are in; the average follows the first."""

    LOSSES = {"sum": "of nothing"}  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)
        self.average = moving_average(self.first, 0.5)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        both = {"first": self.first, "second": self.second}
        return {name: torch.optim.SGD(network.parameters(), 0.1) for name, network in both.items()}

    def averages(self) -> dict[str, tuple[AveragedModel, nn.Module]]:
        return {"first": (self.average, self.first)}

    def loss(self) -> torch.Tensor:
        return self.second(self.first(torch.ones(1, 1))).sum()


def test_an_update_is_of_one_optimiser_alone() -> None:
    model = Pair()
    state = State.new(model, 0)
    update = training.updater(state, Schedule())
    for name, other in (("first", model.second), ("second", model.first)):
        model.zero_grad(set_to_none=True)
        mine = getattr(model, name)
        still, moves = [p.clone() for p in other.parameters()], [p.clone() for p in mine.parameters()]
        update(model.loss(), name)
        assert all(torch.equal(a, b) and b.grad is None for a, b in zip(still, other.parameters(), strict=True))
        assert not any(torch.equal(a, b) for a, b in zip(moves, mine.parameters(), strict=True))


def test_the_average_moves_with_its_own_optimiser_alone() -> None:
    model = Pair()
    update = training.updater(State.new(model, 0), Schedule())
    for name, updates in (("second", 0), ("first", 1), ("second", 1), ("first", 2)):
        update(model.loss(), name)
        assert model.average.n_averaged == updates
    assert not torch.equal(model.average.module.weight, model.first.weight)


@pytest.mark.parametrize("aligned", [True, False])
def test_sources_come_with_their_images_where_aligned_and_else_in_an_order_of_their_own(aligned: bool) -> None:
    numbers = torch.arange(64)
    pictures = numbers.to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
    data = Images(pictures, numbers, pictures + 100, numbers, aligned)
    shown: list[tuple[list[int], list[int]]] = []

    class Spy(Pair):
        def step(self, batch: Batch, update: training.Update) -> dict[str, torch.Tensor]:
            assert batch.sources is not None
            assert batch.source_labels is not None
            assert torch.equal((batch.images[:, 0, 0, 0] * 255).round().long(), batch.labels)
            assert torch.equal((batch.sources[:, 0, 0, 0] * 255).round().long() - 100, batch.source_labels)
            shown.append((batch.labels.tolist(), batch.source_labels.tolist()))
            return {"sum": torch.zeros(())}

    model = Spy()
    list(train(model, data, Schedule(budget=2, unit="epochs", batch_size=16), State.new(model, 0)))
    assert all((labels == partners) is aligned for labels, partners in shown)
    for side in (0, 1):
        epochs = [[row for batch in shown[four : four + 4] for row in batch[side]] for four in (0, 4)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(64))
        assert epochs[0] != epochs[1]
