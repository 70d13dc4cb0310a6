"""Compare in Chromium: from ticks in the gallery to a table, a spreadsheet and a link that shows the same elsewhere."""

import csv
import io
import re
from pathlib import Path
from urllib.parse import unquote

from playwright.sync_api import Page, expect

from genmodels import runs
from tests.browser.clean import clean
from tests.browser.test_journeys import no_trace


def test_from_ticks_in_the_gallery_to_a_spreadsheet(server: str, page: Page, browser) -> None:
    page.goto(f"{server}/gallery?search=vae-digits")
    ticks = page.get_by_test_id("stCheckbox").filter(has_text="Compare")
    expect(ticks).to_have_count(2)
    for number in range(2):
        ticks.nth(number).click()
        expect(page.get_by_text("Tick another one" if number == 0 else "2 runs are ticked")).to_be_visible()
    page.get_by_role("button", name="Compare 2 runs").click()
    page.wait_for_url(re.compile(r"/compare\?runs="))
    ids = unquote(page.url.partition("runs=")[2]).split(",")
    assert set(ids) == {"vae-digits", "multi-stage-vae-digits"}
    expect(page.get_by_test_id("stTable").first).to_be_visible()
    expect(page.get_by_text("★ and bold")).to_be_visible()
    page.wait_for_function("document.querySelectorAll('[data-testid=stImage] img').length >= 4")
    expect(page.get_by_test_id("stVegaLiteChart").last).to_be_visible()
    with page.expect_download() as told:
        page.get_by_role("button", name="CSV").click()
    head, *rows = csv.reader(io.StringIO(Path(told.value.path()).read_text(encoding="utf-8-sig")))
    assert head[-2:] == ids
    (found,) = (row for row in rows if row[1] == "negative_elbo")
    assert [float(each) for each in found[-2:]] == [
        runs.by_id(run_id).summary()["negative_elbo"]["value"] for run_id in ids
    ]

    context = browser.new_context(viewport={"width": 390, "height": 844})
    other = context.new_page()
    other.goto(page.url)
    expect(other.get_by_test_id("stTable").first).to_be_visible()
    expect(other.get_by_text("vae-digits · ready-made", exact=True)).to_be_visible()
    assert other.evaluate("document.documentElement.scrollWidth") <= 390, "tables scroll, not the page"
    no_trace(other)
    context.close()
    no_trace(page)
    clean(page, "compare")
