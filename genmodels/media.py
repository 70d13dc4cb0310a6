"""Pictures as bytes: grids of images, enlarged by whole factors so that a pixel stays a square."""

import io

import numpy as np
from PIL import Image

PAPER = 255  # what shows between the pictures of a grid


def is_light_on_dark(images: np.ndarray) -> bool:
    """Whether grey images are mostly dark, as MNIST is: light strokes on black. Never true of colour or of photos.

    images: uint8 (N, C, H, W).
    """
    return images.shape[1] == 1 and images.size > 0 and float(np.median(images)) < 64


def as_people_write(images: np.ndarray, light_on_dark: bool) -> np.ndarray:
    """Dark ink on light paper: inverted where the set is light on dark. uint8, any shape."""
    return 255 - images if light_on_dark else images


def enlarge(images: np.ndarray, scale: int) -> np.ndarray:
    """Each pixel becomes `scale` x `scale` pixels, without smoothing. (N, C, H, W) -> (N, C, H', W')."""
    return images.repeat(scale, axis=2).repeat(scale, axis=3)


def grid(images: np.ndarray, columns: int, scale: int = 1, pad: int = 1) -> np.ndarray:
    """Images in rows of `columns`, enlarged by `scale`, with `pad` pixels of white between them.

    uint8 (N, C, H, W), C 1 or 3 -> uint8 (H', W') or (H', W', 3). The last row is filled up with white.
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"a grid takes uint8 images (N, 1 or 3, H, W), not {images.dtype} {images.shape}")
    images = enlarge(images, scale)
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, channels, height + pad, width + pad), PAPER, np.uint8)
    sheet[:count, :, :height, :width] = images
    sheet = sheet.reshape(rows, columns, channels, height + pad, width + pad)
    picture = sheet.transpose(0, 3, 1, 4, 2).reshape(rows * (height + pad), columns * (width + pad), channels)
    picture = picture[: rows * (height + pad) - pad, : columns * (width + pad) - pad]
    return picture[:, :, 0] if channels == 1 else picture


def pairs(above: np.ndarray, below: np.ndarray, columns: int) -> np.ndarray:
    """Two sets of images as alternating rows of a grid: `columns` of the first, then the same of the second.

    (N, C, H, W) twice -> (M, C, H, W), filled up with white where a row is not full.
    """
    rows = -(-len(above) // columns)
    sheet = np.full((rows, 2, columns, *above.shape[1:]), PAPER, np.uint8)
    for row in range(rows):
        for which, images in enumerate((above, below)):
            part = images[row * columns : (row + 1) * columns]
            sheet[row, which, : len(part)] = part
    return sheet.reshape(-1, *above.shape[1:])


def png(image: np.ndarray) -> bytes:
    """uint8 (H, W) or (H, W, 3) as a PNG file. Compressed little: it goes over the wire once."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
