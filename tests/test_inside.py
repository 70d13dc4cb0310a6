"""A run opened to be looked into: once for all, anew when it or its data has changed."""

import gc
import threading
import weakref

import numpy as np
import pytest

from genmodels import data
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.inside import open_inside
from genmodels.opening import forget_all, held, opened_once
from genmodels.runs import Run
from genmodels.worker import run_to_end


def test_it_is_opened_once_and_anew_when_it_has_learned_on(trained) -> None:
    run = trained("vae")
    first = open_inside(run)
    assert open_inside(Run(run.path)) is first
    arrays = run.arrays("latents")
    run.write_arrays("latents", arrays | {"means": arrays["means"] + 1})
    assert np.allclose(open_inside(run).means, first.means + 1)


def test_copies_stand_in_until_the_dataset_is_there(trained, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained("vae")
    true = data.load("digits").images[data.load("digits").span("test")]
    with monkeypatch.context() as patch:
        patch.setattr(data, "is_present", lambda name: False)
        without = open_inside(run)
    assert not without.real
    assert np.array_equal(without.images, without.decode(without.means))
    found = open_inside(run)
    assert found.real
    assert np.array_equal(found.images, true)


def test_a_run_is_opened_once_however_many_ask_and_nobody_waits_for_another(trained) -> None:
    slow, quick = trained("vae"), trained("vae", seed=1)
    go_on, opened = threading.Event(), []

    @opened_once
    def held(run: Run, present: bool) -> Run:
        opened.append(run.path)
        if run.path == slow.path:
            go_on.wait(30)
        return run

    waiting = [threading.Thread(target=held, args=(slow,)) for _ in range(3)]
    for each in waiting:
        each.start()
    try:
        other = threading.Thread(target=held, args=(quick,))
        other.start()
        other.join(20)
        assert not other.is_alive()
    finally:
        go_on.set()
        for each in waiting:
            each.join()
    assert sorted(opened) == sorted([slow.path, quick.path])
    forget_all()
    assert held(quick).path == quick.path
    assert opened.count(quick.path) == 2


@pytest.mark.parametrize("change", ["nan", "labels", "length"])
def test_codes_that_cannot_be_are_refused_with_a_sentence(trained, change: str) -> None:
    run = trained("vae")
    arrays = run.arrays("latents")
    wrong = {
        "nan": {"means": np.full_like(arrays["means"], np.nan)},
        "labels": {"labels": arrays["labels"] + 10},
        "length": {"means": arrays["means"][:-1]},
    }[change]
    run.write_arrays("latents", arrays | wrong)
    with pytest.raises(UserError, match=r"are not numbers|damaged"):
        open_inside(run)


def test_a_family_with_long_codes_keeps_those_of_some_images_and_says_which(new_run, monkeypatch) -> None:
    monkeypatch.setattr(FAMILIES["flow"].Model, "CODES_AT_MOST", 40)
    run = new_run("flow", budget=2)
    for _ in run_to_end(run):
        pass
    arrays, test = run.arrays("latents"), data.load("digits").span("test")
    found = open_inside(run)
    assert found.means.shape == (40, 64)
    assert found.in_noise
    assert np.bincount(found.labels).tolist() == [4] * 10
    assert np.array_equal(found.images, data.load("digits").images[test][found.which])
    assert np.array_equal(found.labels, data.load("digits").labels[test][found.which])
    assert np.array_equal(found.reconstruct(np.arange(40)), found.images), "a flow loses nothing"
    assert [step for step in run.snapshots() if "latents" in run.arrays(f"snapshots/{step}")] == []
    for code, label in zip(found.stops, range(10), strict=True):
        assert any(np.array_equal(code, own) for own in found.means[found.labels == label]), "stops are real codes"
    for wrong in (arrays["which"] + 1000, arrays["which"][::-1].copy(), arrays["which"].astype(float)):
        run.write_arrays("latents", arrays | {"which": wrong})
        assert not open_inside(run).real, "they are not of these test images"
    run.write_arrays("latents", arrays | {"which": arrays["which"][:-1]})
    with pytest.raises(UserError, match="damaged"):
        open_inside(run)


def test_without_a_posterior_the_codes_say_what_is_usual(trained) -> None:
    found = open_inside(trained("autoencoder"))
    assert found.kl is None
    assert np.allclose(found.spread, [found.means.mean(0), found.means.std(0)])
    assert np.allclose(found.importance, found.means.var(0))
    assert list(found.importance[found.order]) == sorted(found.importance, reverse=True)


def test_what_somebody_holds_is_not_opened_again_nor_kept_twice(trained) -> None:
    runs = [trained("vae"), trained("vae", seed=1), trained("vae", beta=4.0)]
    once = opened_once(lambda run, present: Run(run.path), keep=1)
    first = once(runs[0])
    assert once(runs[1]) is not first
    assert once(runs[0]) is first
    forget_all()
    assert once(runs[0]) is not first, "its dataset has changed"
    one, other = open_inside(runs[0]), open_inside(runs[2])
    assert one.images is other.images, "both look at the same test images"
    assert held(Run(runs[0].path)) is one.run
    before = one.run.stamp
    weights = (runs[0].path / "weights.safetensors").read_bytes()
    (runs[0].path / "weights.safetensors").write_bytes(weights)
    assert runs[0].stamp != before
    assert held(runs[0]) is not one.run, "it has learned on"
    old = weakref.ref(open_inside(runs[1]))
    arrays = runs[1].arrays("latents")
    runs[1].write_arrays("latents", arrays | {"means": arrays["means"] + 1})
    assert open_inside(runs[1])
    gc.collect()
    assert old() is None, "of a run that trains the last one is enough"
