"""`make pictures`: the pictures of the README, taken from the app itself while it trains and is used.

A server of its own with an empty home trains a model from the page, as a visitor does; nothing is drawn by hand.
`python -m tests.pictures NAME ...` takes those alone.
"""

import io
import math
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from genmodels import jobs, media, runs
from tests.browser.serving import ROOT, launch, served

DOCS = ROOT / "docs"
WIDTH, HEIGHT = 1280, 1000  # CSS pixels of the window
FILM = 800  # pixels across in the GIF
PACE = 0.2  # seconds a frame


def settled(page: Page, milliseconds: int = 1200) -> None:
    """Nothing runs on the server for this page, and what it sent is painted."""
    page.wait_for_selector("h1")
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    page.wait_for_timeout(milliseconds)


def still(page: Page) -> Image.Image:
    return Image.open(io.BytesIO(page.screenshot())).convert("RGB")


class Film:
    """Frames of the window, as large as they are in the GIF."""

    def __init__(self, page: Page) -> None:
        self.page, self.frames = page, list[np.ndarray]()

    def take(self, times: int = 1) -> None:
        """The window as it is now, shown for so many frames."""
        small = still(self.page).resize((FILM, round(FILM * HEIGHT / WIDTH)), Image.Resampling.LANCZOS)
        self.frames += [np.asarray(small).transpose(2, 0, 1)] * times

    def save(self, path: Path) -> None:
        path.write_bytes(media.gif(np.stack(self.frames), PACE))


def scroll(page: Page, pixels: int) -> None:
    page.get_by_test_id("stMain").evaluate("(main, top) => { main.scrollTop = top; }", pixels)
    page.wait_for_timeout(300)


def train(page: Page, film: Film, server: str) -> None:
    """From the form to curves and digits."""
    page.goto(f"{server}/train")
    settled(page)
    film.take(5)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url("**/train?run=*")
    page.get_by_test_id("stVegaLiteChart").first.wait_for()
    for turn in range(26):
        if turn == 3:  # the heading was read: now the pictures and the curves
            scroll(page, 420)
        film.take()
        page.wait_for_timeout(900)


def perturb(page: Page, film: Film, server: str) -> None:
    """Two sliders there and back."""
    page.goto(f"{server}/perturbation?run=vae-mnist&z=1:0")
    settled(page)
    film.take(3)
    for which in (0, 1):
        slider = page.get_by_role("slider").nth(which)
        slider.scroll_into_view_if_needed()
        box = slider.bounding_box()
        assert box
        page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        page.mouse.down()
        for turn in range(13):
            page.mouse.move(box["x"] + box["width"] * (0.5 + 0.45 * math.sin(turn / 2)), box["y"] + box["height"] / 2)
            page.wait_for_timeout(150)
            film.take()
        page.mouse.up()


def look_at_map(page: Page, film: Film, server: str) -> None:
    """Pictures under the pointer."""
    page.goto(f"{server}/latent-map?run=vae-mnist")
    page.wait_for_selector(".stage[data-painted]")
    settled(page)
    scroll(page, 120)
    box = page.locator(".stage").first.bounding_box()
    assert box
    for turn in range(14):
        angle = turn / 2.3
        page.mouse.move(
            box["x"] + box["width"] * (0.5 + 0.25 * math.cos(angle)),
            box["y"] + box["height"] * (0.5 + 0.25 * math.sin(angle)),
            steps=3,
        )
        page.wait_for_timeout(300)
        film.take(2)


def tour(page: Page, film: Film, server: str) -> None:
    """From class to class."""
    page.goto(f"{server}/transitions?run=vae-mnist")
    page.wait_for_selector(".player[data-ready]")
    settled(page)
    scroll(page, 330)
    scrubber = page.get_by_role("slider", name="Frame")
    scrubber.focus()
    for _ in range(16):
        film.take()
        for _ in range(3):
            scrubber.press("ArrowRight")
        page.wait_for_timeout(120)


def app(page: Page, server: str) -> None:
    """docs/app.gif: the whole of it in half a minute."""
    film = Film(page)
    for part in (train, perturb, look_at_map, tour):
        part(page, film, server)
    film.save(DOCS / "app.gif")


def shot(name: str, address: str, height: int = HEIGHT) -> Callable[[Page, str], None]:
    """docs/<name>.png: one page as it opens."""

    def take(page: Page, server: str) -> None:
        page.set_viewport_size({"width": WIDTH, "height": height})
        page.goto(f"{server}/{address}")
        settled(page, 3000)
        still(page).quantize(128).save(DOCS / f"{name}.png", optimize=True)

    return take


PICTURES: dict[str, Callable[[Page, str], None]] = {
    "app": app,
    "gallery": shot("gallery", "gallery"),
    "latent-map": shot("latent-map", "latent-map?run=vae-mnist"),
    "perturbation": shot("perturbation", "perturbation?run=vae-mnist"),
    "beta": shot("beta", "beta?experiment=be7a0001"),
    "samples": shot("samples", "samples?run=conditional-gan-mnist"),
    "denoising": shot("denoising", "denoising?run=diffusion-mnist"),
    "compare": shot("compare", "compare?runs=vae-mnist,multi-stage-vae-mnist,vae-mnist-beta-4"),
}


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["GENMODELS_HOME"] = home
        os.environ["GENMODELS_DATA"] = f"{home}/datasets"  # empty, as for everybody on the first day
        with served() as server, sync_playwright() as playwright:
            browser = launch(playwright)
            for name in names or PICTURES:
                page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
                page.set_default_timeout(120_000)
                PICTURES[name](page, server)
                page.close()
                print(name)
            browser.close()
            for run in runs.all_runs():  # the folder goes when nobody writes in it
                jobs.stop(run)
                with run.lock().acquire(timeout=120):
                    pass


if __name__ == "__main__":
    main(sys.argv[1:])
