"""Numbers for a trained model: name -> Metric, on images it has not seen."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from genmodels.analysis.distances import SHARPNESS, sharpness
from genmodels.analysis.snapshot import codes, in_chunks
from genmodels.data.dataset import Dataset
from genmodels.families.contract import Likelihood, LogProb, abilities
from genmodels.training import Images, evaluating, scaled, some

AT_ONCE = 500  # images whose bound is computed together


class Metric(NamedTuple):
    """One number with what is needed to read it. floor: what real data scores, where that is known.

    parts: what the number is made of, such as the KL of each dimension, by name.
    """

    value: float
    unit: str
    better: Literal["lower", "higher", "neither"]
    n: int
    floor: float | None = None
    parts: Mapping[str, float] = MappingProxyType({})

    def entry(self) -> dict[str, Any]:
        """As summary.json has it: parts only where there are any."""
        found = self._asdict()
        parts = dict(found.pop("parts"))
        return found | ({"parts": parts} if parts else {})


def log_weights(model: Likelihood, observed: Tensor, draws: int, generator: torch.Generator) -> Tensor:
    """log p(x|z) + log p(z) - log q(z|x) for z ~ q(z|x), nats. (N, C, H, W) -> (draws, N).

    Y. Burda, R. Grosse and R. Salakhutdinov (2016), Importance weighted autoencoders,
    https://arxiv.org/abs/1509.00519, Eq. 8.
    """
    q = model.posterior(observed)
    noise = torch.randn(draws, *q.mean.shape, generator=generator, device=q.mean.device)
    z = q.mean + q.stddev * noise
    prior = Normal(torch.zeros_like(z[0]), torch.ones_like(z[0]))
    repeated = observed.expand(draws, *observed.shape).flatten(0, 1)
    likelihood = model.log_likelihood(repeated, z.flatten(0, 1)).view(draws, -1)
    return likelihood + (prior.log_prob(z) - q.log_prob(z)).sum(2)


def importance_sampled_nll(
    model: Any, images: Tensor, draws: int = 500, seed: int = 0, at_once: int = 10_000_000
) -> tuple[float, float]:
    """-log p(x) in nats per image by importance sampling from q(z|x), and the mean effective sample size.

    images: uint8 (N, C, H, W). An upper bound in expectation, tighter with more draws. at_once bounds the memory: so
    many pixels are decoded together.
    """
    seeing, generator = (torch.Generator(images.device).manual_seed(number) for number in (seed, seed + 1))
    nll = size = 0.0
    with evaluating(model):
        for chunk in images.split(max(1, at_once // (draws * images[0].numel()))):
            observed = model.observe(scaled(chunk), seeing)  # the same whatever is drawn of the code
            weights = log_weights(model, observed, draws, generator)
            nll -= (weights.logsumexp(0) - math.log(draws)).sum().item()
            size += (2 * weights.logsumexp(0) - (2 * weights).logsumexp(0)).exp().sum().item()
    return nll / len(images), size / len(images)


class Bound(NamedTuple):
    """-ELBO in its two terms: nats per image, and of the second each latent's share, (L,)."""

    reconstruction: float
    kl: Tensor


