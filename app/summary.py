"""What was measured of a run when its training ended."""

import re

import streamlit as st

from app.charts import NAT
from app.state import plain
from genmodels import figures
from genmodels.config import UserError
from genmodels.runs import Run

READER = re.compile(r", (?=(?:judge|autoencoder) features)")  # in a unit, before what read the images


def final_figures(run: Run) -> None:
    """The metrics of the test set, with unit and number of images."""
    try:
        found = run.summary()
    except UserError as error:
        st.error(plain(str(error)))
        return
    if not found:
        return
    st.header("Measured on the test images")
    judges: set[str] = set()
    with st.container(horizontal=True):
        for name, metric in found.items():
            unit, *reader = READER.split(metric["unit"], maxsplit=1)  # the same for all that were read by it
            better = "" if metric["better"] == "neither" else f" {metric['better'].capitalize()} is better."
            with st.container(width=165, gap=None):
                nat = f" {NAT}" if metric["unit"].startswith("nats") else ""
                help_ = f"Measured on {metric['n']:,} images.{better}{nat}"
                st.metric(figures.title(name), figures.number(metric["value"], unit), help=help_)
                if metric["floor"] is not None:  # of real images, unless the unit says of what
                    floor = figures.number(metric["floor"])
                    unit += f" ({floor})" if "; floor:" in unit else f"; real images: {floor}"
                st.caption(plain(unit))
                judges |= set(reader)
    for each in sorted(judges):
        st.caption(
            f"Read by a fixed network of this dataset: {plain(each)}. Its hash says which one it is: compare values "
            "only where it is the same."
        )
    if any(metric["floor"] is not None for metric in found.values()):
        st.caption(
            "Real images: what real ones score in the place of the model's. It is no limit: where images are few it "
            "varies with the choice, and a model can score better."
        )
