"""How long a person waits for a run: from the click to the first point, to a stop, and from Resume to the next point.

With a worker that stands by, as the app has one, and without.
"""

import tempfile
import time
from collections.abc import Callable

import pytest

from genmodels import data, jobs, runs
from genmodels.config import Schedule
from genmodels.families import vae

DATASETS = (("digits", None, None), ("mnist", None, None), ("shapes", 64, 3))
IMPORTED = 8.0  # seconds that a worker has had to import torch before the click


def until(true: Callable[[], object]) -> float:
    """Seconds until a function says yes."""
    started = time.perf_counter()
    while not true():
        time.sleep(0.005)
    return time.perf_counter() - started


def waits(name: str, size: int | None, channels: int | None, spare: bool) -> list[float]:
    """Seconds to the first point, to the stop, and from Resume to the next point."""

    def get_ready() -> None:
        if spare:
            jobs.stand_by()
            time.sleep(IMPORTED)

    dataset = data.load(name, size, channels)
    run = runs.create(
        runs.RunConfig(
            family="vae", knobs=vae.Config().model_dump(), dataset=name, size=size, channels=channels,
            schedule=Schedule(), shape=dataset.shape, classes=dataset.classes,
        )
    )  # fmt: skip
    get_ready()
    jobs.start(run)
    first = until(run.newest_point)
    time.sleep(1)
    jobs.stop(run)
    stop = until(lambda: run.status().state == "stopped")
    with run.lock().acquire(timeout=60):  # its last figures are written
        step = (run.newest_point() or {"step": 0})["step"]
    get_ready()
    jobs.resume(run)
    resumed = until(lambda: (run.newest_point() or {"step": 0})["step"] > step)
    jobs.stop(run)
    with run.lock().acquire(timeout=60):
        pass
    return [first, stop, resumed]


def starting(repeats: int) -> None:
    print("\nSeconds from the click to the first point (goal 3) / to the stop (1) / from Resume to the next point (1)")
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setenv("GENMODELS_HOME", folder)
        for dataset in (each for each in DATASETS if data.is_present(each[0])):
            report(dataset, repeats)
        for spare in jobs._spare:
            spare.kill()


def report(dataset: tuple[str, int | None, int | None], repeats: int) -> None:
    for spare in (False, True):
        found = [waits(*dataset, spare) for _ in range(repeats)]
        middle = [sorted(values)[len(values) // 2] for values in zip(*found, strict=True)]
        label = f"{dataset[0]} {dataset[1] or ''}, {'a worker stands by' if spare else 'no worker stands by'}"
        print(f"  {label:44} " + " / ".join(f"{value:5.2f}" for value in middle), flush=True)
