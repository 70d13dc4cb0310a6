"""What the Transitions page is made of: its settings in the address, the tour of each run, and how both are drawn."""

import hashlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import streamlit as st

from app import background, downloads, judges, look, panels, pictures, settings, state, steering
from app.background import Said
from app.charts import chart
from app.components.player import Film, player, sheet_of
from app.controls import bounded
from app.downloads import File
from genmodels import figures, media
from genmodels.analysis import transitions
from genmodels.analysis.judge import Judge
from genmodels.analysis.transitions import Meter, Plan, Stops, Tour
from genmodels.config import UserError
from genmodels.inside import Inside, open_inside

KINDS = ("Classes", "Two test images")
IN_STEPS = 12  # frames of a leg at first, and decoded together, where each takes many steps
IN_PARTS = 60  # decoded together where codes are noise: each frame takes a large network
VIEWS = ("Player", "GIF", "MP4", "Film strip")
IDEA = r"""
A **tour** goes from the centroid $o$ of one class to the centroid $p$ of the next: $r(d) = o + d\,t$ with $t = p - o$
and $d$ from 0 to 1. A centroid is the mean of the codes of a class's test images; where codes are noise, the code of an
image that is nearest to it stands in. A *spherical* path turns around the centre at constant speed,
$\frac{\sin((1-d)\omega)}{\sin\omega}\hat o + \frac{\sin(d\omega)}{\sin\omega}\hat p$, while
its distance from the centre changes linearly ([Shoemake 1985](https://doi.org/10.1145/325334.325242)). No frame
is stretched for itself.

The **meter** reads each frame with a network that was trained on real images only and never changes. A frame counts as
*off* where it reads as neither class of its leg. The *jump* is the mean change of a pixel since the frame before, in
grey levels of 255. A second run beside it tests a claim: a class head, say, is said to keep tours out of other classes.
"""


class Take(NamedTuple):
    """One run on the tour. letter: what tells two runs apart where there is no room for their names, empty for one
    alone. frames: uint8 (F, C, H, W), as the model makes them. sheet: all of them in one picture, as shown. within: the
    radius of the meter."""

    letter: str
    inside: Inside
    judge: Judge | None
    tour: Tour
    frames: np.ndarray
    sheet: bytes
    meter: Meter
    within: float

    @property
    def name(self) -> str:
        """A: VAE on MNIST · 1f2e3d4c."""
        run = self.inside.run
        name = f"{panels.heading(run.config)} · {look.short(run)}"
        return f"{self.letter}: {name}" if self.letter else name


def beside(inside: Inside) -> Inside | None:
    """A second run on the same tour, `?run2=<id>`; only runs that know the same classes can be compared."""
    asked = state.run_in_address("run2")
    runs = [run for run in look.able("encode", "decode") if run.id != inside.run.id]
    known = {run.id: run for run in runs if (run.config.classes or ("all",)) == inside.classes}
    if asked and asked.id not in known:
        why = "is the same run" if asked.id == inside.run.id else "does not know the same classes, or cannot be decoded"
        st.info(state.plain(f"'{asked.id}' cannot stand beside this run: it {why}."))
    ids = ["", *known]
    chosen = st.selectbox(
        "Beside it", ids, ids.index(asked.id) if asked and asked.id in known else 0,
        lambda each: look.name_of(each) if each else "One run alone", key=f"choose-run2-{asked.id if asked else ''}",
        help="A second run on the same tour: runs that know the same classes.", label_visibility="collapsed",
    )  # fmt: skip
    if chosen:
        st.query_params["run2"] = chosen
        return open_inside(known[chosen])
    st.query_params.pop("run2", None)
    return None


