"""Beta in Chromium: a comparison from the page to its end, the slider that moves through it, and a model steered."""

import io
import re

import numpy as np
from PIL import Image
from playwright.sync_api import Page, expect

from app.maps import watched_by
from app.pictures import newest
from genmodels import experiment, jobs, runs, steering
from genmodels.config import Schedule
from tests.browser.clean import clean
from tests.browser.test_journeys import no_trace, state
from tests.test_worker import wait_until


def slider(page: Page, name: str):
    return page.get_by_test_id("stSlider").filter(has_text=re.compile(rf"^{name}")).get_by_role("slider")


def first_picture(page: Page) -> np.ndarray:
    """The reconstructions of the member that is looked at, as pixels."""
    shot = page.locator("[data-testid=stImage] img").first.screenshot()
    return np.asarray(Image.open(io.BytesIO(shot)).convert("L"), int)


def test_a_comparison_from_one_click_to_the_slider(server: str, page: Page, browser) -> None:
    page.goto(f"{server}/beta")
    page.get_by_text("Train a new comparison").click()
    page.get_by_role("textbox", name="Betas").fill("0.25, 16")
    page.get_by_role("textbox", name="Betas").press("Enter")
    page.locator('input[aria-label="Budget of each"]').fill("300")
    page.locator('input[aria-label="Budget of each"]').press("Enter")
    page.get_by_role("button", name="Train 2 models").click()
    page.wait_for_url(re.compile(r"/beta\?experiment=(?!be7a0001)[0-9a-f]{8}"))  # not the ready-made one
    expect(page.get_by_text("beta 4: finished")).to_have_count(0)  # nothing of that one is left
    expect(page.get_by_text("only beta differs").first).to_be_visible()
    expect(page.get_by_text("beta 0.25: finished")).to_be_visible(timeout=60_000)
    expect(page.get_by_text("beta 16: finished")).to_be_visible(timeout=60_000)
    members = next(iter(experiment.experiments().values()))
    assert [run.status().step for run in members] == [300, 300]

    expect(page.get_by_role("heading", name="Beta 0.25")).to_be_visible()
    expect(page.get_by_test_id("stVegaLiteChart").nth(1)).to_be_visible()
    page.wait_for_function("document.querySelectorAll('[data-testid=stImage] img').length >= 9")
    sharp = first_picture(page)
    slider(page, "Beta").focus()
    slider(page, "Beta").press("End")
    expect(page.get_by_role("heading", name="Beta 16")).to_be_visible()
    page.wait_for_url(re.compile(r"beta=16"))
    page.wait_for_timeout(800)
    blurred = first_picture(page)
    assert sharp.shape == blurred.shape
    assert np.abs(sharp - blurred).mean() > 5, "the pictures follow the slider"

    other = browser.new_context().new_page()
    other.goto(page.url)
    expect(other.get_by_role("heading", name="Beta 16")).to_be_visible()
    other.context.close()

    # The marks of the plot, the first of which opens its run. The last chart drawn above the slider is the plot.
    plot = page.get_by_test_id("stVegaLiteChart").nth(1)
    plot.locator(".mark-symbol.role-mark path").first.click()
    page.wait_for_url(re.compile(r"/train\?run=vae-digits-"))
    no_trace(page)


def test_the_ready_made_comparison_shows_everything_in_an_empty_home(server: str, page: Page) -> None:
    page.goto(f"{server}/beta")
    page.wait_for_url(re.compile(r"/beta\?experiment=[0-9a-f]{8}"))
    (members,) = experiment.experiments().values()
    for caption in ("copies of test images", "samples", "traversal"):
        expect(page.get_by_text(caption, exact=True)).to_have_count(len(members))
    maps = page.locator("canvas")
    expect(page.get_by_role("radio", name="Lasso")).to_have_count(len(members))
    expect(maps.first).to_be_visible()
    numbers = ",".join(map(str, watched_by(members[0], members[0].arrays(newest(members[0]))["labels"])[:3]))
    answer = page.request.get(f"{server}/api/images/{members[0].id}?ids={numbers}")
    assert len(answer.body()) == 3 * np.prod(members[0].config.shape), "the pictures of the first points"
    no_trace(page)
    clean(page, "beta")


def test_a_running_model_is_steered_and_the_mark_is_seen(server: str, page: Page, new_run) -> None:
    run = new_run(**Schedule(budget=1_000_000, unit="steps", device="cpu", threads=1, decay="constant").model_dump())
    jobs.start(run)
    wait_until(lambda: run.status().state == "running" and run.status().step > 0)
    page.goto(f"{server}/train?run={run.id}")
    state(page, "running").to_be_visible()
    state(page, "steered").to_have_count(0)
    expect(page.get_by_test_id("stVegaLiteChart").first).to_be_visible()
    slider(page, "Beta").focus()
    slider(page, "Beta").press("End")  # as far as it goes: 1,000
    wait_until(lambda: steering.record(run) and steering.record(run)[-1].values == {"beta": 1000.0})
    state(page, "steered").to_be_visible()
    step = steering.record(run)[-1].step
    expect(page.get_by_text(f"beta 1000 after step {step:,}").first).to_be_visible()
    mark = page.get_by_test_id("stVegaLiteChart").first.locator("text", has_text="beta 1000")
    expect(mark.first).to_be_visible()
    wait_until(lambda: float(run.newest_point()["train"]["kl"]) < 0.5, 60)  # what beta 1,000 leaves of the KL
    jobs.stop(run)
    state(page, "stopped").to_be_visible()
    expect(slider(page, "Beta")).to_have_count(0)
    assert runs.by_id(run.id).config.knobs["beta"] == 1
    no_trace(page)
