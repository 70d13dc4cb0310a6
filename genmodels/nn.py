"""Blocks used by two families or more: bodies that read an image of any size, and bodies that draw one."""

import math
from collections.abc import Iterable
from itertools import groupby, pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.optim.swa_utils import AveragedModel

Shape = tuple[int, int, int]  # channels, height, width


def adam(parameters: Iterable[nn.Parameter], learning_rate: float, beta1: float = 0.9) -> torch.optim.Adam:
    """Adam (Kingma and Ba, 2015) in one fused kernel: the plain one is a third of a small model's step."""
    return torch.optim.Adam(parameters, learning_rate, (beta1, 0.999), fused=True)


def moving_average(network: nn.Module, decay: float) -> AveragedModel:
    """A copy of the network that follows it: average <- d average + (1 - d) weight, its normalisation likewise.

    d = min(decay, (1 + t) / (10 + t)) after t updates, so that a young average forgets the untrained weights.
    """

    @torch.no_grad()
    def mix(averages: Any, weights: Any, updates: Tensor | int) -> None:
        t = int(updates)
        if averages[0].is_floating_point():
            torch._foreach_lerp_(averages, weights, 1 - min(decay, (1 + t) / (10 + t)))
        else:  # counters
            torch._foreach_copy_(averages, weights)

    return AveragedModel(network, multi_avg_fn=mix, use_buffers=True).requires_grad_(False)


def followed(model: Any) -> dict[str, str]:
    """Name of each weight that a moving average follows -> the name of that average. Both in the model's state."""
    names = {module: name for name, module in model.named_modules()}
    pairs = model.averages().values() if hasattr(model, "averages") else ()
    return {
        f"{names[network]}.{key}": f"{names[average]}.module.{key}"
        for average, network in pairs
        for key in network.state_dict()
    }


def completed(weights: dict[str, Tensor], model: Any) -> dict[str, Tensor]:
    """Weights of a model, where a network that was kept only as its moving average is that average."""
    return {own: weights[average] for own, average in followed(model).items() if average in weights} | weights


