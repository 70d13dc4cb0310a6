"""What a stranger may not do: ask without end, from another site, for a picture that fills the memory."""

import asyncio
import io
import json
import re
import struct
import subprocess
import sys
import tomllib
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from streamlit import config
from streamlit.testing.v1 import AppTest

from app import limits
from app.limits import ALL, EACH, Buckets, Limits
from genmodels import demo
from genmodels.config import UserError
from genmodels.data import pictures
from genmodels.families import FAMILIES
from tests import audit
from tests.awaiting import awaited
from tests.watching import ROOT

# -- the server's own settings


def test_protection_against_other_sites_stays_on_and_errors_show_no_internals() -> None:
    set_by_us = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    assert set_by_us["server"]["enableXsrfProtection"]
    assert set_by_us["server"]["enableCORS"]
    assert set_by_us["client"]["showErrorDetails"] == "none"
    assert config.get_option("server.corsAllowedOrigins") == []
    assert config.get_option("server.xsrfCookieSameSite").lower() == "lax"


def test_what_a_page_writes_as_html_is_escaped_where_it_is_made() -> None:
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for room in ("app", "pages")
        for path in sorted((ROOT / room).rglob("*.py"))
        for line in path.read_text(encoding="utf-8").splitlines()
        if "unsafe_allow" in line or "st.html(" in line or "components.v1" in line
    ]
    places = ("app/components/album/", "app/components/page/")  # whose words are escaped; a file of our own
    assert [line for line in found if not line.startswith(places)] == []
    scripts = [p for room in ("app", "genmodels") for p in (ROOT / room).rglob("*") if p.suffix in (".js", ".html")]
    assert {"components", "latents", "scatter", "explorer"} <= {part for path in scripts for part in path.parts}
    made = r"(inner|outer)HTML|insertAdjacentHTML|document\.write|createContextualFragment|eval\(|new Function"
    assert [path.name for path in scripts if re.search(made, path.read_text(encoding="utf-8"))] == []


def test_nothing_runs_a_shell_and_only_our_own_cifar_is_a_pickle() -> None:
    texts = {path: path.read_text(encoding="utf-8") for room in ("app", "pages", "genmodels")
             for path in sorted((ROOT / room).rglob("*.py"))}  # fmt: skip
    for word in ("shell=True", "os.system", "extractall", "yaml.load", "allow_pickle=True", "weights_only=False"):
        assert [path.name for path, text in texts.items() if word in text] == []
    assert [p.name for p, text in texts.items() if "pickle.Unpickler" in text or "pickle.load" in text] == [
        "builtin.py"
    ]
    loads = [line for text in texts.values() for line in text.splitlines() if "torch.load(" in line]
    assert loads
    assert all("weights_only=True" in line for line in loads)


# -- how much may be asked


def test_a_slider_that_is_dragged_for_a_minute_meets_no_limit_and_neither_do_thirty() -> None:
    each, together = Buckets(*EACH), Buckets(*ALL)
    for tick in range(60 * 60):
        assert each.wait("me", tick / 60) == 0
    for tick in range(60 * 10):
        assert not any(together.wait("", tick / 60) for _ in range(30))


def test_who_asks_without_end_is_told_when_to_come_back_and_others_are_not() -> None:
    buckets = Buckets(rate=10, burst=20)
    assert [buckets.wait("greedy", 0.0) for _ in range(20)] == [0] * 20
    assert buckets.wait("greedy", 0.0) == pytest.approx(0.1, abs=0.001)
    assert buckets.wait("other", 0.0) == 0
    assert buckets.wait("greedy", 0.1) == 0
    assert buckets.wait("greedy", 0.1) > 0
    assert [buckets.wait("greedy", 5.0) for _ in range(20)] == [0] * 20, "it fills up again, and no further"
    assert buckets.wait("greedy", 5.0) > 0


def test_clients_that_have_gone_are_forgotten() -> None:
    buckets = Buckets(rate=10, burst=20)
    for number in range(1000):
        buckets.wait(number, number / 100)
    assert len(buckets.full) < 500


async def ok(request: Request) -> PlainTextResponse:
    return PlainTextResponse(str(len(await request.body())))


