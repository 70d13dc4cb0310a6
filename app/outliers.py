"""What the page Outliers is made of: what is asked, in the address; the scores; the threshold and its two sides.

The address carries `run`, `score`, `part`, `images`, `second` and `threshold`.
"""

import hashlib
import html
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import streamlit as st

from app import downloads, look, separation, start, state, stoppable
from app.charts import chart
from app.components.album import album, figure, picture
from app.pictures import layout
from app.separation import SIGNS, Sides
from genmodels import data, media, session
from genmodels.analysis.outliers import AT_ONCE, SCORES, Known, able, in_parts, ink
from genmodels.analysis.outliers import separation as separated
from genmodels.config import UserError
from genmodels.data import DATASETS, Dataset, Part, intake
from genmodels.data.selection import group, kept_rows, named
from genmodels.families import FAMILIES
from genmodels.figures import COLOURS, number
from genmodels.opening import opened_once
from genmodels.runs import Run

READY_MADE = ("vae-mnist", "vae-digits")  # what is opened unasked, where there is no run of one's own
PARTS = {"test": "Test images", "train": "Training images"}
COUNTS = (1000, 5000)
ALL, NONE, HELD_OUT, TURNED = "all", "none", "held-out", "turned"
STALE = ("threshold",)
USUAL = 0.95  # share of the own images that the threshold leaves on this side, unasked
NOTCHES = 400  # of the slider
CELL, SHEET = 56, 346  # CSS pixels of a picture, about, and of a row of them
SHOWN = 12  # pictures on each side


class Asked(NamedTuple):
    """What is scored. second: the name of a dataset, HELD_OUT, TURNED or NONE."""

    score: str
    part: Part
    images: str
    second: str


@dataclass(frozen=True)
class Opened:
    """Shared by all who look. rows: of each training image its number before any was left out, int64 (n,)."""

    run: Run
    dataset: Dataset
    rows: np.ndarray


class Pile(NamedTuple):
    """A set of images, uint8 (N, C, H, W), what each is of, and its number in its part. title: of the set."""

    title: str
    images: np.ndarray
    names: list[str]
    rows: np.ndarray


class Scored(NamedTuple):
    """own: images of the kind that the run has learned; other: the second set, where there is one. scores, inks:
    float64, of the one and then of the other."""

    run: Run
    asked: Asked
    own: Pile
    other: Pile | None
    scores: np.ndarray
    inks: np.ndarray
    light: bool

    @property
    def names(self) -> list[str]:
        return self.own.names + (self.other.names if self.other else [])

    @property
    def is_other(self) -> np.ndarray:
        """bool (N,)."""
        return np.arange(len(self.scores)) >= len(self.own.rows)

    def sides(self, threshold: float) -> Sides:
        beyond = self.scores > threshold
        own, other = beyond[~self.is_other], beyond[self.is_other]
        return Sides(int(own.sum()), len(own), int(other.sum()), len(other))


@opened_once
def opened(run: Run, present: bool) -> Opened:
    """The run with the images that it was made for. Raises UserError."""
    dataset, selection, config = session.dataset_of(run.config), run.config.selection, run.config
    rows = np.arange(dataset.sizes[0])
    if selection:
        rows = kept_rows(data.load(config.dataset, config.size, config.channels, config.seed), selection)
    return Opened(run, dataset, rows)


@opened_once
def known(run: Run, present: bool) -> Known:
    """The codes of its training images. Raises UserError."""
    seen = opened(run)
    return Known.of(seen.run.model, seen.dataset.images[seen.dataset.span("train")])


