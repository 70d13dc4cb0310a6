"""Work that no page waits for: it goes on beside all pages, once for all who watch it, and ends when nobody does."""

import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.state import plain
from genmodels.config import UserError
from genmodels.files import in_space, space_now

PACE = 0.5  # seconds between two looks
PATIENCE = 10.0  # seconds without a look after which somebody watches no more: a busy server is late
# In the session: what was made and not yet seen, what is left, and by name what is watched.
DONE, STOPPED, WATCHED = "background-done", "background-stopped", "background-watched"
Made = TypeVar("Made")
Making = Callable[[Callable[[float], Any]], Made]

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

    make: takes a function to be told the share that is done, which ends the work where nobody watches any more.
    name: of the place on the page, of which one thing is watched at a time: what was watched there before is left.
    """
    before = st.session_state.setdefault(WATCHED, {})
    if before.get(name, key) != key and (other := _works.get(before[name])):
        other.watchers.pop(_session(), None)
    before[name] = key
    done, stopped = st.session_state.setdefault(DONE, {}), st.session_state.setdefault(STOPPED, set())
    if key in done:
        found: Made = done.pop(key)
        return found
    if key in stopped:
        st.info("Stopped before it was ready.")
        st.button(
            "Start again", icon=":material/play_arrow:", key=f"again-{name}", on_click=stopped.discard, args=(key,)
        )
        return None
    with _lock:
        if (work := _works.get(key)) is None:
            work = _works[key] = Work(key, make)
            work.thread.start()
        work.watchers[_session()] = time.monotonic()
    st.fragment(_watch, run_every=PACE)(key, work, words, name)
    return None


def _watch(key: Hashable, work: Work, words: str, name: str) -> None:
    if work.problem:
        st.error(plain(work.problem))
        return
    if key not in st.session_state[STOPPED] and work.thread.is_alive():
        work.watchers[_session()] = time.monotonic()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.progress(work.share, f"{words}: {work.share:.0%}")
            st.button("Stop", icon=":material/stop:", key=f"stop-{name}", on_click=_leave, args=(key, work))
        return
    if work.made is not None:
        st.session_state[DONE][key] = work.made
    st.rerun()


def _leave(key: Hashable, work: Work) -> None:
    work.watchers.pop(_session(), None)
    st.session_state[STOPPED].add(key)


def _session() -> str:
    return getattr(get_script_run_ctx(suppress_warning=True), "session_id", "")
