"""The form of the Train page and the Data page for models that translate: what is chosen is what is learned from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from genmodels import jobs
from genmodels.data import intake
from genmodels.runs import Run
from tests.test_pages import press, visit, words


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[Run]:
    runs: list[Run] = []
    monkeypatch.setattr(jobs, "start", runs.append)
    return runs


def box(app: AppTest, label: str):
    return next(each for each in app.selectbox if each.label == label)


def choose(app: AppTest, **choices: str) -> AppTest:
    for label, value in choices.items():
        box(app, {"FromTo": "From ... to", "Other": "The other dataset"}.get(label, label)).set_value(value).run()
    return app


@pytest.mark.parametrize(
    ("choices", "dataset", "said"),
    [
        ({"Model": "pix2pix"}, "edges:digits", "Above: what goes in; below: what should come out."),
        ({"Model": "pix2pix", "FromTo": "half"}, "half:digits", "grey pairs of 8 x 8"),
        ({"Model": "cyclegan", "Into": "rotated"}, "rotated:digits", "it never sees both of a pair"),
        ({"Model": "cyclegan", "Into": "domains", "Other": "shapes"}, "domains:digits+shapes", "these are not pairs"),
    ],
)
def test_the_model_decides_what_can_be_learned_from(choices, dataset, said, started: list[Run]):
    app = choose(visit("train"), **choices)
    assert not app.error
    assert not app.exception
    assert said in words(app)
    app = press(app, "Train")
    assert not app.exception
    assert started[0].config.dataset == dataset
    like = visit("train", like=started[0].id)
    assert not like.error
    assert box(like, "Model").value == choices["Model"]
    assert press(like, "Train").query_params["run"]
    assert started[1].config.dataset == dataset


def test_the_data_stays_when_the_model_changes():
    app = choose(visit("train"), Data="shapes", Model="pix2pix")
    assert box(app, "Data").value == "shapes"
    assert box(app, "From ... to").options == ["Edges to picture", "Half to whole", "Small to large"]
    app = choose(app, Model="cyclegan", Into="thickened")
    assert box(app, "Data").value == "shapes"
    app = choose(app, Model="vae")
    assert [each.label for each in app.selectbox][:2] == ["Data", "Model"]
    assert box(app, "Data").value == "shapes"


@pytest.mark.parametrize(
    ("dataset", "family", "title"),
    [
        ("small:digits", "pix2pix", "Small Digits"),
        ("inverted:digits", "cyclegan", "Inverted Digits"),
        ("digits", "vae", "Digits"),
    ],
)
def test_a_link_to_what_is_made_opens_a_model_that_learns_from_it(dataset: str, family: str, title: str):
    app = visit("train", data=dataset)
    assert not app.error
    assert box(app, "Model").value == family
    assert f"on {title}**" in words(app)


def test_a_run_of_a_plain_model_on_what_is_made_comes_back(trained: Callable[..., Run], started: list[Run]):
    run = trained(dataset="inverted:digits", budget=2)
    press(visit("train", like=run.id), "Train")
    assert started[0].config.dataset == "inverted:digits"


@pytest.fixture
def own(home: Path, tmp_path: Path) -> str:
    for i in range(12):
        Image.fromarray(np.repeat(np.uint8([[i, 100 + i]]), 16, 1).repeat(16, 0)).save(tmp_path / f"{i}.png")
    return intake.keep(tmp_path, intake.examine(tmp_path), "mine")


def test_pairs_of_ones_own_are_learned_from_either_way(own: str, started: list[Run]):
    app = choose(visit("train"), Model="pix2pix", Data=own)
    assert not app.error
    press(choose(app, FromTo="pairs-back"), "Train")
    assert started[0].config.dataset == "pairs-back:mine"
    assert "mine" in words(visit("train", like=started[0].id))


def test_the_data_page_looks_at_what_is_made(own: str):
    app = visit("data", data="edges:digits")
    assert not app.error
    assert "Above: what goes in" in words(app)
    app = next(each for each in app.segmented_control if each.label == "Look at").set_value("domains").run()
    assert not app.exception
    assert app.query_params["data"] == "inverted:digits"
    app = next(each for each in app.segmented_control if each.label == "Look at").set_value("images").run()
    assert app.query_params["data"] == "digits"
    app = press(visit("data", data=own), "Delete for good")
    assert intake.own_datasets() == []


@pytest.mark.parametrize("name", ["edges:folder:/etc", "pairs:/etc", "domains:digits+folder:/etc", "domains:digits"])
def test_no_path_comes_by_the_address(name: str):
    app = visit("data", data=name)
    assert not app.exception
    assert any("There is no dataset" in each.value for each in app.warning)
