"""The page Translate and what it is made of: reading people's pictures, both directions, wrong links, the route."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save
from streamlit.testing.v1 import AppTest

from app import look, translate
from genmodels import data, jobs, opening, translation
from genmodels.analysis.fidelity import l1
from genmodels.analysis.snapshot import snapshot
from genmodels.config import Schedule, UserError
from genmodels.data import pairs
from genmodels.families import FAMILIES
from genmodels.media import is_light_on_dark
from genmodels.runs import Run, RunConfig, create
from genmodels.training import Images
from genmodels.translation import BACK, FORWARD, LINE, open_translator
from tests.test_pages import press, visit, words
from tests.test_perturbation import STROKE, png
from tests.test_routes import ask

SIDE = 224
Make = Callable[[str, str], Run]


def stroke(*points: tuple[float, float], width: float, side: int = SIDE) -> np.ndarray:
    """Dark ink on white paper, anti-aliased as a browser draws. uint8 (side, side)."""
    large = Image.new("L", (4 * side, 4 * side), 255)
    ImageDraw.Draw(large).line([(4 * x, 4 * y) for x, y in points], 0, round(4 * width), "curve")
    return np.asarray(large.resize((side, side), Image.Resampling.BOX))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """The folder of a small run, made once for all tests here."""

    @cache
    def make(family: str, dataset: str) -> Path:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GENMODELS_HOME", str(tmp_path_factory.mktemp("made")))
            loaded = data.load(dataset)
            run = create(
                RunConfig(
                    family=family, knobs=FAMILIES[family].Config.of({"width": 4}).model_dump(), dataset=dataset,
                    schedule=Schedule(budget=2, unit="steps", threads=1, device="cpu"), shape=loaded.shape,
                    classes=loaded.classes,
                )
            )  # fmt: skip
            # What a worker leaves, without the minutes until it is good.
            (run.path / "weights.safetensors").write_bytes(save((model := run.config.build().eval()).state_dict()))
            run.write_arrays("snapshots/0", snapshot(model, Images.of(loaded, "test"), 0))
            return run.path

    return make


@pytest.fixture
def translating(made: Callable[[str, str], Path], home: Path) -> Callable[[str, str], Run]:
    """A copy of such a run in the home of the test."""

    def copy(family: str, dataset: str) -> Run:
        path = made(family, dataset)
        return Run(Path(shutil.copytree(path, home / "runs" / path.name)))

    return copy


@pytest.fixture
def edges(translating: Callable[[str, str], Run]) -> Run:
    return translating("pix2pix", "edges:digits")


@pytest.fixture
def styled(translating: Callable[[str, str], Run]) -> Run:
    return translating("cyclegan", "inverted:digits")


def opened(run: Run, **query: str) -> AppTest:
    app = visit("translate", run=run.id, **query)
    assert not app.exception
    return app


def captions(app: AppTest) -> list[str]:
    """What is written under the pictures, one after the other."""
    return [caption for image in app.image for caption in image.captions if caption]


# -- what people bring, as the model reads it


@pytest.mark.parametrize("offset", [0, 1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("way", ["down", "across", "diagonal"])
def test_a_line_drawn_with_the_usual_pen_is_an_edge_without_gaps(offset: int, way: str):
    x = 100 + offset
    ends = {
        "down": ((x, 20), (x, 204)),
        "across": ((20, x), (204, x)),
        "diagonal": ((12 + offset, 12), (210 + offset, 210)),
    }
    for thin in (1.0, 0.5):
        picture = stroke(*ends[way], width=thin * translate.LINE * SIDE / 28)
        small = np.asarray(Image.fromarray(255 - picture).resize((28, 28), Image.Resampling.BILINEAR))[None]
        lines = translation.as_lines(small)[0]
        assert set(np.unique(lines)) == {0, 255}, "black and white, as edges are"
        across = lines[4:-4] if way != "across" else lines[:, 4:-4].T
        widths = (across > 0).sum(1)
        assert widths.min() >= 1, "no gap"
        assert widths.max() <= (3 if way == "diagonal" else 2)


def test_lines_are_what_covers_enough_of_a_pixel():
    image = np.array([[[0, 255 * LINE - 1, 255 * LINE + 1, 255]]]).astype(np.uint8)
    assert translation.as_lines(image).tolist() == [[[0, 0, 255, 255]]]
    colour = np.zeros((3, 1, 2), np.uint8)
    colour[1, 0, 1] = 200
    assert translation.as_lines(colour).tolist() == [[[0, 255]]] * 3


@pytest.mark.parametrize(
    ("median", "usual", "drawn", "flipped"),
    [
        (240, 10, True, True), (10, 10, True, True),  # drawn on white paper, however much ink there is
        (240, 10, False, True), (10, 10, False, False), (120, 10, False, True),
        (240, 240, True, False), (10, 240, False, True), (240, 240, False, False), (120, 240, False, False),
        (10, 120, False, False), (240, 120, False, False), (240, 120, True, False),  # photos have no ground
    ],
)  # fmt: skip
def test_the_ground_becomes_that_of_the_images(median: int, usual: float, drawn: bool, flipped: bool):
    image = np.full((1, 4, 4), median, np.uint8)
    expected = 255 - image if flipped else image
    np.testing.assert_array_equal(translation.as_ground(image, usual, drawn), expected)


@pytest.mark.parametrize("side", [SIDE, 8, 28])
def test_a_drawing_on_edges_is_light_lines_on_dark(edges: Run, side: int):
    look = open_translator(edges)
    picture = stroke((side / 2, 0), (side / 2, side), width=translate.LINE * side / 8, side=side)
    found = look.read(picture, drawn=True)
    assert found.shape == look.shape
    assert set(np.unique(found)) == {0, 255}
    assert (found[0, :, :3] == 0).all()
    assert found[0, :, 3:5].any()


@pytest.mark.parametrize("direction", [FORWARD, BACK])
def test_a_drawing_has_the_ground_of_its_kind(styled: Run, direction: str):
    look = open_translator(styled)
    found = look.read(stroke((112, 20), (112, 200), width=80), direction, drawn=True)
    dark = is_light_on_dark(look.kinds[direction].images)
    assert dark == (direction == FORWARD), "digits are light on dark, their negatives are not"
    assert found[0, 4, 0] == (0 if dark else 255)
    assert (found[0, 4, 3:5] > 200).all() == dark


def test_what_a_recipe_takes_away_is_taken_from_drawings_too(translating: Make):
    look = open_translator(translating("pix2pix", "half:digits"))
    found = look.read(stroke((10, 112), (214, 112), width=80), drawn=True)
    assert found[0, 3:5, 1:4].min() > 200
    assert (found[0, :, 4:] == 0).all(), "the right half is what it has to find"


def test_an_upload_is_taken_apart_by_the_recipe_that_made_the_pairs(edges: Run):
    look = open_translator(edges)
    source, image = look.take_apart(STROKE)
    assert image[0, 4, 3] > 200, "light on dark, as digits are"
    np.testing.assert_array_equal(source, pairs.edges(image[None])[0])
    assert source.any()
    other = open_translator(edges).take_apart(255 - STROKE)[1]  # light on dark already
    np.testing.assert_allclose(other, image, atol=1)


def test_without_a_recipe_nothing_can_be_taken_apart(styled: Run):
    with pytest.raises(UserError, match="how the inputs"):
        open_translator(styled).take_apart(STROKE)


# -- what is translated


def test_the_pictures_are_the_models_and_the_partners_the_datasets(edges: Run):
    look = open_translator(edges)
    loaded = data.load("edges:digits")
    span, which = loaded.span("test"), np.array([3, 0])
    with torch.no_grad():
        x = torch.from_numpy(loaded.sources[span][which]).float() / 255
        expected = edges.model.translate(x).mul(255).round().byte().numpy()
    (made,) = look.there_and_back(look.kinds[FORWARD].images[which])
    np.testing.assert_allclose(made.astype(int), expected, atol=1)
    np.testing.assert_array_equal(look.partner(which), loaded.images[span][which])
    assert look.real


def test_back_again_is_the_other_generator_and_partners_go_both_ways(styled: Run):
    look = open_translator(styled)
    which = np.arange(4)
    for direction, other in ((FORWARD, BACK), (BACK, FORWARD)):
        images = look.kinds[direction].images[which]
        made, cycled = look.there_and_back(images, direction)
        np.testing.assert_array_equal(cycled, look.translate(made, other))
        np.testing.assert_array_equal(look.partner(which, direction), 255 - images)


def test_domains_have_no_partners(styled: Run):
    look = translation._of_dataset(styled, replace(data.load("inverted:digits"), pairing="domains"))
    assert look.partner(np.array([0])) is None
    assert look.classes == ()
    assert not look.kinds[FORWARD].labels.any()


def test_both_kinds_are_shown_inverted_or_none(styled: Run, edges: Run):
    look = open_translator(styled)
    assert look.light, "digits, in dark ink; their negatives then in white on black"
    assert translation.ground(look.kinds[BACK].images) > 200
    assert open_translator(edges).light


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("edges:mnist", ("edges", "picture")),
        ("inverted:mnist", ("plain", "inverted")),
        ("domains:mnist+kmnist", ("MNIST", "KMNIST")),
        ("pairs:facades", ("first kind", "second kind")),
    ],
)
def test_the_kinds_have_names(dataset: str, expected: tuple[str, str]):
    assert translation.names(dataset) == expected


# -- the page


@pytest.mark.parametrize("direction", [FORWARD, BACK])
def test_a_test_image_its_translation_the_way_back_and_the_partner(styled: Run, direction: str):
    app = opened(styled, direction=direction, image="5")
    assert not app.error
    assert not app.warning
    assert captions(app) == ["Input", "Translation", "And back again", "True partner"]
    look = open_translator(styled)
    images = look.kinds[direction].images[5:6]
    made, cycled = look.there_and_back(images, direction)
    assert f"true partner by **{l1(made, 255 - images).mean():.1%}**" in words(app)
    assert f"from the input by **{l1(cycled, images).mean():.1%}**" in words(app)
    assert [each.label for each in app.get("download_button")] == ["Pictures", "reproduce.py", "PNG", "reproduce.py"]


def test_without_a_way_back_there_is_neither_cycle_nor_choice(edges: Run):
    app = opened(edges)
    assert captions(app) == ["Input", "Translation", "True partner"]
    assert "back" not in app.markdown[1].value
    with pytest.raises(KeyError):
        app.segmented_control(key="translate-direction")


def test_the_direction_goes_into_the_address(styled: Run):
    app = opened(styled)
    app.segmented_control(key="translate-direction").set_value(BACK).run()
    assert not app.exception
    assert app.query_params["direction"] in (BACK, [BACK])
    app.segmented_control(key="perturb-start").set_value("drawing").run()
    assert app.query_params["direction"] in (BACK, [BACK])


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"direction": "sideways"}, "here is forward"),
        ({"direction": "back"}, "forward only"),
        ({"start": "prior"}, "names no such start"),
        ({"image": "99999"}, "image 99999"),
    ],
)
def test_a_wrong_link_is_a_sentence(query: dict[str, str], sentence: str, edges: Run):
    app = opened(edges, **query)
    assert not app.error
    assert sentence in " ".join(each.value for each in app.warning)
    assert captions(app) == ["Input", "Translation", "True partner"]


def test_a_photo_is_seen_from_its_edges_or_as_it_is(edges: Run):
    app = opened(edges, start="upload")
    assert "Choose a picture" in words(app)
    app.get("file_uploader")[0].set_value(("mine.png", png(STROKE), "image/png")).run()
    assert not app.exception
    assert captions(app) == ["Input", "Translation", "True partner"]
    app.toggle[0].set_value(False).run()
    assert captions(app) == ["Input", "Translation"]
    assert "no error to measure" in words(app)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"nothing", "not a PNG"),
        (png(STROKE)[:60], "cannot be read"),
        (png(np.full((40, 40, 3), 255, np.uint8)), "Nothing is left"),
    ],
)
def test_an_upload_that_is_no_picture_is_a_sentence_and_the_batch_stays(content: bytes, sentence: str, edges: Run):
    app = opened(edges, start="upload")
    app.get("file_uploader")[0].set_value(("mine.png", content, "image/png")).run()
    assert not app.exception
    assert sentence in app.error[0].value
    assert app.get("download_button")


def pad_of(app: AppTest) -> dict:
    return json.loads(next(e.proto.json for e in app.get("bidi_component") if e.proto.component_name == "pad"))


def test_the_pad_asks_the_route_of_the_run_and_direction(styled: Run, edges: Run, monkeypatch):
    live = pad_of(app := opened(styled, start="drawing", direction=BACK))["live"]
    assert "shown light on dark" in words(app), "as all images of the run are shown inverted"
    assert "shown light on dark" not in words(opened(styled, start="drawing"))
    assert live["route"] == f"/api/translate/{styled.id}?direction=back"
    assert live["shape"] == [1, 8, 8]
    assert len(live["names"]) == 3
    told = pad_of(app := opened(edges, start="drawing"))
    assert len(told["live"]["names"]) == 2
    assert "Draw whole strokes" in words(app)
    monkeypatch.setattr("app.translate.TINY", 8)
    assert pad_of(app.run())["pen"] < told["pen"]
    assert "Draw outlines" in words(app)


def test_colour_runs_say_that_drawings_are_grey(translating: Make):
    run = translating("cyclegan", "coloured:digits")
    app = opened(run, start="drawing")
    assert "Drawings are grey" in words(app)
    picture = stroke((40, 9), (40, 150), width=30, side=160)
    status, answer = ask("POST", f"/api/translate/{run.id}", "direction=forward", picture.tobytes())
    seen = np.frombuffer(answer, np.uint8).reshape(3, 3, 8, 8)[0]
    assert status == 200
    np.testing.assert_array_equal(seen[0], seen[2])
    assert (seen[0, :, -1] == 0).all(), "the ground is dark, as that of the digits is"


def test_the_batch_is_a_file_with_every_row(edges: Run):
    app = opened(edges, count="3", batch="4")
    look = open_translator(edges)
    which = np.sort(np.random.default_rng(4).permutation(len(look.kinds[FORWARD].images))[:3])
    found = translate.found(look, FORWARD, look.kinds[FORWARD].images[which], look.partner(which))
    assert found.errors in words(app)
    rows, labels = translate._blocks(found)
    assert labels == ["Input", "Translation", "True partner"]
    np.testing.assert_array_equal(rows[2], look.partner(which))


def test_another_image_leaves_the_batch(edges: Run):
    app = press(opened(edges, count="3", batch="4"), "Another")
    assert not app.exception
    assert app.query_params["batch"] in ("4", ["4"])
    assert "image" in app.query_params


def test_blocks_of_a_batch_are_filled_with_paper():
    images = np.arange(7, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 8, 8), np.uint8)
    rows, labels = translate._blocks(translate.Found(images, [images + 100], None))
    assert rows.shape == (4, translate.COLUMNS, 1, 8, 8)
    assert labels == ["Input", "Translation"] * 2
    assert rows[:, :, 0, 0, 0].tolist() == [
        [0, 1, 2, 3, 4], [100, 101, 102, 103, 104], [5, 6, 255, 255, 255], [105, 106, 255, 255, 255]
    ]  # fmt: skip


def test_no_run_that_translates_is_one_click_away(monkeypatch: pytest.MonkeyPatch):
    started: list[Run] = []
    monkeypatch.setattr(jobs, "start", started.append)
    monkeypatch.setattr(look, "shipped_runs", list)
    app = visit("translate")
    assert "No trained run translates yet" in words(app)
    press(app, "Train pix2pix on edges of digits")
    (run,) = started
    assert (run.config.family, run.config.dataset) == ("pix2pix", "edges:digits")


def test_a_vast_name_in_a_link_is_no_dataset():
    app = visit("train", data="domains:" + "+" * 20_000)
    assert not app.exception
    assert "There is no dataset" in words(app)


def test_a_run_that_cannot_translate_is_an_explanation():
    app = visit("translate", run="vae-digits")
    assert not app.exception
    assert "cannot translate images" in words(app)


def test_damaged_weights_are_a_sentence(edges: Run):
    (edges.path / "weights.safetensors").write_bytes(b"broken")
    app = opened(edges)
    assert "weights of run" in app.error[0].value


def test_without_the_dataset_the_run_has_a_few_images_of_its_own(edges: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "is_present", lambda name: False)
    app = opened(edges)
    assert not app.error
    assert captions(app) == ["Input", "Translation", "True partner"]
    assert "kept with the run" in words(app)
    assert "Test image 1 of" in words(app)
    shutil.rmtree(edges.path / "snapshots")
    opening.forget_all()
    assert "not on this machine" in opened(edges).error[0].value


def test_pictures_that_the_model_made_are_not_called_test_images(
    styled: Run, edges: Run, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(data, "is_present", lambda name: False)
    for run in (styled, edges):
        kept = run.arrays("snapshots/0")
        run.write_arrays("snapshots/0", {name: kept[name] for name in ("translations", "cycled") if name in kept})
        app = opened(run)
        assert not app.error
        assert "Picture 1 of" in words(app)
        assert "of the model's own making" in words(app)
        assert "Test image" not in words(app) + " ".join(each.label for each in app.number_input)


def test_a_dataset_that_cannot_be_read_is_as_if_it_were_not_here(edges: Run, monkeypatch: pytest.MonkeyPatch):
    def damaged(*_: object) -> None:
        raise UserError("The cache is damaged.")

    monkeypatch.setattr(data, "load", damaged)
    app = opened(edges)
    assert not app.error
    assert "kept with the run" in words(app)


def test_a_run_that_was_deleted_meanwhile_is_a_sentence(edges: Run):
    look = open_translator(edges)
    edges.delete()
    assert edges.stamp == 0
    assert translate.found(look, FORWARD, look.kinds[FORWARD].images[:1], None).errors
    with pytest.raises(UserError, match="deleted"):
        open_translator(Run(edges.path))


# -- the route


def test_the_route_answers_with_what_is_read_and_what_becomes_of_it(styled: Run):
    picture = stroke((60, 20), (160, 200), width=30)
    look = open_translator(styled)
    for direction in (FORWARD, BACK):
        status, answer = ask("POST", f"/api/translate/{styled.id}", f"direction={direction}", picture.tobytes())
        seen = look.read(picture, direction, drawn=True)[None]
        expected = 255 - np.concatenate([seen, *look.there_and_back(seen, direction)])
        assert status == 200
        np.testing.assert_array_equal(np.frombuffer(answer, np.uint8).reshape(3, 1, 8, 8), expected)


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (b"", ""), (bytes(10), ""), (bytes(49), ""), (bytes(257 * 257), ""), (bytes(2_000_000), ""),
        (bytes(64), "direction=back"), (bytes(64), "direction=../x"), (bytes(64), "direction="),
    ],
    ids=["empty", "odd", "small", "large", "huge", "back", "nonsense", "none"],
)  # fmt: skip
def test_a_wrong_question_gets_a_sentence(body: bytes, query: str, edges: Run):
    status, answer = ask("POST", f"/api/translate/{edges.id}", query, body)
    assert status in (400, 413)
    assert answer.decode().endswith(".")


def test_a_run_that_cannot_translate_gets_a_sentence():
    status, answer = ask("POST", "/api/translate/vae-digits", body=bytes(64))
    assert (status, answer[-1:]) == (400, b".")