def choose() -> Run | None:
    """The run in the address, else one whose images are here; None, with a way out, where they are not."""
    if "run" not in st.query_params:
        runs = {run.id: run for run in look.able("encode")}
        order = [*(run for run in runs.values() if not run.shipped), *(runs[i] for i in READY_MADE if i in runs)]
        if here := [run for run in order if data.is_present(run.config.dataset)]:
            st.query_params["run"] = here[0].id
    run = look.choose("encode")
    if data.is_present(run.config.dataset):
        return run
    title = state.plain(data.title(run.config.dataset))
    st.info(f"{title}, which this run has learned from, is not on this machine: fetch it, or choose another run.")
    st.page_link(state.page_file("data"), label="Fetch it on the page Data", icon=":material/photo_library:",
                 query_params=state.here(data=run.config.dataset))  # fmt: skip
    return None


def held_out(run: Run) -> str | None:
    """The class or factor that the run has never seen, where one was left out as a whole."""
    chosen = run.config.selection
    return chosen.scarce if chosen and chosen.kept == 0 else None


def form(run: Run) -> Asked:
    """What to score, all of it in the address."""
    names = able(FAMILIES[run.config.family].Model)
    if names == ["ink"]:
        st.info(
            "This model can give no score of its own: its codes are as long as their images, and it has no likelihood. "
            "Choose a VAE, an autoencoder or a flow."
        )
    score = start.choice("score", "Score", {name: SCORES[name].title for name in names}, names[0], STALE)
    st.caption(SCORES[score].help)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        part = start.choice("part", "Of its own data", PARTS, "test", STALE)
        size = opened(run).dataset.sizes[data.PARTS.index(part)]
        counts = {str(each): f"{each:,}" for each in COUNTS if each < size} | {ALL: f"All {size:,}"}
        count = start.choice("images", "Images", counts, next(iter(counts)), STALE)
    return Asked(score, part, count, _second(run))  # type: ignore[arg-type]


def _second(run: Run) -> str:
    """The second set: what the run has never seen of its own data, another dataset that is here, or its own turned."""
    asked, config = st.query_params.get("second"), run.config
    if asked == config.dataset:
        st.warning("The second set is what this run has learned from: choose another one to compare it with.")
        st.query_params.pop("second")
    seconds = {}
    if unseen := held_out(run):
        seconds[HELD_OUT] = f"{named(unseen, run.config.classes)}, held out"
    others = [name for name in [*DATASETS, *intake.own_datasets()] if data.is_present(name)]
    native = DATASETS[config.dataset].size if config.dataset in DATASETS else config.shape[1]
    # Photographs and drawings first, of those its own size first, then what is quick; at last shapes, which ink alone
    # tells, and before these its own turned, which ink does not.
    others.sort(key=lambda name: (name == "shapes", (known := data.entry(name)).size != native, known.megabytes or 0))
    seconds |= {name: data.title(name) for name in others if name != config.dataset}
    last = {"shapes": seconds.pop("shapes")} if "shapes" in seconds else {}
    seconds |= {TURNED: "Its own turned by 90°"} | last
    seconds = {name: state.plain(title) for name, title in seconds.items()}
    return start.choice("second", "Against", seconds | {NONE: "Nothing else"}, next(iter([*seconds, NONE])), STALE)


def piles(run: Run, asked: Asked) -> tuple[Pile, Pile | None]:
    """The images that are scored, and the second set. Raises UserError."""
    seen, unseen = opened(run), held_out(run)
    dataset, span = seen.dataset, seen.dataset.span(asked.part)
    odd = group(dataset, unseen)[span] if unseen else np.zeros(dataset.sizes[data.PARTS.index(asked.part)], bool)
    count = None if asked.images == ALL else int(asked.images)
    own = np.flatnonzero(~odd if asked.second != NONE else np.ones_like(odd))
    numbers = seen.rows if asked.part == "train" else np.arange(len(odd))
    title = data.title(dataset.name)
    if unseen and asked.second != NONE:
        title += f" without {named(unseen, run.config.classes)}"
    pile = _pile(dataset, asked.part, own, count, title)
    pile = pile._replace(rows=numbers[pile.rows])
    if asked.second == NONE:
        return pile, None
    if asked.second == TURNED:
        turned = np.ascontiguousarray(np.rot90(pile.images, axes=(2, 3)))
        return pile, pile._replace(title=f"{title} turned by 90°", images=turned)
    if unseen and asked.second == HELD_OUT:
        test = np.flatnonzero(group(dataset, unseen)[dataset.span("test")])
        return pile, _pile(dataset, "test", test, count, named(unseen, run.config.classes))
    return pile, _from(asked.second, run.config.shape[1], run.config.shape[0], len(pile.rows))


