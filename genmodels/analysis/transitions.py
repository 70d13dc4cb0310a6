"""Tours through latent space, and the meter that says what happens on the way.

A leg goes from o to p. Straight: r(d) = o + d t with t = p - o and d in [0, 1]. Spherical: the direction turns at
constant angular speed while the distance from the centre changes linearly (K. Shoemake (1985), Animating rotation with
quaternion curves, https://doi.org/10.1145/325334.325242, section 3.3), so that a path between two codes of length
sqrt(L), where a normal prior of many dimensions has its mass, does not cut through the middle.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from genmodels.config import UserError

Easing = Literal["none", "smooth"]
Path = Literal["straight", "spherical"]
MOST = 3000  # frames of a tour
NEAR = 10  # half of the test images have at least so many others within the radius
ASKED = 500  # codes that the radius is measured on
AT_ONCE = 4_000_000  # distances held in memory together


class Stops(NamedTuple):
    """Where a tour stops. points: (S, L). labels: class of each, (S,). names: what a person calls them."""

    points: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]


class Plan(NamedTuple):
    """How it goes from stop to stop. frames: of each leg, both ends included. hold: more frames at each stop."""

    frames: int = 60
    hold: int = 0
    easing: Easing = "none"
    path: Path = "straight"


class Tour(NamedTuple):
    """codes: float32 (F, L). legs: the leg each frame belongs to, (F,). moving: False where it holds still, (F,).

    notes: sentences about legs that could not go as planned.
    """

    codes: np.ndarray
    legs: np.ndarray
    moving: np.ndarray
    stops: Stops
    notes: tuple[str, ...]

    def leg_name(self, leg: int) -> str:
        return f"{self.stops.names[leg]} to {self.stops.names[leg + 1]}"


class Meter(NamedTuple):
    """Of each frame: class probabilities (F, K), None without a judge; how many real codes lie within the radius (F,);
    the mean change of a pixel since the frame before, in grey levels of 255, (F,), the first 0."""

    probabilities: np.ndarray | None
    neighbours: np.ndarray
    jumps: np.ndarray


class Totals(NamedTuple):
    """What the meter says of a whole tour; frames that hold still are not counted. off: frames that read as a class at
    neither end of their leg, None without a judge. crossed: legs that have such frames. lonely: frames without a real
    code near. largest: the largest jump, and `at` the frame it leads to."""

    frames: int
    off: int | None
    crossed: int | None
    neighbours: float
    lonely: int
    largest: float
    at: int


def nearest_to(codes: np.ndarray, labels: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Of each class, the code nearest to its centroid; not a number without one. (N, L), (N,), (K, L) -> (K, L)."""
    found = centroids.copy()
    for c in np.unique(labels):
        own = codes[labels == c]
        found[c] = own[np.square(own - centroids[c]).sum(1).argmin()]
    return found


def class_stops(centroids: np.ndarray, classes: Sequence[str], order: Sequence[int]) -> Stops:
    """Centroids of the means in this order. (K, L) -> Stops. Raises UserError for an order that is no tour."""
    if len(classes) < 2:
        raise UserError("This run knows one class only, and a tour needs two: choose two images instead.")
    if len(order) < 2:
        raise UserError("A tour needs at least two classes: choose another one.")
    if unknown := [each for each in order if not 0 <= each < len(classes)]:
        raise UserError(f"There is no class number {unknown[0]}: this run has classes 0 to {len(classes) - 1}.")
    for c, after in pairwise([*order, -1]):
        if not np.isfinite(centroids[c]).all():
            raise UserError(f"The test images have none of class {classes[c]}, so it has no centroid: leave it out.")
        if c == after:
            raise UserError(f"The tour goes from {classes[c]} to itself: leave one of the two out.")
    return Stops(centroids[list(order)], np.array(order), tuple(classes[c] for c in order))


def eased(d: np.ndarray, easing: Easing) -> np.ndarray:
    """Time to place, both in [0, 1]: as it is, or slow at both ends, 3 d^2 - 2 d^3."""
    return d * d * (3 - 2 * d) if easing == "smooth" else d


