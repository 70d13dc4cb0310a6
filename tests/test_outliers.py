"""The page Outliers: scores and their two sides, links, marks that become a child run, and what cannot be."""

import csv
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from app import marks, outliers, separation, stoppable
from genmodels import data
from genmodels.analysis.outliers import SCORES, able
from genmodels.data.selection import Selection
from genmodels.families import FAMILIES
from genmodels.runs import Run, RunConfig, create, find
from tests.test_pages import press, started, visit, words  # noqa: F401 (a fixture)

Q = {"score": "reconstruction", "second": "none"}  # what is quick


@pytest.fixture(autouse=True)
def _fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is kept of another test, and no second set is here but what needs no download."""
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "data"))
    stoppable.memory.clear()


@pytest.fixture
def digits() -> data.Dataset:
    return data.load("digits")


def copy_of_digits(**selection: object) -> Run:
    """A VAE as it comes with the package, said to have learned from a part of the digits."""
    run = find("vae-digits")
    config = run.config.model_dump(exclude={"selection"}) | {"selection": Selection.of(selection)}
    copy = create(RunConfig.of(config))
    shutil.copyfile(run.path / "weights.safetensors", copy.path / "weights.safetensors")
    return copy


def made(family: str) -> Run:
    """A run as a worker leaves it, but for the minutes until it is good."""
    loaded = data.load("digits")
    knobs = FAMILIES[family].Config().model_dump()
    run = create(RunConfig(family=family, knobs=knobs, dataset="digits", shape=loaded.shape, classes=loaded.classes))
    (run.path / "weights.safetensors").write_bytes(save(run.config.build().state_dict()))
    return run


def albums(app: AppTest) -> list[str]:
    return [each.proto.body for each in app.main.get("html")]


def charts(app: AppTest) -> list[str]:
    """What each chart says to who cannot see it."""
    return [each.proto.alt for each in app.get("vega_lite_chart")]


def test_the_two_sides_of_the_threshold_and_a_link_to_them() -> None:
    app = visit("outliers", run="vae-digits", **Q)
    assert not app.exception
    assert not app.error
    assert "of 180 (5" in words(app), "unasked, a twentieth of its own images lie beyond"
    assert len(charts(app)) == 1, "without a second set there is no ROC"
    oddest, _, normal = albums(app)
    assert oddest.count("<img") == 9
    assert normal.count("<img") == 12
    at = app.slider[0].value
    app.slider[0].set_value(app.slider[0].min).run()
    assert "Beyond the threshold, the oddest of 179" in words(app) or "oddest of 180" in words(app)
    linked = visit("outliers", run="vae-digits", threshold=app.query_params["threshold"][0], **Q)
    assert linked.slider[0].value == app.slider[0].min != at
    assert albums(linked) == albums(app)
    other = visit("outliers", run="vae-digits", score="ink")
    assert albums(other) != albums(app)
    assert "Digits turned by 90°" in charts(other)[0], "unasked, what ink cannot tell from its own"
    assert "AUROC 0.500" in charts(other)[1]


def test_a_class_held_out_is_the_second_set_by_itself(digits: data.Dataset) -> None:
    run = copy_of_digits(scarce="1", kept=0)
    app = visit("outliers", run=run.id, score="elbo")
    assert not app.exception
    assert not app.error
    histogram, roc = charts(app)
    assert "Digits without class 1" in histogram
    assert "AUROC" in roc
    test = digits.span("test")
    ones = digits.labels[test] == 1
    found = outliers.scored(run, outliers.Asked("ink", "test", "all", outliers.HELD_OUT))
    assert found
    assert found.other
    assert np.array_equal(found.other.images, digits.images[test][ones])
    assert len(found.own.images) == (~ones).sum()
    light = digits.images[test].reshape(len(ones), -1).sum(1) / 255
    assert found.scores == pytest.approx(np.concatenate([light[~ones], light[ones]]), rel=1e-5)
    assert "Ink, AUROC" in roc


def test_another_dataset_is_read_in_the_size_of_the_run() -> None:
    app = visit("outliers", run="vae-digits", score="corrected", second="shapes")
    assert not app.error
    assert "of an image of Digits and one of Shapes" in words(app)
    assert "■" in albums(app)[0]


def test_what_a_link_asks_that_is_not_there_is_said() -> None:
    app = visit("outliers", run="vae-digits", score="reconstruction", second="digits")
    assert "what this run has learned from" in words(app)
    app = visit(
        "outliers", run="vae-digits", second="none", score="likelihood", part="all", threshold="x_y", images="7"
    )
    assert not app.exception
    said = words(app)
    for wanted in ("asks for score likelihood", "asks for part all", r"threshold x\_y is no number", "asks for images"):
        assert wanted in said
    assert "is no number" in words(visit("outliers", run="vae-digits", threshold="nan", **Q))
    far = visit("outliers", run="vae-digits", threshold="1e300", **Q)
    assert not far.exception
    assert far.slider[0].value == far.slider[0].max


def test_marks_are_undone_and_become_a_child_run(started: list[Run], digits: data.Dataset) -> None:  # noqa: F811
    run = copy_of_digits(scarce="1", kept=0, left_out=(0, 5))
    app = visit("outliers", run=run.id, part="train", images="all", **Q | {"second": "held-out"})
    assert not app.error
    assert app.checkbox
    app.checkbox[0].check().run()
    press(app, "Train again without this image")
    app = visit("outliers", run=run.id, part="train", images="all", **Q | {"second": "held-out"})
    app.checkbox[0].check().run()
    press(app, "Undo")
    assert not [each for each in app.checkbox if each.value]
    beyond = next(each.label for each in app.button if each.label.startswith("Mark all"))
    press(app, beyond)
    assert all(each.value for each in app.checkbox)
    app.checkbox[1].uncheck().run()
    marked = int(beyond.split()[2]) - 1
    press(app, f"Train again without these {marked} images")
    one, many = started
    assert one.config.parent == many.config.parent == run.id
    assert one.config.selection.model_dump(include={"scarce", "kept"}) == {"scarce": "1", "kept": 0.0}
    assert len(one.config.selection.left_out) == 3
    left = many.config.selection.left_out
    assert len(left) == marked + 2
    assert {0, 5} < set(left)
    new = np.array([row for row in left if row not in (0, 5)])
    assert (digits.labels[digits.span("train")][new] != 1).all(), "numbers are those before anything was left out"
    same = {"dataset", "seed", "knobs", "schedule", "shape"}
    assert many.config.model_dump(include=same) == run.config.model_dump(include=same)
    assert app.title[0].value == "VAE on Digits", "it leads to where the child is seen learning"


def test_test_images_are_not_marked_and_too_many_marks_are_refused(started: list[Run]) -> None:  # noqa: F811
    assert not visit("outliers", run="vae-digits", **Q).checkbox
    app = visit("outliers", run="vae-digits", part="train", images="all", **Q)
    app.slider[0].set_value(app.slider[0].min).run()
    press(app, next(each.label for each in app.button if each.label.startswith("Mark all")))
    press(app, next(each.label for each in app.button if each.label.startswith("Train again")))
    assert not app.exception
    assert "leave out fewer" in app.error[0].value
    press(app, "Unmark all")
    assert not app.error
    assert not started


def test_a_class_is_held_out_by_one_click(started: list[Run]) -> None:  # noqa: F811
    app = visit("outliers", run="vae-digits", **Q)
    next(each for each in app.selectbox if each.label == "Class").set_value("7").run()
    press(app, "Train without 7")
    assert started[0].config.selection == Selection(scarce="7", kept=0)
    assert started[0].config.parent == "vae-digits"


def test_the_list_has_every_image_with_its_mark(digits: data.Dataset) -> None:
    run = find("vae-digits")
    found = outliers.scored(run, outliers.Asked("ink", "train", "1000", "shapes"))
    assert found
    content = marks.table(found, frozenset(found.own.rows[:3].tolist()))
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8-sig"))))
    assert len(rows) == 2000
    assert {each["set"] for each in rows} == {"Digits", "Shapes"}
    assert sum(int(each["marked"]) for each in rows) == 3
    values = [float(each["score"]) for each in rows]
    assert values == sorted(values, reverse=True)
    for each in rows[:200]:
        if each["set"] == "Digits":
            image = digits.images[digits.span("train")][int(each["row"])]
            assert float(each["score"]) == pytest.approx(image.sum() / 255, rel=1e-4)
            assert each["class"] == digits.classes[digits.labels[digits.span("train")][int(each["row"])]]


def test_a_spreadsheet_carries_out_nothing_that_stands_in_the_list() -> None:
    pile = outliers.Pile("=my_photos", np.zeros((2, 1, 8, 8), np.uint8), ["+a", "b"], np.arange(2))
    asked = outliers.Asked("ink", "train", "all", outliers.NONE)
    found = outliers.Scored(find("vae-digits"), asked, pile, None, np.array([-1.0, 2.0]), np.zeros(2), True)
    content = marks.table(found, frozenset([0]))
    assert content.startswith(b"\xef\xbb\xbf")
    _, *lines = csv.reader(io.StringIO(content.decode("utf-8-sig")))
    assert lines == [
        ["1", "'=my_photos", "train", "b", "2", "0", "0"], ["0", "'=my_photos", "train", "'+a", "-1", "0", "1"]
    ]  # fmt: skip


def test_what_is_downloaded_has_the_marks_though_no_session_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(marks.st, "download_button", lambda label, content, *_, **__: given.append(content))
    app = visit("outliers", run="vae-digits", part="train", **Q)
    app.checkbox[0].check().run()
    assert not app.exception
    monkeypatch.setattr(marks, "history", None)  # no session
    rows = csv.DictReader(io.StringIO(given[-1]().decode("utf-8-sig")))
    assert sum(int(each["marked"]) for each in rows) == 1


def test_a_title_is_escaped_where_it_is_markdown_and_nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    title = data.title
    monkeypatch.setattr(data, "title", lambda name: "my_photos_*" if name == "digits" else title(name))
    app = visit("outliers", run="vae-digits", score="ink", second="shapes")
    assert not app.exception
    assert charts(app)[0].endswith(" of my_photos_*, 5.22 of Shapes.")
    assert r"180 (5.0%) of my\_photos\_\*" in words(app)
    assert r"● my\_photos\_\*, ■ Shapes" in words(app)


@pytest.mark.parametrize("family", ["autoencoder", "flow", "diffusion"])
def test_a_run_offers_the_scores_that_it_is_able_to(family: str) -> None:
    app = visit("outliers", run=made(family).id, second="none")
    assert not app.exception
    assert not app.error
    offered = next(each for each in app.button_group if each.label == "Score").options
    names = able(FAMILIES[family].Model)
    assert list(offered) == [SCORES[name].title for name in names]
    assert ("no score of its own" in words(app)) == (names == ["ink"])


def test_a_run_that_cannot_encode_or_whose_images_are_not_here_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "cannot encode images" in words(visit("outliers", run=made("gan").id, **Q))
    monkeypatch.setattr(data, "is_present", lambda _: False)
    app = visit("outliers", run="vae-digits")
    assert not app.exception
    assert not app.error
    assert "is not on this machine" in words(app)


def test_images_that_are_all_as_odd_are_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outliers, "in_parts", lambda model, images, *_: iter([np.zeros(len(images))]))
    assert "the same score" in visit("outliers", run="vae-digits", **Q).error[0].value


def test_what_the_numbers_say() -> None:
    turned = separation.verdict("elbo", 0.1, 0.07, (100.0, 60.0), "MNIST without class 1", "class 1")
    assert "class 1 looks more normal than what the model has learned" in turned
    assert "60.0 nats on average, against 100" in turned
    assert "A likelihood is a sum" in turned
    assert "0.930 where little ink counts as odd" in turned
    assert "no more use" in turned
    good = separation.verdict("regret", 0.99, 0.13, (1, 10), "Fashion-MNIST", "MNIST")
    assert "the score knows more" in good
    assert "more normal" not in good
