"""A part of `make bench`: how fast a run trains while a browser watches its page, against when nobody does."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import sync_playwright

from genmodels import data, jobs, runs
from genmodels.config import Schedule
from genmodels.families import FAMILIES
from tests.bench import show, show_ratio
from tests.browser.serving import launch, served


def rate(run: runs.Run, seconds: float) -> float:
    """Images a second of the run over a while."""
    before = run.status()
    time.sleep(seconds)
    after = run.status()
    assert after.state == "running", after.error
    batch = run.config.schedule.batch_size
    return (after.step - before.step) * batch / (after.seconds - before.seconds)


@contextmanager
def home_of_its_own() -> Iterator[None]:
    """Runs of the bench stay out of the gallery."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODELS_HOME", folder)
        yield


def watched(dataset: str, repeats: int, seconds: float = 12) -> None:
    """Open the page, close it, open it again, on one run that goes on all the while."""
    print("\nA run of the MLP VAE, watched by Chromium on this machine and unwatched, in turn")
    with home_of_its_own(), served() as address, sync_playwright() as playwright:
        loaded = data.load(dataset, 28, 1)
        run = runs.create(
            runs.RunConfig(
                family="vae",
                knobs=FAMILIES["vae"].Config(latent_size=20).model_dump(),
                dataset=dataset,
                size=28,
                schedule=Schedule(budget=30, decay="constant"),
                shape=loaded.shape,
                classes=loaded.classes,
            )
        )
        jobs.start(run)
        while run.status().step < 200:
            time.sleep(0.2)
        browser = launch(playwright)
        found: dict[str, list[float]] = {"unwatched": [], "watched": []}
        try:
            for _ in range(repeats):
                page = browser.new_page()
                page.goto(f"{address}/train?run={run.id}")
                page.get_by_role("img").first.wait_for(timeout=60_000)
                time.sleep(3)
                found["watched"].append(rate(run, seconds))
                page.close()
                time.sleep(3)
                found["unwatched"].append(rate(run, seconds))
        finally:
            browser.close()
            jobs.stop(run)
            while run.status().active:
                time.sleep(0.2)
    for name, values in found.items():
        show(name, values, "images/s")
    show_ratio("watched against unwatched", found["watched"], found["unwatched"], "0.97")
