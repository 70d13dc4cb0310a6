"""Who reads pictures on a page: the judge of a dataset, and what is said where there is none."""

import streamlit as st

from app import state
from genmodels import data
from genmodels.analysis.judge import Judge, judge_of, train_judge
from genmodels.config import UserError


def judge_for(name: str, classes: tuple[str, ...]) -> Judge | None:
    """The judge of a dataset; where there is none yet, a button that trains one. Raises UserError."""
    if len(classes) < 2:
        st.caption("This dataset has no classes, so the meter counts real images near and pixel jumps only.")
        return None
    if (judge := judge_of(name, classes)) or not data.is_present(name):
        if not judge:
            st.caption("There is no judge for this dataset, and the dataset is not on this machine to train one on.")
        return judge
    st.info("No judge was trained for this dataset as it is now, so the meter cannot say what a frame reads as.")
    if st.button("Train a judge", icon=":material/gavel:", key=f"judge-{name}", help="Once, in about half a minute."):
        bar = st.progress(0.0, "Reading the images")
        train_judge(name, report=lambda share, text: bar.progress(min(1.0, share), text))
        st.rerun()
    return None


def reader(name: str, classes: tuple[str, ...]) -> Judge | None:
    """Who reads what is made, where anybody can; where the judge is damaged a sentence, and nobody reads."""
    try:
        return judge_for(name, classes) if len(classes) > 1 else None
    except UserError as error:
        st.warning(state.plain(str(error)))
        return None
