"""A small decoder as a list of plain layers and their weights, for a browser to run without the server.

The list is read off the module tree of `model.decoder`, and what it says is compared with `model.decode` before it is
sent. A decoder that is large, or has a layer that is not known here, is not described: the route decodes for it.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

MOST_WEIGHTS = 2_500_000  # 10 MB, sent once
MOST_PRODUCTS = 12_000_000  # multiplications for one image: some 10 ms in a browser
CLOSE = 1e-4
ENDS = ("none", "sigmoid", "clamp")


class Decoder(NamedTuple):
    """id: a digest of the rest. payload: uint32 length of a JSON header, the header, float32 weights in its order.

    All little-endian, the header padded with blanks to whole words.
    """

    id: str
    payload: bytes


def describe(model: Any) -> Decoder | None:
    """The decoder of a model in eval mode, or None where the server has to decode."""
    try:
        layers, weights = _layers(model.decoder)
    except (AttributeError, NotImplementedError):
        return None
    products = sum(layer.get("products", 0) for layer in layers)
    if sum(map(len, weights)) > MOST_WEIGHTS or products > MOST_PRODUCTS:
        return None
    end = _end(model, layers)
    if end is None:
        return None
    numbers = np.concatenate(weights).astype("<f4").tobytes()
    layers.append({"kind": end, "shape": layers[-1]["shape"]})
    id_ = hashlib.sha256(json.dumps(layers).encode() + numbers).hexdigest()[:16]
    header = json.dumps({"id": id_, "layers": layers}).encode()
    header += b" " * (-len(header) % 4)
    return Decoder(id_, len(header).to_bytes(4, "little") + header + numbers)


def _leaves(module: Any) -> Iterator[Any]:
    from torch import nn

    if isinstance(module, nn.Sequential):
        for child in module:
            yield from _leaves(child)
    else:
        yield module


def _layers(decoder: Any) -> tuple[list[dict[str, Any]], list[np.ndarray]]:
    """Layers in order, each with the shape it gives, and their weights. NotImplementedError for one not known."""
    layers: list[dict[str, Any]] = []
    weights: list[np.ndarray] = []
    shape: tuple[int, ...] = ()
    for module in _leaves(decoder):
        for layer in _layer(module, shape):
            shape = layer["shape"]
            layers.append(layer)
        if hasattr(module, "weight"):
            numbers = [each.detach().float().cpu().numpy().ravel() for each in module.parameters()]
            weights += numbers if len(numbers) == 2 else [*numbers, np.zeros(shape[0], np.float32)]
    return layers, weights


def _layer(module: Any, shape: tuple[int, ...]) -> list[dict[str, Any]]:
    """What one module does to an image of this shape."""
    from torch import nn

    from genmodels.nn import Crop

    after: tuple[int, ...]
    if isinstance(module, nn.Linear):
        size, after = module.in_features * module.out_features, (module.out_features,)
        linear = {"kind": "linear", "inputs": module.in_features, "shape": after, "products": size}
        return [linear, {"kind": "relu", "shape": after}] if getattr(module, "relu", False) else [linear]
    if isinstance(module, nn.Conv2d) and _plain(module):
        (side, _), after = module.kernel_size, (module.out_channels, *shape[1:])
        products = module.in_channels * side * side * math.prod(after)
        return [{"kind": "conv", "inputs": module.in_channels, "side": side, "shape": after, "products": products}]
    if isinstance(module, nn.PixelShuffle):
        factor = module.upscale_factor
        after = (shape[0] // factor**2, shape[1] * factor, shape[2] * factor)
        return [{"kind": "shuffle", "factor": factor, "shape": after}]
    if isinstance(module, Crop):
        return [{"kind": "crop", "shape": (shape[0], min(module.height, shape[1]), min(module.width, shape[2]))}]
    if isinstance(module, nn.Unflatten):
        return [{"kind": "none", "shape": tuple(module.unflattened_size)}]
    if isinstance(module, nn.ReLU):
        return [{"kind": "relu", "shape": shape}]
    if isinstance(module, nn.Identity):
        return []
    raise NotImplementedError(type(module).__name__)


def _plain(conv: Any) -> bool:
    """A convolution that keeps the size of the grid, with nothing special about it."""
    (side, across), (pad, pad_across) = conv.kernel_size, conv.padding
    same = side == across and pad == pad_across == side // 2 and side % 2 == 1
    return same and conv.stride == conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"


def _end(model: Any, layers: list[dict[str, Any]]) -> str | None:
    """What `decode` does after the layers: nothing, a sigmoid or a clamp to [0, 1]. None if it is something else."""
    import torch

    from genmodels.training import evaluating

    if not layers or layers[0]["kind"] != "linear":
        return None
    with evaluating(model):
        z = 3 * torch.randn(8, layers[0]["inputs"], generator=torch.Generator().manual_seed(0))
        found, raw = model.decode(z), model.decoder(z)
    if tuple(found.shape[1:]) != tuple(layers[-1]["shape"]):
        return None
    for name, guess in zip(ENDS, (raw, raw.sigmoid(), raw.clamp(0, 1)), strict=True):
        if guess.shape == found.shape and torch.allclose(guess, found, atol=CLOSE):
            return name
    return None
