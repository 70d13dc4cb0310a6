"""Tours and the meter against closed form, an independent library and hand-made paths."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some
from hypothesis.extra.numpy import arrays
from sklearn.neighbors import NearestNeighbors

from genmodels import figures
from genmodels.analysis import transitions
from genmodels.analysis.transitions import Meter, Plan, Stops, eased, lerp, slerp
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.inside import open_inside

D = np.linspace(0, 1, 11)
vectors = arrays(float, 4, elements=some.floats(-5, 5, width=32))
DIGITS = tuple("0123456789")


def stops(*points: list[float], labels: tuple[int, ...] = ()) -> Stops:
    chosen = labels or tuple(range(len(points)))
    return Stops(np.array(points, float), np.array(chosen), tuple(str(c) for c in chosen))


@given(vectors, vectors)
def test_lerp_is_the_line(o: np.ndarray, p: np.ndarray):
    path = lerp(o, p, D)
    assert np.allclose(path[[0, -1]], [o, p])
    assert np.allclose(np.diff(path, axis=0), (p - o) / 10)


def test_smooth_easing_stands_still_at_both_ends_and_is_symmetric():
    assert np.array_equal(eased(D, "none"), D)
    smooth = eased(D, "smooth")
    assert np.allclose(smooth, 3 * D**2 - 2 * D**3)
    assert np.allclose(smooth + smooth[::-1], 1)
    slope = (eased(np.array([1e-6, 1 - 1e-6]), "smooth") - [0, 1]) / [1e-6, -1e-6]
    assert np.allclose(slope, 0, atol=1e-5)


@given(vectors, vectors, vectors)
def test_slerp_turns_at_constant_speed_and_its_radius_goes_linearly(o, p, centre):
    path = slerp(o, p, D, centre)
    a, b = o - centre, p - centre
    if path is None:
        lengths = np.linalg.norm(a), np.linalg.norm(b)
        assert min(lengths) < 1e-4 or a @ b < -0.999 * lengths[0] * lengths[1]
        return
    assert np.allclose(path[[0, -1]], [o, p], atol=1e-9)
    radii = np.linalg.norm(path - centre, axis=1)
    assert np.allclose(radii, lerp(radii[:1], radii[-1:], D)[:, 0], atol=1e-9)
    unit = (path - centre) / radii[:, None]
    chords = np.linalg.norm(np.diff(unit, axis=0), axis=1)  # equal chords are equal angles
    assert np.allclose(chords, chords[0], atol=1e-6)


def test_slerp_on_the_circle_is_its_quarter():
    path = slerp(np.array([1.0, 0]), np.array([0, 1.0]), D, np.zeros(2))
    assert np.allclose(path, np.stack([np.cos(np.pi / 2 * D), np.sin(np.pi / 2 * D)], 1))


def test_slerp_has_no_answer_through_the_centre():
    o = np.array([1.0, 2.0])
    assert slerp(o, -3 * o, D, np.zeros(2)) is None
    assert slerp(o, np.zeros(2), D, np.zeros(2)) is None
    assert np.allclose(slerp(o, 3 * o, D, np.zeros(2)), lerp(o, 3 * o, D)), "the same direction: no turn"


def test_a_tour_has_its_legs_and_holds():
    tour = transitions.tour(stops([0.0], [6.0], [0.0], labels=(3, 8, 3)), Plan(frames=4, hold=2), np.zeros(1))
    assert tour.codes[:, 0].tolist() == [0, 0, 0, 2, 4, 6, 6, 6, 6, 4, 2, 0, 0, 0]
    assert tour.legs.tolist() == [0] * 6 + [1] * 8
    assert tour.moving.tolist() == [False] * 2 + [True] * 4 + [False] * 2 + [True] * 4 + [False] * 2
    assert tour.leg_name(0) == "3 to 8"
    assert not tour.notes


def test_a_tour_says_what_could_not_go_as_planned():
    spherical, centre = Plan(frames=3, path="spherical"), np.zeros(2)
    opposite = transitions.tour(stops([1.0, 0], [-1.0, 0]), spherical, centre)
    assert opposite.codes[1].tolist() == [0, 0]
    assert opposite.notes == ("0 to 1: no single arc joins them, so this leg is straight.",)
    equal = transitions.tour(stops([1.0, 0], [1.0, 0]), spherical, centre)
    assert equal.notes == ("0 to 1: both are the same point, so nothing moves.",)
    line = transitions.tour(stops([1.0], [2.0]), spherical, np.zeros(1))
    assert line.codes[:, 0].tolist() == [1, 1.5, 2]
    assert "one latent dimension" in line.notes[0]


@pytest.mark.parametrize(
    ("points", "plan", "said"),
    [
        ([[0.0], [np.nan]], Plan(), "not a number"),
        ([[0.0]], Plan(), "at least two stops"),
        ([[0.0], [1.0]], Plan(frames=4000), "3,000 at most"),
    ],
)
def test_a_tour_that_cannot_be_is_refused_in_one_sentence(points, plan, said):
    with pytest.raises(UserError, match=said):
        transitions.tour(stops(*points), plan, np.zeros(1))


@pytest.mark.parametrize(
    ("order", "classes", "said"),
    [
        ([0], "ab", "at least two classes"),
        ([0, 0], "ab", "from a to itself"),
        ([0, 7], "ab", "no class number 7"),
        ([0, 1, 2], "abc", "none of class c"),
        ([0, 1], "a", "one class only"),
    ],
)
def test_an_order_that_is_no_tour_is_refused_in_one_sentence(order, classes, said):
    centroids = np.array([[0.0], [1.0], [np.nan]])[: len(classes)]
    with pytest.raises(UserError, match=said):
        transitions.class_stops(centroids, classes, order)


def test_class_stops_are_the_centroids_in_their_order():
    found = transitions.class_stops(np.array([[0.0], [1.0], [2.0]]), "abc", [2, 0, 2])
    assert found.points[:, 0].tolist() == [2, 0, 2]
    assert found.labels.tolist() == [2, 0, 2]
    assert found.names == ("c", "a", "c")


@settings(deadline=None)
@given(some.integers(2, 700), some.integers(1, 6), some.integers(0, 99))
def test_radius_and_neighbours_agree_with_scikit_learn(count: int, size: int, seed: int):
    rng = np.random.default_rng(seed)
    real, codes = rng.normal(3, 1, (count, size)).astype(np.float32), rng.normal(3, 1, (9, size)).astype(np.float32)
    near = min(transitions.NEAR, count - 1)
    asked = real[:: -(-count // transitions.ASKED)]
    distances, _ = NearestNeighbors(n_neighbors=near + 1).fit(real.astype(float)).kneighbors(asked.astype(float))
    within = transitions.radius(real)
    assert within == pytest.approx(np.median(distances[:, near]), rel=1e-3, abs=2e-3)
    exact = np.linalg.norm(codes[:, None].astype(float) - real, axis=2)
    least, most = (exact < within - 1e-3).sum(1), (exact < within + 1e-3).sum(1)
    found = transitions.neighbours(codes, real, within)
    assert (least <= found).all()
    assert (found <= most).all()


def test_neighbours_by_hand_and_what_lies_on_the_edge_is_within():
    real = np.array([[0.0, 0], [3, 4], [0, 5], [9, 9]])
    codes = np.array([[0.0, 0], [9, 9], [50, 50]])
    assert transitions.neighbours(codes, real, 5.0).tolist() == [3, 1, 0]
    assert transitions.radius(np.array([[0.0], [1.0], [2.0], [3.0], [4.0]]), near=1) == pytest.approx(1)
    assert transitions.radius(np.zeros((1, 2))) == 0, "a single code has no neighbour"
    assert transitions.radius(np.ones((30, 2))) == pytest.approx(0, abs=1e-3), "all codes are the same"


def test_jumps_by_hand():
    frames = np.zeros((3, 1, 2, 2), np.uint8)
    frames[1, 0, 0, 0], frames[2] = 40, 255
    assert transitions.jumps(frames).tolist() == [0, 10, (215 + 3 * 255) / 4]
    assert transitions.jumps(frames[:1]).tolist() == [0]


def by_brightness(frames: np.ndarray) -> np.ndarray:
    """A judge made by hand: the class is the value of the first pixel."""
    return np.eye(10, dtype=np.float32)[frames[:, 0, 0, 0]] * 0.8 + 0.02


def test_the_meter_on_a_path_made_by_hand():
    tour = transitions.tour(stops([0.0], [59.0], [0.0], labels=(3, 8, 3)), Plan(frames=60, hold=3), np.zeros(1))
    reads = np.where(tour.legs == 0, 3, 8).astype(np.uint8)
    first, second = np.flatnonzero(tour.moving & (tour.legs == 0)), np.flatnonzero(tour.moving & (tour.legs == 1))
    reads[first[40:]] = 8
    reads[first[20:22]] = 5
    reads[second[:4]], reads[second[4]] = 9, 1
    reads[0] = 7  # holds still: not counted
    frames = np.repeat(reads, 4).reshape(-1, 1, 2, 2)
    meter = transitions.measured(tour, frames, np.array([[10.0], [12.0]]), 1.0, by_brightness)

    assert transitions.sentences(tour, meter, DIGITS) == [
        "3 to 8: 2 of 60 frames read as 5.",
        "8 to 3: 4 of 60 frames read as 9 and 1 frame as 1.",
    ]
    found = transitions.totals(tour, meter)
    assert (found.frames, found.off, found.crossed, found.largest) == (120, 7, 2, 8)
    # 9, 10, 11, 12, 13 have 1, 1, 2, 1, 1 near, on the way and back.
    assert found.neighbours == pytest.approx(2 * 6 / 120)
    assert found.lonely == 120 - 10
    assert meter.jumps[found.at] == meter.jumps.max()

    strays = figures.stray_lines({"A": meter}, tour)["A"]
    off = transitions.off_class(tour, meter.probabilities)
    assert strays[0][[0, -1]].tolist() == [1, len(frames)]
    assert np.allclose(strays[1][tour.moving], np.where(off, 0.8 + 8 * 0.02, 8 * 0.02)[tour.moving], atol=1e-6)


def test_without_a_judge_the_meter_has_neighbours_and_jumps_only():
    tour = transitions.tour(stops([0.0], [1.0]), Plan(frames=5), np.zeros(1))
    meter = transitions.measured(tour, np.zeros((5, 1, 8, 8), np.uint8), np.zeros((3, 1)), 0.5)
    assert meter.probabilities is None
    assert transitions.sentences(tour, meter, ("all",)) == []
    assert transitions.totals(tour, meter)[:3] == (5, None, None)
    assert meter.neighbours.tolist() == [3, 3, 3, 0, 0]
    assert figures.stray_lines({"A": meter}, tour) == {}


def test_a_tour_between_two_images_of_one_class_counts_every_other_class():
    tour = transitions.tour(stops([0.0], [1.0], labels=(4, 4)), Plan(frames=3), np.zeros(1))
    meter = Meter(np.eye(10)[[4, 6, 4]], np.ones(3, int), np.zeros(3))
    assert transitions.sentences(tour, meter, DIGITS) == ["4 to 4: 1 of 3 frames read as 6."]
    assert figures.stray_lines({"A": meter}, tour)["A"][1].tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    "family", [name for name, each in FAMILIES.items() if {"encode", "decode"} <= set(each.abilities)]
)
def test_every_family_with_the_ability_goes_on_tour_on_real_digits(trained, family: str):
    inside = open_inside(trained(family, budget=60))
    for path in ("straight", "spherical"):
        chosen = transitions.class_stops(inside.stops, inside.classes, [*range(10), 0])
        tour = transitions.tour(chosen, Plan(frames=3, path=path), inside.spread[0])
        frames = inside.decode(tour.codes)
        meter = transitions.measured(tour, frames, inside.means, transitions.radius(inside.means))
        assert frames.shape == (30, *inside.images.shape[1:])
        assert meter.neighbours.shape == meter.jumps.shape == (30,)
        assert np.array_equal(frames[0], inside.decode(inside.stops[:1])[0])
        assert np.array_equal(frames[0], frames[-1]), "it comes back to where it began"
        assert meter.jumps.max() > 0
