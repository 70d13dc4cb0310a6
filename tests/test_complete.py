"""The page Complete and what it opens: every family that can answer, holes and colour, links, and what cannot be."""

import base64
import re
from functools import partial

import numpy as np
import pytest
import torch
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from app import answers, complete, look, stoppable
from genmodels import completion, data, jobs
from genmodels.analysis import completion as analysis
from genmodels.analysis.completion import question
from genmodels.completion import open_completer, way_of
from genmodels.config import Schedule
from genmodels.data import pairs
from genmodels.families import FAMILIES
from genmodels.runs import Run, RunConfig, create
from tests.test_pages import press, visit, words

ABLE = [
    name
    for name, family in FAMILIES.items()
    if {"denoise_path"} <= set(family.abilities) or {"log_likelihood", "decode"} <= set(family.abilities)
]
SMALL = {"diffusion": {"width": 8}, "pix2pix": {"width": 4}}


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of another test, and few steps are enough to see that they are taken."""
    stoppable.memory.clear()
    monkeypatch.setattr(analysis, "repaint", partial(analysis.repaint, steps=4, turns=2))


def made(
    family: str, dataset: str = "digits", channels: int | None = None, size: int | None = None, **knobs: object
) -> Run:
    """A run as a worker leaves it, but for the minutes until it is good."""
    loaded = data.load(dataset, size, channels)
    run = create(
        RunConfig(
            family=family, knobs=FAMILIES[family].Config.of({**SMALL.get(family, {}), **knobs}).model_dump(),
            dataset=dataset, size=size, channels=channels, schedule=Schedule(), shape=loaded.shape,
            classes=loaded.classes,
        )
    )  # fmt: skip
    (run.path / "weights.safetensors").write_bytes(save(run.config.build().state_dict()))
    return run


def pictures(app: AppTest) -> list[list[str]]:
    """The addresses of the pictures in each album."""
    return [re.findall(r'<img src="([^"]+)"', each.proto.body) for each in app.main.get("html")]


def hole(mask: np.ndarray) -> str:
    return base64.urlsafe_b64encode(np.packbits(mask).tobytes()).decode().rstrip("=")


def last(
    run: Run, kind: str, image: int = 0, n: int = 4
) -> tuple[completion.Completer, np.ndarray, completion.Findings]:
    opened = open_completer(run)
    asked = question(kind, run.config.shape)
    *_, found = completion.answers(opened, asked, opened.images[image], n, 0)
    assert found.done == 1
    return opened, opened.images[image], completion.findings(opened, asked, opened.images[image], found.images)


@pytest.mark.parametrize("family", ABLE)
def test_every_family_that_can_gives_different_answers_that_keep_what_is_known(family: str) -> None:
    run = made(family)
    _, image, found = last(run, "right")
    assert (found.images[:, :, :, :4] == image[:, :, :4]).all()
    assert len({each.tobytes() for each in found.images}) == 4
    assert found.measured.spread > 0
    assert found.measured.error_of_average < found.measured.error
    assert (found.ratio is None) == (way_of(run) != "posterior")
    app = visit("complete", run=run.id, answers="3")
    assert not app.exception
    assert not app.error
    asked, own = pictures(app)
    assert len(asked) == 2
    assert len(own) == 4, "three answers and their average"
    assert len(set(own)) == 4
    assert "Why the average is a blur" in words(app)
    assert app.query_params["run"] in (run.id, [run.id])


def test_the_picture_itself_is_as_likely_as_itself_however_many_answers_there_are() -> None:
    opened = open_completer(made("vae"))
    truth = opened.images[0]
    copies = np.stack([truth, truth, truth]).astype(np.float32) / 255
    found = completion.findings(opened, question("right", opened.run.config.shape), truth, copies)
    assert found.ratio == pytest.approx(0, abs=1e-3)


def test_pix2pix_answers_its_own_question_once_and_says_of_others_that_it_cannot() -> None:
    run = made("pix2pix", "half:digits")
    opened, image, found = last(run, "right")
    with torch.no_grad():
        wanted = opened.model.eval().translate(torch.tensor(pairs.half(image[None])) / 255)
    assert np.abs(found.images[0, :, :, 4:] / 255 - wanted[0, :, :, 4:].numpy()).max() < 1 / 255
    assert len(found.images) == 1
    assert found.measured.spread is None
    app = visit("complete", run=run.id)
    assert "one answer" in app.table[0].value.to_string()
    assert [len(each) for each in pictures(app)] == [2, 1]
    assert "half to whole" in words(visit("complete", run=run.id, hidden="lower"))


def test_without_its_colour_a_picture_gets_colours_of_the_same_brightness() -> None:
    run = made("vae", "shapes", channels=3, size=8, likelihood="gaussian")
    _, image, found = last(run, "colour")
    grey = (image * pairs.LUMA).sum(0)
    inside = ((found.images > 0) & (found.images < 255)).all(1)  # where nothing was cut off
    assert inside.any()
    assert np.abs((found.images * pairs.LUMA).sum(1) - grey)[inside].max() < 2
    app = visit("complete", run=run.id, hidden="colour", answers="2")
    assert not app.exception
    assert [len(each) for each in pictures(app)] == [2, 3]


def test_several_runs_answer_side_by_side_and_a_link_shows_the_same() -> None:
    runs = [made("diffusion"), made("vae"), made("pix2pix", "half:digits")]
    app = visit("complete", run=[run.id for run in runs], answers="2", seed="3")
    assert not app.exception
    assert [len(each) for each in pictures(app)] == [2, 3, 3, 1]
    assert list(app.table[0].value.columns)[1:] == [look.short(run) for run in runs]
    stoppable.memory.clear()
    again = visit("complete", run=[run.id for run in runs], answers="2", seed="3")
    assert pictures(again) == pictures(app)
    other = visit("complete", run=[run.id for run in runs], answers="2", seed="4")
    assert pictures(other)[1:3] != pictures(app)[1:3]
    assert pictures(other)[3] == pictures(app)[3]


def test_a_painted_hole_is_in_the_link_and_all_or_nothing_is_said() -> None:
    run, mask = made("vae"), np.zeros((8, 8), bool)
    assert "Nothing is hidden" in visit("complete", run=run.id, hidden="painted", hole=hole(mask)).error[0].value
    assert "All of the picture" in visit("complete", run=run.id, hidden="painted", hole=hole(~mask)).error[0].value
    mask[2:5, 3:6] = True
    app = visit("complete", run=run.id, hidden="painted", hole=hole(mask), answers="2")
    assert not app.error
    assert [len(each) for each in pictures(app)] == [2, 3]
    assert np.array_equal(complete.hole_in(hole(mask), 8, 8), mask)
    next(button for button in app.button if button.label == "Clear the link's hole").click().run()
    assert "hole" not in app.query_params
    assert "Paint over what should be hidden" in words(app)
    for damaged in ("!!!!", "AAAA"):
        assert "hole is damaged" in words(visit("complete", run=run.id, hidden="painted", hole=damaged))
    assert "Paint over" in words(visit("complete", run=run.id, hidden="painted"))


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"hidden": "colour"}, "These pictures are grey"),
        ({"hidden": "nonsense"}, "names nothing that can be hidden"),
        ({"image": "9999"}, "The link asks for image"),
        ({"start": "drawing"}, "Draw something"),
        ({"start": "upload"}, "Choose a picture"),
    ],
)
def test_a_link_that_asks_for_what_there_is_not(asked: dict[str, str], said: str) -> None:
    app = visit("complete", run=made("vae").id, answers="2", **asked)
    assert not app.exception
    assert said in words(app)


def test_runs_that_cannot_and_runs_that_are_not() -> None:
    app = visit("complete", run=made("gan").id, answers="2")
    assert not app.exception
    assert "cannot complete pictures" in words(app)
    assert visit("complete", run="nobody").error
    other = made("vae", "shapes", size=8)
    app = visit("complete", run=[made("vae").id, other.id], answers="2")
    assert "are left out" in words(app)
    assert [len(each) for each in pictures(app)] == [2, 3]


def test_a_broken_run_is_said_and_the_others_answer(monkeypatch) -> None:
    good, broken = made("vae"), made("vae", latent_size=2)
    opened = open_completer

    def open_one_broken(run: Run) -> completion.Completer:
        found = opened(run)
        if run.id == broken.id:
            for weight in found.model.parameters():
                weight.data.fill_(torch.nan)
        return found

    monkeypatch.setattr(completion, "open_completer", open_one_broken)
    app = visit("complete", run=[broken.id, good.id], answers="2")
    assert not app.exception
    assert "no likelihood" in app.error[0].value
    assert [len(each) for each in pictures(app)] == [2, 3]


def test_what_was_stopped_is_not_asked_again_until_one_asks() -> None:
    run = made("vae")
    opened = open_completer(run)
    asked = answers.Asked(opened.images[0], "right", question("right", run.config.shape), "", 5, 0)
    now = completion.Answers(0.4, np.zeros((5, 1, 8, 8), np.float32), None)
    app = visit("complete")
    app.session_state[stoppable.STOPPED] = {(str(run.path), run.stamp, *asked.key): (3, now)}
    app.query_params["run"], app.query_params["hidden"] = run.id, "right"
    stoppable.memory.clear()
    app.run()
    assert "Stopped at 40% of the way." in words(app)
    assert [len(each) for each in pictures(app)] == [2, 5], "as far as it came"
    assert [len(each) for each in pictures(press(app, "Start again"))] == [2, 6]


def test_ready_made_runs_answer_in_an_empty_home() -> None:
    app = visit("complete", answers="5")
    assert not app.exception
    assert not app.error
    read = next(row for row in app.table[0].value.to_numpy() if row[0] == "Read as")
    assert all(len(set(answers.split(", "))) > 1 for answers in read[1:]), "the first question has several answers"


def test_where_no_run_can_one_click_trains_one(monkeypatch) -> None:
    started: list[Run] = []
    monkeypatch.setattr(jobs, "start", started.append)
    monkeypatch.setattr(look, "able", lambda *_: [])
    press(visit("complete"), "Train a VAE on digits")
    assert started[0].config.family == "vae"
