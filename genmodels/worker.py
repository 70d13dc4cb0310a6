"""One training process: `python -m genmodels.worker [RUN]`. It outlives the tab, the reload and the server.

Without RUN it gets ready to train and waits for the path on its input: so it can be started before it is needed. A
worker holds its run's lock for life, waits in the queue for a slot, trains, and obeys the run's request.json.
"""

import contextlib
import os
import select
import signal
import sys
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from filelock import FileLock, Timeout

from genmodels import demo
from genmodels.config import UserError
from genmodels.files import in_space, shared_home, space_of
from genmodels.runs import Run, Status, all_runs, runs_folder

LOG_EVERY = 5.0  # seconds between two lines of the log
POLL = 0.1  # seconds between two looks at what the person wants


def slots() -> int:
    """How many runs train at once: GENMODELS_SLOTS, or one for each four processor cores, or one in a demo."""
    wish = os.environ.get("GENMODELS_SLOTS", "")
    return int(wish) if wish.isdecimal() and int(wish) else 1 if demo.on() else max(1, (os.cpu_count() or 1) // 4)


def queue() -> list[Run]:
    """The runs that wait, first come first."""
    return [run for _, _, run in _tickets()]


def ticket() -> float:
    """The heartbeat of a run that joins the queue now: behind all who wait, however the clock was set meanwhile."""
    return max([time.time(), *(joined + 1e-3 for joined, _, _ in _tickets())])


def _tickets() -> list[tuple[float, str, Run]]:
    waiting = [(status.heartbeat, run.id, run) for run in all_runs() if (status := run.status()).state == "queued"]
    return sorted(waiting, key=lambda each: each[:2])


def is_next(run: Run) -> bool:
    """Whether nobody in the home's queue came before; a run kept elsewhere does not queue, nor one that was called."""
    if demo.on():
        return True
    ahead = queue()
    return run.path.parent != runs_folder() or not ahead or ahead[0].id == run.id


def try_slot() -> FileLock | None:
    """A free training slot of this home, held until it is released or the process ends."""
    folder = shared_home() / "slots"
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(slots()):
        lock = FileLock(folder / f"{number}.lock", is_singleton=False)
        with contextlib.suppress(Timeout):
            lock.acquire(blocking=False)
            return lock
    return None


def wait_for_slot(run: Run) -> FileLock | None:
    """Queue until it is this run's turn. None if it was stopped first."""
    # The time of joining the queue stays as the heartbeat: it is the ticket.
    joined = run.status().heartbeat if run.status().state == "queued" else ticket()
    _write(run, at_last_point(run, state="queued", heartbeat=joined, pid=os.getpid()))
    while run.wish != "stop":
        if slot := try_slot():
            if is_next(run):
                return slot
            slot.release()
        time.sleep(POLL)
    _write(run, at_last_point(run, state="stopped"))
    return None


def at_last_point(run: Run, **changes: Any) -> Status:
    """Where the run had come to, without its last worker and error; `changes` on top."""
    fresh = {"pid": None, "error": None, "doing": "", "heartbeat": time.time(), "since": time.monotonic()}
    return run.status().model_copy(update=fresh | changes)


def work(run: Run) -> Iterator[Status]:
    """Queue, train, pause and stop as asked; a Status a few times a second. Raises UserError."""
    while slot := wait_for_slot(run):
        try:
            paused = yield from train_in_slot(run)
        finally:
            slot.release()
        if not paused:
            return
        while run.wish == "pause":
            time.sleep(POLL)


def train_in_slot(run: Run) -> Generator[Status, None, bool]:
    """Train until the end, a stop or a pause; whether it was a pause."""
    yield _write(run, at_last_point(run, state="running", doing="starting", pid=os.getpid()))
    # Imported once it is this run's turn: a queue of waiting processes need not hold torch in memory.
    from genmodels.session import Session

    session, wish, over = Session(run, slots()), "run", ""
    looked = time.monotonic()
    for status in session.train():
        yield _write(run, status)
        over = demo.used_up(status.step, status.seconds)
        if (wish := run.wish) != "run" or over:
            break
        if demo.on() and time.monotonic() - looked > LOG_EVERY:
            demo.room()
            looked = time.monotonic()
    whole = session.status().share >= 1
    if over and not whole:
        session.checkpoint()
    if over or whole:
        _write(run, session.status(state="running", doing="evaluating"))
        session.summarize()
        yield _write(run, session.status(state="finished", doing="" if whole else over))
        return False
    session.checkpoint()
    if wish == "pause":  # in a demo nobody keeps a process, and its memory, while doing nothing
        yield _write(run, session.status(state="stopped" if demo.on() else "paused"))
        return not demo.on()
    yield _write(run, session.status(state="stopped"))
    session.summarize()
    return False


def _write(run: Run, status: Status) -> Status:
    run.write_status(status)
    return status


def fail(run: Run, error: str) -> None:
    """Mark the run as failed, with the sentence; on a full disk at least over the old status."""
    status = at_last_point(run, state="failed", error=error)
    try:
        run.write_status(status)
    except UserError:
        (run.path / "status.json").write_text(status.model_dump_json())


@contextlib.contextmanager
def holding(run: Run) -> Iterator[None]:
    """Hold the run's lock; a second worker of the same run is refused."""
    try:
        with run.lock().acquire(timeout=600):  # an earlier worker may still measure its result
            yield
    except Timeout:
        raise UserError(f"The run {run.id} is already being trained by another process.") from None


def run_to_end(run: Run) -> Iterator[Status]:
    """`work`, as the only worker of the run; whatever goes wrong ends as a failed run with a sentence."""
    with holding(run):
        try:
            yield from work(run)
        except UserError as error:
            fail(run, str(error))
            raise
        except (MemoryError, RuntimeError) as error:  # torch has no kind of its own for it on a processor
            if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
                raise
            words = "There is not enough memory for this: choose smaller batches, smaller images or a smaller model."
            fail(run, words)
            raise UserError(words) from None


def bound_memory() -> None:
    """In a demo the process gets no more than its share: else one large model would end everybody's server."""
    if demo.on():
        import resource  # not on every system

        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (demo.quotas().memory * demo.MB, most))


def told() -> Path | None:
    """The run's path from the input, None where the starter has gone. Who has to wait imports what takes time."""
    if os.name == "nt" or not select.select([sys.stdin], [], [], 0)[0]:
        import genmodels.session  # noqa: F401

    path = os.fsdecode(sys.stdin.buffer.read())
    if not path:
        return None
    log = os.open(Path(path) / "log.txt", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    for stream in (1, 2):  # also what native code says
        os.dup2(log, stream)
    return Path(path)


def follow(run: Run) -> None:
    """Train, and say now and then how it goes: what is left to read when the process is killed. Raises UserError."""
    said = -LOG_EVERY
    for status in run_to_end(run):
        if time.monotonic() - said > LOG_EVERY:
            said = time.monotonic()
            print(f"{status.state} {status.doing}, step {status.step:,}, {status.images_per_second:,.0f} images/s")


def step_back() -> None:
    """A process beside the server: the page that watches answers first."""
    demo.give_way()
    bound_memory()


def main(path: Path | None) -> int:
    step_back()
    path = path or told()
    if path is None:
        return 0
    run = Run(path)

    def stop(signum: int, frame: FrameType | None) -> None:
        run.ask("stop")

    signal.signal(signal.SIGTERM, stop)
    try:
        with in_space(space_of(run.path)):
            follow(run)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) if len(sys.argv) > 1 else None))
