"""The Transitions page without a browser: every family, every way it can be asked badly, two runs, a judge trained."""

import json
import threading

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import tours
from app.components import player
from genmodels import runs
from genmodels.analysis import judge, transitions
from genmodels.families import FAMILIES
from genmodels.inside import Inside
from tests import test_pages
from tests.test_pages import press, settled, visit


def words(app: AppTest) -> str:
    """All that is written on the page, as a person reads it."""
    return test_pages.words(app).replace("\\", "")


ABLE = [name for name, family in FAMILIES.items() if {"encode", "decode"} <= set(family.abilities)]
SHORT = {"frames": "5", "hold": "1"}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    for kept in (tours._radius, tours._kept):
        kept.clear()


def rewrite(run: runs.Run, **arrays: np.ndarray) -> None:
    """Other codes in latents.npz, as another dataset would have given them."""
    known = run.arrays("latents") | arrays
    np.savez(run.path / "latents.npz", **known)


@pytest.mark.parametrize("family", ABLE)
def test_every_family_with_the_ability_has_its_tour(trained, family: str):
    run, in_noise = trained(family), family in ("flow", "diffusion")
    app = settled(visit("transitions", run=run.id, **SHORT))
    assert not app.exception
    assert not app.error
    said = words(app)
    assert "of 50 frames" in said
    assert ("the tour stops at a real image" in said) == in_noise, "there the mean of codes is nothing"
    assert app.segmented_control(key="path").value == ("spherical" if in_noise else "straight")
    assert "98.9% of 180 test images" in said, "the accuracy of the judge"
    assert judge.judge_of("digits", run.config.classes).facts.sha256[:16] in said
    assert len(app.get("bidi_component")) == 1
    assert len(app.get("vega_lite_chart")) == 3
    assert [each.label for each in app.get("download_button")] == ["GIF", "MP4", "Film strip", "reproduce.py"]


def test_what_takes_long_is_made_beside_the_page_and_the_other_run_waits_for_it(trained, monkeypatch):
    first, second = trained("vae", budget=3), trained("diffusion", budget=3)
    free, decode = threading.Event(), Inside.decode
    hold = lambda inside, codes: (not inside.in_noise or free.wait(60)) and decode(inside, codes)  # noqa: E731
    monkeypatch.setattr(Inside, "decode", hold)
    app = visit("transitions", run=first.id, run2=second.id, **SHORT)
    assert [each.label for each in app.button] == ["Stop"]
    assert not app.get("bidi_component")
    app.button[0].click().run()
    assert "Stopped" in app.info[0].value
    free.set()
    settled(press(app, "Start again"))
    assert not app.exception
    assert len(app.get("vega_lite_chart")) == 3


@pytest.mark.parametrize(("view", "kind"), [("GIF", "bidi_component"), ("MP4", "video"), ("Film strip", "image")])
def test_every_file_can_be_looked_at(trained, view: str, kind: str):
    app = visit("transitions", run=trained("vae").id, view=view, **SHORT)
    assert not app.exception
    assert not app.error
    assert app.get(kind)


def test_what_is_downloaded_is_what_was_asked_for(trained, monkeypatch):
    made = {}
    monkeypatch.setattr(
        tours.st, "download_button", lambda label, data, name, *_, **__: made.update({name.rsplit(".")[-1]: data()})
    )
    visit("transitions", run=trained("vae").id, **SHORT)
    assert made["gif"].startswith(b"GIF89a")
    assert made["mp4"][4:8] == b"ftyp"
    assert made["png"].startswith(b"\x89PNG")


def test_the_order_and_the_plan_come_from_the_address(trained):
    plan = {"frames": "7", "path": "spherical", "easing": "smooth", "frame": "21"}
    app = visit("transitions", run=trained("vae").id, order="3", **plan)
    assert "A tour needs at least two classes" in words(app)
    assert not app.exception
    app.multiselect(key="order").set_value(["3", "8", "1"])
    app.toggle(key="back").set_value(False).run()
    assert not app.error
    assert "of 14 frames" in words(app)
    assert app.query_params["frame"] == "14", "the last one there is"
    app.toggle(key="back").set_value(True).run()
    assert "of 21 frames" in words(app)
    assert app.segmented_control(key="path").value == "spherical"
    assert app.segmented_control(key="easing").value == "smooth"


