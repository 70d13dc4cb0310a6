"""The gallery's cards: each run with its picture, its state, its main figure, and what can be done with it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import streamlit as st

from app import doctor, panels, pictures, settings, sharing, steering
from app.controls import attempt
from app.state import go, plain
from genmodels import data, demo, figures, hosting, jobs
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.runs import Run, RunConfig, Status, all_runs, shipped_runs

PAGE = 12  # cards at a time
ACTIVE = ("queued", "running", "paused")
ASKED = "deletion-asked"  # in the session: of which run
AGES = ((86400 * 365, "years"), (86400 * 30, "months"), (86400, "days"), (3600, "h"), (60, "min"))


class Card(NamedTuple):
    """What filtering needs; config is None where the run is damaged, and then error says how."""

    run: Run
    config: RunConfig | None
    status: Status
    error: str | None

    def value(self, kind: str) -> str:
        """Its family, data or state; nothing for what a damaged run does not tell."""
        if kind == "state" or not self.config:
            return self.status.state if kind == "state" else ""
        return self.config.family if kind == "family" else self.config.dataset

    @property
    def words(self) -> str:
        """What the search looks through."""
        if not self.config:
            return f"{self.run.id} {self.status.state}".lower()
        named = f"{panels.heading(self.config)} {self.config.family} {self.config.dataset}"
        return f"{self.run.id} {named} {settings.in_words(self.config)} {self.status.state}".lower()


def own_cards() -> list[Card]:
    """Every run of this home, newest first; a damaged one is a card too."""
    return _cards(all_runs())


def ready_made(own: Sequence[Card]) -> list[Card]:
    """The runs that come with the app, but for those of which one's own has the id: an address means that one."""
    taken = {card.run.id for card in own}
    return _cards([run for run in shipped_runs() if run.id not in taken])


def _cards(runs: Sequence[Run]) -> list[Card]:
    found = []
    for run in runs:
        try:
            found.append(Card(run, run.config, run.status(), None))
        except UserError as error:
            found.append(Card(run, None, Status(state="failed"), str(error)))
    return found


def filtered(cards: list[Card]) -> list[Card]:
    """Search box and filters, mirrored in the address."""
    left, *others = st.columns([2, 1, 1, 1])
    search = left.text_input(
        "Search", key="search", bind="query-params", placeholder="Search", label_visibility="collapsed",
        icon=":material/search:",
    )  # fmt: skip
    everything = cards
    for place, name in zip(others, ("family", "data", "state"), strict=True):
        options = [*panels.STATES] if name == "state" else sorted({card.value(name) for card in everything} - {""})
        wanted = place.multiselect(
            name, options, key=name, bind="query-params", placeholder=f"Any {name}",
            label_visibility="collapsed", format_func=partial(_shown, name),
        )  # fmt: skip
        cards = [card for card in cards if not wanted or card.value(name) in wanted]
    return [card for card in cards if all(word in card.words for word in (search or "").lower().split())]


def _shown(kind: str, value: str) -> str:
    if kind == "family":
        return FAMILIES[value].title if value in FAMILIES else value
    return data.title(value) if kind == "data" else value


def picked() -> list[str]:
    """Ids ticked for comparison, kept in the address."""
    return [each for each in st.query_params.get("compare", "").split(",") if each]


def _pick(run_id: str) -> None:
    chosen = [each for each in picked() if each != run_id] if run_id in picked() else [*picked(), run_id]
    if chosen:
        st.query_params["compare"] = ",".join(chosen)
    else:
        st.query_params.pop("compare", None)


def rows(cards: Sequence[Card]) -> None:
    """Three in a row."""
    for first in range(0, len(cards), 3):
        for place, card in zip(st.columns(3), cards[first : first + 3], strict=False):
            with place:
                draw(card)


