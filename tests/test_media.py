"""Pictures: grids keep every pixel, and only light-on-dark sets are inverted."""

import io
from collections.abc import Sequence

import av
import imageio.v3 as imageio
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
    values = media.stacked([above, below], 3).ravel().tolist()
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


def frames(count: int, channels: int, height: int = 9, width: int = 7) -> np.ndarray:
    """A bright square that moves over a ramp."""
    found = np.zeros((count, channels, height, width), np.uint8)
    found += np.linspace(0, 200, width, dtype=np.uint8)
    for number, frame in enumerate(found):
        frame[0, number % height, :3] = 250
    return found


def test_a_grey_gif_keeps_every_value_and_its_times():
    moving = frames(5, 1)
    found = Image.open(io.BytesIO(media.gif(moving, 0.04, 2)))
    assert (found.n_frames, found.info["loop"], found.info["duration"]) == (5, 0, 40)
    for number in range(5):
        found.seek(number)
        assert np.array_equal(np.asarray(found.convert("L")), media.enlarge(moving, 2)[number, 0])


def test_a_gif_is_never_stretched_frame_by_frame():
    faint = np.full((2, 1, 8, 8), 3, np.uint8)
    faint[1, 0, 0, 0] = 9
    found = Image.open(io.BytesIO(media.gif(faint)))
    found.seek(1)
    assert np.asarray(found.convert("L")).max() == 9


def test_frames_that_stand_still_last_as_long_as_they_should():
    still = np.repeat(frames(2, 1), [4, 1], axis=0)
    found, shown = Image.open(io.BytesIO(media.gif(still, 0.05))), 0
    for number in range(found.n_frames):
        found.seek(number)
        shown += found.info["duration"]
    assert shown == 5 * 50


def test_a_colour_gif_has_one_palette_near_the_truth():
    moving = frames(6, 3)
    found = Image.open(io.BytesIO(media.gif(moving, 0.05)))
    for number in range(6):
        found.seek(number)
        wrong = np.abs(np.asarray(found.convert("RGB")).astype(int) - moving[number].transpose(1, 2, 0))
        assert wrong.mean() < 3


@pytest.mark.parametrize("channels", [1, 3])
def test_an_mp4_plays_every_frame_with_even_sides(channels: int):
    moving = frames(6, channels)
    with av.open(io.BytesIO(media.mp4(moving, 10, 3))) as film:
        stream = film.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (22, 28, 10)
        assert stream.codec_context.pix_fmt == "yuv420p"
        seen = [frame.to_ndarray(format="rgb24") for frame in film.decode(stream)]
    assert len(seen) == 6
    truth = media.enlarge(moving, 3).transpose(0, 2, 3, 1)
    assert np.abs(np.stack(seen)[:, :27, :21].astype(int) - truth).mean() < 12


def test_a_film_strip_has_the_first_and_the_last_frame():
    numbers = np.arange(9, dtype=np.uint8).reshape(9, 1, 1, 1)
    assert media.film_strip(numbers, 3, pad=0).ravel().tolist() == [0, 4, 8]
    assert media.film_strip(numbers, 4, columns=2, pad=0).tolist() == [[0, 3], [5, 8]]
    assert media.film_strip(numbers[:2], 5, pad=0).ravel().tolist() == [0, 1], "fewer where there are fewer"


class Made(Sequence):
    """Frames that are made when they are asked for; it remembers how many at once."""

    def __init__(self, made: np.ndarray) -> None:
        self.made, self.most = made, 0

    def __len__(self) -> int:
        return len(self.made)

    def __getitem__(self, which: slice) -> np.ndarray:
        self.most = max(self.most, len(self.made[which]))
        return self.made[which]


@pytest.mark.parametrize("write", [media.gif, media.mp4])
@pytest.mark.parametrize("channels", [1, 3])
def test_frames_may_be_made_one_by_one(write, channels: int):
    greys = (37 * np.arange(150) % 256).astype(np.uint8)  # flat, each unlike the one before: no codec may mix them up
    asked = Made(np.broadcast_to(greys[:, None, None, None], (150, channels, 8, 8)))
    kind = ".gif" if write is media.gif else ".mp4"
    found = imageio.imread(write(asked), extension=kind, **({} if write is media.gif else {"plugin": "pyav"}))
    assert asked.most <= 64
    assert len(found) == 150
    error = np.abs(found.reshape(150, -1).mean(1) - greys)
    assert error.max() < 24


@pytest.mark.parametrize("write", [media.gif, media.mp4])
def test_no_frames_are_no_film(write):
    with pytest.raises(ValueError, match="uint8 images"):
        write(np.zeros((0, 1, 8, 8), np.uint8))
