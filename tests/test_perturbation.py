"""The perturbation page without a browser: every family, every start, every wrong link; and what it is made of."""

import base64
import io
import json
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from streamlit.testing.v1 import AppTest
from torch import nn

from app import perturb, start
from app.components import latents, pad
from genmodels import directions, inside
from genmodels.config import UserError
from genmodels.decoder import describe
from genmodels.families import FAMILIES, build
from tests.test_pages import ROOT, Trained, visit, words

ABLE = [name for name in FAMILIES if {"encode", "decode"} <= set(FAMILIES[name].abilities)]


def opened(run, **query: str) -> AppTest:
    app = visit("perturbation", run=run.id, **query)
    assert not app.exception
    return app


def sliders(app: AppTest) -> bool:
    return any(each.proto.component_name == "latents" for each in app.get("bidi_component"))


def component(app: AppTest) -> dict:
    """What the sliders were given."""
    return json.loads(
        next(each.proto.json for each in app.get("bidi_component") if each.proto.component_name == "latents")
    )


def asked(app: AppTest, name: str) -> str:
    """What the address says. AppTest has a list of what a link said, and a string of what a page wrote."""
    value = app.query_params[name]
    return value if isinstance(value, str) else value[0]


def encoded(code: np.ndarray) -> str:
    return base64.urlsafe_b64encode(np.asarray(code, "<f4").tobytes()).decode().rstrip("=")


def png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


STROKE = np.full((224, 224, 3), 255, np.uint8)
STROKE[28:196, 70:126] = 0


@pytest.mark.parametrize("name", ABLE)
def test_every_family_from_every_start(name: str, trained: Trained):
    run = trained(name, budget=3)
    found = inside.open_inside(run)
    size = found.latent_size
    for query in (
        {},
        {"start": "test", "image": "5"},
        {"start": "prior", "seed": "12"},
        {"start": "centroid", "class": "3"},
        {"start": "drawing", "code": encoded(np.ones(size))},
        {"start": "upload", "code": encoded(np.zeros(size))},
    ):
        app = opened(run, **query)
        assert not app.error
        assert bool(app.warning) == (found.in_noise and query.get("start") == "centroid"), (
            "the mean of noise is nothing"
        )
        assert sliders(app)
        assert len(component(app)["sliders"]) == (16 if found.in_noise else size)
        offered = [each.label for each in app.get("download_button") if each.label != "One-file explorer (HTML)"]
        assert offered == (["Image", "reproduce.py"] if found.in_steps else ["PNG", "GIF", "Image", "reproduce.py"])


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"start": "nowhere"}, "names no such start"),
        ({"image": "99999999"}, "image 99999999"),
        ({"image": "-1"}, "image -1"),
        ({"image": "NaN"}, "image NaN"),
        ({"start": "prior", "seed": "9" * 10}, "seed"),
        ({"start": "centroid", "class": "10"}, "class 10"),
        ({"start": "drawing", "code": "!!"}, "code is damaged"),
        ({"start": "drawing", "code": encoded(np.zeros(3))}, "code is damaged"),
        ({"start": "upload", "code": encoded(np.full(16, np.nan))}, "code is damaged"),
        ({"z": "1:nan"}, "'z'"),
        ({"z": "0:1"}, "'z'"),
        ({"z": "17:1,2:0.5"}, "'z'"),
        ({"z": ":::,,"}, "'z'"),
        ({"z": "1:1e9"}, "'z'"),
        ({"along": "smile:1"}, "'along'"),
    ],
)
def test_a_wrong_link_is_a_sentence(query: dict[str, str], sentence: str, trained: Trained):
    app = opened(trained(budget=2), **query)
    assert not app.error
    assert sentence.replace("_", r"\_") in " ".join(each.value for each in app.warning)
    assert sliders(app) == ("code" not in query)


