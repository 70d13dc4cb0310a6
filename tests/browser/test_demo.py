"""Two visitors of a hosted demo: neither sees nor stops what the other does, and they take turns."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from genmodels import demo, jobs, runs
from genmodels.files import in_space
from tests.browser.serving import served
from tests.soak import IN_SOAK

SLOW = 120_000  # milliseconds: there is no worker ready in a demo, so each imports torch first


@pytest.fixture
def address(home: Path) -> Iterator[str]:
    """A demo of its own; its workers end with the test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENMODELS_DEMO", "1")
        patch.setenv("GENMODELS_DEMO_MINUTES", "60")
        with served() as address:
            yield address
        for space in demo.spaces():
            with in_space(space.name):
                for run in runs.all_runs():
                    jobs.stop(run)
                    with run.lock().acquire(timeout=60):
                        pass


def go(page: Page, name: str) -> None:
    page.get_by_test_id("stSidebar").get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_role("heading", name="Train a model" if name == "Train" else name, level=1)).to_be_visible()


def train(page: Page) -> str:
    """Press Train, for as long as one may. -> the run's id"""
    go(page, "Train")
    page.get_by_label("Budget", exact=True).fill("60")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_role("heading", name="VAE on Digits")).to_be_visible()
    return page.url.split("run=")[1].split("&")[0]


@IN_SOAK
def test_two_visitors_share_the_machine_and_nothing_else(address: str, page: Page, browser: Browser) -> None:
    expect.set_options(timeout=SLOW)
    page.set_default_timeout(SLOW)
    page.goto(address)
    expect(page.get_by_role("heading", name="Gallery")).to_be_visible()
    key = page.url.split("space=")[1].split("&")[0]
    run = train(page)
    expect(page.get_by_text("Training on")).to_be_visible()
    go(page, "Gallery")
    assert key in page.url
    page.reload()
    card = page.get_by_text(run.rsplit("-", 1)[-1])
    expect(card).to_be_visible()

    context = browser.new_context(viewport={"width": 390, "height": 844})
    context.set_default_timeout(SLOW)
    other = context.new_page()
    other.goto(f"{address}/train?run={run}")
    expect(other.get_by_text("There is no run")).to_be_visible()
    assert key not in other.url
    other.goto(f"{address}/train?space={other.url.split('space=')[1].split('&')[0]}")
    other.get_by_role("button", name="Train", exact=True).click()
    expect(other.get_by_text("Number 1 in the queue")).to_be_visible()

    page.goto(f"{address}/train?space={key}&run={run}")
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(other.get_by_text("Training on")).to_be_visible()
    go(page, "Gallery")
    page.get_by_text("Your space").click()
    with page.expect_download() as taken:
        page.get_by_role("button", name="Download everything of mine").click()
    assert run.encode() in Path(taken.value.path()).read_bytes()
    assert not page.get_by_test_id("stException").count() + other.get_by_test_id("stException").count()
    context.close()
