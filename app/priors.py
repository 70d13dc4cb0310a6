"""What the page Samples draws codes from: a normal, or a flow that has learned where the run's codes lie.

The flow is kept with the run as prior.safetensors, like its t-SNE maps.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app import fitting, state, stoppable
from app.start import choice
from genmodels.config import UserError
from genmodels.data import Dataset
from genmodels.exchange import PRIOR
from genmodels.families import FAMILIES
from genmodels.maps import keeper_of
from genmodels.runs import Run

if TYPE_CHECKING:
    from genmodels.analysis.density import Progress
    from genmodels.analysis.learned_prior import LearnedPrior

NORMAL, FLOW = "normal", "flow"


def needs_one(run: Run) -> bool:
    """Whether the run has codes and no law of them, as an autoencoder has: nothing can be drawn until it is learned."""
    return "sample" not in FAMILIES[run.config.family].abilities


def able(run: Run) -> bool:
    """Whether a flow can learn where its codes lie: of a family whose codes are noise it is known. Raises UserError."""
    if not {"encode", "decode"} <= set(FAMILIES[run.config.family].abilities):
        return False
    from genmodels.analysis.learned_prior import LARGEST
    from genmodels.families.contract import latent_size

    model: Any = run.model
    return not hasattr(model, "latent_size") and 2 <= latent_size(model) <= LARGEST


def choose(run: Run) -> str:
    """Which prior; in the address."""
    alone = needs_one(run)
    if not able(run):
        if alone:
            raise UserError(
                f"The codes of run {run.id} have a length that a flow cannot learn: choose a run with 2 to 256 "
                "latent dimensions."
            )
        return NORMAL
    names = {NORMAL: "fitted normal" if alone else "standard normal", FLOW: "learned flow"}
    return choice(
        "prior", "Prior", names, FLOW if alone else NORMAL,
        help="What codes are drawn from. The flow is learned from the codes of the training images, in seconds.",
    )  # fmt: skip


def ready(run: Run, prior: str, dataset: Callable[[Run], Dataset | None]) -> bool:
    """Whether there is something to draw from; where it must be learned first, the offer, or the learning itself."""
    if prior == NORMAL and not needs_one(run):
        return True
    try:
        if found := learned(run):
            st.caption(state.plain(_gap(run, found)))
            return True
    except UserError as error:  # damaged, or the run has learned since
        st.warning(state.plain(str(error)))
    _offer(run, dataset)
    return False


def learned(run: Run) -> "LearnedPrior | None":
    """The flow of this run as it is now; None where there is none. Raises UserError."""
    keeper = keeper_of(run, PRIOR)
    return _opened(str(keeper.path / PRIOR), str(run.path), run.stamp, keeper.changed(PRIOR))


@st.cache_resource(show_spinner=False, max_entries=16)
def _opened(file: str, path: str, stamp: int, changed: int) -> "LearnedPrior | None":
    from genmodels.analysis.learned_prior import load

    return load(Path(file), Run(Path(path)).model, stamp) if changed else None


def codes_from(run: Run, prior: str) -> Callable[[np.ndarray], np.ndarray] | None:
    """What takes noise to codes, N(0, I) (N, L) -> (N, L); None where noise is the code. Raises UserError."""
    if prior == NORMAL and not needs_one(run):
        return None
    found = learned(run)
    if found is None:
        raise UserError("It is not yet learned where the codes lie: open the page Samples of this run.")
    return found.from_flow if prior == FLOW else found.from_normal


def _gap(run: Run, found: "LearnedPrior") -> str:
    """What the flow knows that the normal does not."""
    normal = "a normal fitted to the codes" if needs_one(run) else "the standard normal"
    return (
        f"Learned flow: {found.held_out:,} codes that it did not learn from have {found.log_likelihood:.2f} nats each "
        f"on average, under {normal} {found.normal:.2f}: the flow says {found.log_likelihood - found.normal:+.2f} nats "
        "more of where codes lie."
    )


def _offer(run: Run, dataset: Callable[[Run], Dataset | None]) -> None:
    """Learn it, where the training images are here."""
    loaded = dataset(run)
    if loaded is None:
        st.info(
            "Where the codes lie is learned from the training images, and they are not on this machine: fetch the "
            "dataset on the page Data."
        )
        return
    why = (
        "An autoencoder says nothing of where its codes lie, so there is nothing to draw from yet. A flow learns it "
        "from the codes of the training images."
        if needs_one(run)
        else "A flow learns from the codes of the training images where they lie; the standard normal only comes near."
    )
    place = st.empty()
    with place.container():
        st.info(f"{why} It takes about half a minute at most.")
        wanted = st.button("Learn where its codes lie", type="primary", icon=":material/school:", key="learn-prior")
    if wanted:
        place.empty()
        _learn(run, loaded)


def _learn(run: Run, loaded: Dataset) -> None:
    from genmodels.analysis.learned_prior import codes_of, learn, save
    from genmodels.stepping import one_thread

    model: Any = run.model
    with st.spinner("Encoding the training images"), one_thread():
        points = codes_of(model, loaded.images[loaded.span("train")])
    found: list[LearnedPrior] = []

    def path() -> Iterator["Progress"]:
        found.append((yield from learn(points)))

    stoppable.watched(fitting.growing(path()), fitting.tell, fitting.curve, name="prior")
    save(found[0], keeper_of(run, PRIOR).path / PRIOR, run.stamp)
    st.rerun()
