"""Pictures: grids keep every pixel, and only light-on-dark sets are inverted."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some
from PIL import Image

from genmodels import media


@given(
    some.integers(1, 9),
    some.sampled_from([1, 3]),
    some.integers(1, 5),
    some.integers(1, 3),
    some.integers(0, 2),
)
def test_grid_holds_every_image_enlarged(count: int, channels: int, columns: int, scale: int, pad: int):
    images = np.random.default_rng(0).integers(0, 256, (count, channels, 4, 5), dtype=np.uint8)
    picture = media.grid(images, columns, scale, pad)
    rows = -(-count // columns)
    assert picture.shape[:2] == (rows * (4 * scale + pad) - pad, columns * (5 * scale + pad) - pad)
    for index in range(count):
        top, left = index // columns * (4 * scale + pad), index % columns * (5 * scale + pad)
        cell = picture[top : top + 4 * scale : scale, left : left + 5 * scale : scale]
        assert np.array_equal(cell if channels == 3 else cell[..., None], images[index].transpose(1, 2, 0))


def test_grid_has_white_between_and_after():
    picture = media.grid(np.zeros((3, 1, 2, 2), np.uint8), 2, 1, 1)
    assert (picture[2] == 255).all()
    assert (picture[3:, 3:] == 255).all()
    assert (picture == 0).sum() == 12


@pytest.mark.parametrize(
    "images", [np.zeros((2, 2, 4, 4), np.uint8), np.zeros((2, 1, 4, 4)), np.zeros((0, 1, 4, 4), np.uint8)]
)
def test_grid_refuses_what_is_no_stack_of_images(images: np.ndarray):
    with pytest.raises(ValueError, match="uint8 images"):
        media.grid(images, 2)


def test_pairs_alternate_rows():
    above, below = np.full((5, 1, 1, 1), 1, np.uint8), np.full((5, 1, 1, 1), 2, np.uint8)
    values = media.pairs(above, below, 3).ravel().tolist()
    assert values == [1, 1, 1, 2, 2, 2, 1, 1, 255, 2, 2, 255]


def test_png_is_lossless():
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(media.png(picture)))), picture)


def test_strokes_become_dark_on_light_and_photos_stay():
    digits = np.zeros((4, 1, 8, 8), np.uint8)
    digits[:, :, 2:6, 3] = 255
    photo = np.full((4, 1, 8, 8), 120, np.uint8)
    assert media.is_light_on_dark(digits)
    assert not media.is_light_on_dark(photo)
    assert not media.is_light_on_dark(np.zeros((4, 3, 8, 8), np.uint8))
    assert np.array_equal(media.as_people_write(digits, True), 255 - digits)
    assert media.as_people_write(photo, False) is photo
