"""What one visitor of a demo may use, whichever way it is asked for."""

from collections.abc import Iterator

import pytest

from app import plan
from genmodels import demo, exchange, experiment, jobs, training
from genmodels.config import UserError
from genmodels.data import download, load
from genmodels.files import home, in_space
from genmodels.runs import all_runs
from genmodels.worker import run_to_end
from tests.test_pages import words
from tests.visitors import aged, kept, pictures, visit_as

pytestmark = pytest.mark.usefixtures("as_demo")


@pytest.mark.parametrize(
    ("name", "most", "settings", "sentence"),
    [
        ("minutes", "2", {"budget": 3, "unit": "minutes"}, "at most 2 minutes"),
        ("steps", "20", {"budget": 21, "unit": "steps"}, "at most 20 steps, and this is 21"),
        ("steps", "20", {"budget": 2, "unit": "epochs"}, "at most 20 steps, and this is 22"),
        ("parameters", "1000", {}, "parameters, and in this demo it may have 1,000"),
        ("batch", "1", {"batch_size": 193}, "looks at 193 images, and in this demo it may look at 192"),
        ("runs", "1", {}, "keeps 1 runs"),
        ("space", "1", {}, "1 MB and is full"),
    ],
)
def test_a_run_beyond_the_quota_is_refused_before_it_is_made(
    ada: str, new_run, monkeypatch, name: str, most: str, settings: dict[str, object], sentence: str
) -> None:
    with in_space(ada):
        new_run()
        (home() / "large").write_bytes(bytes(2**20))
        monkeypatch.setenv(f"GENMODELS_DEMO_{name.upper()}", most)
        with pytest.raises(UserError, match=sentence):
            new_run(seed=1, **settings)
        assert len(all_runs()) == 1


def test_an_imported_run_is_bound_by_the_quotas_too(ada: str, new_run, monkeypatch, called: list[str]) -> None:
    monkeypatch.delenv("GENMODELS_DEMO")
    packed = exchange.pack(new_run(budget=1_000_000))
    monkeypatch.setenv("GENMODELS_DEMO", "1")
    with in_space(ada):
        run = exchange.unpack(packed)
        with pytest.raises(UserError, match="at most 60,000 steps"):
            jobs.resume(run)
        assert not called
        for name, value, sentence in (("RUNS", "1", "keeps 1 runs"), ("UPLOAD", "0", "1"), ("PARAMETERS", "9", "9")):
            monkeypatch.setenv(f"GENMODELS_DEMO_{name}", value)
            with pytest.raises(UserError, match=sentence):
                exchange.unpack(packed)
            monkeypatch.delenv(f"GENMODELS_DEMO_{name}")


def test_nobody_has_more_runs_at_work_than_the_quota(ada: str, bob: str, new_run, monkeypatch, called) -> None:
    monkeypatch.setenv("GENMODELS_DEMO_ACTIVE", "2")
    with in_space(ada):
        some = [new_run(seed=seed) for seed in range(3)]
        for run in some[:2]:
            jobs.start(run)
        with pytest.raises(UserError, match="at most 2 runs"):
            jobs.start(some[2])
        with pytest.raises(UserError, match="at most 2 runs"):
            new_run(seed=3)
    with in_space(bob):
        jobs.start(new_run())
    assert some[2].status().state == "stopped"
    with in_space(bob), pytest.raises(UserError, match="at most 2 runs"):
        experiment.start([some[2].config] * 2)
    with in_space(bob):
        assert len(all_runs()) == 1
        jobs.start(new_run(seed=1))
        app = visit_as(bob, "train")
        next(button for button in app.button if button.label == "Train").click().run()
        assert "at most 2 runs" in words(app)
        assert len(all_runs()) == 2  # what is refused leaves nothing behind


def test_a_run_ends_when_its_time_is_over_and_gets_no_more(ada: str, new_run, monkeypatch) -> None:
    with in_space(ada):
        run = new_run(budget=10_000)
        monkeypatch.setenv("GENMODELS_DEMO_MINUTES", "0.01")
        assert [*run_to_end(run)][-1].state == "finished"
        assert 0 < run.status().step < 10_000
        assert run.summary()
        assert run.model
        assert not run.can_resume(run.status())
        with pytest.raises(UserError, match=r"0.01 minutes of training are used. .* cannot go on"):
            jobs.resume(run)
        assert "minutes of training are used" in words(visit_as(ada, "train", run=run.id))
        imported = run.status().model_copy(update={"state": "stopped", "doing": ""})
        run.write_status(imported)
        with pytest.raises(UserError, match="are used"):
            jobs.resume(run)
        monkeypatch.setenv("GENMODELS_DEMO_STEPS", "5")
        assert demo.used_up(5, 0) == "The demo's 5 steps are used."


