"""The Beta page and the sliders of a running model, without a browser."""

import json
import time

import numpy as np
import pytest

from app import comparison, pictures, traversals
from genmodels import data, experiment, figures, jobs, steering, trade
from genmodels.config import Schedule
from genmodels.runs import Run, Status, all_runs
from genmodels.steering import Turn
from genmodels.worker import run_to_end
from tests.test_pages import press, visit, words

STEPS = Schedule(budget=12, unit="steps", threads=1, device="cpu", log_every=1)


@pytest.fixture
def compared(new_run, monkeypatch):
    """Members of an experiment, trained in this process."""

    def make(family: str = "vae", betas=(0.5, 4.0), dataset: str = "digits", size=None, **knobs) -> list[Run]:
        with monkeypatch.context() as patch:
            patch.setattr(jobs, "start", lambda run: None)
            base = new_run(family, dataset, 0, size, hidden_size=16, **{"latent_size": 4, **knobs})
            runs = experiment.start(experiment.plan(base.config, betas, STEPS))
        for run in runs:
            for _ in run_to_end(run):
                pass
        return runs

    return make


@pytest.fixture
def started(monkeypatch) -> list[Run]:
    runs: list[Run] = []
    monkeypatch.setattr(jobs, "start", runs.append)
    return runs


def link(runs: list[Run]) -> str:
    return str(runs[0].config.experiment)


def test_an_empty_home_needs_one_click(started: list[Run]) -> None:
    app = press(visit("beta"), "Train 4 models")
    assert not app.exception
    assert [experiment.beta_of(run) for run in started] == [0.25, 1, 4, 16]
    assert {run.config.schedule.unit for run in started} == {"steps"}
    assert app.query_params["experiment"] in (link(started), [link(started)])
    assert "only beta differs" in words(app)


@pytest.mark.parametrize("family", experiment.families())
def test_the_settings_of_a_run_are_taken_over(family: str, trained, started) -> None:
    run = trained(family, latent_size=3, seed=5)
    app = visit("beta", run=run.id)
    next(box for box in app.text_input if box.label == "Betas").set_value("1 2").run()
    app = press(app, "Train 2 models")
    assert not app.exception
    for made, beta in zip(started, (1, 2), strict=True):
        assert made.config.knobs == {**run.config.knobs, "beta": beta}
        assert (made.config.seed, made.config.parent, made.config.schedule.budget) == (5, run.id, 30)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1, x", "not a number"),
        ("1, 1", "twice"),
        ("1, -3", "between 0 and 1,000, not -3"),
        ("1, nan", "between 0 and 1,000, not nan"),
        ("2", "2 to 8"),
        (" ", "Write some betas"),
    ],
)
def test_a_bad_list_is_a_sentence_and_no_button(text: str, said: str, started) -> None:
    app = visit("beta")
    next(box for box in app.text_input if box.label == "Betas").set_value(text).run()
    assert not app.exception
    assert said in app.error[0].value
    assert not any(button.label.startswith("Train") for button in app.button)


@pytest.mark.parametrize("family", experiment.families())
def test_everything_follows_the_slider(family: str, compared) -> None:
    runs = compared(family)
    app = visit("beta", experiment=link(runs))
    assert not app.exception
    assert not app.error
    assert "only beta differs" in words(app)
    assert "Beta 0.5" in [each.value for each in app.header]
    app.select_slider[0].set_value("4").run()
    assert not app.exception
    assert "Beta 4" in [each.value for each in app.header]
    found = experiment.terms(runs[1])
    assert f"Negative ELBO **{figures.number(found['negative_elbo'])}**" in words(app)
    again = visit("beta", experiment=link(runs), beta="4", loss="KL")
    assert "Beta 4" in [each.value for each in again.header]
    assert "KL nats per image" in words(again)


def test_a_run_without_a_beta_is_told_which_families_have_one(trained) -> None:
    run = trained("autoencoder")
    app = visit("beta", run=run.id)
    assert not app.exception
    assert "this family has no beta. These have: VAE" in app.info[0].value
    assert app.text_input(key="betas").value


def test_without_the_dataset_of_a_run_the_form_stays_and_shows_the_way(trained, monkeypatch) -> None:
    run = trained("vae")
    monkeypatch.setattr(data, "is_present", lambda name: name != "digits")
    app = visit("beta", run=run.id)
    assert not app.exception
    assert "is not on this machine" in app.error[0].value
    assert app.text_input(key="betas").value
    (way,) = [each for each in app.get("page_link") if "Data page" in each.proto.label]
    assert "data=digits" in way.proto.query_string
    assert not any(button.label.startswith("Train") for button in app.button)


