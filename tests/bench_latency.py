"""A part of `make bench`: from the press of a key on a latent slider to the painted picture, in Chromium here.

    python -m tests.bench_latency

The clock starts with the key's event and stops when the frame with the new picture has been handed to the screen.
"""

from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from genmodels import data, runs
from genmodels.config import Schedule
from genmodels.families import FAMILIES
from genmodels.worker import run_to_end
from tests.bench import show
from tests.bench_watched import home_of_its_own
from tests.browser.serving import launch, served
from tests.browser.test_perturbation import BY_ROUTE, ready

PRESSES = 60
PACE = 100  # ms between two presses: shorter than the rest after which the page is told
GOALS = {"browser": 20, "route": 40}  # ms, medians
CASES: dict[str, tuple[str, str, int, dict[str, Any], str]] = {
    "MLP VAE 28x28, in the browser": ("vae", "digits", 28, {}, "browser"),
    "convolutional VAE 28x28, in the browser": ("vae", "digits", 28, {"body": "conv"}, "browser"),
    "convolutional autoencoder 28x28, in the browser": ("conv-autoencoder", "digits", 28, {}, "browser"),
    "MLP VAE 28x28, by the route": ("vae", "digits", 28, {}, "route"),
    "convolutional VAE 64x64, by the route": ("vae", "shapes", 64, {"body": "conv"}, "route"),
}
# Each press of a key, and the first frame after the picture changed. A message comes after the frame is produced.
CLOCK = """
globalThis.times = [];
let pressed = null;
addEventListener("keydown", (event) => (pressed = event.timeStamp), true);
const put = CanvasRenderingContext2D.prototype.putImageData;
CanvasRenderingContext2D.prototype.putImageData = function (...rest) {
  put.apply(this, rest);
  if (pressed === null || !this.canvas.closest(".now")) return;
  const since = pressed;
  pressed = null;
  requestAnimationFrame(() => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => globalThis.times.push(performance.now() - since);
    port2.postMessage(0);
  });
};
"""


def trained(family: str, dataset: str, size: int, knobs: dict[str, Any]) -> runs.Run:
    """A run of a few steps: it is as fast as one of many."""
    loaded = data.load(dataset, size, 1)
    run = runs.create(
        runs.RunConfig(
            family=family,
            knobs=FAMILIES[family].Config.of(knobs).model_dump(),
            dataset=dataset,
            size=size,
            schedule=Schedule(budget=3, unit="steps"),
            shape=loaded.shape,
            classes=loaded.classes,
        )
    )
    for _ in run_to_end(run):
        pass
    return run


def presses(page: Page) -> list[float]:
    """Milliseconds of each press, to the right and back again."""
    slider = page.locator(".sliders input").first
    slider.focus()
    for number in range(PRESSES + 5):
        page.keyboard.press("ArrowRight" if number % 20 < 10 else "ArrowLeft")
        page.wait_for_timeout(PACE)
    return page.evaluate("globalThis.times")[5:]  # the first ones warm up


def measured(browser: Browser, address: str, run: runs.Run, way: str) -> list[float]:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(CLOCK + (BY_ROUTE if way == "route" else ""))
    page.goto(f"{address}/perturbation?run={run.id}")
    ready(page)
    page.wait_for_timeout(1500)
    found = presses(page)
    page.close()
    return found


def latency() -> None:
    print("\nFrom key press to paint on a latent slider, Chromium and server on this machine")
    with home_of_its_own(), served() as address, sync_playwright() as playwright:
        browser = launch(playwright)
        for name, (family, dataset, size, knobs, way) in CASES.items():
            found = measured(browser, address, trained(family, dataset, size, knobs), way)
            show(name, found, f"ms (goal: median below {GOALS[way]}; {len(found)} pictures of {PRESSES} presses)")
        browser.close()


if __name__ == "__main__":
    latency()
