"""The debiasing experiment: a group of the training images is made scarce, and a model trained on what is left with and
without resampling, once for each seed.

The two runs of a pair differ in the knob `resampling` alone: the same images stay, they start from the same weights,
have the same first pass over the data and the same budget in steps. From seed to seed all of that differs but the
budget, so that a difference can be told from chance.
"""

import re
import secrets
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from genmodels import experiment
from genmodels.analysis.debiasing import group_means, group_shares
from genmodels.config import Config, Schedule, UserError
from genmodels.data.dataset import Dataset
from genmodels.data.selection import QUARTERS, Selection, group, named, number, quarters
from genmodels.families import family
from genmodels.runs import Run, RunConfig, all_runs, shipped_runs

FAMILY = "debiasing-vae"
FEWEST_SEEDS, MOST_SEEDS = 2, 10
MOST_GROUPS = 60
# So that codes are told apart by class first, and a rare class has rare ones; it costs likelihood. Found on MNIST.
USUAL = {"class_weight": 1000.0, "smoothing": 1.0}
SHOWN = 10  # images of each kind
FIGURES = {  # of each group, on test images: name -> unit
    "accuracy": "share of images",
    "reconstruction": "nats per image",
    "negative_elbo": "nats per image",
}
Pair = tuple[Run | None, Run | None]  # without and with resampling


class Measured(NamedTuple):
    """What one run came to. figures: as FIGURES, and "images" and "draws", the shares of the training images and of the
    draws of another pass, each (G,). most, least: the training images that are most and least likely to be drawn, their
    groups, and how many times as often as on average. asked, copies: test images of the scarce group, and its copies.
    """

    figures: dict[str, np.ndarray]
    most: tuple[np.ndarray, np.ndarray, np.ndarray]
    least: tuple[np.ndarray, np.ndarray, np.ndarray]
    asked: np.ndarray
    copies: np.ndarray


# --- planning -------------------------------------------------------------------------------------------------------


def seeds_of(text: str) -> list[int]:
    """The seeds that a person wrote: '1, 2, 3' or '1-5'. Raises UserError."""
    found: list[int] = []
    for word in re.split(r"[,;\s]+", text.strip(" ,;")):
        if not (match := re.fullmatch(r"(\d{1,9})(?:-(\d{1,9}))?", word, re.ASCII)):
            raise UserError(f"'{word[:40]}' is no seed: write whole numbers like 1, 2, 3 or 1-3.")
        first, last = int(match[1]), int(match[2] or match[1])
        found += range(first, min(last, first + MOST_SEEDS) + 1)
    if len(set(found)) < len(found):
        raise UserError("A seed is in the list twice: the two pairs would be the same.")
    if not FEWEST_SEEDS <= len(found) <= MOST_SEEDS:
        raise UserError(f"Give {FEWEST_SEEDS} to {MOST_SEEDS} seeds, not {len(found)}: one alone tells no chance.")
    return found


def plan(
    base: RunConfig, scarce: str, kept: float, seeds: Sequence[int], budget: Schedule, knobs: dict[str, Any]
) -> list[RunConfig]:
    """The members, pair by pair; `base` says on which data. Raises UserError."""
    if budget.unit == "minutes":
        raise UserError("Give the experiment a budget in steps or epochs: minutes would not be equal work.")
    if not 0 < kept < 1:
        raise UserError(f"The share that stays must lie between 0 and 1, not be {kept:g}: of 1 nothing is scarce.")
    factor, equals, value = scarce.partition("=")
    if equals and scarce not in base.classes and value not in QUARTERS:
        scarce = f"{factor}={number(value):g}"  # 2, not 2.0: it is shown
    name = secrets.token_hex(4)
    shared = base.model_dump(include={"dataset", "size", "channels", "shape", "classes"}) | {"family": FAMILY}
    members = []
    for seed in seeds:
        selection = Selection.of({"scarce": scarce, "kept": kept, "seed": seed})
        for resampling in (False, True):
            own = family(FAMILY).Config.of(USUAL | knobs | {"resampling": resampling}).model_dump()
            each = {"knobs": own, "seed": seed, "selection": selection, "schedule": budget, "experiment": name}
            members.append(RunConfig.of(shared | each))
    return members


def choices(dataset: Dataset) -> tuple[str, ...]:
    """What can be made scarce: the classes, the values of a factor that has few, the quarters of one that has many."""
    found = list(dataset.classes)
    for factor, column in zip(dataset.factor_names, dataset.factors.T, strict=True):
        if 2 <= len(values := np.unique(column)) <= MOST_GROUPS:
            found += [f"{factor}={value:g}" for value in values]
        elif len(values) > MOST_GROUPS:
            found += [f"{factor}={quarter}" for quarter in QUARTERS]
    return tuple(found)


def start(members: Sequence[RunConfig]) -> list[Run]:
    """Make and queue every member, or none. Raises UserError, also where the group is not there or nothing is left."""
    from genmodels.session import dataset_of

    config = members[0]
    config.build()  # refuses a dataset without classes
    dataset = dataset_of(config)
    _, groups, scarce = groups_of(dataset, config)
    left, classes = (np.unique(each[dataset.span("train")]) for each in (groups, dataset.labels))
    if scarce not in left:
        raise UserError(f"That share leaves no training image of {said(config)}: keep more.")
    if len(left) < 2:
        raise UserError("All training images are of one group, so none can be scarce beside others.")
    if len(classes) < 2:
        raise UserError("Only one class is left to learn, and the class head needs two: choose another group or data.")
    return experiment.start(members)