def test_the_first_points_do_not_flatten_the_curves() -> None:
    x, y = comparison.later((np.array([1.0, 19, 20, 500, 1000]), np.array([535.0, 300, 200, 101, 100])))
    assert (list(x), list(y)) == ([20, 500, 1000], [200, 101, 100])
    assert len(comparison.later((np.zeros(0), np.zeros(0)))[0]) == 0


def test_a_kl_of_next_to_nothing_has_no_exponent() -> None:
    points = [trade.Trade("1", "a", 8.0, 30.0), trade.Trade("8", "b", 1.52e-05, 40.0)]
    assert "beta 8 spends 0.00 and 40.0." in trade.trade_sentence(points)
    assert figures.kl_sentence(np.array([9.55e-06])).endswith("; 0.00 nats in all.")


def test_the_address_may_be_wrong(compared) -> None:
    runs = compared()
    for query, said in (
        ({"experiment": "ffffffff"}, "no comparison"), ({"runs": "a,b"}, "no run"), ({"runs": "a"}, "2 to 8"),
        ({"runs": f"{runs[0].id},../../etc"}, "no run"),
    ):  # fmt: skip
        app = visit("beta", **query)
        assert not app.exception
        assert said in app.error[0].value
        assert any(button.label == "Train 4 models" for button in app.button), "a way out"
    app = visit("beta", experiment=link(runs), beta="77", loss="<b>")
    assert not app.exception
    assert "Beta 0.5" in [each.value for each in app.header]


def test_runs_put_together_say_what_differs(trained) -> None:
    one, two = trained(beta=1.0), trained(beta=4.0, latent_size=3)
    app = visit("beta", runs=f"{one.id},{two.id}")
    assert not app.exception
    assert "confounded" in words(app)
    assert "Latent size" in str(app.table[0].value)


def test_members_on_two_datasets_do_not_trip_the_page(trained) -> None:
    one, two = trained(beta=1.0), trained("vae", "shapes", beta=4.0, size=8, budget=2)
    app = visit("beta", **{"runs": f"{one.id},{two.id}", "from": "9"})
    assert not app.exception
    app.select_slider[0].set_value("4").run()
    assert not app.exception
    assert "Dataset" in str(app.table[0].value)


def test_while_it_trains_and_before_the_first_point(compared, new_run) -> None:
    runs = compared()
    waiting = new_run(beta=9.0)
    waiting.write_status(Status(state="queued", heartbeat=time.time()))
    app = visit("beta", runs=f"{runs[0].id},{waiting.id}")
    assert not app.exception
    assert "beta 9: queued" in words(app)
    assert any(button.label == "Stop all" for button in app.button)


@pytest.mark.parametrize(
    "file", ["config.json", "summary.json", "metrics.jsonl", "live.npz", "weights.safetensors", "steering.jsonl"]
)
def test_a_damaged_member_breaks_nothing(file: str, compared) -> None:
    runs = compared(betas=(0.5, 1.0, 4.0))
    for other in (runs[0], runs[1]) if file == "live.npz" else runs[:1]:
        (other.path / file).write_bytes(b"\xff{")
        for snapshot in (other.path / "snapshots").iterdir():
            snapshot.write_bytes(b"x") if file == "live.npz" else None
    app = visit("beta", experiment=link(runs))
    assert not app.exception


def test_codes_that_are_not_numbers_are_a_sentence(compared) -> None:
    runs = compared()
    arrays = runs[0].arrays("live")
    runs[0].write_arrays("live", arrays | {"latents": np.full_like(arrays["latents"], np.nan)})
    app = visit("beta", experiment=link(runs))
    assert not app.exception
    assert any("not numbers" in each.value for each in app.error)


@pytest.mark.parametrize("latent_size", [1, 2])
def test_one_or_two_latent_dimensions(latent_size: int, compared) -> None:
    app = visit("beta", experiment=link(compared(latent_size=latent_size)))
    assert not app.exception
    assert not app.error


@pytest.fixture
def drawn(monkeypatch) -> dict[str, dict]:
    """What each map of the page was given, by its key."""
    maps: dict[str, dict] = {}

    def scatter(points, labels, classes, **given):
        maps[given["key"]] = {"labels": labels, **given}
        return []

    monkeypatch.setattr(comparison, "scatter", scatter)
    return maps


