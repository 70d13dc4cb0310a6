"""The settings of a run on a page: as a table, and what a changed copy of it keeps."""

import streamlit as st

from app.state import plain
from genmodels.data.selection import Selection
from genmodels.figures import title
from genmodels.runs import RunConfig
from genmodels.settings import differences, in_words, of_run

__all__ = ["differences", "in_words", "of_run", "selection_for", "table"]


def selection_for(old: RunConfig | None, dataset: str, seed: int) -> Selection | None:
    """What a changed copy is not shown either. Images left out by their numbers are others under another seed, which
    orders the images of most datasets: they are shown again, and a sentence says so."""
    if not old or not old.selection or old.dataset != dataset:
        return None
    if old.selection.left_out and old.seed != seed:
        st.info(f"{len(old.selection.left_out):,} images were left out. With another seed they are shown again.")
        return old.selection.model_copy(update={"left_out": ()})
    return old.selection


def table(config: RunConfig, made: str) -> None:
    """Every setting folded away: first what differs from the defaults, then the rest. made: which data, in words."""
    known = sorted(of_run(config), key=lambda setting: not setting.differs)
    rest = {
        "data": f"{made} ({config.dataset})",
        "made": config.created.replace("T", " ")[:19],
        "copy of": config.parent,
        "versions": ", ".join(f"{name} {number}" for name, number in config.versions.items()),
    }
    rows = [
        {"Setting": title(each.name), "Value": each.value, "Default": each.default if each.differs else ""}
        for each in known
    ]
    rows += [{"Setting": title(name), "Value": value, "Default": ""} for name, value in rest.items() if value]
    with st.expander("Settings", icon=":material/tune:"):
        st.caption(
            "What differs from the defaults stands first, with the default beside it."
            if known[0].differs
            else "Everything is as it is by default."
        )
        st.table([{key: plain(value or "") for key, value in row.items()} for row in rows], hide_index=True)
