"""The page Denoising and what it is made of: paths from noise and from pictures, counting, stopping, wrong links."""

import math
import re
import shutil
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from app import look, paths, start, stoppable
from genmodels import data, jobs, stepping
from genmodels.analysis.judge import judge_of
from genmodels.config import Schedule, UserError
from genmodels.denoising import Denoiser, Moment, Way, open_denoiser
from genmodels.families import FAMILIES
from genmodels.families.contract import Frame
from genmodels.runs import Run, RunConfig, create
from genmodels.training import scaled
from tests import test_pages
from tests.test_pages import press, visit
from tests.test_perturbation import STROKE, png

ABLE = [name for name, family in FAMILIES.items() if "denoise_path" in family.abilities]
FEW = {"steps": "2", "n": "2"}
PICTURE = {"mode": "picture", "steps": "2"}


def untrained(family: str = "diffusion", **knobs: Any) -> Run:
    """A small run of digits that has learned nothing yet: its weights are there, and that is enough to denoise."""
    loaded = data.load("digits")
    run = create(
        RunConfig(
            family=family, knobs=FAMILIES[family].Config.of({"width": 8, "steps": 2} | knobs).model_dump(),
            dataset="digits", shape=loaded.shape, classes=loaded.classes,
            schedule=Schedule(budget=2, unit="steps", threads=1, device="cpu"),
        )
    )  # fmt: skip
    (run.path / "weights.safetensors").write_bytes(save(run.config.build().state_dict()))
    return run


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """The folder of such a run, made once for all tests here."""

    @cache
    def make(family: str, **knobs: Any) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GENMODELS_HOME", str(tmp_path_factory.mktemp("made")))
            return untrained(family, **knobs).path

    return make


@pytest.fixture
def denoising_run(made: Callable[..., Path], home: Path) -> Callable[..., Run]:
    """A copy of such a run in the home of the test."""

    def copy(family: str = "diffusion", **knobs: Any) -> Run:
        path = made(family, **knobs)
        return Run(Path(shutil.copytree(path, home / "runs" / path.name)))

    return copy


@pytest.fixture
def run(denoising_run: Callable[..., Run]) -> Run:
    return denoising_run()


def words(app: AppTest) -> str:
    return test_pages.words(app).replace("\\", "")


def opened(run: Run, **query: str) -> AppTest:
    app = visit("denoising", run=run.id, **query)
    assert not app.exception
    return app


def figures_of(app: AppTest) -> list[str]:
    """What stands under each picture of the results."""
    return [part.split("<")[0] for part in app.main.get("html")[0].proto.body.split("<figcaption>")[1:]]


# -- paths


@pytest.mark.parametrize("objective", ["noise", "flow-matching"])
def test_the_path_from_noise_has_a_moment_before_and_after_each_step(objective: str, denoising_run):
    denoiser = open_denoiser(denoising_run(objective=objective))
    moments = list(denoiser.from_noise(2, Way(steps=4, seed=5)))
    levels = [each.level for each in moments]
    assert len(moments) == 5
    assert levels[0] == 1
    assert levels[-1] == 0
    assert levels == sorted(levels, reverse=True)
    assert all(each.noisy.shape == each.predicted.shape == (2, 1, 8, 8) for each in moments)
    assert all(each.noisy.dtype == each.predicted.dtype == np.uint8 for each in moments)
    again, other = (list(denoiser.from_noise(2, Way(steps=4, seed=seed))) for seed in (5, 6))
    assert np.array_equal(moments[-1].predicted, again[-1].predicted), "one seed, one image"
    assert not np.array_equal(moments[0].noisy, other[0].noisy)
    with torch.no_grad():
        noise = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(5))
        *_, last = denoiser.model.denoise_path(noise, steps=4)
    assert np.array_equal(last.predicted.mul(255).round().byte().numpy(), moments[-1].predicted)


def test_a_picture_is_noised_differently_in_each_try_and_takes_its_share_of_the_steps(run: Run):
    denoiser = open_denoiser(run)
    moments = list(denoiser.from_picture(denoiser.images[3], 0.4, 200, Way(steps=5)))
    assert [each.level for each in moments] == pytest.approx([0.4, 0.2, 0.0])
    x = 2 * scaled(torch.tensor(denoiser.images[3:4]))[0] - 1
    alpha, sigma = denoiser.model.signal(0.4)
    # What is cut off at black and white: the pixels whose mean is so far from both that hardly anything is.
    grey = (alpha * x).abs() < 1 - 2.5 * sigma
    noisy = torch.tensor(moments[0].noisy / 127.5 - 1)[:, grey]
    if grey.any():
        assert torch.allclose(noisy.mean(0), (alpha * x[grey]).double(), atol=4 * sigma / math.sqrt(200))
    spread = moments[0].noisy.std(0)
    assert (spread > 0).all(), "fresh noise in each pixel of each try"


