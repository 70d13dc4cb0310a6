"""A run on disk: what is written can be read, and what is damaged is said in a sentence and loses nothing else."""

import errno
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import genmodels
from genmodels import files, runs
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.families.contract import latent_size
from genmodels.runs import Status
from genmodels.worker import run_to_end
from tests.conftest import data_for


@pytest.mark.parametrize("family", FAMILIES)
def test_a_finished_run_has_everything(trained, family: str) -> None:
    run = genmodels.load(trained(family, data_for(family), budget=40).id)
    assert run.status().state == "finished"
    assert run.status().step == 40
    points = run.metrics()
    assert points[-1]["step"] == 40
    assert set(points[-1]["train"]) == set(points[-1]["test"]) == set(run.model.LOSSES)
    assert run.snapshots()[0] == 1
    assert run.snapshots()[-1] == 40
    assert all(array.dtype == np.uint8 for array in run.arrays("snapshots/40").values() if array.ndim == 4)
    figure = {"value", "unit", "better", "n", "floor"}
    assert all(set(metric) in (figure, figure | {"parts"}) for metric in run.summary().values())
    assert run.summary()
    if "encode" in FAMILIES[family].abilities:
        latents = run.arrays("latents")
        assert latents["means"].shape == (180, latent_size(run.model))
        first = latents["means"][latents["labels"] == 3].mean(0)
        assert np.allclose(latents["centroids"][3], first, atol=1e-5)
        x = torch.rand(2, 1, 8, 8)
        with torch.no_grad():
            assert run.model.decode(run.model.encode(x)).shape == x.shape


def test_python_says_what_the_design_says(trained) -> None:
    model = genmodels.load(trained("vae").path).model
    q = model.posterior(torch.rand(3, 1, 8, 8))
    assert isinstance(q, torch.distributions.Normal)
    assert model.sample(2, generator=torch.Generator().manual_seed(0)).shape == (2, 1, 8, 8)
    assert "vae" in genmodels.FAMILIES
    assert "digits" in genmodels.DATASETS


@pytest.mark.parametrize("name", ["nobody", "../runs/x", "", "a" * 200, "x/../y", "%2e%2e", "Ä"])
def test_an_address_bar_reaches_only_runs_of_this_home(trained, name: str) -> None:
    with pytest.raises(UserError, match="There is no run"):
        runs.by_id(name)


def test_a_path_in_an_address_bar_is_refused_though_it_is_a_run(trained) -> None:
    run = trained()
    with pytest.raises(UserError, match="There is no run"):
        runs.by_id(str(run.path))
    assert runs.find(str(run.path)).id == run.id


def test_two_runs_are_listed_newest_first_and_a_stray_folder_is_not(new_run) -> None:
    older, newer = new_run(), new_run()
    (runs.runs_folder() / "notes").mkdir()
    assert [run.id for run in runs.all_runs()] == [newer.id, older.id]


@pytest.mark.parametrize("bytes_left", [0, 7])
@pytest.mark.parametrize(
    ("name", "read"),
    [
        ("config.json", lambda run: run.config),
        ("weights.safetensors", lambda run: run.model),
        ("latents.npz", lambda run: run.arrays("latents")),
        ("snapshots/30.npz", lambda run: run.arrays("snapshots/30")),
        ("summary.json", lambda run: run.summary()),
    ],
)
def test_a_truncated_file_is_named_in_a_sentence(trained, name: str, read, bytes_left: int) -> None:
    run = trained()
    path = run.path / name
    path.write_bytes(path.read_bytes()[:bytes_left])
    with pytest.raises(UserError, match="damaged"):
        read(runs.find(run.id))


@pytest.mark.parametrize(
    "wrong", [{"parts": [1, 2]}, {"unit": 1}, {"value": None}, {"value": 10**400}, {"n": -1}, {"better": "x"}, {"a": 1}]
)
def test_figures_of_the_wrong_kind_are_a_sentence(new_run, wrong: dict[str, object]) -> None:
    run, whole = new_run(), {"value": 1, "unit": "nats", "better": "lower", "n": 2, "floor": None, "parts": {"1": 0.5}}
    for entry in (whole, {name: value for name, value in whole.items() if name != "parts"}):
        files.write_json(run.path / "summary.json", {"kl": entry})
        assert run.summary() == {"kl": entry}
    for found in ({"kl": whole | wrong}, {"kl": []}, []):
        files.write_json(run.path / "summary.json", found)
        with pytest.raises(UserError, match=f"The file summary.json of run {run.id} is damaged: "):
            run.summary()


def test_a_truncated_status_reads_as_failed_and_half_a_line_is_left_out(trained) -> None:
    run = trained()
    points = run.metrics()
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(b'{"step": 31, "tra')
    (run.path / "status.json").write_text('{"state": "run')
    (run.path / "request.json").write_text("")
    assert run.metrics() == points
    assert run.newest_point() == points[-1]
    assert run.status().state == "failed"
    assert "damaged" in run.status().error
    assert run.wish == "run"


