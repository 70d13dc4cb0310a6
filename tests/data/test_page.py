"""The page Data: a look at every set, own images brought and deleted, and bad input as a sentence."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from app.state import page_file
from genmodels.data import DATASETS, intake


@pytest.fixture(autouse=True)
def _no_data(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "datasets"))


ENTRY = f"""
import streamlit as st
pages = {[page_file(name) for name in ("data", "train", "gallery")]}
st.navigation([st.Page(path, default=path.endswith("data.py")) for path in pages]).run()
"""


def opened(**query):
    page = AppTest.from_string(ENTRY, default_timeout=30)
    for name, value in query.items():
        page.query_params[name] = value
    return page.run()


def archive(count=12):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        for i in range(count):
            pixels, content = np.full((16, 20, 3), 20 * i, np.uint8), io.BytesIO()
            Image.fromarray(pixels).save(content, "PNG")
            packed.writestr(f"set/{'ab'[i % 2]}/{i}.png", content.getvalue())
        packed.writestr("set/a/broken.png", b"x")
    return file.getvalue()


def button(page, label):
    return next(each for each in page.button if each.label == label)


def text(page, label):
    return next(each for each in page.text_input if each.label == label)


@pytest.mark.parametrize("name", DATASETS)
def test_every_set_opens_or_offers_its_download(name):
    page = opened(data=name)
    assert not page.exception
    assert not page.error
    if DATASETS[name].megabytes:
        assert any("not on this machine" in each.value for each in page.info)
    else:
        assert any("images to train on" in each.value for each in page.caption)


def test_choosing_a_set_puts_it_in_the_address():
    page = opened()
    assert page.selectbox[0].value == "digits"
    page.selectbox[0].set_value("shapes").run()
    assert page.query_params["data"] == "shapes"
    assert any("scale" in each.value for each in page.caption)
    page.segmented_control[-1].set_value("test").run()
    assert not page.exception
    page.query_params["data"] = "digits"  # the browser's way back
    page.run()
    assert page.query_params["data"] == "digits"
    assert page.selectbox[0].value == "digits"


def test_an_archive_is_brought_kept_and_deleted():
    page = opened()
    page.file_uploader[0].set_value(("pets.zip", archive(), "application/zip")).run()
    assert not page.exception
    assert any("12 images in 2 classes" in each.value for each in page.markdown)
    assert text(page, "Name").value == "pets"
    intake_before = intake.own_datasets()
    button(page, "Keep as a dataset").click().run()
    assert intake_before == []
    assert intake.own_datasets() == ["folder:pets"]
    page = opened(data="folder:pets")
    assert any("10 images to train on" in each.value for each in page.caption)
    button(page, "Delete for good").click().run()
    assert intake.own_datasets() == []


@pytest.mark.parametrize(("content", "words"), [(b"hello", "not a zip"), (archive(3), "Only 3 of the images")])
def test_bad_archives_give_a_sentence_and_the_page_stays(content, words):
    page = opened()
    page.file_uploader[0].set_value(("x.zip", content, "application/zip")).run()
    assert not page.exception
    said = [each.value for each in [*page.error, *page.markdown]]
    assert any(words in each for each in said)
    assert any("images to train on" in each.value for each in page.caption)


def test_a_missing_folder_gives_a_sentence():
    page = opened()
    text(page, "Or a folder on the machine where this app runs").set_value("/no/such/folder").run()
    assert not page.exception
    assert "no folder" in page.error[0].value


def test_a_demonstration_asks_for_no_folder_of_the_server(monkeypatch):
    labels = [each.label for each in opened().text_input]
    monkeypatch.setenv("GENMODELS_DEMO", "1")
    page = opened()
    assert not page.exception
    assert set(labels) - {each.label for each in page.text_input} == {"Or a folder on the machine where this app runs"}
    assert page.file_uploader, "an archive can still be brought"


def test_classes_come_in_their_order():
    page = opened(data="digits")
    assert [each.captions for each in page.get("image")] == [[str(digit)] for digit in range(10)]