def test_values_that_cannot_be_are_left_out(trained):
    app = visit("transitions", run=trained("vae").id, frames="99999", hold="x", path="round", order="dog", frame="-3")
    assert not app.exception
    assert "There is no class 'dog'" in words(app)
    assert (app.slider(key="hold").value, app.segmented_control(key="path").value) == (5, "straight")
    assert "frame" not in app.query_params


def test_two_images_instead_of_classes(trained):
    app = visit("transitions", run=trained("vae").id, between="Two test images", **{"from": "3", "to": "9"}, **SHORT)
    assert not app.exception
    assert not app.error
    assert "of 5 frames" in words(app)
    assert (app.number_input(key="number-from").value, app.number_input(key="number-to").value) == (4, 10)
    assert "image 4 (" in words(app), "people count from 1"
    assert "legs" not in words(app).partition("What the meter says")[2].partition("Largest jump")[0]
    app.number_input(key="number-to").set_value(4).run()
    assert app.query_params["to"] in ("3", ["3"])
    assert "both are the same point, so nothing moves" in words(app)


def test_two_runs_on_the_same_tour_have_their_totals_beside_each_other(trained):
    first, second = trained("vae"), trained("conv-autoencoder")
    app = visit("transitions", run=first.id, run2=second.id, **SHORT)
    assert not app.exception
    assert not app.error
    assert "| Frames off the two classes |" in words(app)
    assert "**A: VAE on Digits" in words(app)
    assert "**B: Convolutional autoencoder on Digits" in words(app)
    assert len(app.get("bidi_component")) == 1, "one scrubber moves both"
    app.selectbox[1].set_value("").run()
    assert "| Frames off" not in words(app)
    assert "run2" not in app.query_params


def test_what_else_two_runs_differ_in_is_said(trained):
    first, second = trained("vae"), trained("multi-stage-vae", seed=1)
    said = words(visit("transitions", run=first.id, run2=second.id, **SHORT))
    assert "Not only the family differs" in said
    assert "Seed (0 and 1)" in said
    said = words(visit("transitions", run=first.id, run2=trained("multi-stage-vae").id, **SHORT))
    assert "differs" not in said, "the head's own settings are a part of the family"
    said = words(visit("transitions", run=first.id, run2=trained("vae", seed=2).id, **SHORT))
    assert "What differs: Seed (0 and 2)." in said


def test_the_player_says_what_the_meter_counts(monkeypatch):
    """Probabilities that are equal once rounded, and a frame that holds still."""
    sent = {}
    monkeypatch.setattr(player, "pack", lambda about, arrays: sent.update(arrays) or b"")
    monkeypatch.setattr(player, "_mount", lambda **_: None)
    stops = transitions.Stops(np.array([[0.0], [1.0]]), np.array([0, 1]), ("0", "1"))
    tour = transitions.tour(stops, transitions.Plan(3, hold=1), np.zeros(1))
    probabilities = np.tile([0.3340, 0.3325, 0.3335], (5, 1))
    probabilities[[0, 2, 3]] = [0.3335, 0.3325, 0.3340]
    meter = transitions.Meter(probabilities, np.zeros(5, int), np.zeros(5))
    for told in (np.nan, np.inf, -np.inf, 10**400, "x"):
        monkeypatch.setattr(player.st, "session_state", {"key": {"frame": told}})
        frames = np.zeros((5, 1, 4, 4), np.uint8)
        film = player.Film("one", player.sheet_of(frames), 4, 4, meter, "", "")
        assert 0 <= player.player([film], tour, ["0", "1", "2"], tours.numbers(tour), key="key") < 5
    assert sent["reads0"][0].tolist() == probabilities.argmax(1).tolist()
    assert sent["off0"][0].tolist() == [False, False, True, True, False], "a frame that holds still does not count"
    assert sent["off0"][0].sum() == transitions.totals(tour, meter).off


def test_frames_that_hold_still_have_no_number_of_their_own():
    stops = transitions.Stops(np.array([[0.0], [1.0], [2.0]]), np.array([0, 1, 2]), ("0", "1", "2"))
    tour = transitions.tour(stops, transitions.Plan(2, hold=1), np.zeros(1))
    found = tours.numbers(tour)
    assert found.tolist() == [1, 1, 2, 2, 3, 4, 4]
    assert found[tour.moving].tolist() == [1, 2, 3, 4]


