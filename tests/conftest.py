"""Shared: an empty home for every test, digits to train on, and runs made by really training."""

import functools
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from streamlit.components.v2 import manifest_scanner

from genmodels import data, demo, jobs, runs
from genmodels.config import Schedule
from genmodels.families import FAMILIES
from genmodels.training import Images
from genmodels.worker import run_to_end
from tests.forking import Forked

SMALL: dict[str, dict[str, object]] = {"diffusion": {"width": 8, "steps": 5}}  # where the defaults take long


def data_for(family: str) -> str:
    """A small dataset that the family can learn from."""
    return {"images": "digits", "pairs": "edges:digits", "domains": "inverted:digits"}[FAMILIES[family].learns_from]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing a test does reaches the home of the person who runs it."""
    monkeypatch.setenv("GENMODELS_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("GENMODELS_SLOTS", raising=False)
    return tmp_path / "home"


@pytest.fixture(autouse=True, scope="session")
def _components_looked_for_once() -> Iterator[None]:
    """AppTest looks through all that is installed, anew for each app: it takes longer than most of our pages."""
    with pytest.MonkeyPatch.context() as patch:
        once = functools.cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", once)
        yield


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _no_worker_gives_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for one that works in this process, or in a fork of it, is a test."""
    monkeypatch.setattr(demo, "give_way", lambda: None)


@pytest.fixture(autouse=True)
def _short_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form on the page Train tries for one step how fast a model is, not for half a second."""
    monkeypatch.setattr("app.plan.TRIAL", 0)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Images:
    """The training part of scikit-learn's digits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODELS_HOME", str(tmp_path_factory.mktemp("digits")))
        return Images.of(data.load("digits"), "train")


@pytest.fixture
def new_run() -> Callable[..., runs.Run]:
    """Make a run that has not been started, with small defaults: digits, 30 steps, one thread."""

    def make(family: str = "vae", dataset: str = "digits", seed: int = 0, size: int | None = None, **settings: object):
        schedule = {name: settings.pop(name) for name in list(settings) if name in Schedule.model_fields}
        schedule = {"budget": 30, "unit": "steps", "threads": 1, "device": "cpu"} | schedule
        loaded, settings = data.load(dataset, size, None, seed), SMALL.get(family, {}) | settings
        return runs.create(
            runs.RunConfig(
                family=family,
                knobs=FAMILIES[family].Config.of(settings).model_dump(),
                dataset=dataset,
                size=size,
                seed=seed,
                schedule=Schedule(**schedule),
                shape=loaded.shape,
                classes=loaded.classes,
            )
        )

    return make


@pytest.fixture
def as_demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The app is a hosted demo, open to strangers."""
    monkeypatch.setenv("GENMODELS_DEMO", "1")


@pytest.fixture
def ada() -> str:
    """The key of a visitor's space in a demo."""
    return demo.new_space()


@pytest.fixture
def bob() -> str:
    """That of another one."""
    return demo.new_space()


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of runs that got a worker, in order; the worker here does nothing, and has not ended."""
    order: list[str] = []
    monkeypatch.setattr(jobs, "_employ", lambda run: order.append(run.id))
    return order


@pytest.fixture
def forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are forks of this process, which has torch: as real, and seconds sooner at work."""
    monkeypatch.setattr(jobs, "_new_worker", Forked)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where `trained` keeps one run of each settings, for all processes that test."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "kept"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture
def trained(new_run: Callable[..., runs.Run], kept: Path) -> Callable[..., runs.Run]:
    """Make a run and train it to its end in this process; the next one of the same settings gets a copy of its files.

    Who patches what training does, or wants to see the same trained twice, makes a `new_run` and trains it.
    """

    def make(*args: object, **settings: object) -> runs.Run:
        run = new_run(*args, **settings)
        same = run.config.model_dump_json(exclude={"created"})
        of_it = kept / hashlib.sha256(same.encode()).hexdigest()
        with FileLock(of_it.with_suffix(".lock")):
            if of_it.exists():
                shutil.copytree(of_it, run.path, copy_function=shutil.copyfile, dirs_exist_ok=True)
                return run
            for _ in run_to_end(run):
                pass
            if set(data.bases(run.config.dataset)) <= set(data.DATASETS):  # a folder may hold others in the next test
                shutil.copytree(run.path, of_it, ignore=shutil.ignore_patterns("config.json"))
        return run

    return make