class DenseProducts(torch.autograd.Function):
    """Linear layers one after another, each with its ReLU where asked, in bfloat16 with float32 weights and gradients.

    What autocast does to `nn.Linear` and `nn.ReLU`, as one step of autograd instead of a dozen for each layer.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, relus: tuple[bool, ...], *parameters: Tensor) -> Tensor:
        y, saved = x.bfloat16(), []
        for relu, weight, bias in zip(relus, parameters[::2], parameters[1::2], strict=True):
            weight16 = weight.bfloat16()
            saved += [y, weight16]
            y = torch.addmm(bias.bfloat16(), y, weight16.t())
            if relu:
                y.relu_()
        ctx.save_for_backward(*saved, y)
        ctx.relus, ctx.dtype = relus, x.dtype
        return y.float()

    @staticmethod
    @once_differentiable  # what is saved would give a wrong second derivative
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        *saved, y = ctx.saved_tensors
        slope, found = slopes[0].bfloat16(), []
        for number in reversed(range(len(ctx.relus))):
            x, weight = saved[2 * number : 2 * number + 2]
            if ctx.relus[number]:
                slope = torch.ops.aten.threshold_backward(slope, y, 0)  # eight times as fast as a product with a mask
            found += [slope.sum(0, dtype=torch.float32), (slope.t() @ x).float()]
            wanted = number > 0 or ctx.needs_input_grad[0]
            slope, y = slope @ weight if wanted else slope, x
        return slope.to(ctx.dtype) if ctx.needs_input_grad[0] else None, None, *found[::-1]


class Dense(nn.Linear):
    """A linear layer with its ReLU. (N, inputs) -> (N, outputs)."""

    def __init__(self, inputs: int, outputs: int, relu: bool = True) -> None:
        super().__init__(inputs, outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y.relu() if self.relu else y


class Layers(nn.Sequential):
    """Layers one after another, float32 at both ends; inside, where training asks for it, products in bfloat16.

    Only networks leave float32, never a loss: a sum over hundreds of pixels in bfloat16 would keep two digits.
    """

    in_bfloat16 = False

    def forward(self, x: Tensor) -> Tensor:
        if not (self.in_bfloat16 and self.training):
            return super().forward(x)
        with torch.autocast(x.device.type, torch.bfloat16):
            for dense, group in groupby(self, lambda layer: isinstance(layer, Dense)):
                layers: list[Any] = list(group)
                if dense:
                    parameters = [parameter for layer in layers for parameter in (layer.weight, layer.bias)]
                    x = DenseProducts.apply(x, tuple(layer.relu for layer in layers), *parameters)
                else:
                    for layer in layers:
                        x = layer(x)
        return x.float()


def set_bfloat16(model: nn.Module, wanted: bool) -> None:
    """Let the networks of a model compute their products in bfloat16 while they train, or not."""
    for module in model.modules():
        if hasattr(module, "in_bfloat16"):
            module.in_bfloat16 = wanted  # type: ignore[assignment]


def mlp(*sizes: int) -> Layers:
    """Linear layers of the given sizes with ReLU between them. (N, sizes[0]) -> (N, sizes[-1])."""
    pairs = list(pairwise(sizes))
    layers = [Dense(*pair, relu=number < len(pairs)) for number, pair in enumerate(pairs, 1)]
    return Layers(*layers)


def mlp_encoder(shape: Shape, hidden: tuple[int, ...], outputs: int) -> Layers:
    """(N, C, H, W) -> (N, outputs) through hidden layers of the given sizes."""
    return Layers(nn.Flatten(), *mlp(math.prod(shape), *hidden, outputs))


def mlp_decoder(latent_size: int, hidden: tuple[int, ...], shape: Shape) -> Layers:
    """(N, latent_size) -> (N, C, H, W), unbounded, through hidden layers of the given sizes."""
    return Layers(*mlp(latent_size, *hidden, math.prod(shape)), nn.Unflatten(1, shape))


def conv_grids(shape: Shape, width: int) -> list[Shape]:
    """The grids a convolutional body passes through: halved and widened twice, three times above 32 pixels."""
    channels, height, wide = shape
    grids = [(channels, height, wide)]
    for level in range(3 if max(height, wide) > 32 else 2):
        height, wide = (height + 1) // 2, (wide + 1) // 2
        grids.append((width * 2**level, height, wide))
    return grids


def conv_encoder(shape: Shape, width: int, hidden_size: int, outputs: int) -> Layers:
    """(N, C, H, W) -> (N, outputs): strided 3x3 convolutions, then one hidden layer. Any H and W."""
    grids = conv_grids(shape, width)
    layers: list[nn.Module] = []
    for (inputs, _, _), (channels, _, _) in pairwise(grids):
        layers += [nn.Conv2d(inputs, channels, 3, stride=2, padding=1), nn.ReLU()]
    return Layers(*layers, nn.Flatten(), *mlp(math.prod(grids[-1]), hidden_size, outputs))


class Crop(nn.Module):
    """Cuts a grid that was rounded up when halved back to its size."""

    def __init__(self, height: int, width: int) -> None:
        super().__init__()
        self.height, self.width = height, width

    def forward(self, x: Tensor) -> Tensor:
        return x[..., : self.height, : self.width]


def conv_decoder(latent_size: int, hidden_size: int, width: int, shape: Shape) -> Layers:
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
    return Layers(*layers[:-1])


class Centre(nn.Module):
    """Images in [0, 1] -> [-1, 1], so that middle grey is nothing."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x - 1


class InstanceNorm(nn.InstanceNorm2d):
    """Each channel of each image to mean 0 and variance 1, then a learned scale and shift. No other image is looked
    at and no mean remembered, so an image gives the same alone, in a batch, and while training."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        # It forgets the layout, and a ReLU between two layouts takes three times as long.
        return super().forward(x).contiguous(memory_format=torch.channels_last)


class Skip(nn.Sequential):
    """What goes in, beside what its layers make of it. (N, C, H, W) -> (N, C + made, H, W)."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, super().forward(x)], 1)


def doubled(inputs: int, shape: Shape) -> list[nn.Module]:
    """Layers from `inputs` channels on a halved grid to this shape, by pixel shuffle, with instance normalisation."""
    channels, height, wide = shape
    conv = nn.Conv2d(inputs, 4 * channels, 3, padding=1)
    return [conv, nn.PixelShuffle(2), Crop(height, wide), InstanceNorm(channels), nn.ReLU()]


def patch_discriminator(channels: int, shape: Shape, width: int) -> Layers:
    """(N, channels, H, W) in [0, 1] -> a grid of scores (N, 1, h, w), one for each overlapping patch: higher for real.

    PatchGAN of Isola et al. (2017, https://arxiv.org/abs/1611.07004): a patch is 15 pixels wide, 31 above 32 pixels.
    """
    grids = conv_grids((channels, *shape[1:]), width)
    layers: list[nn.Module] = [Centre()]
    for level, ((inputs, _, _), (outputs, _, _)) in enumerate(pairwise(grids)):
        layers += [nn.Conv2d(inputs, outputs, 3, stride=2, padding=1)]
        layers += [InstanceNorm(outputs)] if level else []
        layers += [nn.LeakyReLU(0.2)]
    return Layers(*layers, nn.Conv2d(grids[-1][0], 1, 3, padding=1))
