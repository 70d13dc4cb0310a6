"""What the tests of a demo share: visitors who bring pictures, look at pages and stay away."""

import io
import os
import time
import zipfile

import numpy as np
from PIL import Image
from streamlit.testing.v1 import AppTest

from genmodels import demo
from genmodels.data import intake
from genmodels.files import in_space, space_folder
from genmodels.runs import Run
from tests.test_pages import visit

NOBODY = "0" * 32


def finish(run: Run) -> None:
    """As its worker would have said."""
    run.write_status(run.status().model_copy(update={"state": "finished", "doing": ""}))


def pictures(shade: int, count: int = 12) -> bytes:
    """A zip of images, bright in proportion to `shade`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(count):
            image = io.BytesIO()
            Image.fromarray(np.full((8, 8), 20 * shade + i, np.uint8)).save(image, "png")
            archive.writestr(f"{i}.png", image.getvalue())
    return buffer.getvalue()


def kept(key: str, given: bytes, called: str = "cats") -> str:
    with in_space(key):
        return intake.keep(given, intake.examine(given), called)


def visit_as(key: str, page: str, **query: str) -> AppTest:
    return visit(page, space=key, **query)


def aged(key: str, hours: float) -> None:
    then = time.time() - 3600 * hours
    os.utime(space_folder(key) / demo.USED, (then, then))
