"""A small decoder or generator as a list of plain layers and their weights, for a browser to run without a server.

The list is read off the module tree, and what it says is compared with `model.decode` before it is used. A network
that is large, or has a layer that is not known here, is not described.
"""

import hashlib
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

MOST_WEIGHTS = 2_500_000  # 10 MB, sent once
MOST_PRODUCTS = 12_000_000  # multiplications for one image: some 10 ms in a browser
CLOSE = 1e-4
ENDS = ("none", "sigmoid", "clamp")
Layer = dict[str, Any]


@dataclass(frozen=True)
class Decoder:
    """layers: what each one does, with the shape it gives. id: a digest of all of it. payload: see `_packed`."""

    layers: list[Layer]
    id: str
    payload: bytes

    @classmethod
    def of(cls, layers: list[Layer], weights: np.ndarray) -> "Decoder":
        """weights: float32, in the order of the layers."""
        name = hashlib.sha256(json.dumps(layers).encode() + weights.tobytes()).hexdigest()[:16]
        return cls(layers, name, _packed({"id": name, "layers": layers}, weights.astype("<f4")))

    @property
    def weights(self) -> np.ndarray:
        """As they lie in the payload: they are in memory once."""
        return np.frombuffer(self.payload, "<f4", offset=4 + int.from_bytes(self.payload[:4], "little"))

    def halved(self) -> bytes:
        """The payload with weights as float16, and a header that says so."""
        return _packed({"id": self.id, "layers": self.layers, "half": True}, self.weights.astype("<f2"))


def _packed(header: dict[str, Any], weights: np.ndarray) -> bytes:
    """For the browser: uint32 length of a JSON header, the header, padded with blanks to whole words, the weights; all
    little-endian."""
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 4)
    return len(text).to_bytes(4, "little") + text + weights.tobytes()


def describe(model: Any, most_weights: int = MOST_WEIGHTS, most_products: int = MOST_PRODUCTS) -> Decoder | None:
    """The decoder of a model in eval mode, or None where the server has to decode."""
    layers = layers_of(model)
    if not layers or size_of(layers) > most_weights or products_of(layers) > most_products:
        return None
    end = _end(model, layers)
    if end is None:
        return None
    weights = np.concatenate([each.ravel() for module in _leaves(network(model)) for each in _weights(module)])
    return Decoder.of([*layers, {"kind": end, "shape": layers[-1]["shape"]}], weights)


def network(model: Any) -> Any:
    """What draws the image: the decoder, or the averaged generator of a GAN. AttributeError where there is none."""
    return model.decoder if hasattr(model, "decoder") else model.average.module


def layers_of(model: Any) -> list[Layer]:
    """Layers in order, each with the shape it gives; none where one is not known. Asks for no weights."""
    layers: list[Layer] = []
    shape: tuple[int, ...] = ()
    try:
        for module in _leaves(network(model)):
            for layer in _layer(module, shape):
                shape = layer["shape"]
                layers.append(layer)
    except (AttributeError, NotImplementedError):
        return []
    return layers if layers and layers[0]["kind"] == "linear" else []


def size_of(layers: list[Layer]) -> int:
    """How many weights they have."""
    sizes = ((row_of(layer) + 1) * layer["shape"][0] * layer.get("classes", 1) for layer in layers if "inputs" in layer)
    return sum(sizes)


def products_of(layers: list[Layer]) -> int:
    """How many multiplications one image takes."""
    return sum(row_of(layer) * math.prod(layer["shape"]) for layer in layers if "inputs" in layer)


def row_of(layer: Layer) -> int:
    """How many numbers are weighed for one that comes out."""
    return layer["inputs"] * layer.get("side", 1) ** 2


def _leaves(module: Any) -> Iterator[Any]:
    from torch import nn

    from genmodels.families.conditional_gan import Generator

    if isinstance(module, Generator):
        for pair in zip_longest(module.parts, module.norms):
            for part in filter(None, pair):
                yield from _leaves(part)
    elif isinstance(module, nn.Sequential):
        for child in module:
            yield from _leaves(child)
    else:
        yield module


