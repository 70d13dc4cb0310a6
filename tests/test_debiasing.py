"""The debiasing experiment and its page: pairs that differ in resampling alone, figures by group, bad input."""

import csv
import io
import itertools
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from filelock import FileLock
from scipy import stats

from app import groups
from genmodels import data, debiasing, experiment, jobs, session
from genmodels.config import Schedule, UserError
from genmodels.data.selection import Selection, named
from genmodels.runs import Run, RunConfig, Status, all_runs, runs_folder
from genmodels.session import Session, dataset_of
from genmodels.worker import run_to_end
from genmodels.zoo.__main__ import SCARCE
from tests.test_pages import press, visit, words

STEPS = Schedule(budget=60, unit="steps", threads=1, device="cpu", precision="float32", log_every=30)
SMALL = {"latent_size": 8, "hidden_size": 64, "head_size": 16, "learning_rate": 0.01}


def base_of(dataset: str = "digits", size: int | None = None) -> RunConfig:
    found = data.load(dataset, size)
    return RunConfig(
        family=debiasing.FAMILY, dataset=dataset, size=size, shape=found.shape, classes=found.classes
    )  # fmt: skip


@pytest.fixture
def queued(monkeypatch):
    """Members of an experiment that has been queued but not started."""
    monkeypatch.setattr(jobs, "start", lambda run: None)

    def make(scarce: str = "8", kept: float = 0.1, seeds=(1, 2), base: RunConfig | None = None) -> list[Run]:
        return debiasing.start(debiasing.plan(base or base_of(), scarce, kept, seeds, STEPS, SMALL))

    return make


@pytest.fixture
def done(queued, kept: Path):
    """Two pairs that were really trained, once for all tests: each gets a copy of their files."""

    def make() -> list[Run]:
        of_it = kept / "debiasing"
        with FileLock(of_it.with_suffix(".lock")):
            if of_it.exists():
                shutil.copytree(of_it, runs_folder(), copy_function=shutil.copyfile)
            else:
                for run in queued(kept=0.5):
                    for _ in run_to_end(run):
                        pass
                shutil.copytree(runs_folder(), of_it)
        return next(iter(debiasing.experiments().values()))

    return make


def link(runs: list[Run]) -> str:
    return str(runs[0].config.experiment)


# --- the experiment -------------------------------------------------------------------------------------------------


def test_a_pair_differs_in_resampling_and_a_seed_in_what_stays(queued) -> None:
    runs = queued()
    assert [(run.config.seed, debiasing.resamples(run)) for run in runs] == list(
        itertools.product((1, 2), (False, True))
    )
    for seed, (without, with_it) in debiasing.pairs(runs).items():
        assert without
        assert with_it
        one, other = experiment.settings(without), experiment.settings(with_it)
        assert [name for name in one if one[name] != other[name]] == ["resampling"]
        sessions = [Session(run) for run in (without, with_it)]
        first, second = (session.model.state_dict() for session in sessions)
        assert all(torch.equal(first[name], second[name]) for name in first)
        assert torch.equal(sessions[0].train_images.images, sessions[1].train_images.images)
        assert sessions[0].dataset.counts("train")["8"] == round(
            0.1 * data.load("digits", seed=seed).counts("train")["8"]
        )
    kept = [dataset_of(run.config).images[dataset_of(run.config).labels == 8] for run in (runs[0], runs[2])]
    assert kept[0].shape != kept[1].shape or not np.array_equal(*kept)


def test_it_is_found_again_and_no_comparison_of_betas(queued) -> None:
    runs = queued()
    assert [run.id for run in debiasing.members(link(runs))] == [run.id for run in runs]
    assert link(runs) not in experiment.experiments()


def test_a_run_that_is_left_within_a_draw_goes_on_with_it_bit_for_bit(new_run) -> None:
    whole, left = (new_run(debiasing.FAMILY, **SMALL, precision="float32", log_every=5) for _ in range(2))
    first = Session(left)
    for status in first.train():
        if status.step == 15:  # a pass has 11
            break
    first.checkpoint()
    assert torch.load(left.path / "resume.pt", weights_only=True)["training"]["drawn"][0] == 1
    for run in (whole, left):
        assert [status.step for status in Session(run).train()][-1] == 30
    one, other = (run.model.state_dict() for run in (whole, left))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert [point["train"] for point in whole.metrics()] == [point["train"] for point in left.metrics()]


