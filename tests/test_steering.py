"""Knobs turned while a model trains: at the next step, on record, and replayed to the same weights."""

import pytest
import torch

from genmodels import exchange, jobs, steering
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.runs import Run
from genmodels.session import Session
from genmodels.steering import Turn
from genmodels.worker import run_to_end
from tests.conftest import data_for
from tests.forking import at_steps, kill_9
from tests.test_exchange import files_of, zipped
from tests.test_worker import in_state, wait_for_kill, wait_until

SMALL = {"latent_size": 4, "hidden_size": 16, "threads": 1}


def weights(run: Run) -> bytes:
    return (run.path / "weights.safetensors").read_bytes()


def losses(run: Run) -> list[tuple[int, dict[str, float]]]:
    return [(point["step"], point["train"]) for point in run.metrics()]


def to_end(run: Run) -> Run:
    for _ in run_to_end(run):
        pass
    return run


def turning(run: Run, step: int, values: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Train to the end; a person asks for the values when `step` updates have been made, and is seen at once."""
    monkeypatch.setattr(steering, "LOOK_EVERY", 0.0)
    for status in run_to_end(run):
        if status.step == step:
            steering.turn(run, values)
    return run


def test_a_turn_takes_effect_at_the_next_step_and_stands_in_the_record(new_run, monkeypatch) -> None:
    plain = to_end(new_run(budget=40, log_every=1, **SMALL))
    run = turning(new_run(budget=40, log_every=1, **SMALL), 20, {"beta": 30.0}, monkeypatch)
    # The step during which it was asked for is done; the worker looks after the next one.
    assert steering.record(run) == [Turn(21, {"beta": 30.0})]
    assert losses(run)[:22] == losses(plain)[:22], "the loss of step 22 is taken before its update"
    assert losses(run)[22] != losses(plain)[22]
    assert losses(run)[-1][1]["kl"] < losses(plain)[-1][1]["kl"], "a larger beta presses the KL down"
    assert steering.asked(run) == {}


@pytest.mark.parametrize("decay", ["cosine", "constant"])
def test_the_learning_rate_is_turned_under_any_schedule(decay: str, new_run, monkeypatch) -> None:
    run = new_run(budget=40, log_every=1, decay=decay, **SMALL)
    turning(run, 20, {"learning_rate": 0.0005}, monkeypatch)
    session = torch.load(run.path / "resume.pt", weights_only=True)
    (group,) = session["training"]["optimizers"]["vae"]["param_groups"]
    assert group["initial_lr"] == 0.0005
    factor = 0.5 * (1 + torch.cos(torch.tensor(torch.pi * 39 / 40, dtype=torch.float64)).item())
    assert group["lr"] == pytest.approx(0.0005 * (factor if decay == "cosine" else 1))


@pytest.mark.parametrize("family", FAMILIES)
def test_the_record_replays_to_the_same_weights(family: str, new_run, monkeypatch) -> None:
    small = {"latent_size": 4, "hidden_size": 16, "width": 8, "blocks": 1}
    knobs = {name: size for name, size in small.items() if name in FAMILIES[family].Config.model_fields}
    knobs |= {"dataset": data_for(family), "budget": 30, "log_every": 1}
    run = new_run(family, **knobs)
    values = dict.fromkeys(steering.knobs(run.config), 0.01)
    turning(run, 10, values, monkeypatch)
    again, plain = new_run(family, **knobs), to_end(new_run(family, **knobs))
    steering.replace(again, steering.record(run))
    to_end(again)
    assert weights(again) == weights(run)
    assert losses(again) == losses(run)
    assert weights(plain) != weights(run)


def test_a_turn_at_the_first_step_is_the_knob_itself(new_run) -> None:
    one, two = new_run(beta=4.0, **SMALL), new_run(beta=1.0, **SMALL)
    steering.replace(two, [Turn(0, {"beta": 4.0})])
    assert weights(to_end(one)) == weights(to_end(two))


def test_after_kill_9_a_steered_run_is_the_one_that_never_stopped(forked, new_run, monkeypatch) -> None:
    plan = {"budget": 400, "log_every": 25, **SMALL}
    killed = new_run(**plan)
    turns = [{"beta": 8.0}, {"learning_rate": 0.0005}, {"beta": 0.5}]
    happens = at_steps(monkeypatch)

    def nothing(run: Run) -> None: ...

    def turned(number: int) -> bool:
        return len(steering.record(killed)) > number

    for number, step in enumerate((110, 210, 310)):  # no worker goes on from here before the turn is asked for
        happens[step] = lambda run, number=number: wait_until(lambda: steering.asked(run) or turned(number))
    happens[120] = kill_9  # before any later checkpoint: the record alone knows of the turn
    jobs.start(killed)
    for number, values in enumerate(turns):
        wait_until(lambda number=number: killed.status().step >= 100 * (number + 1))
        steering.turn(killed, values)
        wait_until(lambda number=number: turned(number))
        if number == 1:
            continue
        wait_for_kill(killed)
        happens |= {120: nothing, 320: kill_9 if number == 0 else nothing}
        jobs.resume(killed)
    wait_until(in_state(killed, "finished"))
    assert [each.values for each in steering.record(killed)] == turns
    whole = new_run(**plan)
    steering.replace(whole, steering.record(killed))
    assert weights(to_end(whole)) == weights(killed)
    assert losses(whole) == losses(killed)


def test_a_steered_run_that_was_stopped_goes_on_the_same(new_run, monkeypatch) -> None:
    plan = {"budget": 100, "log_every": 1, **SMALL}
    whole = turning(new_run(**plan), 30, {"beta": 4.0}, monkeypatch)
    stopped = new_run(**plan)
    steering.replace(stopped, steering.record(whole))
    for status in run_to_end(stopped):
        if status.step == 60:
            stopped.ask("stop")
    assert stopped.status().state == "stopped"
    stopped.ask("run")
    assert weights(to_end(stopped)) == weights(whole)


def test_who_turns_a_knob_takes_over_from_what_was_to_be_replayed(new_run, monkeypatch) -> None:
    run = new_run(budget=40, log_every=1, **SMALL)
    steering.replace(run, [Turn(5, {"beta": 2.0}), Turn(35, {"beta": 9.0})])
    turning(run, 20, {"beta": 3.0}, monkeypatch)
    assert steering.record(run) == [Turn(5, {"beta": 2.0}), Turn(21, {"beta": 3.0})]


def test_what_is_asked_for_before_it_starts_holds_from_the_first_step(new_run) -> None:
    run = new_run(budget=3, log_every=1, **SMALL)
    steering.turn(run, {"beta": 4.0})
    to_end(run)
    (turn,) = steering.record(run)
    assert turn == Turn(0, {"beta": 4.0})
    assert weights(run) == weights(to_end(new_run(budget=3, log_every=1, beta=4.0, **SMALL)))


def test_where_the_knobs_stand(new_run) -> None:
    config, turns = new_run(learning_rate=0.01).config, [Turn(3, {"beta": 4.0}), Turn(7, {"beta": 2.0})]
    assert steering.values_at(config, turns, 2) == {"beta": 1, "learning_rate": 0.01}
    assert steering.values_at(config, turns, 3)["beta"] == 4
    assert steering.values_at(config, turns, 9)["beta"] == 2
    assert steering.in_words(turns) == "beta 4 after step 3, beta 2 after step 7"


def test_a_slider_s_values_span_the_knob_by_magnitude(new_run) -> None:
    config = new_run().config
    betas = steering.choices(config, "beta", 3.3)
    assert (betas[0], betas[-1]) == (0, 1000)
    assert {0.001, 0.5, 1, 1.25, 3.3, 8, 100} <= set(betas)
    assert betas == sorted(set(betas))
    rates = steering.choices(config, "learning_rate")
    assert (rates[0], rates[-1], len(rates)) == (1e-6, 1, 61)


def test_a_copy_from_the_command_line_is_steered_the_same(new_run, monkeypatch, tmp_path) -> None:
    from genmodels.__main__ import main

    run = turning(new_run(budget=40, log_every=1, **SMALL), 20, {"beta": 30.0}, monkeypatch)
    assert main(["again", run.id, "--out", str(tmp_path / "copy")]) == 0
    copy = Run(tmp_path / "copy")
    assert weights(copy) == weights(run)
    assert copy.config.parent == run.id


@pytest.mark.parametrize(
    "values",
    [{"beta": -1}, {"beta": 1e9}, {"beta": float("nan")}, {"beta": True}, {"latent_size": 3}, {"beta": "4"}, {}],
)
def test_a_value_that_a_knob_cannot_have_is_refused_with_a_sentence(values: dict, new_run) -> None:
    run = new_run()
    with pytest.raises(UserError) as error:
        steering.turn(run, values)
    assert "\n" not in str(error.value)
    assert steering.asked(run) == {}


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"3", b'{"beta": -4}', b'{"beta": NaN}', b'{"shell": 1}', b"\xff", b"[" * 100_000]
)
def test_a_damaged_request_is_ignored(content: bytes, new_run) -> None:
    run = new_run(budget=5, log_every=1, **SMALL)
    (run.path / steering.ASKED).write_bytes(content)
    to_end(run)
    assert run.status().state == "finished"
    assert steering.record(run) == []


DAMAGED = [
    b"\n", b"3\n", b"{}\n", b'{"step": 1}\n', b'{"step": -1, "beta": 2}\n', b'{"step": 1.5, "beta": 2}\n',
    b'{"step": 1, "beta": 1e9}\n', b'{"step": 1, "seed": 3}\n', b'{"step": 9, "beta": 2}\n{"step": 3, "beta": 2}\n',
    b"\xff\n", b"[" * 100_000 + b"\n", b'{"step": true, "beta": 2}\n',
]  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED)
def test_a_damaged_record_stops_the_run_with_a_sentence(content: bytes, new_run) -> None:
    run = new_run(**SMALL)
    (run.path / steering.RECORD).write_bytes(content)
    with pytest.raises(UserError, match="steering record"):
        Session(run)
    with pytest.raises(UserError):
        list(run_to_end(run))
    assert run.status().state == "failed"


def test_a_last_line_that_was_cut_off_was_never_followed(new_run) -> None:
    run = new_run(**SMALL)
    (run.path / steering.RECORD).write_bytes(b'{"step": 3, "beta": 2.0}\n{"step": 7, "be')
    assert steering.record(run) == [Turn(3, {"beta": 2.0})]
    steering.add(run, Turn(9, {"beta": 5.0}))
    assert steering.record(run) == [Turn(3, {"beta": 2.0}), Turn(9, {"beta": 5.0})]


def test_the_disk_is_asked_a_few_times_a_second_however_fast_the_steps(new_run, monkeypatch) -> None:
    session = Session(new_run(**SMALL))
    looks: list[int] = []
    monkeypatch.setattr(steering, "take", lambda run: looks.append(1) or {})
    for step in range(10_000):
        session.helm.between(step, step * 1e-4)
    assert 9 <= len(looks) <= 11, "once in a tenth of the second that this took"


def test_the_record_travels_with_the_run_and_is_checked(trained) -> None:
    run = trained(budget=3, log_every=1, hidden_size=8)
    steering.replace(run, [Turn(2, {"beta": 4.0})])
    packed = exchange.pack(run)
    run.delete()
    assert steering.record(exchange.unpack(packed)) == [Turn(2, {"beta": 4.0})]
    for content in DAMAGED:
        with pytest.raises(UserError, match="steering"):
            exchange.unpack(zipped({**files_of(packed), steering.RECORD: content}))


def test_a_number_larger_than_any_is_refused_in_a_sentence(new_run) -> None:
    with pytest.raises(UserError, match="takes a number"):
        steering.checked(new_run("vae").config, {"beta": 10**400})
