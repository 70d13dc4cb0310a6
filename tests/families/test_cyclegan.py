"""CycleGAN: its losses against closed forms, the pool of older translations, and the mistakes that are known of it."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, build
from genmodels.families.contract import Batch
from genmodels.families.cyclegan import Pool, resnet
from genmodels.training import Images, State, evaluating, train, updater


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def made(shape: tuple[int, int, int] = (1, 8, 8), **knobs: Any) -> Any:
    return build("cyclegan", FAMILIES["cyclegan"].Config.of({"width": 4, "blocks": 1} | knobs), shape, 10)


def batch(shape: tuple[int, int, int] = (1, 8, 8), n: int = 4) -> Any:
    images, sources = torch.rand(2, n, *shape, generator=seeded())
    return Batch(images, torch.arange(n) % 10, seeded(), 0, sources, torch.arange(n) % 10)


class Plus(nn.Module):
    """A generator that brightens every pixel by as much."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.tensor(by))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.by


class Mean(nn.Module):
    """A discriminator whose four patches all score an image by its mean."""

    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x.mean((1, 2, 3), keepdim=True).expand(-1, 1, 2, 2)


def test_losses_are_those_of_simple_networks() -> None:
    """G adds 0.25 and F takes 0.125 away, so there and back is 0.125 off; A is all 0.5 and B all 1."""
    model = made(cycle_weight=8, identity_weight=0.25, pool_size=0)
    model.generators = nn.ModuleList([Plus(0.25), Plus(-0.125)])
    model.discriminators = nn.ModuleList([Mean(), Mean()])
    few = batch()
    few = Batch(torch.ones_like(few.images), few.labels, seeded(), 0, torch.full_like(few.images, 0.5))
    found: dict[str, Tensor] = {}
    losses = model.step(few, lambda loss, name: found.update({name: loss}))
    fooling = 0.5 * (0.75 - 1) ** 2 + 0.5 * (0.875 - 1) ** 2
    teaching = 0.5 * ((1 - 1) ** 2 + 0.75**2) + 0.5 * ((0.5 - 1) ** 2 + 0.875**2)
    assert losses["cycle"].item() == pytest.approx(0.125)
    assert losses["identity"].item() == pytest.approx((0.25 + 0.125) / 2)
    assert losses["generator"].item() == pytest.approx(fooling)
    assert losses["discriminator"].item() == found["discriminator"].item() == pytest.approx(teaching)
    assert found["generator"].item() == pytest.approx(fooling + 8 * (2 * 0.125) + 8 * 0.25 * (0.25 + 0.125))
    assert losses["d_real"].item() == pytest.approx((1 + 0.5) / 2)
    assert losses["d_fake"].item() == pytest.approx((0.75 + 0.875) / 2)


def test_who_changes_nothing_has_no_cycle_and_no_identity_loss() -> None:
    model = made()
    model.generators = nn.ModuleList([Plus(0.0), Plus(0.0)])
    losses = model.step(batch(), lambda loss, name: None)
    assert losses["cycle"] == losses["identity"] == 0


def test_without_its_weight_identity_is_not_learned_from() -> None:
    found: dict[str, Tensor] = {}
    model = made(cycle_weight=3, identity_weight=0)
    losses = model.step(batch(), lambda loss, name: found.update({name: loss}))
    assert losses["identity"] > 0
    assert found["generator"].item() == pytest.approx((losses["generator"] + 6 * losses["cycle"]).item(), rel=1e-5)


@pytest.mark.parametrize("height", [8, 9, 15, 28, 33, 64])
def test_the_generator_gives_back_any_size(height: int) -> None:
    for width in (8, 31, 64):
        with torch.no_grad():
            y = resnet((3, height, width), 4, 1)(torch.rand(2, 3, height, width))
        assert y.shape == (2, 3, height, width)
        assert 0 <= y.min() < y.max() <= 1


def numbered(first: int, count: int) -> Tensor:
    """Images that are told apart by their grey value."""
    return torch.arange(first, first + count).float().reshape(-1, 1, 1, 1).expand(-1, 1, 8, 8)


def test_the_pool_hands_on_the_first_and_then_changes_one_in_two_for_an_older_one() -> None:
    pool: Any = Pool(50, (1, 8, 8))
    generator = seeded()
    first = pool(numbered(0, 50), generator)
    assert torch.equal(first, numbered(0, 50))
    assert torch.equal(pool.images, first)
    shown = torch.cat([pool(numbered(50 + 20 * turn, 20), generator) for turn in range(100)])[:, 0, 0, 0]
    new = torch.arange(50, 2050).float()
    assert (shown <= new).all(), "nothing is shown before it is made"
    share = (shown != new).float().mean().item()
    assert share == pytest.approx(0.5, abs=0.05)
    assert len(shown.unique()) == len(shown), "an image that is handed out leaves the pool"
    everything = torch.cat([shown, pool.images[:, 0, 0, 0]]).sort().values
    assert torch.equal(everything, torch.arange(2050).float()), "and none is lost"


