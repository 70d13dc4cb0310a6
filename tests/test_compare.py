"""Runs side by side: what may be ranked, how seeds spread, the spreadsheet, and the page Compare."""

import csv
import io
import json
import shutil
import statistics
import time
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from app import beside, compare, measure, naming
from genmodels import data, figures, ranking, steering
from genmodels.config import UserError
from genmodels.data.selection import Selection
from genmodels.families import FAMILIES
from genmodels.figures import title
from genmodels.runs import Run, Status, create
from genmodels.steering import Turn
from tests.test_pages import press, visit, words


def figure(value: Any, unit: str = "share", better: str = "higher", n: int = 10, floor: float | None = None):
    return {"value": value, "unit": unit, "better": better, "n": n, "floor": floor}


def alike(count: int, **metrics: Any) -> dict[str, tuple[str, dict[str, Any]]]:
    return {str(number): ("digits", metrics) for number in range(count)}


# --- what may be ranked ---------------------------------------------------------------------------------------------


def test_only_what_was_measured_alike_shares_a_row() -> None:
    measured = {
        "a": ("mnist", {"nll": figure(3.0), "recall": figure(0.5, floor=0.9)}),
        "b": ("mnist", {"nll": figure(2.0)}),
        "other-unit": ("mnist", {"nll": figure(1.0, unit="share, judge features, hash 1")}),
        "other-n": ("mnist", {"nll": figure(1.0, n=11)}),
        "other-data": ("digits", {"nll": figure(1.0)}),
        "no-number": ("mnist", {"nll": figure(float("nan")), "recall": figure(None)}),
    }
    rows = ranking.rows(measured)
    assert [(row.data, row.metric, dict(row.values)) for row in rows] == [
        ("mnist", "nll", {"a": 3.0, "b": 2.0}),
        ("mnist", "nll", {"other-unit": 1.0}),
        ("mnist", "nll", {"other-n": 1.0}),
        ("mnist", "recall", {"a": 0.5}),
        ("digits", "nll", {"other-data": 1.0}),
    ]
    assert rows[3].floors == {"a": 0.9}


@pytest.mark.parametrize(("better", "found"), [("higher", {1}), ("lower", {0}), ("neither", set())])
def test_the_best_is_that_of_the_best_mean(better: str, found: set[int]) -> None:
    measured = {run: ("x", {"m": figure(value, better=better)}) for run, value in (("a", 1), ("b", 3), ("c", 2.5))}
    (row,) = ranking.rows(measured)
    assert ranking.best(row, [["a"], ["b", "c"], ["gone"]]) == found
    assert ranking.best(row, [["b"], ["gone"]]) == set(), "nothing to rank it against"
    (row,) = ranking.rows(alike(2, m=figure(1, better=better)))
    assert ranking.best(row, [["0"], ["1"]]) == set(), "all the same"


def test_the_spread_is_that_of_a_sample() -> None:
    values = [1.0, 2.0, 4.0]
    assert ranking.spread(values) == (np.mean(values), pytest.approx(np.std(values, ddof=1)), 3)
    assert ranking.spread([7]) == (7, None, 1)


def test_runs_that_differ_in_the_seed_alone_are_one_group(new_run) -> None:
    def finished(**settings: Any) -> Run:
        run = new_run(**settings)
        run.write_status(Status(state="finished"))
        return run

    one, two, three, steered = (finished(seed=seed) for seed in (0, 1, 2, 4))
    again, other, unfinished = finished(seed=0), finished(seed=3, latent_size=3), new_run(seed=5)
    steering.replace(steered, [Turn(5, {"beta": 3.0})])
    groups = ranking.seeds([one, other, two, again, three, steered, unfinished])
    assert [[run.id for run in group] for group in groups] == [
        [one.id, two.id, three.id], [other.id], [again.id], [steered.id], [unfinished.id]
    ]  # fmt: skip


def test_what_stays_may_be_chosen_by_the_seed_too(new_run) -> None:
    def finished(seed: int, of_it: int, kept: float = 0.5) -> Run:
        chosen = Selection(scarce="8", kept=kept, seed=of_it)
        run = create(new_run(seed=seed).config.model_copy(update={"selection": chosen}))
        run.write_status(Status(state="finished"))
        return run

    runs = [finished(1, 1), finished(2, 2), finished(3, 1), finished(4, 5, 1.0), finished(5, 6, 1.0)]
    assert ranking.seeds(runs) == [runs[:2], runs[2:3], runs[3:]]


