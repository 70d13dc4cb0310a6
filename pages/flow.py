"""Flow: points in the plane, learned while one looks, and the plane bent layer by layer. Settings in the address."""

import streamlit as st

from app import flow, state
from genmodels.config import UserError

st.title("Flow")
st.write(
    "Choose points, train a flow in some seconds, and drag the slider: layer by layer it bends the plane until noise "
    "looks like the data."
)
try:
    asked = flow.form()
    if found := flow.learned(asked):
        flow.show(found, asked)
    with st.expander("The idea and the formulas", icon=":material/functions:"):
        st.markdown(flow.FORMULA)
except UserError as error:
    st.error(state.plain(str(error)))
