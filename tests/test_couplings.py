"""Affine couplings: exact both ways, their Jacobian autograd's, their density that of zuko."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import Independent, Normal

from genmodels.config import UserError
from genmodels.couplings import AffineCoupling, CouplingFlow, MultiScaleFlow


def wild(flow: Any, far: float = 0.3) -> Any:
    """In float64, with weights that are far from those of the identity."""
    flow = flow.double()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter.add_(far * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    return flow.eval().requires_grad_(False)


@pytest.mark.parametrize("shape", [(2,), (3,), (16,), (1, 8, 8), (3, 6, 4), (1, 5, 4), (3, 3, 3)])
def test_inverse_and_log_determinant_agree_with_autograd(shape: tuple[int, ...]) -> None:
    size = math.prod(shape)
    flow = wild(CouplingFlow(size, 5, 24)) if len(shape) == 1 else wild(MultiScaleFlow(shape, 5, 4), 0.1)
    x = torch.randn(3, *shape, dtype=torch.float64)
    if len(shape) == 1:
        flow.standardize(3 * x + 1)
    z, log_det = flow(x)
    assert z.shape == (3, size)
    assert (flow.inverse(z) - x).abs().max() < 1e-10
    assert (flow(flow.inverse(z + 1))[0] - z - 1).abs().max() < 1e-10
    for point, found in zip(x, log_det, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda p: flow(p[None])[0][0], point).view(size, size)
        assert (torch.linalg.slogdet(jacobian).logabsdet - found).abs() < 1e-10
        assert (jacobian - torch.eye(size)).abs().amax(0).min() > 1e-3, "not the identity: nothing stays alone"


def test_each_scale_hands_on_half_of_what_it_has() -> None:
    assert MultiScaleFlow((1, 28, 28), 2, 4).shapes == [(4, 14, 14), (8, 7, 7)]
    assert MultiScaleFlow((3, 64, 64), 2, 4).shapes == [(12, 32, 32), (24, 16, 16), (48, 8, 8)]
    assert MultiScaleFlow((1, 9, 15), 2, 4).shapes == [(1, 9, 15)]


def test_log_prob_is_that_of_the_same_flow_built_from_zuko() -> None:
    from zuko.distributions import NormalizingFlow
    from zuko.transforms import ComposedTransform, CouplingTransform, DependentTransform, MonotonicAffineTransform

    flow, x = wild(CouplingFlow(6, 4, 16)), torch.randn(50, 6, dtype=torch.float64)

    def same(coupling: AffineCoupling) -> CouplingTransform:
        def affine(kept: Tensor) -> DependentTransform:
            s, t = coupling.scale_and_shift(kept)
            theirs = MonotonicAffineTransform(t, s / (1 - s.abs() / 50), slope=math.exp(-50))  # it bounds s once more
            return DependentTransform(theirs, 1)

        return CouplingTransform(affine, torch.zeros(6, dtype=torch.bool).index_fill(0, coupling.kept, True))

    base = Independent(Normal(torch.zeros(6).double(), torch.ones(6).double()), 1)
    theirs = NormalizingFlow(ComposedTransform(*map(same, flow.couplings)), base).log_prob(x)
    assert (flow.log_prob(x) - theirs).abs().max() < 1e-10


def test_it_starts_near_the_identity_on_standardized_data_and_every_number_is_moved() -> None:
    flow, x = CouplingFlow(7, 2, 8), 5 + 3 * torch.randn(100, 7)
    flow.standardize(x)
    assert torch.allclose(flow(x)[0], (x - x.mean(0)) / x.std(0), atol=0.2)
    assert sorted(torch.cat([coupling.moved for coupling in flow.couplings]).tolist()) == list(range(7))


def test_one_number_cannot_be_coupled() -> None:
    with pytest.raises(UserError, match="at least two"):
        CouplingFlow(1, 4, 8)
