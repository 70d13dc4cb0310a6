"""What goes wrong around a run: kills at random moments, a clock that is set, two servers on one home, a deletion."""

import contextlib
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from genmodels import exchange, jobs, runs, session, worker
from genmodels.config import UserError
from genmodels.runs import Run, Status, all_runs
from genmodels.worker import run_to_end
from tests.soak import KILLS, WHOLE
from tests.test_pages import visit
from tests.test_worker import LONG, in_state, trains, wait_until

HOUR = 3600.0


def whole(run: Run) -> None:
    """Everything that is there of it can be read, and belongs together."""
    assert [each.id for each in all_runs()] == [run.id]
    run = Run(run.path)  # nothing from memory
    points = run.metrics()
    lines = (run.path / "metrics.jsonl").read_bytes() if points else b""
    assert len(points) == lines.count(b"\n"), "each line is a point"
    assert [p["step"] for p in points] == sorted({p["step"] for p in points})
    for step in run.snapshots():
        assert run.arrays(f"snapshots/{step}")
    run.arrays("live")
    if (run.path / "resume.pt").exists():
        torch.load(run.path / "resume.pt", weights_only=True)
    if run.stamp:
        load_file(run.path / "weights.safetensors")
        assert torch.isfinite(run.model.decode(torch.zeros(1, 2))).all()
    exchange.pack(run)


def test_a_worker_killed_at_random_moments_loses_and_corrupts_nothing(new_run, forked, monkeypatch) -> None:
    """Each time it goes on, and what it comes to is bit for bit what a run that nobody touched comes to."""
    monkeypatch.setattr(session, "CHECKPOINT_EVERY", 0.03)  # so that many kills hit it while it saves
    plan = {"budget": 300, "log_every": 10, "latent_size": 2, "hidden_size": 8}
    untouched = new_run(**plan)
    for _ in run_to_end(untouched):
        pass
    losses, weights = told(untouched), load_file(untouched.path / "weights.safetensors")
    untouched.delete()
    monkeypatch.setattr(runs, "STARTING", 0.0)  # one that was killed before it held its lock is not waited for
    moments, kills = random.Random(None if WHOLE else 0), 0
    while kills < KILLS:
        run = new_run(**plan)
        while kills < KILLS and run.status().state != "finished":
            jobs.start(run)
            time.sleep(moments.uniform(0, 0.5))
            os.kill(jobs._workers[-1].pid, signal.SIGKILL)
            wait_until(lambda: jobs._workers[-1].poll() is not None)
            kills += 1
            whole(run)
        if run.status().state != "finished":
            jobs.resume(run)
        wait_until(in_state(run, "finished"), 120)
        with run.lock().acquire(timeout=30):
            assert told(run) == losses
        assert not list(run.path.rglob(".*-*")), "what was half written is gone"
        found = load_file(run.path / "weights.safetensors")
        assert all(torch.equal(found[name], each) for name, each in weights.items())
        run.delete()


def told(run: Run) -> list[tuple]:
    return [(p["step"], p["train"], p["test"]) for p in run.metrics()]


