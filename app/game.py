"""Draws the game of networks that compete: how it stands, and one move of it at a time."""

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from app import pictures
from app.charts import chart
from app.controls import attempt
from app.state import plain
from genmodels import data, duel, figures, media
from genmodels.config import UserError
from genmodels.data.selection import Selection, kept_rows
from genmodels.families import FAMILIES
from genmodels.figures import number, title
from genmodels.runs import Run, RunConfig

if TYPE_CHECKING:
    from genmodels.stepping import Move, Stepper

CELL = 56  # CSS pixels of an image, about
COLUMNS = 4
# By how a sentence on the game begins: an icon beside its words.
SIGNS = {
    "It is too early": (":material/hourglass_empty:", "gray"),
    "In balance": (":material/balance:", "green"),
    "The discriminator cannot tell": (":material/balance:", "gray"),
    "Of ": (":material/check_circle:", "green"),
}
WARNING = (":material/warning:", "orange")
TIMES = 10  # moves of each network at one press
FORMULA = r"""
A move changes the weights of one network and leaves the others where they are; here for the discriminator $D$:

$$\theta_D \leftarrow \theta_D - \eta \,\mathrm{Adam}\big(\nabla_{\theta_D} L_D(\theta_D, \theta_G)\big), \qquad
\theta_G \text{ as it was.}$$

How far it moved is $\lVert\theta' - \theta\rVert \,/\, \lVert\theta\rVert$, over all its weights. Losses, $D(x)$ and
$D(G(z))$ are those of the same training images and the same noise before and after, in evaluation mode. What is
drawn elsewhere by the average of the generator's weights is drawn here by the generator itself: in the average one move
would not be seen.
"""


def balance(run: Run, told: list[dict[str, Any]], step: float) -> None:
    """How the game stands at a step, in words, and as which classes a judge reads the samples."""
    from genmodels.analysis.balance import balance as in_words

    read_at, counts = _read_as(run, step)
    shares, dash = (None, "") if counts is None else expected(run.config)
    sentences = in_words([each for each in told if each["step"] <= step], counts, run.config.classes, shares)
    if not sentences:
        return
    st.markdown("**How the game stands**")
    for sentence in sentences:
        icon, colour = next((sign for words, sign in SIGNS.items() if sentence.startswith(words)), WARNING)
        st.markdown(f":{colour}[{icon}] {plain(sentence)}")
    if counts is None:
        return
    marks = None if shares is None else (shares * counts.sum()).tolist()
    words = f"What a fixed classifier, the judge, reads {counts.sum():,} samples of step {read_at:,} as{dash}."
    most = figures.most_and_least(run.config.classes, counts.tolist())
    chart(
        figures.class_counts(run.config.classes, counts.tolist(), 180, marks), f"{words} {plain(most)}", key="read-as"
    )


def expected(config: RunConfig) -> tuple[np.ndarray | None, str]:
    """Of each class among samples, (K,), or None where it is not known; and what a dash at it is, in words."""
    if "conditional" in FAMILIES[config.family].abilities:
        count = len(config.classes)
        return np.full(count, 1 / count), "; the dash is how many of each class were asked for"
    selection = config.selection.model_dump_json() if config.selection else None
    here = data.is_present(config.dataset)  # what is remembered may be of another visitor's
    shares = real_shares(config.dataset, config.size, config.channels, config.seed, selection) if here else None
    return shares, "" if shares is None else "; the dash is what real images would have"


def _read_as(run: Run, step: float) -> tuple[int, np.ndarray | None]:
    """The last time by then that a judge read samples: the step, and how many of each class. (K,), None before."""
    for each in reversed([each for each in run.snapshots() if each <= step]):
        with contextlib.suppress(UserError):  # damaged: the one before it, then
            counts = _counts(str(run.path), each, run.changed(f"snapshots/{each}.npz"))
            if counts is not None and len(counts) == len(run.config.classes):
                return each, counts
    return 0, None


@st.cache_data(show_spinner=False, max_entries=512)
def _counts(path: str, step: int, changed: int) -> np.ndarray | None:
    return Run(Path(path)).arrays(f"snapshots/{step}").get("read_as")


@st.cache_data(show_spinner=False, max_entries=16, ttl=600)
def real_shares(
    name: str, size: int | None, channels: int | None, seed: int = 0, selection: str | None = None
) -> np.ndarray | None:
    """Of each class among the real images, or those of a selection (JSON) that a run learns from, (K,); None where the
    dataset is not on this machine."""
    try:
        dataset = data.load(name, size, channels, seed)
        chosen = kept_rows(dataset, Selection.model_validate_json(selection)) if selection else slice(None)
    except UserError:
        return None
    labels = dataset.labels[chosen]
    return np.bincount(labels, minlength=len(dataset.classes)) / len(labels)


