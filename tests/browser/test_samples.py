"""The Samples page, as a person uses it: ask for a class, another seed, walk, download, come back by the address."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.clean import clean
from tests.browser.test_journeys import no_trace


@pytest.fixture
def grid(server: str, page: Page, trained) -> str:
    run = trained("conditional-gan", budget=20)
    page.goto(f"{server}/samples?run={run.id}&noises=3&n=6&frames=12")
    expect(page.locator(".album.table img")).to_have_count(30)
    return page.url


def test_a_class_is_asked_for_and_the_address_shows_the_same(grid: str, page: Page, browser):
    expect(page.get_by_text("of the training images themselves")).to_be_visible()
    page.get_by_label("Class", exact=True).click()
    page.get_by_role("option", name="7", exact=True).click()
    expect(page.get_by_text("6 samples from seed 0, asked to be 7")).to_be_visible()
    page.get_by_role("button", name="Another").click()
    page.wait_for_url(re.compile(r"seed=[1-9]\d*"))
    first = page.locator(".album img[alt='Sample 1']").first
    seed = page.url.split("seed=")[1].split("&")[0]
    expect(page.get_by_text(f"from seed {seed}, asked to be 7")).to_be_visible()
    expect(page.get_by_text("of the training images themselves")).to_be_visible()
    other = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    other.goto(page.url)
    again = other.locator(".album img[alt='Sample 1']").first
    expect(again).to_be_visible()
    assert again.get_attribute("src") == first.get_attribute("src")
    expect(other.get_by_text("of the training images themselves")).to_be_visible()
    assert other.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth") <= 0
    other.context.close()
    no_trace(page)


def test_the_way_is_watched_and_kept(grid: str, page: Page):
    expect(page.locator(".player[data-ready]")).to_be_visible()
    page.get_by_role("slider", name="Frame", exact=True).press("End")
    expect(page.locator(".where")).to_contain_text("12 of 12 · 0, noise 1 to 0, noise 2")
    expect(page.locator(".said")).not_to_contain_text("near", use_inner_text=True)
    with page.expect_download() as found:
        page.get_by_test_id("stDownloadButton").get_by_role("button", name="GIF").click()
    assert found.value.path().read_bytes().startswith(b"GIF89a")
    no_trace(page)
    clean(page, "samples")