def test_a_spreadsheet_carries_out_nothing_that_stands_in_it() -> None:
    rows = ranking.rows({
        "a": ("=1+1", {"nll": figure(-1.5, unit="+x,\n\"y\"", floor=0.25)}),
        "b": ("=1+1", {"nll": figure(2, unit="+x,\n\"y\"", floor=0.5)}),
        "c": ("d", {"@m": figure(3, unit="-")}),
    })  # fmt: skip
    content = ranking.as_csv(rows, ["a", "b", "c"])
    assert content.startswith(b"\xef\xbb\xbf")
    head, *lines = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    assert head == ["data", "metric", "unit", "better", "n", "floor", "a", "b", "c"]
    assert lines == [
        ["'=1+1", "nll", '\'+x,\n"y"', "higher", "10", "0.25", "-1.5", "", ""],
        ["'=1+1", "nll", '\'+x,\n"y"', "higher", "10", "0.5", "", "2", ""],
        ["d", "'@m", "'-", "higher", "10", "", "", "", "3"],
    ]


# --- names ----------------------------------------------------------------------------------------------------------


def test_a_name_is_what_tells_a_run_from_the_others(new_run) -> None:
    four, eight = new_run(latent_size=4, beta=2), new_run(latent_size=8, beta=2)
    auto, shapes = new_run("autoencoder"), new_run(dataset="shapes", size=8)
    assert list(naming.named([four]).values()) == ["VAE on Digits"]
    assert list(naming.named([four, eight]).values()) == ["latent size 4", "latent size 8"]
    assert list(naming.named([four, auto]).values()) == ["VAE", "Autoencoder"]
    assert list(naming.named([four, shapes]).values()) == ["Digits", "Shapes"]
    assert list(naming.named([four, eight, auto, shapes]).values()) == [
        "VAE on Digits, latent size 4", "VAE on Digits, latent size 8", "Autoencoder on Digits", "VAE on Shapes"
    ]  # fmt: skip
    same = new_run(latent_size=4, beta=2)
    assert list(naming.named([four, same]).values()) == [run.id.rsplit("-", 1)[-1] for run in (four, same)]


def test_a_name_is_escaped_where_it_is_markdown_and_nowhere_else(trained, new_run, monkeypatch) -> None:
    shapes, digits = new_run(dataset="shapes", size=8), trained()
    shutil.copyfile(digits.path / "metrics.jsonl", shapes.path / "metrics.jsonl")
    monkeypatch.setattr(data, "title", {"digits": "my_photos", "shapes": "Shapes"}.get)
    assert list(naming.named([digits, shapes]).values()) == ["my_photos", "Shapes"]
    drawn: list[str] = []
    monkeypatch.setattr(
        "app.beside.figures.live_curves",
        lambda lines, live=figures.live_curves, **settings: drawn.extend(lines) or live(lines, **settings),
    )
    app = visit("compare", runs=link(digits, shapes))
    assert not app.exception
    assert set(drawn) == {"VAE on my_photos", "VAE on Shapes"}
    assert r"**my\_photos**" in {each.value for each in app.markdown}


# --- the page -------------------------------------------------------------------------------------------------------


def link(*runs: Run) -> str:
    return ",".join(run.id for run in runs)


def table(app, name: str = "Negative ELBO") -> Any:
    """The table of figures: the one with such a row."""
    return next(each.value for each in app.table if any(name in row for row in each.value.index))


def of(frame: Any, name: str) -> Any:
    return next(row for label, row in frame.iterrows() if f"**{name}**" in label)


def test_an_empty_page_offers_comparisons_of_what_came_with_the_app() -> None:
    app = visit("compare")
    assert "Choose two runs" in app.info[0].value
    labels = [each.proto.label for each in app.get("page_link") if "runs=" in each.proto.query_string]
    assert any("beta 0.25, 1, 4, 16" in label for label in labels)
    for label, ids in compare.ready().items():
        assert len(ids) > 1, label
    (digits,) = (ids for label, ids in compare.ready().items() if label.startswith("Digits"))
    app.multiselect[0].set_value(digits).run()
    assert not app.exception
    assert app.query_params["runs"] in (",".join(digits), [",".join(digits)])
    assert len(of(table(app), "NLL")) > 2


def test_seeds_are_one_column_with_their_spread(trained, new_run) -> None:
    runs = [trained(), *(new_run(seed=seed) for seed in (1, 2))]
    for seed, run in enumerate(runs[1:], 1):  # not trained anew, but with figures of their own
        shutil.copytree(runs[0].path, run.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("config.json"))
        found = {name: each | {"value": each["value"] * (1 + 0.1 * seed)} for name, each in run.summary().items()}
        (run.path / "summary.json").write_text(json.dumps(found))
    other = trained(latent_size=3)
    app = visit("compare", runs=link(*runs, other))
    assert not app.exception
    assert not app.error
    values = [run.summary()["negative_elbo"]["value"] for run in runs]
    row = of(table(app), "Negative ELBO")
    assert any("3 seeds" in name for name in row.index)
    mean, deviation = statistics.mean(values), statistics.stdev(values)
    (cell,) = (text for name, text in row.items() if "3 seeds" in name)
    assert cell.strip("*★ ").split(" ± ") == [f"{mean:.1f}", f"{deviation:.1f}"]
    best = min(mean, other.summary()["negative_elbo"]["value"]) == mean
    assert ("★" in cell) == best
    assert sum("★" in str(text) for text in row) == 1
    assert "different test images" in words(app), "the seed chooses those of digits"
    app.toggle(key="seeds").set_value(False).run()
    row = of(table(app), "Negative ELBO")
    assert sum(any(f"{value:.1f}" in str(text) for text in row) for value in values) == 3
    assert not any("±" in str(text) for text in row)