def _pile(dataset: Dataset, part: Part, rows: np.ndarray, count: int | None, title: str) -> Pile:
    """The same `count` of these rows of a part at every call."""
    chosen = np.sort(np.random.default_rng(0).permutation(rows)[:count])
    classes, labels = dataset.classes or ("",), dataset.labels[dataset.span(part)][chosen]
    images = np.ascontiguousarray(dataset.images[dataset.span(part)][chosen])
    return Pile(title, images, [classes[label] for label in labels], chosen)


@st.cache_data(show_spinner="Reading the second set", max_entries=8)
def _from(name: str, size: int, channels: int, count: int) -> Pile:
    dataset = data.load(name, size, channels)
    return _pile(dataset, "test", np.arange(dataset.sizes[2]), count, data.title(name))


def scored(run: Run, asked: Asked) -> Scored | None:
    """From memory where it was done before; None where it was stopped. Raises UserError."""
    import torch

    from genmodels.training import scaled

    own, other = piles(run, asked)
    both = [own, other] if other else [own]
    found = [_scores(run, asked.score, each) for each in both]
    if any(each is None for each in found):
        return None
    inks = [ink(scaled(torch.from_numpy(each.images))).double().numpy() for each in both]
    light = media.is_light_on_dark(own.images[:500])
    return Scored(run, asked, own, other, np.concatenate(found), np.concatenate(inks), light)  # type: ignore[arg-type]


def _scores(run: Run, which: str, pile: Pile) -> np.ndarray | None:
    import torch

    count, model = len(pile.images), opened(run).run.model
    if not count:
        raise UserError(f"There are no images of {pile.title} to score: choose others.")

    def steps() -> Iterator[np.ndarray]:
        codes = known(run) if SCORES[which].distance else None
        yield from in_parts(model, pile.images, which, torch.Generator().manual_seed(0), codes)

    def tell(step: int, _: np.ndarray) -> tuple[float, str]:
        done = min(count, (step + 1) * AT_ONCE)
        return done / count, f"{SCORES[which].title}: {done:,} of {count:,} images of {state.plain(pile.title)}"

    key = ("outliers", str(run.path), run.stamp, which, hashlib.blake2b(pile.images.data).hexdigest())
    found = stoppable.made(key, steps, tell, lambda _: None, name=f"outliers-{pile.title}")
    return None if found is None else np.concatenate(found)


def threshold(found: Scored) -> float:
    """The slider, from the lowest score to the highest. Raises UserError."""
    low, high = float(found.scores.min()), float(found.scores.max())
    if low == high:
        raise UserError("All of these images have the same score, so there is nothing to set a threshold between.")
    step = 10 ** math.floor(math.log10((high - low) / NOTCHES))
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step
    usual = float(np.quantile(found.scores[~found.is_other], USUAL))
    st.session_state["outliers-threshold"] = round(min(max(_in_address(usual), low), high) / step) * step

    def told() -> None:
        st.query_params["threshold"] = f"{st.session_state['outliers-threshold']:.8g}"

    unit, digits = SCORES[found.asked.score].unit, max(0, -round(math.log10(step)))
    return st.slider(
        f"Threshold, {unit}", low, high, step=step, key="outliers-threshold", on_change=told, format=f"%.{digits}f",
        help="Unasked, so that 5% of the run's own images lie beyond it.",
    )  # fmt: skip


def _in_address(otherwise: float) -> float:
    text = st.query_params.get("threshold")
    try:
        found = otherwise if text is None else float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        st.warning(f"The link's threshold {state.plain((text or '')[:20])} is no number: here is the usual one.")
        return otherwise
    return found


