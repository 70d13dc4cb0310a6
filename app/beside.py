"""What runs that are compared have made: their curves together, copies of the same images, what a figure is made of."""

import contextlib
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st

from app import comparison, panels, pictures, state
from app.charts import NAT, chart, ends
from app.naming import named
from app.traversals import test_images
from genmodels import data, figures, media
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.figures import title
from genmodels.runs import Run

MAIN = "main"  # the first loss of each run's family
CELL = 56  # CSS pixels of one image, about
KINDS = {"reconstructions": "originals", "translations": "inputs"}  # what is made, and of what
MADE = {"reconstructions": "Copies of test images", "translations": "Translations of test images"}
ABREAST = 3  # small charts in a row


# --- curves ---------------------------------------------------------------------------------------------------------


def curves(runs: Sequence[Run]) -> None:
    """One loss of all of them together, a chart for each unit and each dataset."""
    losses = [MAIN, *dict.fromkeys(loss for run in runs for loss in panels.losses(run))]
    comparison.forget_others("loss", losses)
    loss = st.selectbox(
        "Curve", losses, format_func=lambda each: "Main loss of each" if each == MAIN else title(each), key="loss",
        bind="query-params",
    )  # fmt: skip
    x, log = panels.axes_form()
    charts: dict[tuple[str, str, str], list[Run]] = {}
    for run in runs:
        units = panels.losses(run)
        wanted = next(iter(units)) if loss == MAIN else loss
        if wanted in units:
            charts.setdefault((wanted, units[wanted], run.config.dataset), []).append(run)
    for (wanted, unit, dataset), members in charts.items():
        of = f", {panels.dataset_title(dataset)}" if len({run.config.dataset for run in runs}) > 1 else ""
        st.markdown(f"**{title(wanted)}**{of}, {unit}", help=NAT if unit.startswith("nats") else None)
        _chart(wanted, members, x, log, f"beside-{wanted}-{unit}-{dataset}")
    drawn = [run for members in charts.values() for run in members]
    _without("Without this loss", runs, drawn)


def _without(words: str, runs: Sequence[Run], having: Sequence[Run]) -> None:
    names = named(runs)
    if lacking := [names[run.id] for run in runs if run not in having]:
        st.caption(f"{words}: {state.plain(', '.join(lacking))}.")


def _chart(loss: str, runs: Sequence[Run], x: str, log: bool, key: str) -> None:
    lines: dict[str, figures.Series] = {}
    trained, names = [], named(runs)
    for run in runs:
        name, told = names[run.id], run.metrics()
        test = panels.series(told, "test", loss, x)
        lines[name] = comparison.later(test if len(test[0]) > 1 else panels.series(told, "train", loss, x))
        trained += [] if len(test[0]) > 1 else [name]
    where = "on training images" if len(trained) == len(runs) else "on test images"
    if 0 < len(trained) < len(runs):
        where += f", but of {' and '.join(trained)} on training images"
    sentence = state.plain(f"{title(loss)} {where}. {ends(lines)}")
    sentence += f" The first {comparison.START:.0%}, far off the rest, are left out."
    chart(figures.live_curves(lines, x_title=x, log=log), sentence, key=key)


# --- what they make of the same images ------------------------------------------------------------------------------


def copies(runs: Sequence[Run]) -> None:
    """Test images, and below them what each makes of the same ones; those of other data apart."""
    sets: dict[tuple[str, str, tuple[int, int, int]], list[Run]] = {}
    for run in runs:
        try:
            made = pictures.arrays_of(run, pictures.newest(run))
        except UserError as error:
            st.error(state.plain(str(error)))
            continue
        for kind in KINDS:
            if kind in made:
                sets.setdefault((kind, run.config.dataset, run.config.shape), []).append(run)
    for (kind, dataset, _), members in sets.items():
        st.markdown(f"**{MADE[kind]}**" + (f", {panels.dataset_title(dataset)}" if len(sets) > 1 else ""))
        try:
            _stack(kind, members)
        except UserError as error:
            st.error(state.plain(str(error)))
    if sets:
        _without("Without such pictures", runs, [run for members in sets.values() for run in members])


def _stack(kind: str, runs: Sequence[Run]) -> None:
    """A row of images, and below it one for each run; where that run has other test images, it is given these now."""
    leader, names = runs[0], named(runs)
    real = _real(leader, kind)
    light = media.is_light_on_dark(_made(leader, kind) if real is None else real)
    if real is not None:
        st.caption("What they are given" if kind == "translations" else "The images themselves")
        pictures.show(pictures.sheet(real, CELL, light, 1), "Test images")
    asked, lacking = [], []
    for run in runs:
        made, name = _made(run, kind), names[run.id]
        if _which(run, kind) != _which(leader, kind):
            if real is None or kind == "translations" or not run.stamp:
                lacking.append(name)
                continue
            made = _copied(str(run.path), run.stamp, real)
            asked.append(name)
        st.markdown(state.plain(name))
        pictures.show(pictures.sheet(made, CELL, light, 1), f"{MADE[kind]} by {name}")
    first = state.plain(names[leader.id])
    if asked:
        st.caption(
            f"Each seed holds back other images. These are test images of '{first}'; {state.plain(', '.join(asked))} "
            "may have learned from them."
        )
    if lacking:
        st.caption(f"Not of the same test images as '{first}', so not beside it: {state.plain(', '.join(lacking))}.")


