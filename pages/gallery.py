"""Gallery: every run as a card. Open, compare, duplicate, resume, download, import, delete."""

import streamlit as st

from app import cards, state
from genmodels.config import UserError
from genmodels.runs import by_id

everything = cards.all_cards()
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    st.title("Gallery", width="content")
    with st.container(horizontal=True, width="content"):
        with st.popover("Import", icon=":material/upload:"):
            cards.import_one()
        if everything and st.button("Train a model", type="primary", icon=":material/add:"):
            state.go("train")

if not everything:
    cards.empty()
    st.stop()

st.write("Every model trained here. Open one to look at it, or tick several to compare them.")
chosen = []
for run_id in cards.picked()[:4]:
    try:
        chosen.append(by_id(run_id))
    except UserError as error:
        st.warning(state.plain(str(error)))
if len(chosen) > 1:
    with st.container(border=True):
        try:
            cards.compare(chosen)
        except UserError as error:
            st.error(state.plain(str(error)))

found = cards.filtered(everything)
limit = st.session_state.setdefault("shown", cards.PAGE)
if not found:
    st.info("No run matches. Clear the search or a filter.")
for first in range(0, min(limit, len(found)), 3):
    for place, card in zip(st.columns(3), found[first : first + 3], strict=False):
        with place:
            cards.draw(card)
if len(found) > limit and st.button(f"Show more ({len(found) - limit} left)", width="stretch"):
    st.session_state["shown"] = limit + cards.PAGE
    st.rerun()
