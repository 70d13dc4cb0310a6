"""The address bar: which run, which dataset. Ids and registered names only, never a path."""

import re
from pathlib import Path
from typing import NoReturn

import streamlit as st

from genmodels import data
from genmodels.config import UserError
from genmodels.files import demo, space_now
from genmodels.runs import Run, by_id

ROOT = Path(__file__).parent.parent
LONGEST = 300  # letters of a dataset's name
SPACE = "space"  # in the address and in the session: the key of a visitor's space in a demo


def page_file(name: str) -> str:
    """The script of a page, as st.Page, st.switch_page and st.page_link take it."""
    return str(ROOT / "pages" / f"{name}.py")


def go(page: str, /, **query: str) -> NoReturn:
    """Open another page, with this in its address."""
    st.switch_page(page_file(page), query_params=here(**query))


def here(**query: str) -> dict[str, str]:
    """What an address of this app has behind its question mark: this, and in a demo the visitor's key."""
    return query | ({SPACE: str(space_now())} if demo() else {})


def data_changed(**query: str) -> NoReturn:
    """Open the Data page after a set came or went: another one of its name may have been looked at."""
    from genmodels import opening

    if not demo():  # where names are never used again
        st.cache_data.clear()
    opening.forget_all()
    go("data", **query)


def run_in_address(key: str = "run") -> Run | None:
    """The run that `?run=<id>` names, if any. An unknown id ends the page with a sentence and a way out."""
    wanted = st.query_params.get(key)
    if wanted is None:
        return None
    try:
        return by_id(wanted)
    except UserError as error:
        refuse(error)


def dataset_in_address() -> str | None:
    """The dataset that `?data=<name>` names: one of the registry, or one's own by its name. Else None."""
    wanted = st.query_params.get("data", "")
    if wanted and len(wanted) <= LONGEST and _without_path(wanted):
        return wanted
    if wanted:
        st.warning(f"There is no dataset '{plain(wanted[:60])}' here: choose one below.")
    return None


def _without_path(name: str) -> bool:
    """Of the registry, one's own by its name, or made of these."""
    head, _, rest = name.partition(":")
    if head in data.aligned.HEADS:
        return _without_path(f"folder:{rest}")
    if data.pairing(name) == "none":
        return name in data.DATASETS or bool(re.fullmatch(r"folder:\w[\w .-]*(/\w[\w .-]*)?", name))
    try:
        return all(map(_without_path, data.bases(name)))
    except UserError:
        return False


def refuse(error: UserError) -> NoReturn:
    """End the page with the sentence and a link to the gallery."""
    st.error(plain(str(error)))
    st.page_link(page_file("gallery"), label="Go to the gallery", icon=":material/grid_view:", query_params=here())
    st.stop()


def plain(text: str) -> str:
    """Words from a file or an address, with nothing that Markdown would act on."""
    return re.sub(r"([\\`*_{}\[\]<>#$~|:])", r"\\\1", text)
