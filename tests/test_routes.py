"""The routes that the browser's components fetch from: right pixels, and a sentence for whatever else is asked."""

from typing import Any

import numpy as np
import pytest
from starlette.applications import Starlette

from app.routes import MOST, ROUTES
from genmodels.inside import open_inside
from tests.awaiting import awaited


def ask(method: str, path: str, query: str = "", body: bytes = b"") -> tuple[int, bytes]:
    """One request through the real routing. -> status and body."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "", "headers": [],
        "query_string": query.encode(), "http_version": "1.1", "scheme": "http", "server": ("localhost", 80),
    }  # fmt: skip
    awaited(Starlette(routes=ROUTES)(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


def test_codes_become_the_pictures_that_the_page_shows(trained) -> None:
    run = trained("vae")
    z = np.random.default_rng(0).normal(size=(3, 16)).astype("<f4")
    status, found = ask("POST", f"/api/decode/{run.id}", body=z.tobytes())
    assert status == 200
    inside = open_inside(run)
    drawn = inside.decode(z)
    assert found == (255 - drawn if inside.light else drawn).tobytes()


@pytest.mark.parametrize("what", ["original", "reconstruction"])
def test_images_come_by_their_numbers(trained, what: str) -> None:
    run = trained("vae")
    status, found = ask("GET", f"/api/images/{run.id}", f"ids=5,0,2&what={what}")
    inside, which = open_inside(run), np.array([5, 0, 2])
    images = inside.images[which] if what == "original" else inside.reconstruct(which)
    assert status == 200
    assert found == (255 - images if inside.light else images).tobytes()


@pytest.mark.parametrize(
    "body",
    [b"", b"abc", b"\0" * 60, b"\0" * (64 * (MOST + 1)), np.full(16, np.nan, "<f4").tobytes(), b"\0" * 2_000_000],
    ids=["empty", "odd", "short", "many", "nan", "huge"],
)
def test_bad_codes_get_a_sentence(trained, body: bytes) -> None:
    status, found = ask("POST", f"/api/decode/{trained('vae').id}", body=body)
    assert status in (400, 413)
    assert found.decode().endswith(".")


@pytest.mark.parametrize("ids", ["", "x", "-1", "99999", "1" * 12, ",".join(["1"] * (MOST + 1))])
def test_bad_numbers_get_a_sentence(trained, ids: str) -> None:
    status, found = ask("GET", f"/api/images/{trained('vae').id}", f"ids={ids}")
    assert (status, found.decode()[-1:]) == (400, ".")


@pytest.mark.parametrize("name", ["nothing", "..%2f..%2fetc", "UPPER"])
def test_a_run_is_named_by_its_id_alone(name: str) -> None:
    status, found = ask("GET", f"/api/images/{name}", "ids=0")
    assert status == 400
    assert b"There is no run" in found


def test_a_damaged_run_is_a_sentence_too(trained) -> None:
    run = trained("vae")
    (run.path / "weights.safetensors").write_bytes(b"broken")
    assert ask("GET", f"/api/images/{run.id}", "ids=0")[0] == 400
