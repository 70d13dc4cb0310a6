"""The clean comparison: the members start alike, see alike, draw alike; whatever else differs is named."""

import itertools
import time

import pytest
import torch

from genmodels import experiment, jobs, steering, training
from genmodels.config import Schedule, UserError
from genmodels.runs import Run, Status, all_runs
from genmodels.session import Session
from genmodels.steering import Turn
from genmodels.worker import run_to_end

STEPS = Schedule(budget=20, unit="steps", threads=1, device="cpu", log_every=1)
FAMILIES = ["vae", "multi-stage-vae"]


@pytest.fixture
def members(new_run, monkeypatch: pytest.MonkeyPatch):
    """Members of an experiment that has been queued but not started."""
    monkeypatch.setattr(jobs, "start", lambda run: None)

    def make(family: str = "vae", betas=(0.5, 4.0), budget: Schedule = STEPS) -> list[Run]:
        base = new_run(family, latent_size=4, hidden_size=16, seed=3)
        return experiment.start(experiment.plan(base.config, betas, budget, base.id))

    return make


def to_end(runs: list[Run]) -> list[Run]:
    for run in runs:
        for _ in run_to_end(run):
            pass
    return runs


def own_experiments() -> list[list[Run]]:
    """Without the one that comes with the package."""
    return [runs for runs in experiment.experiments().values() if not runs[0].shipped]


def test_every_family_with_a_beta_can_be_compared_but_where_it_changes_what_is_drawn() -> None:
    assert experiment.families() == FAMILIES


@pytest.mark.parametrize("family", FAMILIES)
def test_members_share_weights_batches_and_noise(family: str, members, monkeypatch) -> None:
    seen: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {}
    sessions = [Session(run) for run in members(family)]
    one, two = (session.model.state_dict() for session in sessions)
    assert all(torch.equal(one[name], two[name]) for name in one)
    for session in sessions:
        batches = seen.setdefault(session.run.id, [])
        step = session.model.step
        monkeypatch.setattr(
            session.model, "step",
            lambda batch, update, step=step, batches=batches: (
                batches.append((batch.images.clone(), batch.generator.get_state())), step(batch, update)
            )[1],
        )  # fmt: skip
        training_of = training.train(session.model, session.train_images, session.schedule, session.state)
        for _ in itertools.islice(training_of, 15):
            pass
    first, second = seen.values()
    assert len(first) == len(second) == 15
    for (images, noise), (other_images, other_noise) in zip(first, second, strict=True):
        assert torch.equal(images, other_images)
        assert torch.equal(noise, other_noise), "the generator has drawn the same before this step"
    one, two = (session.model.state_dict() for session in sessions)
    assert not all(torch.equal(one[name], two[name]) for name in one), "beta does make a difference"


@pytest.mark.parametrize("family", FAMILIES)
def test_only_beta_differs_and_the_first_losses_are_the_same(family: str, members) -> None:
    runs = to_end(members(family))
    named = experiment.labelled(runs)
    assert list(named) == ["0.5", "4"]
    assert experiment.confounders(named) == []
    assert len({run.config.experiment for run in runs}) == 1
    assert all(run.config.parent and run.config.seed == 3 for run in runs)
    assert runs[0].metrics()[0]["train"] == runs[1].metrics()[0]["train"], "measured before the first update"
    assert runs[0].metrics()[-1]["train"] != runs[1].metrics()[-1]["train"]
    for run in runs:
        found = experiment.terms(run)
        assert found["negative_elbo"] == pytest.approx(found["reconstruction"] + found["kl"], rel=1e-5)


def test_terms_come_from_the_newest_point_until_the_end(members) -> None:
    run = members()[0]
    assert experiment.terms(run) == {}
    run.append_metrics({"step": 1, "train": {}, "test": {"negative_elbo": 3.0, "reconstruction": 2.0, "kl": 1.0}})
    run.append_metrics({"step": 2, "train": {}})
    assert experiment.terms(run) == {"negative_elbo": 3.0, "reconstruction": 2.0, "kl": 1.0}


def setting_names(runs: list[Run]) -> set[str]:
    return {row["setting"] for row in experiment.confounders(experiment.labelled(runs))}


def test_whatever_else_differs_is_named(new_run, trained) -> None:
    one = trained(beta=1.0)
    assert setting_names([one, trained(beta=4.0)]) == set()
    assert setting_names([one, trained(beta=4.0, seed=1)]) == {"seed"}
    assert setting_names([one, trained(beta=4.0, latent_size=3, batch_size=64)]) == {"latent_size", "batch_size"}
    assert setting_names([one, trained(beta=4.0, budget=31)]) == {"budget", "steps made"}
    assert "family" in setting_names([one, trained("multi-stage-vae", beta=4.0)])
    assert setting_names([one, new_run(beta=4.0)]) == {"device used", "steps made"}, "it has not been trained"


def test_a_steered_member_confounds(trained) -> None:
    runs = [trained(beta=1.0), trained(beta=4.0)]
    steering.replace(runs[0], [Turn(5, {"beta": 2.0})])
    (row,) = experiment.confounders(experiment.labelled(runs))
    assert row == {"setting": "steered", "1": "beta 2 after step 5", "4": "no"}
    (runs[1].path / steering.RECORD).write_bytes(b"x\n")
    assert experiment.confounders(experiment.labelled(runs))[0]["4"] == "its record is damaged"


