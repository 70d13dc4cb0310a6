"""Denoising: an image comes out of noise, or a picture goes there and back. `?run=<id>`, mode and settings."""

import streamlit as st

from app import denoising, look, state
from genmodels.config import UserError
from genmodels.denoising import open_denoiser

st.title("Denoising")
st.write("Watch an image come out of noise, or add noise to a picture of your own and see what it comes back as.")
try:
    denoiser = open_denoiser(look.choose("denoise_path", otherwise=denoising.offer))
    if denoising.choose_mode() == "noise":
        denoising.from_noise(denoiser)
    else:
        denoising.from_picture(denoiser)
    with st.expander("The formulas", icon=":material/functions:"):
        st.markdown(denoising.FORMULA)
except UserError as error:
    st.error(state.plain(str(error)))