def test_widgets_write_the_address_and_forget_how_far_one_went(trained: Trained):
    run = trained(budget=2)
    app = opened(run, z="1:1.5", image="7")
    number = next(box for box in app.number_input if box.label.startswith("Number"))
    number.set_value(3).run()
    look = inside.open_inside(run)
    members = np.flatnonzero(look.labels == look.labels[7])
    assert asked(app, "image") == str(members[2])
    assert "z" not in app.query_params
    next(box for box in app.selectbox if box.label == "Class").set_value(3).run()
    assert look.labels[int(asked(app, "image"))] == 3
    app.segmented_control(key="perturb-start").set_value("prior").run()
    assert not app.exception
    assert asked(app, "start") == "prior"
    assert "image" not in app.query_params
    next(button for button in app.button if button.label == "Another").click().run()
    assert not app.exception
    assert asked(app, "seed").isdecimal()


def test_the_same_seed_is_the_same_sample_and_follows_the_law(trained: Trained):
    look = inside.open_inside(trained("autoencoder", budget=2))
    noise = np.random.default_rng(4).standard_normal(look.latent_size)
    expected = look.means.mean(0) + look.means.std(0) * noise
    app = opened(look.run, start="prior", seed="4")
    data = component(app)
    np.testing.assert_allclose(data["start"], expected, rtol=1e-5)
    assert "as it has no prior" in words(app)


def test_sliders_come_in_the_order_of_kl_and_start_where_the_link_says(trained: Trained):
    run = trained(budget=300)
    look = inside.open_inside(run)
    data = component(opened(run, image="3", z="2:1.25"))
    assert [each["index"] for each in data["sliders"]] == look.order.tolist()
    assert data["sliders"][0]["told"].endswith("nats")
    np.testing.assert_allclose(data["start"], look.means[3], rtol=1e-6)
    expected = look.means[3].astype(float)
    expected[1] = 1.25
    np.testing.assert_allclose(data["z"], expected, rtol=1e-6)
    assert data["active"] == look.active
    assert "dead dimension" in data["dead"]
    np.testing.assert_array_equal(np.reshape(data["original"], (8, 8)), 255 - look.images[3, 0])


def test_one_latent_dimension(trained: Trained):
    app = opened(trained(budget=2, latent_size=1))
    assert not app.error
    assert len(component(app)["sliders"]) == 1


def test_a_class_without_images(trained: Trained):
    run = trained(budget=2)
    path = run.path / "latents.npz"
    known = {key: value.copy() for key, value in np.load(path).items()}
    known["labels"][known["labels"] == 4] = 5
    np.savez(path, **known)
    app = opened(run, **{"start": "centroid", "class": "4"})
    assert "Class 4 has no test images" in app.warning[0].value
    assert "4" not in next(box for box in app.selectbox if box.label == "Class").options
    assert sliders(app)


def test_a_family_without_codes_is_an_explanation(trained: Trained, monkeypatch: pytest.MonkeyPatch):
    run = trained(budget=2)
    monkeypatch.setattr(type(FAMILIES["vae"]), "abilities", property(lambda self: ["sample"]))
    app = visit("perturbation", run=run.id)
    assert not app.exception
    assert "this page needs that" in words(app)


def test_an_upload_is_read_as_the_run_reads_images(trained: Trained):
    run = trained(budget=2)
    app = opened(run, start="upload")
    assert "Choose a picture" in words(app)
    app.get("file_uploader")[0].set_value(("mine.png", png(STROKE), "image/png")).run()
    assert not app.exception
    look = inside.open_inside(run)
    image = start.as_input(STROKE, look)
    assert image.shape == (1, 8, 8)
    assert image[0, 3, 3] > 200, "light ink on dark, as digits are"
    assert image[0, 3, 0] == 0
    np.testing.assert_allclose(component(app)["start"], look.encode(image[None])[0], rtol=1e-5)
    assert start.code_in(asked(app, "code")).tolist() == pytest.approx(component(app)["start"], rel=1e-5)
    np.testing.assert_allclose(start.as_input(255 - STROKE, look), image, atol=1)  # light on dark already


