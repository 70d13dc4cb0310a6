"""Gallery: every run as a card. Open, compare, duplicate, resume, download, import, delete."""

import streamlit as st

from app import cards, state

own = cards.own_cards()
ready = cards.ready_made(own)
with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
    st.title("Gallery", width="content")
    with st.container(horizontal=True, width="content"):
        with st.popover("Import", icon=":material/upload:"):
            cards.import_one()
        if own and st.button("Train a model", type="primary", icon=":material/add:"):
            state.go("train")
cards.brought()

if not own:
    cards.empty()
if not own and not ready:
    st.stop()
st.write("Open a model to look at it, or tick several to compare them.")
cards.compare()
found = cards.filtered([*own, *ready])
if not found:
    st.info("No run matches. Clear the search or a filter.")
mine = [card for card in found if not card.run.shipped]
limit = st.session_state.setdefault("shown", cards.PAGE)
cards.rows(mine[:limit])
if len(mine) > limit and st.button(f"Show more ({len(mine) - limit} left)", width="stretch"):
    st.session_state["shown"] = limit + cards.PAGE
    st.rerun()
if made := [card for card in found if card.run.shipped]:
    st.header("Ready-made")
    st.caption("Models that come with the app: look inside, compare, or duplicate one with changes.")
    cards.rows(made)
