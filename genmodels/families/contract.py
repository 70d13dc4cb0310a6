"""What every family promises, and the abilities it may have. A page asks for an ability, never for a class name."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Update = Callable[[Tensor, str], None]


@dataclass(frozen=True)
class Batch:
    """What one step learns from. images: float (N, C, H, W) in [0, 1]. labels: int64 (N,).

    sources, source_labels: of a family that translates, what it translates from; images are then what should come out.
    """

    images: Tensor
    labels: Tensor
    generator: torch.Generator  # the only source of randomness
    step: int  # updates made before this one, for what warms up
    sources: Tensor | None = None
    source_labels: Tensor | None = None


@runtime_checkable
class Model(Protocol):
    """A `torch.nn.Module` built as `Model(config, shape, classes)`, with what the loop needs."""

    LOSSES: ClassVar[dict[str, str]]  # name -> unit, in the order they are shown; the first is the main figure

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """One optimiser for each name that `step` updates."""

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        """Compute the losses, call `update(loss, name)` for each optimiser, and return every loss by its name."""

    def views(self, batch: Batch) -> dict[str, Tensor]:
        """Named pictures worth showing while it trains, each (N, C, H, W) in [0, 1]."""


@runtime_checkable
class Averaged(Protocol):
    """A model that is sampled from with the moving average of its weights; the loop keeps it."""

    def averages(self) -> dict[str, tuple[AveragedModel, nn.Module]]:
        """Name of an optimiser -> the average and the network that it follows, after each of its updates."""


@runtime_checkable
class Resampling(Protocol):
    def draw_weights(self, images: Iterable[Tensor], labels: Tensor) -> Tensor | None:
        """How likely each training image is to be drawn in the next pass, float64 (N,) on the processor, of sum 1; None
        for an ordinary pass. Asked before each pass but the first.

        images: all of them in order, a few at a time, each (n, C, H, W) in [0, 1]. labels: int64 (N,).
        """


@runtime_checkable
class Competing(Protocol):
    """Networks that play against each other: only together do their losses say how the game stands."""

    CHARTS: ClassVar[tuple[tuple[str, ...], ...]]  # losses that share a chart; any other has its own


@runtime_checkable
class Encode(Protocol):
    def encode(self, x: Tensor) -> Tensor:
        """The code of each image, without noise. (N, C, H, W) -> (N, L)."""


@runtime_checkable
class Posterior(Protocol):
    def posterior(self, x: Tensor) -> torch.distributions.Normal:
        """q(z | x), one Normal for each latent dimension. (N, C, H, W) -> batch shape (N, L)."""


@runtime_checkable
class Likelihood(Posterior, Protocol):
    """A bound on log p(x) can be computed, and NLL by sampling; LOSSES has negative_elbo, reconstruction and kl."""

    def observe(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Draw what the likelihood is of: binary pixels for a Bernoulli, the image itself for a Gaussian."""

    def log_likelihood(self, observed: Tensor, z: Tensor, visible: Tensor | None = None) -> Tensor:
        """log p(x | z) in nats, summed over pixels. (N, C, H, W), (N, L) -> (N,).

        visible: bool (C, H, W), the only pixels to be counted.
        """


@runtime_checkable
class Decode(Protocol):
    def decode(self, z: Tensor) -> Tensor:
        """The mean image of each code. (N, L) -> (N, C, H, W) in [0, 1]."""


@runtime_checkable
class Sample(Protocol):
    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        """New images. -> (n, C, H, W) in [0, 1]."""


@runtime_checkable
class Conditional(Protocol):
    """`sample` and `decode` draw what they are asked for: `decode(z, labels)` with labels int64 (N,)."""

    conditional: ClassVar[bool]


@runtime_checkable
class Translate(Protocol):
    DIRECTIONS: ClassVar[tuple[str, ...]]  # "forward": from sources to images; "back", where it can

    def translate(self, x: Tensor, direction: str = "forward") -> Tensor:
        """Each image as one of the other kind. (N, C, H, W) in [0, 1] -> the same."""


@runtime_checkable
class LogProb(Protocol):
    def log_prob(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """log P(x) in nats of each image as one of 256 levels a pixel, every Jacobian counted. (N, C, H, W) -> (N,).

        A lower bound, by one draw of dequantization noise; bits per dimension are -log P / (C H W log 2).
        """


class Frame(NamedTuple):
    """One moment on the way from noise to image. level: 1 is noise alone, 0 the image.

    noisy: x_t in the model's own range, [-1, 1] and noise. predicted: the image that it expects, in [0, 1]. Both
    (N, C, H, W).
    """

    level: float
    noisy: Tensor
    predicted: Tensor


@runtime_checkable
class Denoise(Protocol):
    """x_t = alpha x_0 + sigma noise, with x_0 in [-1, 1]. labels None: no class in particular. Raises UserError."""

    SAMPLERS: ClassVar[tuple[str, ...]]

    def signal(self, level: float) -> tuple[float, float]:
        """alpha and sigma at a level in [0, 1]."""

    def noised(self, x: Tensor, level: float, generator: torch.Generator) -> Tensor:
        """x_t of images in [0, 1]. (N, C, H, W) -> the same."""

    def denoise_step(
        self, noisy: Tensor, level: float, to: float, labels: Tensor | None = None,
        generator: torch.Generator | None = None, *, sampler: str = "ddim", guidance: float = 1.0,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """x at the lower level `to`, and the image in [0, 1] that x_t is expected to be."""

    def denoise_path(
        self, noisy: Tensor, level: float = 1.0, labels: Tensor | None = None,
        generator: torch.Generator | None = None, *, steps: int = 50, sampler: str = "ddim", guidance: float = 1.0,
    ) -> Iterator[Frame]:  # fmt: skip
        """From x_t down to the image: a frame before any step and one after each, the last at level 0.

        What is wrong is raised at the call, not with the first frame.
        """


@runtime_checkable
class Classify(Protocol):
    def classify(self, x: Tensor) -> Tensor:
        """Unnormalised log-probabilities of the classes. (N, C, H, W) -> (N, classes)."""


ABILITIES: dict[str, Any] = {
    "encode": Encode,
    "posterior": Posterior,
    "log_likelihood": Likelihood,
    "decode": Decode,
    "sample": Sample,
    "classify": Classify,
    "conditional": Conditional,
    "translate": Translate,
    "log_prob": LogProb,
    "denoise_path": Denoise,
}


def abilities(model: object) -> list[str]:
    """The abilities that a model, or a class of models, has."""
    return [name for name in ABILITIES if hasattr(model, name)]


def latent_size(model: Any) -> int:
    """Numbers in a code: a knob, or as many as an image has where the family keeps the dimension."""
    return getattr(model, "latent_size", None) or model.config.latent_size
