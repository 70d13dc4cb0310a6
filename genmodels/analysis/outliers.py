"""How odd an image is to a model: scores of which the higher is the odder, and how well a score tells two sets apart.

A likelihood alone can rank strangers as more normal than the data: what is simple, or has little ink, is likely under a
model of what is not (E. Nalisnick et al. 2019, Do deep generative models know what they don't know?,
https://arxiv.org/abs/1810.09136). So there are scores that correct it, and the plain ink count to be compared with.
"""

import math
import zlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmodels.analysis.metrics import log_weights
from genmodels.analysis.snapshot import codes, to_bytes
from genmodels.config import UserError
from genmodels.families.contract import Likelihood, abilities
from genmodels.families.vae import kl_to_standard_normal
from genmodels.training import evaluating, scaled

AT_ONCE = 250  # images between two words with who waits
DRAWS, WEIGHTED = 16, 50  # codes by which an ELBO is estimated, and a likelihood
STEPS, RATE, EACH = 50, 0.1, 2  # of Adam on a posterior: how many, how large at first, codes drawn in each
NEIGHBOUR = 10  # the nearest training code whose distance counts
CODED = 10_000  # training images whose codes are what others are compared with
FEWEST = 10  # images of which a set has to consist
LN2 = math.log(2)


class Known:
    """The codes of training images, float32 (M, L), from which others are far or not."""

    def __init__(self, means: np.ndarray) -> None:
        self.means = means.astype(np.float64)
        if len(means) < FEWEST:
            raise UserError(f"A distance to the training codes needs {FEWEST} of them at least, not {len(means)}.")

    @classmethod
    def of(cls, model: Any, images: np.ndarray) -> "Known":
        """images: uint8 (N, C, H, W), the training part; the same 10,000 of them at each call. Raises UserError."""
        rows = np.sort(np.random.default_rng(0).permutation(len(images))[:CODED])
        return cls(codes(model, torch.from_numpy(images[rows]))["means"])

    @cached_property
    def precision(self) -> np.ndarray:
        """Of their covariance; where they fill a part of the space alone, of that part. (L, L)."""
        return np.linalg.pinv(np.atleast_2d(np.cov(self.means, rowvar=False)), hermitian=True)

    @cached_property
    def neighbours(self) -> Any:
        from sklearn.neighbors import NearestNeighbors

        return NearestNeighbors(n_neighbors=NEIGHBOUR).fit(self.means)


class Score(NamedTuple):
    """How it is called, in what it counts, what it says and where from. needs: abilities, each "this|or that".

    of: from the model, images float (N, C, H, W) in [0, 1], the randomness and the codes of training images (None but
    for those with `distance`) to (N,).
    """

    title: str
    unit: str
    help: str
    needs: tuple[str, ...]
    of: Callable[[Any, Tensor, torch.Generator, Known], Tensor]
    distance: bool = False


def reconstruction(model: Any, x: Tensor) -> Tensor:
    """||x - g(f(x))||², summed over pixels. (N, C, H, W) -> (N,)."""
    return (x - model.decode(model.encode(x))).square().flatten(1).sum(1)


