"""A game of two networks as a person watches it: train a conditional GAN, see both sides, make one move."""

import re

from playwright.sync_api import Page, expect

from tests.browser.test_journeys import state


def test_a_conditional_gan_is_trained_and_moved_by_one_step(server: str, page: Page) -> None:
    page.goto(f"{server}/train")
    page.get_by_role("combobox", name="Model").click()
    page.get_by_role("option", name=re.compile("Conditional GAN")).click()
    page.get_by_text("Conditional GAN on Digits").wait_for()
    page.locator('input[aria-label="Budget"]').fill("0.1")
    page.locator('input[aria-label="Budget"]').press("Enter")
    page.get_by_role("button", name="Train", exact=True).click()
    expect(page.get_by_text("Discriminator and Generator")).to_be_visible()
    expect(page.get_by_text("D(x) and D(G(z)), probability")).to_be_visible()
    expect(page.get_by_text("a column is a class")).to_be_visible()
    state(page, "finished").to_be_visible(timeout=60_000)
    page.get_by_text("Slow motion: one move at a time").click()
    expect(page.get_by_text("Press a button")).to_be_visible()
    page.get_by_role("button", name="Generator step").click()
    expect(page.get_by_text("the discriminator's not at all: 0")).to_be_visible()
    expect(page.get_by_role("img", name="The difference")).to_be_visible()
    assert "slow=true" in page.url