def test_the_schedule_is_that_of_the_model(run: Run):
    denoiser = open_denoiser(run)
    alpha, sigma = denoiser.schedule([0, 0.5, 1])
    assert alpha**2 + sigma**2 == pytest.approx(np.ones(3))
    assert alpha[0] == pytest.approx(1, abs=0.01)
    assert alpha[0] > alpha[1] > alpha[2]
    assert alpha[2] == pytest.approx(0, abs=0.01)


def test_a_path_that_is_left_leaves_gradients_and_threads_as_they_were(run: Run):
    path = stoppable.alone(open_denoiser(run).from_noise(1, Way(steps=5)))
    next(path)
    assert torch.is_grad_enabled()
    assert not stepping._one_thread.locked(), "somebody else can take a step"
    path.close()
    assert torch.is_grad_enabled()


@pytest.mark.parametrize(
    "way", [Way(steps=0), Way(guidance=11, label=1), Way(guidance=-1, label=1), Way(sampler="magic"), Way(label=10)]
)
def test_what_cannot_be_is_a_sentence(way: Way, run: Run):
    denoiser = open_denoiser(run)
    with pytest.raises(UserError, match=r"\.$"):
        next(denoiser.from_noise(1, way))


def test_no_way_back_from_level_zero(run: Run):
    denoiser = open_denoiser(run)
    with pytest.raises(UserError, match="level"):
        next(denoiser.from_picture(denoiser.images[0], 0, 1, Way(steps=2)))


def test_numbers_that_are_none_are_a_sentence(run: Run):
    weights = run.model.state_dict().items()
    state = {name: torch.full_like(value, math.nan) if value.is_floating_point() else value for name, value in weights}
    (run.path / "weights.safetensors").write_bytes(save(state))
    app = opened(run, **FEW)
    assert "images that are not numbers" in app.error[0].value


def test_a_run_is_opened_once_and_its_own_images_stand_in(run: Run, monkeypatch: pytest.MonkeyPatch):
    first = open_denoiser(run)
    assert open_denoiser(Run(run.path)) is first
    known = data.load("digits")
    assert np.array_equal(first.images, known.images[known.span("test")])
    monkeypatch.setattr(data, "is_present", lambda name: False)
    without = open_denoiser(run)
    assert not without.real
    assert without.labels[:11].tolist() == [*range(10), 0]
    assert "the model's own picture 1 of 2 of class 0" in words(opened(run, **PICTURE))


# -- the page


@pytest.mark.parametrize("family", ABLE)
def test_images_of_every_family_that_denoises(family: str, denoising_run):
    app = opened(denoising_run(family), **FEW | {"asked": "3"})
    assert not app.error
    assert not app.warning
    assert len(figures_of(app)) == 2
    assert re.search(r"\d of 2\*\* (is|are) read as 3, the class that was asked for", words(app))
    assert "98.9% of 180 test images" in words(app)
    assert "At step 1 of 2, level 0.50" in words(app)
    assert len(app.get("bidi_component")) == 1
    assert len(app.get("vega_lite_chart")) == 1
    assert {each.label for each in app.get("download_button")} == {
        "GIF", "MP4", "Film strip", "Pictures", "reproduce.py",
    }  # fmt: skip
    assert not app.get("progress"), "gone when it is done"


def test_a_model_of_flow_matching_has_no_choice_of_samplers(denoising_run):
    app = opened(denoising_run(objective="flow-matching"), **FEW)
    assert not app.error
    assert "Sampler" not in {each.label for each in app.get("button_group")}


def test_what_is_sampled_once_is_kept_and_a_link_shows_the_same(run: Run, monkeypatch: pytest.MonkeyPatch):
    query = FEW | {"asked": "3", "guidance": "4.5", "sampler": "ddpm", "seed": "7", "which": "2"}
    first = opened(run, **query)
    body = first.main.get("html")[0].proto.body
    assert {each.label: each.value for each in first.slider} == {"Guidance": 4.5, "Steps": 2}
    with monkeypatch.context() as patch:
        patch.setattr(Denoiser, "from_noise", None)
        assert opened(run, **query).main.get("html")[0].proto.body == body
    expected = list(open_denoiser(run).from_noise(2, Way(2, "ddpm", 4.5, 3, 7)))[-1].predicted
    judge = judge_of("digits", data.load("digits").classes)
    read = judge.probabilities(expected).argmax(1)
    assert figures_of(first) == [f"{i + 1}: {c}{' ✓' if c == 3 else ''}" for i, c in enumerate(read)]
    first.slider(key="denoising-guidance").set_value(5.0).run()
    assert first.query_params["guidance"] in ("5", ["5"])
    press(first, "Another")
    assert first.query_params["seed"] not in ("7", ["7"])
    assert first.main.get("html")[0].proto.body != body


