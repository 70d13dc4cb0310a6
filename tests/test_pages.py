"""Every page, without a browser: in an empty home, on a run of every family, on runs damaged or unknown."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import cards, panels, plan
from genmodels import jobs
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.runs import Run, Status, all_runs

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
Trained = Callable[..., Run]


def visit(page: str, **query: str) -> AppTest:
    """Open a page as a link does."""
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=60)
    for name, value in query.items():
        app.query_params[name] = value
    app.switch_page(str(ROOT / "pages" / f"{page}.py"))
    return app.run()


def words(app: AppTest) -> str:
    """All that is written on the page."""
    kinds = (app.title, app.subheader, app.markdown, app.caption, app.error, app.info, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


@pytest.mark.parametrize("page", PAGES)
def test_every_page_on_a_first_visit(page: str):
    app = visit(page)
    assert not app.exception
    assert not app.error
    assert app.title[0].value


def test_an_empty_gallery_leads_to_training():
    app = press(visit("gallery"), "Train a first model")
    assert app.title[0].value == "Train a model"


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    """Runs that a page has started, without starting them."""
    runs: list[Run] = []
    monkeypatch.setattr(jobs, "start", runs.append)
    return runs


def test_one_click_trains_digits_with_every_default(started: list[Run]):
    app = press(visit("train"), "Train")
    assert not app.exception
    (run,) = started
    config = run.config
    assert (config.family, config.dataset, config.seed) == ("vae", "digits", 0)
    assert (config.schedule.budget, config.schedule.unit) == (1, "minutes")
    assert config.knobs == FAMILIES["vae"].Config().model_dump()
    assert app.query_params["run"] in (run.id, [run.id])
    assert app.title[0].value == "VAE on Digits"


def test_a_knob_that_is_turned_arrives_in_the_run(started: list[Run]):
    app = visit("train")
    next(box for box in app.number_input if box.label.startswith("Beta (")).set_value(4.0).run()
    press(app, "Train")
    assert started[0].config.knobs["beta"] == 4


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_can_be_started_with_its_defaults(name: str, started: list[Run]):
    app = visit("train")
    next(box for box in app.selectbox if box.label == "Model").set_value(name).run()
    press(app, "Train")
    assert not app.error
    assert started[0].config.family == name
    assert started[0].config.knobs == FAMILIES[name].Config().model_dump()


@pytest.mark.parametrize("name", FAMILIES)
def test_a_finished_run_of_every_family(name: str, trained: Trained):
    run = trained(name, budget=3, log_every=1)
    app = visit("train", run=run.id)
    assert not app.exception
    assert not app.error
    assert app.title[0].value == f"{FAMILIES[name].title} on Digits"
    for loss in FAMILIES[name].Model.LOSSES:
        assert panels.figures.title(loss) in words(app)
    slider = app.select_slider[0]
    slider.set_value(run.snapshots()[0]).run()
    assert not app.exception
    gallery = visit("gallery")
    assert not gallery.exception
    assert FAMILIES[name].title in words(gallery)


@pytest.mark.parametrize("run_id", ["no-such-run", "../../etc", "", "x" * 500])
@pytest.mark.parametrize("key", ["run", "like"])
def test_an_unknown_run_is_one_sentence_and_a_way_out(run_id: str, key: str):
    app = visit("train", **{key: run_id})
    assert not app.exception
    assert "There is no run" in app.error[0].value


@pytest.mark.parametrize("state", ["queued", "running", "paused", "stopped", "failed"])
def test_a_run_in_every_state_without_a_point(state: str, new_run: Trained):
    run = new_run()
    status = {"state": state, "error": "It broke [here](http://x)." if state == "failed" else None}
    run.write_status(Status.model_validate(status | {"heartbeat": time.time()}))
    app = visit("train", run=run.id)
    assert not app.exception
    labels = {button.label for button in app.button}
    assert ("Pause" in labels) == (state == "running")
    assert ("Stop" in labels) == (state in ("queued", "running", "paused"))
    assert ("Resume" in labels) == (state in ("paused", "stopped", "failed"))
    if state == "failed":
        assert r"\[here\]" in app.error[0].value
    assert state in words(visit("gallery"))


@pytest.mark.parametrize(
    "file", ["config.json", "summary.json", "metrics.jsonl", "status.json", "live.npz", "snapshots/1.npz"]
)
def test_a_damaged_run_breaks_no_page(file: str, trained: Trained):
    run, whole = trained(budget=2, log_every=1), trained(budget=2, log_every=1, seed=1)
    path = run.path / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    app = visit("train", run=run.id)
    assert not app.exception
    gallery = visit("gallery")
    assert not gallery.exception
    assert whole.id.rsplit("-", 1)[-1] in words(gallery)
    if file == "config.json":
        assert "damaged" in app.error[0].value
        assert "damaged" in gallery.error[0].value


@pytest.mark.parametrize(
    "line", [b"3\n", b'{"train": 1}\n', b'{"step": 1, "train": {"kl": 1.0}}\n', b"\xff\n", b"null\n"]
)
def test_a_strange_line_in_the_curves_breaks_no_page(line: bytes, trained: Trained):
    run = trained(budget=2, log_every=1)
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(line)
    assert not visit("train", run=run.id).exception
    assert not visit("gallery").exception


def test_duplicate_opens_the_form_with_its_settings(trained: Trained, started: list[Run]):
    run = trained("multi-stage-vae", budget=2, seed=7, latent_size=5)
    app = visit("train", like=run.id)
    assert not app.exception
    press(app, "Train")
    copy = started[0].config
    assert (copy.family, copy.seed, copy.parent) == ("multi-stage-vae", 7, run.id)
    assert copy.knobs == run.config.knobs
    assert copy.schedule == run.config.schedule


def test_search_filters_and_comparison(trained: Trained):
    one, two = trained(budget=2, latent_size=3), trained("autoencoder", budget=2)
    app = visit("gallery", search="autoencoder")
    assert two.id.rsplit("-", 1)[-1] in words(app)
    assert one.id.rsplit("-", 1)[-1] not in words(app)
    app = visit("gallery", state="failed")
    assert "No run matches" in words(app)
    app = visit("gallery", compare=f"{one.id},{two.id},gone")
    assert not app.exception
    assert "Comparing 2 runs" in words(app)
    assert "There is no run" in app.warning[0].value


def test_delete_asks_first(trained: Trained):
    run = trained(budget=2)
    app = visit("gallery")
    press(app, "Delete")
    assert run.path.exists()
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


def test_the_plan_counts_every_parameter(new_run: Trained):
    config = new_run("conv-autoencoder").config
    layers = plan.layers(config)
    assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in config.build().parameters())
    assert any(re.fullmatch(r"encoder: Conv2d 3x3 1 → 32", layer.name) for layer in layers)
    assert re.match(r"About \d+:\d\d min\.", plan.estimate(config, 1437))


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00 min"), (61, "1:01 min"), (3599.9, "1 h 0 min"), (7300, "2 h 1 min")]
)
def test_durations(seconds: float, text: str):
    assert plan.duration(seconds) == text


def test_ages_of_any_text():
    assert cards.age("not a date") == "some time ago"
    assert cards.age("2020-01-01T00:00:00+00:00").endswith("years ago")
    assert cards.age("2020-01-01T00:00:00") == "some time ago"  # without a zone it cannot be told


def test_differences_name_only_what_differs(new_run: Trained):
    one, two = new_run(latent_size=3), new_run(latent_size=4)
    assert cards.differences([("a", one.config), ("b", two.config)]) == [{"setting": "Latent size", "a": "3", "b": "4"}]


def test_a_refused_action_is_a_toast_and_no_trace(monkeypatch: pytest.MonkeyPatch, new_run: Trained):
    def refuse(run: Run) -> None:
        raise UserError("The disk is full.")

    run = new_run()
    monkeypatch.setattr(jobs, "resume", refuse)
    app = press(visit("train", run=run.id), "Resume")
    assert not app.exception
    assert app.toast[0].value == "The disk is full."


def test_status_json_of_a_stranger(new_run: Trained):
    run = new_run()
    (run.path / "status.json").write_text(json.dumps({"state": "finished", "share": 7, "step": 1, "device": "<b>"}))
    assert not visit("train", run=run.id).exception
