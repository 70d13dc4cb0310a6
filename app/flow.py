"""What the page Flow is made of: points in the plane, a flow trained while one looks, and the plane it bends.

The address carries `set`, `layers`, `hidden`, `seed`, `train` once it was asked for, and the `layer` that is shown.
"""

from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from app import bending, fitting, stoppable
from app.charts import chart, table
from app.components.player import Film, player, sheet_of
from app.downloads import File, offer
from app.start import SEEDS, choice, forget
from genmodels import media, toys
from genmodels.analysis.density import Progress, gaussian, mean_log_prob
from genmodels.analysis.toy_flow import Asked, Trained, ready_made, trained
from genmodels.analysis.transitions import Stops, Tour

STALE = ("train", "layer")  # what another choice makes void
PACE = 12  # frames a second
FORMULA = r"""
**An affine coupling** leaves one coordinate $k$ as it is, and stretches and moves the other, $m$, by amounts that a
small network reads from the first: $m' = m \, e^{s(k)} + t(k)$. So it can be undone exactly, $m = (m' - t(k)) \,
e^{-s(k)}$, and it changes areas by the factor $e^{s(k)}$. The next layer swaps the two coordinates.

**Change of variables.** With $z = f(x)$ through all layers, and $z$ from the standard normal,
$\log p(x) = \log \mathcal N(f(x); 0, I) + \sum_l s_l$, where $\sum_l s_l = \log |\det \partial f / \partial x|$.
Training makes the mean of $\log p$ over the points as large as it can. Because every factor is counted, the density is
worth 1 over the whole plane, whatever the network learns: it is not made so afterwards, but can be checked.

Real NVP: [Dinh, Sohl-Dickstein and Bengio 2017](https://arxiv.org/abs/1605.08803), Eq. 2, 3 and 6 to 8. A flow cannot
tear the plane: between parts that do not touch a thin bridge of density stays.
"""


class Learned(NamedTuple):
    """data: points that nothing was learned from, (N, 2). held_out: their mean log-likelihood under the flow, normal:
    under the likeliest normal distribution, nats. integral: of the density over the plane. curve: how it came.
    ready: whether it came with the app."""

    bent: toys.Bending
    data: np.ndarray
    held_out: float
    normal: float
    integral: float
    curve: list[Progress]
    ready: bool


def form() -> Asked:
    """What is to be learned, in the address; what is changed has to be trained anew."""
    changed: dict[str, Any] = {"on_change": forget, "args": STALE}
    usual = Asked()
    name = choice("set", "Points", toys.TITLES, usual.name, STALE)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        layers = st.number_input("Layers", 1, 16, usual.layers, key="layers", bind="query-params", width=130, **changed)
        hidden = st.number_input(
            "Neurons", 4, 128, usual.hidden, key="hidden", bind="query-params", width=130, **changed,
            help="In each of the two hidden layers of a coupling's network.",
        )  # fmt: skip
        seed = st.number_input("Seed", 0, SEEDS, usual.seed, key="seed", bind="query-params", width=130, **changed)
        st.button(
            "Train", type="primary", icon=":material/model_training:", key="train-flow",
            on_click=lambda: st.query_params.update({"train": "1"}),
        )  # fmt: skip
    return Asked(name, int(layers), int(hidden), int(seed))


def learned(asked: Asked) -> Learned | None:
    """The ready-made one with these settings, or else from memory, or trained now where that was asked for, as far as
    it came; None before. Raises UserError."""
    if "train" not in st.query_params:
        if ready := ready_made(asked):
            st.caption("This flow is ready-made, trained with these settings. Press Train to watch it learn anew.")
            return _looked_at(asked, ready.seen[-1].step, True, ready)
        if not stoppable.memory(asked):
            _points(toys.points(asked.name, 1000, asked.seed).numpy(), toys.TITLES[asked.name], "flow-points")
            st.info("These are the points. Press Train: in some seconds a flow learns to make more out of noise.")
            return None
    stoppable.made(
        asked, lambda: trained(asked), lambda number, now: fitting.tell(number, now.seen),
        lambda now: fitting.curve(now.seen), all_of_it=False,
    )  # fmt: skip
    found: Trained | None = stoppable.last(asked)
    return _looked_at(asked, found.seen[-1].step, False, found) if found else None


