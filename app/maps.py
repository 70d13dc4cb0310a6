"""What the latent map is made of: the view in the address, the points, the replay, and what is known of a selection."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import streamlit as st

from app import background, look, pictures, state, terms
from app.charts import chart
from app.components.scatter import Pictures, Plane, Replay, legend_of, scatter
from genmodels import data, figures
from genmodels.analysis.projection import Linear, neighbour_agreement
from genmodels.config import UserError
from genmodels.inside import Inside
from genmodels.maps import PCA, RAW, TSNE, Map, View, flat, make_tsne, place_of, sample, stamp, tsne_of
from genmodels.runs import Run

PERPLEXITIES = [5, 10, 30, 50, 100]
SIZES = {1000: "a few seconds", 2500: "about 5 seconds", 5000: "about 10 seconds", 10_000: "about 20 seconds"}
SHOWN = 60  # images of a selection
MOST_LEVELS = 10  # of a factor, each with a colour of its own


FORMULAS = r"""
**PCA.** With the mean code $\bar z$ and covariance $C$ of the codes, the axes are the eigenvectors $u_1, u_2$ of $C$
with the largest eigenvalues: $x = u_1^\top (z - \bar z)$, $y = u_2^\top (z - \bar z)$. An axis explains
$\lambda_i / \sum_j \lambda_j$ of the variance. A place on the map is decoded at $z = \bar z + x\,u_1 + y\,u_2$.

