"""Perturbation: one slider for each latent dimension, and the image that they make. `?run=<id>` in the address."""

import streamlit as st

from app import downloads, look, mailed, perturb, state
from app.start import NOT_HERE, choose_start
from genmodels.config import UserError

st.title("Perturbation")
st.write("Move one latent dimension at a time and watch what it means. The first ones carry most.")
try:
    inside = look.run_to_look_at("encode", "decode")
    start = choose_start(inside)
    if start is None:
        st.stop()
    st.caption(f"{start.words}." + ("" if inside.real else NOT_HERE))
    z = perturb.explore(inside, start)
    st.header("Traversal grid")
    if inside.in_steps:
        st.caption("No grid here: one number of the noise changes hardly anything, and each picture takes many steps.")
        downloads.offer("perturbation", perturb.image_file(inside, z))
    else:
        columns, rows = perturb.grid_settings(inside)
        perturb.show_grid(inside, perturb.make_grid(inside, z, columns, rows), perturb.image_file(inside, z))
    mailed.offer(inside.run)
    with st.expander("The formulas", icon=":material/functions:"):
        st.markdown(perturb.FORMULA)
except UserError as error:
    st.error(state.plain(str(error)))
