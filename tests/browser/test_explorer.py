"""The one-file explorer as somebody opens it from a mail: from the disk, without a network."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from genmodels import explorer
from genmodels.analysis.projection import pca
from genmodels.analysis.transitions import slerp
from genmodels.inside import Inside, open_inside
from genmodels.media import as_people_write
from genmodels.runs import Run, by_id
from tests.test_explorer import HOSTILE, imported

PIXELS = """canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]
    .filter((_, i) => i % 4 == 0)"""


def seen(canvas: Locator) -> np.ndarray:
    return np.array(canvas.evaluate(PIXELS))


def expected(inside: Inside, z: np.ndarray) -> np.ndarray:
    return as_people_write(inside.decode(z[None])[0], inside.light).ravel().astype(int)


@pytest.fixture
def opened(browser: Browser, tmp_path: Path) -> Iterator[Callable[[Run], Page]]:
    """Opens the file of a run offline; whatever it asks for, or complains of, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(10_000)
    context.set_offline(True)
    wrong: list[str] = []

    def open_file(run: Run) -> Page:
        path = tmp_path / "explorer.html"
        path.write_bytes(explorer.build(run))
        page = context.new_page()
        page.on("request", lambda request: request.url == path.as_uri() or wrong.append(request.url))
        page.on("console", lambda said: said.type == "error" and wrong.append(said.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.goto(path.as_uri())
        expect(page.locator("html[data-ready]")).to_be_attached()
        return page

    yield open_file
    context.close()
    assert wrong == []


def test_map_sliders_traversals_and_tour_are_decoded_in_the_file(opened: Callable[[Run], Page]) -> None:
    run = by_id("vae-digits")
    inside = open_inside(run)
    page, z = opened(run), inside.means.mean(0)
    now = page.locator("#code .now canvas")
    np.testing.assert_allclose(seen(now), expected(inside, z), atol=2)
    slider, index = page.locator("#code").get_by_role("slider").first, inside.order[0]
    slider.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    z[index] += 20 * 0.05 * inside.spread[1][index]
    np.testing.assert_allclose(seen(now), expected(inside, z), atol=2)
    expect(page.locator("#said")).to_contain_text("The mean code of all test images, moved.")

    page.locator("#grid[data-drawn=true]").wait_for()
    row, dimension = page.locator("#grid tbody tr").nth(1), inside.order[1]
    z[dimension] = 1.6448536  # the quantile at 95%
    np.testing.assert_allclose(seen(row.locator("canvas").last), expected(inside, z), atol=2)
    row.get_by_role("button").last.click()
    np.testing.assert_allclose(seen(now), expected(inside, z), atol=2)

    page.get_by_role("radio", name="Spherical").click()
    page.get_by_label("From", exact=True).select_option("3")
    page.get_by_label("To", exact=True).select_option("8")
    for _ in range(5):  # a tenth of the way each, where motion is not wanted
        page.get_by_role("button", name="One step").click()
    half = slerp(inside.centroids[3], inside.centroids[8], np.array([0.5]), inside.spread[0])
    assert half is not None
    np.testing.assert_allclose(seen(page.locator("#tour .stage canvas")), expected(inside, half[0]), atol=2)

    page.locator("#map .stage").focus()
    page.keyboard.press("+")
    expect(page.locator("#map .tip").first).to_contain_text(re.compile("model's copy|decoded at"))
    page.keyboard.press("0")
    while "decoded at" not in page.locator("#map .tip").first.inner_text():  # to an empty place
        page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#said")).to_contain_text("of the map")
    z, plane = np.array(page.evaluate("[...lab.z]")), pca(inside.means)
    np.testing.assert_allclose(plane.code(plane.place(z)), z, atol=1e-3)
    np.testing.assert_allclose(seen(now), expected(inside, z), atol=2)


def test_names_of_an_imported_run_stay_words_and_a_phone_has_room(opened: Callable[[Run], Page], home: Path) -> None:
    run = imported(home, classes=[HOSTILE, *"123456789"], dataset=f"folder:/no/{HOSTILE}")
    page = opened(run)
    page.locator("#faces button").first.click()
    expect(page.locator("#said")).to_contain_text(f"The middle of class {HOSTILE}")
    assert page.locator("img").count() == 0
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