**t-SNE** ([van der Maaten and Hinton, 2008](https://jmlr.org/papers/v9/vandermaaten08a.html)) moves the points until
$\mathrm{KL}(P \,\|\, Q) = \sum_{i \ne j} p_{ij} \log \frac{p_{ij}}{q_{ij}}$ is small. Here $p_{ij}$ says how near two
codes are, on the scale of the perplexity, and $q_{ij} \propto (1 + \|y_i - y_j\|^2)^{-1}$ how near their points
are. No formula leads back, so empty places are not decoded and the past is not replayed.
"""


def choose_view(group: Sequence[Inside]) -> View:
    """The controls, of what all runs of the group have; everything is kept in the address."""
    # One with a single dimension has a view of its own, whatever is chosen for others.
    inside = min(group, key=lambda each: (each.latent_size == 1, each.latent_size))
    size, count = inside.latent_size, min(len(each.means) for each in group)
    if size == 1:
        return View(RAW, 0, 0)
    kinds = [PCA, RAW] if count < 3 * PERPLEXITIES[0] + 2 else [PCA, TSNE, RAW]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        kind = st.segmented_control(
            "Placed by", kinds, default=RAW if size == 2 else PCA, required=True, key="view", bind="query-params"
        )
        if kind == TSNE:
            return _choose_tsne(count)
        if kind == RAW and size > 2:
            first, second = (int(each) + 1 for each in inside.order[:2])
            x = st.number_input("Across", 1, size, first, key="x", bind="query-params", width=130)
            y = st.number_input("Up", 1, size, second, key="y", bind="query-params", width=130)
            return View(kind, x - 1, y - 1)
    return View(kind or PCA)


def choose_colour(inside: Inside) -> str | None:
    """By class, or by a factor where there are any."""
    if not inside.factor_names:
        return None
    return st.selectbox("Coloured by", ["class", *inside.factor_names], key="by", bind="query-params", width=220)


def _choose_tsne(count: int) -> View:
    perplexity = st.selectbox(
        "Perplexity", [p for p in PERPLEXITIES if 3 * p + 1 < count], 2 if count > 100 else 0, key="perplexity",
        bind="query-params", width=120, help="About how many neighbours count for each image.",
    )  # fmt: skip
    seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="seed", bind="query-params", width=130)
    sizes = [size for size in SIZES if size < count] + ([count] if count <= max(SIZES) else [])
    taken = st.selectbox(
        "Images", sizes, sizes.index(2500) if 2500 in sizes else len(sizes) - 1, key="images", bind="query-params",
        width=120, help="The first time it is computed, then it is kept: " + _times(),
    )  # fmt: skip
    return View(TSNE, perplexity=perplexity, seed=int(seed), taken=taken)


def _times() -> str:
    return ", ".join(f"{size:,} take {words}" for size, words in SIZES.items()) + " on two free cores."


def map_of(inside: Inside, view: View) -> Map | None:
    """The points of a view; None where t-SNE is on its way or was stopped. Raises UserError."""
    if view.kind == TSNE:
        ids = sample(len(inside.means), view.taken)
        points = _tsne_of(inside, ids, view)
        return None if points is None else Map(points, ids, None, ("", ""))
    if view.kind == RAW and max(view.x, view.y) >= inside.latent_size > 1:
        raise UserError(f"The run {inside.run.id} has {inside.latent_size} latent dimensions: choose among these.")
    if inside.latent_size > 1 and view.kind == RAW and view.x == view.y:
        raise UserError("Both axes show the same dimension: choose two different ones.")
    return _flat(inside, stamp(inside), view)


@st.cache_data(show_spinner=False, max_entries=24)
def _flat(_inside: Inside, of: str, view: View) -> Map:
    return flat(_inside.means, _inside.labels, view)


def _tsne_of(inside: Inside, ids: np.ndarray, view: View) -> np.ndarray | None:
    """From where maps are kept; None, and its progress, while it is computed or when the visitor has stopped it."""
    if (known := tsne_of(inside, ids, view.perplexity, view.seed)) is not None:
        return known
    key = (place_of(inside, ids, view.perplexity, view.seed), stamp(inside))
    words = f"Placing {len(ids):,} images by their neighbours"
    make = lambda said: make_tsne(inside, ids, view.perplexity, view.seed, said)  # noqa: E731
    return background.made(key, words, make, f"tsne-{inside.run.id}")


def replay_of(inside: Inside, found: Map) -> Replay | None:
    """How the map formed, on the axes that it has now; None without snapshots or for t-SNE."""
    steps = tuple(inside.run.snapshots())
    if found.plane is None or not steps:
        return None
    return _replay(inside, stamp(inside), found.axes, steps, found.plane)


@st.cache_data(show_spinner=False, max_entries=16)
def _replay(_inside: Inside, of: str, axes: tuple[str, str], steps: tuple[int, ...], _plane: Linear) -> Replay | None:
    ids = watched(len(_inside.means))
    kept, frames = [], []
    for step in steps:
        try:
            arrays = _inside.run.arrays(f"snapshots/{step}")
        except UserError:  # damaged: the others still tell
            continue
        codes, labels = arrays.get("latents", np.zeros(0)), arrays.get("labels", np.zeros(0))
        if codes.shape != (len(ids), _inside.latent_size) or not np.isfinite(codes).all():
            continue
        if not np.array_equal(labels, _inside.labels[ids]):  # of other images than those that are looked at
            continue
        points = _plane.place(codes)
        if _inside.latent_size == 1:
            points[:, 1] = labels
        kept.append(step)
        frames.append(points)
    return Replay(kept, ids, np.stack(frames)) if kept else None


def watched(count: int) -> np.ndarray:
    """Numbers of the test images whose codes every snapshot holds: those that the training looked at."""
    import torch

    from genmodels.session import WATCHED_TEST_IMAGES
    from genmodels.training import Images, some

    numbers = torch.arange(count)
    return some(Images(numbers, numbers), WATCHED_TEST_IMAGES).images.numpy()


def watched_by(run: Run, labels: np.ndarray) -> np.ndarray | None:
    """Test image number of each code of a snapshot, by its labels; None where nothing says which images they are of.

    What the run kept of its test images says how many there are; before its end, the dataset does. Raises UserError.
    """
    changed, config = run.changed("latents.npz"), run.config
    known = _test_labels(str(run.path), changed) if changed else None
    if known is None and not data.is_present(config.dataset):
        return None
    count = pictures.facts(config.dataset, config.size, config.channels).sizes[2] if known is None else len(known)
    ids = watched(count)
    if len(ids) != len(labels) or (known is not None and not np.array_equal(known[ids], labels)):
        return None
    return ids


@st.cache_data(show_spinner=False, max_entries=64)
def _test_labels(path: str, changed: int) -> np.ndarray | None:
    return Run(Path(path)).arrays("latents").get("labels")


def colouring(inside: Inside, by: str | None) -> tuple[np.ndarray, tuple[str, ...], Sequence[str]]:
    """Label of each test image, name and colour of each label: by class, or by a factor in order of its values."""
    if by not in inside.factor_names:
        return inside.labels, inside.classes, figures.COLOURS
    values = inside.factors[:, inside.factor_names.index(by)]
    levels, labels = np.unique(values, return_inverse=True)
    names = [f"{level:.3g}" for level in levels]
    if len(levels) > MOST_LEVELS:
        edges = np.linspace(values.min(), values.max(), MOST_LEVELS + 1)
        labels = np.digitize(values, edges[1:-1])
        names = [f"{low:.3g} to {high:.3g}" for low, high in pairwise(edges)]
    return labels, tuple(names), ramp(len(names))


def ramp(count: int) -> list[str]:
    """Colours in an order that one sees, from orange over red to blue."""
    places, anchors = np.linspace(0, 2, count), np.array([(240, 160, 0), (192, 48, 122), (58, 79, 208)])
    mixed = np.stack([np.interp(places, range(3), anchors[:, c]) for c in range(3)], 1).round().astype(int)
    return ["#" + bytes(colour.tolist()).hex() for colour in mixed]


def draw(
    inside: Inside, found: Map, view: View, by: str | None, keep: Sequence[str], alone: bool, name: str
) -> list[int]:
    """The map itself; returns the selected test images. alone: or beside another, and then named. name: in the
    address, of the classes that are shown alone."""
    labels, classes, colours = colouring(inside, by)
    _follow_legend(inside, classes, name)
    shape = inside.images.shape[1:]
    plane = None if found.plane is None else Plane(found.plane.offset, found.plane.basis)
    return scatter(
        found.points, labels[found.ids], classes, key=f"map-{inside.run.id}", keep=keep, ids=found.ids,
        axes=found.axes, name=f"{view.kind} map of {inside.run.id}", plane=plane, replay=replay_of(inside, found),
        pictures=Pictures(inside.run.id, (shape[0], shape[1], shape[2]), inside.real), colours=colours,
        height=620 if alone else 480, title="" if alone else look.name_of(inside.run.id),
    )  # fmt: skip


def shown_alone(inside: Inside, classes: Sequence[str]) -> list[int]:
    """The labels that are pressed in the map's legend, the rest being faint; none: all are shown."""
    found: list[int] = st.session_state.get(legend_of(f"map-{inside.run.id}", classes), [])
    return found


def _follow_legend(inside: Inside, classes: Sequence[str], name: str) -> None:
    """What the link shows alone counts once, at first; afterwards what a person presses goes into the address."""
    asked, done = st.query_params.get_all(name), f"{name}-recalled"
    if not st.session_state.get(done):
        st.session_state[done] = True
        known = [classes.index(each) for each in dict.fromkeys(asked) if each in classes]
        if len(known) < len(asked):
            st.warning("The link shows a class alone that is not on this map: it is left out.")
        st.session_state.setdefault(legend_of(f"map-{inside.run.id}", classes), sorted(known))
    names = [classes[each] for each in shown_alone(inside, classes)]
    if names and names != asked:
        st.query_params[name] = names
    elif not names:
        st.query_params.pop(name, None)


@st.cache_data(show_spinner=False, max_entries=64)
def _agreements(_inside: Inside, of: str, view: View, _found: Map) -> tuple[float, float]:
    labels = _inside.labels[_found.ids]
    return neighbour_agreement(_found.points, labels), neighbour_agreement(_inside.means[_found.ids], labels)


def sentence(inside: Inside, found: Map, view: View) -> str:
    """What the map shows, in numbers."""
    parts = []
    if not inside.active:
        parts.append(
            "**Collapsed**: no latent dimension is active. The codes hardly differ; the map magnifies next to nothing."
        )
    if not inside.real:
        parts.append("The dataset is not on this machine, so the model's copies stand in for its images.")
    if inside.latent_size == 1:
        parts.append("This run has a single latent dimension: it runs across, and each class has a row.")
    elif found.plane is not None:
        off = "" if inside.latent_size == 2 else "; an empty place is decoded with all else at its mean"
        off += ", which is nearer to the centre of the noise than the code of any image" if inside.in_noise else ""
        parts.append(f"The two axes hold {found.plane.shares.sum():.0%} of the variance of the codes{off}.")
    else:
        parts.append("Near means alike; how far apart two groups stand, and how large they are, says little.")
    if inside.latent_size > 1 and len(inside.classes) > 1 and len(found.ids) > 1:
        here, there = _agreements(inside, stamp(inside), view, found)
        own = f"Of an image's 10 nearest neighbours here, {here:.0%} are of its own class"
        parts.append(f"{own}; by the full codes, {there:.0%}.")
    if hasattr(inside.model, "CODES_AT_MOST"):
        parts.append(f"The codes are of {len(inside.means):,} test images, and only those after training were kept.")
    elif found.plane is not None and replay_of(inside, found) is None:
        parts.append("This run kept no snapshots of these images, so how the map formed cannot be replayed.")
    return " ".join(parts)


def share_selection(one: Inside, two: Inside) -> bool:
    """Whether number i is the same test image in both."""
    same = np.array_equal(one.labels, two.labels) and np.array_equal(one.which, two.which)
    return same and one.run.config.dataset == two.run.config.dataset


def recall(inside: Inside, keep: Sequence[str], name: str) -> None:
    """The selection that came with the link, once: afterwards what a person selects counts."""
    text, done = st.query_params.get(name), f"{name}-recalled"
    if not text or st.session_state.get(done) or any(each in st.session_state for each in keep):
        return
    st.session_state[done] = True
    try:
        ids = terms.numbers(inside, text).tolist()
    except UserError as error:
        st.warning(f"The link's selection is left out. {state.plain(str(error))}")
        return
    st.session_state.update(dict.fromkeys(keep, ids))


def remember(chosen: Sequence[int], name: str) -> None:
    """Into the address, where it is short enough for one."""
    if 0 < len(chosen) <= terms.LINKED:
        st.query_params[name] = ",".join(map(str, chosen))
    else:
        st.query_params.pop(name, None)


def selected(group: Sequence[Inside], chosen: Sequence[int]) -> None:
    """The selection: its images, what they are, and their mean in each run of the group. group: on the same images."""
    inside = group[0]
    which = np.array([each for each in chosen if each < len(inside.images)], int)
    if not len(which):
        st.caption("Nothing is selected: choose **Lasso** or **Box** above the map and draw round some points.")
        return
    st.header(f"{len(which):,} selected", anchor=False)
    left, middle, right = st.columns([9, 8, 8], gap="medium")
    with left:
        sheet = pictures.sheet(inside.images[which[:SHOWN]], 32, inside.light, SHOWN)
        pictures.show(sheet, f"{min(SHOWN, len(which))} of the selected images")
        if len(which) > SHOWN:
            st.caption(f"The first {SHOWN} of {len(which):,}.")
        st.page_link(
            state.page_file("arithmetic"), label="Use as group A in Arithmetic", icon=":material/calculate:",
            query_params=state.here(run=inside.run.id, a=_as_group(which)),
        )  # fmt: skip
        if len(which) > terms.LINKED:
            st.caption(f"A link carries up to {terms.LINKED} selected images: these are kept in this tab only.")
    with middle:
        counts = np.bincount(inside.labels[which], minlength=len(inside.classes))
        most = int(counts.argmax())
        told = f"{counts[most]:,} of {len(which):,} are of class {state.plain(inside.classes[most])}."
        if len(inside.classes) > 1:
            chart(figures.class_counts(inside.classes, counts.tolist()), told, key=f"classes-{inside.run.id}")
    with right:
        means(group, which)


def _as_group(which: np.ndarray) -> str:
    """As the arithmetic page's address writes it."""
    return terms.SELECTION if len(which) > terms.LINKED else f"{terms.IMAGES}:{','.join(map(str, which))}"


def means(group: Sequence[Inside], which: np.ndarray) -> None:
    """Averages side by side: of the pixels, and what each decoder draws at its mean code."""
    pixels = group[0].images[which].mean(0).round().astype(np.uint8)
    able = [inside for inside in group if not inside.in_noise]  # of noise the mean is nothing
    decoded = [inside.decode(inside.means[which].mean(0, keepdims=True))[0] for inside in able]
    names = ["mean of the pixels", *["mean code, decoded"] * len(able)]
    if len(group) > 1:
        names[1:] = [f"mean code of {inside.run.id}, decoded" for inside in able]
    with st.container(horizontal=True):
        for name, image in zip(names, [pixels, *decoded], strict=True):
            with st.container(width=100, gap=None):
                pictures.show(pictures.sheet(image[None], 84, group[0].light, 1, 90), name, state.plain(name))