def elbo(model: Likelihood, observed: Tensor, mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
    """E_q[log p(x|z)] - KL(q || N(0, I)) for q = N(mean, exp(log_var)), nats; noise (K, N, L) stands for q's draws.

    (N, C, H, W), (N, L), (N, L) -> (N,).
    """
    z = mean + torch.exp(0.5 * log_var) * noise
    repeated = observed.expand(len(noise), *observed.shape).flatten(0, 1)
    likelihood = model.log_likelihood(repeated, z.flatten(0, 1)).view(len(noise), -1).mean(0)
    return likelihood - kl_to_standard_normal(mean, log_var).sum(1)


def encoded(model: Likelihood, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log-variance of the encoder's own posterior. (N, C, H, W) -> (N, L), (N, L)."""
    q = model.posterior(observed)
    return q.mean, 2 * q.stddev.log()


def negative_elbo(model: Likelihood, x: Tensor, generator: torch.Generator) -> Tensor:
    """-ELBO of what the likelihood is of, nats. (N, C, H, W) -> (N,)."""
    observed = model.observe(x, generator)
    mean, log_var = encoded(model, observed)
    return -elbo(model, observed, mean, log_var, _noise(DRAWS, mean, generator))


def likelihood_regret(
    model: Likelihood, x: Tensor, generator: torch.Generator, steps: int = STEPS, draws: int = DRAWS
) -> Tensor:
    """By how many nats the ELBO of each image grows when its posterior is made the best for this image alone: what the
    encoder, which knows the data's kind, did not know of it. (N, C, H, W) -> (N,), 0 or more.

    Z. Xiao, Q. Yan and Y. Amit (2020), Likelihood regret, https://arxiv.org/abs/2003.02977; in its faster form,
    in which mean and log-variance are optimised and not the encoder's weights. Both ELBOs have the same draws.
    """
    observed = model.observe(x, generator)
    first = encoded(model, observed)
    best = [each.detach().clone().requires_grad_() for each in first]
    optimizer = torch.optim.Adam(best, RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        with torch.enable_grad():
            lost = -elbo(model, observed, best[0], best[1].clamp(-15, 10), _noise(EACH, first[0], generator)).sum()
            # The weights are those of a model that others share: they get no gradient.
            best[0].grad, best[1].grad = torch.autograd.grad(lost, best)
        optimizer.step()
        falling.step()
    noise = _noise(draws, first[0], generator)
    after = elbo(model, observed, best[0].detach(), best[1].detach().clamp(-15, 10), noise)
    return (after - elbo(model, observed, *first, noise)).clamp(min=0)  # the first is one of those to choose from


def _noise(draws: int, like: Tensor, generator: torch.Generator) -> Tensor:
    """Standard normal, in pairs of opposite ones: the mean of what is linear in it is exact. -> (draws, N, L)."""
    half = torch.randn(draws // 2, *like.shape, generator=generator, device=like.device)
    return torch.cat([half, -half])


def complexity(images: np.ndarray) -> np.ndarray:
    """Length of each image as a file, in nats: 8 log 2 for each byte that zlib, which packs a PNG, makes of its pixels.

    uint8 (N, C, H, W) -> float64 (N,). J. Serrà et al. (2020), Input complexity and out-of-distribution detection with
    likelihood-based generative models, https://arxiv.org/abs/1909.11480.
    """
    return np.array([8 * LN2 * len(zlib.compress(each.tobytes(), 9)) for each in np.ascontiguousarray(images)])


def corrected_likelihood(model: Any, x: Tensor, generator: torch.Generator) -> Tensor:
    """-log p(x) - complexity(x), nats: how much longer the model's own code of the image is than that of a general
    compressor; from the same paper. (N, C, H, W) -> (N,).

    The compressor is given the very pixels that the likelihood is of: black and white ones of a Bernoulli, else the 256
    levels; a Gaussian density times the distance of two levels is the probability of one.
    """
    if "log_prob" in abilities(model):
        observed, nll = x, -model.log_prob(x, generator)
    else:
        observed = model.observe(x, generator)
        weights = log_weights(model, observed, WEIGHTED, generator)
        nll = math.log(WEIGHTED) - weights.logsumexp(0)
        if hasattr(model, "log_sigma"):
            nll = nll + math.log(255) * x[0].numel()
    return nll - torch.from_numpy(complexity(to_bytes(observed))).to(nll)


def mahalanobis(model: Any, x: Tensor, known: Known) -> Tensor:
    """From the mean of the training codes, in their own standard deviations. (N, C, H, W) -> (N,).

    K. Lee et al. (2018), https://arxiv.org/abs/1807.03888, here with one Gaussian for all classes.
    """
    apart = model.encode(x).double().cpu().numpy() - known.means.mean(0)
    squared = np.einsum("nl,lk,nk->n", apart, known.precision, apart)
    return torch.from_numpy(np.sqrt(squared.clip(0))).float()


def neighbour_distance(model: Any, x: Tensor, known: Known) -> Tensor:
    """From the code of the tenth nearest training image. (N, C, H, W) -> (N,).

    Y. Sun et al. (2022), https://arxiv.org/abs/2204.06507.
    """
    distances, _ = known.neighbours.kneighbors(model.encode(x).double().cpu().numpy())
    return torch.from_numpy(distances[:, -1]).float()


def ink(x: Tensor) -> Tensor:
    """Light in an image, counted in white pixels: the sum over pixels of the mean over channels. -> (N,)."""
    return x.mean(1).flatten(1).sum(1)


# Those that correct the likelihood first, then the raw ones, then the one that needs no model.
SCORES: dict[str, Score] = {
    "regret": Score(
        "Likelihood regret", "nats",
        "How much likelier the image becomes when its code is fitted to this image alone, beyond what the encoder "
        "knew: for the data's own kind hardly any (Xiao et al. 2020).",
        ("log_likelihood",), lambda model, x, generator, _: likelihood_regret(model, x, generator),
    ),
    "corrected": Score(
        "Corrected likelihood", "nats",
        "Minus log-likelihood, less the length of the image as a compressed file: a simple image has to be likelier to "
        "count as normal (Serrà et al. 2020).",
        ("log_likelihood|log_prob",), lambda model, x, generator, _: corrected_likelihood(model, x, generator),
    ),
    "reconstruction": Score(
        "Reconstruction", "squared error",
        "How far the model's copy is from the image: squared differences, summed over pixels.",
        ("encode", "decode"), lambda model, x, generator, _: reconstruction(model, x),
    ),
    "elbo": Score(
        "Negative ELBO", "nats",
        "An upper bound on minus the log-likelihood: reconstruction and KL (Kingma and Welling 2014).",
        ("log_likelihood",), lambda model, x, generator, _: negative_elbo(model, x, generator),
    ),
    "likelihood": Score(
        "Exact likelihood", "nats",
        "Minus the log-likelihood itself, which a flow can tell (Dinh et al. 2017).",
        ("log_prob",), lambda model, x, generator, _: -model.log_prob(x, generator),
    ),
    "mahalanobis": Score(
        "Mahalanobis distance", "standard deviations",
        "How far the code is from the middle of the training codes, measured by their own spread (Lee et al. 2018).",
        ("encode",), lambda model, x, generator, known: mahalanobis(model, x, known), True,
    ),
    "neighbours": Score(
        "Neighbour distance", "in code space",
        "How far the code is from that of the tenth nearest training image (Sun et al. 2022).",
        ("encode",), lambda model, x, generator, known: neighbour_distance(model, x, known), True,
    ),
    "ink": Score(
        "Ink", "pixels", "The plain count of light pixels. It needs no model: what is no better has learned nothing.",
        (), lambda model, x, generator, _: ink(x),
    ),
}  # fmt: skip
LIKELIHOODS = ("elbo", "likelihood")  # the raw ones, which can be the wrong way round


def able(model: Any) -> list[str]:
    """The scores that a model, or a class of models, can give.

    Codes as long as their image have no loss that a copy could show, and a distance between them is one between images.
    """
    can, whole = set(abilities(model)), hasattr(model, "CODES_AT_MOST")
    return [
        name
        for name, score in SCORES.items()
        if all(can & set(need.split("|")) for need in score.needs) and not (whole and "encode" in score.needs)
    ]


def in_parts(
    model: Any, images: np.ndarray, which: str, generator: torch.Generator, known: Known | None = None
) -> Iterator[np.ndarray]:
    """`scores` a few images at a time: progress can be told, and the work left, between two of them."""
    if which not in able(model):
        raise UserError(f"This model cannot tell '{which[:40]}' of an image; it can tell: {', '.join(able(model))}.")
    if SCORES[which].distance and known is None:
        raise UserError(f"The score '{which}' is a distance to the codes of training images, and none are given.")
    for first in range(0, len(images), AT_ONCE):
        with evaluating(model):
            x = scaled(torch.from_numpy(np.ascontiguousarray(images[first : first + AT_ONCE])))
            found = SCORES[which].of(model, x, generator, known)  # type: ignore[arg-type]
        if not found.isfinite().all():
            raise UserError(
                "For some images the score is not a number: the model's weights are damaged; train it again."
            )
        yield found.double().numpy()


def scores(
    model: Any, images: np.ndarray, which: str, generator: torch.Generator, known: Known | None = None
) -> np.ndarray:
    """One of SCORES for each image, the higher the odder. uint8 (N, C, H, W) -> float64 (N,). Raises UserError.

    known: the codes of training images, for a distance.
    """
    return np.concatenate([*in_parts(model, images, which, generator, known)])


class Separation(NamedTuple):
    """How well a score tells odd images from usual ones. auroc: the share of pairs, an odd and a usual image, in which
    the odd one has the higher score; 1/2 is guessing. false, true: shares of usual and of odd images beyond each
    threshold, from the highest, float (K,)."""

    auroc: float
    false: np.ndarray
    true: np.ndarray


def separation(usual: np.ndarray, odd: np.ndarray) -> Separation:
    """Of the scores of two sets, (N,) and (M,). Raises UserError."""
    from sklearn.metrics import roc_auc_score, roc_curve

    if min(len(usual), len(odd)) < FEWEST:
        raise UserError(
            f"Too few images: each side needs {FEWEST} at least, and there are {len(usual)} and {len(odd)}."
        )
    truth, both = np.repeat([0, 1], [len(usual), len(odd)]), np.concatenate([usual, odd])
    false, true, _ = roc_curve(truth, both)
    return Separation(float(roc_auc_score(truth, both)), false, true)


def aurocs(model: Any, train: np.ndarray, usual: np.ndarray, odd: np.ndarray, seed: int = 0) -> dict[str, float]:
    """The AUROC of every score that the model can give: a row of a table. Raises UserError.

    train: what it learned from; usual: others of that kind; odd: of another. Each uint8 (N, C, H, W).
    """
    shapes = ["×".join(map(str, each.shape[1:])) for each in (train, usual, odd)]
    if len(set(shapes)) > 1:
        raise UserError(f"Some of the images have another size: {', '.join(shapes)}; load all in that of the run.")
    names, found = able(model), {}
    known = Known.of(model, train) if any(SCORES[name].distance for name in names) else None
    for name in names:
        generator = torch.Generator().manual_seed(seed)
        both = [scores(model, each, name, generator, known) for each in (usual, odd)]
        found[name] = separation(*both).auroc
    return found