def groups_of(dataset: Dataset, config: RunConfig) -> tuple[tuple[str, ...], np.ndarray, int]:
    """Names of the groups that are told apart, the number of each image's, int64 (N,), and that of the scarce one: the
    groups are the classes, or the values or quarters of the factor that was made scarce. Raises UserError."""
    scarce = str(config.selection.scarce if config.selection else None)
    if scarce in dataset.classes:
        return dataset.classes, dataset.labels, dataset.classes.index(scarce)
    own = group(dataset, scarce)  # refuses one that is not there
    factor, _, value = scarce.partition("=")
    column = dataset.factors[:, dataset.factor_names.index(factor)]
    if value in QUARTERS:
        names = tuple(named(f"{factor}={quarter}", ()) for quarter in QUARTERS)
        return names, quarters(dataset, factor), list(QUARTERS).index(value)
    values, numbers = np.unique(column, return_inverse=True)
    if len(values) > MOST_GROUPS:
        raise UserError(f"{factor} has {len(values):,} values, too many for groups: choose a class or another factor.")
    return tuple(f"{factor} = {value:g}" for value in values), numbers.astype(np.int64), int(numbers[own][0])


def said(config: RunConfig) -> str:
    """'class 8', 'shape = 2' or 'scale, lowest quarter'."""
    return named(str(config.selection.scarce if config.selection else None), config.classes)


# --- finding --------------------------------------------------------------------------------------------------------


def is_member(run: Run) -> bool:
    """Whether a run is one of a debiasing experiment. Raises UserError for a damaged one."""
    config = run.config
    return bool(config.family == FAMILY and config.experiment and config.selection and config.selection.scarce)


def experiments() -> dict[str, list[Run]]:
    """Id -> members by seed, without resampling first; the newest experiment first. Damaged runs are left out."""
    return experiment.grouped([*all_runs(), *shipped_runs()], is_member, lambda run: (run.config.seed, resamples(run)))


def members(name: str) -> list[Run]:
    """The runs of an experiment. Raises UserError where there is none."""
    if runs := experiments().get(name):
        return runs
    raise UserError(f"There is no debiasing experiment '{name[:40]}' here: its runs may have been deleted.")


def resamples(run: Run) -> bool:
    config: Config = run.config.model_config_of_family()
    return bool(config.resampling)  # type: ignore[attr-defined]


def pairs(runs: Sequence[Run]) -> dict[int, Pair]:
    """Seed -> the two runs, None in the place of one that was deleted."""
    found: dict[int, list[Run | None]] = {}
    for run in runs:
        found.setdefault(run.config.seed, [None, None])[resamples(run)] = run
    return {seed: (without, with_it) for seed, (without, with_it) in found.items()}


# --- measuring ------------------------------------------------------------------------------------------------------


def measured(run: Run) -> Measured:
    """What a finished run came to, by its weights and its dataset. Raises UserError."""
    from genmodels.session import dataset_of
    from genmodels.training import Images

    dataset = dataset_of(run.config)
    names, groups, scarce = groups_of(dataset, run.config)
    test, train, count = Images.of(dataset, "test"), Images.of(dataset, "train"), len(names)
    of_train, of_test = (groups[dataset.span(part)] for part in ("train", "test"))
    weights = _weights(run.model, train)
    figures = {name: group_means(values, of_test, count) for name, values in _of_each(run.model, test).items()}
    figures |= {"images": group_shares(of_train, count), "draws": group_shares(of_train, count, weights)}
    order = np.argsort(-weights, kind="stable")
    most, least = (
        (train.images[rows].numpy(), of_train[rows], weights[rows] * len(weights))
        for rows in (order[:SHOWN].copy(), order[::-1][:SHOWN].copy())
    )
    asked = test.images[np.flatnonzero(of_test == scarce)[:SHOWN]]
    return Measured(figures, most, least, asked.numpy(), _copies(run.model, asked))


def _of_each(model: Any, images: Any) -> dict[str, np.ndarray]:
    """FIGURES of each test image, (N,) each: one draw of z, and -ELBO with beta 1, whatever it was trained with."""
    import torch
    from torch.distributions import Normal, kl_divergence

    from genmodels.analysis.snapshot import in_chunks
    from genmodels.training import evaluating

    noise = torch.Generator().manual_seed(0)

    def one(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        observed = model.observe(x, noise)
        q = model.posterior(observed)
        z = q.mean + q.stddev * torch.randn(q.mean.shape, generator=noise)
        reconstruction = -model.log_likelihood(observed, z)
        return model.classify(x).argmax(1), reconstruction, kl_divergence(q, Normal(0.0, 1.0)).sum(1)

    with evaluating(model):
        guesses, reconstruction, kl = (torch.cat(each) for each in zip(*in_chunks(one, images.images), strict=True))
    right = (guesses == images.labels).numpy()
    return {"accuracy": right, "reconstruction": reconstruction.numpy(), "negative_elbo": (reconstruction + kl).numpy()}


def _weights(model: Any, images: Any) -> np.ndarray:
    """How likely each training image is to be drawn in another pass, (N,) of sum 1."""
    from genmodels.training import weights_of

    found = weights_of(model, images)
    return np.full(len(images.images), 1 / len(images.images)) if found is None else found.numpy()


def _copies(model: Any, images: Any) -> np.ndarray:
    from genmodels.analysis.snapshot import to_bytes
    from genmodels.training import evaluating, scaled

    with evaluating(model):
        return to_bytes(model.decode(model.encode(scaled(images))))
