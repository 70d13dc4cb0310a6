"""What the doctor looks at: the numbers a run has left in its folder, and where its curves are heading."""

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from genmodels import steering
from genmodels.analysis.balance import EARLY
from genmodels.runs import Run, RunConfig, Status

Curve = tuple[np.ndarray, np.ndarray]  # steps and values, float (N,)
# Losses that mean the same at every step, so that one can say whether they fall; those of a game do not.
SETTLED = ("negative_elbo", "bits_per_dimension", "squared_error", "reconstruction", "l1", "cycle")
WINDOW = 0.75  # a curve at step t is its mean from 0.75 t to t: one point is one batch's luck
MOST_DOUBLINGS = 4  # no trend can be trusted further


@dataclasses.dataclass(frozen=True)
class Numbers:
    """All that the rules look at. real: share of each class among the images learned from, (K,), where it is known."""

    config: RunConfig
    status: Status
    points: Sequence[Mapping[str, Any]] = ()
    summary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    knobs: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # as they stood at the end
    since: int = 0  # the step from which they stood so
    kl: np.ndarray | None = None  # nats of each dimension, (L,)
    copied: float | None = None  # see `copied`
    counts: np.ndarray | None = None  # samples that a judge reads as each class, (K,)
    real: np.ndarray | None = None

    @cached_property
    def train(self) -> Curve:
        return self.curve("train")

    @cached_property
    def test(self) -> Curve:
        return self.curve("test")

    @property
    def losses(self) -> list[str]:
        return list(self.points[-1]["train"]) if self.points else []

    @property
    def young(self) -> bool:
        """Still in its first steps, when nothing has been learned yet."""
        return self.status.active and self.status.step < EARLY

    def curve(self, part: str) -> Curve:
        """What is minimised, since the knobs stand as they do; empty where no loss keeps its meaning."""
        told = [(p["step"], minimised(p[part], self.knobs)) for p in self.points if p.get(part)]
        pairs = [(step, value) for step, value in told if value is not None and step > self.since]
        steps, values = np.array(pairs, float).reshape(-1, 2).T
        return steps, values

    def metric(self, name: str) -> Mapping[str, Any]:
        """{} where it was not measured."""
        return self.summary.get(name, {})


def minimised(losses: Mapping[str, float], knobs: Mapping[str, Any]) -> float | None:
    """The objective where it is known: with a beta -ELBO alone may rise while all goes well."""
    if {"reconstruction", "kl"} <= set(losses) and "beta" in knobs:
        of_class = float(knobs.get("class_weight", 0)) * losses.get("cross_entropy", 0.0)
        return losses["reconstruction"] + float(knobs["beta"]) * losses["kl"] + of_class
    return next((losses[name] for name in SETTLED if name in losses), None)


def copied(copies: np.ndarray, error: float) -> float:
    """Of what tells images apart the share that their copies have; 1 is all of it, 0 no more than the mean image has.

    copies: uint8 (N, C, H, W), N at least 2. error: mean squared, per pixel, of the full range. A copy that is the
    mean of all images with its code leaves out what does not follow from the code, so the variance of the images is
    that of the copies and the error (the law of total variance), and the share is a coefficient of determination.
    """
    varies = (copies.astype(float) / 255).var(0, ddof=1).mean()
    return float(varies / max(varies + error, 1e-12))


def numbers_of(
    run: Run,
    status: Status | None = None,
    points: Sequence[Mapping[str, Any]] | None = None,
    real: np.ndarray | None = None,
) -> Numbers:
    """Read them from a run's files; what the caller has read already need not be read again. Raises UserError."""
    config, status = run.config, status or run.status()
    points = run.metrics() if points is None else points
    turns = [turn for turn in steering.record(run) if turn.step <= status.step]
    knobs = dict(config.knobs)
    for turn in turns:
        knobs |= turn.values
    since = max([int(knobs.get("beta_warm_up") or 0), *(turn.step for turn in turns)])
    summary, kept, arrays = run.summary(), run.snapshots(), {}
    if names := [name for name in ("live", *(f"snapshots/{step}" for step in kept[-1:])) if run.changed(f"{name}.npz")]:
        arrays = run.arrays(max(names, key=lambda name: run.changed(f"{name}.npz")))
    parts = summary.get("kl", {}).get("parts")
    copies, error = arrays.get("reconstructions"), summary.get("reconstruction_error", {}).get("value")
    if copies is not None and "originals" in arrays:  # which do not go with a run that is passed on
        error = float(((copies.astype(float) - arrays["originals"]) ** 2).mean() / 255**2)
    return Numbers(
        config, status, points, summary, knobs, since,
        arrays.get("kl", np.array([*parts.values()]) if parts else None),
        copied(copies, error) if copies is not None and error is not None and len(copies) > 1 else None,
        _counts(run, kept) if points and "d_fake" in points[-1]["train"] else None,
        real,
    )  # fmt: skip


def _counts(run: Run, kept: Sequence[int]) -> np.ndarray | None:
    """Of the last snapshot that a judge has read."""
    for step in reversed(kept):
        if (counts := run.arrays(f"snapshots/{step}").get("read_as")) is not None:
            return counts if len(counts) == len(run.config.classes) else None
    return None


def level(curve: Curve, step: float) -> float:
    """The curve at a step: the mean of its points a little before it, or what lies between its neighbours."""
    steps, values = curve
    near = (steps > WINDOW * step) & (steps <= step)
    return float(values[near].mean()) if near.any() else float(np.interp(step, steps, values))


def levels(curve: Curve) -> np.ndarray:
    """`level` at each of its points. -> (N,)."""
    return np.array([level(curve, step) for step in curve[0]])


class Trend(NamedTuple):
    """fall: from the first point to the last. gains: by two, four, ... times the budget, added up."""

    fall: float
    gains: tuple[float, ...]


def trend(curve: Curve) -> Trend:
    """Where a curve is heading. Of a power law a + b t^-c each doubling of t gains 2^-c times what the one before did,
    so the last two doublings tell all later ones. A gain is never held to grow."""
    steps, values = curve
    quarter, half, now = (level(curve, share * steps[-1]) for share in (0.25, 0.5, 1))
    last = max(0.0, half - now)
    ratio = min(1.0, last / (quarter - half)) if quarter > half else 1.0
    gains = last * np.cumsum(ratio ** np.arange(1, MOST_DOUBLINGS + 2))
    return Trend(float(values[0] - now), tuple(gains.tolist()))