def slow_motion(run: Run) -> None:
    """A private copy of the run whose networks move one at a time; made when it is opened."""
    folded = st.expander(
        "Slow motion: one move at a time", key="slow", icon=":material/slow_motion_video:", on_change="rerun",
        bind="query-params",
    )  # fmt: skip
    if not folded.open:
        return
    with folded:
        try:
            _opened(run, _stepper(run))
        except UserError as error:
            st.error(plain(str(error)))


def _stepper(run: Run) -> "Stepper":
    """One for each visitor, of the run that was opened last: it holds the networks and their training images."""
    kept = st.session_state.get("stepper")
    if kept is None or kept[0] != run.id:
        from genmodels.stepping import Stepper

        with st.spinner("Making a copy of the networks ..."):
            kept = st.session_state["stepper"] = (run.id, Stepper(run))
    return kept[1]


def _opened(run: Run, stepper: "Stepper") -> None:
    st.write(
        "Let one network learn from one batch while the others stand still, and see what that changes. It is done on a "
        "copy: the run stays as it is."
    )
    st.caption(
        "It learns at the rate the run began with"
        + ("; at a run's end that has fallen to nothing" if stepper.schedule.decay == "cosine" else "")
        + ". One step need not lower the loss on these images."
    )
    with st.container(horizontal=True):
        for name in stepper.names:
            st.button(f"{title(name)} step", key=f"move-{name}", on_click=attempt, args=(stepper.move, name))
        every = stepper.names * TIMES
        st.button(f"{TIMES} of each", icon=":material/fast_forward:", on_click=attempt, args=(stepper.move, *every))
        st.button("Undo", icon=":material/undo:", on_click=stepper.undo, disabled=not stepper.kept)
        st.button(
            "Reset", icon=":material/restart_alt:", on_click=_reset, help="Anew from the run's last checkpoint.",
            disabled=not stepper.made and not run.status().active,  # while it trains there may be a newer one
        )  # fmt: skip
    move = stepper.moves[-1] if stepper.moves else None
    st.markdown(told(stepper, move))
    now, before = stepper.seen, move.before if move else stepper.seen
    with st.container(horizontal=True):
        for name, value in now.losses.items():
            change = number(value - before.losses[name]) if move else None
            st.metric(title(name), number(value), change, delta_color="off", width=130)
    _pictures(stepper, before.made, now.made)
    if now.scores:
        what = "**What the discriminator says of each image**, probability of being real"
        sentence = duel.scores_sentence(before.scores, now.scores)
        chart(duel.scores(before.scores, now.scores), sentence, key="scores", heading=what)
    with st.popover("The formula", icon=":material/functions:"):
        st.markdown(FORMULA)


def _reset() -> None:
    st.session_state.pop("stepper", None)


def told(stepper: "Stepper", move: "Move | None") -> str:
    """Where the copy stands and what the last move did, in words."""
    where = f"At step {stepper.state.step:,} of the run"
    if not stepper.has_moments:
        where += ", whose optimisers did not come with it, so that the first moves are larger"
    if move is None:
        return f"{where}. Press a button."
    count = {name: move.names.count(name) for name in dict.fromkeys(move.names)}
    did = " and ".join(f"{plural(times, 'update')} of the {name}" for name, times in count.items())
    parts = [
        f"the {name}'s weights moved by **{number(100 * far)}%** of their length"
        if far
        else f"the {name}'s not at all: **0**"
        for name, far in sorted(move.moved.items(), key=lambda pair: -pair[1])
    ]
    return f"{where}, then {plural(stepper.made, 'update')} here. The last move, {did}: {'; '.join(parts)}."


def plural(count: int, word: str) -> str:
    return f"{count:,} {word}" + ("" if count == 1 else "s")


def _pictures(stepper: "Stepper", before: np.ndarray, now: np.ndarray) -> None:
    """Real images beside what the generator makes of the same noise or input, before and now, and the difference."""
    real = stepper.few.images.numpy()
    light = media.is_light_on_dark(stepper.fixed.images.numpy())
    sets = {"Real images": real, "Made before": as_bytes(before), "Made now": as_bytes(now)}
    change = now - before
    largest = float(np.abs(change).max())
    if largest:
        sets["The difference"] = as_bytes(0.5 + 0.5 * change / largest)
    else:
        del sets["Made before"]
    factor, _, gap = pictures.layout(real.shape[3], CELL, 0)
    width = COLUMNS * (real.shape[3] * factor + gap)
    with st.container(horizontal=True):
        for words, images in sets.items():
            picture = pictures.sheet(images, CELL, light, -(-len(images) // COLUMNS), width)
            with st.container(width=max(picture.width, 200), gap="xxsmall"):
                st.caption(f"**{words}**")
                pictures.show(picture, words)
    if largest:
        st.caption(
            f"In the difference grey is what stayed and dark what has become darker; it is enlarged so that the "
            f"largest change, {number(100 * largest)}% of the full range, is full black or white."
        )
    elif stepper.moves:
        st.caption("What is made has not changed at all: this move was another network's.")


def as_bytes(images: np.ndarray) -> np.ndarray:
    return (255 * images.clip(0, 1)).round().astype(np.uint8)
