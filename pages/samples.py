"""Samples: new images of any run that makes them. `?run=<id>`, seed, class, truncation and more in the address."""

import streamlit as st

from app import look, priors, samples, state, ways
from genmodels.config import UserError

st.title("Samples")
st.write("Make new images from a seed, walk from one to another, and see whether any is a copy of a training image.")
try:
    run = look.choose("sample|decode")  # what draws codes can be learned
    asked = samples.form(run)
    if priors.ready(run, asked.prior, samples.dataset_of) and (shown := samples.draw(run, asked)):
        left, right = st.columns(2, gap="large")
        with left:
            samples.show(shown)
        with right:
            ways.way(shown)
        samples.nearest(shown)
    with st.expander("The idea and the formulas", icon=":material/functions:"):
        st.markdown(ways.IDEA)
except UserError as error:
    st.error(state.plain(str(error)))
