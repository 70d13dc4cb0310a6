"""The perturbation page as a person uses it: sliders by key and mouse, reset, walk, drawing, a link opened elsewhere.

What is looked at are the painted pixels of the canvases, beside what torch decodes from the code in the address.
"""

import base64
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Locator, Page, expect

from app.components import pad
from app.components.source import SHARED, source
from app.start import INKS, code_in
from genmodels import directions
from genmodels.browser import HERE
from genmodels.decoder import describe
from genmodels.families import FAMILIES, build
from genmodels.inside import Inside, open_inside
from genmodels.runs import Run
from tests.browser.clean import clean

Trained = Callable[..., Run]
PIXELS = "canvas => [...canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data]"
# The page keeps no decoder, as if it were too large for the browser.
BY_ROUTE = "globalThis.latentLab = { decoders: { set() {}, get() {}, size: 0 } };"


def painted(page: Page, which: str) -> np.ndarray:
    """int (H, W, 3) of one of the pictures."""
    canvas = page.locator(f".{which} canvas")
    side = int(canvas.evaluate("canvas => canvas.width"))
    return np.array(canvas.evaluate(PIXELS)).reshape(-1, side, 4)[:, :, :3]


def moved_in_address(page: Page) -> dict[int, float]:
    """z of the address: dimension from 0 -> value."""
    found = re.search(r"[?&]z=([^&]*)", page.url)
    parts = found.group(1).replace("%3A", ":").replace("%2C", ",").split(",") if found else []
    return {int(key) - 1: float(value) for key, value in (part.split(":") for part in parts)}


def as_shown(look: Inside, z: np.ndarray) -> np.ndarray:
    image = 255 - look.decode(z[None])[0]
    return np.broadcast_to(image, (3, *image.shape[1:])).transpose(1, 2, 0).astype(int)


def opened(page: Page, server: str, run: Run, **query: object) -> Inside:
    page.goto(f"{server}/perturbation?run={run.id}" + "".join(f"&{key}={value}" for key, value in query.items()))
    expect(page.get_by_role("img", name="The decoded image now")).to_be_visible()
    ready(page)
    return open_inside(run)


def ready(page: Page) -> None:
    """The first picture stands."""
    page.wait_for_function(
        "() => { const all = root => [...root.querySelectorAll('*')].flatMap(e => e.shadowRoot ? all(e.shadowRoot) :"
        " e.matches('.latents') ? [e] : []); return all(document).some(e => e.view?.startImage) }"
    )


def shows(page: Page, image: np.ndarray) -> None:
    """The image now is this one, or soon is: the address changes before the sliders get what is new."""
    for _ in range(40):
        if np.abs(painted(page, "now") - image).max() <= 1:
            return
        page.wait_for_timeout(250)
    np.testing.assert_allclose(painted(page, "now"), image, atol=1)


def settled(page: Page, pattern: str) -> None:
    page.wait_for_url(re.compile(pattern))


@pytest.mark.parametrize("by_route", [False, True])
def test_a_slider_by_key_and_by_mouse(server: str, page: Page, trained: Trained, by_route: bool) -> None:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/api/decode/" in request.url else None)
    if by_route:
        page.add_init_script(BY_ROUTE)
    look = opened(page, server, trained(budget=300), image=3)
    first, z = int(look.order[0]), look.means[3].copy()
    start = as_shown(look, z)
    np.testing.assert_allclose(painted(page, "now"), start, atol=1)
    np.testing.assert_allclose(painted(page, "original")[:, :, 0], 255 - look.images[3, 0].astype(int))
    assert (painted(page, "difference") == 255).all()
    asked.clear()

    slider = page.get_by_role("slider", name=re.compile(rf"^z{first + 1},"))
    slider.focus()
    for _ in range(20):
        slider.press("ArrowRight")
    settled(page, rf"z={first + 1}(:|%3A)")
    z[first] = moved_in_address(page)[first]
    assert z[first] == pytest.approx(look.means[3][first] + 20 * 0.05, abs=1e-3)
    np.testing.assert_allclose(painted(page, "start"), start, atol=1)
    np.testing.assert_allclose(painted(page, "now"), as_shown(look, z), atol=1)
    change, shown = (as_shown(look, z) - start).mean(2), painted(page, "difference")
    strong = np.abs(change) > 8
    assert strong.any()
    assert ((shown[:, :, 2] > shown[:, :, 0]) == (change < 0))[strong].all(), "blue where it is darker, else ochre"

    dragged(page, slider)
    z[first] = moved_in_address(page)[first]
    assert z[first] < -1.5
    np.testing.assert_allclose(painted(page, "now"), as_shown(look, z), atol=1)
    assert bool(asked) == by_route

    page.get_by_role("button", name=f"Reset z{first + 1}", exact=True).click()
    settled(page, r"^((?!z=).)*$")
    np.testing.assert_array_equal(painted(page, "now"), painted(page, "start"))
    expect(page.get_by_role("button", name="Reset all")).to_be_disabled()


