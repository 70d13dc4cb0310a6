"""The page Denoising as a person uses it: a digit is drawn, noised and denoised, stopped, and the answers are seen."""

import re

from playwright.sync_api import Page, expect

from tests.browser.clean import clean
from tests.browser.test_translate import down_the_middle
from tests.test_denoising import untrained


def test_a_drawn_digit_is_noised_and_comes_back_in_ten_ways(server: str, page: Page) -> None:
    run = untrained()
    page.goto(f"{server}/denoising?run={run.id}&mode=picture&start=drawing&steps=100&level=0.1&asked=1&seed=4")
    expect(page.get_by_role("application", name=re.compile("Draw here"))).to_be_visible()
    down_the_middle(page)
    page.mouse.up()
    expect(page.get_by_role("img", name=re.compile(r"^Result \d+: \d"))).to_have_count(10, timeout=60_000)
    expect(page.get_by_role("img", name="The picture")).to_be_visible()
    expect(page.get_by_text(re.compile(r"^\d+ of 10 (is|are) read as \d, the class of the picture"))).to_be_visible()

    # The line on the schedule follows the player.
    page.wait_for_selector(".player[data-ready]")
    expect(page.get_by_text("At step 5 of 10, level 0.05")).to_be_visible()
    page.get_by_role("slider", name="Frame").press("End")
    expect(page.get_by_text("At step 10 of 10, level 0.00")).to_be_visible()
    page.wait_for_url(re.compile(r"frame=10\b"))

    # A long walk is stopped; what was there before remains.
    page.get_by_role("button", name="Try all levels").click()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_text(re.compile(r"^Stopped at step \d+ of \d+"))).to_be_visible()
    expect(page.get_by_role("img", name=re.compile(r"^Result \d+: \d"))).to_have_count(10)
    expect(page.get_by_role("button", name="Start again")).to_be_visible()
    assert "asked=1" in page.url
    assert "seed=4" in page.url, "the noise is that of the link"
    clean(page, "denoising")
