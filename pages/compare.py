"""Compare: runs side by side, with their figures, curves, pictures and cost. `?runs=<id>,<id>`."""

import streamlit as st

from app import compare, measure
from app.naming import named

st.title("Compare")
st.write("Choose runs and see which is better at what, by how much, and at what cost.")
runs = compare.chosen() or compare.empty()
if not runs:
    st.stop()
compare.watch(runs)
measure.again(runs, named(runs))
