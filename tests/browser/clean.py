"""What an accessibility checker and a phone's screen say of a page, in light and in dark."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

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
LIGHT = "getComputedStyle(document.querySelector('.stApp')).backgroundColor === 'rgb(255, 255, 255)'"
FITS = """() => [document.documentElement, document.querySelector("[data-testid=stMain]")].every(
  (each) => innerWidth === 390 && each.scrollWidth <= 390)"""


def clean(page: Page, name: str) -> None:
    """The page of that name is without a fault as it stands now: in light, in dark, and as wide as a phone."""
    page.bring_to_front()  # what lies behind another page is not drawn anew in other colours
    page.wait_for_url(f"**/{name}**")
    page.wait_for_function(READY)
    expect(page.get_by_test_id("stException")).to_have_count(0)
    page.evaluate(Axe().axe_script)
    size = page.viewport_size
    assert _faults(page) == [], f"{name}, light"
    page.emulate_media(color_scheme="dark")
    page.wait_for_function(f"!({LIGHT})")
    for _ in range(5):  # in other colours a page is drawn anew, and what is stale meanwhile is faint
        page.wait_for_function(READY)
        if not (faults := _faults(page, runOnly=["color-contrast"])):
            break
        page.wait_for_timeout(500)
    assert faults == [], f"{name}, dark"
    page.emulate_media(color_scheme="light")
    page.wait_for_function(LIGHT)
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_function(FITS)  # charts follow the width a moment later
    page.set_viewport_size(size)


def _faults(page: Page, **rules: object) -> list[str]:
    return page.evaluate(CHECK, [STREAMLITS, rules])
