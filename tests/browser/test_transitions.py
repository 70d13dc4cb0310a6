"""The player, as a person uses it: scrub, play, point at the strip, come back by the address, download."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.clean import clean
from tests.browser.test_journeys import no_trace


def frame_pixels(page: Page) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(page.locator(".screen canvas").first.screenshot())).convert("L")).astype(
        int
    )


def number(page: Page) -> int:
    return int(page.locator(".where").inner_text().split(" of ")[0])


@pytest.fixture
def tour(server: str, page: Page, trained) -> str:
    run = trained("vae", budget=300)
    address = f"{server}/transitions?run={run.id}&frames=20&hold=0"
    page.goto(address)
    expect(page.locator(".player[data-ready]")).to_be_visible()
    return address


def test_scrubbing_by_key_and_by_mouse_paints_other_frames_at_once(tour: str, page: Page):
    zero = frame_pixels(page)
    assert zero.std() > 10, "it is not one grey"
    scrubber = page.get_by_role("slider", name="Frame")
    scrubber.focus()
    for _ in range(19):
        scrubber.press("ArrowRight")
    assert number(page) == 20
    expect(page.locator(".where")).to_contain_text("0 to 1")
    one = frame_pixels(page)
    assert np.abs(one - zero).mean() > 5
    box = scrubber.bounding_box()
    page.mouse.move(box["x"] + 0.11 * box["width"], box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.55 * box["width"], box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert 100 < number(page) < 120
    assert np.abs(frame_pixels(page) - one).mean() > 5
    scrubber.press("End")
    assert number(page) == 200
    assert np.abs(frame_pixels(page) - zero).mean() < 1, "the last frame is the first again"
    page.wait_for_url(re.compile("frame=200"))
    page.get_by_role("button", name="Settings of the tour").click()
    page.get_by_role("slider", name="Frames for each leg").press("Home")
    expect(page.locator(".where")).to_have_text("20 of 20 · 9 to 0")
    assert np.abs(frame_pixels(page) - zero).mean() < 1, "a shorter tour rests on its last frame"
    no_trace(page)
    clean(page, "transitions")


def test_it_plays_and_pauses_by_button_and_by_key(tour: str, page: Page):
    page.get_by_role("button", name="Play").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(page.locator(".where")).not_to_have_text(re.compile("^1 of"))
    page.get_by_role("slider", name="Frame").press(" ")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    rests = number(page)
    page.wait_for_timeout(300)
    assert number(page) == rests
    page.wait_for_url(re.compile(rf"frame={rests}\b"))
    no_trace(page)


def test_the_strip_can_be_pointed_at_and_the_address_shows_the_same_frame(tour: str, page: Page, browser):
    strip = page.locator(".strip canvas")
    box = strip.bounding_box()
    strip.click(position={"x": 0.4025 * box["width"], "y": 30})
    assert number(page) == 81
    page.wait_for_url(re.compile(r"frame=81\b"))
    shares = [int(each.removesuffix("%")) for each in page.locator(".said .bar span:last-child").all_inner_texts()]
    assert 1 <= len(shares) <= 3
    assert min(shares) >= 1, "what it surely does not read as is left out"
    expect(page.get_by_test_id("stVegaLiteChart")).to_have_count(3)
    other = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    other.goto(page.url)
    expect(other.locator(".where")).to_contain_text("81 of 200")
    assert np.array_equal(frame_pixels(other), frame_pixels(page))
    other.context.close()
    no_trace(page)


def test_the_strip_is_painted_in_class_colours_and_the_picture_in_whole_pixels(tour: str, page: Page):
    picture = Image.open(io.BytesIO(page.locator(".strip canvas").screenshot())).convert("RGB")
    colours = {colour for _, colour in picture.getcolors(100_000)}
    assert {(0x01, 0x73, 0xB5), (0xE0, 0x10, 0x7C)} & colours, "the colour of a 0 or of a 1"
    inner = frame_pixels(page)[1:-1, 1:-1]
    side = inner.shape[0] // 8
    cell = inner[side : 2 * side, side : 2 * side]
    assert cell.std() == 0, "a pixel of the model is a square of one grey"


def test_files_are_made_on_the_click(tour: str, page: Page):
    for name, magic in {"GIF": b"GIF89a", "Film strip": b"\x89PNG"}.items():
        with page.expect_download() as found:
            page.get_by_test_id("stDownloadButton").get_by_role("button", name=name).click()
        content = found.value.path().read_bytes()
        assert content.startswith(magic)
        if name == "GIF":
            assert Image.open(io.BytesIO(content)).n_frames >= 180
    no_trace(page)


def test_two_runs_move_together_and_fit_on_a_phone(server: str, browser, trained):
    first, second = trained("vae"), trained("conv-autoencoder")
    page = browser.new_context(viewport={"width": 390, "height": 844}).new_page()
    page.goto(f"{server}/transitions?run={first.id}&run2={second.id}&frames=10&frame=15")
    expect(page.locator(".screen canvas")).to_have_count(2)
    expect(page.locator(".where")).to_contain_text("15 of 100")
    # In one breath: what is above them may still grow.
    left, right = page.locator(".screen canvas").evaluate_all(
        "all => all.map(each => each.getBoundingClientRect().top)"
    )
    assert left == right, "beside each other"
    page.wait_for_timeout(800)
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth")
    assert wide <= 0
    page.context.close()
