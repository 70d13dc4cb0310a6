"""A trained run opened to be looked into: its model, the codes of its test images, and the images themselves."""

from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch

from genmodels import data
from genmodels.analysis.snapshot import centroids, codes, kl_per_dimension, latent_space, to_bytes
from genmodels.analysis.transitions import nearest_to
from genmodels.config import UserError
from genmodels.families.contract import abilities
from genmodels.media import is_light_on_dark
from genmodels.opening import one_copy, opened_once
from genmodels.runs import Run
from genmodels.training import Images, evaluating

AT_ONCE = 1000  # codes that are decoded together
MANY = 12  # runs that are remembered: each is small, without its dataset
WHILE_WAITED_FOR = 100  # images that are encoded when a run is opened, where it takes steps
DEAD = 0.01  # KL in nats, or variance of the codes without a posterior, below which a dimension says nothing


@dataclass(frozen=True)
class Inside:
    """Shared by all who look: nothing in it is changed, trained or moved.

    images: uint8 (N, C, H, W), the test images that were encoded, in their order; which: int (N,), their numbers among
    all test images. real: whether these are the true ones; where the
    dataset is not on this machine, reconstructions stand in. means: float32 (N, L), log_vars: the same or None.
    labels: int64 (N,). factors: float32 (N, F), F may be 0.
    """

    run: Run
    model: Any
    images: np.ndarray
    real: bool
    means: np.ndarray
    log_vars: np.ndarray | None
    labels: np.ndarray
    classes: tuple[str, ...]
    factors: np.ndarray
    factor_names: tuple[str, ...]
    which: np.ndarray

    @cached_property
    def in_noise(self) -> bool:
        """Whether a code is noise of as many numbers as its image, of which no mean is the code of anything."""
        return hasattr(self.model, "latent_size")

    @cached_property
    def in_steps(self) -> bool:
        """Whether decoding goes step by step, and so takes long."""
        return "denoise_path" in abilities(self.model)

    @property
    def latent_size(self) -> int:
        return self.means.shape[1]

    @cached_property
    def light(self) -> bool:
        """Whether images are shown inverted, as dark ink on light paper."""
        return is_light_on_dark(self.images[:500])

    @cached_property
    def kl(self) -> np.ndarray | None:
        """Mean KL of each dimension, (L,) nats; None without a posterior."""
        return None if self.log_vars is None else kl_per_dimension(self.means, self.log_vars)

    @cached_property
    def importance(self) -> np.ndarray:
        """What each dimension carries, (L,): its KL in nats, or the variance of the codes without a posterior."""
        return self.means.var(0) if self.kl is None else self.kl

    @cached_property
    def order(self) -> np.ndarray:
        """Dimensions, the one that carries most first. (L,)."""
        return np.argsort(-self.importance, kind="stable")

    @cached_property
    def active(self) -> int:
        """How many dimensions of `order` are not dead: of noise, where no image can do without any, all of them."""
        return self.latent_size if self.in_noise else int((self.importance > DEAD).sum())

    @cached_property
    def spread(self) -> np.ndarray:
        """Centre and standard deviation of the codes to sample from: N(0, I) with a posterior or of noise. (2, L)."""
        if self.log_vars is not None or self.in_noise:
            return np.stack([np.zeros(self.latent_size), np.ones(self.latent_size)]).astype(np.float32)
        return np.stack([self.means.mean(0), self.means.std(0)])

    @cached_property
    def centroids(self) -> np.ndarray:
        """The mean code of each class; not a number for a class without images. (classes, L)."""
        return centroids(self.means, self.labels, len(self.classes))

    @cached_property
    def stops(self) -> np.ndarray:
        """What stands for each class on a tour, (classes, L): its centroid, or of noise the code nearest to that."""
        return nearest_to(self.means, self.labels, self.centroids) if self.in_noise else self.centroids

    def encode(self, images: np.ndarray) -> np.ndarray:
        """Codes without noise. uint8 (N, C, H, W) -> float32 (N, L)."""
        return codes(self.model, torch.from_numpy(np.ascontiguousarray(images)))["means"]

    def decode(self, z: np.ndarray) -> np.ndarray:
        """Mean images. (N, L) -> uint8 (N, C, H, W)."""
        return _decode(self.model, z)

    def reconstruct(self, which: np.ndarray) -> np.ndarray:
        """The model's copies of these test images. int (n,) -> uint8 (n, C, H, W)."""
        return self.decode(self.means[which])


def _decode(model: Any, z: np.ndarray) -> np.ndarray:
    with evaluating(model):
        parts = torch.from_numpy(np.asarray(z, np.float32)).split(AT_ONCE)
        return np.concatenate([to_bytes(model.decode(part)) for part in parts])  # floats of one part at a time


@partial(opened_once, keep=MANY)
def open_inside(run: Run, present: bool) -> Inside:
    """The run, from memory where it was opened before and has not learned since. Raises UserError."""
    config, model = run.config, run.model
    if "encode" not in abilities(model):
        raise UserError(f"The run {run.id} cannot encode images, so it has no latent space to look into.")
    known, dataset, test = run.arrays("latents"), None, None
    if present:
        dataset = data.load(config.dataset, config.size, config.channels, config.seed)
        test = Images.of(dataset, "test")
        if dataset.shape != config.shape or not _of_these(known, test):
            dataset = test = None  # changed since: what the run kept of it still holds
    if not {"means", "labels"} <= set(known):
        if test is None:
            raise UserError(f"The dataset of run {run.id} is not on this machine: fetch it on the Data page.")
        most = WHILE_WAITED_FOR if "denoise_path" in abilities(model) else None
        known = latent_space(model, test, len(config.classes), most)
    if not np.isfinite(known["means"]).all():
        raise UserError(f"The codes of run {run.id} are not numbers, so there is nothing to look at: train it again.")
    means, labels = known["means"].astype(np.float32), known["labels"].astype(np.int64)
    which, classes = known.get("which", np.arange(len(means))), config.classes or ("all",)
    if not len(means) == len(labels) == len(which) or not ((labels >= 0) & (labels < len(classes))).all():
        raise UserError(f"The file latents.npz of run {run.id} is damaged: delete it or train again.")
    images = one_copy(test.images.numpy()[which] if test is not None else _decode(model, known["means"]))
    factors, names = np.zeros((len(images), 0), np.float32), tuple[str, ...]()
    if dataset is not None:
        factors, names = dataset.factors[dataset.span("test")][which], dataset.factor_names
    log_vars = known["log_vars"].astype(np.float32) if "log_vars" in known else None
    return Inside(run, model, images, test is not None, means, log_vars, labels, classes, factors, names, which)


def _of_these(known: dict[str, np.ndarray], test: Images) -> bool:
    """Whether what the run kept can be of these test images: as many, or those that it names."""
    if "labels" not in known:
        return True
    labels = test.labels.numpy()
    if "which" not in known:
        return len(known["labels"]) == len(labels)
    which = known["which"]
    inside = which.ndim == 1 and which.dtype.kind in "iu" and ((which >= 0) & (which < len(labels))).all()
    return bool(inside) and np.array_equal(labels[which], known["labels"])
