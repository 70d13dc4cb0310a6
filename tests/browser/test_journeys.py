"""The few journeys that matter, as a person makes them, in Chromium."""

import io
import re
import time
from collections.abc import Callable

import numpy as np
from PIL import Image
from playwright.sync_api import Error, Page, expect

from genmodels import runs
from tests.browser.clean import clean
from tests.browser.serving import free_port, served, start_server


def no_trace(page: Page) -> None:
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_text("Traceback")).to_have_count(0)


def step(page: Page) -> int:
    """The step the page says it is at."""
    said = page.get_by_text(re.compile(r"step [\d,]+")).first.inner_text()
    return int(re.search(r"step ([\d,]+)", said).group(1).replace(",", ""))


def painted(page: Page) -> np.ndarray:
    """The samples as pixels; by name, for while a page is drawn the first picture may be another."""
    samples = page.get_by_alt_text(re.compile("^Samples of")).first
    return np.asarray(Image.open(io.BytesIO(samples.screenshot())).convert("L"))


def state(page: Page, word: str):
    """What is expected of the badge that says where the run stands; an icon stands before the word."""
    return expect(page.get_by_role("paragraph").filter(has_text=re.compile(rf"{word}$")).first)


def press(page: Page, name: str, then: Callable[[], object]) -> None:
    """Press the button as a person does: once more when the page was drawn anew under the pointer."""
    for _ in range(4):
        page.get_by_role("button", name=name).first.click()
        try:
            then()
            return
        except (AssertionError, Error):
            continue
    then()


def press_train(page: Page) -> runs.Run:
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url(re.compile(r"/train\?run=vae-digits-[0-9a-f]{8}$"))
    return runs.by_id(page.url.split("run=")[1])


def test_from_an_empty_home_to_a_run_in_the_gallery(server: str, page: Page) -> None:
    page.goto(server)
    expect(page.get_by_text("No runs of your own yet")).to_be_visible()
    page.get_by_role("link", name="Train", exact=True).first.click()
    run = press_train(page)

    state(page, "running").to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    expect(page.get_by_test_id("stImage").first).to_be_visible()
    page.wait_for_function("document.querySelectorAll('[data-testid=stImage] img').length >= 1")
    before = step(page)
    expect(page.get_by_text(f"step {before:,},", exact=False)).to_have_count(0)  # it moves on by itself

    page.reload()
    state(page, "running").to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    assert step(page) >= before

    press(page, "Stop", lambda: state(page, "stopped").to_be_visible(timeout=6000))
    stopped_at = run.status().step
    assert painted(page).std() > 10, "the samples are not one grey"

    press(page, "Resume", lambda: state(page, "running").to_be_visible(timeout=8000))
    page.wait_for_function("document.body.innerText.match(/images\\/s/)")
    press(page, "Pause", lambda: state(page, "paused").to_be_visible(timeout=6000))
    assert run.status().step > stopped_at
    press(page, "Stop", lambda: state(page, "stopped").to_be_visible(timeout=6000))

    page.get_by_role("link", name="Gallery").first.click()
    expect(page.get_by_text("VAE on Digits").first).to_be_visible()
    expect(page.get_by_test_id("stImage").first).to_be_visible()
    clean(page, "gallery")
    # By its key: the arrow of a filter is a button called Open too.
    page.locator(f".st-key-open-{run.id}").get_by_role("button").click()
    page.wait_for_url(re.compile(rf"run={run.id}"))
    no_trace(page)


def test_one_slider_moves_the_pictures_back_in_time(server: str, page: Page, trained) -> None:
    run = trained("vae", budget=300)
    page.goto(f"{server}/train?run={run.id}")
    state(page, "finished").to_be_visible()
    expect(page.get_by_test_id("stImage").first).to_be_visible()
    late = painted(page)
    handle = page.get_by_test_id("stSlider").get_by_role("slider").first
    handle.focus()
    handle.press("Home")
    expect(page.locator("[data-testid=stSliderThumbValue], [data-testid=stSlider]").first).to_contain_text("1")
    for _ in range(80):
        page.wait_for_timeout(250)
        early = painted(page)
        assert early.shape == late.shape
        if np.abs(early.astype(int) - late).mean() > 5:
            break
    assert np.abs(early.astype(int) - late).mean() > 5
    no_trace(page)
    clean(page, "train")


def test_deep_links_to_a_cold_server_show_their_pages(page: Page, trained) -> None:
    run = trained("vae")  # the form is seen with the server that is killed
    titles = {f"train?run={run.id}": "VAE on Digits", "gallery": "Gallery", "data": "Data"}
    with served() as server:
        tabs = {address: page.context.new_page() for address in titles}
        for address, tab in tabs.items():  # none of them waits for another: the server is cold for all
            tab.goto(f"{server}/{address}", wait_until="commit")
        for address, tab in tabs.items():
            expect(tab.get_by_role("link", name="Gallery").first).to_be_visible()
            expect(tab.get_by_role("heading", name=titles[address], level=1)).to_be_visible()
            no_trace(tab)


