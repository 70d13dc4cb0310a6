"""Debias: a group made scarce, and a model trained with and without resampling, over seeds. `?experiment=`."""

import streamlit as st

from app import debias, state
from genmodels.config import UserError

st.title("Debias")
st.write("Make a class or factor scarce, train with and without drawing what is rare more often, and see who gains.")
place = st.container()
runs = []
try:
    runs = debias.chosen()
except UserError as error:
    st.error(state.plain(str(error)))
new = place.expander("**Train a new experiment**", expanded=not runs, icon=":material/add:")
if runs:
    debias.watch(runs)
try:
    with new:  # last, because its estimate takes a trial
        debias.form()
except UserError as error:
    place.error(state.plain(str(error)))
