"""What goes wrong between a browser and its server: a run that vanishes under one's eyes, a connection that is lost."""

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from genmodels import jobs
from genmodels.runs import Run
from tests.browser.test_journeys import no_trace, state
from tests.test_worker import LONG, gone, trains, wait_until

# Each connection of the page, with the first of what came on it.
SOCKETS = """
window.sockets = [];
window.WebSocket = class extends WebSocket {
  constructor(...words) {
    super(...words);
    this.heard = [];
    this.addEventListener("message", ({ data }) => this.heard.length < 5 && this.heard.push([...new Uint8Array(data)]));
    window.sockets.push(this);
  }
};
"""


@pytest.mark.usefixtures("forked")
def test_a_run_deleted_while_it_is_watched_leaves_a_sentence_and_a_way_out(server: str, page: Page, new_run) -> None:
    run: Run = new_run(**LONG)
    jobs.start(run)
    wait_until(trains(run))
    page.goto(f"{server}/train?run={run.id}")
    state(page, "running").to_be_visible()
    jobs.stop(run)
    wait_until(lambda: gone(run))
    expect(page.get_by_text("There is no run")).to_be_visible()
    no_trace(page)
    page.get_by_role("link", name="Go to the gallery").click()
    expect(page.get_by_role("heading", name="Gallery", level=1)).to_be_visible()


def session_of(page: Page) -> str | None:
    """The id of the server's session on the newest connection, once it was told."""
    for heard in page.evaluate("window.sockets.at(-1).heard"):
        message = ForwardMsg()
        message.ParseFromString(bytes(heard))
        if message.new_session.initialize.session_id:
            return message.new_session.initialize.session_id
    return None


def test_who_comes_back_after_the_session_is_gone_finds_all_as_the_address_says(
    server: str, page: Page, trained: Callable[..., Run]
) -> None:
    """Ten minutes away are more than a session has to live; with the server of these tests it is one second."""
    page.add_init_script(SOCKETS)
    page.goto(f"{server}/perturbation?run={trained('vae').id}&start=prior&seed=7&rows=3&columns=5")
    seed, main = page.get_by_role("spinbutton", name="Seed"), page.get_by_test_id("stMain")
    expect(seed).to_have_value("7", timeout=60_000)
    page.get_by_role("spinbutton", name="Columns").fill("4")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("columns=4"))
    page.wait_for_function("document.querySelector('[data-test-script-state=notRunning]')")
    expect(page.get_by_test_id("stImage").last).to_be_visible(timeout=60_000)
    before, address, first = main.inner_text(), page.url, session_of(page)
    assert first

    page.route("**/_stcore/**", lambda route: route.abort())  # without which it does not connect
    page.evaluate("window.sockets.at(-1).close()")
    page.wait_for_function("!document.querySelector('[data-test-connection-state=CONNECTED]')")
    page.wait_for_timeout(1500)
    page.unroute_all()

    page.wait_for_function("document.querySelector('[data-test-connection-state=CONNECTED]')")
    page.wait_for_function("window.sockets.length > 1")
    assert main.inner_text() == before
    assert page.url == address
    seed.fill("9")  # the new session hears of the page with this, and takes what the address says
    page.keyboard.press("Enter")
    wait_until(lambda: session_of(page) not in (None, first), 60)
    page.wait_for_function("document.querySelector('[data-test-script-state=notRunning]')")
    expect(page.get_by_role("spinbutton", name="Columns")).to_have_value("4")
    for number in (8, 7):
        seed.fill(str(number))
        page.keyboard.press("Enter")
        page.wait_for_url(re.compile(f"seed={number}"))
    page.wait_for_function("document.querySelector('[data-test-script-state=notRunning]')")
    expect(page.get_by_test_id("stImage").last).to_be_visible()
    expect(page.get_by_text("Sample 7 from")).to_be_visible()
    assert main.inner_text() == before
    no_trace(page)
