"""The page Flow, without a browser: the ready-made ones, training, the slider, settings in the address, a stop."""

import io
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app import bending, flow, stoppable
from genmodels import toys
from genmodels.analysis import toy_flow
from tests.test_pages import press, visit, words

SMALL = {"layers": "3", "hidden": "8"}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy_flow, "STEPS", 40)
    monkeypatch.setattr(toy_flow, "TAUGHT", 400)
    monkeypatch.setattr(toy_flow, "HELD_OUT", 200)
    monkeypatch.setattr(bending, "BETWEEN", 2)
    monkeypatch.setattr(toys, "integral", partial(toys.integral, cells=200))
    for kept in (stoppable.memory, flow._looked_at, flow._frames):
        kept.clear()


def figures(app: AppTest) -> dict[str, str]:
    return {each.label: each.value for each in app.metric}


def test_it_opens_on_a_ready_made_flow():
    app = visit("flow")
    assert not app.exception
    assert "ready-made" in words(app)
    assert figures(app)["Integral over the plane"] == "1.000"
    assert app.slider[0].max == 12


def test_of_other_settings_it_shows_the_points_and_says_what_to_do():
    app = visit("flow", seed="1")
    assert not app.exception
    assert "Press Train" in words(app)
    assert not app.metric


def test_training_shows_the_bent_plane_and_its_figures(monkeypatch: pytest.MonkeyPatch):
    made = {}
    monkeypatch.setattr(flow.st, "download_button", lambda label, make, name, *_, **__: made.update({name: make()}))
    app = press(visit("flow", set="circles", **SMALL), "Train")
    assert not app.exception
    assert not app.error
    assert app.query_params["train"] in ("1", ["1"])
    asked = toy_flow.Asked("circles", 3, 8)
    found = flow._looked_at(asked, 40, False, list(toy_flow.trained(asked))[-1])
    told = figures(app)
    assert told["Integral over the plane"] == f"{found.integral:.3f}"
    assert abs(found.integral - 1) < 1e-3
    assert told["Held-out log-likelihood"] == f"{found.held_out:.2f} nats"
    assert told["The best Gaussian's"] == f"{found.normal:.2f} nats"
    slider = app.slider[0]
    assert (slider.min, slider.max, slider.value) == (0, 3, 3)
    with Image.open(io.BytesIO(made["flow-circles.gif"])) as film:
        assert film.n_frames == 3 * bending.BETWEEN + 1
    slider.set_value(0).run()
    assert not app.exception
    assert "its grid is straight" in words(app)


def test_a_link_shows_the_same_and_what_is_changed_is_trained_anew():
    app = visit("flow", train="1", layer="2", **SMALL)
    assert not app.error
    assert "After 2 of 3 layers" in words(app)
    told = figures(app)
    stoppable.memory.clear()
    flow._looked_at.clear()
    assert figures(visit("flow", train="1", layer="2", **SMALL)) == told, "one seed is one result"
    app.segmented_control[0].set_value("spiral").run()
    assert "train" not in app.query_params
    assert not app.metric


def test_what_a_link_asks_wrongly_breaks_nothing():
    app = visit("flow", set="clouds", layers="99", hidden="x", seed="-1", layer="77", train="1")
    assert not app.exception
    assert not app.error
    assert "asks for set clouds" in words(app)
    assert app.slider[0].max == 12
    assert "ready-made" not in words(app), "it was to be trained"


def test_it_can_be_stopped_and_shows_what_was_learned_so_far(monkeypatch: pytest.MonkeyPatch):
    def interrupted(path: Iterator[toy_flow.Trained], *about: Any, **_: Any) -> None:
        """As a click on Stop after some steps: what it calls back, and no more of the script."""
        about[2]((9, [next(path) for _ in range(10)][-1]))
        stoppable.st.stop()

    with monkeypatch.context() as patch:
        patch.setattr(stoppable, "watched", interrupted)
        app = visit("flow", train="1", **SMALL).run()
    assert not app.exception
    assert "Stopped at step 9," in words(app)
    so_far = figures(app)
    assert abs(float(so_far["Integral over the plane"]) - 1) < 1e-3
    press(app, "Start again")
    assert "Stopped" not in words(app)
    assert figures(app) != so_far


def test_the_heat_map_is_enlarged_by_a_whole_factor():
    assert bending.SIDE % toys.CELLS == 0
    assert bending.heat(np.ones((4, 4))).shape == (3, 4, 4)
