"""The page Complete as a person uses it: a hole is painted over a picture, and there are several answers."""

import re

import numpy as np
from playwright.sync_api import Page, expect

from tests.browser.clean import clean
from tests.browser.test_perturbation import PIXELS
from tests.test_complete import made


def test_a_hole_is_painted_and_filled_in_different_ways(server: str, page: Page) -> None:
    run = made("vae")
    page.goto(f"{server}/complete?run={run.id}&answers=3")
    drawn = page.get_by_role("img", name=re.compile(r"^Answer \d"))
    expect(drawn).to_have_count(3)
    page.get_by_text("Paint a hole").click()
    expect(page.get_by_text("Paint over what should be hidden: it is")).to_be_visible()
    paper = page.get_by_role("application", name=re.compile("Paint over"))

    def colours() -> np.ndarray:
        return np.array(paper.evaluate(PIXELS)).reshape(224, 224, 4)[:, :, :3]

    for _ in range(40):
        before = colours()
        if (before < 250).any():  # the picture is seen through the paper
            break
        page.wait_for_timeout(250)
    assert (before[:, :, 0] == before[:, :, 1]).all(), "a grey picture"
    assert len(np.unique(before)) > 2
    paper.scroll_into_view_if_needed()
    box = paper.bounding_box()
    assert box
    page.mouse.move(box["x"] + 60, box["y"] + 112)
    page.mouse.down()
    page.mouse.move(box["x"] + 160, box["y"] + 112, steps=5)
    page.mouse.up()
    page.wait_for_url(re.compile("hole="))
    expect(drawn).to_have_count(3)
    answers = {each.get_attribute("src") for each in drawn.all()}
    assert len(answers) >= 2
    after = colours()
    covered = (after != before).any(2)
    assert covered[112, 60:160].all()
    assert not covered[:60].any(), "beyond the stroke the picture is as it was"

    url = page.url
    other = page.context.new_page()
    other.goto(url)
    again = other.get_by_role("img", name=re.compile(r"^Answer \d"))
    expect(again).to_have_count(3)
    assert {each.get_attribute("src") for each in again.all()} == answers, "a link has the hole with it"

    page.get_by_role("button", name="Clear", exact=True).click()
    expect(page.get_by_text("Paint over what should be hidden: it is")).to_be_visible()
    clean(page, "complete")
