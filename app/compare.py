"""Runs side by side: which ones, what tells them apart, their figures as a table, what they cost.

The address is the truth: `runs=<id>,<id>` says what is compared.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from textwrap import wrap
from typing import Any, NamedTuple

import pandas as pd
import streamlit as st

from app import beside, cards, downloads, look, panels, pictures, plan, settings, state, steering, summary
from app.charts import NAT
from app.naming import named
from genmodels import experiment, figures, ranking
from genmodels.config import UserError
from genmodels.data import is_present
from genmodels.families import FAMILIES
from genmodels.ranking import Row
from genmodels.runs import Run, all_runs, shipped_runs

MOST = 8  # runs
SMALL = (166, 90)  # CSS pixels of a run's samples, width and height at most: two fit beside each other on a phone
FEW = 6  # settings that differ and are shown unasked
LETTER, PADDING = 7.5, 26  # CSS pixels of a letter in a table, about, and round what stands in a cell
BROAD = 28  # letters of a unit: then it goes on below, so that four runs and it fit beside the sidebar
ARROWS = {"lower": "↓", "higher": "↑", "neither": ""}
BEST = "★"
NONE = "–"


class Group(NamedTuple):
    """Runs that differ in the seed alone, or one run, under the name of its column."""

    name: str
    runs: Sequence[Run]

    @property
    def ids(self) -> list[str]:
        return [run.id for run in self.runs]


# --- which runs -----------------------------------------------------------------------------------------------------


def chosen() -> list[Run]:
    """The runs in the address, and a menu to change them; what cannot be shown is said and left out."""
    known = {run.id: run for run in [*all_runs(), *reversed(shipped_runs())] if _readable(run)}
    found = []
    asked = list(dict.fromkeys(each for each in st.query_params.get("runs", "").split(",") if each))
    for run_id in asked[:MOST]:
        try:
            run = state.by_id(run_id)
            _ = run.config
            found.append(known.setdefault(run_id, run))
        except UserError as error:
            st.warning(state.plain(str(error)))
    if len(asked) > MOST:
        st.warning(f"The link names {len(asked)} runs; a comparison has {MOST} at most, so the first {MOST} are shown.")
    st.session_state["compare-runs"] = [run.id for run in found]
    st.multiselect(
        "Runs", list(known), format_func=look.name_of, max_selections=MOST,
        key="compare-runs", on_change=_told, placeholder="Choose runs: type to search", label_visibility="collapsed",
    )  # fmt: skip
    return found


def _told() -> None:
    if ids := st.session_state["compare-runs"]:
        st.query_params["runs"] = ",".join(ids)
    else:
        st.query_params.pop("runs", None)


def _readable(run: Run) -> bool:
    try:
        return bool(run.config)
    except UserError:  # damaged: the gallery says so
        return False


def empty() -> list[Run]:
    """Nothing is chosen: what to do, and comparisons that are ready. -> the runs of the last, to begin with."""
    st.info("Choose two runs or more above, or tick them in the Gallery, where you see their pictures.")
    gallery = state.page_file("gallery")
    st.page_link(gallery, label="Choose in the Gallery", icon=":material/grid_view:", query_params=state.here())
    known = ready()
    if known:
        st.markdown("**Or look at one of these**; the last is below")
    for label, ids in known.items():
        st.page_link(
            state.page_file("compare"),
            label=label,
            icon=":material/compare:",
            query_params=state.here(runs=",".join(ids)),
        )
    return [state.by_id(run_id) for run_id in [*known.values()][-1]] if known else []


def ready() -> dict[str, list[str]]:
    """Comparisons of runs that come with the app, in words: several families on one dataset, and several betas."""
    of_data: dict[str, dict[str, Run]] = {}
    for run in shipped_runs():
        if not run.config.selection:  # else it learned from fewer images than the others
            of_data.setdefault(run.config.dataset, {}).setdefault(run.config.family, run)
    found = {
        f"{panels.dataset_title(name)}: {', '.join(FAMILIES[family].title for family in [*runs][:MOST])}": runs.values()
        for name, runs in of_data.items()
        if len(runs) > 1
    }
    for members in experiment.experiments().values():
        if members[0].shipped:
            betas = ", ".join(experiment.labelled(members))
            found[f"{panels.heading(members[0].config)}: beta {betas}"] = members  # type: ignore[assignment]
    return {label: [run.id for run in runs][:MOST] for label, runs in found.items()}


# --- columns --------------------------------------------------------------------------------------------------------


def grouped(runs: Sequence[Run]) -> list[Group]:
    """The columns of the tables: runs that differ in the seed alone are one, if that is wished."""
    groups = ranking.seeds(runs)
    if len(groups) < len(runs) and not st.toggle(
        "Group seeds", True, key="seeds", bind="query-params",
        help="Runs that differ in the seed alone become one column: the mean of each figure, and its standard "
        "deviation over the seeds.",
    ):  # fmt: skip
        groups = [[run] for run in runs]
    return columns(groups)


def columns(groups: Sequence[Sequence[Run]]) -> list[Group]:
    """The groups with their names."""
    several = any(len(group) > 1 for group in groups)
    names = named([group[0] for group in groups], but=["Seed"] if several else [])
    return [
        Group(f"{name}, {len(group)} seeds" if len(group) > 1 else name, group)
        for group, name in zip(groups, names.values(), strict=True)
    ]


# --- the page -------------------------------------------------------------------------------------------------------


def watch(runs: Sequence[Run]) -> None:
    """The whole comparison, live while one of them is at work."""
    states = tuple(run.status().state for run in runs)
    active = any(run.status().active for run in runs)
    st.fragment(_watch, run_every=2.0 if active else None)(runs, states)


def _watch(runs: Sequence[Run], known: tuple[str, ...]) -> None:
    if tuple(run.status().state for run in runs) != known:
        st.rerun()
    names = named(runs)
    faces(runs, names)
    if len(runs) < 2:
        st.info("This is one run: add another one above to compare it with.")
    differences(runs, names)
    groups = grouped(runs)
    measured = summaries(runs)
    metrics(groups, ranking.rows(measured), runs)
    beside.parts({names[run_id]: summary for run_id, (_, summary) in measured.items()})
    left, right = st.columns(2, gap="large")
    with left:
        beside.curves(runs)
    with right, downloads.keeping("compare", "copies"):
        beside.copies(runs)
    costs(groups)


def faces(runs: Sequence[Run], names: Mapping[str, str]) -> None:
    """Each run with its samples, its state, and the way to it."""
    with st.container(horizontal=True):
        for run in runs:
            with st.container(width=SMALL[0]):
                _face(run, names[run.id])


def _face(run: Run, name: str) -> None:
    """Picture first, so that they stand in line."""
    status = run.status()
    try:
        if picture := pictures.thumbnail(run, SMALL):
            pictures.show(picture, f"Samples of {name}")
        measured = bool(run.summary())
    except UserError as error:
        st.error(state.plain(str(error)))
        measured = True
    st.markdown(f"**{state.plain(name)}**")
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall"):
        if tags := f"{panels.badge(status) if status.state != 'finished' else ''} {steering.badge(run)}".strip():
            st.markdown(tags, width="content")
        st.page_link(
            state.page_file("train"),
            label="Open",
            icon=":material/open_in_new:",
            query_params=state.here(run=run.id),
        )
    if not measured:
        done = f" {status.share:.0%} of its budget is used." if status.active else ""
        st.caption(f"{cards.main_figure(run)} so far.{done} Its figures are measured when it ends.")


def differences(runs: Sequence[Run], names: Mapping[str, str]) -> None:
    """Every setting in which they differ."""
    if len(runs) < 2:
        return
    rows = settings.differences([(run.id, run.config) for run in runs])
    rows += steering.difference({run.id: run for run in runs})
    if not rows:
        st.caption("Their settings are the same, the seed as well.")
        return
    with st.expander(f"What differs between them ({len(rows)})", expanded=len(rows) <= FEW, icon=":material/tune:"):
        values = [[NONE if row[run.id] == "-" else state.plain(row[run.id]) for run in runs] for row in rows]
        sheet([state.plain(row["setting"]) for row in rows], values, [names[run.id] for run in runs], "Setting")


def sheet(names: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[str], head: str = "Figure") -> None:
    """A table whose first column, the names, stays in sight where the others are wider than the screen."""
    columns = [state.plain(each) for each in columns]
    cells = [list(names), *([head, *cells] for head, *cells in zip(columns, *rows, strict=True))]
    width = sum(PADDING + LETTER * max(len(line) for cell in each for line in cell.splitlines()) for each in cells)
    rows_of = pd.Index(list(names), name=head)
    st.table(pd.DataFrame(rows, rows_of, list(columns)), width=round(width), border="horizontal")


# --- figures --------------------------------------------------------------------------------------------------------


def summaries(runs: Sequence[Run]) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """What each run was measured to be, as `ranking.rows` takes it; a damaged file is said."""
    found: dict[str, tuple[str, Mapping[str, Any]]] = {}
    for run in runs:
        try:
            if summary := run.summary():
                channels, height, width = run.config.shape
                found[run.id] = (f"{run.config.dataset}, {height} x {width} x {channels}", summary)
        except UserError as error:
            st.error(state.plain(str(error)))
    return found


def metrics(groups: Sequence[Group], rows: Sequence[Row], runs: Sequence[Run]) -> None:
    """A table for each dataset; values that were measured differently stand in rows of their own."""
    st.header("Measured on the test images", anchor=False)
    if not rows:
        st.caption("None of these runs has come to its end, and figures are measured there.")
        return
    sets = dict.fromkeys(row.data for row in rows)
    if len(sets) > 1:
        st.caption("These runs are of different images, so each is ranked only among those of the same.")
    for data in sets:
        one_set(data, groups, [row for row in rows if row.data == data], alone=len(sets) == 1)
    _explain(groups, rows)
    st.download_button(
        "CSV", lambda: ranking.as_csv(rows, [run.id for run in runs]), "comparison.csv", "text/csv",
        icon=pictures.DOWNLOAD, on_click="ignore", help="Every figure of every run, not grouped, for a spreadsheet.",
    )  # fmt: skip


def one_set(data: str, groups: Sequence[Group], rows: Sequence[Row], *, alone: bool) -> None:
    """The table of runs on the same data; what only one of them was measured for is folded away."""
    groups = [group for group in groups if any(run in row.values for row in rows for run in group.ids)]
    if not alone:
        name, _, shape = data.rpartition(", ")
        st.markdown(f"**{panels.dataset_title(name)}**, {shape.rpartition(' x ')[0]} pixels")
        groups = columns([group.runs for group in groups])  # named by what tells these apart
    shared = [row for row in rows if sum(any(run in row.values for run in group.ids) for group in groups) > 1]
    others = [row for row in rows if row not in shared] if shared else []
    _table(groups, shared or rows, rows)
    if others:
        with st.expander(f"Figures with nothing to be ranked against ({len(others)})", icon=":material/straighten:"):
            st.caption("Only one of them has such a figure, or another one's was measured in another way.")
            _table(groups, others, rows)


def _table(groups: Sequence[Group], rows: Sequence[Row], every: Sequence[Row]) -> None:
    """rows: those shown, of every row of these data. The rest comes last: a phone shows the first columns."""
    floors, ways = any(row.floors for row in rows), Counter(row.metric for row in rows)
    values = []
    for row in rows:
        best = ranking.best(row, [group.ids for group in groups])
        found = [_value(row, group, number in best) for number, group in enumerate(groups)]
        unit = row.unit if len(_readers(every)) > 1 else summary.READER.split(row.unit, maxsplit=1)[0]
        unit = "  \n".join(map(state.plain, wrap(unit, BROAD)))
        values.append([*found, *([_floor(row)] if floors else []), f"{row.n:,}", unit])
    names = [
        f"**{figures.title(row.metric)}** {ARROWS[row.better]}"
        + (f" :small[n = {row.n:,}]" if ways[row.metric] > 1 else "")
        for row in rows
    ]
    sheet(names, values, [*(group.name for group in groups), *(["Floor"] if floors else []), "n", "Unit"])


def _readers(rows: Sequence[Row]) -> set[str]:
    """What read the images that these rows are of, in whose features: 'judge features, hash ..., accuracy ...'."""
    return {reader for row in rows for reader in summary.READER.split(row.unit, maxsplit=1)[1:]}


def _value(row: Row, group: Group, best: bool) -> str:
    """The mean with its spread, bold and with a mark where it is the best."""
    values = [row.values[run] for run in group.ids if run in row.values]
    if not values:
        return NONE
    found = ranking.spread(values)
    text = figures.number(found.mean, row.unit)
    if found.deviation is not None:
        of = f" ({found.seeds} of {len(group.runs)})" if found.seeds < len(group.runs) else ""
        text += f" ± {found.deviation:.{len(text.partition('.')[2])}f}{of}"
    return f"**{text}** {BEST}" if best else text


def _floor(row: Row) -> str:
    """What real images score in its place; from where to where, if that is not the same for all."""
    ends = [figures.number(end(row.floors.values()), row.unit) for end in (min, max)] if row.floors else [NONE]
    return " to ".join(dict.fromkeys(ends))


def _explain(groups: Sequence[Group], rows: Sequence[Row]) -> None:
    """How the tables are read."""
    told = [f"↓ lower is better, ↑ higher is better; {NONE} is not measured."]
    if len(groups) > 1:
        told.insert(0, f"{BEST} and bold: the best of its row.")
    if len({(row.data, row.metric) for row in rows}) < len(rows):
        told.append(
            "What was measured on another number of images (n), with other draws or by another judge stands in a row "
            "of its own: it cannot be ranked against the rest."
        )
    told.append(
        "± is the standard deviation over the seeds; a difference that is not larger may be chance."
        if any(len(group.runs) > 1 for group in groups)
        else "One seed each: try others before you rely on a small difference."
    )
    if any(row.floors for row in rows):
        told.append(
            "Floor: what real images score in the place of the model's, where the unit names nothing else; of few "
            "images it is no limit."
        )
    if readers := sorted(_readers(rows)):
        told.append(f"Distances and classes are by a fixed network of each dataset: {state.plain('; '.join(readers))}.")
    if beside.apart([run for group in groups for run in group.runs]):
        told.append(
            "Their seeds held back different test images, so part of a difference comes from the images themselves."
        )
    st.caption(" ".join(told), help=NAT if any("nats" in row.unit for row in rows) else None)


# --- cost -----------------------------------------------------------------------------------------------------------


def costs(groups: Sequence[Group]) -> None:
    """What each took to train."""
    st.header("Cost", anchor=False)
    rows: dict[str, tuple[Callable[[Run], float], Callable[[float], str]]] = {
        "Images looked at": (_images, "{:,.0f}".format),
        "Training time": (lambda run: run.status().seconds, plan.duration),
        "Images per second": (lambda run: _images(run) / max(run.status().seconds, 1e-9), "{:,.0f}".format),
        "Parameters": (lambda run: sum(layer.parameters for layer in plan.layers(run.config)), "{:,.0f}".format),
    }
    found = [
        [in_words(ranking.spread([told(run) for run in group.runs]).mean) for group in groups]
        for told, in_words in rows.values()
    ]
    devices = [", ".join(dict.fromkeys(run.status().device or NONE for run in group.runs)) for group in groups]
    names = [f"**{name}**" for name in [*rows, "Device"]]
    sheet(names, [*found, [state.plain(each) for each in devices]], [group.name for group in groups])
    mean = " Of several seeds: the mean." if any(len(group.runs) > 1 for group in groups) else ""
    st.caption(f"Time is of the machine that did the training; another one is faster or slower.{mean}")


def _images(run: Run) -> float:
    """Images that its updates were of, those seen again counted again."""
    size, config, count = run.config.schedule.batch_size, run.config, None
    if is_present(config.dataset):
        with suppress(UserError):
            count = pictures.facts(config.dataset, config.size, config.channels).sizes[0]
    return run.status().step * min(size, count or size)  # a batch was full, where the dataset is not here