def lerp(o: np.ndarray, p: np.ndarray, d: np.ndarray) -> np.ndarray:
    """r(d) = o + d t, t = p - o. (L,), (L,), (n,) -> (n, L)."""
    return o + d[:, None] * (p - o)


def slerp(o: np.ndarray, p: np.ndarray, d: np.ndarray, centre: np.ndarray) -> np.ndarray | None:
    """The arc around `centre`; its radius goes linearly from that of o to that of p. (L,), (L,), (n,), (L,) -> (n, L).

    None where no single arc joins them: one of them is the centre, or they lie on opposite sides of it.
    """
    a, b = o - centre, p - centre
    near, far = float(np.linalg.norm(a)), float(np.linalg.norm(b))
    if min(near, far) < 1e-6 * max(1.0, near, far):
        return None
    a, b = a / near, b / far
    # From the chord and its complement: exact also where the angle is tiny, unlike the arc cosine.
    angle = 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))
    if np.pi - angle < 1e-3:
        return None
    if angle < 1e-6:  # the limit of the formula below
        weights = 1 - d, d
    else:
        weights = np.sin((1 - d) * angle) / np.sin(angle), np.sin(d * angle) / np.sin(angle)
    turned = weights[0][:, None] * a + weights[1][:, None] * b
    return centre + ((1 - d) * near + d * far)[:, None] * turned


def tour(stops: Stops, plan: Plan, centre: np.ndarray) -> Tour:
    """All codes of a tour. centre: (L,), what a spherical path goes around. Raises UserError."""
    count = len(stops.names) - 1
    if count < 1:
        raise UserError("A tour needs at least two stops.")
    if not np.isfinite(stops.points).all():
        raise UserError("A code on this tour is not a number: choose other stops, or train the model again.")
    length = count * (plan.frames + plan.hold) + plan.hold
    if plan.frames < 2 or plan.hold < 0 or length > MOST:
        raise UserError(f"This tour has {length:,} frames; {MOST:,} at most: choose fewer frames for each leg.")
    d, points = eased(np.linspace(0, 1, plan.frames), plan.easing), stops.points.astype(float)
    legs, notes = [], []
    for leg, (o, p) in enumerate(pairwise(points)):
        path, note = _leg(o, p, d, plan.path, centre.astype(float))
        legs.append(path)
        if note:
            notes.append(f"{stops.names[leg]} to {stops.names[leg + 1]}: {note}")
    if plan.path == "spherical" and points.shape[1] == 1:
        notes = ["There is one latent dimension, and no arc on a line: every leg is straight."]
    pieces, numbers, moving = [], [], []
    for leg, path in enumerate(legs):
        pieces += [path[:1].repeat(plan.hold, 0), path]
        numbers += [leg] * (plan.hold + plan.frames)
        moving += [False] * plan.hold + [True] * plan.frames
    pieces.append(legs[-1][-1:].repeat(plan.hold, 0))
    numbers, moving = numbers + [count - 1] * plan.hold, moving + [False] * plan.hold
    codes = np.concatenate(pieces).astype(np.float32)
    return Tour(codes, np.array(numbers), np.array(moving), stops, tuple(notes))


def _leg(o: np.ndarray, p: np.ndarray, d: np.ndarray, path: Path, centre: np.ndarray) -> tuple[np.ndarray, str]:
    """Codes of one leg, and a note where there is one."""
    if np.allclose(o, p):
        return lerp(o, p, d), "both are the same point, so nothing moves."
    if path == "spherical":
        arc = slerp(o, p, d, centre)
        return (lerp(o, p, d), "no single arc joins them, so this leg is straight.") if arc is None else (arc, "")
    return lerp(o, p, d), ""


