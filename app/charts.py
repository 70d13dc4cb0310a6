"""A chart for every kind of reader: the drawing, its numbers in a sentence, and as a table folded behind it."""

import re
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from app.state import plain
from genmodels import figures
from genmodels.figures import Series, number

NAT = "A nat is the natural unit of information: 1 nat = 1.44 bits."
SHOWN = 40  # classes
LOOK = {"mark": {"aria": False}}  # marks have no names of their own: the sentence and the table tell more


def chart(
    drawn: Any,
    sentence: str,
    *,
    key: str,
    heading: str = "",
    help: str | None = None,
    folded: bool = True,
    **options: Any,
) -> Any:
    """Draw a chart of genmodels.figures under its heading; returns what is selected on it, where it can be.

    sentence, heading: Markdown. They are also what those hear who cannot see the chart. folded: with the table;
    without, it can be drawn again and again in one run of the page. options: of Streamlit's chart.
    """
    if heading:
        st.markdown(heading, help=help)
    live = isinstance(drawn, dict)
    draw, shown = (st.vega_lite_chart, drawn | {"config": LOOK}) if live else (st.altair_chart, drawn.configure(**LOOK))
    event = draw(shown, key=key, alt=spoken(f"{heading.rstrip('.')}. {sentence}" if heading else sentence), **options)
    st.caption(sentence, help=None if heading else help)
    if folded:
        table(lambda: numbers(drawn), key)
    return event


def table(make: Callable[[], pd.DataFrame], key: str) -> None:
    """Numbers folded away, made when they are asked for: what is drawn every second must stay cheap."""
    folded = st.expander("Table", key=f"{key}-table", type="compact", on_change="rerun")
    if folded.open:
        folded.dataframe(make(), hide_index=True, key=f"{key}-numbers", placeholder="–")


def spoken(words: str) -> str:
    """Without the signs of Markdown."""
    return re.sub(r"\*\*|\\(?![a-zA-Z0-9])", "", words)


def numbers(drawn: Any) -> pd.DataFrame:
    """What a chart shows on hover: a row for each mark; of lines, a row for each place and a column for each line."""
    spec = drawn if isinstance(drawn, dict) else drawn.to_dict()
    layers = [spec | layer for layer in spec.get("layer", [spec])]
    told = max((each for each in map(_told, layers) if each), key=len)
    main = next(each for each in layers if _told(each) == told)
    frame = pd.DataFrame(spec["datasets"][main["data"]["name"]])
    if set(told) == {"line", "x", "y"}:
        wide = frame.pivot_table(index="x", columns="line", values="y", sort=False).sort_index()
        return wide.reset_index(names=told["x"]).rename_axis(columns=None)
    return frame[list(told)].rename(columns=told)


def _told(layer: Mapping[str, Any]) -> dict[str, str]:
    """Field and title of all that a layer shows on hover."""
    tooltip = layer["encoding"].get("tooltip", [])
    many = tooltip if isinstance(tooltip, list) else []
    return {each["field"]: each.get("title", each["field"]) for each in many if "field" in each}


def ends(lines: Mapping[str, Series], unit: str = "") -> str:
    """Where each line ends: at last 98.1 for beta 1 and 110 for beta 4."""
    last = [f"{number(float(y[-1]), unit)} for {name}" for name, (_, y) in lines.items() if len(y)]
    return f"At last {', '.join(last)}." if last else ""


def classes(counts: Mapping[str, int], whose: str, key: str) -> None:
    """Images in each class, of many classes the first: Of the test part, ..."""
    names, images = list(counts), list(counts.values())
    words = figures.lowered(figures.most_and_least(names, images))
    chart(figures.class_counts(names[:SHOWN], images[:SHOWN]), f"{whose}, {plain(words)}", key=key)
