"""The line of a demo: one for the runs of all visitors, fair to each of them.

A run that waits has no process: it is an empty file shared_home()/line/<key>.<run id>, whose time is when it joined.
Whoever holds the lock of the line may call the next one. Of each visitor the first run that waits comes before
anybody's second; among first ones, that of the visitor who has waited longest, since joining or since the last turn.
"""

import contextlib
import os
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock

from genmodels.files import KEY, shared_home, space_folder, space_of
from genmodels.runs import ID, WAITING, Run, Status

CALLED = "called"  # an empty file of a space, touched when a run of it is called and when it has ended
LOOK = 0.3  # seconds for which one look at the line serves all who ask for their place


class Ticket(NamedTuple):
    """joined: seconds since the epoch."""

    key: str
    run: Run
    status: Status
    joined: float


class Line(NamedTuple):
    """waiting: the next one first. working: those that were called, and have not ended."""

    waiting: list[Ticket]
    working: list[Ticket]


_last: tuple[float, Path, Line] = (-LOOK, Path(), Line([], []))


def folder() -> Path:
    path = shared_home() / "line"
    path.mkdir(parents=True, exist_ok=True)
    return path


def lock() -> FileLock:
    """Held by whoever lets a run join, calls or stops one."""
    return FileLock(folder() / ".lock", is_singleton=False)


def join(run: Run) -> None:
    """Put a run of a space at the end of the line; to be called with the lock held."""
    path = folder() / f"{space_of(run.path)}.{run.id}"
    others = [each.stat().st_mtime for each in folder().glob("[0-9a-f]*.*") if each != path]
    joined = max([time.time(), *(each + 1e-3 for each in others)])  # behind them, however the clock was set meanwhile
    path.touch()
    os.utime(path, (joined, joined))


def look(*, tidy: bool = False) -> Line:
    """Who waits and who works. tidy: throw away tickets of runs that have ended; only with the lock held."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(shared_home() / "line"):
            if ticket := _ticket(entry, tidy):
                found.append(ticket)
    waits = [ticket for ticket in found if ticket.status.state == "queued" and ticket.status.doing == WAITING]
    working = [ticket for ticket in found if ticket not in waits]
    return Line(_in_turn(waits, working), working)


def everybody() -> list[Ticket]:
    """All runs that wait or work."""
    found = look()
    return [*found.waiting, *found.working]


def tickets() -> bool:
    """Whether there may be anybody."""
    with contextlib.suppress(FileNotFoundError):
        return any(not entry.name.startswith(".") for entry in os.scandir(shared_home() / "line"))
    return False


def looked_at() -> Line:
    """As `look`, but not more than a few times a second: many pages ask for their place at once."""
    global _last
    now = time.monotonic()
    if now - _last[0] > LOOK or _last[1] != shared_home():
        _last = (now, shared_home(), look())
    return _last[2]


def _ticket(entry: os.DirEntry[str], tidy: bool) -> Ticket | None:
    key, _, run_id = entry.name.partition(".")
    if not KEY.fullmatch(key) or not ID.fullmatch(run_id):
        return None
    run = Run(space_folder(key) / "runs" / run_id)
    with contextlib.suppress(FileNotFoundError):
        joined = entry.stat().st_mtime
        if (status := run.status()).active:
            return Ticket(key, run, status, joined)
        if tidy:
            os.unlink(entry.path)
            note_turn(key)
    return None


def _in_turn(waits: list[Ticket], working: list[Ticket]) -> list[Ticket]:
    """Round by round: the first of each visitor, then the second, and so on, those that work included; in a round, who
    has waited longest without a turn."""
    rounds = Counter(ticket.key for ticket in working)
    order = []
    for ticket in sorted(waits, key=lambda each: (each.joined, each.run.id)):
        since = max(ticket.joined, _called(ticket.key))  # so that those who keep arriving do not go first for ever
        order.append(((rounds[ticket.key], since, ticket.run.id), ticket))
        rounds[ticket.key] += 1
    return [ticket for _, ticket in sorted(order, key=lambda each: each[0])]


def _called(key: str) -> float:
    try:
        called = (space_folder(key) / CALLED).stat().st_mtime
    except OSError:
        return 0.0
    return called if called <= time.time() else 0.0  # the clock was set back


def note_turn(key: str) -> None:
    """The visitor had a turn until just now, or has one now."""
    path, now = space_folder(key) / CALLED, time.time()
    path.touch()
    os.utime(path, (now, now))  # the system's own stamp is milliseconds late
