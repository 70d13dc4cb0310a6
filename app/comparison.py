"""Models under several betas side by side, live while they train: one slider moves through them, all else follows."""

import base64
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import streamlit as st

from app import downloads, maps, panels, pictures, state, steering
from app.charts import NAT, chart, ends
from app.components.scatter import Pictures, scatter
from app.controls import attempt
from app.pictures import Picture
from app.traversals import COLUMNS, Traversal, test_images, traversal
from app.traversals import light as light_of
from genmodels import data, experiment, figures, jobs, media, trade
from genmodels.config import UserError
from genmodels.figures import number, title
from genmodels.maps import PCA, RAW, View, flat
from genmodels.runs import Run, Status

CURVES = ("negative_elbo", "reconstruction", "kl")
START = 0.02  # share of the steps whose points are not drawn
ABREAST = 4  # members in a row
SMALL = 184  # CSS pixels of the pictures that stand side by side
Members = dict[str, Run]  # label, the beta as text -> run

APART = (
    "Not all of these runs have the same test images, because their seed or dataset differs: each starts from an "
    "image of its own, and a selection is shared only by those that have the same."
)
ACTIVE = (
    "Active units are the latent dimensions whose mean varies by more than 0.01 over the test images (Burda et al.). "
    "That is another measure than the KL of the bars above, of which 0.1 nats count."
)

FORMULA = r"""
A model under $\beta$ minimises $D + \beta R$. The distortion $D = \mathbb{E}_{q(z|x)}[-\log p(x|z)]$ is what it still
costs to describe the image once its code is known (the reconstruction term), the rate
$R = \mathrm{KL}(q(z|x) \,\|\, \mathcal{N}(0, I))$ what the code costs. Both are sums over pixels and over latents,
averaged over images: nats per image. Each $\beta$ settles where one more nat of rate saves $\beta$ nats of distortion:
$\partial D / \partial R = -\beta$ along the curve.

Whatever $\beta$ a model was trained with, $-\mathrm{ELBO} = D + R$ ($\beta = 1$) bounds $-\log p(x)$ from above, so
that is the curve by which all can be compared. Points on one dashed line have the same $-\mathrm{ELBO}$.

An active unit is a latent dimension whose mean moves with the image, $\mathrm{Var}_x(\mu_j(x)) > 0.01$.

[A. Alemi et al. (2018), Fixing a broken ELBO](https://arxiv.org/abs/1711.00464);
[I. Higgins et al. (2017), beta-VAE](https://openreview.net/forum?id=Sy2fzU9gl);
[Y. Burda et al. (2016), section 5.2](https://arxiv.org/abs/1509.00519) (active units).
"""


def watch(named: Members) -> None:
    """The whole comparison, live while a member is at work."""
    states = tuple(run.status().state for run in named.values())
    pace = 1.5 if any(run.status().active for run in named.values()) else None
    st.fragment(_watch, run_every=pace)(named, states)
    with st.expander("The formulas", icon=":material/functions:"):
        st.markdown(FORMULA)


def _watch(named: Members, known: tuple[str, ...]) -> None:
    statuses = {label: run.status() for label, run in named.items()}
    if tuple(status.state for status in statuses.values()) != known:
        st.rerun()
    standing(named, statuses)
    verdict(named)
    curves, trade = st.columns(2, gap="large")
    label = choose_beta(named)
    with curves:
        draw_curves(named, label)
    with trade:
        draw_trade(named, label)
    image = choose_image(named[label])
    kinds = {run.id: test_images(run) for run in named.values()}
    if len({kind for kind in kinds.values() if kind}) > 1:
        st.caption(APART)
    active = any(status.active for status in statuses.values())
    with contextlib.nullcontext() if active else downloads.keeping("beta", f"beta-{label}"):
        try:
            look_at(label, named[label], image)
        except UserError as error:
            st.error(state.plain(str(error)))
        side_by_side(named, image)
    draw_maps(named, label, kinds)


