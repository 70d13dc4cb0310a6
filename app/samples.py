"""What the Samples page is made of: what is asked for, in the address; the grid, and the nearest training images."""

import contextlib
import html
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import streamlit as st

from app import background, priors, state
from app.background import Said
from app.components.album import album, figure, picture, table
from app.downloads import File, keeping, offer, zipped
from app.pictures import layout
from app.start import SEEDS, forget, whole
from genmodels import data, media
from genmodels.config import UserError
from genmodels.data import Dataset
from genmodels.data.selection import select
from genmodels.families import FAMILIES
from genmodels.opening import held
from genmodels.runs import Run

if TYPE_CHECKING:
    from genmodels.analysis.nearest import Nearness, Usual

OFF = "off"
THRESHOLDS = [*(f"{tenth / 10:g}" for tenth in range(1, 11)), "1.5", "2", OFF]
CELL = 48  # CSS pixels of a sample, about
FLAG = "⚑ "
MOST = 20  # classes that are drawn together
SMALL = 32  # the same where classes stand below each other
GRID = 346  # CSS pixels of the grid in the file that is downloaded


class Asked(NamedTuple):
    """What is drawn. classes: those asked for, None where the model cannot be asked. threshold: None for no limit.
    prior: what codes are drawn from, one of `priors`."""

    n: int
    seed: int
    classes: tuple[int, ...] | None
    threshold: float | None
    prior: str = priors.NORMAL


class Shown(NamedTuple):
    """What was drawn. images: uint8 (N, C, H, W), as the model makes them, class by class. light: whether they are
    shown inverted. names: of each."""

    run: Run
    asked: Asked
    images: np.ndarray
    light: bool
    names: list[str]

    @property
    def by_class(self) -> bool:
        return len(self.asked.classes or ()) > 1

    @property
    def as_people_write(self) -> np.ndarray:
        return media.as_people_write(self.images, self.light)


def form(run: Run) -> Asked:
    """What to draw; all of it in the address."""
    asked, able = st.query_params.get("class"), abilities(run)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        seed = seed_form()
        classes = _classes(run.config.classes) if "conditional" in able else None
        grid = len(classes or ()) > 1
        n = st.number_input(
            *(("Noises", 1, 16, 8) if grid else ("Samples", 2, 256, 32)), key="noises" if grid else "n",
            bind="query-params", width=125, on_change=forget, args=("first", "second"),
            help="Columns of the grid: each noise is drawn in every class." if grid else "How many, 2 to 256.",
        )  # fmt: skip
        threshold = OFF
        if "decode" in able:
            threshold = st.select_slider(
                "Truncation", THRESHOLDS, OFF, key="truncation", bind="query-params", width=200,
                help="How far from the centre noise may lie, in standard deviations.",
            )  # fmt: skip
        prior = priors.choose(opened(str(run.path), run.stamp))
    if asked is not None and "conditional" not in able:
        st.caption("This model does not know classes, so it cannot be asked for one.")
    return Asked(int(n), seed, classes, None if threshold == OFF else float(threshold), prior)


def seed_form() -> int:
    """The seed, in the address, and a button for another one."""
    st.session_state["samples-seed"] = seed = whole("seed", SEEDS, 0)

    def told() -> None:
        st.query_params["seed"] = str(st.session_state["samples-seed"])

    def another() -> None:
        st.query_params["seed"] = str(np.random.default_rng().integers(1_000_000))

    st.number_input("Seed", 0, SEEDS, key="samples-seed", width=140, on_change=told, help="Decides the noise.")
    st.button("Another", icon=":material/casino:", on_click=another, key="another-seed")
    return seed


def _classes(names: tuple[str, ...]) -> tuple[int, ...]:
    """The class in the address, or all of them; where they are too many, the first."""
    every = -1 if len(names) <= MOST else 0
    chosen = whole("class", len(names) - 1, every)
    st.session_state["samples-class"] = chosen

    def told() -> None:
        forget("class", "first", "second")
        if (now := st.session_state["samples-class"]) >= 0:
            st.query_params["class"] = str(now)

    st.selectbox(
        "Class", range(every, len(names)), key="samples-class", on_change=told, width=150,
        format_func=lambda each: names[each] if each >= 0 else "All, by noise",
    )  # fmt: skip
    return tuple(range(len(names))) if chosen < 0 else (chosen,)


