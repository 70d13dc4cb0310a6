"""The command line, as a person types it."""

import json
from pathlib import Path

import pytest
from PIL import Image

from genmodels.__main__ import main
from genmodels.analysis.metrics import Metric
from genmodels.runs import all_runs


def test_train_resume_sample_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine"
    assert main(["train", "vae", "digits", "--set", "beta=2", "threads=1", "--steps", "20", "--out", str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["knobs"]["beta"] == 2
    assert main(["sample", str(out), "--count", "9", "--out", str(tmp_path / "nine.png")]) == 0
    assert Image.open(tmp_path / "nine.png").width >= 3 * 8
    capsys.readouterr()
    assert main(["evaluate", str(out), "--json", "--draws", "10", "--images", "20"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert set(found["nll"]) == {"value", "unit", "better", "n", "floor"}
    assert main(["sample", str(out), "--out", "/nowhere/x.png"]) == 1
    assert main(["evaluate", str(out), "--draws", "0"]) == 1
    assert "1 or more" in capsys.readouterr().err
    assert main(["resume", str(out)]) == 1
    assert "used its budget" in capsys.readouterr().err


def test_a_floor_stands_beside_its_figure(trained, monkeypatch, capsys: pytest.CaptureFixture[str]) -> None:
    found = {"far": Metric(2.0, "grey levels", "lower", 9, 0.25), "near": Metric(1.0, "share", "higher", 9)}
    monkeypatch.setattr("genmodels.analysis.metrics.evaluate", lambda *_, **__: found)
    assert main(["evaluate", trained(budget=2).id]) == 0
    far, near = capsys.readouterr().out.splitlines()[-2:]
    assert far.endswith("n = 9, floor 0.25000)")
    assert near.endswith("n = 9)")


def test_lists(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "Make the first" in capsys.readouterr().err
    assert main(["train", "autoencoder", "digits", "--steps", "3", "--set", "threads=1"]) == 0
    assert main(["runs"]) == main(["families"]) == main(["datasets"]) == 0
    printed = capsys.readouterr().out
    assert all_runs()[0].id in printed
    assert "beta=1.0" in printed
    assert "fashion-mnist" in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train", "vay", "digits"], "There is no family 'vay'"),
        (["train", "vae", "dogits"], "dogits"),
        (["train", "vae", "digits", "--set", "betta=1"], "did you mean 'beta'"),
        (["train", "vae", "digits", "--set", "beta"], "KNOB=VALUE"),
        (["train", "vae", "digits", "--steps", "-1"], "budget"),
        (["train", "vae", "digits", "--size", "7"], "8 to 64"),
        (["train", "vae", "digits", "--seed", "-1"], "seed"),
        (["train", "vae", "folder:/nowhere/at/all"], "/nowhere/at/all"),
        (["resume", "nobody"], "There is no run 'nobody'"),
        (["evaluate", "nobody"], "There is no run"),
        (["datasets", "--download", "nothing"], "nothing"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_no_run(words, sentence, capsys) -> None:
    assert main(words) == 1
    error = capsys.readouterr().err
    assert sentence in error
    assert error.count("\n") == 1
    assert all_runs() == []


def test_sampling_what_cannot_sample(trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained("autoencoder")
    assert main(["sample", run.id, "--out", str(tmp_path / "x.png")]) == 1
    assert "cannot sample" in capsys.readouterr().err
