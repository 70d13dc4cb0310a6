"""What the interpreter reads, writes and starts while something hostile is handled, and how much memory that takes."""

import mimetypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from genmodels.files import data_home, demo, home, shared_home

ROOT = Path(__file__).parent.parent
# The demonstration is to stay under 2 GB, of which the server and one training take some 1.5: this is what is left.
BOUND = 512 * 2**20
NEVER = {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "pickle.find_class", "socket.connect"}
PATHS = {"open": 1, "os.mkdir": 1, "os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2,
         "os.truncate": 1, "os.chmod": 1, "os.chown": 1, "os.listdir": 1, "os.scandir": 1}  # fmt: skip
READ = [str(ROOT), sys.prefix, sys.base_prefix, "/proc", "/sys", "/dev"]  # beside the home; what the machine brings


class _Watch:
    """Sees every audit event of the interpreter; https://docs.python.org/3/library/audit_events.html."""

    on = False

    def __init__(self) -> None:
        self.odd: list[str] = []
        self.never = NEVER

    def __call__(self, event: str, args: tuple) -> None:
        if not self.on:
            return
        if event in self.never:
            self.odd.append(f"{event} {args[:2]!r:.200}")
        for given in args[: PATHS.get(event, 0)]:
            if isinstance(given, str | bytes | os.PathLike) and os.path.isabs(path := os.fsdecode(given)):
                writes = event not in ("open", "os.listdir", "os.scandir") or _writes(event, args)
                if not _allowed(os.path.realpath(path), writes):
                    self.odd.append(f"{event} {path:.200}")
            elif isinstance(given, str | bytes) and not (_by_descriptor(event, args) or _of_an_import(given)):
                self.odd.append(f"{event} of a path that depends on where the app was started: {given!r:.200}")


def _writes(event: str, args: tuple) -> bool:
    if event != "open":
        return False
    _, mode, flags = args
    return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)) or bool(mode and set(mode) & set("wax+"))


def _by_descriptor(event: str, args: tuple) -> bool:
    """Within a folder that is open already, as shutil.rmtree does it; that folder's opening was seen."""
    return event in ("os.remove", "os.rmdir", "open") and (event == "open" or args[-1] != -1)


def _of_an_import(given: str | bytes) -> bool:
    """No path, but what setuptools has the importer ask for where the package is installed as editable."""
    return os.fsdecode(given).startswith("__editable__.")


def _allowed(path: str, writes: bool) -> bool:
    prepared = [shared_home() / "cache"] if demo() else []  # for all: outside of the visitor's own home
    places = [os.path.realpath(each) for each in [home(), *([] if writes else [data_home(), *prepared, *READ])]]
    return any(path == place or path.startswith(place + os.sep) for place in places) or (
        writes and (path == os.devnull or "__pycache__" in path or "torchinductor" in path)  # what importing makes
    )


mimetypes.init()  # reads the machine's list, once
_watch = _Watch()
sys.addaudithook(_watch)


@contextmanager
def watched(but: str = "") -> Iterator[None]:
    """Nothing is written but in the home, nothing read but there and in what is installed, and no process, pickle or
    connection is opened. but: one of these that may be."""
    _watch.odd, _watch.never, _watch.on = [], NEVER - {but}, True
    try:
        yield
    finally:
        _watch.on = False
    assert not _watch.odd, _watch.odd[:5]


def _resident(which: str) -> int:
    """VmRSS or VmHWM of this process in bytes."""
    found = re.search(rf"{which}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) * 1024


@contextmanager
def in_bounded_memory(bound: int = BOUND) -> Iterator[None]:
    """The resident memory of this process never grows by more than `bound` meanwhile. Measured on Linux alone."""
    if not Path("/proc/self/clear_refs").exists():
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from now: see proc(5)
    before = _resident("VmRSS")
    yield
    assert (grown := _resident("VmHWM") - before) < bound, f"it took {grown >> 20} MB"
