"""Hostile input, made up at random: nothing but a sentence comes back, nothing outside the home is touched, and memory
is bounded. `make test` tries a thousand inputs, `make soak` ten thousand: see tests/soak.py."""

import contextlib
import io
import itertools
import json
import re
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from starlette.applications import Starlette
from starlette.middleware import Middleware
from streamlit.testing.v1 import AppTest

from app import cards, doctor, panels, pictures, settings
from app.limits import Limits
from app.routes import ROUTES
from genmodels import data, demo, exchange, jobs, reproduction, steering
from genmodels.config import UserError
from genmodels.data import intake
from genmodels.data import pictures as decoding
from genmodels.runs import Run, runs_folder, shipped_runs
from tests.awaiting import awaited
from tests.soak import WHOLE, inputs_of
from tests.test_pages import visit
from tests.watching import ROOT, in_bounded_memory, watched

NAMES = [
    "../x.png", "/etc/x.png", "C:\\x.png", "a\0b.png", "a/../../b.png", "con", ".hidden", "x" * 300 + ".png", "ü/é.png",
    "__MACOSX/a.png", "a/b/c/d.png", "-rf.png", "$(id).png", "<script>.png", "\u202egnp.exe", "a\nb.png",
]  # fmt: skip
HOSTILE = [
    "", "0", "-1", "7", "1e999", "nan", "-inf", "9" * 400, "１２", "0,1,2", "1:2.5", "1:nan,x:1", "class:0", "image:3",
    "images:1,2,3", "factor:0:high", "test", "prior", "drawing", "upload", "centroid", "<script>alert(1)</script>",
    "../../etc/passwd", "/etc/passwd", "folder:/etc", "folder:../x", "pairs:/etc", "domains:digits+folder:/etc",
    "edges:" * 40 + "digits", "\0", "%00", "a" * 5000, "AAAA", "AAAAfw", "__import__('os')", "$(id)", "page", "true",
    "vae-digits", "vae-digits,vae-digits,none", "[" * 300, '{"beta": 1e400}', "beta:4", "beta=4", "digits", "\u202e",
]  # fmt: skip
text = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=40), st.integers().map(str), st.floats().map(str))
junk = st.binary(max_size=40)
edits = st.lists(
    st.tuples(st.sampled_from(["replace", "insert", "cut", "end"]), st.integers(0, 2**20), junk), max_size=4
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-(10**400), 10**400), st.floats(), text,
    st.sampled_from([[], {}, [[]], [1, 8, 8], {"value": 1}, [0] * 200, ["x"] * 2000]),
)  # fmt: skip


def edited(content: bytes, changes: list[tuple[str, int, bytes]]) -> bytes:
    """With some bytes replaced, put in or left out, or without its end."""
    for kind, place, new in changes:
        at = place % (len(content) + 1)
        rest = at + (len(new) if kind in ("replace", "cut") else 0)
        content = content[:at] + (b"" if kind == "cut" else new) + (b"" if kind == "end" else content[rest:])
    return content


@contextlib.contextmanager
def refused_in_words() -> Iterator[None]:
    """What is refused is refused with one short sentence."""
    said = "so"
    try:
        yield
    except (UserError, decoding.UnreadableError) as error:
        said = str(error)
    assert "\n" not in said
    assert 0 < len(said) < 1000


@pytest.fixture
def empty(home: Path) -> Callable[[], None]:
    """Back to a home with nothing in it."""
    return lambda: shutil.rmtree(home, ignore_errors=True)


# -- archives of images


def picture(seed: int = 0) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (12, 10, 3), np.uint8)).save(file, "PNG")
    return file.getvalue()


PICTURES = [picture(i) for i in range(12)]
members = st.tuples(
    st.one_of(st.sampled_from(NAMES), st.text(max_size=20)), st.one_of(junk, st.sampled_from(PICTURES)),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]),
    st.sampled_from([0o100644, 0o100644, 0o120777, 0o040755, 0o010644]),
)  # fmt: skip


