"""Workers as processes of their own: they survive kills, queue for a slot, and obey within a second."""

import contextlib
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from genmodels import jobs, runs
from genmodels.config import UserError
from genmodels.families import vae
from genmodels.runs import Run, Status
from genmodels.training import DivergedError
from genmodels.worker import run_to_end
from tests.forking import at_steps, kill_9

LONG = {"budget": 1_000_000, "decay": "constant"}


def wait_until(true: Callable[[], object], seconds: float = 30) -> float:
    """How long it took; fails when it takes longer than `seconds`."""
    started = time.monotonic()
    while not true():
        assert time.monotonic() - started < seconds, "it did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - started


def in_state(run: Run, *states: str) -> Callable[[], bool]:
    return lambda: run.status().state in states


def trains(run: Run) -> Callable[[], bool]:
    return lambda: run.status().state == "running" and run.status().step > 0


@pytest.fixture
def started(new_run):
    """Runs whose workers are ended with the test, by their own process ids."""
    made: list[Run] = []

    def start(**settings: object) -> Run:
        run = new_run(**settings)
        made.append(run)
        jobs.start(run)
        return run

    yield start
    made = [run for run in made if run.path.exists()]
    for run in made:
        jobs.stop(run)
    for run in made:
        wait_until(lambda run=run: not run.status().active)