def test_what_differs_and_what_it_cost(trained) -> None:
    one, two = trained(latent_size=4), trained(latent_size=3)
    app = visit("compare", runs=link(one, two))
    (differs,) = (each.value for each in app.table if "Latent size" in each.value.index)
    assert differs.loc["Latent size"].tolist() == ["4", "3"]
    (cost,) = (each.value for each in app.table if "**Parameters**" in each.value.index)
    assert cost.loc["**Images looked at**"].tolist() == [f"{30 * 128:,}"] * 2
    counted = [f"{sum(p.numel() for p in run.model.parameters()):,}" for run in (one, two)]
    assert cost.loc["**Parameters**"].tolist() == counted


def test_other_data_sizes_and_ways_of_measuring_are_said_and_not_ranked(trained, new_run) -> None:
    one, two, small = trained(), trained(latent_size=3), new_run(dataset="shapes", size=8)
    (small.path / "summary.json").write_text(json.dumps(one.summary()))
    found = two.summary()
    (two.path / "summary.json").write_text(json.dumps(found | {"nll": found["nll"] | {"n": 7}}))
    app = visit("compare", runs=link(one, two, small))
    assert not app.exception
    assert "different images" in words(app)
    assert {"**Digits**, 8 x 8 pixels", "**Shapes**, 8 x 8 pixels"} <= {each.value for each in app.markdown}
    rows = [row for each in app.table for label, row in each.value.iterrows() if "**NLL**" in label]
    assert len(rows) == 3, "two of digits, of different n, and one of shapes"
    assert not any("★" in str(text) for row in rows for text in row)
    assert "cannot be ranked" in words(app)


def test_bad_links_and_files_are_sentences_and_the_others_are_shown(trained) -> None:
    one, two, three = trained(), trained(latent_size=3), trained()
    (two.path / "summary.json").write_text("{")
    (three.path / "config.json").write_text("{")
    app = visit("compare", runs=f"{one.id},gone,{two.id},../../etc,{three.id},{one.id}")
    assert not app.exception
    assert len(app.warning) == 3
    assert "There is no run 'gone'" in app.warning[0].value
    assert "summary.json" in app.error[0].value
    assert app.multiselect[0].value == [one.id, two.id]
    assert len(of(table(app), "Negative ELBO"))
    for path in one.path.glob("snapshots/*.npz"):
        path.write_bytes(b"no")
    (one.path / "live.npz").unlink(missing_ok=True)
    app = visit("compare", runs=f"{one.id}")
    assert not app.exception
    assert "damaged" in words(app)
    assert "add another one" in words(app)


@pytest.mark.parametrize("wrong", [{"parts": [1, 2]}, {"unit": 1}])
def test_figures_of_the_wrong_kind_are_a_sentence_on_each_page(trained, wrong: dict[str, Any]) -> None:
    run = trained()
    found = {name: entry | wrong for name, entry in run.summary().items()}
    (run.path / "summary.json").write_text(json.dumps(found))
    for app in (visit("gallery"), visit("train", run=run.id), visit("compare", runs=run.id)):
        assert not app.exception
        assert f"summary.json of run {run.id} is damaged" in words(app)


def test_a_run_that_still_trains_is_shown_with_what_there_is(trained, new_run) -> None:
    one, two, queued = trained(), trained(latent_size=3), new_run(latent_size=5)
    (two.path / "summary.json").unlink()
    now = two.status().model_copy(update={"state": "running", "heartbeat": time.time(), "pid": None, "share": 0.5})
    two.write_status(now)
    app = visit("compare", runs=link(one, two, queued))
    assert not app.exception
    assert "so far. 50% of its budget is used." in words(app)
    assert set(of(table(app), "Negative ELBO").index) == {"Floor", "latent size 16", "Unit", "n"}
    app = visit("compare", runs=link(two, queued))
    assert "None of these runs has come to its end" in words(app)


