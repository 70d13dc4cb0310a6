"""What a debiasing experiment came to, group by group: before and after, who is drawn, and what it cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import altair as alt
import numpy as np
import pandas as pd
import streamlit as st

from app import downloads, panels, pictures, plan, start, state
from app.charts import NAT, chart
from genmodels import data, debiasing, media, ranking
from genmodels.analysis.debiasing import Interval, interval
from genmodels.config import UserError
from genmodels.debiasing import FIGURES, Measured
from genmodels.figures import COLOURS, lowered, number, title
from genmodels.runs import Run, Status

WORDS = ("without resampling", "with resampling")
MARKS = ("circle", "diamond")
SCARCE = "▼"  # beside the name of the group that was made scarce
SHEET = (32, 346)  # CSS pixels of a picture, about, and of a row of them
INTERVALS = "Bars are 95% t intervals of the mean over the seeds."


class Groups(NamedTuple):
    """Runs that are measured, by seed: without and with resampling. scarce: the number of that group."""

    names: tuple[str, ...]
    scarce: int
    seeds: dict[int, tuple[Measured, Measured]]

    def values(self, figure: str, which: int) -> np.ndarray:
        """Without (0) or with (1) resampling. -> (seeds, groups)."""
        return np.stack([pair[which].figures[figure] for pair in self.seeds.values()])

    def over_seeds(self, values: np.ndarray) -> list[Interval]:
        """For each group. (seeds, groups)."""
        return [interval(column) for column in values.T]

    @property
    def labels(self) -> list[str]:
        return [f"{name} {SCARCE}" if i == self.scarce else name for i, name in enumerate(self.names)]


@st.cache_data(show_spinner=False, max_entries=128)
def _measured(path: str, stamp: int) -> Measured:
    from genmodels.stepping import one_thread

    with one_thread():
        return debiasing.measured(Run(Path(path)))


def results(runs: Sequence[Run], statuses: Mapping[str, Status]) -> None:
    """Everything that the finished pairs tell; a sentence where there is none yet."""
    done = {
        seed: (without, with_it)
        for seed, (without, with_it) in debiasing.pairs(runs).items()
        if without and with_it and all(statuses[run.id].state == "finished" for run in (without, with_it))
    }
    if not done:
        st.info("The figures of each group appear here as soon as the first pair has finished.")
        return
    if not data.is_present(dataset := runs[0].config.dataset):
        name = panels.dataset_title(dataset)
        st.error(f"The dataset {name} is not on this machine, and the groups are measured on its images: get it first.")
        words = "Open the Data page"
        st.page_link(state.page_file("data"), label=words, icon=":material/download:", query_params=state.here())
        return
    try:
        found = _groups(done)
    except UserError as error:
        st.error(state.plain(str(error)))
        return
    verdict(found, runs[0])
    before_and_after(found)
    drawn(found)
    with downloads.keeping("debias", "groups"):
        pictured(found)
    table(found)
    cost(runs, statuses)


def _groups(done: Mapping[int, tuple[Run, Run]]) -> Groups:
    first = next(iter(done.values()))[0]
    with st.spinner("Measuring each group on the test images", show_time=True):
        names, scarce = _names(str(first.path), first.stamp)
        seeds = {seed: tuple(_measured(str(run.path), run.stamp) for run in pair) for seed, pair in done.items()}
    return Groups(names, scarce, seeds)  # type: ignore[arg-type]


@st.cache_data(show_spinner=False, max_entries=128)
def _names(path: str, stamp: int) -> tuple[tuple[str, ...], int]:
    """Of the groups, and the number of the scarce one."""
    from genmodels.session import dataset_of

    config = Run(Path(path)).config
    names, _, scarce = debiasing.groups_of(dataset_of(config), config)
    return names, scarce


# --- in words -------------------------------------------------------------------------------------------------------


def signed(value: float) -> str:
    """+1.2, −0.3, 0.0."""
    return "0.0" if abs(value) < 0.05 else f"{value:+.1f}".replace("-", "−")


def _within(found: Interval, among: int = 1) -> str:
    """(95% interval +2.9 to +5.3, 3 seeds); among: of so many it is the worst."""
    if found.seeds < 2:
        return "(one seed: no interval)"
    level = f"95% for the worst of {among}," if among > 1 else "95% interval"
    return f"({level} {signed(found.low)} to {signed(found.high)}, {found.seeds} seeds)"


def verdict(found: Groups, run: Run) -> None:
    """What resampling changed in the accuracy of the scarce group, and in that of the one which lost most."""
    before, after = (100 * found.values("accuracy", which) for which in (0, 1))
    change, scarce = found.over_seeds(after - before), found.scarce
    own = change[scarce]
    others = {i: each for i, each in enumerate(change) if i != scarce and np.isfinite(each.mean)}
    name = state.plain(debiasing.said(run.config))
    what = (
        f"{'gains' if own.mean > 0 else 'loses'} {abs(own.mean):.1f} points of"
        if signed(own.mean) != "0.0"
        else "keeps its"
    )
    st.markdown(
        f"## {name[0].upper()}{name[1:]} {what} test accuracy {_within(own)}\n"
        f"It is {before[:, scarce].mean():.1f}% without resampling and {after[:, scarce].mean():.1f}% with it."
    )
    if others:
        worst = min(others, key=lambda i: others[i].mean)
        lost, told = -others[worst].mean, state.plain(found.names[worst])
        within = _within(interval((after - before)[:, worst], len(others)), len(others))
        st.write(
            f"Of the other groups {told} loses most: {lost:.1f} points {within}."
            if lost >= 0.05
            else "No other group loses."
        )
    if own.seeds > 1 and own.low <= 0 <= own.high:
        st.caption("The interval holds zero: what you see may be chance. More seeds make it narrower.")


# --- charts ---------------------------------------------------------------------------------------------------------


def before_and_after(found: Groups) -> None:
    """One figure of every group, without and with resampling."""
    st.header("Before and after", anchor=False)
    figure = start.choice(
        "figure", "Figure", {name: title(name) for name in FIGURES}, "accuracy", label_visibility="collapsed"
    )
    scale, unit = (100, "%") if figure == "accuracy" else (1, FIGURES[figure])
    rows = []
    for which, words in enumerate(WORDS):
        values = scale * found.values(figure, which)
        rows += _rows(found, words, values, (0, 100) if scale > 1 else (-np.inf, np.inf))
    sentence = f"{title(figure)} on test images, {unit}, of each group: {'higher' if scale > 1 else 'lower'} is better."
    sentence += f" {_ends(rows)} {SCARCE} is the group that was made scarce. {INTERVALS}"
    _chart(pd.DataFrame(rows), f"{lowered(title(figure))}, {unit}", found.labels, sentence)


def _ends(rows: Sequence[Mapping[str, Any]]) -> str:
    """The group with the highest mean and that with the lowest, of each training."""
    told = []
    for words in dict.fromkeys(row["training"] for row in rows):
        here = sorted((row for row in rows if row["training"] == words), key=lambda row: row["mean"])
        most, least = (f"{state.plain(row['group'])}, {number(row['mean'])}" for row in (here[-1], here[0]))
        told.append(f"{words[0].upper()}{words[1:]} {most} is highest, and {least} lowest.")
    return " ".join(told)


def drawn(found: Groups) -> None:
    """How much more often each group is drawn than it is there."""
    st.header("Who is drawn more often", anchor=False)
    images, draws = found.values("images", 1), found.values("draws", 1)
    ratio = np.divide(draws, images, out=np.full_like(draws, np.nan), where=images > 0)
    own = found.scarce
    sentence = (
        f"{state.plain(found.names[own])} is {100 * images[:, own].mean():.2f}% of the training images and "
        f"{100 * draws[:, own].mean():.2f}% of the draws: {number(float(ratio[:, own].mean()))} times as often."
    )
    sentence += (
        " By the codes of the trained model, for another pass; on the dashed line a group is drawn as often as it is "
        f"there. {INTERVALS}"
    )
    rows = pd.DataFrame(_rows(found, WORDS[1], ratio))
    _chart(rows, "times as often as it is there", found.labels, sentence, level=1)
    if ratio[:, own].mean() <= 1:
        st.caption(
            "It is not drawn more often, because its codes are not rare: they lie among those of other groups. "
            "Resampling by the density of codes cannot find such a group; with a larger class weight it may get codes "
            "of its own."
        )


def _rows(
    found: Groups, words: str, values: np.ndarray, limits: tuple[float, float] = (0.0, np.inf)
) -> list[dict[str, Any]]:
    """limits: where the intervals are cut, as no share lies beyond 0 or 1."""
    rows = []
    for label, each in zip(found.labels, found.over_seeds(values), strict=True):
        low, high = np.clip([each.low, each.high], *limits)  # no number stays none
        if np.isfinite(each.mean):
            rows.append({"group": label, "training": words, "mean": each.mean, "low": low, "high": high})
    return rows


def _chart(frame: pd.DataFrame, y_title: str, labels: Sequence[str], words: str, level: float | None = None) -> None:
    """Means with their intervals, side by side for each group, told apart by colour and by mark."""
    kinds = [each for each in WORDS if each in set(frame["training"])]
    places = [WORDS.index(each) for each in kinds]
    colours, marks = [COLOURS[i] for i in places], [MARKS[i] for i in places]
    legend = alt.Legend(title=None, orient="top", symbolSize=120, labelLimit=300) if len(kinds) > 1 else None
    long = len(labels) * max(map(len, labels)) > 40  # letters: what a phone has room for
    axis = alt.Axis(labelAngle=-45 if long else 0, labelLimit=120, ticks=False, grid=False)
    x = alt.X("group:N", sort=list(labels), title=None, axis=axis)
    base = alt.Chart(frame).encode(
        x=x, xOffset=alt.XOffset("training:N", sort=kinds),
        color=alt.Color("training:N", scale=alt.Scale(domain=kinds, range=colours), legend=legend),
    )  # fmt: skip
    scale = alt.Scale(zero=False, nice=True)
    y = alt.Y("mean:Q", title=y_title, scale=scale, axis=alt.Axis(tickCount=5))
    told = [alt.Tooltip("group:N"), alt.Tooltip("training:N"),
            *(alt.Tooltip(f"{name}:Q", format=",.4~g") for name in ("mean", "low", "high"))]  # fmt: skip
    spans = base.mark_rule(strokeWidth=2).encode(y=alt.Y("low:Q", title=y_title, scale=scale), y2="high:Q")
    dots = base.mark_point(filled=True, size=90, opacity=1).encode(
        y=y, tooltip=told, shape=alt.Shape("training:N", scale=alt.Scale(domain=kinds, range=marks), legend=legend)
    )
    line = alt.Chart(pd.DataFrame({"y": [] if level is None else [level]})).mark_rule(
        strokeDash=[4, 4], color="#888888"
    )
    layers = [line.encode(y="y:Q"), spans, dots] if level is not None else [spans, dots]
    chart(alt.layer(*layers).properties(height=280), words, key=f"groups-{y_title}")


# --- pictures and numbers -------------------------------------------------------------------------------------------


def pictured(found: Groups) -> None:
    """The training images that are drawn most and least, and copies of the scarce group by both models of a seed."""
    seeds = {str(seed): f"seed {seed}" for seed in found.seeds}
    seed = start.choice("seed", "Pictures of", seeds, next(iter(seeds)))
    without, with_it = found.seeds[int(seed)]
    light = media.is_light_on_dark(with_it.most[0])
    factor, columns, gap = pictures.layout(with_it.most[0].shape[3], *SHEET)
    left, right = st.columns(2, gap="large")
    with left:
        for words, (images, groups, times) in (("most", with_it.most), ("least", with_it.least)):
            names = ", ".join(found.names[group] for group in groups[:columns])
            st.markdown(f"**Drawn {words} often**: the first {number(float(times[0]))} times as often as on average")
            pictures.show(pictures.sheet(images, SHEET[0], light, 1, SHEET[1]), f"Training images drawn {words} often")
            st.caption(state.plain(f"Of {names}."))
    with right:
        name = state.plain(found.names[found.scarce])
        if not len(with_it.asked):
            st.caption(f"There are no test images of {name} to be copied.")
            return
        st.markdown(f"**Copies of {name}**")
        sets = [each[:columns] for each in (with_it.asked, without.copies, with_it.copies)]
        width = len(sets[0]) * (with_it.asked.shape[3] * factor + gap)
        sheet = pictures.sheet(media.stacked(sets, len(sets[0])), SHEET[0], light, 3, width)
        pictures.show(sheet, f"Test images of {name} and their copies")
        st.caption("From top to bottom: test images, copies without resampling, copies with it.")


def table(found: Groups) -> None:
    """Every figure of every group: means over the seeds, and how far the difference may be off."""
    st.header("In numbers", anchor=False)
    images, draws = found.values("images", 1).mean(0), found.values("draws", 1).mean(0)
    columns: dict[str, list[str]] = {
        "group": found.labels,
        "images": [f"{100 * each:.2f}%" for each in images],
        "draws": [f"{100 * each:.2f}%" for each in draws],
    }
    for figure in FIGURES:
        scale = 100 if figure == "accuracy" else 1
        before, after = (scale * found.values(figure, which) for which in (0, 1))
        name = title(figure)
        columns[f"{name} without"] = [f"{each.mean:.1f}" for each in found.over_seeds(before)]
        columns[f"{name} with"] = [f"{each.mean:.1f}" for each in found.over_seeds(after)]
        columns[f"{name} change"] = [
            signed(each.mean) + (f" ± {each.half:.1f}" if each.seeds > 1 else "")
            for each in found.over_seeds(after - before)
        ]
    frame = pd.DataFrame(columns)
    st.dataframe(frame, hide_index=True)
    seeds = ", ".join(map(str, found.seeds))
    st.caption(
        f"Means over {'the seeds' if len(found.seeds) > 1 else 'seed'} {seeds}. Accuracy in % of the test images, the "
        "others in nats per image, lower is better: reconstruction, and negative ELBO, which bounds −log p(x). A "
        "change "
        "is with minus without, seed by seed; ± is half its 95% t interval.",
        help=NAT,
    )  # fmt: skip
    st.download_button(
        "Download as CSV",
        as_csv(frame),
        "groups.csv",
        "text/csv",
        on_click="ignore",
        icon=pictures.DOWNLOAD,
    )


def as_csv(frame: pd.DataFrame) -> bytes:
    """A spreadsheet that carries out no name of a group."""
    text = frame.assign(group=frame["group"].map(ranking.cell)).to_csv(index=False)
    return text.encode("utf-8-sig")  # with the mark by which a spreadsheet knows it is UTF-8


def cost(runs: Sequence[Run], statuses: Mapping[str, Status]) -> None:
    """Seconds of training, without and with resampling."""
    spent: dict[bool, list[float]] = {False: [], True: []}
    for run in runs:
        if (status := statuses[run.id]).state == "finished":
            spent[debiasing.resamples(run)].append(status.seconds)
    each = [f"{plan.duration(float(np.mean(seconds)))} {WORDS[which]}" for which, seconds in spent.items() if seconds]
    steps = max(status.step for status in statuses.values())
    st.caption(f"Cost: {' and '.join(each)} for {steps:,} steps of each run.")
