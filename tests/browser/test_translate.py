"""The page Translate as a person uses it: an edge picture is drawn and seen translated while one draws.

What is looked at are the painted pixels of the canvases, beside what torch makes of the same drawing.
"""

import re
from collections.abc import Callable

import numpy as np
from playwright.sync_api import Browser, Page, WebSocket, expect

from genmodels.runs import Run
from genmodels.translation import Translator, open_translator
from tests.browser.clean import clean
from tests.browser.test_perturbation import PIXELS

Trained = Callable[..., Run]
SEEN, MADE, AGAIN = "As the model reads it", "Translation", "And back again"


def painted(page: Page, name: str) -> np.ndarray:
    """int (H, W) of the first channel of a picture; -1 where nothing is painted."""
    canvas = page.get_by_role("img", name=name, exact=True)
    side = int(canvas.evaluate("canvas => canvas.width"))
    pixels = np.array(canvas.evaluate(PIXELS)).reshape(-1, side, 4)
    return np.where(pixels[:, :, 3] > 0, pixels[:, :, 0], -1)


def nothing_is_painted(page: Page, name: str) -> None:
    """The picture is blank, or soon is."""
    for _ in range(40):
        if (painted(page, name) == -1).all():
            return
        page.wait_for_timeout(250)
    raise AssertionError(f"{name} was not wiped")


def painted_is(page: Page, name: str, image: np.ndarray) -> None:
    """The picture is this one, (1, H, W) as torch has it, or soon is."""
    for _ in range(40):
        found = painted(page, name)
        if np.abs(found - (255 - image[0].astype(int))).max() <= 1:
            return
        page.wait_for_timeout(250)
    np.testing.assert_allclose(found, 255 - image[0].astype(int), atol=1)


def translated(page: Page, look: Translator, direction: str, done: Callable[[np.ndarray], bool]) -> np.ndarray:
    """What the model read, as it is shown, once it is `done` and what stands beside it is its translation."""
    for _ in range(80):
        seen, shown = painted(page, SEEN), painted(page, MADE)
        if (seen >= 0).all() and done(seen):
            made = look.translate(255 - seen[None, None].astype(np.uint8), direction)[0, 0]
            if np.abs(shown - (255 - made.astype(int))).max() <= 1:
                return seen
        page.wait_for_timeout(250)
    raise AssertionError("the translation never came")


def opened(page: Page, server: str, run: Run, query: str = "") -> Translator:
    page.goto(f"{server}/translate?run={run.id}&start=drawing{query}")
    expect(page.get_by_role("application", name=re.compile("Draw here"))).to_be_visible()
    return open_translator(run)


def down_the_middle(page: Page, steps: int = 10) -> None:
    """A stroke with the mouse, whose button stays down."""
    box = page.locator(".paper").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 20, steps=steps)


def test_an_edge_picture_is_translated_while_it_is_drawn(server: str, page: Page, trained: Trained) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/translate/" in request.url else None)
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    run = trained("pix2pix", "edges:digits", budget=30, width=4)
    look = opened(page, server, run)
    assert (painted(page, MADE) == -1).all()
    down_the_middle(page)
    # The pen is still down.
    seen = translated(page, look, "forward", lambda seen: bool((seen[1:7, 3:5] == 0).any(axis=1).all()))
    assert set(np.unique(seen)) == {0, 255}, "lines, in dark ink"
    assert (seen[:, [0, 1, 6, 7]] == 255).all()
    assert asked
    with sockets[-1].expect_event("framesent"):  # the page hears of the stroke
        page.mouse.up()
    sockets[-1].wait_for_event("framereceived")
    before = translated(page, look, "forward", lambda now: True)

    page.get_by_role("application").focus()
    page.keyboard.down("Shift")
    for _ in range(9):
        page.keyboard.press("ArrowLeft")
    page.keyboard.up("Shift")
    translated(page, look, "forward", lambda now: (now == 0).sum() > (before == 0).sum())
    page.get_by_role("button", name="Undo").click()
    translated(page, look, "forward", lambda now: bool((now == before).all()))
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_role("button", name="Clear")).to_be_disabled()
    nothing_is_painted(page, MADE)
    expect(page.get_by_text("Draw whole strokes")).to_be_visible()


def test_by_finger_on_a_phone_and_back_again(server: str, browser: Browser, trained: Trained) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    look = opened(page, server, trained("cyclegan", "inverted:digits", budget=2, width=4), "&direction=back")
    box = page.locator(".paper").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    seen = translated(page, look, "back", lambda seen: True)
    seen = 255 - seen[None, None].astype(np.uint8)
    cycled = look.there_and_back(seen, "back")[1]
    painted_is(page, AGAIN, cycled[0])
    share = np.abs(cycled.astype(int) - seen).mean() / 255
    expect(page.get_by_text(re.compile(r"^Translated back, .* by \d+\.\d%"))).to_contain_text(f"{100 * share:.1f}%")
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth")
    assert wide <= 0
    result = page.get_by_role("img", name=SEEN).bounding_box()
    assert result["x"] > box["x"] + box["width"], "beside the paper, on a phone too"
    context.close()


def test_a_link_opened_elsewhere_has_the_same_direction_and_image(
    server: str, page: Page, browser: Browser, trained: Trained
) -> None:
    run = trained("cyclegan", "inverted:digits", budget=2, width=4)
    page.goto(f"{server}/translate?run={run.id}&image=7")
    told = page.get_by_text(re.compile("^The translation differs")).first
    before = told.inner_text()
    page.get_by_role("radio", name="inverted → plain").click()
    page.wait_for_url(re.compile("direction=back"))
    expect(told).not_to_have_text(before)
    there = told.inner_text()
    context = browser.new_context()
    other = context.new_page()
    other.goto(page.url)
    expect(other.get_by_text(there)).to_be_visible()
    expect(other.get_by_role("radio", name="inverted → plain")).to_be_checked()
    context.close()
    clean(page, "translate")
