"""A browser's tab without a browser: one websocket that speaks Streamlit's protocol, and requests beside it.

It does on the network what the frontend of Streamlit 1.67 does: the health check and its cookie, the files of the first
visit, a websocket with origin and token, a rerun for each change, and the reruns that fragments ask for by themselves.
"""

import asyncio
import gzip
import re
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.load_page import EARLY, TICK, Page

PATIENCE = 60.0  # seconds until a rerun without an answer is an error
KEPT = 2.0  # seconds of quiet after which a connection is not used again: the server closes it after 5
LIMITED = 429  # the status of a request that comes too often


@dataclass
class Request:
    """A rerun that was asked for. run: the one that answers it, once that has begun."""

    kind: str
    page: str
    fragment: str
    sent: float
    run: str = ""
    done: asyncio.Event = field(default_factory=asyncio.Event)


class Fetch:
    """Requests one after the other over one connection that is kept, as a component's `fetch` makes them."""

    def __init__(self, host: str, port: int) -> None:
        self.host, self.port, self.cookie = host, port, ""
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None
        self.used = 0.0

    async def __call__(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        """-> status and body, unpacked."""
        if self.reader is None or self.reader.at_eof() or time.monotonic() - self.used > KEPT:
            self.close()
            self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        assert self.reader
        assert self.writer
        lines = [
            f"{method} {path} HTTP/1.1", f"Host: {self.host}:{self.port}", f"Origin: http://{self.host}:{self.port}",
            "Accept-Encoding: gzip", f"Content-Length: {len(body)}", *([f"Cookie: {self.cookie}"] * bool(self.cookie)),
        ]  # fmt: skip
        self.writer.write("\r\n".join([*lines, "", ""]).encode() + body)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:])}
        found = await self._body(fields)
        if "set-cookie" in fields:
            self.cookie = fields["set-cookie"].partition(";")[0]
        self.used = time.monotonic()
        if fields.get("connection") == "close":
            self.close()
        unpacked = gzip.decompress(found) if fields.get("content-encoding") == "gzip" and found else found
        return int(head[0].split()[1]), unpacked

    async def _body(self, fields: dict[str, str]) -> bytes:
        assert self.reader
        if fields.get("transfer-encoding") != "chunked":
            return await self.reader.readexactly(int(fields.get("content-length", 0)))
        found = b""
        while size := int(await self.reader.readline(), 16):
            found += await self.reader.readexactly(size)
            await self.reader.readline()
        await self.reader.readline()
        return found

    def close(self) -> None:
        if self.writer:
            self.writer.close()
        self.reader = self.writer = None


