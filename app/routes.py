"""The small read-only HTTP routes that the browser's components fetch from: no rerun, no widget, latest wins.

    POST api/decode/<run>   float32 (n, L), little-endian  ->  uint8 (n, C, H, W), as the page shows images
    GET  api/images/<run>?ids=1,2,3&what=original          ->  uint8 (n, C, H, W); what: original or reconstruction
    POST api/translate/<run>?direction=forward             uint8 (S, S), a drawing in dark ink on white, S 8 to 256
                                                           ->  uint8 (n, C, H, W), as the page shows images: what the
                                                               model reads, its translation, and that translated back
                                                               where it goes both ways

A refusal is one plain sentence with status 400. Runs are named by id, never by path. In a demo each of these has the
key of the visitor's space before it, /s/<key>/api/..., and finds what is in that space and what comes with the app.
"""

import math
from collections.abc import Callable

import numpy as np
import streamlit as st
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from genmodels import demo
from genmodels.config import UserError
from genmodels.files import in_space, space_now

MOST = 512  # codes or images in one request
SMALLEST, LARGEST = 8, 256  # pixels of a drawing's side
TOO_MUCH = PlainTextResponse("That is more than one request may ask for.", 413)


def address(what: str, run_id: str) -> str:
    """Where a component fetches from: the app may live under a path of its host."""
    base, key = str(st.get_option("server.baseUrlPath") or "").strip("/"), space_now()
    return "/".join(["", *filter(None, [base, key and f"s/{key}"]), "api", what, run_id])


def decoded(run_id: str, body: bytes) -> bytes:
    """See the head of the file. Raises UserError."""
    from genmodels.inside import open_inside
    from genmodels.media import as_people_write
    from genmodels.runs import by_id

    inside = open_inside(by_id(run_id))
    row = 4 * inside.latent_size
    if not body or len(body) % row or len(body) > MOST * row:
        raise UserError(f"Send 1 to {MOST} codes of {inside.latent_size} float32 numbers each.")
    z = np.frombuffer(body, "<f4").reshape(-1, inside.latent_size).astype(np.float32)  # a copy: torch wants to own it
    if not np.isfinite(z).all():
        raise UserError("A code has a value that is not a number.")
    return as_people_write(inside.decode(z), inside.light).tobytes()


def translated(run_id: str, body: bytes, direction: str) -> bytes:
    """See the head of the file. Raises UserError."""
    from genmodels.media import as_people_write
    from genmodels.runs import by_id
    from genmodels.translation import open_translator

    side = math.isqrt(len(body))
    if side * side != len(body) or not SMALLEST <= side <= LARGEST:
        raise UserError(f"Send a square drawing of {SMALLEST} to {LARGEST} pixels a side, one byte for each pixel.")
    translator = open_translator(by_id(run_id))
    seen = translator.read(np.frombuffer(body, np.uint8).reshape(side, side), direction, drawn=True)[None]
    images = np.concatenate([seen, *translator.there_and_back(seen, direction)])
    return as_people_write(images, translator.light).tobytes()


def pictured(run_id: str, ids: str, what: str) -> bytes:
    """See the head of the file. Raises UserError."""
    from genmodels.inside import open_inside
    from genmodels.media import as_people_write
    from genmodels.runs import by_id

    inside = open_inside(by_id(run_id))
    wanted = [int(each) for each in ids.split(",") if each.isdecimal() and len(each) < 10]
    if not 0 < len(wanted) <= MOST or max(wanted) >= len(inside.images):
        raise UserError(f"Ask for 1 to {MOST} images by numbers below {len(inside.images)}.")
    which = np.array(wanted)
    images = inside.reconstruct(which) if what == "reconstruction" else inside.images[which]
    return as_people_write(images, inside.light).tobytes()


async def _decode(request: Request) -> Response:
    body = await _body(request, MOST * 256 * 4)
    return TOO_MUCH if body is None else await _answer(request, decoded, request.path_params["run"], body)


async def _translate(request: Request) -> Response:
    body, direction = await _body(request, LARGEST**2), request.query_params.get("direction", "forward")
    return TOO_MUCH if body is None else await _answer(request, translated, request.path_params["run"], body, direction)


async def _body(request: Request, most: int) -> bytes | None:
    """What was sent; None where it is more than `most` bytes."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return body


async def _images(request: Request) -> Response:
    asked = request.query_params
    return await _answer(
        request, pictured, request.path_params["run"], asked.get("ids", ""), asked.get("what", "original")
    )


async def _answer(request: Request, function, *words) -> Response:  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002
    try:
        found = await run_in_threadpool(_in_space_of, request, function, *words)
        return Response(found, media_type="application/octet-stream")
    except UserError as error:
        return PlainTextResponse(str(error), 400)


def _in_space_of(request: Request, function: Callable[..., bytes], *words: object) -> bytes:
    """Done for the visitor whom the request's path names. Raises UserError where there is no such space."""
    key = request.path_params.get("space")
    if demo.on() and not (key and demo.enter(key)):
        raise UserError("There is no such space, or it has expired: reload the page.")
    with in_space(key):
        return function(*words)


ROUTES = [
    Route(f"{space}/api/{what}/{{run}}", answer, methods=methods)
    for space in ("", "/s/{space}")
    for what, answer, methods in (
        ("decode", _decode, ["POST"]),
        ("images", _images, ["GET"]),
        ("translate", _translate, ["POST"]),
    )
]
