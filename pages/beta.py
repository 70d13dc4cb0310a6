"""Beta: one model under several betas and nothing else that differs. `?experiment=` or `?runs=`, and `?beta=`."""

import streamlit as st

from app import betas, comparison, state
from genmodels.config import UserError

st.title("Beta")
st.write("Train the same model under several betas, from the same start on the same batches, and move the slider.")
place = st.container()
try:
    members = betas.chosen_members()
except UserError as error:
    st.error(state.plain(str(error)))
    members = {}
new = place.expander("**Train a new comparison**", expanded=not members, icon=":material/add:")
if members:
    comparison.watch(members)
try:
    with new:  # last, because its estimate takes a trial
        betas.form()
except UserError as error:
    place.error(state.plain(str(error)))
