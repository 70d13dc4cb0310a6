"""Every page as a person may need it: an accessibility checker finds nothing, it fits a phone, and nothing moves that
was asked not to."""

import re
from itertools import pairwise
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from tests.soak import WHOLE

ROOT = Path(__file__).parent.parent.parent
# Each page with something on it, asked for so that it is soon there.
PAGES = {
    "gallery": "", "train": "run=vae-digits", "data": "data=digits", "latent-map": "run=vae-digits",
    "perturbation": "run=vae-digits", "beta": "run=vae-digits", "transitions": "run=vae-digits",
    "arithmetic": "run=vae-digits", "samples": "run=vae-digits", "denoising": "run=diffusion-mnist&n=1&steps=2",
    "translate": "run=pix2pix-edges-mnist", "complete": "run=vae-digits", "compare": "runs=vae-digits,vae-mnist",
    "outliers": "run=vae-digits&score=ink", "debias": "", "flow": "layers=1&hidden=4&train=1",
}  # fmt: skip
THOROUGHLY = {"gallery", "train", "latent-map", "compare"}  # also in dark and on a phone; `make soak` does so with all
SELDOM = {
    "beta",
    "denoising",
    "complete",
    "outliers",
    "debias",
    "flow",
}  # slow to open: `make soak` alone looks at these
# What is Streamlit's own and cannot be changed from here: the rule, and where alone it may be broken.
STREAMLITS = [
    ("list", "[data-testid=stSidebarNavItems]"),  # groups of pages stand between the list and its items
    ("listitem", "[data-testid=stSidebarNavItems] li"),
    ("landmark-unique", "[aria-label='Scrollable table']"),  # every table is called so
    # The name of a slider that is switched off, which may be faint; the checker does not see that it is one's name.
    ("color-contrast", "[data-testid=stSlider]:has(input:disabled) p"),
]
CHECK = """([streamlits, rules]) => axe.run({elementRef: true, resultTypes: ["violations"], ...rules}).then((found) =>
  found.violations.flatMap(({id, help, nodes}) => nodes
    .filter(({element}) => !streamlits.some(([rule, where]) => rule === id && element.matches(where)))
    .map(({html}) => `${id}: ${help}: ${html.slice(0, 300)}`)))"""
READY = """() => document.querySelector("h1") && document.querySelector("[data-test-script-state=notRunning]") &&
  !document.querySelector("[data-testid=stSkeleton], [data-stale=true]") &&
  [...document.querySelectorAll("[data-testid=stBidiComponentIsolated]")].every((e) => e.shadowRoot?.firstChild)"""
DARK = "getComputedStyle(document.querySelector('.stApp')).backgroundColor !== 'rgb(255, 255, 255)'"
FITS = """() => [document.documentElement, document.querySelector("[data-testid=stMain]")].every(
  (each) => innerWidth === 390 && each.scrollWidth <= 390)"""


def checked(page: Page, **rules: object) -> list[str]:
    return page.evaluate(CHECK, [STREAMLITS, rules])


def look(page: Page, name: str) -> None:
    """One page; also in dark and as wide as a phone, where that is asked for."""
    page.wait_for_function(READY)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.evaluate(Axe().axe_script)
    assert checked(page) == [], f"{name}, light"
    if not (WHOLE or name in THOROUGHLY):
        return
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(DARK)
    assert checked(page, runOnly=["color-contrast"]) == [], f"{name}, dark"
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(FITS)  # charts follow the width a moment later


def test_every_page_is_clean_and_fits_a_phone(server: str, browser: Browser) -> None:
    asked = re.findall(r'url_path="([a-z-]+)"', (ROOT / "app" / "main.py").read_text())
    assert set(asked) == set(PAGES), "a new page needs an address here"
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)

    def opened(name: str) -> Page:
        page = context.new_page()
        page.goto(f"{server}/{name}?{PAGES[name]}", wait_until="commit")  # it loads while the one before is checked
        return page

    asked = [each for each in asked if WHOLE or each not in SELDOM]
    page = opened(asked[0])
    for name, after in pairwise([*asked, None]):
        following = opened(after) if after else None
        look(page, name)
        page.close()
        page = following
    context.close()


def test_a_gif_stands_still_for_those_who_asked_for_less_motion(server: str, page: Page) -> None:
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{server}/transitions?run=vae-digits&view=GIF")
    film, still = page.locator(".loop img"), page.locator(".loop canvas")
    expect(still).to_be_visible()
    expect(film).to_be_hidden()
    page.get_by_role("button", name="Play").press("Enter")
    expect(film).to_be_visible()
    expect(still).to_be_hidden()
    assert page.evaluate("document.getAnimations().every((each) => each.effect.getTiming().duration < 1)")
    page.emulate_media(reduced_motion="no-preference")
    page.reload()
    expect(film).to_be_visible()
