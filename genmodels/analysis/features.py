"""What images are compared in: a judge's features, or those of a small autoencoder where there are no labels.

The autoencoder is trained on the training images of that very dataset and never changed. Nothing tells it which
differences matter, so its features are of looks alone and no accuracy can be given: values of two models are
compared where its hash is the same, and never with those in the features of a judge. It is trained when it is asked
for, and kept beside the judges in home()/judges.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn

from genmodels import data
from genmodels.analysis.judge import (
    Judge,
    base_of,
    content_of,
    file_name,
    fitted,
    judge_of,
    keep,
    kept_in,
    opened,
    unstyled,
)
from genmodels.config import Config, Schedule, knob
from genmodels.data.dataset import Dataset, Report
from genmodels.families import build, family
from genmodels.nn import Shape
from genmodels.training import Images, State, evaluating, measure, place, train

LARGEST = 32  # pixels a side that it sees: larger images are shrunk, and their sharpness is measured apart
FAMILY = "conv-autoencoder"
REPORTS = 100  # times that training says how far it is


class Settings(Config):
    """How the autoencoder is trained; written beside its weights."""

    latent_size: int = knob(64, 1, 256, help="Features: the numbers that an image is squeezed into.")
    width: int = knob(16, 4, 128, help="Channels after the first halving.")
    hidden_size: int = knob(256, 8, 2048, help="Width of the dense layer beside the code.")
    steps: int = knob(1000, 1, 100_000, help="Updates.")
    batch_size: int = knob(128, 1, 4096, help="Images in each update.")
    seed: int = knob(0, 0, help="Of the initial weights and the order of the images.")


class Facts(NamedTuple):
    """What is known of it. error: squared error per pixel of its copies of the n test images. data: as of a judge."""

    dataset: str
    shape: Shape
    error: float
    n: int
    parameters: int
    settings: dict[str, Any]
    sha256: str
    data: str = ""

    @property
    def features(self) -> int:
        """How many numbers an image is compared in."""
        return self.settings["latent_size"]

    @property
    def words(self) -> str:
        """Whose features they are, as the unit of a figure says it."""
        return f"autoencoder features, hash {self.sha256[:8]}, no accuracy"


class Unlabelled(NamedTuple):
    """A trained autoencoder that compares images and cannot say what they are. style: as of a Judge."""

    network: nn.Module
    facts: Facts
    style: str = ""

    def features(self, images: np.ndarray) -> np.ndarray:
        """Its code of each image. uint8 (N, C, H, W) of any size, grey or colour -> float32 (N, F)."""
        return self.read(images)[0]

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As a Judge has it, with the probabilities of no class: (N, F), (N, 0)."""
        parts = torch.from_numpy(unstyled(images, self.style)).split(500)
        with evaluating(self.network):
            codes = [self.network.encode(fitted(part, self.facts.shape)) for part in parts]  # type: ignore[operator]
        return torch.cat(codes).numpy(), np.zeros((len(images), 0), np.float32)


Reader = Judge | Unlabelled


def reader_of(dataset: str, classes: tuple[str, ...]) -> Reader | None:
    """The judge of a dataset with classes, the autoencoder of one without; None where it was not trained yet.

    Raises UserError where its weights are not those that were kept.
    """
    return judge_of(dataset, classes) if len(classes) > 1 else unlabelled_of(dataset)


def unlabelled_of(dataset: str) -> Unlabelled | None:
    """The autoencoder that was trained here for these images; None where there is none, or they are others now."""
    base, style = base_of(dataset)
    told = _told(base)
    if not told.exists():
        return None
    found = _opened(told, told.stat().st_mtime_ns)
    return found._replace(style=style) if content_of(base) in (None, found.facts.data) else None


def train_unlabelled(
    dataset: str, report: Report = lambda share, text: None, settings: Settings | None = None
) -> Unlabelled:
    """Train on the training images, measure on the test images, keep. A quarter of a minute. Raises UserError."""
    dataset, style = base_of(dataset)
    content, loaded = content_of(dataset) or "", _small(dataset)
    settings, test = settings or Settings(), Images.of(loaded, "test")
    network = _network(settings, loaded.shape)
    schedule = Schedule(budget=settings.steps, unit="steps", batch_size=settings.batch_size, decay="cosine")
    images, state = Images.of(loaded, "train"), State.new(network, settings.seed)
    for step in train(network, images, schedule, state):
        if step.number % max(1, settings.steps // REPORTS) == 0:
            report(step.number / settings.steps, "Training an autoencoder to compare images without labels")
    network.eval()
    error = measure(network, test, settings.steps)["reconstruction"] / test.images[0].numel()
    count = sum(p.numel() for p in network.parameters())
    facts = Facts(dataset, loaded.shape, error, len(test.images), count, settings.model_dump(), "", content)
    return Unlabelled(network, keep(network, facts, _told(dataset)), style)


def _small(dataset: str) -> Dataset:
    return data.load(dataset, min(LARGEST, data.entry(dataset).size))


def _network(settings: Settings, shape: Shape) -> nn.Module:
    knobs = settings.model_dump(include={"latent_size", "width", "hidden_size"})
    network = build(FAMILY, family(FAMILY).Config.of(knobs), shape, 0, settings.seed)
    return place(network, torch.device("cpu"))


def _told(dataset: str) -> Path:
    return kept_in(dataset) / f"{file_name(dataset)}-autoencoder.json"


@lru_cache(maxsize=8)
def _opened(told: Path, stamp: int) -> Unlabelled:
    network, facts = opened(told, _built)
    return Unlabelled(network, facts)


def _built(told: Mapping[str, Any]) -> tuple[nn.Module, Facts]:
    channels, height, width = told["shape"]
    facts = Facts(**{**told, "shape": (channels, height, width)})
    return _network(Settings.of(facts.settings), facts.shape), facts
