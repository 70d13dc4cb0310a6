"""A part of `make bench`: how fast a run trains while a browser watches its page, against when nobody does."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import sync_playwright

from genmodels import data, jobs, runs
from genmodels.config import Schedule
from genmodels.families import FAMILIES
from tests.bench import show, show_ratio

ROOT = Path(__file__).parent.parent


@contextmanager
def served() -> Iterator[str]:
    """The app on a free port of this machine; ended by its own process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["-m", "streamlit", "run", "streamlit_app.py", "--server.port", str(port), "--server.address", "127.0.0.1"]
    server = subprocess.Popen([sys.executable, *words], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


def rate(run: runs.Run, seconds: float) -> float:
    """Images a second of the run over a while."""
    before = run.status()
    time.sleep(seconds)
    after = run.status()
    assert after.state == "running", after.error
    batch = run.config.schedule.batch_size
    return (after.step - before.step) * batch / (after.seconds - before.seconds)


def watched(dataset: str, repeats: int, seconds: float = 12) -> None:
    """Open the page, close it, open it again, on one run that goes on all the while."""
    print("\nA run of the MLP VAE, watched by Chromium on this machine and unwatched, in turn")
    with tempfile.TemporaryDirectory() as home, served_in(home) as address, sync_playwright() as playwright:
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
        browser = playwright.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
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


@contextmanager
def served_in(home: str) -> Iterator[str]:
    """`served`, with runs in a home of its own."""
    before = os.environ.get("GENMODELS_HOME")
    os.environ["GENMODELS_HOME"] = home
    try:
        with served() as address:
            yield address
    finally:
        if before is None:
            del os.environ["GENMODELS_HOME"]
        else:
            os.environ["GENMODELS_HOME"] = before