def charts(found: Scored) -> float:
    """The histogram with the threshold, and beside it the ROC where there is a second set. -> the threshold."""
    score, own, other = SCORES[found.asked.score], found.own.title, found.other and found.other.title
    left, right = st.columns(2, gap="large") if found.other else (st.container(), None)
    with left:
        place = st.container()
        at = threshold(found)
        sides = found.sides(at)
        sets = {own: found.scores[~found.is_other]} | ({other: found.scores[found.is_other]} if other else {})
        words = separation.beyond_in_words(sides, at, score.unit, state.plain(own), other and state.plain(other))
        with place:
            drawn = separation.histogram(sets, at, score.unit)
            middles = state.plain(separation.middles(sets, score.unit))
            chart(drawn, middles, key="scores-histogram", heading=f"**{score.title}**, {score.unit}")
        st.markdown(words)
    if right and other:
        with right:
            _roc(found, sides, own, other)
    return at


def _roc(found: Scored, sides: Sides, own: str, other: str) -> None:
    which, title = found.asked.score, SCORES[found.asked.score].title
    pairs = {title: found.scores, SCORES["ink"].title: found.inks}
    curves = {name: separated(each[~found.is_other], each[found.is_other]) for name, each in pairs.items()}
    main, by_ink = curves[title].auroc, curves[SCORES["ink"].title].auroc
    means = float(found.scores[~found.is_other].mean()), float(found.scores[found.is_other].mean())
    words = separation.verdict(which, main, by_ink, means, state.plain(own), state.plain(other))
    told = " and ".join(f"{name}, AUROC {each.auroc:.3f}" for name, each in curves.items()) + "."
    heading = "**ROC**: what is found, for what is taken for odd by mistake"
    chart(separation.roc(curves, sides), told, key="roc", heading=heading)
    st.markdown(words)


def both_sides(found: Scored, at: float) -> None:
    """The oddest images, those near the threshold, and the most normal ones."""
    order = np.argsort(-found.scores, kind="stable")
    beyond, below = order[found.scores[order] > at], order[found.scores[order] <= at]
    near = np.concatenate([beyond[-SHOWN // 2 :], below[: SHOWN // 2]])
    with downloads.keeping("outliers", f"outliers-{found.run.id}-{found.asked.score}"):
        for title, chosen in (
            (f"Beyond the threshold, the oddest of {len(beyond):,}", beyond[:SHOWN]),
            ("Near the threshold", near),
            (f"Below it, the most normal of {len(below):,}", below[::-1][:SHOWN]),
        ):
            st.markdown(f"**{title}**")
            show(found, chosen)
    if found.other:
        signs = ", ".join(
            f"{sign} {state.plain(each.title)}" for sign, each in zip(SIGNS, (found.own, found.other), strict=True)
        )
        st.caption(f"{signs}. Below each picture: what it is of, and its score.")
    else:
        st.caption("Below each picture: what it is of, and its score.")


def show(found: Scored, chosen: np.ndarray) -> None:
    """These images with their scores. int (n,)."""
    if not len(chosen):
        st.caption("None.")
        return
    cells = []
    for place in chosen:
        second = bool(found.is_other[place])
        sign = f'<span style="color:{COLOURS[second]}">{SIGNS[second]}</span> ' if found.other else ""
        below = f"{sign}{html.escape(found.names[place])}<br>{number(float(found.scores[place]))}"
        cells.append(figure([cell(found, place)], below))
    album(cells)


def cell(found: Scored, place: int) -> str:
    """One image, as people write it."""
    second = found.other is not None and place >= len(found.own.images)
    image = found.other.images[place - len(found.own.images)] if second and found.other else found.own.images[place]
    factor = layout(image.shape[2], CELL, SHEET)[0]
    score = number(float(found.scores[place]))
    alt = f"{found.names[place]}, score {score}{', of the second set' if second else ''}"
    size = factor * image.shape[2], factor * image.shape[1]
    return picture(media.as_people_write(image, found.light), size, alt)
