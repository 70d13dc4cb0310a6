"""The label in both networks: that it is used, as the paper says, and that it gives nothing away."""

from typing import Any

import pytest
import torch
from torch import Tensor

from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, build
from genmodels.families.contract import Batch
from genmodels.training import Images, State, evaluating, train

SHAPE = (1, 8, 8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model_of(**knobs: Any) -> Any:
    Config = FAMILIES["conditional-gan"].Config  # noqa: N806 - it is the class itself
    return build("conditional-gan", Config.of({"latent_size": 4, "width": 8} | knobs), SHAPE, 10)


def test_d_scores_by_projection() -> None:
    """Eq. 3 of Miyato and Koyama: s(x, y) = w . phi(x) + b + v_y . phi(x)."""
    d = model_of().discriminator.eval()
    x, labels = torch.rand(6, *SHAPE, generator=seeded()), torch.tensor([0, 1, 2, 3, 9, 9])
    phi = d.features(2 * x - 1).flatten(1)
    wanted = phi @ d.score.weight[0] + d.score.bias + (phi @ d.classes.weight.T)[torch.arange(6), labels]
    assert torch.allclose(d(x, labels), wanted, atol=1e-5)


def test_another_label_is_another_score_and_another_image(digits: Images) -> None:
    """A D that can ignore the label, the known mistake, would never teach G to obey it."""
    model = model_of()
    for _ in train(model, digits, Schedule(budget=20, unit="steps"), State.new(model, 0)):
        pass
    x, z, labels = torch.rand(10, *SHAPE, generator=seeded()), torch.randn(10, 4, generator=seeded()), torch.arange(10)
    with evaluating(model):
        assert ((model.discriminator(x, labels) - model.discriminator(x, labels.roll(1))).abs() > 1e-5).all()
        moved = (model.decode(z, labels) - model.decode(z, labels.roll(1))).abs().amax((1, 2, 3))
        assert (moved > 1e-3).all()


def test_made_images_have_the_labels_of_the_real_ones_in_the_batch() -> None:
    """Labels of another law than the data's would tell D what is made."""
    model, shown = model_of(), []
    asked: list[Tensor] = []
    model.discriminator.register_forward_pre_hook(lambda module, inputs: shown.append(inputs[1]))
    model.generator.register_forward_pre_hook(lambda module, inputs: asked.append(inputs[1]))
    labels = torch.tensor([7, 7, 7, 1])
    model.step(Batch(torch.rand(4, *SHAPE), labels, seeded(), 0), lambda loss, name: loss.backward())
    assert [each.tolist() for each in asked] == [[7, 7, 7, 1]]
    assert [each.tolist() for each in shown] == [[7, 7, 7, 1] * 2, [7, 7, 7, 1]]


def test_without_a_wish_each_class_comes_in_turn() -> None:
    model = model_of()
    with evaluating(model):
        z = model.noise(12, seeded())
        assert torch.equal(model.decode(z), model.decode(z, torch.arange(12) % 10))


def test_classes_are_needed() -> None:
    with pytest.raises(UserError, match="two classes or more"):
        build("conditional-gan", FAMILIES["conditional-gan"].Config(), SHAPE, 1)


def test_it_learns_to_draw_what_it_is_asked_for(digits: Images) -> None:
    """Classes are read by the nearest mean of the real ones, which knows nine digits in ten."""
    model = model_of(latent_size=8, width=16, learning_rate=2e-3)
    for _ in train(model, digits, Schedule(budget=250, unit="steps", precision="float32"), State.new(model, 0)):
        pass
    real = digits.images.flatten(1).float() / 255
    means = torch.stack([real[digits.labels == label].mean(0) for label in range(10)])
    wanted = torch.arange(200) % 10
    with evaluating(model):
        made = model.sample(200, wanted, seeded()).flatten(1)
    assert (torch.cdist(made, means).argmin(1) == wanted).float().mean() > 0.8
