"""In a hosted demo: whose space a page shows. The key of the space is in the address, and nowhere else.

Streamlit drops the address's parameters on some ways to another page; the session remembers the key and puts it back.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import streamlit as st
from streamlit.runtime.scriptrunner import get_script_run_ctx

from app.downloads import File, button
from app.plan import duration
from app.state import SPACE, here, plain
from genmodels import data, demo, files, hosting
from genmodels.config import UserError
from genmodels.runs import all_runs, shipped_runs

LOST = "space-lost"  # in the session: the address had a key that is none, and that was not said yet
TAKEN = "Each of your runs as a zip that the Gallery of any Latent Lab can import, and your own datasets."
SOON = 1800.0  # seconds before the end in which the page warns
AGAIN = 60.0  # seconds between two looks at the clock


def enter() -> None:
    """At the start of each page: find the visitor's space, or make one, and keep its key in the address."""
    if not demo.on():
        return
    files.find_spaces_by(_of_this_session)
    asked, known = st.query_params.get(SPACE), st.session_state.get(SPACE)
    key, lost = asked or known, False
    if key is None or not demo.enter(key):
        lost = key is not None
        try:
            key = demo.new_space()
        except UserError as error:
            st.error(plain(str(error)))
            st.stop()
    if known not in (None, key):
        st.session_state.clear()  # of what was looked at in the other space
    st.session_state[SPACE] = key
    if lost:
        st.session_state[LOST] = True
    if asked != key:
        st.query_params[SPACE] = key


def _of_this_session() -> str | None:
    """The key that the session remembers, in whichever thread of it: of a page, a fragment or a callback."""
    return st.session_state.get(SPACE) if get_script_run_ctx(suppress_warning=True) else None


def menu(pages: Mapping[str, Sequence[Any]]) -> None:
    """The navigation of a demo, whose links have the key: they can be opened in another tab too."""
    with st.sidebar:
        for section, some in pages.items():
            if section:
                st.caption(f"**{section}**")
                with st.container(gap="xxsmall"):
                    for page in some:
                        st.page_link(page, query_params=here())
        about()


def about() -> None:
    """What the key means, what one may use, and the way to take everything along."""
    most = demo.quotas()
    with st.popover("Your space", icon=":material/key:", width="stretch"):
        st.markdown(
            "This is a demo. What you train and upload lies in a space of your own, and **its address is its key**: "
            "bookmark this page to come back. Who has the address sees what you see, and can change it; nobody else "
            "can. To show somebody a ready-made run, give them a link **without the key**: it opens this view in a "
            "space of their own."
        )
        link("space")
        st.markdown(
            f"The space is removed when nobody has used it for {duration(3600 * most.hours)}. It has room for "
            f"{most.runs} runs of up to {most.minutes:g} minutes or {most.steps:,} steps each and {most.datasets} "
            f"datasets of up to {most.upload} MB. Visitors take turns to train."
        )
        button(File("Download everything of mine", "latent-lab.zip", hosting.everything, TAKEN))


@st.fragment
def link(place: str) -> None:
    """A button that gives the address of this view without the visitor's key, or says why there is none.

    Pressed it sends the address as it is now. place: tells several buttons of a page apart.
    """
    if st.button("Link without the key", key=f"link-{place}", icon=":material/link:"):
        if shows_own(address := {name: st.query_params.get_all(name) for name in st.query_params if name != SPACE}):
            st.caption("This view shows what lies in your space: only the address with the key opens it.")
        else:
            st.code(f"{st.context.url or ''}?{urlencode(address, doseq=True)}", language=None, wrap_lines=True)


def shows_own(address: Mapping[str, Sequence[str]]) -> bool:
    """Whether what an address names is of this visitor alone: a run, an experiment, a dataset or a kept direction."""
    said = {part for values in address.values() for value in values for part in value.split(",")}
    ready_made = {run.config.experiment for run in shipped_runs()}
    return (
        bool(said & {run.id for run in all_runs()})
        or not ready_made.issuperset(address.get("experiment", ()))
        or any("folder:" in part or part.partition(":")[0] in data.aligned.HEADS for part in said)
        or "along" in address
    )


def warn() -> None:
    """Above the page: that its space is new although the address named one, or that it ends soon."""
    if not demo.on():
        return
    if st.session_state.pop(LOST, False):
        st.warning(
            "The space in that address has expired or never was: what was in it is gone. Here is a new one.",
            icon=":material/key_off:",
        )
    st.fragment(_ends_soon, run_every=AGAIN)()


def _ends_soon() -> None:
    """Looked at once a minute, which is no use of the space."""
    try:
        folder = files.home()
    except UserError as error:
        st.warning(plain(str(error)), icon=":material/key_off:")
        return
    left = demo.seconds_left(folder)
    if left < SOON and not demo.is_empty(folder):
        st.warning(
            f"Nobody has used this space for long: it is removed in {duration(max(60.0, left))}. Click anywhere on the "
            "page to keep it, or download what you need.",
            icon=":material/timer:",
        )  # fmt: skip
