"""Slow motion: one update of one network, and nothing else. How many steps a way out of noise is."""

import copy
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from genmodels import stepping, training
from genmodels.config import UserError
from genmodels.denoising import Way, open_denoiser
from genmodels.families import FAMILIES
from genmodels.runs import Run, by_id
from genmodels.stepping import Stepper
from tests.conftest import data_for

Runs = Callable[..., Run]
COMPETING = [name for name, family in FAMILIES.items() if hasattr(family.Model, "CHARTS")]
SMALL = {"batch_size": 32}


@pytest.fixture
def opened(new_run: Runs) -> Callable[..., Stepper]:
    def make(family: str = "gan", **settings: object) -> Stepper:
        return Stepper(new_run(family, data_for(family), **SMALL, **settings))

    return make


def files(run: Run) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", COMPETING)
def test_one_network_moves_and_all_else_stays(name: str, opened: Callable[..., Stepper]) -> None:
    stepper = opened(name)
    for mover in stepper.names:
        before = {key: tensor.clone() for key, tensor in stepper.state.model.state_dict().items()}
        move = stepper.move(mover)
        assert move.moved[mover] > 0
        assert all(far == 0 for other, far in move.moved.items() if other != mover)
        theirs = {id(p) for p in stepper._owned(mover)}
        for key, parameter in stepper.state.model.named_parameters():
            if id(parameter) not in theirs and not key.startswith("average"):
                assert torch.equal(parameter, before[key]), key
        if mover == "discriminator":
            np.testing.assert_array_equal(move.after.made, move.before.made)
            assert move.after.scores["d_real"] != move.before.scores["d_real"]


def test_a_move_is_the_update_that_training_makes(trained: Runs) -> None:
    run = trained("gan", budget=3, spectral_norm=False, **SMALL)
    stepper = Stepper(run)
    assert stepper.has_moments
    model, optimizer = copy.deepcopy((stepper.state.model, stepper.state.optimizers["discriminator"]))
    rows = torch.randperm(len(stepper.images.images), generator=copy.deepcopy(stepper.state.generator))[:32]
    generator = copy.deepcopy(stepper.state.generator)
    torch.randperm(len(stepper.images.images), generator=generator)
    move = stepper.move("discriminator")
    # By hand: the loss of the paper, its gradient, and Adam with the moments of the run.
    x, z = training.scaled(stepper.images.images[rows]), torch.randn(32, model.config.latent_size, generator=generator)
    model.train()
    loss = -(model.discriminator(x).sigmoid().log() + (1 - model.discriminator(model.generator(z)).sigmoid()).log())
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    old = torch.cat([p.detach().flatten() for p in weights])
    for parameter, gradient in zip(weights, torch.autograd.grad(loss.mean(), weights), strict=True):
        parameter.grad = gradient
    optimizer.step()
    new = torch.cat([p.detach().flatten() for p in weights])
    now = torch.cat([p.detach().flatten() for p in stepper._owned("discriminator")])
    torch.testing.assert_close(now, new, rtol=1e-4, atol=1e-6)
    assert move.moved["discriminator"] == pytest.approx(float((new - old).norm() / old.norm()), rel=1e-3)


def test_the_run_is_only_read_and_undo_is_exact(trained: Runs) -> None:
    run = trained("conditional-gan", budget=2, discriminator_steps=3, **SMALL)
    before, shared = files(run), copy.deepcopy(run.model.state_dict())
    stepper = Stepper(run)
    first = stepper.seen
    start = copy.deepcopy(stepper.state.save())
    assert stepper.move("generator").moved["generator"] > 0, "its turn comes, whatever the step"
    stepper.move("discriminator", "generator")
    assert stepper.made == 3
    stepper.undo()
    stepper.undo()
    stepper.undo()  # nothing is left
    assert stepper.made == 0
    assert stepper.seen is first
    now = stepper.state.save()
    assert all(torch.equal(now["model"][key], tensor) for key, tensor in start["model"].items())
    assert torch.equal(now["generator"], start["generator"])
    assert files(run) == before
    assert all(torch.equal(run.model.state_dict()[key], tensor) for key, tensor in shared.items())