def _made(run: Run, kind: str) -> np.ndarray:
    return pictures.arrays_of(run, pictures.newest(run))[kind]


@st.cache_data(show_spinner=False, max_entries=64)
def _copied(path: str, stamp: int, images: np.ndarray) -> np.ndarray:
    """What a run makes of these images. uint8 (N, C, H, W) twice. Raises UserError."""
    import torch

    from genmodels.analysis.snapshot import in_chunks, to_bytes
    from genmodels.training import evaluating

    model: Any = Run(Path(path)).model
    with evaluating(model):
        return to_bytes(torch.cat(in_chunks(lambda x: model.decode(model.encode(x)), torch.from_numpy(images))))


def _which(run: Run, kind: str) -> str:
    """The same text for runs that were shown the same test images."""
    real = _real(run, kind)
    return test_images(run) or run.id if real is None else _mark(real)


def _mark(images: np.ndarray) -> str:
    return f"{images.shape} {hashlib.blake2b(images.tobytes(), digest_size=8).hexdigest()}"


def _real(run: Run, kind: str) -> np.ndarray | None:
    """The test images that a run's pictures are of, uint8 (N, C, H, W): as it kept them, or found again in its dataset.

    None where it kept none, as runs that come with the app do, and the dataset is not here. Raises UserError.
    """
    arrays, config = pictures.arrays_of(run, pictures.newest(run)), run.config
    if KINDS[kind] in arrays:
        return arrays[KINDS[kind]]
    if not data.is_present(config.dataset):
        return None
    in_steps = "denoise_path" in FAMILIES[config.family].abilities
    found = _watched(config.dataset, config.size, config.channels, config.seed, in_steps).get(KINDS[kind])
    return found if found is not None and found.shape[1:] == config.shape else None


@st.cache_data(show_spinner=False, max_entries=32, ttl=120)
def _watched(name: str, size: int | None, channels: int | None, seed: int, in_steps: bool) -> dict[str, np.ndarray]:
    """The test images that training draws pictures of, and what is translated into them. Raises UserError."""
    from genmodels import session
    from genmodels.analysis.snapshot import VIEWS, one_of_each
    from genmodels.training import Images, some

    count = session.WATCHED_IN_STEPS if in_steps else session.WATCHED_TEST_IMAGES
    watched = some(Images.of(data.load(name, size, channels, seed), "test"), count)
    shown = watched.at(one_of_each(watched.labels, VIEWS))
    found = {"originals": shown.images.numpy()}
    return found if shown.sources is None else found | {"inputs": shown.sources.numpy()}


def apart(runs: Sequence[Run]) -> bool:
    """Whether runs of the same data were measured on different test images: where no official set says which these are,
    the seed does. What cannot be looked at counts as the same."""
    found: dict[tuple[Any, ...], set[str]] = {}
    for run in runs:
        config = run.config
        if data.is_present(config.dataset):
            with contextlib.suppress(UserError):
                images = _watched(config.dataset, config.size, config.channels, config.seed, False)["originals"]
                found.setdefault((config.dataset, config.shape), set()).add(_mark(images))
    return any(len(marks) > 1 for marks in found.values())


# --- what a figure is made of ---------------------------------------------------------------------------------------


def parts(measured: Mapping[str, Mapping[str, Any]]) -> None:
    """Small charts of a figure that is made of several: one that is chosen, a chart for each run.

    measured: the summaries, by the names of the runs.
    """
    having = list(dict.fromkeys(name for each in measured.values() for name in each if each[name].get("parts")))
    if not having:
        return
    with st.expander("What a figure is made of", icon=":material/bar_chart:"):
        comparison.forget_others("parts", having)
        metric = st.segmented_control(
            "Figure", having, default=having[0], required=True, key="parts", bind="query-params", format_func=title,
            label_visibility="collapsed",
        )  # fmt: skip
        names = [name for name, each in measured.items() if metric in each and each[metric].get("parts")]
        for first in range(0, len(names), ABREAST):
            for place, name in zip(st.columns(ABREAST), names[first : first + ABREAST], strict=False):
                with place:
                    _parts(name, metric, measured[name][metric])


def _parts(name: str, metric: str, entry: Mapping[str, Any]) -> None:
    found = {str(part): float(value) for part, value in entry["parts"].items()}
    heading, key = f"**{state.plain(name)}**", f"parts-{name}"
    if metric == "kl":
        kl = np.array(list(found.values()))
        chart(figures.live_kl_bars(kl, 140), figures.kl_sentence(kl), key=key, heading=heading)
        return
    sentence = state.plain("; ".join(f"{part} {figures.number(value)}" for part, value in found.items()))
    if metric == "class_histogram":
        counts = [round(share * entry["n"]) for share in found.values()]
        drawn = figures.class_counts(list(found), counts, 140)
        chart(drawn, f"Of {entry['n']:,} samples, as shares: {sentence}.", key=key, heading=heading)
        return
    st.markdown(heading)
    st.caption(f"{sentence}.")