def test_a_pool_without_room_and_one_asked_for_more_than_it_holds() -> None:
    x = numbered(0, 20)
    assert torch.equal(Pool(0, (1, 8, 8))(x, seeded()), x)
    pool: Any = Pool(8, (1, 8, 8))
    shown = pool(x, seeded())
    assert torch.equal(shown[:8], x[:8])
    kept, handed = pool.images[:, 0, 0, 0].tolist(), shown[:, 0, 0, 0].tolist()
    # The eight that were there first are handed on when they come and again when they leave.
    assert sorted(set(kept + handed)) == list(range(20))
    assert sorted(kept + handed[8:]) == list(range(20))


def test_the_pool_keeps_no_graph_and_leaves_what_it_is_given() -> None:
    x = numbered(0, 20).clone().requires_grad_()
    shown = Pool(4, (1, 8, 8))(x, seeded())
    assert not shown.requires_grad
    assert torch.equal(x, numbered(0, 20))


def test_the_pool_survives_saving_bit_for_bit(digits: Images) -> None:
    """Six steps in one go are three, a save into another model, and three more."""
    images = Images(digits.images, digits.labels, 255 - digits.images, digits.labels, aligned=False)
    schedule = Schedule(budget=6, unit="steps", batch_size=32, precision="float32")

    def continued(state: State, steps: int) -> list[dict[str, float]]:
        found = []
        for step in train(state.model, images, schedule, state):
            found.append({name: value.item() for name, value in step.losses.items()})
            if len(found) == steps:
                break
        return found

    whole = continued(State.new(made(), 0), 6)
    half = State.new(made(), 0)
    first = continued(half, 3)
    assert half.model.pools[0].filled == 50
    other = State.new(made(), 1)
    other.load(half.save())
    other.seed = 0
    assert first + continued(other, 3) == whole


def test_an_update_moves_one_side_and_gives_the_other_no_gradient() -> None:
    """As training makes it; and D's loss leads nowhere but to D, so that no product is made for nothing."""
    model = made()
    sides = {"discriminator": model.discriminators, "generator": model.generators}
    update, seen = updater(State.new(model, 0), Schedule(budget=1, unit="steps")), []

    def watched(loss: Tensor, name: str) -> None:
        if name == "discriminator":
            others = list(sides["generator"].parameters())
            slopes = torch.autograd.grad(loss, others, retain_graph=True, allow_unused=True)
            assert all(slope is None for slope in slopes)
        model.zero_grad(set_to_none=True)
        before = {side: [p.clone() for p in net.parameters()] for side, net in sides.items()}
        update(loss, name)
        for side, net in sides.items():
            moved = any(not torch.equal(a, b) for a, b in zip(before[side], net.parameters(), strict=True))
            touched = any(p.grad is not None for p in net.parameters())
            assert moved == touched == (side == name), f"{name} was taught, and {side}: {moved}, {touched}"
        seen.append(name)

    model.step(batch(), watched)
    assert sorted(seen) == sorted(sides)


def test_labels_are_never_looked_at() -> None:
    few = batch()
    blind = Batch(few.images, few.labels * 0, seeded(), 0, few.sources, few.labels * 0)
    one, other = (made().step(each, lambda loss, name: None) for each in (few, blind))
    assert one == other


def test_each_direction_has_its_own_network_and_one_image_gives_the_same_as_in_a_batch() -> None:
    few, model = batch(), made()
    with torch.no_grad():
        training = model.translate(few.sources)
    with evaluating(model):
        there, back = (model.translate(few.sources, way) for way in model.DIRECTIONS)
        alone = torch.cat([model.translate(x[None]) for x in few.sources])
    assert not torch.allclose(there, back)
    assert torch.allclose(there, alone, atol=1e-6)
    assert torch.allclose(there, training, atol=1e-6)


def test_what_it_cannot_do_is_said_in_a_sentence() -> None:
    few = batch()
    with pytest.raises(UserError, match="inverted:mnist"):
        made().step(Batch(few.images, few.labels, few.generator, 0), lambda loss, name: None)
    with pytest.raises(UserError, match="forward and back"):
        made().translate(few.images, "sideways")


def test_views_show_there_and_back() -> None:
    few, model = batch(), made()
    views = model.views(few)
    assert list(views) == ["inputs", "translations", "cycled"]
    assert torch.equal(views["cycled"], model.translate(model.translate(few.sources), "back"))
