"""Every page, without a browser: in an empty home, on a run of every family, on runs damaged or unknown."""

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from app import cards, panels, plan, settings
from genmodels import jobs
from genmodels.config import UserError
from genmodels.data.selection import Selection
from genmodels.families import FAMILIES
from genmodels.runs import Run, Status
from tests.conftest import data_for

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
Trained = Callable[..., Run]


def visit(page: str, menu: Run | None = None, **query: str) -> AppTest:
    """Open a page as a link does. menu: of the card of this run, in the gallery, is open."""
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=60)
    if menu:
        app.session_state[f"more-{menu.id}"] = True
    for name, value in query.items():
        app.query_params[name] = value
    if "_" in page:  # its address has a hyphen, which AppTest knows once the navigation has run
        app.run()
    app.switch_page(str(ROOT / "pages" / f"{page}.py"))
    return app.run()


def settled(app: AppTest) -> AppTest:
    """The page once what goes on beside it is done."""
    for _ in range(100):
        if not app.get("progress"):
            return app
        for thread in threading.enumerate():
            if thread.name == "background":
                thread.join(1)
        app.run()
    raise AssertionError("it is still on its way")


def words(app: AppTest) -> str:
    """All that is written on the page."""
    kinds = (app.title, app.header, app.markdown, app.caption, app.error, app.info, app.warning)
    return "\n".join(str(element.value) for kind in kinds for element in kind)


def press(app: AppTest, label: str) -> AppTest:
    return next(button for button in app.button if button.label == label).click().run()


# What each page opens on unasked, where there is no run of one's own and no dataset that has to be fetched.
OPENS: dict[str, object] = {
    **dict.fromkeys(("latent_map", "perturbation", "arithmetic", "transitions"), "vae-mnist"),
    "samples": "conditional-gan-mnist",
    "denoising": "diffusion-mnist",
    "translate": "pix2pix-edges-mnist",
    "complete": ["multi-stage-vae-digits", "vae-digits"],  # whose test images are here
    "outliers": "vae-digits",
}
# Where the model's copies stand in for its test images, or nothing for training images, and the page says so.
WITHOUT = ("latent_map", "perturbation", "arithmetic", "transitions", "translate", "samples")


@pytest.mark.parametrize("page", PAGES)
def test_every_page_on_a_first_visit(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "nothing"))
    app = visit(page)
    assert not app.exception
    assert not app.error
    assert app.title[0].value
    assert app.query_params.get("run") in (OPENS.get(page), [OPENS.get(page)])
    assert ("not on this machine" in words(app)) == (page in WITHOUT)


def test_the_first_choice_of_a_run_counts_where_the_address_named_none():
    app = visit("perturbation")
    assert app.selectbox[0].set_value("vae-digits").run().query_params["run"] in ("vae-digits", ["vae-digits"])


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
    run = trained(name, data_for(name), budget=3, log_every=1)
    app = visit("train", run=run.id)
    assert not app.exception
    assert not app.error
    assert app.title[0].value == panels.heading(run.config)
    for loss in FAMILIES[name].Model.LOSSES:
        assert panels.figures.title(loss) in words(app)
    slider = app.select_slider[0]
    slider.set_value(run.snapshots()[0]).run()
    assert not app.exception
    gallery = visit("gallery", run)
    assert not gallery.exception
    assert FAMILIES[name].title in words(gallery)
    assert "Duplicate with changes" in {button.label for button in gallery.button}


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
    gallery = visit("gallery", run)
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
    assert not visit("gallery", run).exception


def test_duplicate_opens_the_form_with_its_settings(trained: Trained, started: list[Run]):
    run = trained("multi-stage-vae", budget=2, seed=7, latent_size=5)
    app = visit("train", like=run.id)
    assert not app.exception
    press(app, "Train")
    copy = started[0].config
    assert (copy.family, copy.seed, copy.parent) == ("multi-stage-vae", 7, run.id)
    assert copy.knobs == run.config.knobs
    assert copy.schedule == run.config.schedule