def draw(card: Card) -> None:
    """One card."""
    with st.container(border=True, height="stretch"):
        if card.config is None:
            st.markdown(f"**{plain(card.run.id)}**")
            st.error(plain(card.error or ""))
            if not card.run.shipped and st.button("Delete", icon=":material/delete:", key=f"delete-{card.run.id}"):
                confirm(card.run)
            return
        face = st.fragment(_face, run_every=2.0) if card.status.active else _face  # each fragment costs its page time
        face(card.run, card.config, card.status.state)
        with st.container(horizontal=True, vertical_alignment="center"):
            if st.button("Open", key=f"open-{card.run.id}"):
                go("train", run=card.run.id)
            _menu(card)
            st.checkbox("Compare", card.run.id in picked(), f"pick-{card.run.id}", on_change=_pick, args=(card.run.id,))


def _face(run: Run, config: RunConfig, known: str) -> None:
    """What a card shows, kept up to date while the run is active."""
    status = run.status()
    if status.state != known:
        st.rerun()
    picture, missing, words = (
        _ready_made(str(run.path), run.changed("summary.json")) if run.shipped else _looks(run, config, status)
    )
    if picture:
        pictures.show(picture, f"Samples of {run.id}")
    else:
        st.caption(plain(missing))
    st.markdown(words)


@lru_cache(64)
def _ready_made(path: str, made: int) -> tuple[pictures.Picture | None, str, str]:
    """Remembered, since all runs that come along are drawn whenever a box is ticked."""
    run = Run(Path(path))
    return _looks(run, run.config, run.status())


def _looks(run: Run, config: RunConfig, status: Status) -> tuple[pictures.Picture | None, str, str]:
    """The picture of a card, what stands there where there is none, and all that is written below."""
    picture, missing = None, "No pictures yet."
    try:
        picture = pictures.thumbnail(run)
    except UserError as error:
        missing = str(error)
    return picture, missing, _words(run, config, status)


def _words(run: Run, config: RunConfig, status: Status) -> str:
    """As one element of the page: each costs time."""
    lines = [f"**{panels.heading(config)}**", main_figure(run)]
    if changed := settings.in_words(config):
        lines.append(f":gray[{plain(changed)}]")
    if run.shipped:
        tags, told = [":violet-badge[:material/inventory_2: ready-made]"], run.id
    else:
        tags, done = [panels.badge(status), steering.badge(run)], f"{status.share:.0%} · " if status.active else ""
        told = f"{done}{age(config.created)} · {run.id.rsplit('-', 1)[-1]}"
    lines += [" ".join(filter(None, [*tags, doctor.badge(run, status)])), f":small[:gray[{plain(told)}]]"]
    return "  \n".join(lines)


def _menu(card: Card) -> None:
    """Built when it is opened: of all cards it would take half of the page's time."""
    run = card.run
    menu = st.popover(":material/more_horiz:", help="More", key=f"more-{run.id}", on_change="rerun")
    if st.session_state.get(ASKED) == run.id:
        del st.session_state[ASKED]
        confirm(run)
    if not menu.open:
        return
    with menu, st.container(gap="small"):
        if st.button(
            "Duplicate with changes", key=f"like-{run.id}", icon=":material/content_copy:", type="tertiary",
            help="A new run that starts from the settings of this one.",
        ):  # fmt: skip
            go("train", like=run.id)
        if not run.shipped and run.can_resume(card.status):
            st.button(
                "Resume", key=f"resume-{run.id}", icon=":material/play_arrow:", type="tertiary",
                on_click=attempt, args=(jobs.resume, run), help="It goes on from its last checkpoint.",
            )  # fmt: skip
        sharing.files(run, card.status)
        panels.links(run)
        if not run.shipped:
            st.button(
                "Delete", key=f"delete-{run.id}", icon=":material/delete:", type="tertiary", help="It asks first.",
                on_click=_ask, args=(run,),
            )  # fmt: skip


def _ask(run: Run) -> None:
    """The menu closes: it would lie over the question."""
    st.session_state.update({f"more-{run.id}": False, ASKED: run.id})