def test_training_goes_on_when_the_server_is_killed_and_the_tab_finds_it_again(page: Page, home) -> None:
    port = free_port()
    server = start_server(port)
    try:
        page.goto(f"http://127.0.0.1:{port}/train")
        expect(page.get_by_role("heading", name="Train a model", level=1)).to_be_visible()
        run = press_train(page)
        state(page, "running").to_be_visible()
        page.wait_for_function("document.body.innerText.match(/images\\/s/)")
        # Whole before the server goes: a part of the page that is fetched later could not be.
        expect(page.get_by_test_id("stSlider").first).to_be_visible()
        expect(page.get_by_test_id("stVegaLiteChart").last).to_be_visible()
        server.kill()
        server.wait()
        before = run.status().step
        time.sleep(1.5)
        assert run.status().state == "running"
        assert run.status().step > before
        server = start_server(port)
        page.wait_for_function("document.querySelector('[data-test-connection-state=CONNECTED]')", timeout=60_000)
        page.wait_for_function("document.body.innerText.match(/images\\/s/)", timeout=60_000)
        before = step(page)
        page.wait_for_function(f"!document.body.innerText.includes('step {before:,},')")
        press(page, "Stop", lambda: state(page, "stopped").to_be_visible(timeout=6000))
    finally:
        server.terminate()
        server.wait()
        for each in runs.all_runs():
            each.ask("stop")
    with run.lock().acquire(timeout=60):
        pass


def test_a_second_visitor_sees_the_same_run_and_an_unknown_one_gets_a_sentence(server: str, browser, page, trained):
    run = trained("vae")
    page.goto(f"{server}/train?run={run.id}")
    state(page, "finished").to_be_visible()
    other = browser.new_context().new_page()
    other.goto(f"{server}/train?run={run.id}")
    state(other, "finished").to_be_visible()
    other.goto(f"{server}/train?run=../../etc/passwd")
    expect(other.get_by_text("There is no run")).to_be_visible()
    no_trace(other)
    other.context.close()


def test_on_a_phone_all_fits_and_train_is_on_the_first_screen(server: str, browser, trained) -> None:
    run = trained("vae")
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    for address in ("gallery", "train", f"train?run={run.id}", "data"):
        page.goto(f"{server}/{address}")
        expect(page.get_by_role("heading", level=1)).to_be_visible()
        page.wait_for_timeout(800)
        wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth")
        assert wide <= 0, f"{address} is {wide} pixels wider than the screen"
        if address == "train":
            expect(page.get_by_text("About", exact=False).first).to_be_visible()
            place = page.get_by_role("button", name="Train", exact=True).bounding_box()
            assert place["y"] + place["height"] < 844, "it is on the first screen"
    captions = page.locator("[data-testid=stImageCaption]")
    expect(captions).to_have_count(10)
    tops = [captions.nth(i).bounding_box()["y"] for i in range(10)]
    assert [captions.nth(i).inner_text().strip() for i in range(10)] == list("0123456789")
    assert tops == sorted(tops)
    page.get_by_test_id("stExpandSidebarButton").click()
    page.get_by_role("link", name="Latent map").click()
    expect(page.get_by_test_id("stSidebar")).to_have_attribute("data-collapsed", "true")
    page.wait_for_url(re.compile(rf"/latent-map\?run={run.id}"))
    page.go_back()
    page.wait_for_url(re.compile("/data$"))
    context.close()


def test_a_number_out_of_range_is_said_before_anything_is_trained(server: str, page: Page) -> None:
    page.goto(f"{server}/train")
    train = page.get_by_role("button", name="Train", exact=True)
    expect(train).to_be_enabled()
    box = page.get_by_role("spinbutton", name="Beta (nats per nat)")
    box.fill("5000")
    box.press("Tab")
    expect(page.get_by_text("Beta must be from 0 to 1,000.").first).to_be_visible()
    expect(train).to_be_disabled()
    box.fill("4")
    box.press("Tab")
    expect(train).to_be_enabled()
    expect(page.get_by_text("Beta must be")).to_have_count(0)


def test_a_button_stays_under_the_pointer_while_the_page_draws_itself_anew(server: str, page: Page) -> None:
    page.goto(f"{server}/train")
    run = press_train(page)
    page.wait_for_function("document.body.innerText.match(/images\\/s/)")
    page.wait_for_timeout(1500)  # until the pace of redraws has settled
    button = page.get_by_role("button", name="Pause")
    node = button.element_handle()
    place = button.bounding_box()
    before = step(page)
    page.mouse.move(place["x"] + 10, place["y"] + 10)
    page.mouse.down()
    expect(page.get_by_text(f"step {before:,},", exact=False)).to_have_count(0)
    page.wait_for_timeout(1200)
    assert node.evaluate("button => button.isConnected"), "it is the same button after a redraw"
    page.mouse.up()
    state(page, "paused").to_be_visible()
    assert run.wish == "pause"


def test_a_link_on_a_card_opens_the_page_that_looks_inside(server: str, page: Page, trained) -> None:
    run = trained("vae")
    page.goto(f"{server}/gallery?search={run.id}")
    page.get_by_role("button", name="more_horiz").first.press("Enter")
    menu = page.get_by_test_id("stPopoverBody")
    link = menu.get_by_role("link", name="Latent map")
    expect(link).to_be_visible()
    page.keyboard.press("Tab")
    expect(menu.get_by_role("button", name="Duplicate with changes")).to_be_focused()
    link.press("Enter")
    page.wait_for_url(re.compile(rf"/latent-map\?.*run={run.id}"))
    no_trace(page)
