"""The game of a generator against a discriminator, in plain words: who is ahead, and whether all classes are made."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

RECENT = 10  # points of the curves, about the last seconds: one point is one batch's luck
EARLY = 200  # updates before which both still learn what an image is
# D(x) and D(G(z)) as probabilities. Where 19 of 20 images are told apart, hardly any lies where D wavers, and only
# there its slope says what would make an image better.
SURE = 0.95
FOOLED = 0.6  # D calls most made images real: it does not see what is wrong with them
ALIKE = 0.05  # D believes both about equally: in theory the end of the game, or a discriminator that learns nothing
MISSING = 0.1  # of its share among the real images: fewer is no accident with 500 samples and ten classes
CROWDED = 2.0  # times its share among the real images


def missing(shares: np.ndarray, real: np.ndarray) -> list[int]:
    """The classes that are made less than a tenth as often as they are real. (K,), (K,) -> their numbers."""
    return np.flatnonzero(shares < MISSING * real).tolist()


def balance(
    points: Sequence[Mapping[str, Any]],
    class_counts: np.ndarray | None = None,
    classes: Sequence[str] = (),
    real_shares: np.ndarray | None = None,
) -> list[str]:
    """The state of the game, one sentence each; [] for a family that does not play, or nothing to tell.

    points: of the curves, with train: {d_real, d_fake}. class_counts: how many samples a judge reads as each class,
    (K,), None without a judge; real_shares: of each class among the real images, (K,), equal when not given.
    """
    told = [point for point in points if {"d_real", "d_fake"} <= set(point["train"])]
    if not told:
        return []
    if told[-1]["step"] < EARLY or len(told) < RECENT:
        return ["It is too early to tell: both networks are still learning what an image is."]
    recent = np.array([[point["train"][name] for name in ("d_real", "d_fake")] for point in told[-RECENT:]])
    sentences = [_game(recent)]
    if class_counts is not None and class_counts.sum():
        real = np.full(len(class_counts), 1 / len(class_counts)) if real_shares is None else np.asarray(real_shares)
        sentences.append(_variety(np.asarray(class_counts), classes, real))
    return sentences


def _game(recent: np.ndarray) -> str:
    """Who is ahead, over all recent points. (R, 2) -> one sentence."""
    real, fake = recent.mean(0)
    numbers = f"D(x) is {real:.2f} and D(G(z)) {fake:.2f}"
    if (recent[:, 0] > SURE).all() and (recent[:, 1] < 1 - SURE).all():
        return (
            f"The discriminator is too strong: {numbers}, so it tells nearly all images apart and the generator learns "
            "little."
        )
    if (recent[:, 1] > FOOLED).all() and fake >= real - ALIKE:
        return (
            f"The generator is ahead: {numbers}, so the discriminator takes most of its images for real and teaches it "
            "little."
        )
    if abs(real - fake) < ALIKE:
        return (
            f"The discriminator cannot tell them apart: {numbers}. Where the samples look real, that is the goal; "
            "where they do not, the discriminator has stopped learning."
        )
    if real < fake:
        return (
            f"The discriminator is mostly wrong: {numbers}, so it takes made images for real more than real ones, and "
            "what it teaches the generator is misleading."
        )
    return f"In balance: {numbers}, so the discriminator is mostly right and the generator has something to learn."


def _variety(counts: np.ndarray, classes: Sequence[str], real: np.ndarray) -> str:
    """Which classes are missing or made too often. (K,), (K,) -> one sentence."""
    total, shares = int(counts.sum()), counts / counts.sum()
    gone = [classes[c] for c in missing(shares, real)]
    crowded = [f"{shares[c]:.0%} read as {classes[c]}" for c in np.flatnonzero(shares > CROWDED * real).tolist()]
    if not gone and not crowded:
        return f"Of {total:,} samples all {len(counts)} classes have their share."
    parts = ([f"{listed(gone)} {'is' if len(gone) == 1 else 'are'} missing"] if gone else []) + crowded
    name = "The generator has collapsed" if gone else "The generator repeats itself"
    return f"{name}: of {total:,} samples {listed(parts)}."


def listed(words: Sequence[str]) -> str:
    """'a, b and c'."""
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)
