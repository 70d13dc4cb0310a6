"""Knobs: bad input is refused with one sentence that names the knob."""

import pytest

from genmodels.config import Config, Schedule, UserError, knob


class Small(Config):
    beta: float = knob(1.0, 0, 10, help="Weight.", unit="nats per nat", log=True)
    layers: int = knob(1, 1, 4, help="Layers.", advanced=True)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"betta": 1}, "There is no knob 'betta'; did you mean 'beta'?"),
        ({"zzz": 1}, "There is no knob 'zzz'; there is: beta, layers."),
        ({"beta": -1}, "beta must be a number between 0 and 10, not -1."),
        ({"beta": "11"}, "beta must be a number between 0 and 10, not '11'."),
        ({"beta": "much"}, "between 0 and 10, not 'much'."),
        ({"beta": float("nan")}, "beta must be a number between 0 and 10, not nan."),
        ({"beta": 1e9}, "not 1,000,000,000."),
        ({"beta": float("inf")}, "not inf."),
        ({"layers": 1.5}, "layers must be a whole number between 1 and 4, not 1.5."),
        ({"layers": None}, "layers"),
    ],
)
def test_bad_values_get_a_sentence(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(UserError) as caught:
        Small.of(values)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_becomes_numbers_and_json_comes_back_the_same() -> None:
    config = Small.of({"beta": "2.5", "layers": "3"})
    assert config == Small(beta=2.5, layers=3)
    assert Small.model_validate_json(config.model_dump_json()) == config


def test_what_a_page_draws_is_in_the_field() -> None:
    field = Small.model_fields["beta"]
    assert field.description == "Weight."
    assert field.json_schema_extra == {"unit": "nats per nat", "advanced": False, "log": True}


def test_a_first_visit_trains_for_one_minute() -> None:
    assert (Schedule().budget, Schedule().unit) == (1, "minutes")