def test_the_plan_counts_every_parameter(new_run: Trained):
    config = new_run("conv-autoencoder").config
    layers = plan.layers(config)
    assert sum(layer.parameters for layer in layers) == sum(p.numel() for p in config.build().parameters())
    assert any(re.fullmatch(r"encoder: Conv2d 3x3 1 → 32", layer.name) for layer in layers)
    assert re.match(r"About (\d+ min ?)?(\d+ s)?\.", plan.estimate(config, 1437))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.4, "0 s"), (12, "12 s"), (59.9, "1 min"), (80, "1 min 20 s"), (3599.9, "1 h"), (7500, "2 h 5 min")],
)
def test_durations(seconds: float, text: str):
    assert plan.duration(seconds) == text


def test_ages_of_any_text():
    assert cards.age("not a date") == cards.moment("not a date") == "some time ago"
    assert cards.moment("2026-11-21T18:02:59.123+00:00") == "21 Nov, 18:02 UTC"
    assert cards.age("2020-01-01T00:00:00+00:00").endswith("years ago")
    assert cards.age("2020-01-01T00:00:00") == "some time ago"  # without a zone it cannot be told


def test_differences_name_only_what_differs(new_run: Trained):
    one, two = new_run(latent_size=3), new_run(latent_size=4)
    assert settings.differences([("a", one.config), ("b", two.config)]) == [
        {"setting": "Latent size", "a": "3", "b": "4"}
    ]


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


# -- what a page says of itself, of settings and of what is damaged


def button(app: AppTest, label: str) -> object:
    return next(each for each in app.button if each.label == label)


@pytest.mark.parametrize(
    ("label", "typed", "sentence"),
    [
        ("Beta (", 5000.0, "Beta must be from 0 to 1,000."),
        ("Seed", -1, "Seed must be from 0 to 2,147,483,647."),
        ("Image side", 3, "Image side must be from 8 to 64."),
        ("Budget", 0.0, "Budget must be from 0.001 to 1,000,000."),
    ],
)
def test_a_number_out_of_range_is_said_and_nothing_can_be_trained_with_it(
    label: str, typed: float, sentence: str, started: list[Run]
):
    app = visit("train")
    box = next(box for box in app.number_input if box.label.startswith(label))
    assert not button(app, "Train").disabled
    before = box.value
    box.set_value(typed).run()
    assert not app.exception
    assert button(app, "Train").disabled
    assert [each.value for each in app.error] == [sentence]
    assert any(sentence in each.value for each in app.caption)
    next(box for box in app.number_input if box.label.startswith(label)).set_value(before).run()
    assert not app.error
    assert not button(app, "Train").disabled
    next(box for box in app.number_input if box.label.startswith(label)).set_value(typed)
    press(app, "Train")  # at once: the click comes together with the number
    assert not started


def write_points(run: Run, rates: list[tuple[float, float]]) -> None:
    """A curve of a run that was at (seconds, images per second)."""
    (run.path / "metrics.jsonl").unlink(missing_ok=True)
    for step, (seconds, rate) in enumerate(rates, 1):
        run.append_metrics({"step": step, "seconds": seconds, "images_per_second": rate, "train": {"kl": 1.0}})
    (run.path / "resume.pt").touch()


def test_the_estimate_is_all_images_over_all_seconds_of_runs_long_enough(new_run: Trained):
    one, two, short, elsewhere, other = new_run(), new_run(seed=1), new_run(), new_run(), new_run(latent_size=3)
    write_points(one, [(1, 100), (9, 1000), (10, 10)])  # 100 + 8,000 + 10 images in 10 seconds
    write_points(two, [(30, 2000)])  # 60,000 images in 30 seconds
    write_points(short, [(1, 9e9), (2, 9e9), (3, 9e9), (4, 9e9)])
    write_points(elsewhere, [(50, 9e9)])
    (elsewhere.path / "resume.pt").unlink()  # as an imported run comes
    write_points(other, [(50, 9e9)])
    rate, source = plan.images_per_second(one.config)
    assert rate == pytest.approx((100 + 8000 + 10 + 60_000) / 40)
    assert "earlier runs" in source


def test_an_estimate_without_a_run_long_enough_is_a_trial(new_run: Trained):
    run = new_run()
    write_points(run, [(1, 9e9), (4.9, 9e9)])
    rate, source = plan.images_per_second(run.config)
    assert "trial" in source
    assert 0 < rate < 9e8