def test_another_start_keeps_the_seed_of_the_noise(run: Run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Denoiser, "from_noise", _still)
        app = opened(run, mode="picture", seed="7", image="3")
        app.button_group(key="perturb-start").set_value("drawing").run()
    assert app.query_params["seed"] in ("7", ["7"])
    assert "image" not in app.query_params


def test_what_a_link_asks_wrongly_gets_a_sentence_each(run: Run):
    wrong = {"steps": "0", "guidance": "11", "asked": "99", "sampler": "magic", "mode": "up", "seed": "x", "n": "77"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Denoiser, "from_noise", _still)
        app = opened(run, **wrong | {"which": "9"})
    assert not app.error
    for sentence in (
        "asks for steps 0; it goes from 1 to 250", "asks for guidance 11; it goes from 0 to 10", "asks for asked 99",
        "asks for sampler magic; there is ddim, ddpm", "asks for mode up", "asks for seed x",
    ):  # fmt: skip
        assert sentence in words(app)
    for level in ("2", "0", "nan", "much"):
        assert f"asks for how far {level}; it goes from 0.05 to 1" in words(opened(run, **PICTURE | {"level": level}))


def _still(self: Denoiser, n: int, way: Way) -> Iterator[Moment]:
    """Nothing moves."""
    for level in np.linspace(1, 0, way.steps + 1):
        yield Moment(float(level), self.images[:n], self.images[:n])


class Stubborn:
    """Gives the first of the pictures back from levels up to 0.5, and from beyond it the second."""

    SAMPLERS = ("ddim",)

    def __init__(self, *pictures: torch.Tensor) -> None:
        self.pictures = pictures

    def signal(self, level: float) -> tuple[float, float]:
        return 1 - level, level

    def noised(self, x: torch.Tensor, level: float, generator: torch.Generator) -> torch.Tensor:
        return x.clone()

    def denoise_path(self, noisy: torch.Tensor, level: float, *_: Any, steps: int, **__: Any) -> Iterator[Frame]:
        made = self.pictures[level > 0.5].expand_as(noisy)
        for number in range(steps + 1):
            yield Frame(level * (1 - number / steps), noisy, made)


@pytest.fixture
def stubborn(run: Run, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, int]:
    """A seven remains a seven up to the middle, and is a zero from there on. -> also the number of that seven."""
    denoiser = open_denoiser(run)
    judge = judge_of("digits", denoiser.classes)
    read = judge.probabilities(denoiser.images).argmax(1)
    right = [np.flatnonzero((denoiser.labels == c) & (read == c))[0] for c in (7, 0)]
    model = Stubborn(*(scaled(torch.tensor(denoiser.images[[each]])) for each in right))
    model.training, model.eval, model.train = False, lambda: model, lambda mode: model
    stub = Denoiser(run, model, denoiser.images, denoiser.labels, True, denoiser.classes)
    monkeypatch.setattr("genmodels.denoising.open_denoiser", lambda run: stub)
    return run, int(right[0])


def test_ten_tries_are_counted_and_the_level_where_the_class_is_lost_is_found(stubborn: tuple[Run, int]):
    run, seven = stubborn
    app = opened(run, **PICTURE | {"image": str(seven), "level": "0.5"})
    assert not app.error
    assert figures_of(app) == ["Picture", *(f"{i}: 7 ✓" for i in range(1, 11))]
    assert "10 of 10** are read as 7, the class of the picture" in words(app)
    app.slider(key="denoising-level").set_value(0.6).run()
    assert "0 of 10** are read as 7, the class of the picture" in words(app)
    assert figures_of(app)[1:] == [f"{i}: 0" for i in range(1, 11)]
    assert len(app.get("vega_lite_chart")) == 1
    press(app, "Try all levels")
    assert not app.exception
    assert len(app.get("vega_lite_chart")) == 2
    assert "At least 9 of 10 keep it up to level 0.5. At level 0.6 it is 0, and from noise alone 0." in words(app)


