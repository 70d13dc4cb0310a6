"""The class head: its weight, what it reads, and that no label leaks."""

import pytest
import torch
import torch.nn.functional as F

from genmodels.config import Schedule
from genmodels.families import build, multi_stage_vae
from genmodels.families.contract import Batch
from genmodels.training import Images, State, train


def batch(labels: torch.Tensor) -> Batch:
    generator = torch.Generator().manual_seed(0)
    return Batch(torch.rand(len(labels), 1, 8, 8, generator=generator), labels, generator, 0)


def test_objective_is_reconstruction_plus_beta_kl_plus_weighted_cross_entropy() -> None:
    model = build("multi-stage-vae", multi_stage_vae.Config(beta=2, class_weight=30), (1, 8, 8), 10)
    seen: list[torch.Tensor] = []
    losses = model.step(batch(torch.arange(10)), lambda loss, name: seen.append(loss))
    expected = losses["reconstruction"] + 2 * losses["kl"] + 30 * losses["cross_entropy"]
    assert seen[0].item() == pytest.approx(expected.item(), rel=1e-5)


def test_cross_entropy_reads_logits_and_starts_at_log_classes() -> None:
    model = build("multi-stage-vae", multi_stage_vae.Config(), (1, 8, 8), 10)
    losses = model.step(batch(torch.arange(10).repeat(50)), lambda loss, name: None)
    assert losses["cross_entropy"].item() == pytest.approx(torch.tensor(10.0).log().item(), abs=0.15)
    logits = torch.tensor([[20.0, 0.0]])
    assert F.cross_entropy(logits, torch.tensor([0])).item() < 1e-6  # as it would not be after a softmax


def test_labels_reach_neither_the_code_nor_the_class_asked_for() -> None:
    model = build("multi-stage-vae", multi_stage_vae.Config(), (1, 8, 8), 10)
    one, other = (model.terms(batch(labels)) for labels in (torch.zeros(10).long(), torch.arange(10)))
    assert torch.equal(one[2], other[2])


def test_the_head_tells_digits_apart_and_reads_the_mean_when_asked(digits: Images) -> None:
    model = build("multi-stage-vae", multi_stage_vae.Config(), (1, 8, 8), 10)
    for _ in train(model, digits, Schedule(budget=400, unit="steps"), State.new(model, 0)):
        pass
    images = digits.images / 255
    with torch.no_grad():
        assert (model.classify(images).argmax(1) == digits.labels).float().mean() > 0.9
        assert torch.equal(model.classify(images), model.classifier(model.posterior(images).mean))
