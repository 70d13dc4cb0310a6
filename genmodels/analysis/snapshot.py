"""What a model knows at one moment: samples from fixed noise, reconstructions of fixed images, codes, KL."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from genmodels.analysis.judge import Judge
from genmodels.families.contract import abilities, latent_size
from genmodels.training import Images, evaluating, scaled

SAMPLES = 64
VIEWS = 16
POINTS = 1000
READ = 500  # samples that a judge reads
NUMBERS = 4_000_000  # kept of codes that are as long as their images: 16 MB


def to_bytes(images: Tensor) -> np.ndarray:
    """Float in [0, 1] -> uint8, rounded. (N, C, H, W)."""
    return images.float().clamp(0, 1).mul(255).round().byte().contiguous().cpu().numpy()


def in_chunks(function: Callable[[Tensor], Any], images: Tensor, size: int = 1000) -> list[Any]:
    """`function` of each stack of uint8 images, as floats."""
    return [function(scaled(chunk)) for chunk in images.split(size)]


def codes(model: Any, images: Tensor) -> dict[str, np.ndarray]:
    """Codes of uint8 images (N, C, H, W): 'means' (N, L) and, where there is a posterior, 'log_vars' (N, L)."""
    with evaluating(model):
        if "posterior" in abilities(model):
            normals = in_chunks(model.posterior, images)
            means, scales = torch.cat([q.mean for q in normals]), torch.cat([q.stddev for q in normals])
            return {"means": means.cpu().numpy(), "log_vars": (2 * scales.log()).cpu().numpy()}
        if "encode" in abilities(model):
            return {"means": torch.cat(in_chunks(model.encode, images)).cpu().numpy()}
    return {}


def kl_per_dimension(means: np.ndarray, log_vars: np.ndarray) -> np.ndarray:
    """Mean KL to the standard normal of each latent dimension. (N, L), (N, L) -> (L,), nats."""
    return 0.5 * (means**2 + np.exp(log_vars) - 1 - log_vars).mean(0)


def centroids(means: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The mean code of each class; not a number for a class without images. (N, L), (N,) -> (classes, L)."""
    empty = np.full(means.shape[1], np.nan, np.float32)
    return np.stack([means[labels == c].mean(0) if (labels == c).any() else empty for c in range(classes)])


def one_of_each(labels: Tensor, count: int) -> Tensor:
    """Indices of `count` images that go round the classes: the first of each, then the second. (N,) -> (count,)."""
    rank = torch.zeros_like(labels)
    for label in labels.unique():
        members = labels == label
        rank[members] = torch.arange(int(members.sum()), device=labels.device)
    return (rank * (int(labels.max()) + 1) + labels).argsort(stable=True)[:count]


def fixed_samples(model: Any, generator: torch.Generator) -> Tensor:
    """Samples to be watched. -> (64, C, H, W).

    Of a conditional model, the classes one after the other, round and round, with the same noise in each round: shown
    in as many columns as there are classes, a column is a class and a row is a noise.
    """
    if "conditional" not in abilities(model):
        return model.sample(SAMPLES, generator=generator)
    order = torch.arange(SAMPLES, device=generator.device)
    noise = torch.randn(SAMPLES, latent_size(model), generator=generator, device=generator.device)
    return model.decode(noise[order // model.classes], order % model.classes)


def read_as(model: Any, judge: Judge, generator: torch.Generator) -> np.ndarray:
    """How many of 500 samples a judge reads as each class. -> int64 (K,)."""
    read = judge.probabilities(to_bytes(model.sample(READ, generator=generator))).argmax(1)
    return np.bincount(read, minlength=len(judge.facts.classes))


def snapshot(
    model: Any, test: Images, step: int, judge: Judge | None = None, samples: bool = True
) -> dict[str, np.ndarray]:
    """Pictures as uint8 (N, C, H, W), 'latents' (1000, L) with their 'labels', 'kl' (L,): what the model has of these.

    No latents where there is a limit to how many images are encoded: such codes are dear, or as long as images.

    The noise and the images are the same at every step, so that one can watch the same thing change. With a judge,
    'read_as' (K,) of a model that plays against a discriminator. samples: whether any are made.
    """
    generator = torch.Generator(test.images.device).manual_seed(0)
    chosen = one_of_each(test.labels, VIEWS)
    arrays: dict[str, np.ndarray] = {}
    with evaluating(model):
        if samples and "sample" in abilities(model):
            arrays["samples"] = to_bytes(fixed_samples(model, generator))
        batch = test.at(chosen).batch(generator, step)
        arrays |= {name: to_bytes(pictures) for name, pictures in model.views(batch).items()}
        if judge and "sample" in abilities(model) and "d_fake" in model.LOSSES:
            arrays["read_as"] = read_as(model, judge, generator)  # last: the noise of the others stays the same
    known = {} if hasattr(model, "CODES_AT_MOST") else codes(model, test.images[:POINTS])
    if known:
        arrays |= {"latents": known["means"], "labels": test.labels[:POINTS].cpu().numpy()}
    if "log_vars" in known:
        arrays["kl"] = kl_per_dimension(known["means"], known["log_vars"])
    return arrays


def latent_space(model: Any, test: Images, classes: int, most: int | None = None) -> dict[str, np.ndarray]:
    """What `latents.npz` holds: codes of the test images, their labels, and the centroid of each class.

    Of a model that encodes only so many, or `most` if that is less, 'which' (N,): the numbers of these test images,
    as many of each class as there are.
    """
    limits = [] if most is None else [most]
    if hasattr(model, "CODES_AT_MOST"):
        limits += [model.CODES_AT_MOST, NUMBERS // latent_size(model)]
    which = one_of_each(test.labels, min(limits)).sort().values if limits else None
    known = codes(model, test.images if which is None else test.images[which])
    if not known:
        return {}
    labels = (test.labels if which is None else test.labels[which]).cpu().numpy()
    if which is not None:
        known["which"] = which.cpu().numpy()
    return known | {"labels": labels, "centroids": centroids(known["means"], labels, max(1, classes))}