def test_curves_together_and_which_of_them_are_of_training_images(trained) -> None:
    one, two = trained(), trained(latent_size=3)
    points = two.metrics()
    (two.path / "metrics.jsonl").write_text("".join(json.dumps(p | {"test": {}}) + "\n" for p in points))
    app = visit("compare", runs=link(one, two), loss="KL")
    assert "KL on test images, but of latent size 3 on training images." in words(app)
    app.toggle(key="curves-log").set_value(True).run()
    assert not app.exception
    auto = list(FAMILIES["autoencoder"].Model.LOSSES.items())[:1]
    app = visit("compare", runs=link(one, trained("autoencoder")))
    units = {f"**{title(name)}**, {unit}" for name, unit in (("negative_elbo", "nats per image"), *auto)}
    assert units <= {each.value for each in app.markdown}, "a chart for each unit"
    app.selectbox(key="loss").set_value("kl").run()
    assert "Without this loss: Autoencoder." in words(app)


def test_all_copy_the_same_test_images(trained, monkeypatch) -> None:
    one, same, other = trained(), trained(latent_size=3), trained(seed=1)
    for run in (one, same):
        assert beside._which(run, "reconstructions") == beside._which(one, "reconstructions")
    assert beside._which(other, "reconstructions") != beside._which(one, "reconstructions")
    app = visit("compare", runs=link(one, same, other))
    assert "These are test images of 'latent size 16, seed 0'; latent size 16, seed 1 may have learned" in words(app)
    real = one.arrays("live")["originals"]
    copied = beside._copied(str(one.path), one.stamp, real)
    assert np.abs(copied.astype(int) - one.arrays("live")["reconstructions"]).max() <= 1
    # A run that kept no test images, as those that come with the app: they are found again in its dataset.
    for name in ("live", *(f"snapshots/{step}" for step in one.snapshots())):
        one.write_arrays(name, {key: array for key, array in one.arrays(name).items() if key != "originals"})
    assert np.array_equal(beside._real(one, "reconstructions"), real)
    monkeypatch.setattr(data, "is_present", lambda name: False)
    assert beside._real(one, "reconstructions") is None
    assert "Not of the same test images" in words(visit("compare", runs=link(one, other)))


def test_parts_of_a_figure_are_charts(trained) -> None:
    one, two = trained(), trained(latent_size=3)
    for run in (one, two):
        found = run.summary()
        found["class_histogram"] = figure(0.1) | {"parts": {"0": 0.4, "<b>*": 0.6}}
        (run.path / "summary.json").write_text(json.dumps(found))
    app = visit("compare", runs=link(one, two), parts="Class histogram")
    assert not app.exception
    assert "What a figure is made of" in [each.label for each in app.expander]
    assert not any("<b>" in str(each.value.index) for each in app.table), "no row for each part"


# --- measuring again ------------------------------------------------------------------------------------------------


def test_runs_are_measured_again_with_more_samples(trained, monkeypatch) -> None:
    monkeypatch.setattr(measure, "MORE", ("--draws", "3", "--images", "20", "--samples", "70"))
    run = trained()
    app = press(visit("compare", runs=link(run)), "Measure again with more samples")
    assert not app.exception
    app.session_state[measure.WORK].process.wait(120)
    assert run.summary()["nll"]["unit"] == "nats per image, of pixels drawn black or white, 100 draws"
    app.run()
    assert not app.exception
    assert measure.WORK not in app.session_state
    assert run.summary()["nll"]["unit"] == "nats per image, of pixels drawn black or white, 3 draws"
    app = press(app, "Measure again with more samples")
    work = app.session_state[measure.WORK]
    press(app, "Stop")
    assert work.process.poll() is not None
    monkeypatch.setattr(measure, "MORE", ("--nonsense",))
    app = press(app, "Measure again with more samples")
    app.session_state[measure.WORK].process.wait(120)
    app.run()
    assert "could not be measured" in app.error[0].value
    assert "nonsense" in app.error[0].value
    assert run.summary()["nll"]["unit"] == "nats per image, of pixels drawn black or white, 3 draws"


def test_of_what_was_measured_only_figures_are_kept_and_of_a_deleted_run_nothing(trained, tmp_path) -> None:
    run, told = trained(), tmp_path / "told"
    before = run.summary()

    def keep(said: object) -> None:
        told.write_text(json.dumps(said))
        work: Any = SimpleNamespace(left=[run], process=SimpleNamespace(returncode=0), told=told)
        measure.Measuring.keep(work)

    with pytest.raises(UserError, match="no list of figures"):
        keep({"nll": figure("low")})
    assert run.summary() == before
    keep({"nll": figure(2.5)})
    assert run.summary() == {"nll": figure(2.5)}
    run.delete()
    with pytest.raises(UserError, match="deleted meanwhile"):
        keep(before)
    assert not run.path.exists()


def test_runs_that_come_with_the_app_are_not_measured_again() -> None:
    (ids,) = (ids for label, ids in compare.ready().items() if label.startswith("Digits"))
    assert not [each for each in visit("compare", runs=",".join(ids)).button if each.label.startswith("Measure")]
