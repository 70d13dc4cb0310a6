"""`python -m tests.bench_map`: how fast the scatter paints, moves and selects in Chromium, and t-SNE against sklearn's.

The points are made up; the component, the server and the browser are the real ones. Each figure is the median of a few.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Page, WebSocket, sync_playwright

from tests.browser.serving import ROOT, free_port, launch

APP = """
import sys
import numpy as np
import streamlit as st
from app.components.scatter import scatter

@st.cache_data
def points(count):
    labels = np.arange(count) % 10
    angle = labels * 0.6283
    middle = 4 * np.stack([np.cos(angle), np.sin(angle)], 1)
    return (middle + np.random.default_rng(0).normal(size=(count, 2))).astype("float32"), labels

found = scatter(*points({count}), [str(i) for i in range(10)], key="bench")
st.button("Rerun")
st.write(f"{{len(found)}} arrived")
"""
MOVES = 60  # while panning
REPEATS = 5


class Wire:
    """Bytes that came over the websocket."""

    def __init__(self, page: Page) -> None:
        self.bytes = 0
        page.on("websocket", self._listen)

    def _listen(self, socket: WebSocket) -> None:
        socket.on("framereceived", self._count)

    def _count(self, payload: str | bytes) -> None:
        self.bytes += len(payload)

    def during(self, page: Page, act: Callable[[], object]) -> int:
        before = self.bytes
        act()
        page.wait_for_timeout(800)
        return self.bytes - before


def frames_a_second(page: Page) -> float:
    """While the map is dragged: one movement of the pointer for each frame of the browser."""
    return page.evaluate(
        """async (moves) => { const map = window.found, stage = map.stage, box = stage.getBoundingClientRect();
        const send = (kind, i) => stage['on' + kind]({ button: 0, pointerId: 1, clientX: box.left + 300 + 3 * i,
          clientY: box.top + 200 + i, type: kind });
        stage.setPointerCapture = () => {};
        const frame = () => new Promise(requestAnimationFrame);
        send('pointerdown', 0); await frame();
        const start = performance.now();
        for (let i = 1; i <= moves; i++) { send('pointermove', i); await frame(); }
        const took = performance.now() - start;
        send('pointerup', moves); return 1000 * moves / took; }""",
        MOVES,
    )


def own_time(page: Page) -> float:
    """Milliseconds of the main thread for one frame, drawn and waited for."""
    return page.evaluate(
        """() => { const map = window.found, gl = map.painter.canvas.getContext('webgl2'), pixel = new Uint8Array(4);
        const times = Array.from({ length: 21 }, () => { const start = performance.now();
          map.view = { ...map.view, x: map.view.x + 0.001 }; map.draw();
          gl?.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel); return performance.now() - start; });
        return times.sort((a, b) => a - b)[10]; }"""
    )


def look(page: Page, address: str) -> dict[str, float]:
    wire, found = Wire(page), {}
    found["kB of the first page"] = wire.during(page, lambda: _open(page, address)) / 1000
    page.locator(".map").evaluate("map => { window.found = map.scatter; }")
    measured = page.evaluate(
        """() => ['scatter-data', 'scatter-painted'].map(name => performance.getEntriesByName(name)[0].startTime)"""
    )
    found["ms from the data to the first paint"] = measured[1] - measured[0]
    again = wire.during(page, lambda: page.get_by_role("button", name="Rerun").click())
    found["kB of a rerun"] = again / 1000
    found["ms to draw a frame"] = own_time(page)
    box = page.locator(".stage").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    found["frames a second while panning"] = frames_a_second(page)
    found["ms from the lasso to Python and back"] = statistics.median(lasso(page, x, y, i) for i in range(REPEATS))
    return found


def _open(page: Page, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(".stage[data-painted]")


def lasso(page: Page, x: float, y: float, turn: int) -> float:
    """From letting go to the count on the page; each time another line, so that another number comes."""
    page.get_by_role("radio", name="Lasso").click()
    page.get_by_role("button", name="Fit").click()
    page.mouse.move(x, y)
    page.mouse.down()
    size = 60 + 20 * turn
    for dx, dy in ((size, 0), (size, size), (0, size), (0, 1)):
        page.mouse.move(x + dx, y + dy)
    page.evaluate(
        """() => { const before = document.body.innerText.match(/\\d+ arrived/)[0]; window.took = null;
        addEventListener('pointerup', () => { const start = performance.now(); const look = () => {
          if (document.body.innerText.match(/\\d+ arrived/)?.[0] !== before) window.took = performance.now() - start;
          else requestAnimationFrame(look); }; look(); }, { once: true, capture: true }); }"""
    )
    page.mouse.up()
    page.wait_for_function("window.took !== null")
    return page.evaluate("window.took")


def scatter(counts: list[int]) -> None:
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            script, port = Path(folder) / "bench_app.py", free_port()
            script.write_text(f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + APP.format(count=count))
            words = [sys.executable, "-m", "streamlit", "run", str(script), "--server.port", str(port)]
            server = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            try:
                wait_for(f"http://localhost:{port}/_stcore/health")
                for painter in ("webgl", "plain"):
                    report(count, painter, f"http://localhost:{port}")
            finally:
                server.terminate()
                server.wait()


def report(count: int, painter: str, address: str) -> None:
    with sync_playwright() as playwright:
        browser = launch(playwright)
        rows = []
        for _ in range(3):
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            page.add_init_script(GRAPHICS[painter])
            rows.append(look(page, address))
            assert page.locator(".stage").get_attribute("data-painter") == painter
            page.close()
        browser.close()
    print(f"\n{count:,} points, drawn by {painter}")
    for name in rows[0]:
        print(f"  {name:40} {statistics.median(row[name] for row in rows):10,.1f}", flush=True)


# With whatever WebGL there is, also one that the processor imitates, or with none.
GRAPHICS = {
    "webgl": """const get = HTMLCanvasElement.prototype.getContext, ask = WebGL2RenderingContext.prototype.getParameter;
        HTMLCanvasElement.prototype.getContext = function (kind, options) {
          return get.call(this, kind, { ...options, failIfMajorPerformanceCaveat: false }); };
        WebGL2RenderingContext.prototype.getParameter = function (name) {
          const found = ask.call(this, name); return typeof found === 'string' ? 'a true one' : found; };""",
    "plain": """const get = HTMLCanvasElement.prototype.getContext;
        HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
          return kind === 'webgl2' ? null : get.call(this, kind, ...more); };""",
}


def wait_for(address: str) -> None:
    for _ in range(300):
        try:
            urllib.request.urlopen(address, timeout=1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError("the server did not answer in 30 seconds")


def tsne(counts: list[int]) -> None:
    """Ours and scikit-learn's on the same codes in turn, with how well each keeps ten neighbours."""
    from sklearn.datasets import make_blobs
    from sklearn.manifold import TSNE, trustworthiness

    from genmodels.analysis import projection

    for count in counts:
        codes = make_blobs(count, 16, centers=30, cluster_std=2.5, random_state=0)[0].astype(np.float32)
        sides: dict[str, Callable[[], np.ndarray]] = {
            "openTSNE, Barnes-Hut": lambda codes=codes: projection.tsne(codes),
            "scikit-learn": lambda codes=codes: TSNE(init="pca", n_jobs=-1, random_state=0).fit_transform(codes),
        }
        print(f"\nt-SNE of {count:,} codes of 16 dimensions")
        for name, side in [*sides.items(), *sides.items()]:
            started = time.perf_counter()
            found = side()
            kept = trustworthiness(codes[:2000], found[:2000], n_neighbors=10)
            print(f"  {name:24} {time.perf_counter() - started:7.1f} s, trustworthiness {kept:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--points", type=int, nargs="+", default=[10_000, 60_000])
    parser.add_argument("--codes", type=int, nargs="+", default=[2500, 10_000])
    parser.add_argument("--only", choices=("scatter", "tsne"))
    arguments = parser.parse_args()
    if arguments.only != "tsne":
        scatter(arguments.points)
    if arguments.only != "scatter":
        tsne(arguments.codes)


if __name__ == "__main__":
    main()