def abilities(run: Run) -> list[str]:
    return FAMILIES[run.config.family].abilities


def draw(run: Run, asked: Asked) -> Shown | None:
    """The samples, from memory where they were drawn before; None while they are on their way. Raises UserError."""
    images = _drawn(run, asked)
    if images is None:
        return None
    light = _light(str(run.path), run.stamp, data.is_present(run.config.dataset), images)
    classes = asked.classes or ()
    if len(classes) > 1:
        names = [f"{run.config.classes[c]}, noise {i + 1}" for c in classes for i in range(asked.n)]
    else:
        names = [str(i + 1) for i in range(asked.n)]
    return Shown(run, asked, images, light, names)


@st.cache_resource(show_spinner=False, max_entries=6)
def opened(path: str, made: int) -> Run:
    return held(Run(Path(path)))


def _drawn(run: Run, asked: Asked) -> np.ndarray | None:
    from genmodels.analysis.sampling import WHOLE, samples

    key = (str(run.path), run.stamp, asked)
    known = opened(*key[:2])

    def make(said: Said) -> np.ndarray:
        codes_from = priors.codes_from(run, asked.prior)
        images = samples(known.model, asked.n, asked.seed, asked.classes, asked.threshold or WHOLE, codes_from, said)
        return images.reshape(-1, *images.shape[2:])

    long = "denoise_path" in abilities(run) and not run.status().active
    return background.remembered(_kept(*key), key, "Making the samples", make, "samples", long)


@st.cache_resource(show_spinner=False, max_entries=32)
def _kept(path: str, made: int, asked: Asked) -> list[np.ndarray]:
    """Filled by who first asks: a function whose value is kept cannot wait for what goes on beside the page."""
    return []


@st.cache_data(show_spinner=False, max_entries=64)
def _light(path: str, made: int, present: bool, _images: np.ndarray) -> bool:
    """Whether images are shown inverted: by real ones, or where they are not here by what the model made first."""
    run = opened(path, made)
    with contextlib.suppress(UserError):  # damaged: as if it were not here
        if loaded := dataset_of(run):
            return media.is_light_on_dark(loaded.images[:500])
    return media.is_light_on_dark(_images)


def dataset_of(run: Run) -> Dataset | None:
    """What the run learned from; None where it is not on this machine, or no longer as it was. Raises UserError."""
    config = run.config
    if not data.is_present(config.dataset):
        return None
    loaded = data.load(config.dataset, config.size, config.channels, config.seed)
    if loaded.shape != config.shape:
        return None
    return select(loaded, config.selection) if config.selection else loaded


def show(shown: Shown) -> None:
    """The samples, what they are, and their downloads."""
    images, names, asked = shown.as_people_write, shown.run.config.classes, shown.asked
    size = _size(images, SMALL if shown.by_class else CELL)
    cells = [picture(each, size, f"Sample {name}") for each, name in zip(images, shown.names, strict=True)]
    if shown.by_class:
        rows = [cells[first : first + asked.n] for first in range(0, len(cells), asked.n)]
        table([names[c] for c in asked.classes or ()], rows)
    else:
        album([figure([each], str(i + 1)) for i, each in enumerate(cells)])
    st.caption(state.plain(_caption(shown)))
    _downloads(shown, images)


def _caption(shown: Shown) -> str:
    asked, classes = shown.asked, shown.run.config.classes
    what = f"{len(shown.images)} samples from seed {asked.seed}"
    what += ", by the learned flow" if asked.prior == priors.FLOW else ""
    if shown.by_class:
        what += ": a class in each row, the same noise in each column"
    elif asked.classes:
        what += f", asked to be {classes[asked.classes[0]]}"
    if asked.threshold is None:
        return f"{what}."
    return (
        f"{what}. No number of the noise is beyond ±{asked.threshold:g} standard deviations: the images are more "
        "typical and often clearer, and there is less variety among them."
    )


