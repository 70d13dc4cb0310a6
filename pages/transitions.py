"""Transitions: walk from class to class, and measure what the model passes on the way. `?run=`, `?run2=`, settings."""

import streamlit as st

from app import films, look, state, tours
from genmodels.config import UserError

st.title("Transitions")
st.write("Walk from class to class through the latent space, and see what the model passes on the way.")

try:
    left, right = st.columns(2)
    with left:
        inside = look.run_to_look_at("encode", "decode")
    with right:
        other = tours.beside(inside)
    if not inside.real:
        st.caption("The test images are not on this machine: copies made by the model stand in for them.")
    with st.container(horizontal=True, vertical_alignment="center"):
        between, view = tours.kind_form(inside)
        plan, back, pace = tours.plan_form([each for each in (inside, other) if each])
    if different := tours.in_noise(inside):
        st.caption(different)
    stops_of = tours.stops_form(inside, between, back)
    takes = tours.taken(inside, other, stops_of, plan)
    if takes:
        tours.notes(takes)
        if view == tours.VIEWS[0]:
            tours.watch(takes, pace)
        else:
            films.show_file(takes, view, pace)
        films.downloads(takes, pace)
        st.header("What the meter says")
        if len(takes) > 1:
            tours.table(takes)
        for place, each in zip(st.columns(len(takes), gap="large"), takes, strict=True):
            with place:
                tours.findings(each)
        tours.about_judge(takes)
    with st.expander("The idea and the formula", icon=":material/functions:"):
        st.markdown(tours.IDEA)
except UserError as error:
    st.error(state.plain(str(error)))
