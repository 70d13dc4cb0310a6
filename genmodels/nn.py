"""Blocks used by two families or more: bodies that read an image of any size, and bodies that draw one."""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

Shape = tuple[int, int, int]  # channels, height, width


def adam(parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
    """Adam (Kingma and Ba, 2015) in one fused kernel: the plain one is a third of a small model's step."""
    return torch.optim.Adam(parameters, learning_rate, fused=True)


class Float32(nn.Module):
    """Leaves mixed precision: a sum over hundreds of pixels in bfloat16 would keep two digits."""

    def forward(self, x: Tensor) -> Tensor:
        return x.float()


class DenseProduct(torch.autograd.Function):
    """x W^T + b, then ReLU where asked, in bfloat16 with float32 weights and float32 gradients of them.

    What autocast does to `nn.Linear` and `nn.ReLU`, without a dozen small operations on either way.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, relu: bool) -> Tensor:
        x16, weight16 = x.bfloat16(), weight.bfloat16()
        y = torch.addmm(bias.bfloat16(), x16, weight16.t())
        if relu:
            y.relu_()
        ctx.save_for_backward(x16, weight16, y if relu else None)
        ctx.dtype = x.dtype
        return y

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None]:
        x16, weight16, y = ctx.saved_tensors
        slope = slopes[0] if y is None else slopes[0] * (y > 0)
        to_x = (slope @ weight16).to(ctx.dtype) if ctx.needs_input_grad[0] else None
        return to_x, (slope.t() @ x16).float(), slope.sum(0, dtype=torch.float32), None


class Dense(nn.Linear):
    """A linear layer with its ReLU. (N, inputs) -> (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, relu: bool = True) -> None:
        super().__init__(inputs, outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        kind = x.device.type
        if torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) == torch.bfloat16:
            with torch.autocast(kind, enabled=False):
                return DenseProduct.apply(x, self.weight, self.bias, self.relu)
        y = super().forward(x)
        return y.relu() if self.relu else y


def mlp(*sizes: int) -> nn.Sequential:
    """Linear layers of the given sizes with ReLU between them. (N, sizes[0]) -> (N, sizes[-1]), float32."""
    pairs = list(pairwise(sizes))
    layers = [Dense(*pair, relu=number < len(pairs)) for number, pair in enumerate(pairs, 1)]
    return nn.Sequential(*layers, Float32())


def mlp_encoder(shape: Shape, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, outputs) through hidden layers of the given sizes."""
    return nn.Sequential(nn.Flatten(), *mlp(math.prod(shape), *hidden, outputs))


def mlp_decoder(latent_size: int, hidden: tuple[int, ...], shape: Shape) -> nn.Sequential:
    """(N, latent_size) -> (N, C, H, W), unbounded, through hidden layers of the given sizes."""
    return nn.Sequential(*mlp(latent_size, *hidden, math.prod(shape)), nn.Unflatten(1, shape))


def conv_grids(shape: Shape, width: int) -> list[Shape]:
    """The grids a convolutional body passes through: halved and widened twice, three times above 32 pixels."""
    channels, height, wide = shape
    grids = [(channels, height, wide)]
    for level in range(3 if max(height, wide) > 32 else 2):
        height, wide = (height + 1) // 2, (wide + 1) // 2
        grids.append((width * 2**level, height, wide))
    return grids


def conv_encoder(shape: Shape, width: int, hidden_size: int, outputs: int) -> nn.Sequential:
    """(N, C, H, W) -> (N, outputs): strided 3x3 convolutions, then one hidden layer. Any H and W."""
    grids = conv_grids(shape, width)
    layers: list[nn.Module] = []
    for (inputs, _, _), (channels, _, _) in pairwise(grids):
        layers += [nn.Conv2d(inputs, channels, 3, stride=2, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), *mlp(math.prod(grids[-1]), hidden_size, outputs))


class Crop(nn.Module):
    """Cuts a grid that was rounded up when halved back to its size."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]


def conv_decoder(latent_size: int, hidden_size: int, width: int, shape: Shape) -> nn.Sequential:
    """(N, latent_size) -> (N, C, H, W), unbounded: the mirror of `conv_encoder`.

    Each doubling is one 3x3 convolution on the small grid and a pixel shuffle (Shi et al., 2016,
    https://arxiv.org/abs/1609.05158): the work of a transposed convolution without its slow kernel.
    """
    grids = conv_grids(shape, width)[::-1]
    layers: list[nn.Module] = [
        Dense(latent_size, hidden_size),
        Dense(hidden_size, math.prod(grids[0])),
        nn.Unflatten(1, grids[0]),
    ]  # fmt: skip
    for (inputs, _, _), (channels, height, wide) in pairwise(grids):
        layers += [nn.Conv2d(inputs, 4 * channels, 3, padding=1), nn.PixelShuffle(2), Crop(height, wide), nn.ReLU()]
    return nn.Sequential(*layers[:-1], Float32())