def test_figures_by_group_are_those_of_the_images_of_the_group(done) -> None:
    for run in done()[:2]:
        found, whole = debiasing.measured(run), dataset_of(run.config)
        labels, span = whole.labels[whole.span("test")], whole.span("test")
        with torch.no_grad():
            guesses = run.model.classify(torch.from_numpy(whole.images[span] / np.float32(255))).argmax(1).numpy()
        for group in range(10):
            assert found.figures["accuracy"][group] == pytest.approx((guesses == labels)[labels == group].mean())
        sizes = np.bincount(labels, minlength=10) / len(labels)
        summary = run.summary()
        for name, tolerance in (("negative_elbo", 0.02), ("reconstruction", 0.02)):  # another draw of noise
            assert found.figures[name] @ sizes == pytest.approx(summary[name]["value"], rel=tolerance)
        assert found.figures["images"] == pytest.approx(np.array([*whole.counts("train").values()]) / whole.sizes[0])
        assert found.figures["draws"].sum() == pytest.approx(1)
        even = not debiasing.resamples(run)
        assert np.allclose(found.figures["images"], found.figures["draws"]) is even
        assert found.most[0].shape == found.copies.shape == (10, 1, 8, 8)
        assert found.most[2][0] >= found.least[2][0]
        assert bool(found.most[2][0] > found.least[2][0]) is not even
        assert np.array_equal(found.asked, whole.images[span][labels == 8][:10])


def test_a_spreadsheet_carries_out_no_name_of_a_group() -> None:
    content = groups.as_csv(pd.DataFrame({"group": ["=1+1", "b ▼"], "Accuracy change": ["+1.0", "−1.0"]}))
    assert content.startswith(b"\xef\xbb\xbf")
    lines = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    assert lines == [["group", "Accuracy change"], ["'=1+1", "+1.0"], ["b ▼", "−1.0"]]


def test_a_value_of_a_factor_can_be_scarce_too(queued) -> None:
    base = base_of("shapes", 8)
    assert named("shape=1", base.classes) == "shape = 1"
    offered = debiasing.choices(data.load("shapes", 8))
    assert offered[:6] == (*base.classes, "shape=0", "shape=1", "shape=2"), "few values"
    assert offered[6:8] == ("scale=q1", "scale=q2"), "many values"
    pair = queued("shape=1.0", seeds=(1,), base=base)
    for run in pair:
        Session(run).checkpoint()  # as it is before any training
        run.write_status(Status(state="finished"))
    run = pair[1]
    names, numbers, scarce = debiasing.groups_of(dataset_of(run.config), run.config)
    assert names == ("shape = 0", "shape = 1", "shape = 2")
    assert scarce == 1
    assert len(numbers) == len(dataset_of(run.config).images)
    found = debiasing.measured(run)
    assert found.figures["images"][1] == pytest.approx(0.1 * found.figures["images"][0], rel=0.1)
    assert found.asked.shape == (10, 1, 8, 8)
    app = visit("debias", experiment=link(pair))
    assert not app.exception
    assert "## Shape = 1" in words(app)
    assert app.dataframe[0].value["group"].tolist() == ["shape = 0", "shape = 1 ▼", "shape = 2"]


def test_a_quarter_of_a_factor_can_be_scarce(queued) -> None:
    (_, run) = queued("scale=q4", seeds=(1,), base=base_of("shapes", 8))
    whole, kept = data.load("shapes", 8), dataset_of(run.config)
    names, numbers, scarce = debiasing.groups_of(kept, run.config)
    assert names[3] == debiasing.said(run.config) == "scale, highest quarter"
    assert scarce == 3
    large = whole.factors[:, 1] >= np.quantile(whole.factors[whole.sizes[0] :, 1], 0.75)
    before, after = (int(each.sum()) for each in (large[whole.span("train")], numbers[kept.span("train")] == 3))
    assert after == pytest.approx(0.1 * before, rel=0.1)
    assert len(np.unique(numbers)) == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1, x", "is no seed"), ("1", "2 to 10 seeds"), ("1, 1", "twice"), ("1-99999", "2 to 10"), ("-1, 2", "no seed"),
        ("", "is no seed"), ("1.5 2", "no seed"),
    ],
)  # fmt: skip
def test_bad_seeds_are_a_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        debiasing.seeds_of(text)


