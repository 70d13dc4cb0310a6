"""What the server of a demo does beside answering: call the next run in line, remove what has expired; and everything
of one visitor as a zip, out and in again."""

import contextlib
import io
import re
import shutil
import threading
import time
import zipfile
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock, Timeout

from genmodels import demo, exchange, jobs
from genmodels.config import UserError
from genmodels.data import cache
from genmodels.data.archives import entries
from genmodels.data.folders import own_home
from genmodels.files import SHIPPED, home, in_space, shared_home
from genmodels.runs import Run, all_runs

PATIENCE = 20.0  # seconds in which those before may get theirs
PACKED = re.compile(r"([^/]+/)?runs/[a-z0-9][a-z0-9-]{0,99}\.zip")  # in a folder, where it was packed again
MOST_RUNS = 200  # in one archive
MOST_GROWTH = 4  # times its size that its runs, which are compressed already, may have together
JUMP = 300.0  # seconds by which the clock may run away from the time that passes, before it was set to another time

_one_at_a_time = threading.Lock()
_clocks = (time.time(), time.monotonic())


def sweep() -> None:
    """Remove the spaces that have expired, and prepared datasets beyond what all may take. Runs at work are stopped
    first, and their space goes the next time. Two servers on one home do not get in each other's way."""
    place = shared_home() / "spaces"
    if not demo.on() or not place.is_dir():
        return
    try:
        with FileLock(place / ".lock", is_singleton=False).acquire(blocking=False):
            if _clock_was_set():
                for folder in demo.spaces():
                    demo.use(folder)
            for folder in place.glob(".gone-*"):  # of a server that was killed meanwhile
                shutil.rmtree(folder, ignore_errors=True)
            for folder in demo.spaces():
                with contextlib.suppress(UserError):  # one that cannot be stopped, as on a full disk, keeps no other
                    if demo.seconds_left(folder) < 0 and not _at_work(folder):
                        demo.remove(folder)
            cache.trim(demo.quotas().cache * demo.MB)
    except Timeout:
        return  # another server is at it


def _clock_was_set() -> bool:
    """Since the last time this was asked: then nothing is known of when a space was used."""
    global _clocks
    (wall, steady), _clocks = _clocks, (time.time(), time.monotonic())
    return abs((_clocks[0] - wall) - (_clocks[1] - steady)) > JUMP


def _at_work(folder: Path) -> bool:
    """Whether runs of that space wait or train; they are stopped."""
    with in_space(folder.name):
        active = [run for run in all_runs() if run.status().active]
        for run in active:
            jobs.stop(run)
    return bool(active)


def bring(given: BinaryIO) -> tuple[list[Run], str]:
    """Import a run, or each run of what `everything` packed, one at a time; and a sentence on what was left out, or
    nothing. Raises UserError where no run was imported."""
    found, size = entries(given), given.seek(0, 2)
    packed = exchange.Files(zipfile.ZipFile(given))
    packed.infos = {each.filename: each for each in packed.archive.infolist() if PACKED.fullmatch(each.filename)}
    if not packed.infos:
        return [exchange.unpack(given)], ""
    demo.check_upload(size)
    sizes = [each.file_size for each in packed.infos.values()]
    if len(sizes) > MOST_RUNS or max(sizes) > exchange.MOST_BYTES or sum(sizes) > MOST_GROWTH * size:
        raise UserError(f"The archive has more than {MOST_RUNS} runs or too large ones: import them one by one.")
    brought, refused = list[Run](), list[str]()
    for name in packed:
        try:
            brought.append(exchange.unpack(packed[name]))
        except UserError as error:
            refused.append(str(error))
    if not brought:
        raise UserError(refused[0])
    said = f"{len(refused)} of {len(sizes)} runs were not imported: {refused[0]}" if refused else ""
    if len(found) > len(sizes):
        said += " The archive's datasets and names of directions were left out: add datasets on the page Data."
    return brought, said.strip()


def everything() -> bytes:
    """All that is a visitor's own as one zip: each run as a zip that can be imported again, own datasets, and the named
    directions of ready-made runs. One at a time, for it is held in memory. Raises UserError."""
    if not _one_at_a_time.acquire(timeout=PATIENCE):
        raise UserError("Others are taking theirs along just now: try again in a minute.")
    try:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:  # what is in it is compressed already
            for run in all_runs():
                archive.writestr(f"runs/{run.id}.zip", exchange.pack(run))
            for title, folder in (("datasets", own_home()), (SHIPPED, home() / SHIPPED)):
                for path in sorted(folder.rglob("*")):
                    name = path.relative_to(folder)
                    if path.is_file() and not name.parts[0].startswith("."):
                        archive.write(path, Path(title) / name)
        return buffer.getvalue()  # the very bytes of the buffer, no copy
    finally:
        _one_at_a_time.release()
