"""Charts: valid Vega-Lite for any data, thinned without losing a peak, and true sentences."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as some

from genmodels import figures


@given(some.lists(some.floats(-1e6, 1e6), min_size=1, max_size=3000), some.integers(10, 600))
def test_thinning_keeps_ends_peaks_and_order(values: list[float], limit: int):
    x, y = np.arange(len(values), dtype=float), np.array(values)
    thin_x, thin_y = figures.thin((x, y), limit)
    assert len(thin_x) <= max(limit, 2)
    assert (thin_x[0], thin_x[-1]) == (x[0], x[-1])
    assert (thin_y.min(), thin_y.max()) == (y.min(), y.max())
    assert (np.diff(thin_x) > 0).all()
    assert np.array_equal(y[thin_x.astype(int)], thin_y)


def line(*values: float) -> figures.Series:
    return np.arange(1, len(values) + 1, dtype=float), np.array(values, float)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("cursor", [None, 2.0])
@pytest.mark.parametrize("values", [(), (3.0,), (3.0, 2.0, 1.0), (3.0, -1.0, 0.0), tuple(range(2000, 0, -1))])
def test_curves_of_any_length_and_sign(values: tuple[float, ...], log: bool, cursor: float | None):
    chart = figures.loss_curves({"train": line(*values), "test": line()}, log=log, cursor=cursor)
    spec = json.loads(chart.to_json())
    scale = spec["layer"][0]["encoding"]["y"]["scale"]["type"]
    expected = ("log" if values and min(values) > 0 else "symlog") if log else "linear"
    assert scale == expected
    assert max(len(rows) for rows in spec["datasets"].values()) <= figures.LIMIT


def test_train_and_test_differ_without_colour():
    spec = figures.loss_curves({"train": line(1, 2), "test": line(1, 2)}).to_dict()
    dashes = spec["layer"][0]["encoding"]["strokeDash"]["scale"]["range"]
    assert dashes[0] != dashes[1]


def test_live_charts_are_the_same_charts():
    lines = {"train": line(3, 2, 1), "test": line(4)}
    kl = np.array([0.0, 1.0])
    for chart, live in (
        (figures.loss_curves(lines, cursor=2.0), figures.live_curves(lines, cursor=2.0)),
        (figures.kl_bars(kl), figures.live_kl_bars(kl)),
    ):
        spec = chart.to_dict()
        for layer, live_layer in zip(spec["layer"], live["layer"], strict=True):
            assert {k: v for k, v in layer.items() if k != "data"} == {
                k: v for k, v in live_layer.items() if k != "data"
            }
        rows = [spec["datasets"][layer["data"]["name"]] for layer in spec["layer"] if "name" in layer["data"]]
        frames = [live["datasets"][layer["data"]["name"]] for layer in live["layer"] if "name" in layer["data"]]
        assert rows == [frame if isinstance(frame, list) else frame.to_dict("records") for frame in frames]


def test_the_spec_changes_only_with_its_data():
    """A changed spec makes the browser build the chart anew, which flickers."""
    one, two = (figures.loss_curves({"train": line(*range(40, 40 + n)), "test": line(2)}).to_dict() for n in (30, 60))
    for spec in (one, two):
        spec.pop("datasets")
        for layer in spec["layer"]:
            layer.pop("data")
    assert one == two


def test_sentences_say_where_it_stands():
    sentence = figures.curve_sentence("negative_elbo", "nats per image", line(200, 120), line(190, 125))
    assert sentence == ("Test negative ELBO: **125 nats per image**, down from 190 at the start; 5.00 above training.")
    assert figures.curve_sentence("kl", "nats", line(), line()).startswith("The first point")
    assert figures.curve_sentence("kl", "nats", line(1, 2), line()).startswith(
        "Training KL: **2.00 nats**, up from 1.00"
    )
    assert figures.kl_sentence(np.array([0.5, 0.01, 2.0])).startswith("2 of 3 latent dimensions")


def test_a_stale_test_figure_is_not_the_news():
    """The test images are looked at less often: what they said long ago is not where the run stands."""
    sentence = figures.curve_sentence("kl", "nats", line(*range(100, 0, -1)), line(99))
    assert sentence.startswith("Training KL: **1.00 nats**")


@pytest.mark.parametrize(
    ("value", "text"), [(0.0, "0"), (12, "12"), (1234.5, "1,234"), (24.51, "24.5"), (0.0314, "0.0314"), (-2.5, "-2.50")]
)
def test_numbers_have_three_digits(value: float, text: str):
    assert figures.number(value) == text


def test_other_charts_are_valid():
    charts = [
        figures.kl_bars(np.array([0.0, 1.0])),
        figures.class_counts([str(i) for i in range(26)], range(26)),
        figures.class_counts([], []),
        figures.size_histogram([10, 20, 30], [10, 25, 20]),
    ]
    for chart in charts:
        assert chart.to_dict()


def test_ten_colours_and_marks():
    assert len(set(figures.COLOURS)) == len(set(figures.MARKS)) == 10