@pytest.mark.parametrize("present", [True, False])
def test_a_point_of_a_map_is_the_test_image_of_its_number(present: bool, compared, drawn, monkeypatch) -> None:
    runs = compared(dataset="shapes", size=8)
    known = {run.id: run.arrays("latents")["labels"] for run in runs}
    assert all(len(labels) > 1000 for labels in known.values()), "or the snapshot would hold them all in order"
    monkeypatch.setattr(data, "is_present", lambda name: name != "shapes" or present)
    app = visit("beta", experiment=link(runs))
    assert not app.exception
    for run in runs:
        given = drawn[f"beta-map-{run.id}"]
        assert np.array_equal(known[run.id][given["ids"]], given["labels"])
        assert not np.array_equal(known[run.id][:1000], given["labels"]), "in another order"
        assert given["pictures"].real is present
        assert given["keep"] == [f"selection-{each.id}" for each in runs]


def test_points_of_unknown_images_have_no_pictures(compared, drawn, monkeypatch) -> None:
    runs = compared()
    (runs[0].path / "latents.npz").unlink()
    monkeypatch.setattr(data, "is_present", lambda name: name != "digits")
    assert not visit("beta", experiment=link(runs)).exception
    lone, other = (drawn[f"beta-map-{run.id}"] for run in runs)
    assert (lone["ids"], lone["pictures"]) == (None, None)
    assert set(lone["keep"]).isdisjoint(other["keep"])


def test_a_selection_is_shared_only_by_runs_of_the_same_test_images(trained, drawn) -> None:
    one, two, three = trained(beta=1.0), trained(beta=4.0), trained(beta=8.0, seed=1)
    app = visit("beta", runs=f"{one.id},{two.id},{three.id}")
    assert not app.exception
    keep = {run.id: drawn[f"beta-map-{run.id}"]["keep"] for run in (one, two, three)}
    assert keep[one.id] == keep[two.id] == [f"selection-{one.id}", f"selection-{two.id}"]
    assert keep[three.id] == [f"selection-{three.id}"]
    assert comparison.APART in words(app)
    assert comparison.APART not in words(visit("beta", runs=f"{one.id},{two.id}"))


def test_the_traversal_starts_from_the_first_image_of_the_class(compared) -> None:
    run = compared(betas=(0.5, 4.0))[0]
    arrays = run.arrays(pictures.newest(run))
    for image in range(10):
        first = np.flatnonzero(arrays["labels"] == image)[0]
        assert np.allclose(traversals._code(run, arrays, image), arrays["latents"][first], atol=1e-5)
    assert traversals._code(run, arrays | {"labels": np.where(arrays["labels"] == 3, 4, arrays["labels"])}, 3) is None
    few = {"labels": np.zeros(4, int), "latents": arrays["latents"][:4]}
    run.config.__dict__["classes"] = ()
    assert np.array_equal(traversals._code(run, few, 3), few["latents"][3])
    assert traversals._code(run, few, 4) is None


def test_a_member_without_images_of_the_dataset_shows_what_it_made(compared, monkeypatch) -> None:
    runs = compared()
    monkeypatch.setattr(traversals, "light", lambda arrays: False)  # the grey of so short a training is neither
    whole = traversals.traversal(runs[0], 7)
    for run in runs:
        for name in ["live", *(f"snapshots/{step}" for step in run.snapshots())]:
            arrays = run.arrays(name)
            arrays.pop("originals", None)
            run.write_arrays(name, arrays) if arrays else None
    traversals._traversal.clear()
    without = traversals.traversal(runs[0], 7)
    assert np.abs(without.images.astype(int) - whole.images).max() <= 1
    monkeypatch.setattr(data, "is_present", lambda name: name != "digits")
    app = visit("beta", experiment=link(runs))
    assert not app.exception
    assert not app.error
    said = [caption for each in app.get("image") for caption in each.captions]
    for caption in ("copies of test images", "samples", "traversal"):
        assert said.count(caption) == len(runs)