def test_while_they_train_how_far_each_has_come_is_no_difference(trained, new_run) -> None:
    done, waiting = trained(beta=1.0), new_run(beta=4.0)
    waiting.write_status(Status(state="queued", heartbeat=time.time()))
    assert setting_names([done, waiting]) == set()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not a number"), ("1, x", "'x' is not a number"), ("1", "2 to 8"), ("1, 1.0", "twice"),
        ("1, -1", "between 0 and 1,000, not -1"), ("1, 1e9", "not 1,000,000,000"), ("1, nan", "not nan"),
        ("1,2,3,4,5,6,7,8,9", "2 to 8"), ("1, inf", "not inf"),
    ],
)  # fmt: skip
def test_a_list_that_is_none_is_refused_with_a_sentence(text: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as error:
        experiment.betas_of(text, "vae")
    assert "\n" not in str(error.value)


def test_a_list_is_read_as_people_write_it() -> None:
    assert experiment.betas_of(" 4; 0.25 1,\n16 ", "vae") == [0.25, 1, 4, 16]


def test_minutes_are_no_budget_of_a_comparison(new_run) -> None:
    with pytest.raises(UserError, match="equal work"):
        experiment.plan(new_run().config, (1.0, 4.0), Schedule(budget=1, unit="minutes"))


def test_all_are_made_or_none(new_run, monkeypatch) -> None:
    base = new_run().config
    made = []

    def create(config):
        if made:
            raise UserError("The disk is full.")
        made.append(config)
        return new_run()

    monkeypatch.setattr(experiment, "create", create)
    before = len(all_runs())
    with pytest.raises(UserError, match="full"):
        experiment.start(experiment.plan(base, (1.0, 4.0), STEPS))
    assert len(all_runs()) == before


def test_what_was_started_is_stopped_and_deleted_when_the_next_cannot_be(new_run, monkeypatch) -> None:
    monkeypatch.setenv("GENMODELS_SLOTS", "1")
    base, start, told = new_run().config, jobs.start, []
    before = [run.id for run in all_runs()]

    def once(run: Run) -> None:
        told.append(run)
        if len(told) == 2:
            run.write_status(Status(state="queued"))  # as far as it came
            raise UserError("The disk is full.")
        start(run)

    monkeypatch.setattr(jobs, "start", once)
    long = Schedule(budget=1_000_000, unit="steps", threads=1, device="cpu")
    with pytest.raises(UserError, match="full"):
        experiment.start(experiment.plan(base, (1.0, 4.0, 8.0), long))
    assert len(told) == 2
    assert [run.id for run in all_runs()] == before


def test_experiments_are_found_again_and_put_together(members, trained) -> None:
    older = members()
    newer = members(betas=(1.0, 2.0, 3.0))
    assert [len(runs) for runs in own_experiments()] == [3, 2]
    assert next(reversed(experiment.experiments().values()))[0].shipped, "the ready-made one comes last"
    name = str(older[0].config.experiment)
    assert [run.id for run in experiment.members(name)] == [run.id for run in older]
    (newer[0].path / "config.json").write_text("{")
    assert len(experiment.experiments()[str(newer[1].config.experiment)]) == 2
    one, two = trained(beta=1.0), trained(beta=1.0, seed=1)
    together = experiment.labelled(experiment.assembled(f"{one.id},{two.id},{older[1].id}"))
    assert sorted(together) == sorted([f"1 ({one.id[-8:]})", f"1 ({two.id[-8:]})", "4"])


def test_two_runs_never_share_a_label(trained) -> None:
    paths = [trained(budget=2).path for _ in range(2)]
    runs = [Run(path.rename(path.with_name(name))) for path, name in zip(paths, ("one-dev", "two-dev"), strict=True)]
    assert list(experiment.labelled(runs)) == ["1 (one-dev)", "1 (two-dev)"]


def test_what_cannot_be_compared_is_refused_with_a_sentence(trained) -> None:
    run, other = trained(), trained("autoencoder")
    for text, words in (
        (run.id, "2 to 8"), (f"{run.id},{run.id}", "2 to 8"), (f"{run.id},gone", "no run 'gone'"),
        (f"{run.id},{other.id}", "has no beta"), (f"{run.id},../../etc", "no run"), (",".join("abcdefghi"), "2 to 8"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=words):
            experiment.assembled(text)
    with pytest.raises(UserError, match="no comparison"):
        experiment.members("x" * 500)


def test_queued_members_train_one_after_another(forked, new_run, monkeypatch) -> None:
    from tests.test_worker import wait_until

    monkeypatch.setenv("GENMODELS_SLOTS", "1")
    runs = experiment.start(experiment.plan(new_run(latent_size=4, hidden_size=16).config, (1.0, 4.0), STEPS))
    wait_until(lambda: all(run.status().state == "finished" for run in runs), 60)
    assert experiment.confounders(experiment.labelled(runs)) == []
    for run in runs:
        with run.lock().acquire(timeout=30):
            pass


def test_from_the_command_line(forked, trained, capsys) -> None:
    from genmodels.__main__ import main

    run = trained(hidden_size=16)
    assert main(["betas", run.id, "0.5,4", "--steps", "20"]) == 0
    (members,) = own_experiments()
    out = capsys.readouterr()
    assert all(member.id in out.out for member in members)
    assert "confounded" not in out.err
    assert main(["betas", run.id, "1,1", "--steps", "20"]) == 1
    assert main(["betas", trained("autoencoder").id, "1,2", "--steps", "20"]) == 1
    assert len(own_experiments()) == 1
