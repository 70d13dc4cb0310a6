"""Blocks: the fast forms compute what the plain ones do."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.nn import Dense, conv_grids


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def gradients(layer: Dense, x: Tensor, autocast: bool) -> list[Tensor]:
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        y = layer(x)
    (y.float() * seeded(*y.shape, seed=9)).sum().backward()
    return [y.float(), x.grad, layer.weight.grad, layer.bias.grad]


@pytest.mark.parametrize("relu", [True, False])
def test_dense_in_bfloat16_is_the_linear_layer_up_to_rounding(relu: bool) -> None:
    torch.manual_seed(0)
    layer, x = Dense(40, 30, relu), seeded(64, 40)
    plain = F.linear(x, layer.weight, layer.bias)
    assert torch.equal(layer(x), plain.relu() if relu else plain)
    for rough, exact in zip(gradients(layer, x, True), gradients(layer, x, False), strict=True):
        assert rough.dtype == torch.float32
        assert (rough - exact).norm() < 0.02 * exact.norm()


@pytest.mark.parametrize("relu", [True, False])
def test_dense_in_bfloat16_is_what_autocast_does(relu: bool) -> None:
    torch.manual_seed(0)
    layer, x = Dense(40, 30, relu), seeded(64, 40)
    ours = gradients(layer, x, True)
    x = x.clone().requires_grad_()
    layer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        y = F.linear(x, layer.weight, layer.bias)
        y = y.relu() if relu else y
    (y.float() * seeded(*y.shape, seed=9)).sum().backward()
    for mine, theirs in zip(ours, [y.float(), x.grad, layer.weight.grad, layer.bias.grad], strict=True):
        assert torch.allclose(mine, theirs, rtol=0.01, atol=0.02)


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    layer, x = Dense(4, 3), seeded(2, 4)
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
    assert x.grad is None
    assert layer.weight.grad is not None


def test_a_convolution_and_a_pixel_shuffle_are_a_transposed_convolution() -> None:
    """Output pixel (2i + a, 2j + b) is a 3x3 convolution of its own: a 6x6 kernel with stride 2 and padding 2."""
    convolution, transposed = nn.Conv2d(5, 4 * 3, 3, padding=1), nn.ConvTranspose2d(5, 3, 6, stride=2, padding=2)
    kernel = convolution.weight.data.view(3, 2, 2, 5, 3, 3)  # output, row a, column b, input, and the 3x3 kernel
    with torch.no_grad():
        for row in range(6):
            for column in range(6):
                a, b = row % 2, column % 2
                transposed.weight[:, :, row, column] = kernel[:, a, b, :, 2 - row // 2, 2 - column // 2].T
        transposed.bias.zero_()
        convolution.bias.zero_()
        x = seeded(2, 5, 7, 7)
        assert torch.allclose(F.pixel_shuffle(convolution(x), 2), transposed(x), atol=1e-5)


@pytest.mark.parametrize(("size", "sides"), [(8, [8, 4, 2]), (9, [9, 5, 3]), (28, [28, 14, 7]), (64, [64, 32, 16, 8])])
def test_grids_halve_and_round_up(size: int, sides: list[int]) -> None:
    assert [side for _, side, _ in conv_grids((1, size, size), 16)] == sides
