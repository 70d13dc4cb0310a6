"""Affine couplings: invertible steps whose Jacobian is triangular, so that a density follows its points exactly.

Part of the vector, k, stays as it is and says how the rest, m, is stretched and moved:

    k' = k,    m' = m exp(s(k)) + t(k),    log |det dx'/dx| = sum s(k),    m = (m' - t(k)) exp(-s(k)).

A flow of them takes data to a standard normal, and log p(x) = log N(z; 0, I) + log |det dz/dx|.

L. Dinh, J. Sohl-Dickstein and S. Bengio (2017), Density estimation using Real NVP, https://arxiv.org/abs/1605.08803,
Eq. 2, 3 and 6 to 8; s is bounded by a tanh with a learned factor (section 4.1).
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.config import UserError
from genmodels.nn import Layers, Shape, mlp

CPU = "cpu"  # where splits are drawn: a model is also built without memory, on "meta", to learn its shapes


def log_standard_normal(z: Tensor) -> Tensor:
    """log N(z; 0, I), summed over all but the first dimension. (N, ...) -> (N,), nats."""
    z = z.flatten(1)
    return -0.5 * (z.square().sum(1) + z.shape[1] * math.log(2 * math.pi))


class Bounded(nn.Module):
    """s -> b tanh(s / b): as it is near 0, never beyond the learned bound b, so that no exp(s) runs away."""

    def __init__(self, *shape: int) -> None:
        super().__init__()
        self.log_bound = nn.Parameter(torch.zeros(shape))

    def forward(self, s: Tensor) -> Tensor:
        bound = self.log_bound.exp()
        return bound * torch.tanh(s / bound)


class AffineCoupling(nn.Module):
    """The numbers, or channels, at `kept` stay; the others are moved by what the network sees in them.

    network: (N, kept, ...) -> (N, 2 moved, ...), its last layer is made small, so that it starts near the identity.
    In evaluation both ways compute the same s and t; while it trains in bfloat16 the log-determinant is still that of
    the step made, but going back is as exact as bfloat16 only.
    """

    kept: Tensor
    moved: Tensor

    def __init__(self, kept: Tensor, moved: Tensor, network: nn.Sequential) -> None:
        super().__init__()
        self.register_buffer("kept", kept, persistent=False)  # neither learned nor to be believed of a file
        self.register_buffer("moved", moved, persistent=False)
        self.network = network
        last: Any = network[-1]
        self.bounded = Bounded(len(moved), *[1] * (last.weight.dim() - 2))
        with torch.no_grad():  # of zero weights the layers before would learn nothing in the first step
            last.weight.mul_(0.05)
            last.bias.zero_()

    def scale_and_shift(self, kept: Tensor) -> tuple[Tensor, Tensor]:
        """s and t. (N, kept, ...) -> (N, moved, ...), (N, moved, ...)."""
        s, t = self.network(kept).chunk(2, 1)
        return self.bounded(s), t

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, D, ...) -> (N, D, ...) and log |det|, (N,)."""
        s, t = self.scale_and_shift(x.index_select(1, self.kept))
        moved = x.index_select(1, self.moved) * s.exp() + t
        return x.index_copy(1, self.moved, moved), s.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """(N, D, ...) -> (N, D, ...)."""
        s, t = self.scale_and_shift(y.index_select(1, self.kept))
        return y.index_copy(1, self.moved, (y.index_select(1, self.moved) - t) * (-s).exp())