def kind_form(inside: Inside) -> tuple[str, str]:
    """Between what the tour goes, and what is shown of it."""
    between = st.segmented_control(
        "Between", KINDS, default=KINDS[len(inside.classes) < 2], required=True,
        key="between", bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    view = st.segmented_control(
        "View", VIEWS, default=VIEWS[0], required=True,
        key="view", bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    return between, view


def plan_form(takes: Sequence[Inside]) -> tuple[Plan, bool, int]:
    """How it goes from stop to stop, whether back to the first, and frames a second; all of it in the address."""
    in_steps, in_noise = any(each.in_steps for each in takes), any(each.in_noise for each in takes)
    most, usual = (3 * IN_STEPS, IN_STEPS) if in_steps else (120, 60)
    paths: list[transitions.Path] = ["spherical", "straight"] if in_noise else ["straight", "spherical"]
    with st.popover("Settings of the tour", icon=":material/tune:"):
        back = st.toggle("Back to the first class at the end", True, key="back", bind="query-params")
        bounded("frames", most)
        frames = st.slider("Frames for each leg", 2, most, usual, key="frames", bind="query-params")
        hold = st.slider(
            "Hold", 0, 30, 5, key="hold", bind="query-params", help="More frames at each stop; not measured."
        )
        path: transitions.Path = st.segmented_control(
            "Path", paths, default=paths[0], required=True, key="path", bind="query-params",
            help="Straight cuts through the middle of the latent space; spherical goes around its centre.",
        )  # fmt: skip
        easing: transitions.Easing = st.segmented_control(
            "Easing", ["none", "smooth"], default="none", required=True, key="easing", bind="query-params",
            help="Smooth: slow near the stops, so that more frames are spent there.",
        )  # fmt: skip
        pace = st.slider("Frames a second", 2, 50, 20, key="pace", bind="query-params")
    return Plan(frames, hold, easing, path), back, pace


def stops_form(inside: Inside, between: str, back: bool) -> Callable[[Inside], Stops]:
    """What the tour goes through, as a function of the run: classes in an order, or two test images. UserError."""
    if between == KINDS[1]:
        return _images_form(inside)
    unknown = [each for each in st.query_params.get_all("order") if each and each not in inside.classes]
    if unknown:
        st.warning(f"There is no class '{state.plain(unknown[0][:40])}' in this run, so the tour leaves it out.")
    there = [name for c, name in enumerate(inside.classes) if (inside.labels == c).any()]
    if (before := st.session_state.get("order")) and not set(before) & set(inside.classes):
        del st.session_state["order"]  # of a run with other classes
    order = st.multiselect(
        "In this order", list(inside.classes), there[:10], key="order", bind="query-params",
        help="The order in which they are chosen. A class without test images has no place in it.",
    )  # fmt: skip
    numbers = [inside.classes.index(name) for name in order]
    whole = numbers + numbers[:1] if back and len(numbers) > 2 else numbers
    return lambda run: transitions.class_stops(run.stops, run.classes, whole)


def _images_form(inside: Inside) -> Callable[[Inside], Stops]:
    last = len(inside.images) - 1
    if not last:
        raise UserError("This run has one test image only, and a tour needs two.")
    chosen: list[int] = []
    for place, (key, word) in zip(st.columns(2, width=420), {"from": "From", "to": "To"}.items(), strict=True):
        with place:
            number = _image_number(key, f"{word} test image", min(last, len(chosen)), last)
            image, label = inside.images[number : number + 1], inside.classes[inside.labels[number]]
            what = f"Test image {number + 1}" if inside.real else f"The model's copy of test image {number + 1}"
            pictures.show(pictures.sheet(image, 64, inside.light, 1, 64), f"{what}, class {label}", str(label))
            chosen.append(number)
    names = tuple(f"image {number + 1} ({inside.classes[inside.labels[number]]})" for number in chosen)

    def stops(run: Inside) -> Stops:
        if not np.array_equal(run.labels, inside.labels) or not np.array_equal(run.which, inside.which):
            raise UserError("The two runs have other test images: tour between classes, or compare runs of one seed.")
        return Stops(run.means[chosen], run.labels[chosen], names)

    return stops


def _image_number(key: str, label: str, usual: int, last: int) -> int:
    """The number of a test image. People count from 1, the address and the code from 0."""
    asked, widget = st.query_params.get(key, ""), f"number-{key}"
    number = int(asked) if asked.isdecimal() and len(asked) < 10 and int(asked) <= last else usual

    def told() -> None:
        if (chosen := st.session_state[widget] - 1) == usual:
            st.query_params.pop(key, None)
        else:
            st.query_params[key] = str(chosen)

    st.session_state[widget] = number + 1
    words = f"Its number, 1 to {last + 1:,}, in the order of the test set."
    st.number_input(label, 1, last + 1, key=widget, on_change=told, help=words)
    return number


def taken(inside: Inside, other: Inside | None, stops_of: Callable[[Inside], Stops], plan: Plan) -> list[Take]:
    """The same tour through one run or two, decoded and measured; empty while one is on its way. Raises UserError."""
    found, known = [], {}
    for letter, each in [("A", inside), ("B", other)] if other else [("", inside)]:
        name = each.run.config.dataset
        if name not in known:
            known[name] = judges.judge_for(name, each.classes)
        found.append(_take(letter, each, known[name], transitions.tour(stops_of(each), plan, each.spread[0])))
    return [each for each in found if each] if all(found) else []


def _take(letter: str, inside: Inside, judge: Judge | None, tour: Tour) -> Take | None:
    within = _radius(inside.run.id, inside.run.stamp, inside.means)
    codes = hashlib.sha256(tour.codes.tobytes()).hexdigest()
    key = (str(inside.run.path), inside.run.stamp, codes, judge.facts.sha256 if judge else "", within)

    def make(said: Said) -> tuple[np.ndarray, bytes, Meter]:
        frames = _decoded(inside, tour, said)
        meter = transitions.measured(tour, frames, inside.means, within, judge and judge.probabilities)
        return frames, sheet_of(media.as_people_write(frames, inside.light)), meter

    words = f"Making the frames of {letter}" if letter else "Making the frames"
    long = inside.in_noise and not inside.run.status().active
    found = background.remembered(_kept(*key), key, words, make, f"tour-{letter}", long)
    return Take(letter, inside, judge, tour, *found, within) if found else None


def _decoded(inside: Inside, tour: Tour, said: Said) -> np.ndarray:
    """The frames, each that holds still decoded once. -> uint8 (F, C, H, W)."""
    codes = tour.codes[tour.moving]
    together = (IN_STEPS if inside.in_steps else IN_PARTS) if inside.in_noise else len(codes)
    return decoded(lambda part: inside.decode(codes[part]), len(codes), together, said)[numbers(tour) - 1]


def decoded(decode: Callable[[slice], np.ndarray], count: int, together: int, said: Said) -> np.ndarray:
    """So many frames, part by part. -> uint8 (count, C, H, W)."""
    found = []
    for done in range(0, count, together):
        said(done / count)
        found.append(decode(slice(done, done + together)))
    return np.concatenate(found)


def in_noise(inside: Inside) -> str:
    """What is different where codes are noise; empty where they are not."""
    words = (
        f"A code of this run is noise, {inside.latent_size:,} numbers, and the mean of many is no image's code: for "
    )
    words += "each class the tour stops at a real image instead, the one whose code is nearest to the mean."
    return words if inside.in_noise else ""


def notes(takes: Sequence[Take]) -> None:
    """What could not go as planned, in one box."""
    told = list(dict.fromkeys(note for each in takes for note in each.tour.notes))
    more = [f"And {len(told) - 3} more legs like these."] if told[3:] else []
    if told:
        st.info("  \n".join(state.plain(note) for note in told[:3] + more))


@st.cache_data(show_spinner=False, max_entries=32)
def _radius(run: str, made: int, _means: np.ndarray) -> float:
    return transitions.radius(_means)


@st.cache_resource(show_spinner=False, max_entries=8)  # a long tour in colour is some 50 MB, of digits 1 MB
def _kept(run: str, made: int, codes: str, eyes: str, within: float) -> list[tuple[np.ndarray, bytes, Meter]]:
    """Filled by who first asks: a function whose value is kept cannot wait for what goes on beside the page."""
    return []


def about_judge(takes: Sequence[Take]) -> None:
    """Who judges, how well, and by which rule images count as near."""
    for judge in {each.judge.facts.sha256: each.judge for each in takes if each.judge}.values():
        facts = judge.facts
        st.caption(
            f"Judge of {panels.dataset_title(facts.dataset)}: a fixed network of {facts.parameters:,} parameters that "
            f"reads {facts.accuracy:.1%} of {facts.n:,} test images as their class. SHA-256 `{facts.sha256[:16]}`. "
            "It sees the pictures as the model makes them: mean pixels in [0, 1], not inverted and not stretched."
        )
    radii = " and ".join(figures.number(each.within) for each in takes)
    st.caption(
        f"Near: test images whose codes lie within {radii} of the frame's code. That is the median distance of a test "
        f"image's code to its {transitions.NEAR}th nearest, so a typical real image has {transitions.NEAR} near."
        f"{'' if takes[0].tour.moving.all() else ' Held frames are not counted.'}"
        f"{' Noise nearer to the centre has more near, whatever it shows.' * takes[0].inside.in_noise}"
    )


@st.fragment
def watch(takes: list[Take], pace: int) -> None:
    """The player, and under it the meter's curves with a line at the frame where the player rests."""
    tour = takes[0].tour
    counted = numbers(tour)
    key = f"player-{'-'.join(each.inside.run.id for each in takes)}"
    films = [
        Film(
            each.name, each.sheet, each.frames.shape[2], each.frames.shape[3], each.meter, verdict(each), _caption(each)
        )
        for each in takes
    ]
    frame = player(films, tour, takes[0].inside.classes, counted, key=key, pace=pace)
    curves(takes, int(counted[frame]))


def numbers(tour: Tour) -> np.ndarray:
    """What people call each frame, from 1, (F,): one that holds still, as the frame before it, which looks the same."""
    return np.maximum(1, np.cumsum(tour.moving))


def _caption(each: Take) -> str:
    what = "what it reads as, stacked by class" if each.judge else "real images near"
    return f"{each.name}: {what}, over the frames"


def curves(takes: Sequence[Take], frame: int) -> None:
    """Strays, neighbours and jumps over the frames, a line for each run."""
    charts = {
        "Off its two classes": ("probability", figures.stray_lines),
        "Real images near": ("images", figures.neighbour_lines),
        "Pixel jump": ("grey levels of 255", figures.jump_lines),
    }
    for place, (title, (unit, lines)) in zip(st.columns(3, gap="medium"), charts.items(), strict=True):
        tour = takes[0].tour
        if found := lines({each.letter or "this run": each.meter for each in takes}, tour):
            found = {name: (numbers(tour)[tour.moving], y[tour.moving]) for name, (_, y) in found.items()}
            drawn = figures.live_curves(found, x_title="frame", cursor=frame, height=200)
            drawn["padding"] = {"left": 0, "top": 4, "right": 4, "bottom": 0}
            if len(takes) < 2:
                drawn = figures.without_legend(drawn)
            highest = "; ".join(
                f"{name}: {figures.number(float(y.max()))}" if len(takes) > 1 else figures.number(float(y.max()))
                for name, (_, y) in found.items()
            )
            with place:
                told = state.plain(f"Highest: {highest}.")
                chart(drawn, told, key=f"meter-{title}", heading=f"**{title}**, {unit}, over the frames")


def verdict(each: Take) -> str:
    """The meter's totals in one sentence."""
    found = transitions.totals(each.tour, each.meter)
    lonely = f"{found.lonely} of {found.frames} frames have no real image near."
    words = lonely if found.lonely else "Every frame has real images near."
    if found.off is None or each.meter.probabilities is None:
        return words
    if (legs := len(each.tour.stops.names) - 1) > 1:
        many = f"{found.off} of {found.frames} frames ({found.off / found.frames:.1%}) for a third one"
        return f"Between two classes, the judge takes {many}, on {found.crossed} of {legs} legs. {words}"
    read = each.meter.probabilities[each.tour.moving].argmax(1)
    start, end = (each.inside.classes[read[at]] for at in (0, -1))
    others = f"{(~np.isin(read, read[[0, -1]])).sum()} of {found.frames} frames for something else"
    if start == end:
        return f"The judge takes both ends for {start}, and {others}. {words}"
    return f"On the way from {start} to {end}, the judge takes {others}. {words}"


def findings(each: Take) -> None:
    """A sentence for every leg that passes through another class, and the totals."""
    found = transitions.totals(each.tour, each.meter)
    leg, number = each.tour.leg_name(int(each.tour.legs[found.at])), numbers(each.tour)[found.at]
    st.markdown(f"**{state.plain(each.name)}**")
    st.write(state.plain(f"{verdict(each)} Largest jump: {found.largest:.1f} grey levels, at frame {number} ({leg})."))
    told = transitions.sentences(each.tour, each.meter, each.inside.classes)
    lines = [f"- {state.plain(sentence)}" for sentence in told]
    st.markdown("\n".join(lines[:6]))
    if lines[6:]:
        with st.expander(f"{len(lines) - 6} more legs"):
            st.markdown("\n".join(lines[6:]))


def table(takes: Sequence[Take]) -> None:
    """The meter's totals of the runs beside each other."""
    found = [transitions.totals(each.tour, each.meter) for each in takes]
    rows = {
        "Frames off the two classes": [
            "no judge" if each.off is None else f"{each.off} of {each.frames}" for each in found
        ],
        "Real images near, on average": [figures.number(each.neighbours) for each in found],
        "Frames with no real image near": [f"{each.lonely} of {each.frames}" for each in found],
        "Largest jump, grey levels": [f"{each.largest:.1f}" for each in found],
    }
    lines = [f"| {title} | {' | '.join(cells)} |" for title, cells in rows.items()]
    names = " | ".join(each.letter for each in takes)
    st.markdown("\n".join([f"| Figure | {names} |", f"|---|{'---:|' * len(takes)}", *lines]))
    columns = {each.name: [cells[number] for cells in rows.values()] for number, each in enumerate(takes)}
    downloads.button(File("CSV", "meter.csv", partial(downloads.spreadsheet, {"Figure": list(rows), **columns})))
    if told := unlike(takes):
        st.caption(state.plain(told))


def unlike(takes: Sequence[Take]) -> str:
    """What the two runs differ in besides the family and its own knobs, such as a class head; empty for nothing."""
    rows = settings.differences([(each.letter, each.inside.run.config) for each in takes])
    rows += steering.difference({each.letter: each.inside.run for each in takes})
    letters = [each.letter for each in takes]
    told = {row["setting"]: [row[letter] for letter in letters] for row in rows}
    family = told.pop(figures.title("family"), None)
    # What only one of the two families has is a part of it.
    both = {name: values for name, values in told.items() if not family or "-" not in values}
    words = "; ".join(f"{name} ({' and '.join(values)})" for name, values in both.items())
    if not words:
        return ""
    judges = " Each is read by the judge of its own dataset." if figures.title("data") in both else ""
    what = "Not only the family differs, so the totals do not speak of it alone" if family else "What differs"
    return f"{what}: {words}.{judges}"