# -- a clock that is set


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Set the clock of this process so many seconds forward; workers have their own."""
    real = time.time

    def set_to(ahead: float) -> None:
        monkeypatch.setattr(time, "time", lambda: real() + ahead)

    return set_to


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_a_clock_that_is_set_kills_no_run(new_run, forked, clock, ahead: float) -> None:
    run, seen = new_run(**LONG), set()
    jobs.start(run)
    clock(ahead)
    while not trains(run)():
        seen.add(run.status().state)
    assert seen <= {"queued", "running"}
    step = run.status().step
    wait_until(lambda: run.status().step > step)
    status = run.status()
    assert status.seconds >= 0
    assert (status.seconds_left or 0) >= 0
    jobs.pause(run)
    wait_until(in_state(run, "paused"))
    clock(0)
    jobs.resume(run)
    wait_until(lambda: run.status().step > step + 1)
    jobs.stop(run)
    wait_until(in_state(run, "stopped"))
    seconds = [point["seconds"] for point in run.metrics()]
    assert seconds == sorted(seconds)
    with run.lock().acquire(timeout=30):
        pass


@pytest.mark.parametrize("ahead", [HOUR, -HOUR])
def test_a_clock_that_is_set_lets_nobody_jump_the_queue(new_run, clock, ahead: float, monkeypatch) -> None:
    monkeypatch.setattr(jobs, "_told", lambda worker, run: True)
    monkeypatch.setattr(jobs, "_new_worker", lambda log: SimpleNamespace(poll=lambda: None))
    monkeypatch.setattr(jobs, "_workers", [])
    first, second, third = new_run(), new_run(), new_run()
    jobs.start(first)
    clock(ahead)
    jobs.start(second)
    clock(0)
    jobs.start(third)
    places = [jobs.place_in_queue(run, run.status()) for run in (first, second, third)]
    assert places == [1, 2, 3]


def test_a_run_whose_worker_is_gone_is_told_from_a_living_one_by_no_clock(new_run, clock) -> None:
    run = new_run()
    run.write_status(Status(state="running", pid=1, heartbeat=time.time()))
    for ahead in (HOUR, -HOUR, 0.0):
        clock(ahead)
        with run.lock().acquire():
            assert run.status().state == "running"
    assert run.status().state == "failed"


# -- two servers on one home


def in_another_process(work: Callable[[], object]) -> int:
    """Another server on this home: a fork of this process. -> its process id; it ends with 1 where work raised."""
    pid = os.fork()
    if pid == 0:
        code = 1
        with contextlib.suppress(BaseException):
            work()
            code = 0
        os._exit(code)
    return pid


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_two_servers_that_start_a_run_in_the_same_moment_start_it_once(new_run, forked, home, monkeypatch) -> None:
    monkeypatch.setenv("GENMODELS_SLOTS", "1")
    ask = Run.ask

    def slowly(run: Run, want: runs.Wish) -> None:
        ask(run, want)
        time.sleep(0.2)  # between looking whether it is active and saying that it is

    monkeypatch.setattr(Run, "ask", slowly)
    mine, theirs = new_run(**LONG), new_run(**LONG)
    both = [in_another_process(lambda order=order: tried_to_start(order, home)) for order in ([mine, theirs],) * 2]
    assert [ended(pid) for pid in both] == [0, 0]
    assert sorted((home / "started").read_text().split()) == sorted([mine.id, theirs.id]), "each of them once"
    monkeypatch.setattr(Run, "ask", ask)
    try:
        assert {run.id for run in all_runs()} == {mine.id, theirs.id}, "both servers list both"
        wait_until(lambda: trains(mine)() or trains(theirs)())
        running, waiting = (mine, theirs) if trains(mine)() else (theirs, mine)
        assert waiting.status().state == "queued"
        assert jobs.place_in_queue(waiting, waiting.status()) == 1
        with pytest.raises(UserError, match="already"):
            jobs.start(running)
        assert ended(in_another_process(lambda: jobs.stop(running))) == 0
        wait_until(in_state(running, "stopped"))
        wait_until(trains(waiting))
    finally:
        for run in (mine, theirs):
            jobs.stop(run)
        for run in (mine, theirs):
            with run.lock().acquire(timeout=30):
                pass
    steps = [[point["step"] for point in run.metrics()] for run in (mine, theirs)]
    assert all(each == sorted(set(each)) for each in steps), "no step was trained twice"


def tried_to_start(which: list[Run], home: Path) -> None:
    for run in which:
        with contextlib.suppress(UserError):
            jobs.start(run)
            with (home / "started").open("a") as file:
                file.write(f"{run.id}\n")


# -- a run that is deleted while somebody looks at it


def test_a_run_deleted_while_it_is_looked_at_leaves_a_sentence_and_a_way_out(trained) -> None:
    """In a browser too, while it trains: see tests/browser/test_faults.py."""
    run = trained("vae")
    app = visit("train", run=run.id)
    assert not app.exception
    run.delete()
    app.run()
    assert not app.exception
    assert "There is no run" in app.error[0].value
    assert app.get("page_link"), "a link to the gallery"


def test_a_run_deleted_while_its_page_is_drawn_is_no_failed_run(trained, monkeypatch) -> None:
    run, status = trained("vae"), Run.status

    def just_then(self: Run) -> Status:
        shutil.rmtree(self.path, ignore_errors=True)
        return status(self)

    monkeypatch.setattr(Run, "status", just_then)
    app = visit("train", run=run.id)
    assert "There is no run" in app.error[0].value


def test_a_worker_whose_run_is_deleted_under_it_ends_in_silence(new_run, home) -> None:
    run = new_run(**LONG)
    training = run_to_end(run)
    while next(training).step < 5:
        pass
    shutil.rmtree(run.path)
    with contextlib.suppress(UserError, FileNotFoundError):
        for _ in training:
            pass
    assert worker.queue() == []
    assert not (run.path / "config.json").exists()
    assert all_runs() == []
