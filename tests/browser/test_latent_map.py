"""The latent map as a person uses it: points on the screen, pictures on hover, a lasso, a click on nothing, keys."""

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Locator, Page, expect

from app.terms import LINKED
from genmodels.figures import COLOURS
from genmodels.inside import Inside, open_inside
from genmodels.media import as_people_write
from genmodels.runs import Run
from tests.bench_map import GRAPHICS
from tests.browser.clean import clean

# All pixels of the points' canvas, without those under it or over it.
PIXELS = """stage => { const from = stage.querySelector('canvas'), to = document.createElement('canvas');
    [to.width, to.height] = [from.width, from.height]; const pen = to.getContext('2d');
    stage.getRootNode().querySelector('.map').scatter.draw(); pen.drawImage(from, 0, 0); return to.toDataURL(); }"""
TILE = """canvas => [canvas.width, ...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"""


def opened(page: Page, server: str, run: Run, **query: str) -> Locator:
    """The map of a run, painted."""
    words = "".join(f"&{name}={value}" for name, value in query.items())
    page.goto(f"{server}/latent-map?run={run.id}{words}")
    stage = page.locator(".stage").first
    expect(stage).to_have_attribute("data-painted", re.compile("."))
    page.wait_for_timeout(300)  # the page around it settles
    return stage


def pixels(stage: Locator) -> np.ndarray:
    """RGBA of the points' canvas. (H, W, 4)."""
    png = stage.evaluate(PIXELS).partition(",")[2]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(png))).convert("RGBA"))


def places(stage: Locator, inside: Inside) -> np.ndarray:
    """Where each test image stands on the screen, relative to the map. (N, 2)."""
    xy, view = stage.evaluate(
        """stage => { const map = stage.getRootNode().querySelector('.map').scatter;
        return [[...map.full.xy], map.view]; }"""
    )
    points = np.array(xy).reshape(-1, 2)
    assert len(points) == len(inside.means)
    x = (points[:, 0] - view["x"]) * view["k"] + view["width"] / 2
    y = view["height"] / 2 - (points[:, 1] - view["y"]) * view["k"]
    return np.stack([x, y], 1)


def picture(canvas: Locator, side: int) -> np.ndarray:
    """What stands on a canvas, of an image enlarged by a whole factor. (side, side)."""
    width, *values = canvas.evaluate(TILE)
    whole = np.array(values, np.uint8).reshape(-1, width, 4)[:, :, 0]
    assert width % side == 0
    return whole[width // side // 2 :: width // side, width // side // 2 :: width // side]


def hover(page: Page, stage: Locator, place: np.ndarray) -> None:
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + float(place[0]) - 1, box["y"] + float(place[1]))
    page.mouse.move(box["x"] + float(place[0]), box["y"] + float(place[1]))


