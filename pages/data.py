"""Data: look at a dataset, or bring a folder or a zip and see what it becomes. `?data=<name>` is one set."""

import streamlit as st

from app import controls, pictures, state
from genmodels import data, figures, media
from genmodels.config import UserError
from genmodels.data import intake


@st.cache_data(show_spinner="Preparing the images", max_entries=32, ttl=120)
def sheets(name: str, side: int, depth: int, part: data.Part, page: int) -> tuple[list, dict, str]:
    """Class names with a picture each, images of the part in each class, and a sentence about all parts."""
    found = data.load(name, side, depth)
    if found.sources is not None:
        return [("", pictures.couples(found, part, 40, 4, pictures.WIDTH, page))], found.counts(part), found.summary
    groups = found.examples(part, pictures.layout(side, 40, pictures.WIDTH)[1], page)[:20]
    light = bool(groups) and media.is_light_on_dark(groups[0][1])
    return [(each, pictures.sheet(few, 40, light, 6)) for each, few in groups], found.counts(part), found.summary


def look() -> None:
    asked = state.dataset_in_address() or "digits"
    # Another key after each choice: else the browser's way back would meet the choice that led away.
    name = controls.choose_to_look(f"look-{asked}-{st.session_state.setdefault('turn', 0)}", asked)
    if name != asked:
        st.session_state["turn"] += 1
        st.query_params["data"] = name
        st.rerun()
    controls.fetched(name)
    side, depth = controls.image_form(st.container(), "look", name, None, None)
    part = st.segmented_control("Part", data.PARTS, default="train", required=True)
    page = st.number_input("Sheet", 1, 999, 1, width=160, help="Each sheet shows other images of the same classes.")
    rows, counts, summary = sheets(name, side, depth, part, int(page) - 1)
    if st.button("Train on it", type="primary", icon=":material/play_arrow:"):
        state.go("train", data=name)
    with st.container(horizontal=True):
        for label, picture in rows:
            st.image(picture.address, state.plain(label) or None, picture.width, alt=f"Images {label}")
    if counts:
        st.altair_chart(figures.class_counts(list(counts)[:40], list(counts.values())[:40]), alt=summary)
    words = f"{controls.put_in_words(name, part)} {state.plain(summary)}".strip()
    st.caption(words + (f" The chart counts the {part} part." if counts else ""))
    if intake.is_kept(name) and st.popover("Delete").button("Delete for good", help="Trained runs stay."):
        intake.delete(name)
        state.data_changed()


def bring() -> None:
    upload = st.file_uploader("A zip archive of images, one folder for each class", "zip")
    path = controls.server_folder()
    if not (given := upload or path):
        return
    key = upload.file_id if upload else (path, intake.fingerprint(path))
    if st.session_state.get("examined", (None,))[0] != key:  # once, not at each rerun
        st.session_state["examined"] = (key, intake.examine(given, st.progress(0.0).progress))
    found: intake.Intake = st.session_state["examined"][1]
    st.markdown(f"**{found.summary}** {' '.join(found.remarks)}")
    left, right = st.columns(2)
    left.altair_chart(figures.class_counts(*found.largest_classes), alt=found.balance)
    left.caption(found.balance)
    right.altair_chart(figures.size_histogram(*found.sides), alt=found.spread)
    right.caption(found.spread)
    st.expander("Files to look at").dataframe(found.findings, hide_index=True)
    side, depth = controls.image_form(st.container(), f"own-{key}", "shapes", *found.native)
    pictures.before_and_after([(each.before, each.after) for each in intake.preview(given, found, side, depth)])
    st.caption(found.becomes)
    title = st.text_input("Name", intake.suggested(given), max_chars=40)
    if st.button("Keep as a dataset", type="primary", disabled=bool(found.problem)):
        state.data_changed(data=intake.keep(given, found, title, False, st.progress(0.0).progress))


st.title("Data")
st.write("Look at what a model can learn from, or bring your own images.")
for place, draw in ((st.expander("Bring your own images", icon=":material/upload:"), bring), (st.container(), look)):
    with place:
        try:
            draw()
        except UserError as error:
            st.error(state.plain(str(error)))
