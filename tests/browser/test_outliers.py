"""The page Outliers as a person uses it: the threshold is moved, an image is ticked by keyboard, a child run starts."""

import re

from playwright.sync_api import Page, expect

from genmodels.runs import all_runs
from tests.browser.clean import clean
from tests.test_outliers import copy_of_digits


def test_the_threshold_is_moved_and_a_ticked_image_is_left_out(server: str, page: Page) -> None:
    run = copy_of_digits(scarce="1", kept=0)
    page.goto(f"{server}/outliers?run={run.id}&score=elbo&part=train")
    expect(page.get_by_text("AUROC of").first).to_be_visible(timeout=60_000)
    expect(page.get_by_test_id("stVegaLiteChart").locator("canvas, svg")).to_have_count(2)
    page.wait_for_function("document.querySelector('[data-test-script-state=notRunning]')")  # else it is drawn anew
    slider = page.get_by_role("slider")
    slider.focus()
    for _ in range(3):
        slider.press("ArrowLeft")
    page.wait_for_url(re.compile("threshold="))
    clean(page, "outliers")
    first = page.get_by_role("checkbox").first
    first.focus()
    first.press("Space")
    page.get_by_role("button", name="Train again without this image").click()
    page.wait_for_url(re.compile(r"/train\?run="))
    child = next(each for each in all_runs() if each.id != run.id)
    assert child.config.parent == run.id
    assert child.config.selection
    assert len(child.config.selection.left_out) == 1