def test_a_space_that_fills_up_while_training_ends_the_run_with_a_sentence(ada: str, new_run, monkeypatch) -> None:
    monkeypatch.setattr("genmodels.worker.LOG_EVERY", 0)
    with in_space(ada):
        run = new_run(budget=10_000)
        monkeypatch.setattr(demo, "size_of", lambda folder: 10**12)
        with pytest.raises(UserError, match="is full"):
            list(run_to_end(run))
        assert "is full" in str(run.status().error)


def test_datasets_are_bounded_in_number_bytes_and_size(ada: str, monkeypatch) -> None:
    monkeypatch.setenv("GENMODELS_DEMO_DATASETS", "1")
    name = kept(ada, pictures(1))
    with pytest.raises(UserError, match="keeps 1 datasets"):
        kept(ada, pictures(2), "dogs")
    monkeypatch.setenv("GENMODELS_DEMO_DATASETS", "5")
    monkeypatch.setattr(demo, "MB", 100)
    with pytest.raises(UserError, match="it may have 10"):
        kept(ada, pictures(2), "dogs")
    monkeypatch.setenv("GENMODELS_DEMO_PREPARED", "1")
    with in_space(ada), pytest.raises(UserError, match="choose fewer pixels"):
        load(name, 64, 3)
    with pytest.raises(UserError, match="too large to be fetched"):
        download("celeba")


def test_what_is_prepared_of_one_s_own_images_never_fills_more_than_the_space(ada: str, monkeypatch) -> None:
    name, most = kept(ada, pictures(1)), 200_000
    monkeypatch.setattr(demo, "MB", 1000)
    monkeypatch.setenv("GENMODELS_DEMO_OWN", "200")
    with in_space(ada):
        for size, channels in ((64, 3), (64, 1), (63, 3), (62, 3)):
            assert load(name, size, channels).shape == (channels, size, size)
            assert demo.size_of(home()) < most
        (home() / "large").write_bytes(bytes(most // 2))
        with pytest.raises(UserError, match="is full"):
            load(f"edges:{name}", 61, 3)
    monkeypatch.setenv("GENMODELS_DEMO_OWN", "1")
    with in_space(ada), pytest.raises(UserError, match="a dataset may take 1:"):
        load(name, 16, 1)


def test_a_trial_in_the_server_is_small_and_what_is_refused_has_none(ada: str, new_run, monkeypatch) -> None:
    tried = []

    def train(model: object, images: training.Images, *_: object) -> Iterator[None]:
        tried.append(len(images.images))
        return iter(())

    monkeypatch.setattr(training, "train", train)
    with in_space(ada):
        config = new_run(batch_size=1001).config
        plan.images_per_second(config)
        assert tried == [plan.SMALL]
        monkeypatch.setenv("GENMODELS_DEMO_BATCH", "1")
        with pytest.raises(UserError, match="smaller batch"):
            plan.images_per_second(config.model_copy(update={"seed": 1}))
        assert tried == [plan.SMALL]


def test_the_form_says_what_is_too_much(ada: str, monkeypatch) -> None:
    monkeypatch.setenv("GENMODELS_DEMO_MINUTES", "0.5")
    app = visit_as(ada, "train")
    assert "at most 0.5 minutes" in words(app)
    assert next(button for button in app.button if button.label == "Train").disabled


def test_a_quota_that_says_nothing_is_a_sentence(monkeypatch) -> None:
    monkeypatch.setenv("GENMODELS_DEMO_MINUTES", "lots")
    with pytest.raises(UserError, match="minutes must be a number"):
        demo.quotas()


def test_there_are_so_many_spaces_and_an_empty_one_makes_room(ada: str, new_run, monkeypatch) -> None:
    monkeypatch.setenv("GENMODELS_DEMO_SPACES", "1")
    with pytest.raises(UserError, match="as many as it has room for"):
        demo.new_space()
    aged(ada, 1)
    new = demo.new_space()
    assert [each.name for each in demo.spaces()] == [new]
    with in_space(new):
        new_run()
    aged(new, 1)
    with pytest.raises(UserError, match="come back later"):
        demo.new_space()
