"""A U-Net that is told how noisy the image is and, where there are classes, which one to expect.

J. Ho, A. Jain and P. Abbeel (2020), Denoising diffusion probabilistic models, https://arxiv.org/abs/2006.11239,
appendix B, without attention and for small images: blocks of 2x2 pixels become channels first (Shi et al., 2016,
https://arxiv.org/abs/1609.05158), which is a quarter of the work, and then there is one halving, two above 32 pixels.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels.nn import Shape

GROUPS = 8


def sinusoids(level: Tensor, size: int) -> Tensor:
    """Sines and cosines of 1000 x level at frequencies from 1 to 1/10000. (N,) -> (N, size)."""
    frequencies = torch.exp(torch.arange(size // 2, device=level.device) * (-math.log(10_000) / (size // 2 - 1)))
    angles = 1000 * level[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], 1)


class Normalised(nn.GroupNorm):
    """Group normalisation and SiLU, in float32: in bfloat16 a processor takes five times as long."""

    def __init__(self, channels: int) -> None:
        super().__init__(math.gcd(GROUPS, channels), channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.silu(super().forward(x.float()))


class Block(nn.Module):
    """Two convolutions beside a way past them; the first is shifted by what is told. (N, C, H, W), (N, E)."""

    def __init__(self, inputs: int, outputs: int, told: int) -> None:
        super().__init__()
        self.first = nn.Sequential(Normalised(inputs), nn.Conv2d(inputs, outputs, 3, padding=1))
        self.shift = nn.Linear(told, outputs)
        self.second = nn.Sequential(Normalised(outputs), nn.Conv2d(outputs, outputs, 3, padding=1))
        self.past = nn.Conv2d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        return self.second(self.first(x) + self.shift(told)[..., None, None]) + self.past(x)


class Down(nn.Module):
    """Two blocks, then the halved grid and back, then two blocks that see both. Without a grid below: the blocks."""

    def __init__(self, width: int, below: list[int], told: int) -> None:
        super().__init__()
        self.before = nn.ModuleList(Block(width, width, told) for _ in range(2))
        if not below:
            self.halve = None
            return
        self.halve = nn.Conv2d(width, below[0], 3, stride=2, padding=1)
        self.below = Down(below[0], below[1:], told)
        self.after = nn.ModuleList([Block(width + below[0], width, told), Block(width, width, told)])

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        for block in self.before:
            x = block(x, told)
        if self.halve is None:
            return x
        up = F.interpolate(self.below(self.halve(x), told), scale_factor=2.0)
        x = torch.cat([x, up], 1)
        for block in self.after:
            x = block(x, told)
        return x


class UNet(nn.Module):
    """(N, C, H, W), level (N,) in [0, 1], class (N,) -> (N, C, H, W), unbounded.

    Any H and W: the image is padded below and on the right with its last row and column until it can be halved, and
    what is made is cropped.
    """

    in_bfloat16 = False  # products, where training asks for it; both ends are float32

    def __init__(self, shape: Shape, width: int, classes: int = 0) -> None:
        super().__init__()
        halvings = 2 if max(shape[1:]) > 32 else 1
        told = 2 * width
        self.multiple = 2 ** (1 + halvings)
        self.level = nn.Sequential(nn.Linear(told, told), nn.SiLU(), nn.Linear(told, told))
        self.classes = nn.Embedding(classes, told) if classes else None
        self.enter = nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * shape[0], width, 3, padding=1))
        self.body = Down(width, [2 * width] * halvings, told)
        self.leave = nn.Sequential(Normalised(width), nn.Conv2d(width, 4 * shape[0], 3, padding=1), nn.PixelShuffle(2))
        self.told = told

    def forward(self, x: Tensor, level: Tensor, labels: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.in_bfloat16 and self.training):
            told = self.level(sinusoids(level, self.told))
            if self.classes is not None and labels is not None:
                told = told + self.classes(labels)
            told = F.silu(told)
            height, wide = x.shape[2:]
            room = (0, -wide % self.multiple, 0, -height % self.multiple)
            y = self.leave(self.body(self.enter(F.pad(x, room, mode="replicate")), told))
        return y[..., :height, :wide].float()
