"""The line of a demo: fair to each visitor, and its runs are as safe as any."""

import time

import pytest

from genmodels import demo, jobs, line, worker
from genmodels.config import UserError
from genmodels.files import in_space, shared_home
from genmodels.runs import Run
from genmodels.worker import run_to_end
from tests.visitors import finish, kept, pictures

pytestmark = pytest.mark.usefixtures("as_demo")


def test_one_with_many_runs_does_not_make_the_others_wait(ada: str, bob: str, new_run, called: list[str]) -> None:
    made: dict[str, list[Run]] = {}
    for key, count in ((ada, 4), (bob, 2)):
        with in_space(key):
            made[key] = [new_run(seed=seed) for seed in range(count)]
            for run in made[key]:
                jobs.start(run)
    a, b = made[ada], made[bob]
    assert called == [a[0].id]
    line._last = (-line.LOOK, *line._last[1:])
    places = [jobs.place_in_queue(run, run.status()) for run in (b[0], a[1], b[1], a[2], a[3])]
    assert places == [1, 2, 3, 4, 5]
    while len(called) < 6:
        finish(Run(next(run.path for run in a + b if run.id == called[-1])))
        jobs.call_next()
    assert called == [run.id for run in (a[0], b[0], a[1], b[1], a[2], a[3])]


def test_who_had_a_turn_waits_for_who_was_there_and_not_for_who_keeps_arriving(ada, bob, new_run, called) -> None:
    def begun(key: str, seed: int = 0) -> Run:
        with in_space(key):
            run = new_run(seed=seed)
            jobs.start(run)
        return run

    a, b = [begun(ada), begun(ada, 1)], begun(bob)
    finish(a[0])
    jobs.call_next()
    begun(demo.new_space())
    finish(b)
    jobs.call_next()
    assert called == [a[0].id, b.id, a[1].id]


def test_who_waits_is_stopped_at_once_and_is_no_orphan(ada: str, new_run, called: list[str]) -> None:
    with in_space(ada):
        first, second = new_run(), new_run(seed=1)
        jobs.start(first)
        jobs.start(second)
    waiting = second.status()
    second.write_status(waiting.model_copy(update={"heartbeat": time.time() - 3600}))
    assert second.status().state == "queued"
    jobs.stop(second)
    assert second.status().state == "stopped"
    finish(first)
    jobs.call_next()
    assert called == [first.id]
    with in_space(ada):
        jobs.resume(second)
    assert called == [first.id, second.id]


def test_a_run_that_cannot_get_a_worker_does_not_hold_up_the_line(ada: str, new_run, monkeypatch) -> None:
    def full(run: Run) -> None:
        raise UserError("The disk is full.")

    monkeypatch.setattr(jobs, "_employ", full)
    with in_space(ada):
        run = new_run()
        jobs.start(run)
    assert run.status().state == "failed"
    assert not line.everybody()


def test_a_pause_gives_everything_back(ada: str, new_run) -> None:
    with in_space(ada):
        run = new_run(budget=10_000)
        steps = run_to_end(run)
        next(status for status in steps if status.step)
        jobs.pause(run)
        assert [*steps][-1].state == "stopped"
        assert run.can_resume(run.status())


def test_a_worker_of_a_demo_trains_in_its_own_space(ada: str, new_run, monkeypatch) -> None:
    name = kept(ada, pictures(1, 40))
    gave: list[str] = []
    monkeypatch.setattr(demo, "give_way", lambda: gave.append("way"))
    for each in ("signal.signal", "genmodels.worker.bound_memory"):  # it is this process here
        monkeypatch.setattr(each, lambda *_: None)
    with in_space(ada):
        run = new_run(dataset=name, budget=3)
    with in_space(None):
        worker.main(run.path)
    assert run.status().state == "finished", run.last_words()
    assert gave == ["way"]
    assert not (shared_home() / "runs").exists()


def test_too_little_memory_is_a_sentence(ada: str, new_run, monkeypatch) -> None:
    def large(run: Run) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")

    monkeypatch.setattr(worker, "work", large)
    with in_space(ada):
        run = new_run()
        with pytest.raises(UserError, match="not enough memory"):
            list(run_to_end(run))
    assert "smaller batches" in str(run.status().error)