def archive(strange: list[tuple[str, bytes, int, int]], classes: int) -> bytes:
    """Twelve pictures in so many folders, and what else is asked for."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for i, content in enumerate(PICTURES):
            packed.writestr(f"{i % classes}/{i}.png" if classes else f"{i}.png", content)
        for name, content, method, mode in strange:
            info = zipfile.ZipInfo("x")
            info.filename = name.encode("utf-8", "replace").decode() or "x"
            info.compress_type, info.external_attr = method, mode << 16
            packed.writestr(info, content)
    return file.getvalue()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_archives_of_images(empty) -> None:
    @inputs_of("archives")
    @given(st.lists(members, max_size=3), st.integers(0, 3), edits, text, st.booleans())
    def tried(strange, classes: int, changes, title: str, copies: bool) -> None:
        content = edited(archive(strange, classes), changes)
        with watched(), refused_in_words():
            found = intake.examine(content)
            for shown in intake.preview(content, found, 8, 1):
                assert shown.after.shape[1] == 8
            name = intake.keep(content, found, title, copies)
            assert name in intake.own_datasets() + intake.own_pairs()
            intake.delete(name)

    with in_bounded_memory():
        tried()
    empty()


# -- pictures


def saved(form: str, mode: str, side: int = 24, **options: Any) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (side, side, 4), np.uint8)
    file = io.BytesIO()
    whole = Image.fromarray(pixels.view(np.uint16)[:, :, 0] if mode == "I;16" else pixels)
    whole.convert(whole.mode if mode == "I;16" else mode).save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """One of a PNG, with the right sum: what is in it reaches the decoder."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


WHOLE_PICTURES = [
    *(saved("PNG", mode) for mode in ("L", "LA", "RGB", "RGBA", "P", "1", "I;16")),
    *(saved(form, "RGB") for form in ("JPEG", "BMP", "WEBP")), saved("GIF", "P"),
    saved("JPEG", "CMYK", progressive=True), saved("TIFF", "RGB"), saved("ICO", "RGBA", sizes=[(16, 16)]),
]  # fmt: skip
heads = st.builds(
    struct.pack, st.just(">IIBBBBB"), st.sampled_from([0, 1, 24, 6000, 2**31 - 1]), st.sampled_from([0, 1, 24, 6000]),
    st.sampled_from([1, 2, 4, 8, 16, 255]), st.sampled_from([0, 2, 3, 4, 6, 9]), st.just(0), st.just(0),
    st.integers(0, 1),
)  # fmt: skip
kinds = st.sampled_from(b"tEXt zTXt iTXt iCCP eXIf PLTE tRNS gAMA acTL fcTL fdAT sRGB pHYs IDAT".split())
bodies = st.one_of(
    junk, st.integers(0, 2000).map(lambda n: zlib.compress(bytes(n))), junk.map(lambda b: b"x\0\0" + zlib.compress(b))
)


@st.composite
def pngs(draw: st.DrawFn) -> bytes:
    middle = [chunk(kind, body) for kind, body in draw(st.lists(st.tuples(kinds, bodies), max_size=4))]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", draw(heads)) + b"".join(middle) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore")
def test_pictures() -> None:
    @inputs_of("images")
    @given(st.one_of(st.sampled_from(WHOLE_PICTURES), pngs(), junk), edits)
    def tried(content: bytes, changes) -> None:
        with watched(), refused_in_words():
            image, _ = decoding.decode(edited(content, changes))
            assert image.mode in ("L", "RGB")
            assert min(image.size) <= decoding.ENOUGH
            assert decoding.fit(image, 8, 3).shape == (3, 8, 8)

    with in_bounded_memory():
        tried()


# -- runs as zips


def at_some_place(value: Any, way: list[int], new: Any, what: str) -> Any:
    """JSON with something else at one place in it, or without it, or with something more."""
    if not way or not isinstance(value, dict | list) or not value:
        return new
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key = keys[way[0] % len(value)]
    changed = type(value)(value)
    if len(way) == 1 and what == "drop":
        del changed[key]
    elif len(way) == 1 and what == "more" and isinstance(value, dict):
        changed[f"{key}x"] = new
    else:
        changed[key] = at_some_place(value[key], way[1:], new, what)
    return changed


def rewritten(name: str, content: bytes, way: list[int], new: Any, what: str) -> bytes:
    """A file of a run that still is JSON, or safetensors with a right length, and says something else."""
    if name.endswith(".json"):
        return json.dumps(at_some_place(json.loads(content), way, new, what)).encode("utf-8", "replace")
    if name.endswith(".jsonl"):
        first, _, rest = content.partition(b"\n")
        return json.dumps(at_some_place(json.loads(first), way, new, what)).encode("utf-8", "replace") + b"\n" + rest
    if name.endswith(".safetensors"):
        end = 8 + int.from_bytes(content[:8], "little")
        head = json.dumps(at_some_place(json.loads(content[8:end]), way, new, what)).encode("utf-8", "replace")
        return len(head).to_bytes(8, "little") + head + content[end:]
    with zipfile.ZipFile(io.BytesIO(content)) as packed:  # npz
        arrays = {each: packed.read(each) for each in packed.namelist()}
    key = [*arrays][sum(way) % len(arrays)]
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {new!r:.300}, }}\n".encode("utf-8", "replace")
    arrays[key] = b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head + arrays[key][128:]
    return zipped(arrays)


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return buffer.getvalue()


