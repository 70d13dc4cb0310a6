"""Sets in the plane, standardised and seeded; and the plane as a flow bends it, straight at first."""

import numpy as np
import pytest
import torch

from app import bending as drawn
from genmodels import toys
from genmodels.analysis.density import Points, fit, gaussian, mean_log_prob, new_flow
from genmodels.config import UserError
from genmodels.couplings import CouplingFlow


@pytest.fixture(scope="module")
def flow() -> CouplingFlow:
    """Learned from the moons, for a moment."""
    points = toys.points("moons", 2000)
    flow = new_flow(points[:1500], 6, 24, 0)
    for _ in fit(flow, Points(points[:1500]), points[1500:], steps=150, rate=5e-3, seed=0):
        pass
    return flow


@pytest.mark.parametrize("name", toys.SETS)
def test_sets_are_standardised_and_seeded(name: str) -> None:
    points = toys.points(name, 3000, 1)
    assert points.shape == (3000, 2)
    assert points.mean(0).abs().max() < 1e-5
    assert (points.std(0, correction=0) - 1).abs().max() < 1e-5
    assert points.abs().max() < toys.WINDOW
    assert torch.equal(points, toys.points(name, 3000, 1))
    assert not torch.equal(points, toys.points(name, 3000, 2))
    assert name in toys.TITLES


def test_an_unknown_set_is_a_sentence() -> None:
    with pytest.raises(UserError, match="no set 'clouds'"):
        toys.points("clouds", 10)


def test_the_checkerboard_has_eight_full_squares() -> None:
    raw = toys.SETS["checkerboard"](8000, 0)
    squares, counts = np.unique(np.floor(raw).astype(int), axis=0, return_counts=True)
    assert len(squares) == 8
    assert (squares.sum(1) % 2 == 0).all()
    assert counts.min() > 800


def test_the_plane_begins_straight_and_ends_at_the_data(flow: CouplingFlow) -> None:
    bent = toys.bending(flow, 50)
    assert len(bent.points) == len(bent.lines) == len(bent.densities) == 7
    assert np.array_equal(bent.points[0], bent.noise)
    straight = bent.lines[0]
    assert (np.ptp(straight, axis=1).min(1) == 0).all(), "each line goes up or across"
    with torch.no_grad():
        assert bent.points[-1] == pytest.approx(flow.inverse(torch.from_numpy(bent.noise)).numpy(), abs=1e-5)
        assert np.abs(bent.lines[-1] - straight).max() > 0.5
        back = flow(torch.from_numpy(bent.lines[-1].reshape(-1, 2)))[0].numpy()
    assert back == pytest.approx(straight.reshape(-1, 2), abs=1e-3)


def test_a_layer_moves_along_one_coordinate_only(flow: CouplingFlow) -> None:
    bent = toys.bending(flow, 50)
    for before, after in zip(bent.points[:-2], bent.points[1:-1], strict=True):
        assert np.count_nonzero(np.abs(after - before).max(0) > 1e-6) == 1


def test_every_layer_s_density_is_that_of_its_points_and_worth_one(flow: CouplingFlow) -> None:
    bent, cell = toys.bending(flow, 4000), (2 * toys.WINDOW / toys.CELLS) ** 2
    assert bent.densities[0].max() == pytest.approx(1 / (2 * np.pi), rel=1e-2)
    for points, density in zip(bent.points, bent.densities, strict=True):
        inside = (np.abs(points) < toys.WINDOW).all(1)
        assert density.sum() * cell == pytest.approx(inside.mean(), abs=0.02)
        points = points[inside]
        across = np.histogram(points[:, 0], [-toys.WINDOW, 0, toys.WINDOW])[0] / 4000
        assert density[:, : toys.CELLS // 2].sum() * cell == pytest.approx(across[0], abs=0.03)
        up = np.histogram(points[:, 1], [0, toys.WINDOW])[0] / 4000
        assert density[: toys.CELLS // 2].sum() * cell == pytest.approx(up[0], abs=0.03), "the top row comes first"


def test_the_density_integrates_to_one_and_beats_the_best_gaussian(flow: CouplingFlow) -> None:
    assert toys.integral(flow, cells=400) == pytest.approx(1, abs=1e-3)
    points = toys.points("moons", 2000)
    normal = gaussian(points[:1500]).log_prob(points[1500:].double()).mean()
    assert mean_log_prob(flow, points[1500:]) > normal + 0.5
    with torch.no_grad():
        made = flow.inverse(torch.randn(4000, 2, generator=torch.Generator().manual_seed(0)))
    assert made.mean(0) == pytest.approx(points.mean(0), abs=0.15)
    assert made.std(0) == pytest.approx(points.std(0), rel=0.15)


def test_a_density_cut_off_does_not_count_as_one(flow: CouplingFlow) -> None:
    assert toys.integral(flow, reach=0.5, cells=50) < 0.5


def test_the_film_goes_from_noise_to_data_and_tells_its_layers(flow: CouplingFlow) -> None:
    bent = toys.bending(flow, 50)
    frames, layers = drawn.film(bent), drawn.layers_of(bent)
    assert frames.shape == (6 * drawn.BETWEEN + 1, 3, drawn.FRAME, drawn.FRAME)
    assert len(layers) == len(frames)
    assert sorted(set(layers)) == list(range(6))
    assert (frames[0] != frames[-1]).any()
    assert frames[0, :, 0, 0].tolist() == [255] * 3


def test_quarters_and_heat() -> None:
    assert drawn.quarters(np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]])).tolist() == [0, 1, 2, 3]
    picture = drawn.heat(np.array([[0.0, 1.0], [0.25, 0.0]]))
    assert picture[:, 0, 0].tolist() == [255] * 3
    assert picture.sum(0).argmin() == 1, "the densest is the darkest"
