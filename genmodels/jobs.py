"""Start, pause, stop and resume the workers of runs, on this machine."""

import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from filelock import FileLock

from genmodels import demo, line
from genmodels.config import UserError
from genmodels.files import disk_errors, space_of
from genmodels.runs import WAITING, Run, Status
from genmodels.worker import at_last_point, fail, queue, slots, ticket

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
    if not run.path.is_dir():
        raise UserError(f"The run {run.id} was deleted meanwhile: train another one.")
    # Two servers may be on one home: what is looked at must still be so when it is changed.
    with disk_errors("start.lock"), FileLock(run.path / "start.lock", is_singleton=False):
        if run.status().active:
            raise UserError(f"The run {run.id} is already {run.status().state}.")
        if demo.on():
            _stand_in_line(run)
        else:
            run.ask("run")
            run.write_status(at_last_point(run, state="queued", heartbeat=ticket()))
    if demo.on():
        call_next()
    else:
        _employ(run)


def _employ(run: Run) -> None:
    """Give the run a worker. Raises UserError."""
    with _one_at_a_time, disk_errors("log.txt"), (run.path / "log.txt").open("ab") as log:
        _workers[:] = [worker for worker in _workers if worker.poll() is None]
        spare = _spare.pop() if _spare else None
        if spare is None or not _told(spare, run):
            spare = _new_worker(log)
            _told(spare, run)
        _workers.append(spare)


def _stand_in_line(run: Run) -> None:
    """Queue the run behind those of all visitors. Raises UserError where that is beyond its visitor's quotas."""
    status = run.status()
    demo.check_run(run.config)
    if over := demo.used_up(status.step, status.seconds):
        raise UserError(f"{over} The run {run.id} cannot go on.")
    with line.lock():
        check_active(space_of(run.path))
        run.ask("run")
        run.write_status(at_last_point(run, state="queued", doing=WAITING))
        line.join(run)


def check_active(key: str | None, more: int = 1) -> None:
    """Raises UserError where the visitor of a demo may not have so many more runs at work or in line."""
    if demo.on():
        demo.check_count("active", sum(each.key == key for each in line.everybody()) + more - 1)


def call_next() -> None:
    """In a demo: give a worker to whoever is next in line, as long as there are slots. Cheap to call often."""
    if not demo.on() or not line.tickets():
        return
    with line.lock():
        found = line.look(tidy=True)
        for each in found.waiting[: max(0, slots() - len(found.working))]:
            line.note_turn(each.key)
            try:
                each.run.write_status(at_last_point(each.run, state="queued"))
                _employ(each.run)
            except UserError as error:
                fail(each.run, str(error))


def stand_by() -> None:
    """Have a worker ready that has imported torch, so that the next run starts at once. Cheap to call often."""
    if demo.on():
        return  # it would hold memory that the demo has better uses for
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
    if demo.on():
        with line.lock():
            if run.status().doing == WAITING:  # it has no worker that could
                run.write_status(at_last_point(run, state="stopped"))


def resume(run: Run) -> None:
    """Go on where the run was left: wake its worker, or start a new one. Raises UserError if it cannot."""
    status = run.status()
    if status.state == "finished" and status.doing:  # what of a demo it has used up
        raise UserError(f"{status.doing} The run {run.id} cannot go on.")
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
    waiting = [each.run.id for each in line.looked_at().waiting] if demo.on() else [each.id for each in queue()]
    return waiting.index(run.id) + 1 if run.id in waiting else 1


def until_next() -> float | None:
    """Seconds that the run at work still takes, in a demo and where that is known; then the next one starts."""
    if not demo.on():
        return None
    left = [each.status.seconds_left for each in line.looked_at().working]
    return min((each for each in left if each is not None), default=None)
