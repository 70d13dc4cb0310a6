"""Which training images a run does not learn from: those that a person left out, and most of a group made scarce."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import Field, model_validator

from genmodels.config import Config, UserError, knob
from genmodels.data.dataset import Dataset

MOST = 100_000  # images named one by one
FEWEST = 2  # images that must be left
# Of a factor of many values, in their order: 'scale=q1'.
QUARTERS = {"q1": "lowest quarter", "q2": "second quarter", "q3": "third quarter", "q4": "highest quarter"}


class Selection(Config):
    """left_out: rows of the training part, counted from 0 before anything is left out. scarce: a class by its name, a
    value of a true factor as 'shape=2' or a quarter as 'scale=q1'; only its share `kept` stays, drawn by `seed`."""

    left_out: tuple[int, ...] = Field(default=(), max_length=MOST, description="Training images by their number.")
    scarce: str | None = Field(default=None, max_length=100, description="The class or factor made rare.")
    kept: float = knob(1.0, 0, 1, help="Share of its training images that stays.")
    seed: int = knob(0, 0, 2**31 - 1, help="Which of them stay.")

    @model_validator(mode="after")
    def _once_and_in_order(self) -> "Selection":
        if list(self.left_out) != sorted(set(self.left_out)) or min(self.left_out, default=0) < 0:
            raise ValueError("the numbers of images left out must be in order, each once, from 0")
        return self


def group(dataset: Dataset, name: str) -> np.ndarray:
    """Which of all images are of a class, have a factor's value ('shape=2') or lie in a quarter of it ('scale=q1').

    -> bool (N,). Raises UserError.
    """
    if name in dataset.classes:
        return dataset.labels == dataset.classes.index(name)
    factor, equals, value = name.partition("=")
    if equals and factor in dataset.factor_names:
        column = dataset.factors[:, dataset.factor_names.index(factor)]
        if value in QUARTERS:
            return quarters(dataset, factor) == list(QUARTERS).index(value)
        there = np.unique(column)
        nearest = there[np.abs(there - number(value)).argmin()]
        if abs(nearest - number(value)) < 1e-3:
            return column == nearest
        listed = ", ".join(f"{each:g}" for each in there[:20])
        raise UserError(f"No image has {factor} {value[:40]}; there is: {listed}.")
    known = [*dataset.classes, *(f"{factor}=..." for factor in dataset.factor_names)]
    if not known:
        raise UserError(f"The dataset {dataset.name} has neither classes nor known factors, so no group can be named.")
    raise UserError(f"The dataset {dataset.name} has no group '{name[:40]}'; there is: {', '.join(known[:60])}.")


def named(scarce: str, classes: Sequence[str]) -> str:
    """A group in words: 'class 8', 'shape = 2' or 'scale, lowest quarter'."""
    factor, _, value = scarce.partition("=")
    if scarce in classes:
        return f"class {scarce}"
    return f"{factor}, {QUARTERS[value]}" if value in QUARTERS else f"{factor.strip()} = {value.strip()}"


def quarters(dataset: Dataset, factor: str) -> np.ndarray:
    """In which quarter each image lies, by the images that are not learned from: these a selection leaves as they are.

    -> int64 (N,) from 0 to 3.
    """
    column = dataset.factors[:, dataset.factor_names.index(factor)]
    return np.searchsorted(np.quantile(column[dataset.sizes[0] :], (0.25, 0.5, 0.75)), column, side="right")


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"'{text[:40]}' is not a number: write a factor's value like shape=2.") from None


def kept_rows(dataset: Dataset, selection: Selection) -> np.ndarray:
    """The rows of the training part that stay, in the order in which `select` has them. -> int64 (n,).

    Raises UserError.
    """
    count = dataset.sizes[0]
    gone = np.zeros(count, bool)
    if selection.left_out and selection.left_out[-1] >= count:
        raise UserError(f"Image {selection.left_out[-1]} cannot be left out: there are {count:,} to train on.")
    gone[list(selection.left_out)] = True
    if selection.scarce is not None:
        members = np.flatnonzero(group(dataset, selection.scarce)[dataset.span("train")])
        order = np.random.default_rng(selection.seed).permutation(members)
        gone[order[round(selection.kept * len(members)) :]] = True
    if count - gone.sum() < FEWEST:
        raise UserError("Nothing would be left to learn from: leave out fewer images.")
    # Those that stay among the first take the places of those that go later on, and the first are cut off: of a
    # memory-mapped array only the rows that move come into memory.
    cut = int(gone.sum())
    order = np.arange(count)
    order[cut + np.flatnonzero(gone[cut:])] = np.flatnonzero(~gone[:cut])
    return order[cut:]


def select(dataset: Dataset, selection: Selection) -> Dataset:
    """The dataset without the training images that are not selected; validation and test stay as they were.

    The arrays are overwritten where rows move: give it a dataset that nobody else reads. Raises UserError.
    """
    if dataset.sources is not None:
        raise UserError("Images can be left out of a dataset of images only, not out of pairs or domains.")
    rows = kept_rows(dataset, selection)
    cut = dataset.sizes[0] - len(rows)
    moved = np.flatnonzero(rows != np.arange(cut, dataset.sizes[0]))
    for array in (dataset.images, dataset.labels, dataset.factors):
        array[cut + moved] = array[rows[moved]]
    return replace(
        dataset, images=dataset.images[cut:], labels=dataset.labels[cut:], factors=dataset.factors[cut:],
        sizes=(len(rows), *dataset.sizes[1:]),
    )  # fmt: skip
