"""Latent map: the test images of a run as points, placed by their codes. The address holds runs, view, selection,
and the classes that are shown alone."""

import streamlit as st

from app import look, mapped, maps, start, state
from genmodels.config import UserError
from genmodels.inside import Inside
from genmodels.maps import Map

st.title("Latent map")
st.write(
    "Every point is a test image, placed by its code. **Hover** to see it and the model's copy, draw **round** some to "
    "look at them together, or click an **empty place** to see what the model would draw there."
)
try:
    left, right = st.columns([3, 1], vertical_alignment="center")
    with left:
        runs = [look.run_to_look_at("encode", "decode")]
    if right.toggle("Compare with another", "run2" in st.query_params, key="two"):
        runs.append(look.run_to_look_at("encode", "decode", key="run2"))
    else:
        start.forget("run2", "selected2", "shown2")
    view = maps.choose_view(runs)
    by = maps.choose_colour(runs[0])
except UserError as error:
    state.refuse(error)


def points_of(inside: Inside) -> Map | None:
    """The map of one run, or a sentence that says why there is none."""
    try:
        return maps.map_of(inside, view)
    except UserError as error:
        st.error(state.plain(str(error)))
        return None


@st.fragment
def drawn(pairs: list[tuple[Inside, Map]]) -> None:
    """The maps and what is selected on them: drawn again alone when the selection changes."""
    shared = len(pairs) > 1 and maps.share_selection(*(inside for inside, _ in pairs))
    keys = [f"selection-{inside.run.id}" for inside, _ in pairs]
    chosen = []
    names = ["selected", "selected" if shared else "selected2"]
    places = zip(st.columns(len(pairs), gap="medium"), keys, names, ["shown", "shown2"], pairs, strict=False)
    for place, key, name, shown, (inside, found) in places:
        keep = keys if shared else [key]
        with place:
            maps.recall(inside, keep, name)
            chosen.append(maps.draw(inside, found, view, by, keep, len(pairs) == 1, shown))
            st.caption(maps.sentence(inside, found, view))
            mapped.files(inside, found, view, by)
        maps.remember(chosen[-1], name)
    if len(pairs) > 1 and not shared:
        st.info("These runs were tested on different images, so each map has a selection of its own.")
    groups = [[inside for inside, _ in pairs]] if shared else [[inside] for inside, _ in pairs]
    for group, ids in zip(groups, chosen, strict=False):
        maps.selected(group, ids)


found = [(inside, points_of(inside)) for inside in {inside.run.id: inside for inside in runs}.values()]
if ready := [(inside, each) for inside, each in found if each is not None]:
    drawn(ready)
with st.expander("The formulas", icon=":material/functions:"):
    st.markdown(maps.FORMULAS)
