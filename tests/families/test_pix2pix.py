"""pix2pix: its losses against scores made by hand, its networks, and the mistakes that are known of it."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, build
from genmodels.families.contract import Batch
from genmodels.families.pix2pix import l1, unet
from genmodels.nn import patch_discriminator
from genmodels.training import State, evaluating, updater


def made(shape: tuple[int, int, int] = (1, 8, 8), **knobs: Any) -> Any:
    return build("pix2pix", FAMILIES["pix2pix"].Config.of({"width": 8} | knobs), shape, 10)


def batch(shape: tuple[int, int, int] = (1, 8, 8), n: int = 4) -> Any:
    generator = torch.Generator().manual_seed(0)
    images, sources = torch.rand(2, n, *shape, generator=generator)
    return Batch(images, torch.arange(n) % 10, generator, 0, sources, torch.arange(n) % 10)


def gradients(model: Any, few: Any) -> dict[str, Tensor]:
    """What each move would minimise, by the name of its optimiser."""
    found: dict[str, Tensor] = {}
    model.step(few, lambda loss, name: found.update({name: loss}))
    return found


def test_losses_are_those_of_scores_made_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """D says 2 of what is real and -1 of what is made, in every patch; G is off by 0.25 in every pixel."""
    model, few = made(l1_weight=100, adversarial=3), batch()
    monkeypatch.setattr(model.generator, "forward", lambda x: (few.images - 0.25).requires_grad_())

    def scores(sources: Tensor, images: Tensor) -> Tensor:
        real = torch.isclose(images, few.images.repeat(len(images) // 4, 1, 1, 1)).flatten(1).all(1)
        return torch.where(real, 2.0, -1.0).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2) + 0 * images.sum()

    monkeypatch.setattr(model, "scores", scores)
    found: dict[str, Tensor] = {}
    losses = model.step(few, lambda loss, name: found.update({name: loss}))
    d = 0.5 * (math.log1p(math.exp(-2)) + math.log1p(math.exp(-1)))
    g = math.log1p(math.exp(1))
    assert losses["l1"].item() == pytest.approx(0.25)
    assert losses["discriminator"].item() == found["discriminator"].item() == pytest.approx(d)
    assert losses["generator"].item() == pytest.approx(g)
    assert found["generator"].item() == pytest.approx(3 * g + 100 * 0.25, rel=1e-5)
    assert losses["d_real"].item() == pytest.approx(1 / (1 + math.exp(-2)))
    assert losses["d_fake"].item() == pytest.approx(1 / (1 + math.exp(1)))


def test_l1_is_the_mean_over_pixels_whatever_the_size() -> None:
    assert l1(torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5)).item() == pytest.approx(0.5)
    assert l1(torch.zeros(2, 1, 64, 64), torch.full((2, 1, 64, 64), 0.5)).item() == pytest.approx(0.5)


@pytest.mark.parametrize("height", [8, 9, 15, 28, 33, 64])
def test_the_u_net_gives_back_any_size(height: int) -> None:
    for width in (8, 31, 64):
        with torch.no_grad():
            y = unet((3, height, width), 4)(torch.rand(2, 3, height, width))
        assert y.shape == (2, 3, height, width)
        assert 0 <= y.min() < y.max() <= 1


def test_the_u_net_hands_every_grid_across_and_sees_the_whole_image() -> None:
    """A pixel changes what comes out beside it, and at the far corner."""
    net, x = unet((1, 16, 16), 8), torch.rand(1, 1, 16, 16)
    x.requires_grad_()
    (slopes,) = torch.autograd.grad(net(x)[0, 0, 0, 0], x)
    assert slopes[0, 0, 0, 0].abs() > 0
    assert slopes[0, 0, -1, -1].abs() > 0


def test_the_discriminator_judges_patches() -> None:
    """A grid of scores, each of which reads 15 pixels; normalisation apart, which spans the image."""
    net = patch_discriminator(2, (1, 28, 28), 8)
    for module in net.modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            module.forward = lambda x: x  # type: ignore[method-assign, assignment]
    x: Any = torch.rand(3, 2, 28, 28, requires_grad=True)
    scores = net(x)
    assert scores.shape == (3, 1, 7, 7)
    scores[0, 0, 3, 3].backward()
    seen = x.grad[0].abs().sum(0) > 0
    assert int(seen.any(0).sum()) == int(seen.any(1).sum()) == 15
    assert x.grad[1:].abs().sum() == 0


def test_the_discriminator_sees_what_is_translated() -> None:
    model, few = made(), batch()
    assert not torch.allclose(model.scores(few.sources, few.images), model.scores(few.sources.roll(1, 0), few.images))


def test_labels_are_never_looked_at() -> None:
    few = batch()
    blind = Batch(few.images, few.labels * 0, torch.Generator().manual_seed(0), 0, few.sources, few.labels * 0)
    one, other = (made().step(each, lambda loss, name: None) for each in (few, blind))
    assert one == other


def test_an_update_moves_one_side_and_gives_the_other_no_gradient() -> None:
    """As training makes it; and D's loss leads nowhere but to D, so that no product is made for nothing."""
    model = made()
    sides = {"discriminator": model.discriminator, "generator": model.generator}
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


def test_unheard_the_discriminator_still_learns_and_the_generator_minimises_the_distance_alone() -> None:
    model, few = made(adversarial=0, l1_weight=7), batch()
    found = gradients(model, few)
    slopes = torch.autograd.grad(found["generator"], list(model.generator.parameters()))
    plain = torch.autograd.grad(7 * l1(model.generator(few.sources), few.images), list(model.generator.parameters()))
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(slopes, plain, strict=True))
    assert found["discriminator"].requires_grad


def test_an_image_is_translated_the_same_alone_in_a_batch_and_while_training() -> None:
    """Batch normalisation and dropout at test time made pix2pix depend on the batch and on chance."""
    model, few = made(), batch()
    with torch.no_grad():
        training = model.translate(few.sources)
    with evaluating(model):
        together, again = model.translate(few.sources), model.translate(few.sources)
        alone = torch.cat([model.translate(x[None]) for x in few.sources])
    assert torch.equal(together, again)
    assert torch.allclose(together, alone, atol=1e-6)
    assert torch.allclose(together, training, atol=1e-6)


def test_what_it_cannot_do_is_said_in_a_sentence() -> None:
    few = batch()
    with pytest.raises(UserError, match="edges:mnist"):
        made().step(Batch(few.images, few.labels, few.generator, 0), lambda loss, name: None)
    with pytest.raises(UserError, match="one direction"):
        made().translate(few.images, "back")


def test_views_show_what_went_in_what_came_out_and_what_was_wanted() -> None:
    few, model = batch(), made()
    views = model.views(few)
    assert list(views) == ["inputs", "translations", "targets"]
    assert torch.equal(views["inputs"], few.sources)
    assert torch.equal(views["targets"], few.images)
    assert torch.equal(views["translations"], model.translate(few.sources))