def choose_beta(named: Members) -> str:
    """The slider that everything follows."""
    labels = list(named)
    forget_others("beta", labels)
    return st.select_slider("Beta", labels, labels[0], key="beta", bind="query-params")


def choose_image(run: Run) -> int:
    """The class whose first test image the members start their traversal from; without classes, that image."""
    classes = run.config.classes[:10] or tuple(str(n + 1) for n in range(10))
    forget_others("from", classes)
    picked = st.segmented_control(
        "Traverse from an image of class", classes, default=classes[0], required=True, key="from", bind="query-params"
    )
    return classes.index(picked)


def forget_others(key: str, options: Sequence[str]) -> None:
    """Drop a choice from before that this comparison does not have; one in the address is dropped by its widget."""
    if st.session_state.get(key, options[0]) not in options:
        st.session_state[key] = options[0]


def standing(named: Members, statuses: Mapping[str, Status]) -> None:
    """Where each member stands; stop or resume them together."""
    with st.container(horizontal=True, vertical_alignment="center"):
        for label, status in statuses.items():
            icon, colour = panels.STATES[status.state]
            done = f" {status.share:.0%}" if status.state == "running" else ""
            st.badge(f"beta {label}: {status.state}{done}", icon=icon, color=colour)  # type: ignore[arg-type]
        active = [named[label] for label, status in statuses.items() if status.active]
        idle = [named[label] for label, status in statuses.items() if named[label].can_resume(status)]
        if active:
            st.button("Stop all", icon=":material/stop:", on_click=_each, args=(jobs.stop, active))
        elif idle:
            st.button("Resume", icon=":material/play_arrow:", on_click=_each, args=(jobs.resume, idle))
    for label, status in statuses.items():
        if status.state == "failed":
            st.error(f"Beta {label}: {state.plain(status.error or 'it failed without a word.')}")


def _each(action: Any, runs: Sequence[Run]) -> None:
    for run in runs:
        attempt(action, run)


def verdict(named: Members) -> None:
    """Whether beta alone can be what makes the difference."""
    found = experiment.confounders(named)
    if not found:
        st.markdown(
            ":green-badge[:material/verified: only beta differs]",
            help="They have the same initial weights, batches, noise and budget.",
        )
        st.caption("One seed each: try another one before you rely on a small difference.")
        return
    st.markdown(":orange-badge[:material/warning: confounded]")
    st.caption("More than beta differs, so what you see may come from any of these:")
    st.table([{title(key) if key == "setting" else f"beta {key}": _cell(key, value) for key, value in row.items()}
              for row in found], hide_index=True)  # fmt: skip


def _cell(key: str, value: str) -> str:
    return state.plain(title(value) if key == "setting" else value)


def draw_curves(named: Members, label: str) -> None:
    """One loss of all members together; that of beta 1 can be compared whatever they were trained with."""
    with st.container(horizontal=True, vertical_alignment="center"):
        loss = st.segmented_control(
            "Curve", CURVES, default=CURVES[0], required=True, key="loss", bind="query-params", format_func=title,
            label_visibility="collapsed",
        )  # fmt: skip
        log = st.toggle("Logarithmic", key="curves-log", bind="query-params")
    lines: dict[str, figures.Series] = {}
    marks: list[figures.Mark] = []
    for name, run in named.items():
        told = run.metrics()
        test = panels.series(told, "test", loss, "step")
        lines[f"beta {name}"] = later(test if len(test[0]) > 1 else panels.series(told, "train", loss, "step"))
        marks += [(x, f"{name}: {words}") for x, words in steering.marks(steering.turns_of(run), told, "step")]
    at = "at beta 1, " if loss == "negative_elbo" else ""
    sentence = f"{title(loss)} {at}nats per image, on test images. {ends(lines, 'nats')}"
    sentence += " It bounds the code length of an image, whatever beta was: lower is better." if at else ""
    sentence += f" The first {START:.0%} of the steps, far off the rest, are left out."
    chart(figures.live_curves(lines, log=log, marks=marks), sentence, key="betas-curves", help=NAT)