def test_points_that_cannot_be_read_are_counted(trained: Trained):
    run = trained(budget=5, log_every=1)
    assert "could not be read" not in words(visit("train", run=run.id))
    lines = (run.path / "metrics.jsonl").read_bytes().splitlines(keepends=True)
    lines[1] = lines[1][:9] + b"\n"
    (run.path / "metrics.jsonl").write_bytes(b"".join(lines))
    assert "One point of the curves could not be read" in words(visit("train", run=run.id))
    (run.path / "metrics.jsonl").write_bytes(b"".join(lines)[:-5])
    assert "2 points of the curves could not be read" in words(visit("train", run=run.id))
    (run.path / "metrics.jsonl").write_bytes(b"\xff\n\xff\n")
    app = visit("train", run=run.id)
    assert not app.exception
    assert "Samples" in words(app), "its pictures are whole"
    assert "first point comes" not in words(app)


@pytest.mark.parametrize("damage", ["cut off", "another header", "missing"])
def test_damaged_weights_are_said_when_the_run_is_opened(damage: str, trained: Trained):
    run = trained(budget=2)
    app = visit("train", run=run.id)
    assert not app.error
    assert "Latent map" in {link.label for link in app.get("page_link")}
    path = run.path / "weights.safetensors"
    content = path.read_bytes()
    path.write_bytes({"cut off": content[:-4], "another header": b"\0" * 8 + content[8:], "missing": b""}[damage])
    if damage == "missing":
        path.unlink()
    app = visit("train", run=run.id)
    assert not app.exception
    assert "Its weights are" in app.error[0].value
    assert "Train a copy" in app.error[0].value
    assert not {link.label for link in app.get("page_link")}, "nothing can be looked into"
    assert "Measured on the test images" in words(app)


def rows(app: AppTest) -> list[tuple[str, ...]]:
    return [tuple(map(str, row)) for row in app.table[0].value.itertuples(index=False)]


def test_an_opened_run_tells_its_settings_what_differs_first(trained: Trained):
    run = trained("vae", budget=2, seed=3, beta=4, body="conv")
    app = visit("train", run=run.id)
    assert "Settings" in {each.label for each in app.expander}
    assert rows(app)[:2] == [("Beta", "4", "1"), ("Body", "conv", "mlp")]
    assert ("Seed", "3", "0") in rows(app)
    assert ("Budget", "2 steps", "1 minute") in rows(app)
    assert ("Latent size", "16", "") in rows(app)
    assert any(name == "Versions" and "torch" in value for name, value, _ in rows(app))
    assert "Beta 4, conv body, seed 3, 2 steps" in words(app)
    assert settings.in_words(run.config) == "beta 4, conv body, seed 3, 2 steps, cpu device, threads 1"


def test_settings_that_are_the_defaults_need_no_words(new_run: Trained):
    config = new_run().config
    plain = config.model_copy(update={"schedule": type(config.schedule)()})
    assert settings.in_words(plain) == ""
    rare = plain.model_copy(update={"selection": Selection(left_out=(1, 2), scarce="8", kept=0.05)})
    assert settings.in_words(rare) == "without 2 images, 5% of class 8 kept"


def test_a_queued_run_says_its_place_and_what_comes(new_run: Trained):
    first, second = new_run(), new_run()
    for age, run in ((5, first), (2, second)):
        run.write_status(Status(state="queued", heartbeat=time.time() - age))
    app = visit("train", run=second.id)
    assert "Number 2 in the queue" in app.get("progress")[0].proto.text
    assert "appear here" in app.info[0].value
    assert not app.get("vega_lite_chart")
    second.append_metrics({"step": 1, "seconds": 1.0, "images_per_second": 9.0, "train": {"negative_elbo": 1.0}})
    app = visit("train", run=second.id)
    assert app.get("vega_lite_chart"), "a resumed run that waits shows how far it has come"


def test_the_kl_of_the_bars_and_of_the_figures_are_told_apart(trained: Trained):
    grey, drawn = trained(budget=2, likelihood="gaussian"), trained(budget=2, likelihood="bernoulli")
    assert "test images in grey" in words(visit("train", run=drawn.id))
    assert "test images in grey" not in words(visit("train", run=grey.id))


def test_links_lead_to_the_pages_that_a_run_is_able_for(trained: Trained):
    run = trained("conv-autoencoder", budget=2)
    for app in (visit("train", run=run.id), visit("gallery", run)):
        found = {link.label for link in app.get("page_link") if f"run={run.id}" in link.proto.query_string}
        assert {"Latent map", "Perturbation"} <= found
        assert "Beta" not in found