def test_pause_resume_and_stop_whatever_folder_the_app_was_started_from(started, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    run = started(**LONG)
    wait_until(trains(run))
    jobs.pause(run)
    wait_until(in_state(run, "paused"))
    step = run.status().step
    time.sleep(0.3)
    assert run.status().step == step
    jobs.resume(run)
    wait_until(lambda: run.status().step > step)
    jobs.stop(run)
    wait_until(in_state(run, "stopped"))
    step = run.status().step
    jobs.resume(run)
    wait_until(lambda: run.status().step > step)
    steps = [point["step"] for point in run.metrics()]
    assert steps == sorted(set(steps))


def test_more_runs_than_slots_wait_in_line(forked, started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENMODELS_SLOTS", "1")
    first = started(**LONG)
    wait_until(trains(first))
    second, third = started(**LONG), started(**LONG)
    wait_until(lambda: second.status().pid and third.status().pid)
    assert jobs.place_in_queue(second, second.status()) == 1
    assert jobs.place_in_queue(third, third.status()) == 2
    assert jobs.place_in_queue(first, first.status()) is None
    jobs.stop(second)
    wait_until(in_state(second, "stopped"))
    jobs.pause(first)
    wait_until(trains(third))
    assert first.status().state == "paused"


def test_a_killed_worker_shows_as_failed_and_can_be_resumed_and_a_terminated_one_saves(forked, started) -> None:
    run = started(**LONG)
    wait_until(trains(run))
    os.kill(run.status().pid, signal.SIGKILL)
    wait_until(in_state(run, "failed"), 2)
    assert "ended unexpectedly" in run.status().error
    step = run.status().step
    jobs.resume(run)
    wait_until(lambda: run.status().state == "running" and run.status().step > step)
    os.kill(run.status().pid, signal.SIGTERM)
    wait_until(in_state(run, "stopped"))
    assert torch.load(run.path / "resume.pt", weights_only=True)["training"]["step"] == run.status().step


def test_a_worker_outlives_the_process_that_started_it(new_run) -> None:
    run = new_run(**LONG)
    script = f"import sys; from genmodels import jobs, runs; jobs.start(runs.find({run.id!r})); sys.exit(0)"
    subprocess.run([sys.executable, "-c", script], check=True)
    wait_until(trains(run))
    step = run.status().step
    wait_until(lambda: run.status().step > step)
    jobs.stop(run)
    wait_until(in_state(run, "stopped"))


@pytest.fixture
def spare() -> Iterator[subprocess.Popen[bytes]]:
    """The worker that stands by; ended with the test if nobody took it."""
    jobs.stand_by()
    (waiting,) = jobs._spare
    yield waiting
    for left in jobs._spare:
        left.kill()
        left.wait()
    jobs._spare.clear()


def test_a_worker_that_stands_by_takes_the_next_run(spare, started) -> None:
    jobs.stand_by()
    assert jobs._spare == [spare], "one is enough"
    run = started(**LONG)
    wait_until(trains(run))
    assert run.status().pid == spare.pid
    assert not jobs._spare
    jobs.stop(run)
    wait_until(in_state(run, "stopped"))
    wait_until(lambda: spare.poll() == 0)
    assert "images/s" in (run.path / "log.txt").read_text()


def test_two_who_start_in_the_same_moment_get_a_worker_each(spare, new_run) -> None:
    made = [new_run(**LONG), new_run(**LONG)]
    threads = [threading.Thread(target=jobs.start, args=(run,)) for run in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    try:
        wait_until(lambda: all(run.status().pid is not None for run in made))
        assert len({run.status().pid for run in made}) == 2
    finally:
        for run in made:
            jobs.stop(run)
            wait_until(lambda run=run: not run.status().active)


def test_a_spare_that_was_killed_is_not_waited_for(spare, started) -> None:
    spare.kill()
    spare.wait()
    run = started(**LONG)
    wait_until(trains(run))
    assert run.status().pid != spare.pid


def test_a_spare_ends_with_the_one_who_started_it() -> None:
    script = "from genmodels import jobs; jobs.stand_by(); print(jobs._spare[0].pid)"
    said = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout

    def gone() -> bool:
        try:
            os.kill(int(said), 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{said.strip()}/stat")
        return stat.exists() and stat.read_text().split()[2] == "Z"  # ended, and not yet reaped

    wait_until(gone)


def wait_for_kill(run: Run) -> None:
    """That of the worker that was started last."""
    wait_until(lambda: jobs._workers[-1].poll() == signal.SIGKILL)
    wait_until(in_state(run, "failed"), 5)


def test_after_kill_9_a_resumed_run_is_the_one_that_never_stopped(forked, new_run, started, monkeypatch) -> None:
    """Bit for bit on one thread: losses at every point, weights, optimiser, noise. Killed at random moments: see
    tests/test_faults.py."""
    plan = {"budget": 400, "log_every": 25, "threads": 1, "latent_size": 4, "hidden_size": 32}
    whole = new_run(**plan)
    for _ in run_to_end(whole):
        pass
    happens = at_steps(monkeypatch)
    happens[110] = kill_9
    killed = started(**plan)
    wait_for_kill(killed)
    assert saved_step(killed) == 1
    happens |= {110: jobs.pause, 260: kill_9}
    jobs.resume(killed)
    wait_until(in_state(killed, "paused"))
    jobs.resume(killed)
    wait_for_kill(killed)
    assert saved_step(killed) >= 110
    happens.clear()
    jobs.resume(killed)
    wait_until(in_state(killed, "finished"))
    losses = [[(p["step"], p["train"], p["test"]) for p in run.metrics()] for run in (whole, killed)]
    assert losses[0] == losses[1]
    assert (whole.path / "weights.safetensors").read_bytes() == (killed.path / "weights.safetensors").read_bytes()
    assert [s for s in whole.snapshots() if s not in killed.snapshots()] == []
    final = [torch.load(run.path / "resume.pt", weights_only=True)["training"] for run in (whole, killed)]
    assert torch.equal(final[0]["generator"], final[1]["generator"])


def test_stopping_between_two_points_changes_nothing_either(new_run) -> None:
    """The pause may fall between two points of the curves: their mean must still be over all the steps."""
    plan = {"budget": 400, "log_every": 100, "latent_size": 4, "hidden_size": 16}
    whole, paused = new_run(**plan), new_run(**plan)
    for _ in run_to_end(whole):
        pass
    from genmodels.session import Session

    first = Session(paused)
    for step in itertools.islice(first_steps(first), 150):
        first.pending.append(step.losses)
        if step.number in (1, 100):
            first._record(step, step.number == 1, False)
    first.checkpoint()
    paused.ask("run")
    for _ in run_to_end(paused):
        pass
    assert [p["train"] for p in whole.metrics()] == [p["train"] for p in paused.metrics()]


def first_steps(session):
    from genmodels import training

    return training.train(session.model, session.train_images, session.schedule, session.state)


def test_a_run_that_diverges_says_so_and_keeps_its_last_good_weights(new_run, monkeypatch) -> None:
    run = new_run(budget=5000, log_every=1)
    terms = vae.Model.terms

    def poisoned(model, batch):
        reconstruction, kl, z = terms(model, batch)
        return reconstruction * (float("nan") if batch.step >= 50 else 1), kl, z

    monkeypatch.setattr(vae.Model, "terms", poisoned)
    with pytest.raises(DivergedError):
        list(run_to_end(run))
    status = run.status()
    assert status.state == "failed"
    assert "no longer a number at step 5" in status.error
    assert all(torch.isfinite(parameter).all() for parameter in run.model.parameters())


def test_a_finished_run_cannot_be_resumed(trained) -> None:
    with pytest.raises(UserError, match="used its budget"):
        jobs.resume(trained())


def test_a_dataset_that_is_gone_fails_the_run_with_a_sentence(new_run, home) -> None:
    from PIL import Image

    folder = home / "pictures"
    folder.mkdir(parents=True)
    for number in range(12):
        Image.new("L", (8, 8), number * 20).save(folder / f"{number}.png")
    run = new_run("autoencoder", f"folder:{folder}", size=8)
    for picture in folder.iterdir():
        picture.unlink()
    with pytest.raises(UserError):
        list(run_to_end(run))
    assert run.status().state == "failed"
    assert run.status().error


def test_a_status_of_the_future_is_not_alive_for_ever(new_run) -> None:
    run = new_run()
    run.write_status(Status(state="queued", heartbeat=time.time() + 10_000))
    assert run.status().state == "failed"


def test_a_run_has_one_worker_and_can_be_deleted_only_when_that_has_written_its_last(forked, started) -> None:
    run = started(**LONG)
    wait_until(trains(run))
    with pytest.raises(UserError, match="already running"):
        jobs.start(run)
    with pytest.raises(runs.Timeout):
        run.lock().acquire(blocking=False)
    jobs.stop(run)
    wait_until(in_state(run, "stopped"))
    wait_until(lambda: gone(run))
    time.sleep(0.5)
    assert not run.path.exists(), "the worker wrote into a deleted run"
    assert runs.all_runs() == []


def gone(run: Run) -> bool:
    """Try to delete it; refused while its worker still writes."""
    with contextlib.suppress(UserError):
        run.delete()
    return not run.path.exists()


def test_an_imported_run_is_not_trained_from_zero_over_its_weights(trained, home) -> None:
    from genmodels import exchange

    run = trained("vae", budget=40)
    run.write_status(run.status().model_copy(update={"state": "stopped", "share": 0.5}))
    brought = exchange.unpack(exchange.pack(run))
    before = (brought.path / "weights.safetensors").read_bytes()
    with pytest.raises(UserError, match="came without a checkpoint"):
        jobs.resume(brought)
    assert (brought.path / "weights.safetensors").read_bytes() == before
    assert brought.metrics() == run.metrics()


def test_final_figures_of_an_earlier_stop_are_forgotten(new_run) -> None:
    run = new_run(budget=400, log_every=20)
    for status in run_to_end(run):
        if status.step >= 100:
            run.ask("stop")
    assert run.summary()
    run.ask("run")
    half, other = run.path / ".live.npz-x", run.path / ".tsne-9-5-0.npz-x"  # of a killed worker; of the server
    for each in (half, other):
        each.touch()
    training = run_to_end(run)
    while next(training).doing != "training":
        pass
    assert run.summary() == {}
    assert run.arrays("latents") == {}
    assert (half.exists(), other.exists()) == (False, True)
    list(training)
    assert run.summary()


def test_checkpoints_do_not_wait_for_the_next_point(new_run, monkeypatch) -> None:
    from genmodels import session

    monkeypatch.setattr(session, "CHECKPOINT_EVERY", 0.1)
    run = new_run(budget=1_000_000, log_every=1_000_000)
    training = run_to_end(run)
    while not (run.path / "resume.pt").exists() or saved_step(run) < 2:
        next(training)
    training.close()
    assert run.metrics()[0]["step"] == 1, "a first point there is, however long the interval"


def saved_step(run: Run) -> int:
    return torch.load(run.path / "resume.pt", weights_only=True)["training"]["step"]
