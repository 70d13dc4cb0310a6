"""One picture: bytes that may be hostile to an upright PIL image, and from there to a square array."""

import io
import os
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageOps

ORIENTATION = ExifTags.Base.Orientation
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP")
Item = TypeVar("Item")
Result = TypeVar("Result")

BLOCK = 256  # pictures handled between two reports of progress
# A 40-megapixel camera's photo passes; a few kB of PNG that unpack to a gigabyte do not.
MAX_PIXELS = 40_000_000
MAX_WEBP = 16_000_000  # its decoder holds a picture four times
MAX_SIDE = 30_000  # what is kept of a narrow picture is as long as the picture
MAX_SCANS = 100  # of a JPEG, which has ten as a rule, and of which each costs as much time as a picture
# Nothing here is trained above 64 pixels: four times that on the short side loses nothing and decodes photos faster.
ENOUGH = 256
LARGE = 4_000_000  # pixels: larger ones are decoded one at a time, however many people upload them
_one_at_a_time = threading.Lock()
# All that Pillow's decoders are known to raise on damaged files.
DECODER_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    MemoryError,
    struct.error,
    zlib.error,
    ArithmeticError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
)


class UnreadableError(ValueError):
    """A picture that cannot be used; the message is the reason, without the name of the file."""


def decode(data: bytes) -> tuple[Image.Image, tuple[int, int]]:
    """Decode to an upright image in mode L or RGB with a short side of at most 256, and its full (width, height).

    GIF: the first frame. Transparent parts become white. Raises UnreadableError, and does so before any pixel is
    unpacked when there are more than 40 million. Takes at most some 300 MB, whatever it is given.
    """
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            width, height = image.size
            _check_size(image, data)
            whole = width * height > LARGE and (image.format != "JPEG" or "progressive" in image.info)
            with _one_at_a_time if whole else nullcontext():
                image.draft(None, (ENOUGH, ENOUGH))  # a large JPEG is decoded at a half, quarter or eighth of its size
                upright = _in_bands(image)
                upright.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
            upright = ImageOps.exif_transpose(upright)
    except UnreadableError:
        raise
    except Image.UnidentifiedImageError:
        raise UnreadableError("not a PNG, JPEG, BMP, GIF or WebP picture, or damaged at its beginning") from None
    except Image.DecompressionBombError:
        raise UnreadableError(f"far more than {MAX_PIXELS // 1_000_000} million pixels") from None
    except DECODER_ERRORS:
        raise UnreadableError("damaged: it does not decode") from None
    if (upright.width > upright.height) != (image.width > image.height):
        width, height = height, width
    return shrink(upright, ENOUGH), (width, height)


def _check_size(image: Image.Image, data: bytes) -> None:
    width, height = image.size
    most = MAX_WEBP if image.format == "WEBP" else MAX_PIXELS
    if width * height > most:
        raise UnreadableError(f"{width} x {height} pixels; pictures up to {most // 1_000_000} million are read")
    if max(width, height) > MAX_SIDE:
        raise UnreadableError(f"{width} x {height} pixels; sides up to {MAX_SIDE:,} are read")
    if image.format == "JPEG" and data.count(b"\xff\xda") > MAX_SCANS:
        raise UnreadableError(f"built of more than {MAX_SCANS} scans, which no camera does")


def _in_bands(image: Image.Image) -> Image.Image:
    """As L or RGB; a large one already reduced by a whole factor, band by band, so that no copy of it is whole."""
    factor = max(1, min(image.size) // (2 * ENOUGH))
    if factor == 1 and image.width * image.height <= LARGE:
        return _flatten(image)
    bands = [
        _flatten(image.crop((0, top, image.width, min(top + 16 * factor, image.height)))).reduce(factor)
        for top in range(0, image.height, 16 * factor)
    ]
    small = Image.new(bands[0].mode, (bands[0].width, sum(band.height for band in bands)))
    for i, band in enumerate(bands):
        small.paste(band, (0, 16 * i))
    return small


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode to L or RGB: 16 bits scaled to 8, palettes resolved, transparency over white."""
    if image.mode.startswith("I"):  # 16-bit grey: convert("L") would clip at 255 instead of scaling
        return Image.fromarray((np.asarray(image).astype(np.int32).clip(0, 65_535) >> 8).astype(np.uint8))
    if image.has_transparency_data:
        grey = image.mode in ("L", "LA", "La", "1")
        colour = image.convert("RGBA")
        white = Image.new("RGBA", colour.size, "white")
        return Image.alpha_composite(white, colour).convert("L" if grey else "RGB")
    return image.convert("L" if image.mode in ("L", "1") else "RGB")


def shrink(image: Image.Image, short: int) -> Image.Image:
    """The image with its short side at most `short`, proportions kept."""
    scale = short / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def fit(image: Image.Image, size: int, channels: int) -> np.ndarray:
    """The middle square of an L or RGB image, resized: uint8 (C, size, size). Grey is ITU-R 601."""
    image = image.convert("L" if channels == 1 else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (size, size):
        # Pillow's bilinear filter widens when it shrinks: it averages, so nothing aliases. Given a box instead of a
        # cut-out, it would average over pixels outside of it.
        image = image.crop((left, top, left + side, top + side)).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)


def fit_all(images: np.ndarray, size: int, channels: int) -> np.ndarray:
    """uint8 (N, H, W) or (N, H, W, 3) to uint8 (N, C, size, size)."""
    if images.shape[1:] == (size, size) and channels == 1:
        return images[:, None]
    if images.shape[1:] == (size, size, 3) and channels == 3:
        return images.transpose(0, 3, 1, 2)
    return np.stack([fit(Image.fromarray(image), size, channels) for image in images])


def in_blocks(one: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[list[Result]]:
    """Results of one(item) in the order of the items, some hundred at a time. Pillow decodes without the GIL."""
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for first in range(0, len(items), BLOCK):
            yield list(pool.map(one, items[first : first + BLOCK]))
