"""reproduce.py of a run trains the same run again; that of a picture makes the same file again, to the byte."""

import io
import logging
import runpy
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app import downloads
from genmodels import __main__, reproduction, steering
from genmodels.config import Schedule, UserError
from genmodels.runs import Run
from genmodels.translation import open_translator
from genmodels.worker import run_to_end
from tests.soak import IN_SOAK
from tests.test_pages import visit

Trained = Callable[..., Run]


def carried_out(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run a script as a person does, with a folder as its argument. -> its exit status."""
    path = folder / "reproduce.py"
    path.write_text(text, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", [str(path), str(folder / "made")])
    try:
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(path), run_name="__main__")
    finally:
        logging.disable(logging.NOTSET)
    return int(left.value.code or 0)


def test_the_script_of_a_run_trains_the_same_weights(
    new_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = new_run(budget=12, hidden_size=8)
    steering.replace(run, [steering.Turn(5, {"beta": 3.0})])
    for _ in run_to_end(run):
        pass
    assert __main__.main(["reproduce", run.id, "--out", str(tmp_path / "written.py")]) == 0
    text = (tmp_path / "written.py").read_text(encoding="utf-8")
    assert "beta 3 after step 5" in text
    assert carried_out(text, tmp_path, monkeypatch) == 0
    assert "weights                      the same" in capsys.readouterr().out
    made = Run(tmp_path / "made")
    assert reproduction.fingerprint(made) == reproduction.fingerprint(run)
    assert made.summary()["negative_elbo"] == run.summary()["negative_elbo"]
    assert reproduction.compare(made, "float32 0", {"negative_elbo": 1.0, "fid": 3.0}) == 1
    assert "Other weights, and losses beyond 5%" in capsys.readouterr().out


def test_a_run_that_was_stopped_is_stopped_at_the_same_step(
    new_run: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run = new_run(budget=60, hidden_size=8, log_every=1)
    for status in run_to_end(run):
        if status.step == 7:
            run.ask("stop")
    assert (run.status().state, run.status().step) == ("stopped", 7)
    assert carried_out(reproduction.script(run), tmp_path, monkeypatch) == 0
    assert Run(tmp_path / "made").status().step == 7


@pytest.mark.parametrize(("step", "share"), [(2**61 - 1, 0.5), (10**400, 0.5), (7, 1e-320)])
def test_a_vast_step_of_somebody_else_s_run_is_no_endless_search(trained: Trained, step: int, share: float):
    run = trained(budget=3, log_every=1, hidden_size=8)
    status = run.status().model_copy(update={"state": "stopped", "step": step, "share": share})
    assert reproduction._to_the_step(run.config, status)["log_every"] in (1, 7, 10**6)
    timed = run.config.model_copy(update={"schedule": Schedule(unit="minutes")})
    with pytest.raises(UserError, match="no script goes so far"):
        reproduction._to_the_step(timed, status)


def test_why_a_file_could_not_be_made_is_said(monkeypatch: pytest.MonkeyPatch):
    def make() -> bytes:
        raise UserError("There is no room.")

    made: list[Callable[[], bytes]] = []
    told: list[str] = []
    monkeypatch.setattr(downloads.st, "session_state", {})
    monkeypatch.setattr(downloads.st, "download_button", lambda title, make, *_, **__: made.append(make))
    monkeypatch.setattr(downloads.st, "toast", lambda words, **__: told.append(words))
    downloads.button(downloads.File("PNG", "x.png", make))
    with pytest.raises(UserError):
        made[0]()
    downloads.say_unmade()
    downloads.say_unmade()
    assert told == ["There is no room."]


def test_names_that_came_from_somebody_else_stay_words(trained: Trained, tmp_path: Path):
    run = trained(budget=3, log_every=1, hidden_size=8)
    hostile = '"""\nimport os\nos.abort()\n"""\\'
    config = run.config.model_copy(update={"dataset": hostile, "classes": (hostile,), "versions": {hostile: hostile}})
    run.__dict__["config"] = config
    found = compile(reproduction.script(run), "reproduce.py", "exec")
    assert "os" not in found.co_names
    names = sorted(set(found.co_names) - {"__name__", "__doc__"})
    assert names[:4] == ["FIGURES", "ModuleNotFoundError", "SETTINGS", "STEPS"]


def test_a_script_elsewhere_says_where_it_belongs(trained: Trained, tmp_path: Path):
    run = trained(budget=3, log_every=1, hidden_size=8)
    for text in (reproduction.script(run), downloads.script("samples", {}, None, []).decode()):
        (tmp_path / "reproduce.py").write_text(text, encoding="utf-8")
        alone = [sys.executable, "-S", "reproduce.py"]  # without what its environment holds
        left = subprocess.run(alone, cwd=tmp_path, capture_output=True, text=True)
        assert left.returncode == 2
        assert left.stderr.count("\n") == 1
        assert "run this script in the folder of Latent Lab" in left.stderr


def test_no_run_is_made_without_its_dataset(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = trained(budget=3, log_every=1, hidden_size=8)
    text = reproduction.script(run).replace("'dataset': 'digits'", "'dataset': 'folder:/nowhere'")
    assert carried_out(text, tmp_path, monkeypatch) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    ("page", "settings", "endings"),
    [
        pytest.param(
            "samples", {"seed": "3", "n": "8", "frames": "4"}, ["png", "zip", "gif", "mp4", "zip"], marks=IN_SOAK
        ),
        (
            "perturbation",
            {"start": "prior", "seed": "2", "z": "1:1.5", "columns": "3", "rows": "2"},
            ["png", "gif", "png"],
        ),
        ("transitions", {"frames": "4", "pace": "10"}, ["gif", "mp4", "png"]),
        ("latent_map", {}, ["png", "csv"]),
    ],
)
def test_the_script_of_a_picture_makes_the_same_file(
    page: str, settings: dict[str, str], endings: list[str], trained: Trained, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):  # fmt: skip
    run = trained(budget=3, log_every=1, hidden_size=8)
    kept: list[downloads.File] = []
    with monkeypatch.context() as patch:
        patch.setattr(downloads, "button", lambda file, *_, **__: kept.append(file))
        patch.setattr("app.sharing.files", lambda run, status: None)  # of the Gallery, which AppTest opens on its way
        app = visit(page, run=run.id, space="s3cret", **settings)
    assert not app.exception
    made = {file.name: file.make() for file in kept if not file.name.endswith((".py", ".html"))}
    assert [name.rpartition(".")[2] for name in made] == endings
    (tmp_path / "made").mkdir()
    for file in kept:
        if file.name == "reproduce.py":
            text = file.make().decode()
            assert "s3cret" not in text
            assert carried_out(text, tmp_path, monkeypatch) == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "made").iterdir()} == made


def test_a_script_waits_for_what_a_page_makes_beside_it(trained: Trained, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("app.background.AT_ONCE", 0.0)
    run = trained("diffusion", budget=3)
    address, name = {"run": run.id, "noises": "2", "class": "3", "n": "2"}, f"samples-{run.id}-0.png"
    downloads.again("samples", address, {}, {name: ""}, folder=[str(tmp_path)])
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_the_script_of_a_picture_says_what_is_missing_or_other(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    run = trained(budget=3, log_every=1, hidden_size=8)
    address, name = {"run": run.id, "n": "2"}, f"samples-{run.id}-0.png"
    assert downloads.again("samples", address, {run.id: "other"}, {name: "other"}, folder=[str(tmp_path)]) == 1
    told = capsys.readouterr()
    assert "not as it was" in told.out
    assert "has other weights here" in told.err
    assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
    run.delete()
    assert downloads.again("samples", address, {run.id: "other"}, {name: "other"}) == 1
    assert capsys.readouterr().err == f"{_nobody(run.id)}\n"


def _nobody(run_id: str) -> str:
    return f"There is no run '{run_id}' here: it may have been deleted; see the gallery."


def test_a_picture_of_one_s_own_is_in_the_script(trained: Trained):
    run = trained("pix2pix", "edges:digits", budget=2, batch_size=32, width=4)
    mine = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    address = {"run": run.id, "start": "upload"}
    name = f"translation-{run.id}.zip"
    text = downloads.script(
        "translate", {key: [value] for key, value in address.items()}, mine,
        [downloads.File("Pictures", name, lambda: b"")],
    ).decode()  # fmt: skip
    held: dict[str, Any] = {}
    exec(text.partition("if __name__")[0], held)
    offered = downloads._opened(held["PAGE"], held["ADDRESS"], held["GIVEN"])
    with zipfile.ZipFile(io.BytesIO(offered[name]())) as archive:
        first = np.asarray(Image.open(io.BytesIO(archive.read(archive.namelist()[0]))))
    light = open_translator(run).light
    assert np.array_equal(np.unique(first), np.unique(255 - mine if light else mine))
