"""Training images marked to be left out: marking and undoing, the list as CSV, and training again without them."""

import csv
import io

import numpy as np
import streamlit as st

from app import state
from app.components.album import album, figure
from app.outliers import Scored, cell, held_out
from app.pictures import DOWNLOAD
from genmodels import data, jobs, ranking, steering
from genmodels.data.selection import Selection, kept_rows
from genmodels.figures import number
from genmodels.runs import Run, RunConfig, create

PAGE = 24  # pictures to tick at a time
MARKED = "outliers-marked"  # in the session: run -> sets of rows, one after each change
LISTED = 60  # marked pictures that are shown
WIDE = 96  # CSS pixels of a picture with its tick


def history(run: Run) -> list[frozenset[int]]:
    """The rows marked after each change; the last are marked now."""
    return st.session_state.setdefault(MARKED, {}).setdefault(run.id, [frozenset()])


def panel(found: Scored, at: float) -> None:
    """Tick training images, and train again without them. Raises UserError."""
    st.header("Train again without some")
    if found.asked.part != "train":
        st.info(
            "A model has not learned from test images. Choose **Training images** above to mark those it should not."
        )
        return
    past = history(found.run)
    order = np.argsort(-found.scores, kind="stable")
    beyond = order[(found.scores[order] > at) & ~found.is_other[order]]
    rows = found.own.rows[beyond]
    st.write("Tick what should not be learned from: here is what lies beyond the threshold, the oddest first.")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        page = 1
        if len(beyond) > PAGE:
            pages = -(-len(beyond) // PAGE)
            page = st.number_input(f"Page, 1 to {pages:,}", 1, pages, key="page", bind="query-params", width=140)
        more = frozenset(rows.tolist()) - past[-1]
        st.button(
            f"Mark all {len(rows):,} beyond the threshold", icon=":material/check_box:", disabled=not more,
            on_click=lambda: past.append(past[-1] | more),
        )  # fmt: skip
        st.button("Undo", icon=":material/undo:", disabled=len(past) == 1, on_click=lambda: past.__delitem__(-1))
        st.button(
            "Unmark all", icon=":material/check_box_outline_blank:", disabled=not past[-1],
            on_click=lambda: past.append(frozenset()),
        )  # fmt: skip
    _ticks(found, beyond[(int(page) - 1) * PAGE : int(page) * PAGE])
    _marked(found, past[-1])
    again(found.run, past[-1])


def _ticks(found: Scored, chosen: np.ndarray) -> None:
    """These training images, each with its tick."""
    past = history(found.run)
    if not len(chosen):
        st.caption("None lies beyond the threshold: lower it.")
    with st.container(horizontal=True):
        for place in chosen:
            row = int(found.own.rows[place])
            with st.container(width=WIDE, gap="xsmall"):
                words = f"{state.plain(found.names[place])} · {number(float(found.scores[place]))}"
                album([figure([cell(found, place)], "")])
                key = f"tick-{found.run.id}-{row}"
                st.session_state[key] = row in past[-1]
                st.checkbox(words, key=key, on_change=lambda row=row: past.append(past[-1] ^ {row}))


def _marked(found: Scored, marked: frozenset[int]) -> None:
    """What is marked, also where it was not scored this time."""
    if not marked:
        return
    here = np.flatnonzero(np.isin(found.own.rows, list(marked)))
    with st.expander(f"**{len(marked):,} marked**", icon=":material/list:"):
        album([figure([cell(found, place)], f"{found.own.rows[place]:,}") for place in here[:LISTED]])
        said = "Below each picture its number among the training images, from 0."
        if len(here) > LISTED:
            said += f" These are the first {LISTED}."
        if rest := len(marked) - len(here):
            said += f" Another {rest:,} were marked before, and are not among the images that are scored now."
        st.caption(said)


def changed(run: Run, **change: object) -> RunConfig:
    """The settings of a run, another selection apart. Raises UserError where too little would be left."""
    config = run.config
    selection = Selection.of((config.selection or Selection()).model_dump() | change)
    kept_rows(data.load(config.dataset, config.size, config.channels, config.seed), selection)
    kept = config.model_dump(exclude={"created", "versions", "experiment"})
    if config.schedule.unit == "minutes" and (steps := run.status().step):  # in the same minutes it may do other work
        kept["schedule"] |= {"budget": steps, "unit": "steps"}
    return RunConfig.of(kept | {"selection": selection, "parent": run.id})


def again(run: Run, marked: frozenset[int]) -> None:
    """The button that trains a child run without the marked images. Raises UserError."""
    what = "this image" if len(marked) == 1 else f"these {len(marked):,} images"
    label = f"Train again without {what}" if marked else "Train again without the marked images"
    if st.button(label, type="primary", icon=":material/model_training:", disabled=not marked):
        before = run.config.selection.left_out if run.config.selection else ()
        _start(run, changed(run, left_out=tuple(sorted(marked.union(before)))))
    st.caption(
        "The same settings, seed and number of steps, as a new run: nothing else differs, so the two can be compared."
    )


def _start(run: Run, config: RunConfig) -> None:
    child = create(config)
    if turns := steering.record(run):
        steering.replace(child, turns)
    jobs.start(child)
    state.go("train", run=child.id)


def without_a_class(run: Run) -> None:
    """Train the same model without one class, which then is the second set. Raises UserError."""
    classes = run.config.classes
    if len(classes) < 3 or held_out(run):
        return
    with st.expander("Hold a class out", icon=":material/visibility_off:"):
        st.write("Train the same model without one class: it then is the stranger whom the scores should find.")
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox("Class", classes, key="outliers-class", width=180)
            if st.button(f"Train without {state.plain(chosen)}", icon=":material/model_training:"):
                _start(run, changed(run, scarce=chosen, kept=0.0))


def download(found: Scored) -> None:
    """Every image that was scored, as CSV."""
    name = f"outliers-{found.run.id}-{found.asked.score}.csv"
    marked = history(found.run)[-1]  # now: when the file is asked for, no session is there
    st.download_button(
        "CSV", lambda: table(found, marked), name, "text/csv", icon=DOWNLOAD, on_click="ignore",
        help="Row, set, class, score, ink and mark of every image, the oddest first.",
    )  # fmt: skip


def table(found: Scored, marked: frozenset[int]) -> bytes:
    """A line for each image, the oddest first; rows are counted from 0 in their part."""
    text = io.StringIO()
    lines = csv.writer(text)
    lines.writerow(["row", "set", "part", "class", "score", "ink", "marked"])
    rows = np.concatenate([found.own.rows, found.other.rows]) if found.other else found.own.rows
    for place in np.argsort(-found.scores, kind="stable"):
        second, row = bool(found.is_other[place]), int(rows[place])
        pile = found.other if second and found.other else found.own
        part = "test" if second else found.asked.part
        is_marked = part == "train" and row in marked
        score, inked = f"{found.scores[place]:.6g}", f"{found.inks[place]:.6g}"
        names = map(ranking.cell, (pile.title, part, found.names[place]))
        lines.writerow([row, *names, score, inked, int(is_marked)])
    return text.getvalue().encode("utf-8-sig")  # with the mark by which a spreadsheet knows it is UTF-8