def _weights(module: Any) -> list[np.ndarray]:
    """What a layer multiplies by, and what it adds: normalisations as one gain and shift for each channel."""
    from torch import nn

    parameters = [each.detach().float().cpu().numpy() for each in module.parameters()]
    if not isinstance(module, nn.BatchNorm2d):
        lacks_bias = len(parameters) == 1
        return [*parameters, np.zeros(len(parameters[0]), np.float32)] if lacks_bias else parameters
    gain, shift = parameters
    mean, variance = (each.cpu().numpy() for each in (module.running_mean, module.running_var))  # type: ignore[union-attr]
    scale = 1 / np.sqrt(variance + module.eps)
    return [gain * scale, shift - gain * mean * scale]


def _layer(module: Any, shape: tuple[int, ...]) -> list[Layer]:
    """What one module does to an image of this shape."""
    from torch import nn

    from genmodels.families.conditional_gan import ClassNorm
    from genmodels.nn import Crop

    after: tuple[int, ...]
    if isinstance(module, nn.Linear):
        after = (module.out_features,)
        linear = {"kind": "linear", "inputs": module.in_features, "shape": after}
        return [linear, {"kind": "relu", "shape": after}] if getattr(module, "relu", False) else [linear]
    if isinstance(module, nn.Conv2d) and _plain(module):
        after = (module.out_channels, *shape[1:])
        return [{"kind": "conv", "inputs": module.in_channels, "side": module.kernel_size[0], "shape": after}]
    if isinstance(module, ClassNorm):
        return [{"kind": "scale", "inputs": 1, "classes": module.gain.num_embeddings, "shape": shape}]
    if isinstance(module, nn.BatchNorm2d) and module.affine and module.track_running_stats:
        return [{"kind": "scale", "inputs": 1, "shape": shape}]
    if isinstance(module, nn.PixelShuffle):
        factor = module.upscale_factor
        after = (shape[0] // factor**2, shape[1] * factor, shape[2] * factor)
        return [{"kind": "shuffle", "factor": factor, "shape": after}]
    if isinstance(module, Crop):
        return [{"kind": "crop", "shape": (shape[0], min(module.height, shape[1]), min(module.width, shape[2]))}]
    if isinstance(module, nn.Unflatten):
        return [{"kind": "none", "shape": tuple(module.unflattened_size)}]
    if isinstance(module, nn.ReLU | nn.Sigmoid):
        return [{"kind": type(module).__name__.lower(), "shape": shape}]
    if isinstance(module, nn.Identity):
        return []
    raise NotImplementedError(type(module).__name__)


def _plain(conv: Any) -> bool:
    """A convolution that keeps the size of the grid, with nothing special about it."""
    (side, across), (pad, pad_across) = conv.kernel_size, conv.padding
    same = side == across and pad == pad_across == side // 2 and side % 2 == 1
    return same and conv.stride == conv.dilation == (1, 1) and conv.groups == 1 and conv.padding_mode == "zeros"


def _end(model: Any, layers: list[Layer]) -> str | None:
    """What `decode` does after the layers: nothing, a sigmoid or a clamp to [0, 1]. None if it is something else."""
    import torch

    from genmodels.training import evaluating

    with evaluating(model):
        z = 3 * torch.randn(8, layers[0]["inputs"], generator=torch.Generator().manual_seed(0))
        words = (torch.arange(8) % model.classes,) if any("classes" in layer for layer in layers) else ()
        found, raw = model.decode(z, *words), network(model)(z, *words)
    if tuple(found.shape[1:]) != tuple(layers[-1]["shape"]):
        return None
    for name, guess in zip(ENDS, (raw, raw.sigmoid(), raw.clamp(0, 1)), strict=True):
        if guess.shape == found.shape and torch.allclose(guess, found, atol=CLOSE):
            return name
    return None
