"""Arrays of a run or a dataset as pictures on the page: crisp on any screen, made once."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from genmodels import data, media
from genmodels.figures import title
from genmodels.runs import Run

WIDTH = 346  # CSS pixels of a grid at most: with its margin, what a phone has room for

THUMBNAIL = (220, 110)  # CSS pixels, width and height at most
MARGIN = 5  # CSS pixels of paper round a grid: the page rounds its corners, and in the dark theme the sheet is seen
PAIR = 72  # CSS pixels of an image before and after
CELL = 48  # CSS pixels of one image in a grid, about


class Picture(NamedTuple):
    """A PNG as a data address, its width on the page, and what it is in words."""

    address: str
    width: int
    caption: str = ""


class Facts(NamedTuple):
    """What the Train page needs to know of a dataset."""

    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    sizes: tuple[int, int, int]
    preview: Picture


def sheet(images: np.ndarray, cell: int, light_on_dark: bool, rows: int, width: int = WIDTH) -> Picture:
    """As many whole rows of images as there are, up to `rows`, each image about `cell` CSS pixels wide: a whole factor.

    The file is twice as large as it is shown: one picture pixel is 2k x 2k in it and k CSS pixels on the page, so that
    squares stay squares on plain and on dense screens.
    """
    factor, columns, gap = layout(images.shape[3], cell, width)
    images = images[: max(1, min(rows, len(images) // columns)) * columns]
    picture = media.grid(media.as_people_write(images, light_on_dark), columns, 2 * factor, 2 * gap)
    if len(images) > 1:
        margin = [(2 * MARGIN, 2 * MARGIN)] * 2 + [(0, 0)] * (picture.ndim - 2)
        picture = np.pad(picture, margin, constant_values=media.PAPER)
    address = "data:image/png;base64," + base64.b64encode(media.png(picture)).decode()
    return Picture(address, picture.shape[1] // 2)


def layout(side: int, cell: int, width: int) -> tuple[int, int, int]:
    """Whole factor, columns, and CSS pixels between images, for images of `side` pixels shown about `cell` wide."""
    factor = max(1, round(cell / side))
    gap = 4 if side < 16 else 2  # tiny images fill their frame to the edge
    return factor, max(1, (width + gap) // (side * factor + gap)), gap


def show(picture: Picture, alt: str, caption: str | None = None) -> None:
    """Given by its address, so that nothing on the way resizes it."""
    st.image(picture.address, caption, picture.width, alt=alt)


def before_and_after(pairs: Iterable[tuple[Any, np.ndarray]]) -> None:
    """Images as they are, each above what it becomes, uint8 (C, H, W); the pairs stay together on any screen."""
    with st.container(horizontal=True):
        for before, after in pairs:
            picture = sheet(after[None], PAIR, False, 1, PAIR)
            with st.container(width=max(PAIR, picture.width), gap="xsmall"):
                st.image(before, width=PAIR, alt="An image as it is")
                show(picture, "The same image as it is learned from")


@st.cache_data(show_spinner=False, max_entries=64, ttl=120)
def facts(name: str, size: int | None, channels: int | None) -> Facts:
    """Shape, classes, numbers, and one image of each of ten classes. Raises UserError."""
    dataset = data.load(name, size, channels)
    labels = np.asarray(dataset.labels)
    _, first = np.unique(labels, return_index=True)
    chosen = np.sort(first)[:10] if len(first) > 1 else np.arange(min(10, len(labels)))
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    images = np.ascontiguousarray(dataset.images[chosen])
    picture = sheet(images, 32, media.is_light_on_dark(images), 2, 400)
    return Facts(dataset.shape, dataset.classes, dataset.sizes, picture)


def of_run(run: Run, name: str) -> dict[str, Picture]:
    """The pictures in one .npz of a run, by name; reconstructions come under their originals. Raises UserError."""
    path = run.path / f"{name}.npz"
    return _pictures(str(path), path.stat().st_mtime_ns if path.exists() else 0)


@st.cache_data(show_spinner=False, max_entries=256)
def _pictures(path: str, changed: int) -> dict[str, Picture]:
    file = Path(path)
    folder = file.parent.parent if file.parent.name == "snapshots" else file.parent
    arrays = Run(folder).arrays(str(file.relative_to(folder).with_suffix("")))
    images = {name: array for name, array in arrays.items() if array.ndim == 4 and array.dtype == np.uint8}
    if not images:
        return {}
    light = media.is_light_on_dark(images.get("originals", next(iter(images.values()))))
    originals = images.pop("originals", None)
    if paired := originals is not None and "reconstructions" in images:
        _, columns, _ = layout(originals.shape[3], CELL, WIDTH)
        whole = len(originals) // columns * columns or len(originals)
        images["reconstructions"] = media.pairs(originals[:whole], images["reconstructions"][:whole], columns)
    return {
        name: sheet(array, CELL, light, 8)._replace(caption=described(name, paired)) for name, array in images.items()
    }


def described(name: str, paired: bool) -> str:
    """What a set of pictures is, in words; paired: copies come under their originals."""
    copies = (
        "in each pair of rows, test images above and the model's copies below" if paired else "copies of test images"
    )
    return {
        "samples": "Samples: new images drawn from the same noise at each step",
        "reconstructions": f"Reconstructions: {copies}",
    }.get(name, title(name))


def newest(run: Run) -> str:
    """The live pictures or the last snapshot, whichever was written later."""
    steps = run.snapshots()
    last = f"snapshots/{steps[-1]}" if steps else "live"
    times = {name: path.stat().st_mtime for name in (last, "live") if (path := run.path / f"{name}.npz").exists()}
    return max(times, key=times.__getitem__, default="live")


@st.cache_data(show_spinner=False, max_entries=512)
def _thumbnail(path: str, name: str, changed: int) -> Picture | None:
    arrays = Run(Path(path)).arrays(name)
    images = arrays.get("samples", arrays.get("reconstructions"))
    if images is None or not len(images):
        return None
    factor, _, gap = layout(images.shape[3], 28, THUMBNAIL[0])
    rows = max(1, THUMBNAIL[1] // (images.shape[2] * factor + gap))
    return sheet(images, 28, media.is_light_on_dark(arrays.get("originals", images)), rows, THUMBNAIL[0])


def thumbnail(run: Run) -> Picture | None:
    """A few samples of a run, or copies where it has no samples, small; None before there are any. Raises UserError."""
    name = newest(run)
    path = run.path / f"{name}.npz"
    return _thumbnail(str(run.path), name, path.stat().st_mtime_ns if path.exists() else 0)
