"""Work that no page waits for: it goes on beside all pages, once for all who watch it, and ends when nobody does."""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar, cast

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.downloads import OFFERED
from app.state import plain
from genmodels import demo
from genmodels.config import UserError
from genmodels.files import in_space, space_now

PACE = 0.5  # seconds between two looks
AT_ONCE = 0.3  # seconds in which what is soon made needs no bar
PATIENCE = 90.0  # seconds without a look after which somebody watches no more: a hidden tab looks once a minute
MOST = 20  # works at a time in a demo, each with a thread
WATCHED = "background-watched"  # in the session: by name the key of what is watched there, and the work
FULL = "The server already makes this for as many others as it can: start again in a minute."
Made = TypeVar("Made")
Said = Callable[[float], Any]  # is told the share that is done
Making = Callable[[Said], Made]

_lock = threading.Lock()
_works: dict[Hashable, "Work"] = {}


class UnwatchedError(Exception):
    """Nobody waits for it any more."""


class Work:
    """share: how much of it is done. made: what came of it. problem: why nothing did."""

    def __init__(self, key: Hashable, make: Making[Any]) -> None:
        self.share, self.made, self.problem = 0.0, None, ""
        self.watchers = {_session(): time.monotonic()}
        self.thread = threading.Thread(target=self._do, args=(key, make, space_now()), name="background", daemon=True)

    def _do(self, key: Hashable, make: Making[Any], space: str | None) -> None:
        try:
            with in_space(space):
                self.made = make(self._said)
        except UnwatchedError:
            pass
        except UserError as error:
            self.problem = str(error)
        except Exception:
            logging.getLogger(__name__).exception("Work beside the pages failed")
            self.problem = "This did not work, and the log of the server says why: try again."
        finally:
            with _lock:
                del _works[key]

    def _said(self, share: float) -> None:
        self.share = share
        if all(time.monotonic() - looked > PATIENCE for looked in list(self.watchers.values())):
            raise UnwatchedError


def made(key: Hashable, words: str, make: Making[Made], name: str) -> Made | None:
    """What is made, once it is there: until then its progress and None, and the page is drawn anew when it is.

    key: tells apart what would come to something else, or lie elsewhere. make: takes a function to be told the share
    that is done, which ends the work where nobody watches any more. name: of the place on the page, of which one thing
    is watched at a time: what was watched there before is left.
    """
    if OFFERED in st.session_state:  # a script opens the page once, and waits for its files
        return make(lambda share: None)
    watched = st.session_state.setdefault(WATCHED, {})
    of, work = watched.get(name, (None, None))
    if of != key:
        if work:
            _leave(work)
        work = _begun(key, make)
        watched[name] = key, work
    goes_on = work and _goes_on(work)  # asked first: it may end between the two
    if work and work.made is not None:
        return cast(Made, work.made)
    if work and goes_on:
        st.fragment(_watch, run_every=PACE)(work, words, name)
        return None
    if problem := work.problem if work else FULL:
        st.error(plain(problem))
    else:
        st.info("Stopped before it was ready.")
    st.button("Start again", icon=":material/play_arrow:", key=f"again-{name}", on_click=watched.pop, args=(name, None))
    return None


def remembered(kept: list[Made], key: Hashable, words: str, make: Making[Made], name: str, long: bool) -> Made | None:
    """What was kept, else what is made and then kept: at once, or where it takes long as `made` has it."""
    if not kept:
        if long:
            found = made(key, words, make, name)
        else:
            with st.spinner(words):
                found = make(lambda share: None)
        if found is None:
            return None
        kept.append(found)
    _, work = st.session_state.get(WATCHED, {}).pop(name, (None, None))
    if work:  # of what was asked for before; and what it made is kept elsewhere
        _leave(work)
    return kept[0]


def _begun(key: Hashable, make: Making[Any]) -> Work | None:
    """What goes on, or now begins, and is watched from here; None where there is too much of it."""
    with _lock:
        if (work := _works.get(key)) is None:
            if demo.on() and len(_works) >= MOST:
                return None
            work = _works[key] = Work(key, make)
            work.thread.start()
        work.watchers[_session()] = time.monotonic()
    work.thread.join(AT_ONCE)
    return work


def _watch(work: Work, words: str, name: str) -> None:
    if not _goes_on(work):
        st.rerun()
    work.watchers[_session()] = time.monotonic()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.progress(work.share, f"{words}: {work.share:.0%}" if work.share else f"{words}: beginning")
        st.button("Stop", icon=":material/stop:", key=f"stop-{name}", on_click=_leave, args=(work,))


def _goes_on(work: Work) -> bool:
    """And is watched from here."""
    return work.thread.is_alive() and _session() in work.watchers


def _leave(work: Work) -> None:
    work.watchers.pop(_session(), None)


def _session() -> str:
    return getattr(get_script_run_ctx(suppress_warning=True), "session_id", "")
