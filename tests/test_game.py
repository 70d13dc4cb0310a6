"""The Train page of networks that compete: their charts, how the game stands, slow motion."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app import game, panels, pictures
from genmodels import duel, figures
from genmodels.data.selection import Selection
from genmodels.families import FAMILIES
from genmodels.runs import Run
from tests.test_pages import press, visit, words

Trained = Callable[..., Run]


def charts(app: AppTest) -> list[dict]:
    return [json.loads(each.proto.spec) for each in app.get("vega_lite_chart")]


def lines(spec: dict) -> list[str]:
    """The curves of a chart, by the names in its legend."""
    encodings = [layer.get("encoding", {}) for layer in spec.get("layer", [])]
    return next((e["color"]["scale"]["domain"] for e in encodings if "strokeDash" in e), [])


def test_competing_losses_share_a_chart_and_moves_are_made_one_by_one(trained: Trained) -> None:
    run = trained("gan", budget=12, log_every=1)
    assert list(map(len, panels.charts_of(run))) == [2, 2]
    app = visit("train", run=run.id)
    assert not app.exception
    drawn = [names for names in map(lines, charts(app)) if names]
    assert drawn == [["Discriminator", "Generator"], ["D(x)", "D(G(z))"]]
    assert "too early to tell" in words(app)
    assert "the judge, reads 500 samples of step 12" in words(app)
    assert "average of its weights" in words(app)
    assert "Discriminator step" not in {each.label for each in app.button}, "nothing is loaded before it is opened"
    app = visit("train", run=run.id, slow="true")
    assert "Press a button" in words(app)
    press(app, "Discriminator step")
    assert not app.exception
    assert "1 update of the discriminator: the discriminator's weights moved by" in words(app)
    assert "the generator's not at all: **0**" in words(app)
    press(app, "10 of each")
    assert "then 21 updates here" in words(app)
    press(app, "Undo")
    assert "then 1 update here" in words(app)
    press(app, "Reset")
    assert "Press a button" in words(app)
    assert not app.exception


def test_a_single_loss_has_its_own_chart_before_those_that_are_shared() -> None:
    class Fake:
        class config:  # noqa: N801
            family = "pix2pix"

    assert panels.charts_of(Fake) == [("l1",), ("discriminator", "generator"), ("d_real", "d_fake")]  # type: ignore[arg-type]
    assert figures.title("d_real") == "D(x)"
    assert figures.title("d_fake") == "D(G(z))"


@pytest.mark.parametrize("name", FAMILIES)
def test_every_loss_is_in_one_chart(name: str) -> None:
    class Fake:
        class config:  # noqa: N801
            family = name

    drawn = [loss for names in panels.charts_of(Fake) for loss in names]  # type: ignore[arg-type]
    assert sorted(drawn) == sorted(FAMILIES[name].Model.LOSSES)


def test_a_chart_of_probabilities_has_a_line_at_one_half() -> None:
    ramp = (np.arange(3.0), np.array([0.2, 0.4, 0.9]))
    spec = figures.live_curves({"D(x)": ramp, "D(G(z))": ramp}, log=True, level=duel.EVEN)
    assert '{"y": 0.5}' in json.dumps(spec, default=str)
    assert '"domain": [0, 1]' in json.dumps(spec, default=str)
    assert '{"y": 0.5}' not in json.dumps(figures.live_curves({"loss": ramp}), default=str)


def test_sentences_of_a_pair() -> None:
    curve = (np.array([1.0, 2.0]), np.array([0.9, 0.75]))
    none = (np.zeros(0), np.zeros(0))
    pair = ("d_real", "d_fake")
    told = duel.pair_sentence(pair, "probability", dict.fromkeys(pair, curve), dict.fromkeys(pair, none))
    assert "D(x) **0.750** and D(G(z)) **0.750**" in told
    assert "not learned from" not in told
    told = duel.pair_sentence(pair, "probability", dict.fromkeys(pair, curve), dict.fromkeys(pair, curve))
    assert "not learned from it says 0.750" in told
    assert "first point" in duel.pair_sentence(pair, "probability", dict.fromkeys(pair, none), {})
    losses = ("discriminator", "generator")
    assert "neither has to fall" in duel.pair_sentence(losses, "nats per image", dict.fromkeys(losses, curve), {})


def test_scores_say_how_many_are_seen_through() -> None:
    before = {"d_real": [0.9, 0.4], "d_fake": [0.1, 0.6]}
    after = {"d_real": [0.9, 0.6], "d_fake": [0.1, 0.2]}
    assert "2 of 2 made images for made, and 0 of 2 real" in duel.scores_sentence(before, after)
    assert "stalk" not in duel.scores_sentence(after, after)
    data = json.dumps(duel.scores(before, after).to_dict())
    assert '"before": 0.4' in data
    assert '"now": 0.6' in data


def test_a_column_for_each_class_where_there_is_room() -> None:
    for side, count in ((8, 10), (28, 10), (16, 6), (64, 4)):
        cell, width = pictures.in_columns(count, side)
        _, columns, _ = pictures.layout(side, cell, width)
        assert columns == count
        assert cell % side == 0
        assert width <= pictures.WIDTH
    assert pictures.in_columns(26, 28) == (pictures.CELL, pictures.WIDTH)


def test_translations_stand_in_rows_under_their_inputs(trained: Trained) -> None:
    run = trained("pix2pix", "edges:digits", budget=2)
    found = pictures.of_run(run, pictures.newest(run))
    assert set(found) == {"translations"}
    assert found["translations"].caption.endswith(
        "in each three rows, test images, what the model makes of them, what they should become"
    )
    assert not visit("train", run=run.id).exception


def test_the_last_reading_of_a_judge_is_looked_for(trained: Trained) -> None:
    run = trained("gan", budget=12, log_every=1)
    step, counts = game._read_as(run, np.inf)
    assert counts is not None
    assert (step, counts.sum()) == (12, 500)
    run.write_arrays("snapshots/9", {"read_as": np.arange(10)})
    assert game._read_as(run, 11)[0] == 9
    assert game._read_as(run, 0) == (0, None)
    (run.path / "snapshots" / "9.npz").write_bytes(b"broken")
    assert game._read_as(run, 11)[0] < 9, "a damaged one is passed over"
    assert not visit("train", run=run.id).exception
    shares = game.real_shares("digits", None, None)
    assert shares is not None
    assert shares.sum() == pytest.approx(1)
    without = game.real_shares("digits", None, None, 0, Selection(scarce="8", kept=0.0).model_dump_json())
    assert without[8] == 0
    assert without.sum() == pytest.approx(1)
    assert game.real_shares("folder:gone", None, None) is None
    assert game.expected(run.config)[0] is not None
    uneven = run.config.model_copy(update={"family": "conditional-gan", "dataset": "folder:gone"})
    expected, dash = game.expected(uneven)
    assert expected is not None
    assert expected.tolist() == [0.1] * 10, "it draws the classes in turn"
    assert "asked for" in dash