def _squares(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared distances. float32 (A, L), (B, L) -> (A, B)."""
    return np.maximum((a * a).sum(1)[:, None] + (b * b).sum(1) - 2 * (a @ b.T), 0)


def _centred(codes: np.ndarray, real: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both around the middle of the real ones: what is subtracted from each other should not be large."""
    middle = real.mean(0)
    return np.ascontiguousarray(codes - middle, np.float32), np.ascontiguousarray(real - middle, np.float32)


def radius(real: np.ndarray, near: int = NEAR) -> float:
    """The median distance of a real code to its `near`-th nearest other one, on 500 codes evenly taken. (N, L)."""
    near = min(near, len(real) - 1)
    if near < 1:
        return 0.0
    asked, real = _centred(real[:: -(-len(real) // ASKED)], real)
    found = [np.partition(_squares(part, real), near, axis=1)[:, near] for part in _parts(asked, len(real))]
    return float(np.median(np.sqrt(np.concatenate(found))))


def neighbours(codes: np.ndarray, real: np.ndarray, within: float) -> np.ndarray:
    """How many real codes lie within a distance of each of these. (F, L), (N, L) -> int (F,)."""
    codes, real = _centred(codes, real)
    limit = within**2 * (1 + 1e-5)  # what lies on the edge is within, whatever the last digit says
    parts = [(_squares(part, real) <= limit).sum(1) for part in _parts(codes, len(real))]
    return np.concatenate(parts)


def _parts(codes: np.ndarray, against: int) -> list[np.ndarray]:
    return np.array_split(codes, max(1, -(-len(codes) * against // AT_ONCE)))


def jumps(frames: np.ndarray) -> np.ndarray:
    """Mean absolute change of a pixel since the frame before, in grey levels of 255. uint8 (F, C, H, W) -> (F,)."""
    flat = frames.reshape(len(frames), -1)
    change = np.maximum(flat[1:], flat[:-1]) - np.minimum(flat[1:], flat[:-1])
    return np.concatenate([[0.0], change.mean(1, dtype=np.float32)])


def measured(
    tour: Tour,
    frames: np.ndarray,
    real: np.ndarray,
    within: float,
    probabilities: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Meter:
    """The meter of a tour. frames: uint8 (F, C, H, W), decoded. real: codes of real images, (N, L). probabilities: the
    judge's, uint8 (F, C, H, W) -> (F, K)."""
    return Meter(probabilities(frames) if probabilities else None, neighbours(tour.codes, real, within), jumps(frames))


def off_class(tour: Tour, probabilities: np.ndarray) -> np.ndarray:
    """Which moving frames read as a class at neither end of their leg. bool (F,)."""
    read, labels = probabilities.argmax(1), tour.stops.labels
    return tour.moving & (read != labels[tour.legs]) & (read != labels[tour.legs + 1])


def totals(tour: Tour, meter: Meter) -> Totals:
    """The meter's figures for the whole tour."""
    moving, off, crossed = tour.moving, None, None
    if meter.probabilities is not None:
        where = off_class(tour, meter.probabilities)
        off, crossed = int(where.sum()), len(np.unique(tour.legs[where]))
    near, at = meter.neighbours[moving], int(meter.jumps.argmax())
    return Totals(
        int(moving.sum()), off, crossed, float(near.mean()), int((near == 0).sum()), float(meter.jumps[at]), at
    )


def sentences(tour: Tour, meter: Meter, classes: Sequence[str]) -> list[str]:
    """One for each leg that passes through another class: '3 to 8: 2 of 60 frames read as 5.'"""
    if meter.probabilities is None:
        return []
    read, off = meter.probabilities.argmax(1), off_class(tour, meter.probabilities)
    told = []
    for leg in np.unique(tour.legs[off]):
        here = tour.legs == leg
        counts = np.bincount(read[here & off], minlength=len(classes))
        told.append(_crossing(tour.leg_name(leg), int((here & tour.moving).sum()), counts, classes))
    return told


def _crossing(name: str, frames: int, counts: np.ndarray, classes: Sequence[str]) -> str:
    first, *others = [c for c in np.argsort(-counts, kind="stable") if counts[c]]
    more = "".join(f" and {counts[c]} {'frame' if counts[c] == 1 else 'frames'} as {classes[c]}" for c in others)
    return f"{name}: {counts[first]} of {frames} frames read as {classes[first]}{more}."
