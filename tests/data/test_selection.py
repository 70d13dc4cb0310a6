"""Images left out, and groups made scarce."""

from itertools import pairwise

import numpy as np
import pytest

from genmodels import data
from genmodels.config import UserError
from genmodels.data.selection import QUARTERS, Selection, group, kept_rows, select
from genmodels.runs import RunConfig
from genmodels.session import dataset_of


@pytest.mark.parametrize("out", [(0,), (0, 1, 2), (5, 700, 1000), tuple(range(0, 1400, 3))])
def test_what_is_left_out_is_gone_and_nothing_else(out: tuple[int, ...]) -> None:
    whole, kept = data.load("digits"), select(data.load("digits"), Selection(left_out=out))
    rows = kept_rows(whole, Selection(left_out=out))
    assert sorted(rows) == sorted(set(range(whole.sizes[0])) - set(out))
    assert kept.sizes == (whole.sizes[0] - len(out), *whole.sizes[1:])
    np.testing.assert_array_equal(kept.images[kept.span("train")], whole.images[rows])
    np.testing.assert_array_equal(kept.labels[kept.span("train")], whole.labels[rows])
    for part in ("validation", "test"):
        np.testing.assert_array_equal(kept.images[kept.span(part)], whole.images[whole.span(part)])
        np.testing.assert_array_equal(kept.labels[kept.span(part)], whole.labels[whole.span(part)])


@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
def test_a_scarce_class_keeps_its_share_of_training_images(share: float) -> None:
    whole = data.load("digits")
    before, wish = whole.counts("train"), Selection(scarce="3", kept=share)
    kept = select(data.load("digits"), wish)
    assert kept.counts("train") == before | {"3": round(share * before["3"])}
    assert kept.counts("test") == whole.counts("test")
    other = kept_rows(whole, wish.model_copy(update={"seed": 1}))
    assert share in (0.0, 1.0) or set(other) != set(kept_rows(whole, wish)), "the seed says which of them stay"


def test_a_factor_can_be_made_scarce() -> None:
    whole = data.load("shapes")
    value = np.unique(whole.factors[:, 0])[1]
    name = f"{whole.factor_names[0]}={value:g}"
    kept = select(data.load("shapes"), Selection(scarce=name, kept=0.1))
    count = int(group(whole, name)[whole.span("train")].sum())
    assert int((kept.factors[kept.span("train"), 0] == value).sum()) == round(0.1 * count)


def test_quarters_of_a_factor_share_its_images_in_order() -> None:
    whole = data.load("shapes")
    parts = [group(whole, f"scale={quarter}") for quarter in QUARTERS]
    assert np.sum(parts, 0).tolist() == [1] * len(whole.images)
    assert [part.mean() for part in parts] == pytest.approx([0.25] * 4, abs=0.02)
    scale = whole.factors[:, whole.factor_names.index("scale")]
    assert all(scale[low].max() < scale[high].min() for low, high in pairwise(parts))


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"left_out": [10**6]}, "cannot be left out"),
        ({"left_out": list(range(1437))}, "Nothing would be left"),
        ({"left_out": [3, 3]}, "each once"),
        ({"left_out": [-1]}, "from 0"),
        ({"scarce": "cat", "kept": 0.5}, "no group 'cat'"),
        ({"scarce": "3", "kept": 1.5}, "kept must be"),
    ],
)
def test_a_bad_selection_is_refused_in_a_sentence(wish: dict, words: str) -> None:
    with pytest.raises(UserError, match=words):
        select(data.load("digits"), Selection.of(wish))


@pytest.mark.parametrize(("name", "words"), [("shape=99", "there is"), ("shape=x", "not a number"), ("hue=1", "group")])
def test_a_bad_factor_is_refused_in_a_sentence(name: str, words: str) -> None:
    with pytest.raises(UserError, match=words):
        select(data.load("shapes"), Selection(scarce=name, kept=0.5))


def test_pairs_are_refused() -> None:
    with pytest.raises(UserError, match="not out of pairs"):
        select(data.load("edges:digits"), Selection(left_out=(1,)))


def test_a_run_sees_its_selection_wherever_it_is_opened() -> None:
    whole = data.load("digits")
    config = RunConfig.of(
        {
            "family": "vae", "dataset": "digits", "shape": whole.shape, "classes": whole.classes,
            "selection": {"scarce": "8", "kept": 0.0},
        }
    )  # fmt: skip
    again = RunConfig.model_validate(config.model_dump(mode="json"))
    assert dataset_of(again).counts("train")["8"] == 0
    assert dataset_of(again).counts("test") == whole.counts("test")