def test_seeds_are_read_as_people_write_them() -> None:
    assert debiasing.seeds_of("1-3") == debiasing.seeds_of(" 1, 2;3 ") == [1, 2, 3]


@pytest.mark.parametrize(
    ("scarce", "kept", "said"),
    [
        ("8", 0.0, "between 0 and 1"), ("8", 1.0, "between 0 and 1"), ("cat", 0.5, "no group 'cat'"),
        ("8", 0.001, "leaves no training image of class 8"),
    ],
)  # fmt: skip
def test_a_bias_that_cannot_be_made_is_a_sentence_and_makes_nothing(scarce, kept, said, queued) -> None:
    with pytest.raises(UserError, match=said):
        queued(scarce, kept)
    assert all_runs() == []


def test_a_factor_of_many_values_makes_no_groups(queued) -> None:
    scale = data.load("shapes", 8).factors[0, 1]
    with pytest.raises(UserError, match="too many for groups"):
        queued(f"scale={scale:.6f}", 0.5, base=base_of("shapes", 8))


def test_one_class_and_minutes_are_refused() -> None:
    base = base_of()
    with pytest.raises(UserError, match="two classes"):
        debiasing.start(debiasing.plan(base.model_copy(update={"classes": ("0",)}), "0", 0.5, [1, 2], STEPS, {}))
    with pytest.raises(UserError, match="steps or epochs"):
        debiasing.plan(base, "8", 0.5, [1, 2], Schedule(budget=1), {})


def test_one_class_left_beside_a_factor_is_refused(queued, monkeypatch) -> None:
    alone = replace(data.load("shapes", 8), labels=np.zeros(16384, np.int64))
    monkeypatch.setattr(session, "dataset_of", lambda config: alone)
    with pytest.raises(UserError, match="one class is left"):
        queued("shape=1", base=base_of("shapes", 8))
    assert all_runs() == []


# --- the page -------------------------------------------------------------------------------------------------------


def test_an_empty_home_opens_on_a_ready_made_experiment() -> None:
    app = visit("debias")
    assert not app.exception
    assert not app.error
    assert app.query_params["experiment"] in (SCARCE, [SCARCE])
    assert "## Class 4 gains" in words(app)
    assert next(box for box in app.selectbox if box.label == "Experiment").options[-1].endswith("ready-made")


def test_an_empty_home_starts_one_with_a_click(monkeypatch) -> None:
    started: list[Run] = []
    monkeypatch.setattr(jobs, "start", started.append)
    monkeypatch.setattr(data, "is_present", lambda name: name == "digits")
    app = visit("debias")
    next(box for box in app.text_input if box.label == "Seeds").set_value("1 2").run()
    app = press(app, "Train 4 models")
    assert not app.exception
    assert not app.error
    assert app.query_params["experiment"] in (link(started), [link(started)])
    assert [run.config.selection for run in started[::2]] == [Selection(scarce="9", kept=0.2, seed=s) for s in (1, 2)]
    assert "appear here as soon as the first pair" in words(app)


def test_a_value_of_a_factor_is_offered(monkeypatch) -> None:
    started: list[Run] = []
    monkeypatch.setattr(jobs, "start", started.append)
    monkeypatch.setattr(data, "is_present", lambda name: name == "shapes")
    app = visit("debias")
    menu = app.selectbox(key="debias-scarce-shapes")
    assert menu.options[:7] == [*(f"class {name}" for name in ("square", "ellipse", "triangle")),
                                *(f"shape = {value}" for value in range(3)), "scale, lowest quarter"]  # fmt: skip
    menu.select("shape = 2").run()
    app.text_input(key="debias-seeds").set_value("1 2").run()
    app.number_input(key="debias-steps").set_value(2).run()
    assert "of shape = 2**" in words(app)
    press(app, "Train 4 models")
    assert {run.config.selection.scarce for run in started} == {"shape=2"}


