"""Arithmetic: group A minus group B plus an item, as pictures. The address holds run, terms and strength."""

import streamlit as st

from app import equations, look, state, terms
from genmodels.config import UserError

st.title("Arithmetic")
st.write("Take what one group of images has and another has not, and add it to an image: **drag the strength**.")
try:
    inside = look.run_to_look_at("encode", "decode")
    if inside.in_noise:
        st.info("Codes of this run are noise, whose means say next to nothing: choose a run that squeezes its images.")
        st.stop()
    if not inside.real:
        st.info("The dataset is not on this machine: the model's own copies stand in for the test images.")
    terms.offer(inside)
    found = terms.choose(inside)
    st.fragment(equations.show)(found)
    equations.keep(found)
except UserError as error:
    st.error(state.plain(str(error)))
with st.expander("The formulas", icon=":material/functions:"):
    st.markdown(equations.FORMULA)
