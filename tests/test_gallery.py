"""The gallery: finding, ticking and deleting runs, and the ready-made ones below one's own."""

import shutil
import time
from pathlib import Path

import pytest

from genmodels.runs import Run, all_runs, runs_folder
from tests.test_pages import Trained, press, started, visit, words  # noqa: F401 (a fixture)


def test_an_empty_gallery_leads_to_training():
    app = press(visit("gallery"), "Train a first model")
    assert app.title[0].value == "Train a model"


def test_search_filters_and_comparison(trained: Trained):
    one, two = trained(budget=2, latent_size=3), trained("autoencoder", budget=2)
    app = visit("gallery", search="autoencoder")
    assert two.id.rsplit("-", 1)[-1] in words(app)
    assert one.id.rsplit("-", 1)[-1] not in words(app)
    app = visit("gallery", state="failed")
    assert "No run matches" in words(app)
    app = visit("gallery", compare=f"{one.id},{two.id}")
    assert {each.label for each in app.checkbox if each.value} == {"Compare"}
    app = press(app, "Compare 2 runs")
    assert app.title[0].value == "Compare"
    assert app.query_params["runs"] in (f"{one.id},{two.id}", [f"{one.id},{two.id}"])
    assert "another one" in words(visit("gallery", compare=one.id))
    assert not [each for each in press(visit("gallery", compare=one.id), "Untick all").checkbox if each.value]


def test_delete_asks_first(trained: Trained):
    run = trained(budget=2)
    assert "Delete" not in {button.label for button in visit("gallery").button}, "a menu that is shut costs no time"
    app = visit("gallery", run)
    press(app, "Delete")
    assert run.path.exists()
    assert "Duplicate with changes" not in {button.label for button in app.button}, "the menu lies over the question"
    app = next(button for button in app.button if button.label == "Delete" and not button.key).click().run()
    assert not app.exception
    assert not run.path.exists()


def test_two_hundred_runs_are_listed_a_dozen_at_a_time(trained: Trained):
    run = trained(budget=2)
    for number in range(200):
        copy = run.path.with_name(f"copy-{number}")
        copy.mkdir()
        for name in ("config.json", "status.json"):
            (copy / name).write_bytes((run.path / name).read_bytes())
    assert len(all_runs()) == 201
    app = visit("gallery")
    assert not app.exception
    assert any(button.label.startswith("Show more (189") for button in app.button)


def test_cards_say_what_differs_from_the_defaults(new_run: Trained):
    new_run(latent_size=32, seed=3)
    new_run("multi-stage-vae", size=16)
    said = words(visit("gallery"))
    assert "latent size 32, seed 3" in said
    assert "16 pixels wide" in said
    assert "latent size 32" in words(visit("gallery", search="32 seed"))


def test_a_run_that_meanwhile_trains_is_not_asked_about(trained: Trained):
    run = trained(budget=2)
    app = visit("gallery", run)
    run.write_status(run.status().model_copy(update={"state": "running", "heartbeat": time.time(), "pid": None}))
    press(app, "Delete")
    assert not app.exception
    assert "is running" in app.info[0].value
    assert not [each for each in app.button if each.label == "Delete" and not each.key]
    assert run.path.exists()


@pytest.fixture
def ready_made(trained: Trained, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """A run that comes with the app: without log and checkpoint, and without originals in its snapshots."""
    run = trained(budget=3, log_every=1, latent_size=4)
    monkeypatch.setattr("genmodels.runs.ZOO", tmp_path / "zoo")
    for name in ("log.txt", "resume.pt", "live.npz", "worker.lock", "request.json"):
        (run.path / name).unlink(missing_ok=True)
    for step in run.snapshots():
        arrays = run.arrays(f"snapshots/{step}")
        run.write_arrays(f"snapshots/{step}", {name: each for name, each in arrays.items() if name != "originals"})
    (tmp_path / "zoo").mkdir()
    return Run(run.path.rename(tmp_path / "zoo" / "vae-digits-ready"))


def test_a_ready_made_run_stands_below_one_s_own(ready_made: Run, trained: Trained):
    app = visit("gallery")
    assert not app.exception
    assert "No runs of your own yet" in words(app)
    assert "Ready-made" in words(app)
    assert ready_made.shipped
    trained(budget=2)
    app = visit("gallery", ready_made)
    assert "No runs of your own" not in words(app)
    keys = [each.key for each in app.button if each.key]
    assert f"open-{ready_made.id}" in keys
    assert not {f"delete-{ready_made.id}", f"resume-{ready_made.id}"} & set(keys)
    assert any(each.proto.id.endswith(f"zip-{ready_made.id}") for each in app.get("download_button"))


def test_a_ready_made_run_is_opened_compared_and_duplicated(
    ready_made: Run,
    trained: Trained,
    started: list[Run],  # noqa: F811
):
    app = visit("train", run=ready_made.id)
    assert not app.exception
    assert not app.error
    assert "Reconstructions: copies of test images" in words(app)
    assert "Resume" not in {each.label for each in app.button}
    app.select_slider[0].set_value(1).run()
    assert not app.exception
    own = trained(budget=2)
    both = visit("compare", runs=f"{own.id},{ready_made.id}")
    assert not both.exception
    assert {link.proto.query_string for link in both.get("page_link")} >= {
        f"run={each.id}" for each in (own, ready_made)
    }
    press(visit("train", like=ready_made.id), "Train")
    assert started[0].config.knobs["latent_size"] == 4
    assert not started[0].shipped


def test_an_imported_copy_of_a_ready_made_run_stands_in_for_it(ready_made: Run):
    shutil.copytree(ready_made.path, runs_folder() / ready_made.id)
    app = visit("gallery")
    assert not app.exception
    assert "Ready-made" not in words(app)
