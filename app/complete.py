"""What is asked on the page Complete: who answers, the picture, and what of it is hidden.

The address carries `run` (once for each that answers), `start` with `image`, `hidden`, `hole` (a painted one),
`answers` and `seed`. Uploads and drawings are not in a link.
"""

import base64
import binascii
from collections.abc import Sequence

import numpy as np
import streamlit as st

from app import look, start, state
from app.answers import COVER, WAYS, Asked
from app.components.pad import pad
from app.samples import seed_form
from genmodels import completion, data, media
from genmodels.analysis.completion import question
from genmodels.completion import Completer, Subject
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.runs import Run, by_id

# First the one with the most answers: of an MNIST digit a VAE gives several classes, 2.5 on average, and of halves 1.
HIDDEN = {
    "most": "All but the left third", "right": "Right half", "lower": "Lower half", "middle": "Middle square",
    "painted": "Paint a hole", "colour": "Take the colour away",
}  # fmt: skip
AT_ONCE = 4  # runs that answer unasked
PEN = 0.2  # of the side: how wide one paints


def choose() -> list[Completer]:
    """Those who answer, all of them about the same kind of pictures. Ends the page where there is none."""
    runs = [run for run in look.able() if completion.way_of(run)]
    if not runs:
        offer()
        st.stop()
    by_subject: dict[Subject, list[Run]] = {}
    for run in runs:
        by_subject.setdefault(completion.subject_of(run), []).append(run)
    asked = _in_address(runs)
    subjects = list(by_subject)
    # Unasked, where the most different ways to answer can be compared.
    chosen = completion.subject_of(asked[0]) if asked else max(subjects, key=lambda each: _ways(by_subject[each], each))
    together = [run for run in asked if completion.subject_of(run) == chosen]
    if together != asked:
        st.info("Runs that complete other pictures, or of another size, are left out: all answer one question.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(subjects) > 1:
            _choose_subject(by_subject, chosen)
        ids = [run.id for run in by_subject[chosen]]
        st.session_state["complete-runs"] = [run.id for run in together or _usual(by_subject[chosen])]

        def told() -> None:
            st.query_params["run"] = st.session_state["complete-runs"]

        now = st.multiselect("Who answers", ids, key="complete-runs", format_func=look.name_of, on_change=told)
    if not now:
        st.info("Nobody answers: choose a run.")
        st.stop()
    if st.query_params.get_all("run") != now:
        st.query_params["run"] = now
    return _opened(now)


def _opened(ids: list[str]) -> list[Completer]:
    """Of runs that cannot be opened a sentence; the others answer all the same."""
    found = []
    for each in ids:
        try:
            found.append(completion.open_completer(by_id(each)))
        except UserError as error:
            st.error(state.plain(str(error)))
    if not found:
        st.stop()
    return found


def _in_address(runs: list[Run]) -> list[Run]:
    """The runs in the address that can answer; of others a sentence."""
    ids, found = [run.id for run in runs], []
    for wanted in dict.fromkeys(st.query_params.get_all("run")):
        try:
            run = by_id(wanted)
        except UserError as error:
            state.refuse(error)
        if run.id in ids:
            found.append(runs[ids.index(run.id)])
        else:
            family = FAMILIES[run.config.family].title
            st.info(f"{family} '{run.id}' cannot complete pictures, or has no weights yet: here are others.")
    return found


def _ways(runs: list[Run], subject: Subject) -> tuple[bool, int]:
    return data.is_present(subject.dataset), len({completion.way_of(run) for run in runs})


def _usual(runs: list[Run]) -> list[Run]:
    """The newest of each family, in the order of the ways."""
    newest: dict[tuple[str, str], Run] = {}
    for run in runs:
        if not (run.shipped and run.config.selection):  # which learned from few images of a class, for the page Debias
            newest.setdefault((run.config.family, run.config.dataset), run)
    return sorted(newest.values(), key=lambda run: list(WAYS).index(completion.way_of(run) or ""))[:AT_ONCE]


def _choose_subject(by_subject: dict[Subject, list[Run]], chosen: Subject) -> None:
    subjects = list(by_subject)
    st.session_state["complete-subject"] = subjects.index(chosen)

    def named(number: int) -> str:
        each = subjects[number]
        return f"{data.title(each.dataset)}, {each.shape[1]}×{each.shape[2]}{', colour' * (each.shape[0] == 3)}"

    def told() -> None:
        start.forget("image", "hole")
        st.query_params["run"] = [run.id for run in _usual(by_subject[subjects[st.session_state["complete-subject"]]])]

    st.selectbox("Pictures of", range(len(subjects)), key="complete-subject", format_func=named, on_change=told,
                 width=230)  # fmt: skip


def offer() -> None:
    """No run completes yet: one click trains one."""
    st.info("No trained run completes pictures yet. A minute is enough for a small VAE, which completes digits.")
    if st.button("Train a VAE on digits", type="primary", icon=":material/model_training:"):
        look.train_small("vae", "digits")


def ask(chosen: Sequence[Completer]) -> Asked | None:
    """The picture, and what of it is hidden; None while there is none. Raises UserError."""
    first = chosen[0]
    given = start.picture(first, "complete-pad", "Draw something: then hide a part of it.")
    if given is None:
        return None
    image, _, words = given
    kinds = list(HIDDEN) if len(image) == 3 else [each for each in HIDDEN if each != "colour"]
    usual = next((kind for kind in kinds if not any(completion.cannot(each.run, kind) for each in chosen)), kinds[0])
    kind = st.query_params.get("hidden", usual)
    if kind not in kinds:
        why = "These pictures are grey" if kind in HIDDEN else "The link names nothing that can be hidden"
        st.warning(f"{why}: here is what is hidden otherwise.")
        kind = usual
    st.session_state["complete-hidden"] = kind
    st.segmented_control(
        "What is hidden", kinds, required=True, key="complete-hidden", format_func=HIDDEN.__getitem__,
        on_change=lambda: st.query_params.update(hidden=st.session_state["complete-hidden"]),
    )  # fmt: skip
    with st.container(horizontal=True, vertical_alignment="bottom"):
        n = st.number_input("Answers", 2, 8, 5, key="answers", bind="query-params", width=125)
        seed = seed_form()
    hole = _painted(media.as_people_write(image, first.light)) if kind == "painted" else None
    if kind == "painted" and hole is None:
        st.info("Paint over what should be hidden: it is completed after each stroke.")
        return None
    import torch

    asked = question(kind, image.shape, None if hole is None else torch.from_numpy(hole))
    return Asked(image, kind, asked, words, int(n), seed)


def _painted(seen: np.ndarray) -> np.ndarray | None:
    """The hole that is painted over a picture as shown, uint8 (C, H, W), or comes with the link: bool (H, W).

    A link carries it: a bit for each pixel.
    """
    from PIL import Image

    under = "data:image/png;base64," + base64.b64encode(media.png(media.grid(seen[None], 1))).decode()
    drawn = pad(
        "Paint over what should be hidden", key="complete-mask", inks=(COVER,), pen=PEN, under=under,
        on_drawn=lambda: start.forget("hole"),
    )  # fmt: skip
    height, width = seen.shape[1:]
    if drawn is not None and "hole" not in st.query_params:
        covered = Image.fromarray(np.where(drawn.min(2) < 250, 255, 0).astype(np.uint8))
        hole = np.asarray(covered.resize((width, height), Image.Resampling.BOX)) >= 128
        st.query_params["hole"] = base64.urlsafe_b64encode(np.packbits(hole).tobytes()).decode().rstrip("=")
        return hole
    linked = hole_in(st.query_params.get("hole"), height, width)
    if linked is not None and drawn is None:  # the pad knows nothing of it
        st.button("Clear the link's hole", icon=":material/ink_eraser:", on_click=start.forget, args=("hole",))
    return linked


def hole_in(text: str | None, height: int, width: int) -> np.ndarray | None:
    """The hole in a link, bool (H, W); None where there is none, or with a sentence where it is damaged."""
    if not text:
        return None
    try:
        bits = np.frombuffer(base64.b64decode(text + "=" * (-len(text) % 4), "-_", validate=True), np.uint8)
    except (binascii.Error, ValueError):
        bits = np.zeros(0, np.uint8)
    if len(bits) != -(-height * width // 8):
        st.warning("The link's hole is damaged, or of a picture of another size: paint one.")
        return None
    return np.unpackbits(bits, count=height * width).reshape(height, width).astype(bool)