def test_an_upload_that_is_no_picture_is_a_sentence(trained: Trained):
    app = opened(trained(budget=2), start="upload")
    app.get("file_uploader")[0].set_value(("mine.png", b"nothing", "image/png")).run()
    assert not app.exception
    assert r"cannot be read\: not a PNG" in app.error[0].value


@pytest.mark.parametrize("picture", [np.full((40, 40, 3), 255, np.uint8), np.zeros((40, 40, 4), np.uint8)])
def test_a_blank_or_transparent_upload_is_a_sentence(picture: np.ndarray, trained: Trained):
    app = opened(trained(budget=2), start="upload")
    app.get("file_uploader")[0].set_value(("mine.png", png(picture), "image/png")).run()
    assert not app.exception
    assert "is blank" in app.error[0].value
    assert not sliders(app)


def test_people_count_from_one_and_small_numbers_have_no_exponent(trained: Trained, monkeypatch: pytest.MonkeyPatch):
    run = trained(budget=2)
    look = inside.open_inside(run)
    members = np.flatnonzero(look.labels == look.labels[7])
    place = np.searchsorted(members, 7) + 1
    assert f"The test image {place} of {len(members)} of class {look.labels[7]}." in words(opened(run, image="7"))
    monkeypatch.setattr(inside.Inside, "importance", property(lambda self: np.array([1.28e-6, 1.5])))
    assert perturb.carries(look) == ["0.00 nats", "1.50 nats"]


def drawn(picture: np.ndarray) -> str:
    return pad.START + base64.b64encode(png(picture)).decode()


@pytest.mark.parametrize(
    ("said", "kind", "sentence"),
    [
        (drawn(STROKE), "caption", "Your drawing"),
        (drawn(np.full((224, 224, 3), 255, np.uint8)), "info", "Draw something"),
        (None, "info", "Draw something"),
        (pad.START + "AAAA", "error", "drawing cannot be read"),
        (pad.START + "no base64!", "error", "drawing cannot be read"),
        ("data:text/html,x", "error", "drawing cannot be read"),
        (7, "error", "drawing cannot be read"),
    ],
)
def test_a_drawing_whole_blank_or_damaged(said: object, kind: str, sentence: str, trained: Trained):
    app = AppTest.from_file(str(ROOT / "app" / "main.py"), default_timeout=60)
    app.query_params["run"], app.query_params["start"] = trained(budget=2).id, "drawing"
    app.session_state["perturb-pad-kept"] = said
    app.switch_page(str(ROOT / "pages" / "perturbation.py")).run()
    assert not app.exception
    assert sentence in " ".join(each.value for each in app.get(kind))
    assert sliders(app) == (kind == "caption")


def test_a_model_that_gives_no_number_is_a_sentence(trained: Trained, monkeypatch: pytest.MonkeyPatch):
    look = inside.open_inside(trained(budget=2))
    monkeypatch.setattr(inside.Inside, "encode", lambda self, images: np.full((1, 16), np.nan, np.float32))
    with pytest.raises(UserError, match="no number for this picture"):
        start._encoded(look, STROKE, "x")


def test_named_directions_are_sliders(trained: Trained):
    run = trained(budget=2)
    directions.keep_direction(run, "slant", np.eye(16, dtype=np.float32)[2])
    app = opened(run, along="slant:1.5")
    data = component(app)
    assert [each["name"] for each in data["directions"]] == ["slant"]
    assert data["strengths"] == [1.5]
    directions.place(run).write_text("{")
    app = opened(run)
    assert app.warning
    assert sliders(app)


