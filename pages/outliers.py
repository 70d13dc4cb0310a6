"""Outliers: how odd each image is to a model, and training again without some. Run, score and sets in the address."""

import streamlit as st

from app import marks, outliers, separation, state
from genmodels.config import UserError

st.title("Outliers")
st.write("Score how odd each image is to a model, move the threshold, and train again without the images you mark.")
try:
    run = outliers.choose()
    found = outliers.scored(run, outliers.form(run)) if run else None
    if run and found:
        at = outliers.charts(found)
        outliers.both_sides(found, at)
        marks.download(found)
        marks.panel(found, at)
        marks.without_a_class(run)
    with st.expander("The idea and the formulas", icon=":material/functions:"):
        st.markdown(separation.IDEA)
except UserError as error:
    st.error(state.plain(str(error)))