def test_a_bad_form_is_a_sentence_and_no_button(monkeypatch) -> None:
    monkeypatch.setattr(data, "is_present", lambda name: name == "digits")
    app = visit("debias")
    next(box for box in app.text_input if box.label == "Seeds").set_value("1, x").run()
    assert "is no seed" in app.error[0].value
    assert not any(button.label.startswith("Train") for button in app.button)
    next(box for box in app.text_input if box.label == "Seeds").set_value("1, 2").run()
    next(box for box in app.number_input if box.label.startswith("Share")).set_value(0.0).run()
    assert "must be from 0.1 to 99" in words(app)
    assert not any(button.label.startswith("Train") for button in app.button)


def test_a_finished_experiment_says_who_gained_and_who_is_drawn(done) -> None:
    runs = done()
    app = visit("debias", experiment=link(runs), figure="kl", seed="2")
    assert not app.exception
    assert "The link asks for figure kl" in words(app)
    accuracy = np.array([[debiasing.measured(run).figures["accuracy"][8] for run in pair]
                         for pair in debiasing.pairs(runs).values()])  # fmt: skip
    change = 100 * (accuracy[:, 1] - accuracy[:, 0])
    told = groups.interval(change)
    what = f"{'gains' if told.mean > 0 else 'loses'} {abs(told.mean):.1f} points of" if told.mean else "keeps its"
    assert f"Class 8 {what} test accuracy (95% interval {groups.signed(told.low)}" in words(app)
    assert "times as often" in words(app)
    assert "95% for the worst of 9, " in words(app)
    shares = [debiasing.measured(pair[1]).figures for pair in debiasing.pairs(runs).values()]
    found = np.mean([each["draws"][8] / each["images"][8] for each in shares]) > 1
    assert ("cannot find such a group" in words(app)) != bool(found)
    assert "seed 1: done" in words(app)
    assert "Cost:" in words(app)
    frame = app.dataframe[0].value
    assert frame["group"].tolist() == [*"01234567", "8 ▼", "9"]
    assert frame["Accuracy with"][8] == f"{100 * accuracy[:, 1].mean():.1f}"
    assert app.query_params["seed"] in ("2", ["2"])
    assert not visit("debias", experiment=link(runs), figure="negative_elbo", seed="9").exception


def test_the_interval_of_the_worst_is_bonferronis() -> None:
    values = [1.0, 2.5, -3.0, 0.5]
    low, high = stats.t.interval(1 - 0.05 / 9, 3, loc=np.mean(values), scale=stats.sem(values))
    found = groups.interval(values, 9)
    assert (found.low, found.high) == pytest.approx((low, high))
    assert (
        groups._within(found, 9) == f"(95% for the worst of 9, {groups.signed(low)} to {groups.signed(high)}, 4 seeds)"
    )
    assert groups._within(groups.interval(values, 1)).startswith("(95% interval ")


def test_a_pair_that_is_not_done_is_left_out_and_a_deleted_run_breaks_nothing(done) -> None:
    runs = done()
    runs[3].delete()
    app = visit("debias", experiment=link(runs))
    assert not app.exception
    assert "one seed: no interval" in words(app)
    assert "resampled deleted" in words(app)
    runs[1].delete()
    assert "appear here as soon as" in words(visit("debias", experiment=link(runs)))


def test_what_is_not_there_is_said(done, monkeypatch) -> None:
    app = visit("debias", experiment="ffffffff")
    assert not app.exception
    assert "no debiasing experiment" in app.error[0].value
    assert any(button.label.startswith("Train") for button in app.button), "a way out"
    runs = done()
    monkeypatch.setattr(data, "is_present", lambda name: name == "shapes")
    app = visit("debias", experiment=link(runs))
    assert not app.exception
    assert "is not on this machine" in words(app)


def test_a_damaged_member_is_a_sentence(done) -> None:
    runs = done()
    (runs[1].path / "weights.safetensors").write_bytes(b"x")
    app = visit("debias", experiment=link(runs))
    assert not app.exception
    assert "damaged" in words(app)