def later(series: figures.Series) -> figures.Series:
    """Without the first steps, beside which all that follows would look flat."""
    x, y = series
    kept = x >= START * x[-1:].sum()
    return x[kept], y[kept]


def draw_trade(named: Members, label: str) -> None:
    """Rate against distortion; a click on a point opens its run."""
    points = []
    for name, run in named.items():
        try:
            if found := experiment.terms(run):
                points.append(trade.Trade(name, run.id, found["kl"], found["reconstruction"]))
        except UserError as error:
            st.error(state.plain(str(error)))
    heading = "**Rate against distortion**: what a nat of code saves. Click a point to open its run."
    sentence = trade.trade_sentence(points)
    if not points:
        st.markdown(heading)
        st.caption(sentence)
        return
    if len(points) > 1:
        sentence += " On the dashed line the sum is that of the best."
    drawn = trade.rate_distortion(points, label)
    event = chart(drawn, sentence, key="trade", heading=heading, on_select="rerun", selection_mode="picked")
    if picked := event["selection"].get("picked"):
        state.go("train", run=picked[0]["run"])


# --- one member -----------------------------------------------------------------------------------------------------


def look_at(label: str, run: Run, image: int) -> None:
    """The member that the slider stands at."""
    name = pictures.newest(run)
    seen, arrays = pictures.of_run(run, name), pictures.arrays_of(run, name)
    st.header(f"Beta {label}", anchor=False)
    if not seen:
        st.caption("Its first pictures come with its first step.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        for kind in ("reconstructions", "samples"):
            panels.pictures_of(run, seen, [kind])
    with right:
        if "kl" in arrays:
            kl = arrays["kl"]
            chart(figures.live_kl_bars(kl, 140), figures.kl_sentence(kl), key="member-kl", heading="**KL**, nats")
        if found := traversal(run, image):
            pictures.show(_labelled(found), f"Traversal of beta {label}")
            st.caption(
                "Traversal: each row moves one latent dimension through the prior's quantiles from 5% to 95% and "
                "leaves the others; the one that carries most is on top, with its KL in nats."
                + (" By the weights of its last checkpoint." if run.status().active else "")
            )
        elif "labels" in arrays and run.config.classes and image not in arrays["labels"]:
            st.caption("No traversal: there is no image of this class among those that were watched.")


def _labelled(found: Traversal) -> Picture:
    from genmodels.analysis.traversal import sheet

    rows = [f"z{index + 1}  {number(float(kl), 'nats')}" for index, kl in zip(found.dimensions, found.kl, strict=True)]
    scale = max(1, round(40 / found.images.shape[4]))
    return _at_half(sheet(found.images, rows, [], found.marked, 2 * scale, 22))


def _at_half(pixels: np.ndarray) -> Picture:
    """Two picture pixels for a CSS pixel, as `pictures.sheet` has it."""
    return Picture("data:image/png;base64," + base64.b64encode(media.png(pixels)).decode(), pixels.shape[1] // 2)


# --- all side by side -----------------------------------------------------------------------------------------------


def side_by_side(named: Members, image: int) -> None:
    """Numbers and small pictures of every member, each with the way to its run."""
    st.header("Side by side", anchor=False)
    st.caption(ACTIVE)
    labels = list(named)
    for first in range(0, len(labels), ABREAST):
        group = labels[first : first + ABREAST]
        for place, label in zip(st.columns(min(ABREAST, len(labels))), group, strict=False):
            with place:
                try:
                    _small(label, named[label], image)
                except UserError as error:
                    st.error(state.plain(str(error)))


def _small(label: str, run: Run, image: int) -> None:
    st.page_link(
        state.page_file("train"),
        label=f"beta {label}",
        icon=":material/open_in_new:",
        query_params=state.here(run=run.id),
    )
    if steered := steering.badge(run):
        st.markdown(steered)
    arrays = pictures.arrays_of(run, pictures.newest(run))
    st.markdown(_numbers(run, arrays))
    if "reconstructions" not in arrays:
        return
    light, copies, what = light_of(arrays), arrays["reconstructions"], "copies of test images"
    if "originals" in arrays:
        _, columns, _ = pictures.layout(copies.shape[3], 24, SMALL)
        copies, what = media.stacked([arrays["originals"][:columns], copies[:columns]], columns), "images and copies"
    pictures.show(pictures.sheet(copies, 24, light, 2, SMALL), f"Reconstructions under beta {label}", what)
    pictures.show(pictures.sheet(arrays["samples"], 24, light, 3, SMALL), f"Samples under beta {label}", "samples")
    if found := traversal(run, image):
        side = found.images.shape[4]
        scale = max(1, SMALL // (COLUMNS * (side + 1)))
        columns = min(COLUMNS, SMALL // (side * scale + 1))  # as many as there is room for, both ends among them
        kept = found.images[:, np.linspace(0, COLUMNS - 1, columns).round().astype(int)]
        picture = _at_half(media.grid(kept.reshape(-1, *kept.shape[2:]), columns, 2 * scale, 2))
        pictures.show(picture, f"Traversal under beta {label}", "traversal")


def _numbers(run: Run, arrays: Mapping[str, np.ndarray]) -> str:
    """The figures of one member, nats per image on test images."""
    found = experiment.terms(run)
    lines = [f"{title(name)} **{number(value, 'nats')}**" for name, value in found.items()]
    if "latents" in arrays:
        import torch

        from genmodels.analysis.metrics import active_units

        latents = torch.from_numpy(arrays["latents"].astype(np.float32))
        active = active_units(latents)
        lines.append(f"Active units **{active}** of {latents.shape[1]}" + ("" if active else ": collapsed"))
    return "  \n".join(lines) or "No figures yet."


def draw_maps(named: Members, chosen: str, kinds: Mapping[str, str]) -> None:
    """Test images on the plane of each member; what is selected on one is selected on all that have the same images.

    kinds: run id -> `test_images`.
    """
    st.header("Maps", anchor=False)
    st.caption("Draw round some points with the lasso: the same images are selected on every map that has them.")
    from genmodels.inside import open_inside

    labels, selected = list(named), dict[str, list[int]]()
    for first in range(0, len(labels), 2):
        for place, label in zip(st.columns(2), labels[first : first + 2], strict=False):
            keep = [f"selection-{run_id}" for run_id, kind in kinds.items() if kind == kinds[named[label].id]]
            with place:
                try:
                    selected[label] = _map(label, named[label], keep)
                except UserError as error:
                    st.error(state.plain(str(error)))
    if selected.get(chosen) and (run := named[chosen]).status().state == "finished":
        maps.selected([open_inside(run)], selected[chosen])


def _map(label: str, run: Run, keep: Sequence[str]) -> list[int]:
    arrays = pictures.arrays_of(run, pictures.newest(run))
    st.markdown(f"**beta {label}**")
    if "latents" not in arrays:
        st.caption("Its first codes come with its first step.")
        return []
    codes, labels = arrays["latents"], arrays["labels"]
    if not np.isfinite(codes).all():
        raise UserError(f"The codes of run {run.id} are not numbers, so there is no map of them: train it again.")
    found = flat(codes, labels, View(RAW if codes.shape[1] == 2 else PCA))
    ids, shown = maps.watched_by(run, labels), None
    if ids is not None and (run.path / "weights.safetensors").exists():
        shown = Pictures(run.id, run.config.shape, data.is_present(run.config.dataset))
    selected = scatter(
        found.points, labels, run.config.classes or ("all",), key=f"beta-map-{run.id}",
        # Points of which no one knows the images are a selection of their own, that no other page takes for images.
        keep=keep if ids is not None else (f"points-{run.id}",), ids=ids, axes=found.axes,
        name=f"Map under beta {label}", height=360, pictures=shown,
    )  # fmt: skip
    return selected if ids is not None else []