def loneliest(where: np.ndarray) -> int:
    """The point that is farthest from its next."""
    distances = np.linalg.norm(where[:, None] - where[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return int(distances.min(1).argmax())


@pytest.mark.parametrize("painter", ["webgl", "plain"])
def test_every_class_is_painted_where_its_points_are(server: str, page: Page, trained, painter: str) -> None:
    page.add_init_script(GRAPHICS[painter])
    run = trained(budget=60)
    stage, inside = opened(page, server, run), open_inside(run)
    if stage.get_attribute("data-painter") != painter:
        pytest.skip("this Chromium has no WebGL at all")
    found = pixels(stage)
    for label in range(10):
        colour = [int(COLOURS[label][i : i + 2], 16) for i in (1, 3, 5)]
        near = (np.abs(found[:, :, :3].astype(int) - colour).max(2) < 4) & (found[:, :, 3] == 255)
        assert near.sum() > 50, f"class {label} is on the screen"
    for i in (loneliest(places(stage, inside)), 0):
        x, y = places(stage, inside)[i].round().astype(int)
        assert found[y - 3 : y + 4, x - 3 : x + 4, 3].max() == 255
    empty = found[:20, -20:]
    assert empty[:, :, 3].max() == 0


def test_hover_shows_the_image_and_the_models_copy(server: str, page: Page, trained) -> None:
    run = trained(budget=60)
    stage, inside = opened(page, server, run), open_inside(run)
    where = places(stage, inside)
    i = loneliest(where)
    hover(page, stage, where[i])
    tip = page.locator(".tip").first
    expect(tip).to_contain_text(f"Test image {i + 1}: {inside.classes[inside.labels[i]]}")
    expect(tip.locator("canvas")).to_have_count(2)
    page.wait_for_timeout(500)
    shown = [picture(tip.locator("canvas").nth(number), 8) for number in (0, 1)]
    true = [inside.images[i, 0], inside.reconstruct(np.array([i]))[0, 0]]
    for ours, theirs in zip(shown, true, strict=True):
        assert (ours == as_people_write(theirs, inside.light)).all()
    clean(page, "latent-map")


def test_a_lasso_selects_what_it_surrounds_and_the_page_shows_it(server: str, page: Page, trained) -> None:
    run = trained(budget=60)
    stage, inside = opened(page, server, run), open_inside(run)
    where = places(stage, inside)
    middle = np.median(where, 0)
    corners = middle + 90 * np.array([[-1, -1], [1, -1], [1, 1], [-1, 1], [-1, -0.9]])
    page.get_by_role("radio", name="Lasso").click()
    stage.scroll_into_view_if_needed()
    box = stage.bounding_box()
    page.mouse.move(box["x"] + corners[0, 0], box["y"] + corners[0, 1])
    page.mouse.down()
    for x, y in corners[1:]:
        page.mouse.move(box["x"] + x, box["y"] + y, steps=3)
    page.mouse.up()
    inner = int((np.abs(where - middle).max(1) < 88).sum())
    outer = int((np.abs(where - middle).max(1) < 92).sum())
    title = page.get_by_role("heading", name=re.compile(r"\d+ selected"))
    expect(title).to_be_visible()
    count = int(title.inner_text().split()[0])
    assert 0 < inner <= count <= outer < len(where)
    expect(page.locator(".count")).to_have_text(f"{count} selected")
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    assert page.get_by_test_id("stImage").count() >= 3

    # It is still there after a visit to another page, on the map as well as below it.
    page.get_by_role("link", name="Gallery").first.click()
    expect(page.get_by_role("heading", name="Gallery", level=1)).to_be_visible()
    page.go_back()
    expect(page.locator(".count")).to_have_text(f"{count} selected")
    expect(title).to_have_text(f"{count} selected")

    page.locator(".stage").first.focus()
    page.keyboard.press("Escape")
    expect(title).to_have_count(0)
    expect(page.locator(".count")).to_have_text("")


def test_a_click_on_an_empty_place_shows_what_the_model_draws_there(server: str, page: Page, trained) -> None:
    run = trained(budget=60)
    stage, inside = opened(page, server, run, view="Dimensions"), open_inside(run)
    hover(page, stage, np.array([70, 60]))
    page.mouse.down()
    page.mouse.up()
    pin = page.locator(".pin")
    expect(pin).to_contain_text("decoded at")
    place = stage.evaluate("stage => stage.getRootNode().querySelector('.map').scatter.pinned")
    x, y = inside.order[:2]
    z = inside.means.mean(0, dtype=np.float64)
    z[[x, y]] = place["x"], place["y"]
    true = as_people_write(inside.decode(z[None].astype(np.float32))[0, 0], inside.light)
    assert np.abs(picture(pin.locator("canvas"), 8).astype(int) - true).max() <= 1


def test_thumbnails_do_not_overlap_and_keys_move_the_map(server: str, page: Page, trained) -> None:
    stage = opened(page, server, trained(budget=60))
    page.get_by_role("button", name="Pictures").click()
    page.wait_for_timeout(600)
    state = "stage => stage.getRootNode().querySelector('.map').scatter"
    found = stage.evaluate(
        f"""stage => {{ const {{ scene, view }} = ({state})(stage);
        return scene.thumbs.found.map(i => [scene.xy[2 * i] * view.k, scene.xy[2 * i + 1] * view.k]); }}"""
    )
    where = np.array(found)
    assert len(where) > 5
    apart = np.abs(where[:, None] - where[None]).max(2)
    np.fill_diagonal(apart, np.inf)
    assert apart.min() >= 32 + 4, "frames of 32 pixels and 2 on each side"
    before = stage.evaluate(f"stage => ({state})(stage).view")
    stage.focus()
    for key in ("ArrowRight", "+"):
        page.keyboard.press(key)
    after = stage.evaluate(f"stage => ({state})(stage).view")
    assert after["x"] == pytest.approx(before["x"] + 40 / before["k"])
    assert after["k"] == pytest.approx(1.3 * before["k"])
    page.keyboard.press("0")
    assert stage.evaluate(f"stage => ({state})(stage).view.k") == pytest.approx(before["k"])


def test_the_page_has_the_wheel_without_focus_and_keys_that_are_not_the_maps_own(
    server: str, page: Page, trained
) -> None:
    stage, scale = (
        opened(page, server, trained(budget=30)),
        "stage => stage.getRootNode().querySelector('.map').scatter.view.k",
    )
    main, before = page.locator("[data-testid=stMain]"), stage.evaluate(scale)
    scrolled = "main => main.scrollTop"
    hover(page, stage, np.array([200, 200]))
    start = main.evaluate(scrolled)
    page.mouse.wheel(0, 100)
    page.wait_for_function("start => document.querySelector('[data-testid=stMain]').scrollTop > start", arg=start)
    assert stage.evaluate(scale) == before
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_timeout(300)
    closer = stage.evaluate(scale)
    assert closer == pytest.approx(before * np.exp(0.3))
    stage.focus()
    start = main.evaluate(scrolled)
    page.mouse.wheel(0, 100)
    page.wait_for_timeout(300)
    assert stage.evaluate(scale) == pytest.approx(before)
    assert main.evaluate(scrolled) == start

    for key in ("Tab", "Shift+Tab"):
        stage.focus()
        page.keyboard.press(key)
        expect(stage).not_to_be_focused()
    swallowed = "stage => !stage.dispatchEvent(new KeyboardEvent('keydown', { key: %r, cancelable: true }))"
    assert [stage.evaluate(swallowed % key) for key in ("PageDown", "F5", "q", "ArrowLeft")] == [False] * 3 + [True]


def test_fingers_scroll_move_draw_and_magnify(server: str, browser: Browser, trained) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page = context.new_page()
    stage = opened(page, server, trained(budget=30))
    view = "stage => stage.getRootNode().querySelector('.map').scatter.view"
    main, send = page.locator("[data-testid=stMain]"), context.new_cdp_session(page).send
    stage.evaluate("stage => stage.scrollIntoView({ block: 'center' })")
    box = stage.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def touch(kind: str, *places: tuple[float, float]) -> None:
        points = [{"x": u, "y": v, "id": i} for i, (u, v) in enumerate(places)]
        send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    def upward() -> float:
        """One finger goes up; how far the page scrolled."""
        start = main.evaluate("main => main.scrollTop")
        touch("touchStart", (x, y))
        for step in range(1, 9):
            touch("touchMove", (x, y - 10 * step))
        touch("touchEnd")
        page.wait_for_timeout(500)
        return main.evaluate("main => main.scrollTop") - start

    before = stage.evaluate(view)
    touch("touchStart", (x, y - 30), (x, y + 30))
    for step in range(1, 9):
        touch("touchMove", (x, y - 30 - 5 * step), (x, y + 30 + 5 * step))
    touch("touchEnd")
    assert stage.evaluate(view)["k"] == pytest.approx(before["k"] * 140 / 60, rel=0.1)
    page.get_by_role("radio", name="Lasso").click()
    stage.evaluate("stage => stage.scrollIntoView({ block: 'center' })")
    assert upward() == 0
    page.get_by_role("radio", name="Move").click()
    stage.evaluate("stage => stage.scrollIntoView({ block: 'center' })")
    assert upward() > 20
    context.close()


def test_the_replay_moves_the_points_and_ends_where_they_are(server: str, page: Page, trained) -> None:
    run = trained(budget=20, log_every=1)
    stage = opened(page, server, run)
    late = pixels(stage)
    slider = page.locator(".replay input")
    slider.focus()
    slider.press("Home")
    expect(page.locator(".replay output")).to_contain_text("step 1")
    page.wait_for_timeout(1500)
    early = pixels(stage)
    assert (early != late).any(2).mean() > 0.01
    page.get_by_role("button", name="Play how the map formed").click()
    expect(page.locator(".replay output")).to_contain_text("end")
    for _ in range(100):  # the words change before the next frame is painted
        if (pixels(stage) == late).all():
            break
        page.wait_for_timeout(100)
    assert (pixels(stage) == late).all()


def test_two_maps_stand_at_the_same_height_and_share_one_selection(server: str, page: Page, trained) -> None:
    one, two = trained(budget=30), trained("multi-stage-vae", budget=30)
    opened(page, server, one, run2=two.id)
    expect(page.locator(".stage[data-painted]")).to_have_count(2)
    assert page.locator(".stage").nth(0).bounding_box()["y"] == page.locator(".stage").nth(1).bounding_box()["y"]
    page.get_by_role("button", name="Select view").nth(1).click()
    expect(page.locator(".count").first).to_have_text(page.locator(".count").nth(1).inner_text())
    expect(page.get_by_role("heading", name=re.compile(r"\d+ selected"))).to_have_count(1)
    assert f"run2={two.id}" in page.url


def test_a_selection_survives_a_reload_and_is_group_a_of_the_equation(server: str, page: Page, trained) -> None:
    run = trained(budget=30)
    opened(page, server, run, selected="3,5,8")
    expect(page.locator(".count")).to_have_text("3 selected")
    expect(page.get_by_role("heading", name="3 selected")).to_be_visible()
    page.get_by_role("button", name="Select view").click()
    count = len(open_inside(run).means)
    expect(page.get_by_role("heading", name=f"{count} selected")).to_be_visible()
    page.wait_for_url(re.compile(r"selected=0(,|%2C)1") if count <= LINKED else re.compile(r"^((?!selected=).)*$"))
    if count <= LINKED:
        page.reload()
        expect(page.locator(".count")).to_have_text(f"{count} selected")
    page.locator(".legend").get_by_role("button", name="7").click()
    page.wait_for_url(re.compile(r"shown=7\b"))
    page.goto(f"{server}/latent-map?run={run.id}&selected=3,5,8")
    page.get_by_role("link", name="Use as group A in Arithmetic").click()
    page.wait_for_url(re.compile(r"/arithmetic.*a=images(:|%3A)3(,|%2C)5(,|%2C)8"))
    expect(page.get_by_text("picked images").first).to_be_visible()
    page.goto(f"{server}/latent-map?run={run.id}&selected=x&shown=7")
    expect(page.get_by_text("The link's selection is left out.")).to_be_visible()
    expect(page.locator(".legend [aria-pressed=true]")).to_have_text("7")


def test_nothing_is_decoded_before_the_end_of_the_replay(server: str, page: Page, trained) -> None:
    stage = opened(page, server, trained(budget=40, log_every=1))
    empty = np.array([70, 60])
    hover(page, stage, empty)
    page.mouse.down()
    page.mouse.up()
    expect(page.locator(".pin")).to_contain_text("decoded at")
    page.locator(".replay input").press("Home")
    expect(page.locator(".pin")).to_be_hidden()
    page.wait_for_timeout(1000)
    hover(page, stage, empty)
    page.mouse.down()
    page.mouse.up()
    expect(page.locator(".tip:not(.pin)")).to_contain_text("Nothing is decoded before the end")


def test_signs_that_the_paper_would_hide_have_an_edge(server: str, browser: Browser, trained) -> None:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, color_scheme="dark")
    page = context.new_page()
    opened(page, server, trained(budget=30))
    for label, edged in [(4, True), (6, True), (9, True), (2, False)]:
        width, *values = page.locator(".legend canvas").nth(label).evaluate(TILE)
        sign = np.array(values, np.uint8).reshape(-1, width, 4)
        assert bool(((sign[:, :, :3].min(2) > 180) & (sign[:, :, 3] == 255)).any()) == edged
    context.close()
