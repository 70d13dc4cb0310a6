"""Data: look at a dataset, or bring a folder or a zip and see what it becomes. `?data=<name>` is one set."""

import streamlit as st

from app import controls, downloads, pictures, state
from app.charts import chart, classes
from genmodels import data, demo, figures
from genmodels.config import UserError
from genmodels.data import intake


def look() -> None:
    asked = state.dataset_in_address() or "digits"
    # Another key after each choice: else the browser's way back would meet the choice that led away.
    name = controls.choose_to_look(f"look-{asked}-{st.session_state.setdefault('turn', 0)}", asked)
    if name != asked:
        st.session_state["turn"] += 1
        st.query_params["data"] = name
        st.rerun()
    controls.fetched(name)
    side, depth = controls.image_form_in_address("look", name)
    part = st.segmented_control("Part", data.PARTS, default="train", required=True, key="part", bind="query-params")
    page = st.number_input(
        "Sheet", 1, 999, 1, width=160, help="Each sheet shows other images of the same classes.", key="sheet",
        bind="query-params",
    )  # fmt: skip
    rows, counts, summary = pictures.part_of(name, side, depth, part, int(page) - 1)
    if st.button("Train on it", type="primary", icon=":material/play_arrow:"):
        state.go("train", data=name)
    with downloads.keeping("data", f"images-{part}-{page}"), st.container(horizontal=True):
        for label, picture in rows:
            pictures.show(picture, f"Images {label}", state.plain(label) or None)
    if counts:
        classes(counts, f"Of the {part} part", "classes")
    st.caption(f"{controls.put_in_words(name, part)} {state.plain(summary)}".strip())
    if intake.is_kept(name) and st.popover("Delete").button("Delete for good", help="Trained runs stay."):
        intake.delete(name)
        state.data_changed()


def bring() -> None:
    upload = st.file_uploader(
        "A zip archive of images, one folder for each class", "zip", max_upload_size=demo.upload_limit()
    )
    path = controls.server_folder()
    if not (given := upload or path):
        return
    key = upload.file_id if upload else (path, intake.fingerprint(path))
    if st.session_state.get("examined", (None,))[0] != key:  # once, not at each rerun
        st.session_state["examined"] = (key, intake.examine(given, st.progress(0.0).progress))
    found: intake.Intake = st.session_state["examined"][1]
    st.markdown(f"**{found.summary}** {' '.join(found.remarks)}")
    left, right = st.columns(2)
    with left:
        chart(figures.class_counts(*found.largest_classes), found.balance, key="own-classes")
    with right:
        chart(figures.size_histogram(*found.sides), found.spread, key="own-sides")
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