def test_a_class_that_is_asked_for_is_counted_beside_that_of_the_picture(run: Run):
    app = opened(run, **PICTURE | {"image": "7", "asked": "2", "level": "1"})
    found = open_denoiser(run)
    *_, last = found.from_picture(found.images[7], 1.0, 10, Way(2, label=2, guidance=2.0))
    read = judge_of("digits", found.classes).probabilities(last.predicted).argmax(1)
    asked, kept = (int((read == label).sum()) for label in (2, found.labels[7]))
    said = words(app).replace("is read", "are read")
    assert f"**{asked} of 10** are read as 2, the class that was asked for, and **{kept} of 10** as 7, the" in said


def test_an_upload_is_noised_as_the_run_reads_it(run: Run):
    app = opened(run, **PICTURE | {"start": "upload"})
    assert "Choose a picture" in words(app)
    app.get("file_uploader")[0].set_value(("mine.png", png(STROKE), "image/png")).run()
    assert not app.exception
    denoiser = open_denoiser(run)
    image = start.as_input(STROKE, denoiser)
    read = judge_of("digits", denoiser.classes).probabilities(image[None])[0].argmax()
    assert f"Your picture, as the model reads it. It is read as {read}." in words(app)
    assert len(figures_of(app)) == 11
    app.get("file_uploader")[0].set_value(("mine.png", b"nothing", "image/png")).run()
    assert "cannot be read" in app.error[0].value
    blank = png(np.full((40, 40, 3), 255, np.uint8))
    app.get("file_uploader")[0].set_value(("mine.png", blank, "image/png")).run()
    assert not app.exception
    assert not app.main.get("html")


def test_a_blank_paper_asks_for_a_drawing(run: Run):
    app = opened(run, **PICTURE | {"start": "drawing"})
    assert "Draw something" in words(app)
    assert len(app.get("bidi_component")) == 1


def test_it_can_be_stopped_and_started_again(run: Run, monkeypatch: pytest.MonkeyPatch):
    def interrupted(path: Iterator[Moment], *about: Any, **_: Any) -> None:
        """As a click on Stop during the second step: what it calls back, and no more of the script."""
        about[2]((1, next(path)))
        stoppable.st.stop()

    with monkeypatch.context() as patch:
        patch.setattr(stoppable, "watched", interrupted)
        app = opened(run, **FEW)
        assert not app.main.get("html")
        app.run()
        assert "Stopped at step 1 of 2" in words(app)
        assert figures_of(app) == ["1", "2"], "as far as it came"
    app.slider(key="denoising-steps").set_value(3).run()
    assert len(figures_of(app)) == 2, "anything else is sampled"
    app.slider(key="denoising-steps").set_value(2).run()
    assert "Stopped at step 1 of 2" in words(app), "as far as this one came, whatever was made since"
    press(app, "Start again")
    assert not app.exception
    assert "Stopped" not in words(app)
    assert len(figures_of(app)) == 2


def test_the_files_are_what_is_shown(run: Run):
    denoiser = open_denoiser(run)
    moments = list(denoiser.from_noise(2, Way(steps=30)))
    tried = paths.Tried(denoiser, moments, None, None, "it")
    noisy, predicted = (np.stack([getattr(each, name)[1] for each in moments]) for name in ("noisy", "predicted"))
    columns, chosen = paths._columns(tried, noisy, predicted)
    assert len(chosen) == paths.MOMENTS
    assert chosen[0] == 0
    assert chosen[-1] == 30
    assert np.array_equal(columns[:, :, :8], noisy[chosen])
    assert np.array_equal(columns[:, :, 9:], predicted[chosen])


def test_no_run_that_denoises_is_one_click_away(monkeypatch: pytest.MonkeyPatch):
    started: list[Run] = []
    monkeypatch.setattr(jobs, "start", started.append)
    monkeypatch.setattr(look, "shipped_runs", list)
    app = visit("denoising")
    assert "No trained run denoises yet" in words(app)
    press(app, "Train a diffusion model on digits")
    (run,) = started
    assert (run.config.family, run.config.dataset) == ("diffusion", "digits")


def test_a_run_that_cannot_denoise_is_an_explanation():
    app = visit("denoising", run="vae-digits")
    assert not app.exception
    assert "cannot make images out of noise step by step" in words(app)


def test_damaged_weights_are_a_sentence(run: Run):
    (run.path / "weights.safetensors").write_bytes(b"no weights")
    assert "are damaged" in opened(run, **FEW).error[0].value