def test_an_order_without_classes_is_empty(trained):
    app = visit("transitions", run=trained("vae").id, order="")
    assert app.multiselect(key="order").value == []
    assert "There is no class" not in words(app)
    assert "A tour needs at least two classes" in words(app)


def test_runs_of_other_splits_are_not_compared_by_image(trained):
    first, second = trained("vae"), trained("vae", seed=1)
    app = visit("transitions", run=first.id, run2=second.id, between="Two test images", **SHORT)
    assert "other test images" in words(app)
    assert not app.exception


@pytest.mark.parametrize("other", ["none-such", "../../etc/passwd"])
def test_an_unknown_second_run_gets_a_sentence(trained, other: str):
    app = visit("transitions", run=trained("vae").id, run2=other)
    assert "There is no run" in words(app)
    assert not app.exception


def test_a_second_run_that_knows_other_classes_is_not_taken(trained):
    app = visit("transitions", run=trained("vae").id, run2=trained("vae", "shapes", budget=2).id, **SHORT)
    assert "does not know the same classes" in words(app)
    assert not app.exception
    assert not app.error


def test_a_class_without_images_is_left_out_and_refused_by_name(trained):
    run = trained("vae")
    labels = run.arrays("latents")["labels"]
    rewrite(run, labels=np.where(labels == 4, 5, labels))
    app = visit("transitions", run=run.id, **SHORT)
    assert not app.error
    assert app.multiselect(key="order").value == [each for each in "0123456789" if each != "4"]
    app.multiselect(key="order").set_value(["3", "4"]).run()
    assert "none of class 4" in words(app)
    assert not app.exception


def test_equal_centroids_are_said(trained):
    run = trained("vae")
    rewrite(run, means=np.ones_like(run.arrays("latents")["means"]))
    app = visit("transitions", run=run.id, **SHORT)
    assert "0 to 1: both are the same point, so nothing moves." in words(app)
    assert not app.exception
    assert not app.error


def test_codes_that_are_not_numbers_are_refused(trained):
    run = trained("vae")
    rewrite(run, means=run.arrays("latents")["means"] * np.nan)
    app = visit("transitions", run=run.id)
    assert "are not numbers" in words(app)
    assert not app.exception


def test_one_latent_dimension_has_no_arc(trained):
    app = visit("transitions", run=trained("vae", latent_size=1).id, path="spherical", **SHORT)
    assert "one latent dimension" in words(app)
    assert not app.exception
    assert not app.error


@pytest.mark.parametrize("between", [None, "Classes"])
def test_a_run_without_classes_goes_between_images_and_has_no_judge(trained, between: str | None):
    run = trained("vae")
    told = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(told | {"classes": []}))
    rewrite(run, labels=np.zeros_like(run.arrays("latents")["labels"]))
    app = visit("transitions", run=run.id, **SHORT, **({"between": between} if between else {}))
    assert not app.exception
    if between:
        assert "one class only" in words(app)
    else:
        assert "no classes" in words(app)
        assert "real images near" in words(app)


def test_a_judge_is_trained_when_there_is_none_and_kept(trained, monkeypatch, tmp_path, home):
    monkeypatch.setattr(judge, "SHIPPED", tmp_path / "none")
    monkeypatch.setitem(judge.SETTINGS, "digits", judge.Settings(width=8, epochs=2))
    run = trained("vae")
    app = visit("transitions", run=run.id, **SHORT)
    assert "No judge was trained" in words(app)
    assert "frames have no real image near" in words(app) or "Every frame has real images near" in words(app)
    app = press(app, "Train a judge")
    assert not app.exception
    assert (home / "judges" / "digits.safetensors").exists()
    assert "Between two classes, the judge takes" in words(app)


def test_more_frames_than_another_run_can_have_are_left_behind() -> None:
    app = visit("transitions", run="vae-digits")
    next(each for each in app.slider if each.key == "frames").set_value(100).run()
    next(each for each in app.selectbox if each.label == "Run").set_value("diffusion-mnist").run()
    assert not app.exception
    assert next(each for each in app.slider if each.key == "frames").value == 12