def test_the_ready_made_comparison_in_an_empty_home_without_its_dataset(drawn, monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    app = visit("beta")
    assert not app.exception
    assert not app.error
    assert "only beta differs" in words(app)
    (members,) = experiment.experiments().values()
    assert all(run.shipped for run in members)
    assert len(drawn) == len(members) > 1
    for run in members:
        given = drawn[f"beta-map-{run.id}"]
        assert np.array_equal(run.arrays("latents")["labels"][given["ids"]], given["labels"])


def test_without_the_dataset_it_still_draws(compared, monkeypatch) -> None:
    runs = compared()
    monkeypatch.setattr(data, "is_present", lambda name: name != "digits")
    app = visit("beta", experiment=link(runs))
    assert not app.exception
    assert "Beta 0.5" in [each.value for each in app.header]


# --- steering -------------------------------------------------------------------------------------------------------


def at_work(run: Run, state: str = "running") -> Run:
    run.write_status(Status.model_validate({"state": state, "step": 10, "share": 0.25, "heartbeat": time.time()}))
    return run


def test_a_running_model_has_a_slider_for_each_knob_that_can_be_turned(new_run) -> None:
    run = at_work(new_run(beta=2.0, learning_rate=0.001))
    app = visit("train", run=run.id)
    sliders = {each.label: each for each in app.select_slider}
    assert {"Beta", "Learning rate"} <= set(sliders)
    assert sliders["Beta"].value == 2
    sliders["Beta"].set_value(8.0).run()
    assert not app.exception
    assert steering.asked(run) == {"beta": 8}
    assert "falls along a cosine" in words(app)
    assert "85%" in words(app), "(1 + cos(pi / 4)) / 2"


def test_only_the_learning_rate_of_an_autoencoder_can_be_turned(new_run) -> None:
    app = visit("train", run=at_work(new_run("autoencoder", decay="constant")).id)
    assert [each.label for each in app.select_slider if each.label != "Look back in time (step)"] == ["Learning rate"]
    assert "cosine" not in words(app)


def test_the_slider_stands_where_the_run_was_turned_to(new_run) -> None:
    run = at_work(new_run())
    steering.replace(run, [Turn(4, {"beta": 3.3}), Turn(99, {"beta": 7.0})])
    app = visit("train", run=run.id)
    assert next(each for each in app.select_slider if each.label == "Beta").value == 3.3
    assert "steered" in words(app)
    assert "steered" in words(visit("gallery"))
    at_work(run, "stopped")
    assert not [each for each in visit("train", run=run.id).select_slider if each.label == "Beta"]


def test_a_turn_stands_as_a_mark_on_the_curves(trained) -> None:
    run = trained(log_every=1)
    steering.replace(run, [Turn(5, {"beta": 3.3})])
    app = visit("train", run=run.id)
    specs = [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]
    assert any("marks" in json.dumps(spec) for spec in specs)
    spec = figures.live_curves({"train": (np.arange(100.0), np.arange(100.0))}, marks=[(5, "a"), (6, "b"), (50, "c")])
    assert spec["datasets"]["marks"]["label"].tolist() == ["a", "b", "c"]
    assert spec["datasets"]["marks"]["words"].tolist() == ["", "b", "c"], "a and b would lie on each other"


def test_a_damaged_record_is_a_sentence_on_the_page(trained) -> None:
    run = trained()
    (run.path / steering.RECORD).write_bytes(b"x\n")
    app = visit("train", run=run.id)
    assert not app.exception
    assert "steering record" in app.error[0].value
    assert not visit("gallery").exception


def test_a_copy_of_a_steered_run_is_steered_the_same_unless_one_says_no(trained, started) -> None:
    run = trained()
    turns = [Turn(5, {"beta": 3.3})]
    steering.replace(run, turns)
    press(visit("train", like=run.id), "Train")
    app = visit("train", like=run.id)
    next(each for each in app.toggle if each.label == "Steer it the same").set_value(False).run()
    press(app, "Train")
    assert [steering.record(copy) for copy in started] == [turns, []]


def test_steered_runs_differ_on_the_page_compare(trained) -> None:
    one, two = trained(), trained(beta=4.0)
    steering.replace(one, [Turn(5, {"beta": 3.3})])
    app = visit("compare", runs=f"{one.id},{two.id}")
    assert app.table[0].value.loc["Steered"].tolist() == ["beta 3.3 after step 5", "no"]
    assert "steered" in words(visit("beta", runs=f"{one.id},{two.id}"))


def test_the_plot_names_points_that_coincide_together() -> None:
    points = [
        trade.Trade("0.25", "a", 20, 8), trade.Trade("4", "b", 0.01, 27.2), trade.Trade("16", "c", 0, 27.2)
    ]  # fmt: skip
    spec = trade.rate_distortion(points, "4")
    assert spec["datasets"]["trades"]["words"].tolist() == ["0.25", "", "4, 16"]
    best = spec["datasets"]["best"]
    assert np.allclose(best["kl"] + best["reconstruction"], 27.2)
    assert "lowest for beta 16: 27.2" in trade.trade_sentence(points)
    assert all_runs() == []