def test_scores_are_those_of_the_images_shown(opened: Callable[..., Stepper]) -> None:
    stepper = opened("gan")
    stepper.move("discriminator", "generator")
    model = stepper.state.model
    with training.evaluating(model):
        real = model.discriminator(training.scaled(stepper.few.images)).sigmoid()
        made = model.discriminator(torch.from_numpy(stepper.seen.made)).sigmoid()
    np.testing.assert_allclose(stepper.seen.scores["d_real"], real, atol=1e-5)
    np.testing.assert_allclose(stepper.seen.scores["d_fake"], made, atol=1e-5)


def test_it_starts_from_weights_without_moments_and_keeps_few_states(
    trained: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trained("gan", budget=2, decay="cosine", **SMALL)
    (run.path / "resume.pt").unlink()
    monkeypatch.setattr(stepping, "UNDO_BYTES", 1)
    stepper = Stepper(run)
    assert not stepper.has_moments
    assert stepper.state.step == 2
    shared = run.model.state_dict()
    own = stepper.state.model.state_dict()
    assert all(torch.equal(own[key], tensor) for key, tensor in shared.items() if not key.startswith("average"))
    for _ in range(3):
        assert stepper.move("generator").moved["generator"] > 0, "also where the learning rate has fallen to zero"
    assert len(stepper.kept) == 1


def test_a_damaged_checkpoint_is_a_sentence(new_run: Runs) -> None:
    run = new_run("gan")
    (run.path / "resume.pt").write_bytes(b"junk")
    with pytest.raises(UserError, match="is damaged"):
        Stepper(run)


def test_a_move_that_diverges_is_taken_back(opened: Callable[..., Stepper]) -> None:
    stepper = opened("gan")
    with torch.no_grad():
        stepper.state.model.discriminator.score.parametrizations.weight.original.fill_(torch.nan)
    kept = stepper.seen
    with pytest.raises(UserError, match="taken back"):
        stepper.move("discriminator")
    assert stepper.seen is kept
    assert not stepper.kept


def test_weights_that_became_no_numbers_are_taken_back(opened: Callable[..., Stepper]) -> None:
    """The loss was one still: its gradient was not, or the step too wide."""
    stepper = opened("gan")
    kept = stepper.seen
    before = {key: tensor.clone() for key, tensor in stepper.state.model.state_dict().items()}
    for group in stepper.state.optimizers["generator"].param_groups:
        group["lr"] = float("inf")
    with pytest.raises(UserError, match="taken back"):
        stepper.move("generator")
    assert stepper.seen is kept
    assert not stepper.moves
    assert not stepper.kept
    assert all(torch.equal(before[key], tensor) for key, tensor in stepper.state.model.state_dict().items())


def test_it_keeps_some_of_the_training_images(opened: Callable[..., Stepper], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stepping, "LEARNED", 200)
    one, other = opened("pix2pix"), opened("pix2pix")
    assert len(one.images.images) == len(one.images.sources) == 200
    assert torch.equal(one.images.images, other.images.images)
    assert one.move("generator").moved["generator"] > 0


def test_two_who_ask_for_one_thread_wait_for_each_other() -> None:
    entered, leave = threading.Event(), threading.Event()

    def first() -> None:
        with stepping.one_thread():
            entered.set()
            leave.wait(30)

    def second() -> None:
        with stepping.one_thread():
            found.append(torch.get_num_threads())

    found: list[int] = []
    threads = [threading.Thread(target=each) for each in (first, second)]
    threads[0].start()
    assert entered.wait(30)
    threads[1].start()
    threads[1].join(0.2)
    assert not found, "the second waits"
    leave.set()
    for thread in threads:
        thread.join()
    assert found == [1]


# -- steps out of noise


@pytest.mark.parametrize(("steps", "level", "expected"), [(50, 1, 50), (50, 0.5, 25), (3, 0.05, 1), (0, 0.5, 0)])
def test_steps_of_a_part_of_the_way(steps: int, level: float, expected: int):
    assert Way(steps).steps_from(level) == expected


def test_a_run_that_cannot_is_refused():
    with pytest.raises(UserError, match="cannot denoise"):
        open_denoiser(by_id("vae-digits"))