def dragged(page: Page, slider: Locator) -> None:
    """From the middle to the left with the mouse; the picture follows, and Python hears of it after the release."""
    address, before, box = page.url, painted(page, "now"), slider.bounding_box()
    assert box is not None
    middle = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, middle)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.05 * box["width"], middle, steps=12)
    page.wait_for_timeout(600)
    assert (painted(page, "now") != before).any()
    assert page.url == address, "no rerun while it is dragged"
    page.mouse.up()
    page.wait_for_function("url => location.href !== url", arg=address)


def test_a_named_direction_comes_and_goes_elsewhere(server: str, page: Page, trained: Trained) -> None:
    run = trained(budget=300)
    look, errors = opened(page, server, run, image=3), []
    page.on("pageerror", lambda error: errors.append(error))
    first, z = int(look.order[0]), look.means[3].astype(np.float64)
    vector = np.eye(16, dtype=np.float32)[int(look.order[1])]

    def press_and_see(strength: float) -> None:
        address = page.url
        page.get_by_role("slider", name=re.compile(rf"^z{first + 1},")).press("ArrowRight")
        page.wait_for_function("url => location.href !== url", arg=address)
        z[first] = moved_in_address(page)[first]
        expect(page.get_by_role("slider", name="slant, strength")).to_have_count(
            int(bool(directions.directions_of(run)))
        )
        shows(page, as_shown(look, (z + strength * vector).astype("f4")))

    directions.keep_direction(run, "slant", vector)
    press_and_see(0)
    address = page.url
    slant = page.get_by_role("slider", name="slant, strength")
    for _ in range(20):
        slant.press("ArrowRight")
    page.wait_for_function("url => location.href !== url", arg=address)
    assert "along=slant" in page.url
    shows(page, as_shown(look, (z + vector).astype("f4")))
    assert (painted(page, "now") != as_shown(look, z.astype("f4"))).any()
    directions.forget_direction(run, "slant")
    directions.keep_direction(run, "slant", 2 * vector)  # the same name, another vector
    press_and_see(2)
    directions.forget_direction(run, "slant")
    press_and_see(0)
    page.get_by_role("button", name="Reset all").click()
    settled(page, r"^((?!z=).)*$")
    clean(page, "perturbation")
    assert not errors


def test_a_link_opened_elsewhere_shows_the_same_and_reset_all(
    server: str, page: Page, browser: Browser, trained: Trained
) -> None:
    run = trained(budget=100)
    look = opened(page, server, run, start="prior", seed=5, z="1:2.5,4:-1")
    z = np.random.default_rng(5).standard_normal(16).astype(np.float32)
    start = z.copy()
    z[[0, 3]] = 2.5, -1
    np.testing.assert_allclose(painted(page, "now"), as_shown(look, z), atol=1)
    context = browser.new_context()
    other = context.new_page()
    other.goto(page.url)
    ready(other)
    np.testing.assert_array_equal(painted(other, "now"), painted(page, "now"))
    context.close()
    page.get_by_role("button", name="Reset all").click()
    settled(page, r"^((?!z=).)*$")
    np.testing.assert_allclose(painted(page, "now"), as_shown(look, start), atol=1)
    page.get_by_role("button", name="Another").click()
    settled(page, r"seed=(?!5\b)")
    page.wait_for_timeout(1000)
    assert (painted(page, "start") != as_shown(look, start)).any()


@pytest.mark.parametrize("still", [False, True])
def test_the_random_walk(server: str, browser: Browser, trained: Trained, still: bool) -> None:
    context = browser.new_context(reduced_motion="reduce" if still else "no-preference")
    page = context.new_page()
    look = opened(page, server, trained(budget=100))
    page.get_by_role("button", name="Random walk").click()
    if not still:
        one = painted(page, "now")
        page.wait_for_timeout(700)
        assert (painted(page, "now") != one).any()
        page.get_by_role("button", name="Stop walking").click()
    settled(page, "z=")
    expect(page.get_by_role("button", name="Random walk")).to_be_visible()
    one = painted(page, "now")
    page.wait_for_timeout(500)
    np.testing.assert_array_equal(painted(page, "now"), one)
    z = look.means[0].copy()
    for index, value in moved_in_address(page).items():
        z[index] = value
    np.testing.assert_allclose(one, as_shown(look, z), atol=2)  # the address has four digits
    context.close()