class Tab:
    """told: hears each rerun when it ends (kind, page, seconds), each request (kind, "route", seconds).
    wrong: hears what is an error (page, words)."""

    def __init__(
        self, host: str, port: int, told: Callable[[str, str, float], None], wrong: Callable[[str, str], None]
    ) -> None:
        self.address, self.told, self.wrong = (host, port), told, wrong
        self.page, self.fetch = Page(), Fetch(host, port)
        self.socket: ClientConnection | None = None
        self.asked: list[Request] = []
        self.timers: dict[str, tuple[float, asyncio.Task[None]]] = {}
        self.listener: asyncio.Task[None] | None = None
        self.files: set[str] = set()

    # -- the visit

    async def open(self, page: str = "", query: str = "") -> None:
        """What a browser does when an address is entered: files, health check, websocket, first run."""
        self.page, self.asked, self.timers = Page(name=page, query=query), [], {}
        _, index = await self.get("/", "file")
        for path in re.findall(r'(?:src|href)="\.(/static/(?:js|css)/[^"]+)"', index.decode()):
            if path not in self.files:  # the browser keeps them
                await self.get(path, "file")
                self.files.add(path)
        for path in ("/_stcore/health", "/_stcore/host-config"):
            await self.get(path, "file")
        host, port = self.address
        self.socket = await connect(
            f"ws://{host}:{port}/_stcore/stream", origin=f"http://{host}:{port}", compression=None, max_size=None,
            subprotocols=["streamlit", self.fetch.cookie.partition("=")[2]], ping_interval=None, proxy=None,
            additional_headers={"Cookie": self.fetch.cookie},
        )  # fmt: skip
        self.listener = asyncio.create_task(self._listen())
        await self.rerun("first load")

    async def close(self) -> None:
        """The tab is closed."""
        for _, task in self.timers.values():
            task.cancel()
        if self.listener:
            self.listener.cancel()
        if self.socket:
            await self.socket.close()
        self.fetch.close()

    async def get(self, path: str, kind: str, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
        """A request, measured; anything but an answer or "too often" is an error."""
        began = time.monotonic()
        try:
            status, found = await asyncio.wait_for(self.fetch(method, path, body), PATIENCE)
        except (OSError, ValueError, asyncio.IncompleteReadError, TimeoutError) as error:
            self.wrong(self.page.name, f"{method} {path[:80]}: {type(error).__name__} {error}")
            self.fetch.close()
            return 0, b""
        self.told(kind if status != LIMITED else f"{kind}, too often", "route", time.monotonic() - began)
        if status not in (200, LIMITED):
            self.wrong(self.page.name, f"{method} {path[:80]}: status {status}, {found[:200].decode(errors='replace')}")
        return status, found

    async def reload(self) -> None:
        """The visitor reloads the page, or comes back to it: another session, at the same address."""
        await self.close()
        await self.open(self.page.name, self.page.query)

    # -- reruns

    async def go(self, page: str, query: str = "") -> None:
        """A click in the navigation, or on a link with a query."""
        if page == self.page.name:
            self.page.query = query
        await self.rerun("page", page=page, query=query)

    async def rerun(
        self, kind: str, fragment: str = "", page: str | None = None, query: str = "",
        triggers: tuple[WidgetState, ...] = (),
    ) -> None:  # fmt: skip
        """Ask for it and wait until the script has finished. Nothing where the fragment has left the page meanwhile."""
        if fragment and not self.page.has(fragment):
            return
        if page is not None:
            self.page.ticks.clear()
            self._set_timers()
        if self.listener is None or self.listener.done():
            raise ConnectionError("there is no connection any more")
        message = self.page.rerun(fragment=fragment, page=page, query=query, triggers=triggers)
        request = Request(kind, self.page.name, fragment, time.monotonic())
        self.asked.append(request)
        await self._send(message)
        try:
            await asyncio.wait_for(request.done.wait(), PATIENCE)
        except TimeoutError:
            self.asked.remove(request)
            self.wrong(
                request.page, f"{kind}: no answer in {PATIENCE:g} seconds{', though it began' * bool(request.run)}"
            )

    async def _send(self, message: Any) -> None:
        assert self.socket
        with suppress(ConnectionClosed):  # the listener says so
            await self.socket.send(message.SerializeToString())

    async def _listen(self) -> None:
        assert self.socket
        try:
            async for data in self.socket:
                self._take(ForwardMsg.FromString(data))  # type: ignore[arg-type]
            self.wrong(self.page.name, "the server closed the websocket")
        except ConnectionClosed as error:
            self.wrong(self.page.name, f"the websocket was dropped: {error}")
        except KeyError as error:
            self.wrong(self.page.name, f"a message names one that is not kept here: {error}")
        for request in self.asked:
            request.done.set()

    def _take(self, message: ForwardMsg) -> None:
        kind, page = self.page.apply(message), self.page
        if kind == "new_session":
            if not page.fragments:  # what fragments had asked for is drawn with all else
                self.asked = [each for each in self.asked if each.kind != TICK]
            for each in self.asked:  # one that began before is over for the browser, though its end was never sent
                if not page.fragments or each.fragment in page.fragments:
                    each.run = page.run
        elif kind == "script_finished":
            run, early = message.metadata.run.script_run_id, message.script_finished == EARLY
            for each in [each for each in self.asked if each.run == run]:
                if early:
                    each.run = ""  # the next run is its answer
                else:
                    self._answered(each)
            for each in [each for each in self.asked if each.fragment and not page.has(each.fragment)]:
                self.asked.remove(each)  # the server answers nobody who asks for a fragment that is gone
                each.done.set()
        if kind in ("new_session", "auto_rerun", "stop_auto_rerun"):
            self._set_timers()
        while page.problems:
            self.wrong(page.name, page.problems.pop(0))

    def _answered(self, request: Request) -> None:
        self.asked.remove(request)
        self.told(request.kind, request.page, time.monotonic() - request.sent)
        request.done.set()

    # -- fragments that run by themselves

    def _set_timers(self) -> None:
        for fragment, (pace, task) in list(self.timers.items()):
            if self.page.ticks.get(fragment) != pace:
                task.cancel()
                del self.timers[fragment]
        for fragment, pace in self.page.ticks.items():
            if fragment not in self.timers:
                self.timers[fragment] = (pace, asyncio.create_task(self._tick(fragment, pace)))

    async def _tick(self, fragment: str, pace: float) -> None:
        while True:
            await asyncio.sleep(pace)
            if not any(each.fragment == fragment and not each.run for each in self.asked):
                self.asked.append(Request(TICK, self.page.name, fragment, time.monotonic()))
            await self._send(self.page.rerun(fragment=fragment, tick=True))
