"""Arrays of a run or a dataset as pictures on the page: crisp on any screen, made once."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from app import collected
from genmodels import data, media
from genmodels.families import FAMILIES
from genmodels.figures import title
from genmodels.runs import Run

DOWNLOAD = ":material/download:"
WIDTH = 346  # CSS pixels of a grid at most: with its margin, what a phone has room for

THUMBNAIL = (220, 110)  # CSS pixels, width and height at most
MARGIN = 5  # CSS pixels of paper round a grid: the page rounds its corners, and in the dark theme the sheet is seen
PAIR = 72  # CSS pixels of an image before and after
CELL = 48  # CSS pixels of one image in a grid, about
# Pictures that belong together, from top to bottom; they go by the name of the second.
ROWS = (("originals", "reconstructions"), ("inputs", "translations", "targets", "cycled"))
ROW_WORDS = {
    "originals": "test images above",
    "reconstructions": "the model's copies below",
    "inputs": "test images",
    "translations": "what the model makes of them",
    "targets": "what they should become",
    "cycled": "what it makes of that on the way back",
}
IN_ROWS = {2: "in each pair of rows", 3: "in each three rows", 4: "in each four rows"}


class Picture(NamedTuple):
    """A PNG as a data address, its width on the page, and what it is in words."""

    address: str
    width: int
    caption: str = ""

    def png(self) -> bytes:
        """The file itself."""
        return base64.b64decode(self.address.partition(",")[2])


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
    collected.add(alt, picture.png)
    st.image(picture.address, caption, picture.width, alt=alt)


def before_and_after(pairs: Iterable[tuple[Any, np.ndarray]]) -> None:
    """Images as they are, each above what it becomes, uint8 (C, H, W); the pairs stay together on any screen."""
    with st.container(horizontal=True):
        for before, after in pairs:
            picture = sheet(after[None], PAIR, False, 1, PAIR)
            with st.container(width=max(PAIR, picture.width), gap="xsmall"):
                st.image(before, width=PAIR, alt="An image as it is")
                show(picture, "The same image as it is learned from")


def couples(dataset: data.Dataset, part: data.Part, cell: int, rows: int, width: int, page: int = 0) -> Picture:
    """Rows of sources, each above its row of images: in the part that is asked for, others on each page."""
    _, columns, _ = layout(dataset.shape[2], cell, width)
    sources, images = dataset.couples(part, columns * rows, page)
    light = media.is_light_on_dark(sources)  # one rule for both: else a negative would look like its image
    sets = [media.as_people_write(each, light) for each in (sources, images)]
    return sheet(media.stacked(sets, columns), cell, False, 2 * rows, width)


@st.cache_data(show_spinner=False, max_entries=64, ttl=120)
def facts(name: str, size: int | None, channels: int | None) -> Facts:
    """Shape, classes, numbers, and one image of each of ten classes, or a few pairs. Raises UserError."""
    dataset = data.load(name, size, channels)
    if dataset.sources is not None:
        picture = couples(dataset, "validation", 32, 1, 400)
        return Facts(dataset.shape, dataset.classes, dataset.sizes, picture)
    labels = np.asarray(dataset.labels)
    _, first = np.unique(labels, return_index=True)
    chosen = np.sort(first)[:10] if len(first) > 1 else np.arange(min(10, len(labels)))
    chosen = chosen[np.argsort(labels[chosen], kind="stable")]
    images = np.ascontiguousarray(dataset.images[chosen])
    picture = sheet(images, 32, media.is_light_on_dark(images), 2, 400)
    return Facts(dataset.shape, dataset.classes, dataset.sizes, picture)


@st.cache_data(show_spinner="Preparing the images", max_entries=32, ttl=120)
def part_of(name: str, side: int, depth: int, part: data.Part, page: int) -> tuple[list, dict, str]:
    """Class names with a picture each, images of the part in each class, and a sentence about all parts."""
    found = data.load(name, side, depth)
    if found.sources is not None:
        return [("", couples(found, part, 40, 4, WIDTH, page))], found.counts(part), found.summary
    groups = found.examples(part, layout(side, 40, WIDTH)[1], page)[:20]
    light = bool(groups) and media.is_light_on_dark(groups[0][1])
    return [(each, sheet(few, 40, light, 6)) for each, few in groups], found.counts(part), found.summary


def of_run(run: Run, name: str) -> dict[str, Picture]:
    """The pictures in one .npz of a run, by name; what belongs together stands in rows. Raises UserError."""
    last = newest(run)
    light = _light(str(run.path), last, run.changed(f"{last}.npz"))
    asked = "conditional" in FAMILIES[run.config.family].abilities  # its samples go round the classes
    return _pictures(str(run.path), name, run.changed(f"{name}.npz"), light, len(run.config.classes) if asked else 0)


def arrays_of(run: Run, name: str) -> dict[str, np.ndarray]:
    """As `Run.arrays`, unpacked once for all who look at what was written. Raises UserError."""
    return _arrays(str(run.path), name, run.changed(f"{name}.npz"))


@st.cache_data(show_spinner=False, max_entries=16)
def _arrays(path: str, name: str, changed: int) -> dict[str, np.ndarray]:
    return Run(Path(path)).arrays(name)


def _images(path: str, name: str) -> dict[str, np.ndarray]:
    arrays = Run(Path(path)).arrays(name)
    return {name: array for name, array in arrays.items() if array.ndim == 4 and array.dtype == np.uint8}


@st.cache_data(show_spinner=False, max_entries=256)
def _light(path: str, name: str, changed: int) -> bool:
    """Whether the images of a run are light on dark: by real ones, else by the newest that it made."""
    images = _images(path, name)
    real = next((images[each] for each in ("originals", "inputs", *images) if each in images), None)
    return real is not None and media.is_light_on_dark(real)


@st.cache_data(show_spinner=False, max_entries=48)
def _pictures(path: str, name: str, changed: int, light: bool, classes: int) -> dict[str, Picture]:
    images, together = _images(path, name), {}
    side = next((images[each].shape[3] for each in images), 1)
    cell, width = in_columns(classes, side) if classes else (CELL, WIDTH)
    for names in ROWS:
        rows = {each: images.pop(each) for each in names if each in images}
        if (shown := names[1]) in rows:
            _, columns, _ = layout(rows[shown].shape[3], CELL, WIDTH)
            whole = len(rows[shown]) // columns * columns or len(rows[shown])
            several = len(rows) > 1
            images[shown] = media.stacked([e[:whole] for e in rows.values()], columns) if several else rows[shown]
            together[shown] = list(rows)
    found = {}
    for name, array in images.items():
        kinds = together.get(name, [name])
        picture = sheet(array, cell, light, 8 // len(kinds) * len(kinds), width)
        found[name] = picture._replace(caption=described(name, kinds, classes if width < WIDTH else 0))
    return found


def in_columns(count: int, side: int) -> tuple[int, int]:
    """Cell and width of a grid of so many columns; those of any other where it would be too wide."""
    _, _, gap = layout(side, CELL, WIDTH)
    factor = min(max(1, CELL // side), ((WIDTH + gap) // count - gap) // side)
    return (factor * side, count * (factor * side + gap) - 1) if factor else (CELL, WIDTH)


def described(name: str, rows: list[str], columns: int = 0) -> str:
    """What a set of pictures is, in words; rows: what it stands in, from top to bottom; columns: one of each class."""
    if len(rows) > 1:
        return f"{title(name)}: {IN_ROWS[len(rows)]}, {', '.join(ROW_WORDS[each] for each in rows)}"
    each = "; a column is a class, and a row is made from one noise" if columns else ""
    return {
        "samples": f"Samples: new images drawn from the same noise at each step{each}",
        "latest": "The generator as it is now; the samples above are by the average of its weights, which is steadier",
        "reconstructions": "Reconstructions: copies of test images",
        "noised": "Noised: test images, each with more noise than the one before",
        "predicted": "Predicted: the images that the model expects behind that noise",
    }.get(name, title(name))


def newest(run: Run) -> str:
    """The live pictures or the last snapshot, whichever was written later."""
    steps = run.snapshots()
    last = f"snapshots/{steps[-1]}" if steps else "live"
    times = {name: path.stat().st_mtime for name in (last, "live") if (path := run.path / f"{name}.npz").exists()}
    return max(times, key=times.__getitem__, default="live")


@st.cache_data(show_spinner=False, max_entries=128)
def _thumbnail(path: str, name: str, changed: int, room: tuple[int, int]) -> Picture | None:
    arrays = Run(Path(path)).arrays(name)
    kinds = ("samples", "reconstructions", "translations")
    images = next((arrays[each] for each in kinds if each in arrays), None)
    if images is None or not len(images):
        return None
    factor, _, gap = layout(images.shape[3], 28, room[0])
    rows = max(1, room[1] // (images.shape[2] * factor + gap))
    light = media.is_light_on_dark(arrays.get("originals", arrays.get("inputs", images)))
    return sheet(images, 28, light, rows, room[0])


def thumbnail(run: Run, room: tuple[int, int] = THUMBNAIL) -> Picture | None:
    """A few samples of a run, or copies where it has no samples, small; None before there are any. Raises UserError.

    room: CSS pixels, width and height at most.
    """
    name = newest(run)
    return _thumbnail(str(run.path), name, run.changed(f"{name}.npz"), room)
