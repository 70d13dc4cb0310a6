"""The doctor: each rule on a run that was really trained, and made sick on purpose; its cures; what a page shows."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from genmodels import doctor, jobs, runs, steering
from genmodels.config import UserError
from genmodels.data.selection import Selection
from genmodels.doctor.numbers import copied, trend
from genmodels.runs import Run, RunConfig, Status
from genmodels.worker import run_to_end
from tests.test_pages import press, visit, words

Made = Callable[..., Run]
COLLAPSED = {"beta": 1000.0, "latent_size": 4, "hidden_size": 16, "budget": 150, "log_every": 10}
HEALTHY = {"latent_size": 4, "hidden_size": 48, "learning_rate": 0.005, "budget": 600, "log_every": 20}
STRONG = {"loss": "minimax", "spectral_norm": False, "width": 8, "discriminator_steps": 5, "log_every": 10}
# What was done to it -> the family, its settings, and what must be found.
SICK: dict[str, tuple[str, dict[str, object], list[str]]] = {
    "beta 1000": ("vae", COLLAPSED, ["posterior_collapse"]),
    "beta 2": ("vae", HEALTHY | {"beta": 2.0}, ["beta_high"]),
    "beta 0": ("vae", {"beta": 0.0, "latent_size": 4, "hidden_size": 48, "budget": 400}, ["beta_low"]),
    "32 dimensions": (
        "vae",
        {"latent_size": 32, "hidden_size": 64, "learning_rate": 0.005, "batch_size": 64, "budget": 400},
        ["blur", "unused"],
    ),
    "20 steps": ("vae", {"budget": 20, "hidden_size": 64}, ["too_short"]),
    "a silenced decoder": ("vae", {"learning_rate": 0.3, "hidden_size": 32, "budget": 300}, ["mean_image"]),
    "giant steps": ("autoencoder", {"learning_rate": 1.0, "hidden_size": 32, "budget": 150}, ["diverging"]),
    "no number": ("flow", {"learning_rate": 1.0, "hidden_size": 32, "couplings": 2, "budget": 100}, ["diverging"]),
    "a game with one winner": ("gan", STRONG | {"budget": 200}, ["discriminator_strong", "mode_collapse"]),
    "30 images": (
        "flow",
        {"hidden_size": 64, "couplings": 2, "dequantization": "uniform", "batch_size": 30, "budget": 200},
        ["memorising"],
    ),
    "30 images, known by heart": ("autoencoder", {"hidden_size": 200, "batch_size": 30, "budget": 600}, ["memorising"]),
    "6 images, each drawn again": (
        "vae",
        {"latent_size": 4, "hidden_size": 64, "learning_rate": 0.005, "batch_size": 6, "budget": 400},
        ["memorising"],
    ),
}


@pytest.fixture(autouse=True)
def _fewer_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("genmodels.session.SAMPLES", 500)


@pytest.fixture
def sick(new_run: Made, trained: Made) -> Made:
    """Train the run of that name."""

    def make(name: str) -> Run:
        family, settings, _ = SICK[name]
        settings = {
            "log_every": 2 if name == "20 steps" else 10
        } | settings  # by time, it would be other points each time
        images = int(name.split()[0]) if "images" in name else 1437  # so many of the digits are learned from
        if images == 1437 and name != "no number":
            return trained(family, **settings)
        run = new_run(family, **settings)
        if images < 1437:
            run = runs.create(run.config.model_copy(update={"selection": Selection(left_out=range(images, 1437))}))
        with contextlib.suppress(UserError):  # its worker says how it broke, and so does its folder
            for _ in run_to_end(run):
                pass
        return run

    return make


@pytest.mark.parametrize("name", SICK)
def test_what_was_done_to_a_run_is_found(name: str, sick: Made):
    run = sick(name)
    found = doctor.diagnose(doctor.numbers_of(run)).findings
    names = [each.name for each in found]
    expected = SICK[name][2]
    assert names[: len(expected)] == expected
    for each in found:
        assert any(letter.isdigit() for letter in each.why), "a finding says the numbers it saw"
        assert each.cure is not None
        copy = doctor.changed(run.config, each.cure.changes, run.id)
        assert copy.parent == run.id
        assert (copy.knobs, copy.schedule) != (run.config.knobs, run.config.schedule)
    by_name = {each.name: each for each in found}
    if "mode_collapse" in by_name:
        shares = run.summary()["class_histogram"]["parts"]
        gone = by_name["mode_collapse"].title.partition(": no ")[2].replace(" and ", ", ").split(", ")
        assert max(shares[each] for each in gone) < 0.02 < max(shares.values())
        assert len(gone) == run.summary()["missing_classes"]["value"]
    if "too_short" in by_name:
        assert by_name["too_short"].cure.changes["budget"] > 20


def test_a_healthy_run_has_no_finding_and_is_told_what_was_looked_at(trained: Made):
    found = doctor.diagnose(doctor.numbers_of(trained(**HEALTHY)))
    assert found.findings == ()
    assert len(found.fine) >= 7


def test_the_runs_that_come_with_the_app_have_no_serious_finding():
    found = {run.id: doctor.diagnose(doctor.numbers_of(run)) for run in runs.shipped_runs()}
    assert not [name for name, each in found.items() if any(f.level == "serious" for f in each.findings)]
    assert all(each.fine for each in found.values())
    assert [f.name for f in found["vae-mnist-beta-16"].findings] == ["beta_high"]
    assert found["vae-digits"].findings == ()


def test_samples_that_are_copies_are_found(numbers: Callable[..., doctor.Numbers]):
    def found(value: float) -> list[str]:
        metric = {"value": value, "floor": 0.01, "n": 500, "unit": "share", "better": "lower"}
        return [
            each.name
            for each in doctor.diagnose(numbers(summary={"memorised": metric}, status=Status(state="stopped"))).findings
        ]

    assert found(0.02) == []  # 10 of 500 where 5 are expected: chance
    assert found(0.05) == ["memorising"]


@pytest.fixture
def numbers(new_run: Made) -> Callable[..., doctor.Numbers]:
    """Numbers of a run without files."""
    config = new_run().config

    def make(**given: object) -> doctor.Numbers:
        return doctor.Numbers(**{"config": config, "status": Status(state="finished"), "knobs": config.knobs} | given)

    return make


def test_in_its_first_steps_nothing_is_said_of_the_code(numbers: Callable[..., doctor.Numbers]):
    young, old = (Status(state="running", step=step) for step in (100, 1000))
    assert doctor.diagnose(numbers(status=young, kl=np.zeros(4))) == doctor.Diagnosis((), ())
    assert [each.name for each in doctor.diagnose(numbers(status=old, kl=np.zeros(4))).findings] == [
        "posterior_collapse"
    ]


def test_classes_are_missing_only_where_real_images_have_them(numbers: Callable[..., doctor.Numbers]):
    counts = np.array([0, *[50] * 9])
    real = np.array([0.0, *[1 / 9] * 9])
    points = [{"step": 100 * step, "train": {"d_real": 0.5, "d_fake": 0.5}} for step in range(1, 11)]
    for shares, names in ((np.full(10, 0.1), ["mode_collapse"]), (real, []), (None, [])):
        found = doctor.diagnose(numbers(points=points, counts=counts, real=shares)).findings
        assert [each.name for each in found] == names


def test_three_updates_are_too_few_whatever_learns(numbers: Callable[..., doctor.Numbers]):
    points = [{"step": step, "train": {"d_real": 0.5, "d_fake": 0.5}} for step in (1, 2, 3)]
    status = Status(state="finished", step=3)
    assert [e.name for e in doctor.diagnose(numbers(points=points, status=status)).findings] == ["too_short"]


def test_a_power_law_is_continued_as_it_goes_on():
    steps = np.arange(1.0, 801)
    curve = 5 + 40 * steps**-0.5
    fall, gains = trend((steps, curve))
    known = np.array([40 * (800**-0.5 - (800 * 2**k) ** -0.5) for k in range(1, 6)])
    assert gains == pytest.approx(known, rel=0.1)  # the level at a step is a mean over those before it
    assert fall == pytest.approx(40 - 40 * 800**-0.5, rel=0.02)


def test_the_share_that_copies_keep_is_that_of_the_variance():
    random = np.random.default_rng(0)
    signal, noise = random.normal(128, [[[[30.0]]]], (4000, 1, 8, 8)), random.normal(0, 15, (4000, 1, 8, 8))
    error = float((noise / 255).var())
    assert copied(signal, error) == pytest.approx(30**2 / (30**2 + 15**2), abs=0.01)
    assert copied(np.full((16, 1, 8, 8), 7, np.uint8), error) == pytest.approx(0, abs=1e-9)


def test_a_run_that_was_steered_is_judged_by_where_its_knobs_stood(trained: Made):
    run = trained(budget=30, log_every=1)
    steering.replace(run, [steering.Turn(10, {"beta": 4.0})])
    found = doctor.numbers_of(run)
    assert found.knobs["beta"] == 4
    point = found.points[-1]["train"]
    assert found.train[0][0] == 11
    assert found.train[1][-1] == pytest.approx(point["reconstruction"] + 4 * point["kl"])


def test_changes_go_through_an_address_and_are_checked(new_run: Made):
    config: RunConfig = new_run().config
    changes = {"beta": 0.5, "latent_size": 8, "body": "conv", "budget": 120.0, "unit": "steps"}
    copy = doctor.changed(config, doctor.parsed(doctor.written(changes)))
    assert copy == doctor.changed(config, changes).model_copy(update={"created": copy.created})
    assert (copy.knobs["beta"], copy.knobs["body"], copy.schedule.budget) == (0.5, "conv", 120)
    assert doctor.in_words(config, changes) == "beta 0.5, latent size 8, body conv and budget 120 steps"
    for bad in ({"betta": 1}, {"beta": -1}, {"budget": "long"}):
        with pytest.raises(UserError):
            doctor.changed(config, bad)
    with pytest.raises(UserError):
        doctor.parsed("beta")


def test_the_page_offers_the_cure_and_the_copy_names_its_parent(trained: Made, monkeypatch: pytest.MonkeyPatch):
    started: list[Run] = []
    monkeypatch.setattr(jobs, "start", started.append)
    run = trained(**COLLAPSED)
    app = visit("train", run=run.id)
    assert "No latent dimension carries more than 0.1 nats" in words(app)
    press(app, "Train a copy with beta 1")
    assert not app.exception
    assert (started[0].config.parent, started[0].config.knobs["beta"]) == (run.id, 1)

    # The first offer that is made is of the first finding.
    form = press(visit("train", run=run.id), "Look at its settings first")
    assert form.query_params["with"] in ("beta:1.0", ["beta:1.0"])
    press(form, "Train")
    assert not form.exception
    assert started[1].config.knobs == started[0].config.knobs
    assert (started[1].config.parent, started[1].config.schedule) == (run.id, run.config.schedule)
    bad = visit("train", like=run.id, **{"with": "betta:1.0"})
    assert "did you mean 'beta'" in bad.warning[0].value
    assert not bad.exception


def test_the_gallery_says_the_gravest_finding_or_that_there_is_none(trained: Made, home: Path):
    trained(**COLLAPSED)
    gallery = words(visit("gallery"))
    assert "posterior collapse" in gallery
    assert "no finding" in gallery  # of those that come with the app