def looked_at(run: Run) -> None:
    """As the pages look at a run that has come in."""
    config, status = run.config, run.status()
    shown: list[Callable[[], object]] = [
        run.metrics, run.newest_point, run.summary, lambda: run.model, lambda: cards.main_figure(run),
        lambda: cards.Card(run, config, status, None).words, lambda: cards.age(config.created),
        lambda: cards.moment(config.created), lambda: pictures.thumbnail(run), lambda: doctor.of_run(run, status),
        lambda: settings.in_words(config), lambda: panels.heading(config), lambda: steering.said(run),
        lambda: reproduction.script(run),
        *(lambda step=step: run.arrays(f"snapshots/{step}") for step in run.snapshots()[:2]),
    ]  # fmt: skip
    for look in shown:
        with refused_in_words():
            look()


def test_runs_as_zips(trained, empty) -> None:
    run = trained(budget=3, log_every=1, hidden_size=8, latent_size=2)
    steering.replace(run, [steering.Turn(1, {"beta": 2.0})])
    with zipfile.ZipFile(io.BytesIO(exchange.pack(run))) as packed:
        files = {name.partition("/")[2]: packed.read(name) for name in packed.namelist()}
    ways = st.lists(st.integers(0, 50), min_size=1, max_size=4)
    rarely = st.one_of(*[st.just([])] * 3, edits)  # else little would come as far as what the files say
    changes = st.tuples(st.sampled_from(sorted(files)), ways, scalars, st.sampled_from(["put", "drop", "more"]), rarely)

    @inputs_of("runs")
    @given(
        st.lists(changes, min_size=1, max_size=2), st.sampled_from([None] * 50 + NAMES), text, rarely, st.integers(0, 9)
    )
    def tried(wrong, more: str | None, top: str, damage, shown: int) -> None:
        found = dict(files)
        for name, way, new, what, bytewise in wrong:
            found[name] = edited(rewritten(name, files[name], way, new, what), bytewise)
        found |= {more: b"x"} if more else {}
        top = re.sub("[\0-\x1f]", "", top.encode("utf-8", "replace").decode())[:50]
        content = edited(zipped({f"{top}/{name}" if top else name: each for name, each in found.items()}), damage)
        with watched(but="pickle.find_class"), refused_in_words():  # what st.cache_data keeps of pictures
            brought = exchange.unpack(content)
            assert brought.path.parent == runs_folder()
            looked_at(brought)
            if shown == 0:
                assert not visit("train", run=brought.id).exception
            brought.delete()

    with in_bounded_memory():
        tried()
    assert [each.name for each in runs_folder().iterdir()] == [run.id], "what was refused left nothing"
    empty()


# -- routes


async def asked(app: Starlette, method: str, path: str, query: bytes, pieces: list[bytes], client: str) -> int:
    """The status of one request."""
    left, sent = iter(pieces), list[dict[str, Any]]()
    after = itertools.count(1)

    async def receive() -> dict[str, Any]:
        piece = next(left, b"")
        return {"type": "http.request", "body": piece, "more_body": next(after) < len(pieces)}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {
        "type": "http", "method": method, "path": path, "raw_path": path.encode("utf-8", "replace"), "root_path": "",
        "headers": [], "query_string": query, "http_version": "1.1", "scheme": "http", "server": ("localhost", 80),
        "client": (client, 1),
    }  # fmt: skip
    await app(scope, receive, send)
    assert b"Traceback" not in b"".join(each.get("body", b"") for each in sent[1:])
    return sent[0]["status"]


