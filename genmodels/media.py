"""Pictures as bytes: grids, GIFs and films of images, enlarged by whole factors so that a pixel stays a square."""

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np
from PIL import Image

PAPER = 255  # what shows between the pictures of a grid
QUICKEST = 0.02  # seconds a frame of a GIF is shown at least: browsers slow down what asks for less


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
    images = enlarge(_checked(images), scale)
    count, channels, height, width = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * columns, channels, height + pad, width + pad), PAPER, np.uint8)
    sheet[:count, :, :height, :width] = images
    sheet = sheet.reshape(rows, columns, channels, height + pad, width + pad)
    picture = sheet.transpose(0, 3, 1, 4, 2).reshape(rows * (height + pad), columns * (width + pad), channels)
    picture = picture[: rows * (height + pad) - pad, : columns * (width + pad) - pad]
    return picture[:, :, 0] if channels == 1 else picture


def stacked(sets: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Sets of as many images as alternating rows of a grid: `columns` of the first, then the same of the next.

    (N, C, H, W) each -> (M, C, H, W), filled up with white where a row is not full.
    """
    rows = -(-len(sets[0]) // columns)
    sheet = np.full((rows, len(sets), columns, *sets[0].shape[1:]), PAPER, np.uint8)
    for row in range(rows):
        for which, images in enumerate(sets):
            part = images[row * columns : (row + 1) * columns]
            sheet[row, which, : len(part)] = part
    return sheet.reshape(-1, *sets[0].shape[1:])


def png(image: np.ndarray) -> bytes:
    """uint8 (H, W) or (H, W, 3) as a PNG file. Compressed little: it goes over the wire once."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def film_strip(frames: np.ndarray, count: int, columns: int = 10, scale: int = 1, pad: int = 1) -> np.ndarray:
    """`count` frames at even distances, the first and the last among them, as a grid to be read like a page.

    uint8 (N, C, H, W) -> uint8 (H', W') or (H', W', 3). Fewer where there are fewer frames.
    """
    chosen = np.linspace(0, len(frames) - 1, max(1, min(count, len(frames)))).round().astype(int)
    return grid(frames[chosen], min(columns, len(chosen)), scale, pad)


def gif(frames: Sequence[np.ndarray] | np.ndarray, seconds_per_frame: float = 0.05, scale: int = 1) -> bytes:
    """An endless GIF. Grey values are kept as they are; colours share one palette of 256, so that nothing flickers.

    uint8 (N, C, H, W), C 1 or 3, or a sequence that makes each (C, H, W) when it is asked for it: frames are enlarged
    one after the other. No frame is stretched for itself. Times are hundredths of a second, 0.02 at least.
    """
    pages = _pages(frames, scale)
    first = next(pages)
    pace = 10 * round(100 * max(seconds_per_frame, QUICKEST))
    buffer = io.BytesIO()
    first.save(buffer, "GIF", save_all=True, append_images=pages, duration=pace, loop=0, optimize=False)
    return buffer.getvalue()


def mp4(frames: Sequence[np.ndarray] | np.ndarray, frames_per_second: float = 20, scale: int = 1) -> bytes:
    """A film that every browser plays (H.264, 4:2:0). uint8 (N, C, H, W), C 1 or 3, or a sequence as for `gif`.

    The codec wants even sides: where one is odd, the last row or column is repeated.
    """
    import av
    from av.video.reformatter import VideoReformatter

    height, width = (scale * side for side in _checked(np.asarray(frames[:1])).shape[2:])
    odd, buffer, to_film = (height % 2, width % 2), io.BytesIO(), VideoReformatter()
    with av.open(buffer, "w", format="mp4") as film:
        stream = film.add_stream("libx264", Fraction(frames_per_second).limit_denominator(1000))
        stream.height, stream.width, stream.pix_fmt = height + odd[0], width + odd[1], "yuv420p"
        # The same frames are to give the same bytes: neither several threads do, nor x264's macroblock tree.
        stream.thread_count, stream.options = 1, {"preset": "veryfast", "x264-params": "mbtree=0"}
        for frame in _one_by_one(frames, scale):
            even = np.pad(frame, [(0, 0), (0, odd[0]), (0, odd[1])], "edge")
            pixels = even[0] if len(even) == 1 else np.ascontiguousarray(even.transpose(1, 2, 0))
            picture = av.VideoFrame.from_ndarray(pixels, "gray" if pixels.ndim == 2 else "rgb24")
            film.mux(stream.encode(to_film.reformat(picture, format="yuv420p", threads=1)))
        film.mux(stream.encode())
    return buffer.getvalue()


def _checked(images: np.ndarray) -> np.ndarray:
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.dtype != np.uint8 or not len(images):
        raise ValueError(f"uint8 images (N, 1 or 3, H, W) are needed, not {images.dtype} {images.shape}")
    return images


def _one_by_one(frames: Sequence[np.ndarray] | np.ndarray, scale: int) -> Iterator[np.ndarray]:
    """Each frame enlarged, (C, H', W'); never all of them at once."""
    for number in range(len(frames)):
        yield enlarge(_checked(np.asarray(frames[number : number + 1])), scale)[0]


def _pages(frames: Sequence[np.ndarray] | np.ndarray, scale: int) -> Iterator[Image.Image]:
    """Images as a GIF holds them: grey, or by a palette found on a few dozen of them."""
    some = _checked(np.asarray(frames[:: max(1, -(-len(frames) // 64))]))
    palette = Image.fromarray(grid(some, 8, pad=0))
    if some.shape[1] == 3:
        palette = palette.quantize(256, Image.Quantize.MEDIANCUT)
    for frame in _one_by_one(frames, scale):
        if len(frame) == 1:
            yield Image.fromarray(frame[0])
        else:
            yield Image.fromarray(frame.transpose(1, 2, 0)).quantize(palette=palette, dither=Image.Dither.NONE)
