"""Blocks: the fast forms compute what the plain ones do."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.nn import Dense, Layers, conv_grids, moving_average, set_bfloat16


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


RELUS = [(True, False), (False, True), (True, True)]


def network(relus: tuple[bool, bool]) -> Layers:
    torch.manual_seed(0)
    return Layers(Dense(40, 30, relus[0]), Dense(30, 20, relus[1]))


def plain(network: Layers, x: Tensor) -> Tensor:
    for layer in network:
        x = F.linear(x, layer.weight, layer.bias)
        x = x.relu() if layer.relu else x
    return x


def gradients(network: Layers, x: Tensor, function: Callable[[Tensor], Tensor]) -> list[Tensor]:
    x = x.clone().requires_grad_()
    network.zero_grad()
    y = function(x).float()
    (y * seeded(*y.shape, seed=9)).sum().backward()
    return [y, x.grad, *(parameter.grad.clone() for parameter in network.parameters())]


@pytest.mark.parametrize("relus", RELUS)
def test_layers_in_bfloat16_are_the_linear_layers_up_to_rounding(relus: tuple[bool, bool]) -> None:
    layers, x = network(relus), seeded(64, 40)
    exact = gradients(layers, x, layers)
    assert torch.equal(exact[0], plain(layers, x))
    set_bfloat16(layers, True)
    for rough, precise in zip(gradients(layers, x, layers), exact, strict=True):
        assert rough.dtype == torch.float32
        assert not torch.equal(rough, precise)
        assert (rough - precise).norm() < 0.15 * precise.norm()  # rounding moves some units across ReLU's corner


@pytest.mark.parametrize("relus", RELUS)
def test_layers_in_bfloat16_are_what_autocast_does(relus: tuple[bool, bool]) -> None:
    def autocast(x: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return plain(layers, x)

    layers, x = network(relus), seeded(64, 40)
    theirs = gradients(layers, x, autocast)
    set_bfloat16(layers, True)
    for mine, other in zip(gradients(layers, x, layers), theirs, strict=True):
        assert torch.allclose(mine, other, rtol=0.01, atol=0.03)


def test_bfloat16_is_for_training_alone() -> None:
    layers, x = network((True, False)), seeded(8, 40)
    set_bfloat16(layers, True)
    assert torch.equal(layers.eval()(x), plain(layers, x))
    set_bfloat16(layers, False)
    assert torch.equal(layers.train()(x), plain(layers, x))


def test_an_input_that_needs_no_gradient_gets_none() -> None:
    layers, x = network((True, False)), seeded(2, 40)
    set_bfloat16(layers, True)
    layers(x).sum().backward()
    assert x.grad is None
    assert all(parameter.grad is not None for parameter in layers.parameters())


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


def test_a_second_derivative_is_refused_rather_than_wrong() -> None:
    layers, x = network((True, False)), seeded(2, 40).requires_grad_()
    set_bfloat16(layers, True)
    (slope,) = torch.autograd.grad(layers(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.square().sum().backward()


def test_the_moving_average_is_its_recursion_and_learns_nothing() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    average = moving_average(network, 0.3)
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(parameter.requires_grad for parameter in network.parameters())
    wanted: dict[str, Tensor] = {}
    for t in range(6):
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.copy_(seeded(*parameter.shape, seed=t))
        network(seeded(8, 2, seed=t))  # moves the running mean and variance, and counts
        average.update_parameters(network)
        decay = min(0.3, (1 + t) / (10 + t)) if t else 0  # the first update is a copy
        for key, value in network.state_dict().items():
            mixed = value.is_floating_point() and t > 0
            wanted[key] = decay * wanted[key] + (1 - decay) * value if mixed else value.clone()
    found = average.module.state_dict()
    assert set(found) == set(wanted)
    assert all(torch.allclose(found[key], wanted[key], atol=1e-6) for key in wanted)
    assert found["1.num_batches_tracked"] == 6


def test_a_young_average_forgets_the_untrained_weights() -> None:
    """With a decay of 0.9999 alone, half of the first weights would be left after 7000 updates."""
    network = nn.Linear(1, 1)
    average = moving_average(network, 0.9999)
    average.update_parameters(network)
    with torch.no_grad():
        old = network.weight.item()
        network.weight.fill_(old + 1)
    for _ in range(50):
        average.update_parameters(network)
    assert average.module.weight.item() == pytest.approx(old + 1, abs=1e-3)