@pytest.mark.parametrize("in_demo", [False, True])
def test_routes(in_demo: bool, trained, empty, monkeypatch) -> None:
    known = [trained("vae", budget=3, log_every=1).id, trained("pix2pix", "edges:digits", budget=3, width=4).id]
    spaces = ["0" * 32]
    if in_demo:  # where a path names a visitor's space, and what was trained outside of that is not to be found
        monkeypatch.setenv("GENMODELS_DEMO", "1")
        known, spaces = [*known[:1], "vae-digits", "pix2pix-edges-mnist"], [demo.new_space(), *spaces]
        for config in (run.config for run in shipped_runs() if run.id in known and data.is_present(run.config.dataset)):
            data.load(config.dataset, config.size, config.channels, config.seed)  # prepared for all, outside of spaces
    app, clients = Starlette(routes=ROUTES, middleware=[Middleware(Limits)]), itertools.count()
    paths = sorted({re.sub(r"\{\w+(:\w+)?\}", "{}", route.path) for route in ROUTES})
    codes = st.one_of(
        junk, st.integers(0, 70_000).map(bytes), st.integers(1, 40).map(lambda n: np.ones(16 * n, "<f4").tobytes())
    )
    wrong = st.tuples(
        st.sampled_from(["GET", "POST", "PUT", "HEAD"]), st.sampled_from(paths),
        st.lists(st.tuples(st.sampled_from(["ids", "what", "direction", "x"]), text), max_size=3),
        st.lists(codes, max_size=3),
    )  # fmt: skip
    asks = {"images": ("GET", [("ids", "0,1,2")], []), "decode": ("POST", [], [np.ones(16, "<f4").tobytes()]),
            "translate": ("POST", [("direction", "forward")], [bytes(64)])}  # fmt: skip
    right = st.sampled_from(
        [(m, path, q, body) for path in paths for what, (m, q, body) in asks.items() if what in path]
    )

    @inputs_of("routes", 2)
    @given(
        st.one_of(right, wrong), st.one_of(*[st.just(spaces[0])] * 2, st.sampled_from(spaces), text),
        st.one_of(*[st.sampled_from(known)] * 2, text),
    )  # fmt: skip
    def tried(request, space: str, run: str) -> None:
        method, path, query, pieces = request
        words = "&".join(f"{name}={value}" for name, value in query).encode("utf-8", "replace")
        with watched():
            whole = path.replace("/s/{}", f"/s/{space}").replace("{}", run)
            status = awaited(asked(app, method, whole, words, pieces, str(next(clients))))
        assert status in (200, 307, 400, 403, 404, 405, 413, 429)  # 307: without the slash at the end

    with in_bounded_memory():
        tried()
        for path, (what, (method, query, body)) in itertools.product(paths, asks.items()):
            run = known[-1 if what == "translate" else -2]
            whole = path.replace("/s/{}", f"/s/{spaces[0]}").replace("{}", run)
            words = "&".join(f"{name}={value}" for name, value in query).encode()
            if what in path:
                status = awaited(asked(app, method, whole, words, body, "right"))
                assert status == (400 if in_demo and "/s/" not in path else 200), "no way but that of a visitor"
    empty()


# -- addresses

PARAMETERS = sorted(
    {"frame", "shown", "shown2", "item-class", "item-sheet"}  # whose names stand elsewhere
    | {
        name
        for path in [*(ROOT / "app").glob("*.py"), *(ROOT / "pages").glob("*.py")]
        for line in path.read_text(encoding="utf-8").splitlines()
        for name in re.findall(r'(?:query_params\.get(?:_all)?|whole|choice|_slider|recall)\("(\w+)"', line)
        + (re.findall(r'key="(\w+)"', line) if 'bind="query-params"' in line else [])
    }
)


@pytest.mark.parametrize("part", range(2))  # so that two processes share them
def test_addresses(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "start", lambda run: pytest.fail("a link alone trains nothing"))
    apps: dict[str, AppTest] = {}
    pages = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))[part::2]
    known = ["vae-digits", "pix2pix-edges-mnist", "gan-mnist", "diffusion-mnist"]  # each page can look into one of them
    assert {*known} <= {run.id for run in shipped_runs()}
    runs = st.one_of(st.sampled_from(known), text)

    @inputs_of("addresses", 2)
    @given(st.sampled_from(pages), runs, st.dictionaries(st.sampled_from(PARAMETERS), text, min_size=3, max_size=12))
    def tried(page: str, run: str, query: dict[str, str]) -> None:
        if page not in apps:
            apps[page] = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=120).run()
            apps[page].switch_page(str(ROOT / "pages" / f"{page}.py"))
        app = apps[page]
        app.query_params.clear()
        app.query_params.update(query | {"run": run})
        with watched(but="pickle.find_class"):  # st.cache_data keeps what we gave it as pickles
            app.run()
        assert not app.exception, (page, query, app.exception)

    # More than of one input: it keeps an AppTest of each page, and imports what they import (at most 441 MB of a test).
    with in_bounded_memory((2048 if WHOLE else 768) * 2**20):
        tried()