def test_where_the_sliders_stand_goes_into_the_address_and_back(monkeypatch: pytest.MonkeyPatch):
    address: dict[str, str] = {}
    monkeypatch.setattr(perturb.st, "query_params", address)
    code, names = np.array([0.5, -1.25, 3.0], np.float32), {"slant": np.zeros(3)}
    perturb.write_place(latents.Place(np.array([0.5, 2.125, -3.0]), {"slant": -0.5}), code)
    assert address == {"z": "2:2.125,3:-3", "along": "slant:-0.5"}
    place = perturb.place_in_address(code, names)
    np.testing.assert_allclose(place.z, [0.5, 2.125, -3.0])
    assert place.strengths == {"slant": -0.5}
    perturb.write_place(latents.Place(code.astype(float), {"slant": 0.0}), code)
    assert address == {}


@pytest.mark.parametrize(
    "said",
    [
        None, "x", {}, {"token": "other", "z": [1, 2], "strengths": []}, {"token": "t", "z": [1], "strengths": []},
        {"token": "t", "z": [1, math.nan], "strengths": []}, {"token": "t", "z": [1, "a"], "strengths": []},
        {"token": "t", "z": [1, 2], "strengths": [1]}, {"token": "t", "z": 1, "strengths": []},
        {"token": "t", "z": [1, [2]], "strengths": []},
    ],
)  # fmt: skip
def test_what_a_browser_says_is_checked(said: object):
    assert latents.read(said, "t", 2, []) is None
    found = latents.read({"token": "t", "z": [1, 2.5], "strengths": [0.5]}, "t", 2, ["slant"])
    assert found is not None
    assert found.z.tolist() == [1, 2.5]
    assert found.strengths == {"slant": 0.5}


def test_shapes_name_the_factor_a_dimension_follows(trained: Trained):
    run = trained(dataset="shapes", size=16, budget=400, latent_size=6)
    data = component(opened(run))
    assert any("follows x (" in each["told"] or "follows y (" in each["told"] for each in data["sliders"])


def test_grid_rows_come_by_kl_over_the_prior_s_quantiles(trained: Trained):
    look = inside.open_inside(trained(budget=300))
    z = look.means[0]
    grid = perturb.make_grid(look, z, np.array([-1.0, 0.0, 1.0]), 2)
    code = z.copy()
    code[look.order[1]] = 1.0
    np.testing.assert_array_equal(grid.images[1, 2], 255 - look.decode(code[None])[0])
    assert grid.columns == ["−1.00", "0", "1.00"]
    assert grid.rows[0].startswith(f"z{look.order[0] + 1}\n")


def test_the_settings_of_the_grid_come_with_the_link(trained: Trained):
    app = opened(trained(budget=300), over="Range", reach="2.0", columns="5", rows="1")
    labels = {box.label: box.value for box in app.number_input}
    assert (labels["Columns"], labels["Rows"], labels["Up to ± (σ)"]) == (5, 1, 2.0)
    assert not opened(trained(budget=300), over="Everything", reach="-9", columns="x", rows="999").error


def test_a_large_or_unknown_decoder_is_left_to_the_route():
    model = build("vae", FAMILIES["vae"].Config.of({"hidden_size": 2048, "layers": 4}), (1, 28, 28), 10)
    assert describe(model) is None
    model = build("vae", FAMILIES["vae"].Config(), (1, 8, 8), 10)
    assert describe(model) is not None
    model.decoder.append(nn.Tanh())
    assert describe(model) is None
    other = build("vae", FAMILIES["vae"].Config(), (1, 8, 8), 10)
    other.decode = lambda z: torch.tanh(other.decoder(z))  # what comes after the layers is none that is known
    assert describe(other) is None
    assert describe(nn.Linear(2, 3)) is None


@pytest.mark.parametrize("real", [True, False])
def test_a_copy_is_not_called_an_original(real: bool, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(start, "choose_image", lambda labels, classes: (0, "1 of 1"))
    known: Any = SimpleNamespace(real=real, means=np.zeros((1, 2)), images=np.zeros((1, 1, 8, 8)), labels=0, classes=())
    found = start._test(known)
    assert (found.picture is not None) == real
    assert ("copy" in found.words) != real