@st.cache_resource(show_spinner="Bending the plane", max_entries=16)
def _looked_at(asked: Asked, step: int, ready: bool, _found: Trained) -> Learned:
    """What is shown of a flow after so many steps."""
    from genmodels.stepping import one_thread

    flow, taught, others, seen = _found
    with one_thread():
        bent = toys.bending(flow, seed=asked.seed)
        normal = float(gaussian(taught).log_prob(others.double()).mean())
        held_out, integral = mean_log_prob(flow, others), toys.integral(flow)
    return Learned(bent, others[:1000].numpy(), held_out, normal, integral, seen, ready)


def show(found: Learned, asked: Asked) -> None:
    """The plane at any layer, figures, data beside samples, the film, and how it was learned."""
    _layers(found)
    with st.container(horizontal=True):
        st.metric("Integral over the plane", f"{found.integral:.3f}", help="The density summed from -6 to 6 both ways.")
        st.metric("Held-out log-likelihood", f"{found.held_out:.2f} nats")
        st.metric("The best Gaussian's", f"{found.normal:.2f} nats")
    gain = found.held_out - found.normal
    st.caption(
        f"Points that it did not learn from are {abs(gain):.2f} nats {'likelier' if gain > 0 else 'less likely'} under "
        "the flow than under the normal distribution that fits best. A density must sum to 1 over the plane: this one "
        f"sums to {found.integral:.5f}."
    )
    st.header("Data beside samples")
    with st.container(horizontal=True):
        for title, points in (("Data", found.data), ("Samples of the flow", found.bent.points[-1])):
            with st.container(width=bending.SIDE):
                _points(points, title, f"flow-{title}")
    _film(found, asked)
    with st.expander("How it was learned", icon=":material/show_chart:"):
        fitting.curve(found.curve, "flow-curve")


def _points(points: np.ndarray, title: str, key: str) -> None:
    chart(bending.scatter(points), bending.extent(points), key=key, heading=f"**{title}**", width="content")


@st.fragment
def _layers(found: Learned) -> None:
    """The bent grid and the density after a layer; only this is drawn anew while the slider is dragged."""
    bent, last = found.bent, len(found.bent.points) - 1
    k = st.slider(
        "After layer", 0, last, last, key="layer", bind="query-params", help="0: the noise. The last: the data."
    )
    with st.container(horizontal=True):
        with st.container(width=bending.SIDE):
            drawn = bending.scatter(bent.points[k], bending.quarters(bent.noise), bent.lines[k])
            words = f"After {k} of {last} layers: {bending.extent(bent.points[k])}"
            chart(drawn, words, key="flow-plane", heading="**The plane**", width="content")
        with st.container(width=bending.SIDE):
            st.markdown("**Density**")
            picture = media.enlarge(bending.heat(bent.densities[k])[None], bending.SIDE // toys.CELLS)[0]
            st.image(
                picture.transpose(1, 2, 0), width=bending.SIDE,
                alt=f"Density after {k} of {last} layers; the densest place has {bent.densities[k].max():.2f}",
            )  # fmt: skip
            table(lambda: bending.cells(bent.densities[k]), "flow-density")
    what = "the noise, and its grid is straight" if k == 0 else "the data's" if k == last else "on its way to the data"
    st.caption(
        f"After {k} of {last} layers the plane is {what}. Each layer moves points along one coordinate only. Darker is "
        f"denser, by the root; the densest place has {bent.densities[k].max():.2f} per unit of area."
    )


def _film(found: Learned, asked: Asked) -> None:
    st.header("The bending as a film")
    frames, belongs = _frames(asked, found.curve[-1].step, found.ready, found.bent), bending.layers_of(found.bent)
    last = len(found.bent.points) - 1
    names = ("noise", *(f"layer {number}" for number in range(1, last + 1)))
    stops = Stops(np.zeros((last + 1, 2)), np.zeros(last + 1, int), names)
    tour = Tour(np.zeros((len(frames), 2), np.float32), belongs, np.ones(len(frames), bool), stops, ())
    _watch(Film(toys.TITLES[asked.name], sheet_of(frames), bending.FRAME, bending.FRAME, None), tour)
    offer("flow", File("GIF", f"flow-{asked.name}.gif", lambda: media.gif(frames, 1 / PACE)))


@st.fragment
def _watch(film: Film, tour: Tour) -> None:
    player([film], tour, ("all",), np.arange(1, len(tour.codes) + 1), key="flow-film", pace=PACE)


@st.cache_data(show_spinner="Drawing the film", max_entries=8)
def _frames(asked: Asked, step: int, ready: bool, _bent: toys.Bending) -> np.ndarray:
    return bending.film(_bent)