def _size(images: np.ndarray, cell: int) -> tuple[int, int]:
    """Width and height on the page: a whole factor."""
    factor = layout(images.shape[3], cell, GRID)[0]
    return factor * images.shape[3], factor * images.shape[2]


def _downloads(shown: Shown, images: np.ndarray) -> None:
    name = f"samples-{shown.run.id}-{shown.asked.seed}"
    factor, columns, gap = layout(images.shape[3], CELL, GRID)
    columns = shown.asked.n if shown.by_class else columns
    grid = partial(media.grid, images, columns, 2 * factor, 2 * gap)
    single = [("", partial(_png, image)) for image in images]
    offer(
        "samples",
        File("PNG", f"{name}.png", lambda: media.png(grid()), "The grid as one picture."),
        File("ZIP", f"{name}.zip", lambda: zipped(single), "Each sample as a PNG of its own pixels."),
    )


def _png(image: np.ndarray) -> bytes:
    """uint8 (C, H, W)."""
    return media.png(media.grid(image[None], 1))


class Near(NamedTuple):
    """found: the nearest training image of each sample. known: how near these are to each other. images: those that
    were found, uint8 (N, C, H, W). names: of each."""

    found: "Nearness"
    known: "Usual"
    images: np.ndarray
    names: list[str]


def nearest(shown: Shown) -> None:
    """Each sample beside its nearest training image, and whether that is suspiciously near. Raises UserError."""
    from genmodels.analysis.nearest import sentence, too_near

    st.header("Nearest training images")
    near = _nearest(str(shown.run.path), shown.run.stamp, data.is_present(shown.run.config.dataset), shown.images)
    if near is None:
        st.info(
            "The training images are not on this machine, or no longer as they were, so it cannot be said whether a "
            "sample is a copy of one: fetch the dataset on the page Data."
        )
        return
    st.write(state.plain(sentence(near.found, near.known)))
    flagged, reals = too_near(near.found, near.known), media.as_people_write(near.images, shown.light)
    size, cells = _size(reals, CELL), []
    with keeping("samples", f"nearest-{shown.run.id}-{shown.asked.seed}"):
        for i, sample in enumerate(shown.as_people_write):
            both = [picture(sample, size, f"Sample {shown.names[i]}"), picture(reals[i], size, near.names[i])]
            name = f"{FLAG if flagged[i] else ''}{html.escape(shown.names[i])}"
            cells.append(figure(both, f"{name}<br>{near.found.distance[i]:.1%}", bool(flagged[i])))
        album(cells)
    st.caption(
        "In each pair: the sample, then the training image nearest to it, and how far apart they are: the root of the "
        f"mean squared difference of a pixel, as a share of the full range. Marked by {FLAG}and a frame: nearer than "
        f"{near.known.low:.1%}, as 99% of the training images are not."
    )


@st.cache_data(show_spinner="Looking for the nearest training images", max_entries=32)
def _nearest(path: str, made: int, present: bool, samples: np.ndarray) -> Near | None:
    from genmodels.analysis.nearest import nearest

    run = opened(path, made)
    loaded = dataset_of(run)
    if loaded is None:
        return None
    span, config = loaded.span("train"), run.config
    found = nearest(samples, loaded.images[span])
    of = [f", class {loaded.classes[label]}" if loaded.classes else "" for label in loaded.labels[span][found.indices]]
    names = [f"Training image {index + 1}{name}" for index, name in zip(found.indices, of, strict=True)]
    known = _usual(config.dataset, config.size, config.channels, config.seed, loaded.images[span])
    return Near(found, known, loaded.images[span][found.indices], names)


@st.cache_data(show_spinner=False, max_entries=16)
def _usual(name: str, size: int | None, channels: int | None, seed: int, _images: np.ndarray) -> "Usual":
    from genmodels.analysis.nearest import usual

    return usual(_images)