def negative_elbo(model: Any, images: Tensor, seed: int = 0) -> Bound:
    """-ELBO = E_q(z|x)[-log p(x|z)] + KL(q(z|x) || N(0, I)), one z for each image. uint8 (N, C, H, W).

    D. Kingma and M. Welling (2014), Auto-encoding variational Bayes, https://arxiv.org/abs/1312.6114, Eq. 3, with the
    KL in closed form. It is of beta = 1 and of one sample, whatever the model was trained with.
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    reconstruction, kl = 0.0, torch.zeros(1, dtype=torch.float64)
    with evaluating(model):
        for chunk in images.split(AT_ONCE):
            observed = model.observe(scaled(chunk), generator)
            q = model.posterior(observed)
            z = q.mean + q.stddev * torch.randn(q.mean.shape, generator=generator, device=q.mean.device)
            reconstruction -= model.log_likelihood(observed, z).sum().item()
            prior = Normal(torch.zeros_like(z), torch.ones_like(z))
            kl = kl + kl_divergence(q, prior).sum(0, dtype=torch.float64).cpu()
    return Bound(reconstruction / len(images), kl / len(images))


def active_units(means: Tensor, threshold: float = 0.01) -> int:
    """Latents whose mean moves with the image: Var_x(mu_j(x)) > 0.01, Burda et al. (2016), section 5.2. (N, L)."""
    return int((means.var(0) > threshold).sum())


def bits_per_dimension(model: LogProb, images: Tensor, seed: int = 0) -> float:
    """-log2 P(x) / (C H W), a mean over uint8 images (N, C, H, W), one draw of dequantization noise for each:
    an upper bound in expectation, as averages over more draws within the logarithm would be lower. L. Theis, A. van den
    Oord and M. Bethge (2016), https://arxiv.org/abs/1511.01844, section 3.1.

    A model under which every picture is as likely has 8 exactly, one that knows the picture 0.
    """
    generator = torch.Generator(images.device).manual_seed(seed)
    with evaluating(model):  # type: ignore[arg-type]
        nats = torch.cat(in_chunks(lambda x: model.log_prob(x, generator), images)).double().mean().item()
    return -nats / (images[0].numel() * math.log(2))


# By the knob `likelihood`: a probability and a density are no two values of one figure.
OBSERVED = {"bernoulli": ", of pixels drawn black or white", "gaussian": ", density of grey values"}


def likelihood_metrics(model: Any, test: Images, draws: int, nll_images: int, seed: int) -> dict[str, Metric]:
    """How probable test images are, as far as the model can tell; the parameters are those of `evaluate`."""
    n, can = len(test.images), abilities(model)
    nats = f"nats per image{OBSERVED.get(getattr(getattr(model, 'config', None), 'likelihood', ''), '')}"
    found: dict[str, Metric] = {}
    if "log_likelihood" in can:
        # Each of few images is drawn black and white several times, or that draw would count for more than the model.
        seen = some(test, n).images.repeat(max(1, min(nll_images, AT_ONCE) // n), 1, 1, 1)
        reconstruction, each = negative_elbo(model, seen, seed)
        kl, parts = each.sum().item(), {str(number): value for number, value in enumerate(each.tolist(), 1)}
        found["negative_elbo"] = Metric(reconstruction + kl, nats, "lower", n)
        found["reconstruction"] = Metric(reconstruction, nats, "neither", n)
        found["kl"] = Metric(kl, "nats per image", "neither", n, None, parts)
        drawn = seen[: nll_images if n > nll_images else None]  # of few these very draws, so that it lies below
        nll, size = importance_sampled_nll(model, drawn, draws, seed)
        count = min(n, nll_images)
        found["nll"] = Metric(nll, f"{nats}, {draws} draws", "lower", count)
        found["effective_sample_size"] = Metric(size, f"of {draws} draws", "neither", count)  # a collapsed one has all
    if "log_prob" in can:
        bits = bits_per_dimension(model, test.images, seed)
        found["bits_per_dimension"] = Metric(bits, "bits, an upper bound by one draw of noise", "lower", n)
    return found


def copy_metrics(model: Any, test: Images) -> dict[str, Metric]:
    """How near an image that was encoded and decoded again is to itself, and how sharp beside it."""
    few = some(test, getattr(model, "CODES_AT_MOST", len(test.images))).images

    def compared(x: Tensor) -> Tensor:
        copy = model.decode(model.encode(x))
        return torch.stack([(copy - x).square().mean((1, 2, 3)), sharpness(copy), sharpness(x)])

    with evaluating(model):
        error, sharp, real = torch.cat(in_chunks(compared, few), 1).mean(1).tolist()
    return {
        "reconstruction_error": Metric(error, "squared error per pixel", "lower", len(few)),
        "reconstruction_sharpness": Metric(sharp, SHARPNESS, "neither", len(few), real),
    }


def evaluate(
    model: Any,
    test: Images,
    *,
    draws: int = 500,
    nll_images: int = 1000,
    seed: int = 0,
    dataset: Dataset | None = None,
    samples: int = 10_000,
) -> dict[str, Metric]:
    """Every number that the model's abilities allow, on test images. Raises UserError.

    dataset: what `test` is a part of; with it so many samples, or translations, are compared with real images, and the
    codes are asked what they tell.
    """
    with threadpool_limits(1, "blas"):  # of small systems: its threads wait for each other, up to fifty times as long
        return _evaluated(model, test, draws, nll_images, seed, dataset, samples)


def _evaluated(
    model: Any, test: Images, draws: int, nll_images: int, seed: int, dataset: Dataset | None, samples: int
) -> dict[str, Metric]:
    from genmodels.analysis.codes import code_metrics  # these need what a Metric is
    from genmodels.analysis.fidelity import sample_metrics

    n, can = len(test.images), abilities(model)
    found = copy_metrics(model, test) if "encode" in can and "decode" in can else {}
    found |= likelihood_metrics(model, test, draws, nll_images, seed)
    if "posterior" in can:
        means = torch.from_numpy(codes(model, test.images)["means"])
        found["active_units"] = Metric(active_units(means), f"of {means.shape[1]} dimensions", "neither", n)
    if "classify" in can:
        with evaluating(model):
            guesses = torch.cat(in_chunks(lambda x: model.classify(x).argmax(1), test.images))
        found["accuracy"] = Metric((guesses == test.labels).float().mean().item(), "share of images", "higher", n)
    if dataset:
        found |= sample_metrics(model, dataset.name, dataset, samples, seed) | code_metrics(model, dataset, seed)
    return found


# Ability -> the figures that need it, and why a family without it has none.
NEEDS: dict[str, tuple[tuple[str, ...], str]] = {
    "decode": (
        ("reconstruction_error", "reconstruction_sharpness"),
        "This family does not draw an image again from its code.",
    ),
    "log_likelihood": (
        ("negative_elbo", "reconstruction", "kl", "nll", "effective_sample_size"),
        "This family has no likelihood p(x | z): it cannot bound how probable an image is.",
    ),
    "log_prob": (("bits_per_dimension",), "Only a flow knows the exact probability of an image."),
    "posterior": (("active_units",), "This family gives an image one code and no posterior."),
    "classify": (("accuracy",), "This family does not tell classes."),
}


def left_out(model: Any, dataset: Dataset, samples: int = 10_000) -> dict[str, str]:
    """Which figures `evaluate` leaves out, and why in one sentence. Cheap: nothing is encoded, made or read.

    Raises UserError.
    """
    from genmodels.analysis import codes, features, fidelity

    can = abilities(model)
    found: dict[str, str] = {}
    for ability, (names, why) in NEEDS.items():
        if ability not in can or (ability == "decode" and "encode" not in can):
            found |= dict.fromkeys(names, why)
    reader = features.reader_of(dataset.name, dataset.classes)
    return found | fidelity.left_out(model, dataset, samples, reader) | codes.left_out(model, dataset)
