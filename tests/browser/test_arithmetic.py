"""The strength is dragged, and the result is painted anew at once; the link shows the same to somebody else."""

import re

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from app.components import page as helps
from genmodels.inside import open_inside
from tests.browser.clean import clean
from tests.browser.test_journeys import no_trace

PIXELS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return Array.from(data.filter((_, i) => i % 4 === 0));
}"""


def result(page: Page) -> np.ndarray:
    """The pixels that are painted, as the page shows images."""
    return np.array(page.locator(".result canvas").evaluate(PIXELS))


def expected(run, a: int, b: int, item: int, strength: float) -> np.ndarray:
    """The same by hand: decode the item plus the strength times the difference of centroids."""
    inside = open_inside(run)
    first, second = (inside.means[inside.labels == c].mean(0) for c in (a, b))
    return 255 - inside.decode((inside.means[item] + strength * (first - second))[None])[0].ravel().astype(int)


def slider(page: Page):
    return page.get_by_role("slider", name="Strength")


def test_dragging_the_strength_paints_the_result(server: str, page: Page, browser: Browser, trained) -> None:
    run = trained(budget=300)
    page.goto(f"{server}/arithmetic?run={run.id}")
    expect(page.locator(".result canvas")).to_be_visible()
    expect(page.get_by_text("test images lie within")).to_be_visible()
    item = int(np.flatnonzero(open_inside(run).labels == 1)[0])
    assert page.url.endswith(f"/arithmetic?run={run.id}"), "what it opens with is not in the address"
    assert abs(result(page) - expected(run, 7, 1, item, 1)).max() <= 1
    before, box = result(page), slider(page).bounding_box()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    seen = []
    for share in (0.5, 0.35, 0.2):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + box["height"] / 2)
        seen.append(result(page))  # the hand has not let go
    page.mouse.up()
    for one, two in zip([before, *seen], seen, strict=False):
        assert abs(one - two).max() > 10
    slider(page).focus()
    page.keyboard.press("End")
    expect(page).to_have_url(re.compile("strength=2$"))
    assert abs(result(page) - expected(run, 7, 1, item, 2)).max() <= 1
    no_trace(page)

    other = browser.new_context().new_page()
    other.goto(page.url)
    expect(other.locator(".result canvas")).to_be_visible()
    assert np.array_equal(result(other), result(page))
    expect(slider(other)).to_have_attribute("aria-valuetext", "2.00 times A minus B")
    other.context.close()
    clean(page, "arithmetic")


def test_images_are_picked_by_a_press(server: str, page: Page, trained) -> None:
    run = trained(budget=100)
    page.goto(f"{server}/arithmetic?run={run.id}&a=images:&b=class:0&item=class:3")
    expect(page.get_by_text("Group A has no images")).to_be_visible()
    images = page.get_by_role("group", name="Pick the images of group A").get_by_role("button")
    images.nth(0).click()
    expect(page).to_have_url(re.compile(r"a=images%3A0(&|$)"))
    expect(images.nth(0)).to_have_attribute("aria-pressed", "true")
    images.nth(2).focus()
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"a=images%3A0%2C2(&|$)"))
    expect(page.get_by_text("A: 2 picked images")).to_be_visible()
    expect(page.locator(".result canvas")).to_have_count(1)
    images.nth(0).click()
    expect(page).to_have_url(re.compile(r"a=images%3A2(&|$)"))
    expect(page.get_by_text("Group A is one image")).to_be_visible()
    no_trace(page)


@pytest.mark.parametrize("name", ["Arithmetic", "Transitions"])
def test_back_leaves_the_page(server: str, page: Page, trained, name: str) -> None:
    trained(budget=3)
    page.goto(f"{server}/gallery")
    page.get_by_test_id("stSidebarNavLink").filter(has_text=name).click()
    expect(page).to_have_url(re.compile("run="))
    expect(page.locator(".result canvas, .player[data-ready]")).to_have_count(1)
    page.wait_for_timeout(1000)  # whatever the page writes into the address is written
    page.go_back()
    page.wait_for_timeout(1000)
    if "gallery" not in page.url:
        page.go_back()
    expect(page).to_have_url(re.compile("/gallery"))
    expect(page.get_by_role("heading", name="Gallery", exact=True)).to_be_visible()


def test_back_leads_to_where_somebody_pressed_before_the_page_was_all_there(server: str, page: Page) -> None:
    page.goto(f"{server}/_stcore/health")
    page.mouse.click(5, 5)
    page.evaluate(helps.SCRIPT.removeprefix("<script>").removesuffix("</script>"))
    lengths = page.evaluate("['?a', '?b'].map((each) => (history.pushState({}, '', each), history.length))")
    assert lengths == [3, 3], "a place for what was pressed, none for what the page fills in by itself"


def test_the_page_can_be_used_on_a_phone(server: str, browser: Browser, trained) -> None:
    run = trained()
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{server}/arithmetic?run={run.id}")
    expect(page.locator(".result canvas")).to_be_visible()
    expect(page.get_by_text("results that differ most")).to_be_visible()
    assert page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth") <= 0
    context.close()
