"""The Arithmetic page without a browser: every family, every kind of term, and what cannot be computed."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import terms
from genmodels.directions import directions_of, keep_direction, place
from genmodels.families import FAMILIES
from genmodels.inside import Inside, open_inside
from genmodels.runs import Run, by_id
from tests.test_pages import press, visit, words

Trained = Callable[..., Run]
ABLE = [name for name, family in FAMILIES.items() if {"encode", "decode"} <= set(family.abilities)]


def asked(app: AppTest, name: str) -> str:
    """A term as the address says it, or as the page opens where the address says nothing."""
    usual = next(iter(terms.presets(open_inside(by_id(text(app.query_params["run"])))).values())) | {"strength": "1"}
    value = app.query_params.get(name, usual[name])
    return text(value)


def text(value: str | list[str]) -> str:
    return value[0] if isinstance(value, list) else value


def arithmetic(run: Run, **query: str) -> AppTest:
    app = visit("arithmetic", run=run.id, **query)
    assert not app.exception
    return app


def choose(app: AppTest, label: str, spec: str) -> AppTest:
    app = selectbox(app, label).set_value(spec).run()
    assert not app.exception
    return app


def selectbox(app: AppTest, label: str) -> Any:
    return next(box for box in app.selectbox if box.label == label)


@pytest.fixture
def run(trained: Trained) -> Run:
    return trained(budget=3, latent_size=3)


@pytest.mark.parametrize("family", ABLE)
def test_every_family_opens_on_an_equation(family: str, trained: Trained):
    run = trained(family, budget=20)
    app = arithmetic(run)
    assert not app.error
    if open_inside(run).in_noise:
        assert "choose a run that squeezes its images" in words(app)
        return
    assert not app.warning or "extrapolation" in app.warning[0].value
    assert (asked(app, "a"), asked(app, "b"), asked(app, "strength")) == ("class:7", "class:1", "1")
    inside = open_inside(run)
    assert inside.labels[int(asked(app, "item").partition(":")[2])] == 1
    said = words(app)
    assert f"of {len(inside.means)} test images lie within" in said
    assert "results that differ most" in said
    assert {metric.label for metric in app.metric} == {"Length", "Cosine", "Agreement", "Cohen's d"}


def test_a_link_opens_on_what_it_says_and_stays_as_it_is(run: Run):
    link = {"a": "images:3,1,7", "b": "class:2", "item": "class:5", "strength": "-0.25", "a-class": "7"}
    app = arithmetic(run, **link)
    assert not app.error
    assert {name: text(app.query_params[name]) for name in link} == link
    found = terms.group(open_inside(run), link["a"])
    assert found.ids.tolist() == [3, 1, 7]
    assert app.expander[0].proto.expanded, "the images that the link picks from"
    assert selectbox(app, "Show").value == 7
    app = press(choose(app, "Show", terms.ALL), "Others")
    assert "a-class" not in app.query_params
    assert text(app.query_params["a-sheet"]) == "1"
    assert set(press(app, next(iter(terms.presets(open_inside(run))))).query_params) == {"run"}


def test_the_address_says_only_what_differs_from_what_the_page_opens_with(run: Run):
    assert set(arithmetic(run).query_params) == {"run"}
    app = arithmetic(run, a="class:7", strength="1")
    assert set(app.query_params) == {"run"}
    app = choose(app, "Group A", "class:3")
    assert set(app.query_params) == {"run", "a"}
    app = press(app, next(iter(terms.presets(open_inside(run)))))
    assert set(app.query_params) == {"run"}


def test_images_to_pick_are_unfolded_when_they_are_asked_for(run: Run):
    app = choose(arithmetic(run), "Group A", "images")
    assert next(each for each in app.expander if "group A" in each.label).proto.expanded
    assert "3 picked images minus 1" in [each.value for each in app.text_input]


def test_menus_and_presets_change_the_address(run: Run):
    app = arithmetic(run)
    app = choose(app, "Group A", "class:3")
    assert asked(app, "a") == "class:3"
    app = choose(app, "plus the item", "class:4")
    assert asked(app, "item") == "class:4"
    app = choose(app, "plus the item", "image")
    number = int(asked(app, "item").partition(":")[2])
    assert open_inside(run).labels[number] == 4
    app = choose(app, "minus group B", "images")
    assert asked(app, "b").startswith("images:")
    app = press(app, "Clear")
    assert asked(app, "b") == "images:"
    assert "Group B has no images" in app.error[0].value
    app = press(app, "9 − 4 + a 4")
    assert (asked(app, "a"), asked(app, "b")) == ("class:9", "class:4")
    assert not app.error


def test_a_lasso_on_the_map_becomes_a_group(run: Run, monkeypatch: pytest.MonkeyPatch):
    app = visit("arithmetic", run=run.id)
    app = choose(app, "Group A", "selection")
    assert "Nothing is selected yet" in app.info[0].value
    assert asked(app, "a") == "class:7"
    app.session_state[f"selection-{run.id}"] = [5, 2, 9]
    app = choose(app.run(), "Group A", "selection")
    assert asked(app, "a") == "images:5,2,9"
    monkeypatch.setattr(terms, "LINKED", 10)
    app.session_state[f"selection-{run.id}"] = list(
        range(5, 300)
    )  # more than there are images, and than a link carries
    app = choose(app, "minus group B", "selection")
    assert asked(app, "b") == "selection"
    assert "up to 10 images" in words(app)
    assert "selection on the map (175)" in selectbox(app, "minus group B").options
    assert not app.error
    elsewhere = arithmetic(run, b="selection")
    assert "larger than a link can carry" in elsewhere.warning[0].value


STRANGE = {
    "a class that is not there": ({"a": "class:99"}, "no group"),
    "a class with many zeros": ({"a": "class:00000000099"}, "no group"),
    "a class with some zeros": ({"a": "class:007"}, "no group"),
    "no class at all": ({"a": "class:x"}, "no group"),
    "nothing": ({"a": "x" * 500}, "no group"),
    "an image that is not there": ({"b": "images:1,5000"}, "numbers below 180"),
    "no images": ({"b": "images:1,-2"}, "up to 200 numbers"),
    "very many images": ({"b": "images:" + ",".join("1" * 300)}, "up to 200 numbers"),
    "a factor": ({"a": "factor:0:high"}, "no group"),
    "two items": ({"item": "image:1,2"}, "no item"),
    "an item of none": ({"item": "images:"}, "no item"),
    "an item far off": ({"item": "image:180"}, "numbers below 180"),
    "too strong": ({"strength": "3"}, "strength goes from"),
    "infinitely strong": ({"strength": "inf"}, "strength goes from"),
    "no strength": ({"strength": "strong"}, "strength goes from"),
}


@pytest.mark.parametrize("case", STRANGE)
def test_a_strange_address_is_one_sentence_and_the_page_goes_on(case: str, run: Run):
    query, said = STRANGE[case]
    app = arithmetic(run, **query)
    assert said in app.warning[0].value
    assert not app.error
    assert len(app.metric) == 4


def without_class(run: Run, missing: int) -> Inside:
    """As if the test images had none of this class."""
    latents = run.arrays("latents")
    latents["labels"][latents["labels"] == missing] = 0
    run.write_arrays("latents", latents)
    return open_inside(run)


def test_a_class_without_images(run: Run):
    inside = without_class(run, 7)
    assert "class:7" not in terms.named(inside)
    app = arithmetic(run, a="class:7")
    assert "none of class 7" in app.warning[0].value
    assert (asked(app, "a"), asked(app, "b")) == ("class:9", "class:4")


def test_one_image_and_the_same_twice(run: Run):
    app = arithmetic(run, a="images:4", b="images:8")
    assert not app.error
    assert "Group A is one image" in "".join(info.value for info in app.info)
    app = arithmetic(run, a="class:4", b="class:4")
    assert "the same mean" in app.error[0].value
    assert len(app.selectbox) >= 4  # to choose others


def test_d_has_its_chance_level_beside_it(run: Run):
    app = arithmetic(run, a="class:3", b="class:8")
    found = {metric.label: metric.delta for metric in app.metric}
    assert found["Cohen's d"].startswith("by chance ")
    assert "of their spreads against" in words(app)


def test_groups_that_share_too_much_get_a_sentence(run: Run):
    app = arithmetic(run, a="images:0,1", b="images:0,1,2")
    assert not app.error
    assert "share so many images" in "".join(info.value for info in app.info)


def test_images_without_classes_and_one_dimension(trained: Trained):
    run = trained(budget=3, latent_size=1)
    config = json.loads((run.path / "config.json").read_text())
    (run.path / "config.json").write_text(json.dumps(config | {"classes": []}))
    latents = run.arrays("latents")
    run.write_arrays("latents", latents | {"labels": 0 * latents["labels"]})
    app = arithmetic(Run(run.path))
    assert asked(app, "a") == "images:0"
    app = arithmetic(Run(run.path), a="images:0,1,2,3,4", b="class:0")
    assert not app.error
    assert "5 images are in both groups" in words(app)


def test_codes_that_are_not_numbers(run: Run):
    latents = run.arrays("latents")
    run.write_arrays("latents", latents | {"means": latents["means"] * np.nan})
    assert "not numbers" in arithmetic(run).error[0].value


def test_factors_make_groups_and_presets(trained: Trained):
    run = trained(dataset="shapes", budget=2, size=16, latent_size=2)
    app = arithmetic(run)
    assert (asked(app, "a"), asked(app, "b")) == ("factor:1:high", "factor:1:low")
    inside = open_inside(run)
    found = terms.group(inside, "factor:1:high")
    others = np.setdiff1d(np.arange(len(inside.means)), found.ids)
    assert inside.factors[found.ids, 1].min() >= inside.factors[others, 1].max()
    assert abs(len(found.ids) / len(inside.means) - 1 / 3) < 0.01
    assert not any(spec.startswith("factor:0") for spec in terms.named(inside))  # the shape is the class


def test_directions_are_kept_and_deleted_after_a_question(run: Run):
    app = press(arithmetic(run), "Keep")
    assert not app.exception
    inside = open_inside(run)
    means = [inside.means[inside.labels == c].mean(0) for c in (7, 1)]
    assert directions_of(run)["7 minus 1"] == pytest.approx(means[0] - means[1], abs=1e-6)
    app = press(app, "Keep")
    assert "already" in app.toast[0].value
    app = press(app, "Delete")
    assert "7 minus 1" in directions_of(run)
    app = next(button for button in app.button if button.label == "Delete" and not button.key).click().run()
    assert not app.exception
    assert directions_of(run) == {}


def test_a_damaged_file_of_directions_is_a_sentence(run: Run):
    keep_direction(run, "one", np.ones(3))
    place(run).write_bytes(b"{")
    app = arithmetic(run)
    assert "directions.json" in app.error[0].value.replace("\\", "")
    assert len(app.metric) == 4


def test_another_dataset_in_the_menu_forgets_the_terms(run: Run, trained: Trained):
    other = trained("autoencoder", dataset="shapes", budget=2, size=16, latent_size=2)
    app = arithmetic(run, a="images:1,2", b="class:9")
    app = next(box for box in app.selectbox if box.label == "Run").set_value(other.id).run()
    assert not app.exception
    assert not [each for each in app.warning if "stands in" in each.value]
    assert asked(app, "a") == "factor:1:high"
