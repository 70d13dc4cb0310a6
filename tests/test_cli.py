"""The command line, as a person types it."""

import json
from functools import partial
from pathlib import Path

import pytest
from PIL import Image

from genmodels import data
from genmodels.__main__ import main
from genmodels.analysis import features
from genmodels.analysis.metrics import Metric
from genmodels.runs import all_runs
from genmodels.worker import run_to_end


def test_train_resume_sample_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine"
    assert main(["train", "vae", "digits", "--set", "beta=2", "threads=1", "--steps", "20", "--out", str(out)]) == 0
    assert json.loads((out / "config.json").read_text())["knobs"]["beta"] == 2
    assert main(["sample", str(out), "--count", "9", "--out", str(tmp_path / "nine.png")]) == 0
    assert Image.open(tmp_path / "nine.png").width >= 3 * 8
    capsys.readouterr()
    assert main(["evaluate", str(out), "--json", "--draws", "10", "--images", "20", "--samples", "60"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert set(found["nll"]) == {"value", "unit", "better", "n", "floor"}
    assert sum(found["kl"]["parts"].values()) == pytest.approx(found["kl"]["value"])
    assert found["kernel_distance"]["n"] == 60
    assert "Left out: frechet_distance. There are too few samples: 60, and 65 are needed" in printed.err
    assert main(["sample", str(out), "--out", "/nowhere/x.png"]) == 1
    for option in ("--draws", "--samples"):
        assert main(["evaluate", str(out), option, "0"]) == 1
        assert "1 or more" in capsys.readouterr().err
    assert main(["resume", str(out)]) == 1
    assert "used its budget" in capsys.readouterr().err


def test_the_table_has_arrows_floors_parts_and_what_is_left_out(
    trained, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = {str(number): float(number) for number in range(1, 15)}
    found = {"far": Metric(2.0, "grey levels", "lower", 9, 0.25), "near": Metric(1.0, "share", "higher", 9000)}
    found["kl"] = Metric(105.0, "nats", "neither", 9, None, parts)
    monkeypatch.setattr("genmodels.analysis.metrics.evaluate", lambda *_, **__: found)
    assert main(["evaluate", trained(budget=2).id]) == 0
    head, far, near, kl, *rest = capsys.readouterr().out.splitlines()
    assert head.split() == ["figure", "value", "better", "floor", "n", "unit"]
    assert far.split() == ["far", "2.00000", "↓", "lower", "0.25000", "9", "grey", "levels"]
    assert near.split() == ["near", "1.00000", "↑", "higher", "9,000", "share"]
    assert "· neither" in kl
    assert " ".join(rest[0].split()).startswith("of which 14=14, 13=13, 12=12")
    assert "and 2 smaller" in " ".join(" ".join(rest).split())
    left = [line for line in rest if line.startswith("Left out: ")]
    assert "Left out: bits_per_dimension. Only a flow knows the exact probability of an image." in left


def test_evaluating_own_images_trains_what_compares_them_and_says_so(
    new_run, tmp_path: Path, monkeypatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for number, image in enumerate(data.load("digits").images[:100, 0]):
        Image.fromarray(image).save(own / f"{number}.png")
    run = new_run(dataset=f"folder:{own}", budget=2)
    for _ in run_to_end(run):
        pass
    assert "kernel_distance" not in run.summary(), "nothing is trained behind the back of who trains a run"
    quick = features.Settings(latent_size=4, width=4, hidden_size=16, steps=3)
    monkeypatch.setattr(features, "train_unlabelled", partial(features.train_unlabelled, settings=quick))
    words = ["evaluate", run.id, "--json", "--draws", "2", "--images", "5", "--samples", "20"]
    capsys.readouterr()
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "training an autoencoder" in printed.err
    assert "autoencoder features" in json.loads(printed.out)["kernel_distance"]["unit"]
    assert "class_histogram" not in json.loads(printed.out)
    assert main(words) == 0
    assert "training an autoencoder" not in capsys.readouterr().err, "it is kept"


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
