"""A server with an empty home and a page in a real browser, for each test."""

import os
from collections.abc import Iterator

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


@pytest.fixture
def server(home) -> Iterator[str]:
    """The address of the app; every worker it started is stopped with it."""
    with served() as address:
        yield address
        for run in runs.all_runs():
            if run.status().active:
                jobs.stop(run)
    for run in runs.all_runs():
        with run.lock().acquire(timeout=60):
            pass


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(30_000)
    expect.set_options(timeout=20_000)  # what is promised in seconds is measured by the bench, not asserted here
    yield context.new_page()
    context.close()
