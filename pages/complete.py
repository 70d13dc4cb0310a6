"""Complete: a part of a picture is hidden, and there are many right answers. Runs and question in the address."""

import streamlit as st

from app import answers, complete, downloads, state
from genmodels.config import UserError

st.title("Complete")
st.write("Hide a part of a picture, or its colour, and see **several answers** that fit what is left.")
try:
    chosen = complete.choose()
    asked = complete.ask(chosen)
    if asked is not None:
        with downloads.keeping("complete", f"answers-{asked.kind}-{asked.seed}"):
            answers.show_question(asked, chosen[0].light)
            answers.results(chosen, asked)
    with st.expander("The formulas", icon=":material/functions:"):
        st.markdown(answers.FORMULA)
except UserError as error:
    st.error(state.plain(str(error)))
