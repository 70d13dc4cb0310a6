"""Translate: an image of one kind becomes one of another. `?run=<id>`, direction and start in the address."""

import streamlit as st

from app import look, state, translate
from genmodels.config import UserError
from genmodels.translation import open_translator

st.title("Translate")
st.write("Turn an image of one kind into one of another: choose a test image, upload a picture, or **draw** and watch.")
try:
    translator = open_translator(look.choose("translate", otherwise=translate.offer))
    direction = translate.choose_direction(translator)
    translate.one(translator, direction)
    translate.batch(translator, direction)
    with st.expander("The formulas", icon=":material/functions:"):
        st.markdown(translate.FORMULA)
except UserError as error:
    st.error(state.plain(str(error)))
