"""One server for all tests of a process, whose home is empty again for each; a page in a real browser for each test."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, expect, sync_playwright

from genmodels import jobs, runs
from tests.browser.serving import launch, served


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            found = launch(playwright)
        except Error:
            if os.environ.get("CI"):
                raise
            pytest.skip("no Chromium on this machine: install it, or run `playwright install chromium`")
        yield found
        found.close()


@pytest.fixture(scope="session")
def servers_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers") / "home"


@pytest.fixture(autouse=True)
def home(servers_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """That of the one server; when the test is over its workers are ended, and what it left is removed."""
    monkeypatch.setenv("GENMODELS_HOME", str(servers_home))
    monkeypatch.delenv("GENMODELS_SLOTS", raising=False)
    yield servers_home
    for run in runs.all_runs():
        if run.status().active:
            jobs.stop(run)
    for run in runs.all_runs():
        with run.lock().acquire(timeout=60):
            pass
    shutil.rmtree(servers_home, ignore_errors=True)


@pytest.fixture(scope="session")
def one_server(servers_home: Path) -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODELS_HOME", str(servers_home))
        patch.delenv("GENMODELS_SLOTS", raising=False)
        patch.setenv("STREAMLIT_SERVER_DISCONNECTED_SESSION_TTL", "1")  # who comes back later finds it gone
        with served() as address:
            yield address


@pytest.fixture
def server(one_server: str, home: Path) -> str:
    """The address of the app, which imported torch for an earlier test; its home is empty."""
    return one_server


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    expect.set_options(timeout=20_000)  # what is promised in seconds is measured by the bench, not asserted here
    yield context.new_page()
    context.close()