@st.dialog("Delete this run?")
def confirm(run: Run) -> None:
    """Ask before anything is lost. A run that is being trained is not asked about but explained."""
    if (state := run.status().state) in ACTIVE:
        st.info(f"**{plain(run.id)}** is {state}. Open it and press Stop first, then it can be deleted.")
        return
    st.write(
        f"**{plain(run.id)}**: its weights, curves and pictures will be gone. Download it first if you may need it."
    )
    with st.container(horizontal=True):
        if st.button("Delete", type="primary", icon=":material/delete:", on_click=attempt, args=(run.delete,)):
            st.rerun()
        if st.button("Keep"):
            st.rerun()


def main_figure(run: Run) -> str:
    """The first loss with its unit: measured at the end, or else where the curve has come to."""
    try:
        summary, point = run.summary(), run.newest_point()
        name = next(iter(point["train"])) if point else next(iter(summary), "")
        if name in summary or (summary and not point):
            return f"{figures.title(name)}: **{figures.number(summary[name]['value'])}** {plain(summary[name]['unit'])}"
        if not point:
            return "No figures yet."
        value = point.get("test", point["train"])[name]
        return f"{figures.title(name)}: **{figures.number(value)}** {plain(panels.losses(run).get(name, ''))}"
    except UserError as error:
        return plain(str(error))


def moment(created: str) -> str:
    """'21 Nov, 18:02 UTC': for menus, whose choice is sent back by its words, so that these must not change."""
    try:
        return f"{datetime.fromisoformat(created).astimezone(UTC):%d %b, %H:%M} UTC"
    except (ValueError, TypeError):
        return "some time ago"


def age(created: str) -> str:
    """'3 min ago'."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(created)).total_seconds()
    except (ValueError, TypeError):
        return "some time ago"
    for length, word in AGES:
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {word.rstrip('s') if count == 1 else word} ago"
    return "just now"


def compare() -> None:
    """What is ticked, and the way to where it is compared."""
    if not (chosen := picked()):
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        words = "Tick another one to compare them." if len(chosen) == 1 else f"{len(chosen)} runs are ticked."
        st.caption(words, width="content")
        if len(chosen) > 1 and st.button(f"Compare {len(chosen)} runs", type="primary", icon=":material/balance:"):
            go("compare", runs=",".join(chosen))
        st.button("Untick all", icon=":material/close:", on_click=_untick)


def _untick() -> None:
    for run_id in picked():
        st.session_state[f"pick-{run_id}"] = False
    st.query_params.pop("compare", None)


def import_one() -> None:
    """Bring a run that was downloaded as a zip, or all of a visitor's that were."""
    turn = st.session_state.setdefault("imports", 0)
    most = demo.upload_limit()
    given = st.file_uploader(
        "A run downloaded as zip, or everything of yours", "zip", key=f"import-{turn}", max_upload_size=most
    )
    if given is None:
        return
    try:
        runs, left_out = hosting.bring(given)
    except UserError as error:
        st.error(plain(str(error)))
        return
    st.session_state["imports"] += 1
    if len(runs) == 1 and not left_out:
        go("train", run=runs[0].id)
    st.session_state["brought"] = f"{len(runs)} {'run was' if len(runs) == 1 else 'runs were'} imported. {left_out}"
    go("gallery")


def brought() -> None:
    """What came of an import of several runs, once."""
    if words := st.session_state.pop("brought", ""):
        st.info(plain(words.strip()), icon=":material/upload:")


def empty() -> None:
    """The first visit."""
    with st.container(border=True, horizontal_alignment="center"):
        st.header("No runs of your own yet", width="content")
        st.markdown(
            "Train a first model: it takes one minute and two clicks, and you can watch it learn to draw digits.",
            width="content",
        )
        if st.button("Train a first model", type="primary", icon=":material/model_training:"):
            go("train")
