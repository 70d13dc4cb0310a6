"""How much one client, and all together, may ask of the routes: who asks for more gets one sentence, and later again.

Somebody who drags a slider asks 60 times a second and never meets a limit, and neither do thirty who do so at once.
"""

import asyncio
import math
import re
import time
from collections.abc import Hashable

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit import config

from genmodels import demo
from genmodels.files import KEY, space_folder

ROUTE = re.compile(r"(/s/(?P<key>[^/]+))?/api/")
UPLOAD = "/_stcore/upload_file/"  # of Streamlit, which bounds one file, and not how many
MOST = "server.maxUploadSize"  # MB of one file; the server asks for it at each upload
# Requests a second in the long run, and at once.
EACH = (600.0, 1200.0)  # of one client, behind whose address ten people may sit
ALL = (2400.0, 4800.0)  # of all clients together
UPLOADS = (1.0, 10.0)  # of one client of a demo
LARGEST = 2**20  # bytes of a body; each route has a bound of its own below this, and keeps it while it reads
PATIENCE = 10.0  # seconds in which the next piece of a body must come


class Buckets:
    """Token buckets, one for each name: `rate` tokens flow in a second, and `burst` fit in.

    Of each only the moment is kept at which it will be full again (the generic cell rate algorithm, ITU-T I.371); one
    that is full needs none, so what is kept is no more than what came in within `burst / rate` seconds.
    """

    def __init__(self, rate: float, burst: float) -> None:
        self.each, self.room = 1 / rate, (burst - 0.999) / rate  # less than a token more: sums of fractions
        self.full: dict[Hashable, float] = {}
        self.swept = -math.inf

    def wait(self, name: Hashable, now: float) -> float:
        """Take a token: 0. Where there is none: the seconds until there is. now: in seconds, of a clock never set."""
        if now - self.swept > self.room:
            self.full, self.swept = {each: full for each, full in self.full.items() if full > now}, now
        full = max(now, self.full.get(name, now))
        if full - now > self.room:
            return full - now - self.room
        self.full[name] = full + self.each
        return 0.0


def bound_uploads() -> None:
    """In a demo the server takes no larger file than a visitor may upload: a page bounds only its own widgets."""
    if demo.on():
        config.set_option(MOST, demo.upload_limit(config.get_option(MOST)))


class Limits:
    """ASGI middleware: for what the browser's components ask for, and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        self.app, self.each, self.all, self.uploads = app, Buckets(*EACH), Buckets(*ALL), Buckets(*UPLOADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        route = ROUTE.search(scope["path"]) if scope["type"] == "http" else None
        if route is None:
            full = self.full_of_uploads(scope)
            return await (full or self.app)(scope, receive, send)
        if refusal := self.refusal(scope, route["key"]):
            return await refusal(scope, receive, send)

        async def hurried() -> Message:
            return await asyncio.wait_for(receive(), PATIENCE)

        async def plainly(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["X-Content-Type-Options"] = "nosniff"
            await send(message)

        try:
            await self.app(scope, hurried, plainly)
        except TimeoutError:
            await PlainTextResponse("The request came too slowly: try again.", 408)(scope, receive, send)

    def full_of_uploads(self, scope: Scope) -> PlainTextResponse | None:
        """What to answer a client of a demo who uploads file after file."""
        if not demo.on() or scope["type"] != "http" or scope["method"] != "PUT" or UPLOAD not in scope["path"]:
            return None
        bound_uploads()  # not before: what the host calls secrets becomes environment only once the server is there
        return _later(self.uploads.wait(_client(scope), time.monotonic()))

    def refusal(self, scope: Scope, key: str | None) -> PlainTextResponse | None:
        """What to answer instead of doing it, if anything."""
        headers = Headers(scope=scope)
        if headers.get("sec-fetch-site") == "cross-site":
            return PlainTextResponse("Only the pages of this app may ask for this.", 403)
        length = headers.get("content-length", "0")
        if not length.isdecimal() or len(length) > 9 or int(length) > LARGEST:
            return PlainTextResponse("That is more than one request may ask for.", 413)
        visitor, now = key if key and _is_space(key) else None, time.monotonic()  # else who makes up keys is as many
        return _later(self.each.wait((_client(scope), visitor), now) or self.all.wait("", now))


def _client(scope: Scope) -> str:
    return (scope.get("client") or ("",))[0]


def _is_space(key: str) -> bool:
    return demo.on() and KEY.fullmatch(key) is not None and space_folder(key).is_dir()


def _later(wait: float) -> PlainTextResponse | None:
    """The answer to who has to wait for so many seconds."""
    if not wait:
        return None
    seconds = str(math.ceil(wait))
    return PlainTextResponse("Too many requests: try again in a second.", 429, {"Retry-After": seconds})