class CheckerboardCoupling(nn.Module):
    """The black squares of a picture stay and move the white ones, or the other way round: for sides of any length.

    network: (N, C, H, W) with nothing where pixels are to be moved -> (N, 2 C, H, W).
    """

    kept: Tensor

    def __init__(self, shape: Shape, white: bool, network: nn.Sequential) -> None:
        super().__init__()
        channels, height, width = shape
        squares = (torch.arange(height)[:, None] + torch.arange(width)) % 2
        self.register_buffer("kept", (squares == white).float(), persistent=False)
        self.inner = AffineCoupling(torch.arange(channels), torch.arange(channels), network)

    def scale_and_shift(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s and t, 0 where pixels stay. (N, C, H, W) -> the same, twice."""
        s, t = self.inner.scale_and_shift(x * self.kept)
        return s * (1 - self.kept), t * (1 - self.kept)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> (N, C, H, W) and log |det|, (N,)."""
        s, t = self.scale_and_shift(x)
        return x * s.exp() + t, s.flatten(1).sum(1)

    def inverse(self, y: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        s, t = self.scale_and_shift(y)
        return (y - t) * (-s).exp()


class Couplings(nn.Sequential):
    """One after another, both ways, their log-determinants added up."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, ...) -> (N, ...), (N,)."""
        log_det = x.new_zeros(x.shape[:1])
        for coupling in self:
            x, change = coupling(x)
            log_det = log_det + change
        return x, log_det

    def inverse(self, y: Tensor) -> Tensor:
        """(N, ...) -> (N, ...)."""
        coupling: Any
        for coupling in reversed(self):
            y = coupling.inverse(y)
        return y


class Flow(nn.Module):
    """What takes x to a standard normal z of as many numbers: `forward(x)` -> z, log |det dz/dx|; `inverse(z)` -> x."""

    def log_prob(self, x: Tensor) -> Tensor:
        """log p(x) = log N(z; 0, I) + log |det dz/dx|, nats. (N, ...) -> (N,)."""
        z, log_det = self(x)
        return log_standard_normal(z) + log_det


class CouplingFlow(Flow):
    """So many affine couplings on vectors; what one keeps the next one moves, and every pair splits anew.

    size: numbers in a vector, at least 2. hidden: neurons in each of a network's two hidden layers.
    `standardize` first where the data is far from mean 0 and deviation 1. In float64 where it is made `.double()`.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int, layers: int, hidden: int) -> None:
        super().__init__()
        if size < 2:
            raise UserError("A coupling flow needs at least two numbers, one to be moved by the other, not one.")
        self.size = size
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        generator, halves = torch.Generator().manual_seed(0), []
        for _ in range((layers + 1) // 2):  # of two numbers there is one split only, and taking turns matters
            order = torch.randperm(size, generator=generator, device=CPU) if size > 2 else torch.arange(2, device=CPU)
            first, second = (part.sort().values for part in order.tensor_split(2))
            halves += [(first, second), (second, first)]
        networks = (mlp(len(kept), hidden, hidden, 2 * len(moved)) for kept, moved in halves[:layers])
        self.couplings = Couplings(*map(AffineCoupling, *zip(*halves[:layers], strict=True), networks))

    @torch.no_grad()
    def standardize(self, x: Tensor) -> None:
        """Let the flow begin with (x - mean) / deviation of this data, which its Jacobian counts. (N, D)."""
        self.mean.copy_(x.mean(0))
        self.deviation.copy_(x.std(0).clamp(min=1e-6))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and log |det dz/dx|. (N, D) -> (N, D), (N,)."""
        z, log_det = self.couplings((x - self.mean) / self.deviation)
        return z, log_det - self.deviation.log().sum()

    def inverse(self, z: Tensor) -> Tensor:
        """The x of each z. (N, D) -> (N, D)."""
        return self.couplings.inverse(z) * self.deviation + self.mean


NEIGHBOURS = ((0, 3), (0, 1), (0, 2))  # which two of four move the others: by diagonals, rows, and columns


def channel_halves(channels: int, layers: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Which channels stay and which are moved, taking turns; every pair splits another way, each fourth at random."""
    generator, first = torch.Generator().manual_seed(0), torch.empty(0)
    for layer in range(layers):
        if layer % 2 == 0:
            way = layer // 2 % 4
            if way < 3:
                first = torch.isin(torch.arange(channels, device=CPU) % 4, torch.tensor(NEIGHBOURS[way], device=CPU))
            else:
                first = torch.randperm(channels, generator=generator, device=CPU) < channels // 2
        halves = first.nonzero().flatten(), (~first).nonzero().flatten()
        yield halves if layer % 2 == 0 else halves[::-1]


def even(shape: Shape) -> bool:
    """Whether four neighbours can become four channels."""
    return shape[1] % 2 == shape[2] % 2 == 0


def conv_network(inputs: int, width: int, outputs: int) -> Layers:
    """(N, inputs, H, W) -> (N, outputs, H, W): 3x3, 1x1 and 3x3 convolutions, as in Glow."""
    layers = [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, width, 1), nn.ReLU()]
    return Layers(*layers, nn.Conv2d(width, outputs, 3, padding=1))


class MultiScaleFlow(Flow):
    """Convolutional couplings on pictures, so many on each scale; between scales half the channels are done.

    Where both sides are even, four neighbours become four channels (space to depth), and half of the channels moves
    the other half: a checkerboard of the pixels first, then rows, columns, and channels at random. Odd sides cannot
    be halved: there the couplings are checkerboards, and no scale follows. width: channels in the networks of the
    first scale, twice as many on the next. Sections 3.4 to 3.6 of Real NVP; network of
    D. Kingma and P. Dhariwal (2018), Glow, https://arxiv.org/abs/1807.03039.
    """

    def __init__(self, shape: Shape, layers: int, width: int) -> None:
        super().__init__()
        channels, height, wide = shape
        self.squeezes = even(shape)
        self.shapes: list[Shape] = []  # of what each level sees
        levels: list[Couplings] = []
        if not self.squeezes:
            networks = [conv_network(channels, width, 2 * channels) for _ in range(layers)]
            levels = [Couplings(*(CheckerboardCoupling(shape, k % 2 == 1, net) for k, net in enumerate(networks)))]
            self.shapes = [shape]
        while even((channels, height, wide)) and len(levels) < (3 if max(shape) > 32 else 2):
            channels, height, wide = 4 * channels, height // 2, wide // 2
            halves = channel_halves(channels, layers)
            networks = [conv_network(channels // 2, width * 2 ** len(levels), channels) for _ in range(layers)]
            levels.append(Couplings(*(AffineCoupling(*half, net) for half, net in zip(halves, networks, strict=True))))
            self.shapes.append((channels, height, wide))
            channels //= 2
        self.levels = nn.ModuleList(levels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z and log |det dz/dx|. (N, C, H, W) -> (N, C H W), (N,)."""
        done, log_det = [], x.new_zeros(x.shape[:1])
        for number, level in enumerate(self.levels, 1):
            x, change = level(F.pixel_unshuffle(x, 2) if self.squeezes else x)
            log_det = log_det + change
            if number < len(self.levels):
                done.append(x[:, 1::2].flatten(1))
                x = x[:, ::2]
        return torch.cat([*done, x.flatten(1)], 1), log_det

    def inverse(self, z: Tensor) -> Tensor:
        """The picture of each z. (N, C H W) -> (N, C, H, W)."""
        *done, last = self.shapes
        parts = z.split([*(math.prod(shape) // 2 for shape in done), math.prod(last)], 1)
        x = parts[-1].unflatten(1, last)
        for number in reversed(range(len(self.levels))):
            if number < len(done):
                x = torch.stack([x, parts[number].reshape(x.shape)], 2).flatten(1, 2)
            level: Any = self.levels[number]
            x = level.inverse(x)
            x = F.pixel_shuffle(x, 2) if self.squeezes else x
        return x
