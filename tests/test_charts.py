"""Charts for every kind of reader: what is said of them, and the numbers behind them."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import bending, charts, separation
from app.components.player import Film, by_frame
from genmodels import duel, figures, trade
from genmodels.analysis.transitions import Meter, Stops, Tour

X = np.arange(3.0)


def page() -> None:
    import numpy as np

    from app.charts import chart
    from genmodels import figures

    drawn = figures.live_curves({"train": (np.arange(3.0), np.array([5.0, 4.0, 3.0]))})
    chart(drawn, "It fell to **3** of x\\_t.", key="one", heading="**Loss**, nats")


def test_a_chart_is_said_and_its_table_is_made_when_it_is_opened() -> None:
    app = AppTest.from_function(page).run()
    assert not app.exception
    assert app.get("vega_lite_chart")[0].proto.alt == "Loss, nats. It fell to 3 of x_t."
    assert app.caption[0].value == "It fell to **3** of x\\_t."
    assert not app.dataframe
    app.session_state["one-table"] = True
    table = app.run().dataframe[0].value
    assert table.to_dict("list") == {"step": [0, 1, 2], "train": [5, 4, 3]}


def test_lines_that_were_seen_at_other_places_share_a_table() -> None:
    table = charts.numbers(figures.live_curves({"train": (X, X), "test": (X[1:2], X[1:2] + 9)}, x_title="seconds"))
    assert list(table) == ["seconds", "train", "test"]
    assert table["test"].tolist() == pytest.approx([np.nan, 10, np.nan], nan_ok=True)
    assert charts.ends({"a": (X, X), "b": (X[:0], X[:0])}) == "At last 2.00 for a."


@pytest.mark.parametrize(
    ("drawn", "columns", "rows"),
    [
        (figures.loss_curves({"train": (X, X)}, marks=[(1, "turned")]), ["step", "train"], 3),
        (figures.live_kl_bars(X), ["dimension", "KL, nats", "this one is"], 3),
        (figures.kl_bars(X), ["dimension", "KL, nats", "this one is"], 3),
        (figures.class_counts(["a", "b"], [1, 2], marks=[1, 1]), ["class", "images"], 2),
        (figures.size_histogram([8, 9, 7], [9, 9, 9]), ["pixels"], 3),
        (duel.scores({"d_real": [0.1], "d_fake": [0.2]}, {"d_real": [0.3], "d_fake": [0.4]}),
         ["image", "kind", "before", "now"], 2),
        (trade.rate_distortion([trade.Trade("1", "a", 8, 30)], "1"),
         ["beta", "KL", "Reconstruction", "Negative ELBO"], 1),
        (bending.scatter(np.zeros((4, 2)), np.arange(4)), ["x", "y", "quarter"], 4),
        (separation.histogram({"own": X}, 1, "nats"), ["set", "images", "from", "to"], separation.BINS),
    ],
)  # fmt: skip
def test_the_table_holds_what_is_shown_on_hover(drawn: object, columns: list[str], rows: int) -> None:
    table = charts.numbers(drawn)
    assert list(table) == columns
    assert len(table) == rows


def test_what_class_counts_say() -> None:
    assert figures.most_and_least(["a", "b"], [1, 2]) == "Most are of class b (2), fewest of a (1)."
    assert figures.most_and_least(["a", "b"], [2, 2]) == "Each class has 2."
    assert figures.most_and_least([], []) == ""


def test_more_lines_than_strong_colours_have_an_edge() -> None:
    few, many = (figures.live_curves({str(i): (X, X + i) for i in range(count)}) for count in (4, 5))
    assert len(many["layer"]) == len(few["layer"]) + 1
    assert many["layer"][0]["encoding"]["color"] == {"value": figures.EDGE}


def test_the_strip_of_a_film_is_a_table_too() -> None:
    meter = Meter(np.eye(2), np.zeros(0, int), np.array([0.0, 1.5]))
    tour = Tour(np.zeros((2, 1)), np.zeros(2, int), np.ones(2, bool), Stops(np.zeros((2, 1)), X[:2], ("a", "b")), ())
    table = by_frame([Film("run", b"", 1, 1, meter)], tour, ("cat", "dog"), np.array([1, 2]))
    assert table["reads as"].tolist() == ["cat", "dog"]
    assert table["jump, grey levels"].tolist() == [0, 1.5]