def test_a_checkpoint_cut_in_half_is_said(new_run) -> None:
    run = new_run(budget=200)
    for status in run_to_end(run):
        if status.step >= 10:
            run.ask("stop")
    assert run.status().state == "stopped"
    path = run.path / "resume.pt"
    path.write_bytes(path.read_bytes()[:5000])
    run.ask("run")
    with pytest.raises(UserError, match=r"checkpoint of run .* is damaged"):
        list(run_to_end(run))
    assert run.status().state == "failed"
    assert run.model.decode(torch.zeros(1, 16)).shape == (1, 1, 8, 8), "the weights are still there"


def test_weights_of_another_model_are_refused(trained) -> None:
    small, large = trained("vae", latent_size=2), trained("vae", latent_size=3)
    (small.path / "weights.safetensors").write_bytes((large.path / "weights.safetensors").read_bytes())
    with pytest.raises(UserError, match="belong to another model"):
        _ = small.model


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.json"
    files.write_json(path, {"a": 1})
    monkeypatch.setattr(files.os, "replace", no_room)
    with pytest.raises(UserError, match=r"The disk is full, so x\.json could not be saved: free some space"):
        files.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}
    assert [each.name for each in tmp_path.iterdir()] == ["x.json"], "no half-written sibling stays"


def test_a_disk_that_fills_while_training_fails_the_run_and_keeps_its_checkpoint(new_run, monkeypatch) -> None:
    run = new_run(budget=100_000, log_every=10)
    training = run_to_end(run)
    while next(training).step < 20:
        pass
    monkeypatch.setattr(files.tempfile, "mkstemp", no_room)
    with pytest.raises(UserError, match="disk is full"):
        list(training)
    monkeypatch.undo()
    # The home was set by the same monkeypatch; the run's own path is enough from here.
    assert run.status().state == "failed"
    assert "disk is full" in run.status().error
    assert torch.load(run.path / "resume.pt", weights_only=True)["training"]["step"] >= 1


def test_a_full_disk_when_making_a_run_leaves_nothing(new_run, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(runs, "write_json", no_room)
        with pytest.raises(UserError, match="disk is full"):
            new_run()
    assert runs.all_runs() == []
    assert not list(runs.runs_folder().iterdir())


def test_a_run_cannot_be_made_over_something_else(new_run, tmp_path: Path) -> None:
    config = new_run().config
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="already something"):
        runs.create(config, tmp_path / "mine")


def test_an_active_run_cannot_be_deleted_and_a_stopped_one_can(new_run) -> None:
    run = new_run()
    run.write_status(Status(state="queued", heartbeat=time.time()))
    with pytest.raises(UserError, match="stop it before"):
        run.delete()
    run.write_status(Status(state="stopped"))
    run.delete()
    assert not run.path.exists()


def test_a_home_that_cannot_be_written_still_says_where_a_run_stands(new_run, monkeypatch) -> None:
    run = new_run()
    run.write_status(Status(state="running", pid=999_999, step=7))
    with monkeypatch.context() as patch:
        patch.setattr(files.tempfile, "mkstemp", no_room)
        assert run.status().state == "failed"


@pytest.mark.parametrize("line", [b"3\n", b"\xff\xfe\n", b'{"step": "x", "train": {}}\n', b"[]\n"])
def test_a_strange_line_in_the_curves_is_left_out(trained, line: bytes) -> None:
    run = trained()
    points = run.metrics()
    with (run.path / "metrics.jsonl").open("ab") as file:
        file.write(line)
    assert run.metrics() == points
    assert run.newest_point() is None
    run.forget_after(30)
    assert run.metrics() == points


def test_a_run_of_a_family_that_is_not_known_here_is_said(trained) -> None:
    run = trained()
    text = (run.path / "config.json").read_text().replace('"vae"', '"gan-of-tomorrow"')
    (run.path / "config.json").write_text(text)
    with pytest.raises(UserError, match="There is no family"):
        _ = runs.find(run.id).config


def test_files_of_a_run_can_be_read_by_others(trained) -> None:
    run = trained()
    for path in run.path.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o044 == files.READABLE & 0o044


@pytest.mark.parametrize("cut", [1, 3, 5000])
def test_a_checkpoint_cut_anywhere_is_said(new_run, cut: int) -> None:
    run = new_run(budget=200)
    for status in run_to_end(run):
        if status.step >= 10:
            run.ask("stop")
    path = run.path / "resume.pt"
    path.write_bytes(path.read_bytes()[:cut])
    run.ask("run")
    with pytest.raises(UserError, match="is damaged"):
        list(run_to_end(run))


@pytest.mark.parametrize("state", ["running", "queued", "paused"])
def test_without_its_worker_a_run_never_reads_as_running(new_run, state: str) -> None:
    run = new_run()
    (run.path / "log.txt").write_text('Traceback (most recent call last):\n  File "x.py"\nOSError: gone\n')
    run.write_status(Status(state=state, pid=999_999, step=7))
    status = run.status()
    assert status.state == ("stopped" if state == "paused" else "failed")
    assert status.step == 7
    if state != "paused":
        assert "ended unexpectedly" in status.error
        assert "OSError: gone" in status.error
        assert "Traceback" not in status.error
        assert "x.py" not in status.error