def test_a_drawing_by_mouse_and_by_keys(server: str, page: Page, trained: Trained) -> None:
    run = trained(budget=300)
    page.goto(f"{server}/perturbation?run={run.id}&start=drawing")
    expect(page.get_by_text("Draw something")).to_be_visible()
    paper = page.locator(".pad canvas")
    box = paper.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] - 30, steps=8)
    page.mouse.up()
    settled(page, "code=")
    ready(page)
    look = open_inside(run)
    original = painted(page, "original")[:, :, 0]
    assert original[3:5, 3:5].mean() < 120, "a stroke of ink down the middle"
    assert original[:, 0].mean() > 240
    code = code_in(page.url.split("code=")[1].split("&")[0])
    np.testing.assert_allclose(code, look.encode(255 - original[None, None].astype(np.uint8))[0], atol=1e-4)
    np.testing.assert_allclose(painted(page, "now"), as_shown(look, code), atol=1)

    first = page.url
    paper.focus()
    page.keyboard.down("Shift")  # the pen is down as long
    for _ in range(8):
        page.keyboard.press("ArrowLeft")
    page.keyboard.up("Shift")
    page.wait_for_function("url => location.href !== url", arg=first)
    second = page.url
    page.get_by_role("button", name="Undo").click()
    settled(page, re.escape(first.split("code=")[1]))

    paper.focus()
    page.keyboard.down("Shift")
    for _ in range(8):
        page.keyboard.press("ArrowUp")
    page.keyboard.press("Tab")  # away, with the pen still down
    page.keyboard.up("Shift")
    page.wait_for_function("urls => !urls.includes(location.href)", arg=[first, second])
    page.get_by_role("button", name="Undo").click()
    settled(page, re.escape(first.split("code=")[1]))
    page.get_by_role("button", name="Clear").click()
    expect(page.get_by_text("Draw something")).to_be_visible()


def test_inks_are_chosen_by_arrow_keys_and_read_by_name(page: Page) -> None:
    page.set_content(source(pad.HERE, "pad.html"))
    module = base64.b64encode((SHARED + source(pad.HERE, "pad.js", "live.js")).encode()).decode()
    inks = [(ink, pad.NAMES[ink]) for ink in INKS]
    page.evaluate(
        """async ([module, inks]) => {
            const { default: pad } = await import("data:text/javascript;base64," + module);
            pad({ parentElement: document.body, data: { side: 224, inks, pen: 0.1, label: "Draw here" } });
        }""",
        [module, inks],
    )
    radios = page.get_by_role("radio")
    black, white = (page.get_by_role("radio", name=name, exact=True) for name in ("black", "white"))
    expect(radios).to_have_count(len(INKS))
    expect(black).to_be_checked()
    black.press("ArrowLeft")
    expect(radios.last).to_be_focused()
    radios.last.press("ArrowRight")
    black.press("ArrowRight")
    expect(white).to_be_focused()
    expect(white).to_be_checked()
    expect(black).not_to_be_checked()
    assert page.locator(".inks [tabindex='0']").count() == 1
    black.click()
    expect(black).to_be_checked()


@pytest.mark.parametrize(
    ("family", "shape", "knobs"),
    [
        ("vae", (1, 28, 28), {}),
        ("vae", (3, 9, 9), {"layers": 3, "latent_size": 1}),
        ("vae", (3, 33, 33), {"body": "conv", "width": 5}),
        ("multi-stage-vae", (1, 8, 8), {"body": "conv"}),
        ("autoencoder", (1, 13, 13), {}),
        ("conv-autoencoder", (1, 28, 28), {}),
        ("vae-gan", (3, 9, 9), {}),
    ],
)
def test_the_decoder_in_the_browser_is_torch_s(page: Page, family: str, shape: tuple, knobs: dict) -> None:
    model = build(family, FAMILIES[family].Config.of(knobs), shape, 10, seed=1).eval()
    described = describe(model)
    assert described is not None
    z = np.random.default_rng(0).normal(size=(6, model.config.latent_size)).astype(np.float32)
    with torch.no_grad():
        expected = model.decode(torch.from_numpy(z)).numpy()
    source = base64.b64encode(Path(HERE / "decoder.js").read_bytes()).decode()
    found = page.evaluate(
        """async ([source, payload, codes]) => {
            const { read, decode } = await import("data:text/javascript;base64," + source);
            const { layers } = read(Uint8Array.from(atob(payload), (letter) => letter.charCodeAt(0)));
            return codes.map((z) => [...decode(layers, z)]);
        }""",
        [source, base64.b64encode(described.payload).decode(), z.tolist()],
    )
    np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-4)


def test_on_a_phone_the_pictures_stay_in_sight(server: str, browser: Browser, trained: Trained) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    opened(page, server, trained(budget=300))
    wide = page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth - window.innerWidth")
    assert wide <= 0
    page.get_by_role("slider").nth(8).scroll_into_view_if_needed()
    slider = page.get_by_role("slider").nth(15)
    slider.evaluate("slider => slider.scrollIntoView({ block: 'end' })")
    box = page.locator(".now canvas").bounding_box()
    assert 0 < box["y"] < box["y"] + box["height"] < slider.bounding_box()["y"]
    context.close()
