"""Start, pause, stop and resume the workers of runs, on this machine."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from genmodels.config import UserError
from genmodels.files import disk_errors
from genmodels.runs import Run, Status
from genmodels.worker import at_last_point, queue

# Each step frees and asks again for the same megabytes. Given back to the system they return as page faults, which
# cost up to a fifth of a step; the allocator of Linux keeps them when told so, and ignores this elsewhere.
KEEP_MEMORY = {
    "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4000000000"
    ":glibc.malloc.hugetlb=1"
}

_workers: list[subprocess.Popen[bytes]] = []  # kept so that ended ones are reaped
_one_at_a_time = threading.Lock()  # two visitors may press Train in the same moment
_spare: list[subprocess.Popen[bytes]] = []  # at most one, with torch imported, that waits to be told its run


def start(run: Run) -> None:
    """Queue the run and give it a worker in a process session of its own. Raises UserError if it has one."""
    if run.status().active:
        raise UserError(f"The run {run.id} is already {run.status().state}.")
    run.ask("run")
    run.write_status(at_last_point(run, state="queued"))
    with _one_at_a_time, disk_errors("log.txt"), (run.path / "log.txt").open("ab") as log:
        _workers[:] = [worker for worker in _workers if worker.poll() is None]
        spare = _spare.pop() if _spare else None
        if spare is None or not _told(spare, run):
            spare = _new_worker(log)
            _told(spare, run)
        _workers.append(spare)


def stand_by() -> None:
    """Have a worker ready that has imported torch, so that the next run starts at once. Cheap to call often."""
    with _one_at_a_time:
        if not _spare or _spare[0].poll() is not None:
            _spare[:] = [_new_worker(subprocess.DEVNULL)]


def _told(worker: subprocess.Popen[bytes], run: Run) -> bool:
    """Tell a worker that waits its run; False where it was killed meanwhile."""
    assert worker.stdin
    try:
        worker.stdin.write(os.fsencode(run.path.absolute()))
        worker.stdin.close()
    except OSError:
        return False
    return True


def _new_worker(log: IO[bytes] | int) -> subprocess.Popen[bytes]:
    """A process that reads the path of its run from its input, and ends if there never is one."""
    # The worker finds this very package, from whatever folder the app was started.
    path = filter(None, [str(Path(__file__).parent.parent), os.environ.get("PYTHONPATH")])
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "genmodels.worker"],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
        env=KEEP_MEMORY | os.environ | {"PYTHONPATH": os.pathsep.join(path)},
    )


def pause(run: Run) -> None:
    """Let the worker save and wait, giving its slot to the next in the queue."""
    run.ask("pause")


def stop(run: Run) -> None:
    """Let the worker save and end. A stopped run can be resumed."""
    run.ask("stop")


def resume(run: Run) -> None:
    """Go on where the run was left: wake its worker, or start a new one. Raises UserError if it cannot."""
    status = run.status()
    if status.state == "finished":
        raise UserError(f"The run {run.id} has used its budget: start a copy with a larger one.")
    if status.active:
        run.ask("run")
    elif not run.can_resume(status):
        raise UserError(f"The run {run.id} came without a checkpoint, so it cannot go on: train a copy of it.")
    else:
        start(run)


def place_in_queue(run: Run, status: Status) -> int | None:
    """1 for the next to start, or None if it does not wait."""
    if status.state != "queued":
        return None
    waiting = [each.id for each in queue()]
    return waiting.index(run.id) + 1 if run.id in waiting else 1