def ask(
    app: Any,
    path: str = "/api/decode/x",
    headers: dict[str, str] | None = None,
    slow: bool = False,
    client: str = "a",
    method: str = "POST",
) -> tuple[int, dict[bytes, bytes], str]:
    """One request. -> its status, headers and words."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if slow:
            await asyncio.sleep(60)
        return {"type": "http.request", "body": b"abc", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "root_path": "", "headers": raw,
             "query_string": b"", "http_version": "1.1", "scheme": "http", "client": (client, 1)}  # fmt: skip
    awaited(app(scope, receive, send))
    return sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"].decode()


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Starlette:
    monkeypatch.setattr(limits, "EACH", (1.0, 3.0))
    paths = ("/api/decode/x", "/s/{space}/api/decode/x", "/_stcore/health", "/_stcore/upload_file/session/file")
    return Starlette(routes=[Route(p, ok, methods=["POST", "PUT"]) for p in paths], middleware=[Middleware(Limits)])


def test_the_routes_have_limits_for_each_client_and_the_pages_have_none(app: Starlette, monkeypatch) -> None:
    assert [ask(app)[0] for _ in range(4)] == [200, 200, 200, 429]
    _, headers, words = ask(app)
    assert headers[b"retry-after"] == b"1"
    assert words == "Too many requests: try again in a second."
    assert ask(app, client="b")[0] == 200
    assert ask(app, "/s/0123/api/decode/x")[0] == 429, "who makes up the name of a space is still the same client"
    monkeypatch.setenv("GENMODELS_DEMO", "1")
    assert ask(app, f"/s/{'0' * 32}/api/decode/x")[0] == 429
    assert ask(app, f"/s/{demo.new_space()}/api/decode/x")[0] == 200, "another space behind the same address"
    assert [ask(app, "/_stcore/health")[0] for _ in range(9)] == [200] * 9
    assert ask(app, client="c")[1][b"x-content-type-options"] == b"nosniff"


def test_who_uploads_too_much_or_file_after_file_to_a_demo_is_told_so(app: Starlette, monkeypatch) -> None:
    def put(client: str = "a") -> int:
        return ask(app, "/_stcore/upload_file/session/file", client=client, method="PUT")[0]

    usual = config.get_option(limits.MOST)
    try:
        assert {put() for _ in range(20)} == {200}
        assert config.get_option(limits.MOST) == usual
        monkeypatch.setenv("GENMODELS_DEMO", "1")
        assert [put() for _ in range(11)] == [200] * 10 + [429]
        assert config.get_option(limits.MOST) == demo.quotas().upload < usual
        assert put("b") == 200
        assert ask(app, "/_stcore/health")[0] == 200
    finally:
        config.set_option(limits.MOST, usual)


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"sec-fetch-site": "cross-site"}, 403), ({"sec-fetch-site": "same-origin"}, 200),
     ({"content-length": "9" * 30}, 413), ({"content-length": "2000000"}, 413), ({"content-length": "-1"}, 413),
     ({"content-length": "3"}, 200)],
)  # fmt: skip
def test_other_sites_and_vast_bodies_are_refused_before_anything_is_read(app, headers, status: int) -> None:
    found, _, words = ask(app, headers=headers)
    assert found == status
    assert words == "3" or words.endswith(".")


def test_a_body_that_comes_too_slowly_is_not_waited_for(app: Starlette, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "PATIENCE", 0.01)
    assert ask(app, slow=True)[0] == 408


# -- pictures that are small as files and vast as pixels


def png(width: int, height: int, colours: int, depth: int = 8, orientation: bool = False) -> bytes:
    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    row = 1 + width * depth * {0: 1, 2: 3, 4: 2, 6: 4}[colours] // 8
    head = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    exif = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\6\0\0\0\0\0\0") if orientation else b""
    pixels = chunk(b"IDAT", zlib.compress(bytes(row * height), 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + exif + pixels + chunk(b"IEND", b"")


TWICE = """
import sys, threading
from genmodels.data import pictures
from tests.watching import in_bounded_memory
content, found = sys.stdin.buffer.read(), []
with in_bounded_memory(300 * 2**20):
    threads = [threading.Thread(target=lambda: found.append(pictures.decode(content)[0].size)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
print(found)
"""


def test_the_largest_picture_takes_little_memory_however_many_are_brought_at_once() -> None:
    """In a process of its own: what earlier tests freed makes the allocator keep more for each thread."""
    content = png(8000, 5000, 6, orientation=True)
    told = subprocess.run([sys.executable, "-c", TWICE], cwd=ROOT, input=content, capture_output=True)
    assert told.stdout.decode().strip() == "[(256, 409), (256, 409)]", told.stderr.decode()  # and is turned upright


def test_a_large_picture_is_the_same_as_a_small_one_only_smaller() -> None:
    ramp = np.linspace(0, 255, 1300 * 1100 * 3).reshape(1300, 1100, 3).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(ramp).save(file, "PNG", compress_level=1)
    large, _ = pictures.decode(file.getvalue())
    small = np.asarray(Image.fromarray(ramp).resize(large.size, Image.Resampling.BOX))
    assert np.abs(np.asarray(large).astype(int) - small).max() <= 2


def webp(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (width, height)).save(file, "WEBP", lossless=True, quality=0, method=0)
    return file.getvalue()


def jpeg_of_scans(count: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "JPEG")
    whole, at = file.getvalue(), file.getvalue().index(b"\xff\xda")
    return whole[:at] + whole[at:-2] * count + whole[-2:]


@pytest.mark.parametrize(
    ("content", "words"),
    [(lambda: webp(1100, 1000), "up to 1 million"), (lambda: png(100, 30_001, 0), "sides up to 30,000"),
     (lambda: jpeg_of_scans(200), "more than 100 scans")],
)  # fmt: skip
def test_pictures_that_cost_more_than_they_are_worth_are_refused(content, words: str, monkeypatch) -> None:
    monkeypatch.setattr(pictures, "MAX_WEBP", 1_000_000)
    with pytest.raises(pictures.UnreadableError, match=words):
        pictures.decode(content())


@pytest.mark.parametrize("value", [10**400, -(10**400), "x" * 5000, [0] * 5000, float("nan"), {"a": "b" * 999}])
def test_a_knob_that_is_given_something_vast_answers_in_a_short_sentence(value: object) -> None:
    for name in ("latent_size", "beta", "decoder"):
        with pytest.raises(UserError) as error:
            FAMILIES["vae"].Config.of({name: value})
        assert len(str(error.value)) < 400
    with pytest.raises(UserError) as error:
        FAMILIES["vae"].Config.of({"z" * 5000: 1})
    assert len(str(error.value)) < 400


# -- what is installed


def pins(name: str) -> dict[str, set[str]]:
    lines = [line.split(";")[0].strip() for line in (ROOT / name).read_text().splitlines() if "==" in line]
    found: dict[str, set[str]] = {}
    for line in lines:
        package, version = line.split("==")
        found.setdefault(package.lower().replace("_", "-"), set()).add(version)
    return found


def test_every_package_is_pinned_with_all_that_it_needs_and_no_place_is_named() -> None:
    from importlib.metadata import requires

    chosen, all_of_them = pins("requirements.txt"), pins("constraints.txt")
    assert {name: all_of_them.get(name) for name in chosen} == chosen
    needed = {each for name in chosen for each in requires(name) or () if "extra ==" not in each and ";" not in each}
    names = {"".join(c if c.isalnum() or c in "-_." else " " for c in each).split()[0] for each in needed}
    assert {name.lower().replace("_", "-") for name in names} <= all_of_them.keys()
    assert "://" not in (ROOT / "constraints.txt").read_text()
    assert "-c constraints.txt" in (ROOT / "requirements.txt").read_text()


def test_an_audit_fails_for_a_flaw_and_says_so_where_it_could_not_look() -> None:
    flawed = {"name": "x", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]}
    unknown = {"name": "y", "skip_reason": "not found"}

    def verdict(*found: dict[str, Any], must: bool = False) -> tuple[bool, str]:
        return audit.verdict(json.dumps({"dependencies": found}), "", must)

    passed, words = verdict(flawed, unknown)
    assert not passed
    assert "x 1: CVE-1, mended in 2" in words
    assert verdict(flawed | {"vulns": []}, unknown)[0]
    assert verdict(unknown) == (True, audit.UNREACHABLE)
    assert verdict(unknown, must=True) == (False, audit.UNREACHABLE)
    for error in ("requests.exceptions.ConnectionError: no route", "ReadTimeoutError"):
        assert [audit.verdict("", error, must) for must in (False, True)] == [
            (True, audit.UNREACHABLE), (False, audit.UNREACHABLE),
        ]  # fmt: skip
    assert audit.verdict("", "invalid requirement", False) == (False, "invalid requirement")
    assert f"{audit.MUST}:" in (ROOT / ".github" / "workflows" / "ci.yml").read_text()


def test_no_name_in_the_address_is_taken_for_one_of_ours() -> None:
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=60)
    for name in ("page", "self", "query", "run", "key"):
        app.query_params[name] = "x"
    assert not app.run().exception
