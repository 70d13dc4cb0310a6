"""Every page as a person may need it: an accessibility checker finds nothing, it fits a phone, and nothing moves that
was asked not to."""

import re
from itertools import pairwise
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.clean import clean
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


def test_every_page_is_clean_and_fits_a_phone(server: str, browser: Browser) -> None:
    """Those alone at whose end no other browser test looks, as all do that use a page; `make soak` opens each anew."""
    pages = re.findall(r'url_path="([a-z-]+)"', (ROOT / "app" / "main.py").read_text())
    assert set(pages) == set(PAGES), "a new page needs an address here"
    others = "".join(path.read_text() for path in Path(__file__).parent.glob("*.py"))
    used = re.findall(r'^ +clean\(page, "([a-z-]+)"\)', others, re.MULTILINE)
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    context.set_default_timeout(60_000)

    def opened(name: str) -> Page:
        page = context.new_page()
        page.goto(f"{server}/{name}?{PAGES[name]}", wait_until="commit")  # it loads while the one before is checked
        return page

    asked = [each for each in pages if WHOLE or each not in used]
    page = opened(asked[0])
    for name, after in pairwise([*asked, None]):
        following = opened(after) if after else None
        clean(page, name)
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
