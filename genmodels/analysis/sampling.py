"""New images of any family that can make them, from a seed; nearer to the typical where one asks for it.

The truncation trick draws each number of the noise from a normal that is cut off at a threshold, so that nothing far
from the centre is decoded: clearer images, and less variety. A. Brock, J. Donahue and K. Simonyan (2019), Large scale
GAN training for high fidelity natural image synthesis, https://arxiv.org/abs/1809.11096, section 3.1.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmodels.analysis.snapshot import to_bytes
from genmodels.config import UserError
from genmodels.families.contract import abilities, latent_size
from genmodels.training import evaluating

WHOLE = 6.0  # standard deviations: a threshold that cuts nothing off in practice
AT_ONCE = 250  # images that are made together
FEW = 20  # the same where each takes many steps


def noise(n: int, size: int, seed: int, threshold: float = WHOLE) -> np.ndarray:
    """N(0, I) with each number within ±threshold; one seed gives the same noise, squeezed as the threshold falls.

    -> float32 (n, size). By the inverse of the distribution function: rejection would draw others.
    """
    below = torch.special.ndtr(torch.tensor(-threshold, dtype=torch.float64))
    shares = torch.rand(n, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return torch.special.ndtri(below + shares * (1 - 2 * below)).clamp(-threshold, threshold).float().numpy()


def decoded(
    model: Any, z: np.ndarray, labels: Sequence[int] | None = None, said: Callable[[float], Any] = lambda share: None
) -> np.ndarray:
    """Images of these codes, of these classes where the model can be asked. (N, L), (N,) -> uint8 (N, C, H, W).

    said: is told the share that is done, now and then. Raises UserError where they are not numbers.
    """
    together = FEW if "denoise_path" in abilities(model) else AT_ONCE
    told = None if labels is None else torch.tensor(labels).split(together)
    made = []
    with evaluating(model):
        for i, part in enumerate(torch.from_numpy(z).split(together)):
            said(i * together / len(z))
            made.append(model.decode(part, *([told[i]] if told else [])))
        return to_bytes(finite(torch.cat(made)))


def samples(
    model: Any, n: int, seed: int, classes: Sequence[int] | None = None, threshold: float = WHOLE,
    codes_from: Callable[[np.ndarray], np.ndarray] | None = None, said: Callable[[float], Any] = lambda share: None,
) -> np.ndarray:  # fmt: skip
    """n noises, each of them in each of these classes. -> uint8 (max(1, classes), n, C, H, W). Raises UserError.

    codes_from: what takes noise to codes, (n, L) -> (n, L), where that is not the code itself. said: see `decoded`.
    """
    asked: list[int | None] = [None] if classes is None else list(classes)
    if "decode" in abilities(model):
        z = noise(n, latent_size(model), seed, threshold)
        z = codes_from(z) if codes_from else z
        labels = None if classes is None else [each for each in classes for _ in range(n)]
        images = decoded(model, np.tile(z, (len(asked), 1)), labels, said)
        return images.reshape(len(asked), n, *images.shape[1:])
    with evaluating(model):  # its own noise, the same for each class
        rows = [
            model.sample(n, None if c is None else torch.full((n,), c), torch.Generator().manual_seed(seed))
            for c in asked
        ]
        return np.stack([to_bytes(finite(row)) for row in rows])


def finite(images: Tensor) -> Tensor:
    """The images, where they are numbers. Raises UserError."""
    if not images.isfinite().all():
        raise UserError("This run makes images that are not numbers, so there is nothing to look at: train it again.")
    return images
