"""Numbers for a trained model: name -> Metric, on images it has not seen."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

from genmodels.analysis.snapshot import codes, in_chunks
from genmodels.data.dataset import Dataset
from genmodels.families.contract import Likelihood, LogProb, abilities
from genmodels.training import Images, evaluating, measure, scaled, some


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
    generator = torch.Generator(images.device).manual_seed(seed)
    nll = size = 0.0
    with evaluating(model):
        for chunk in images.split(max(1, at_once // (draws * images[0].numel()))):
            observed = model.observe(scaled(chunk), generator)
            weights = log_weights(model, observed, draws, generator)
            nll -= (weights.logsumexp(0) - math.log(draws)).sum().item()
            size += (2 * weights.logsumexp(0) - (2 * weights).logsumexp(0)).exp().sum().item()
    return nll / len(images), size / len(images)


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


def likelihood_metrics(
    model: Any, test: Images, step: int, draws: int, nll_images: int, seed: int
) -> dict[str, Metric]:
    """How probable test images are, as far as the model can tell; the parameters are those of `evaluate`."""
    n, can, found = len(test.images), abilities(model), {}
    if "log_likelihood" in can:
        terms = measure(model, test, step, seed)
        for name in ("negative_elbo", "reconstruction", "kl"):
            better: Literal["lower", "neither"] = "lower" if name == "negative_elbo" else "neither"
            found[name] = Metric(terms[name], "nats per image", better, n)
        drawn = some(test, nll_images).images
        nll, size = importance_sampled_nll(model, drawn, draws, seed)
        found["nll"] = Metric(nll, f"nats per image, {draws} draws", "lower", len(drawn))
        found["effective_sample_size"] = Metric(size, f"of {draws} draws", "higher", len(drawn))
    if "log_prob" in can:
        bits = bits_per_dimension(model, test.images, seed)
        found["bits_per_dimension"] = Metric(bits, "bits, an upper bound by one draw of noise", "lower", n)
    return found


def evaluate(
    model: Any,
    test: Images,
    *,
    step: int = 0,
    draws: int = 500,
    nll_images: int = 1000,
    seed: int = 0,
    dataset: Dataset | None = None,
    samples: int = 10_000,
) -> dict[str, Metric]:
    """Every number that the model's abilities allow, on test images.

    dataset: what `test` is a part of; with it so many samples, or translations, are compared with real images.
    """
    from genmodels.analysis.fidelity import sample_metrics  # which needs what a Metric is

    n, can = len(test.images), abilities(model)
    found: dict[str, Metric] = {}
    if "encode" in can and "decode" in can:
        with evaluating(model):
            few = some(test, getattr(model, "CODES_AT_MOST", n)).images
            errors = torch.cat(in_chunks(lambda x: (model.decode(model.encode(x)) - x).square().mean((1, 2, 3)), few))
        found["reconstruction_error"] = Metric(errors.mean().item(), "squared error per pixel", "lower", len(few))
    found |= likelihood_metrics(model, test, step, draws, nll_images, seed)
    if "posterior" in can:
        means = torch.from_numpy(codes(model, test.images)["means"])
        found["active_units"] = Metric(active_units(means), f"of {means.shape[1]} dimensions", "neither", n)
    if "classify" in can:
        with evaluating(model):
            guesses = torch.cat(in_chunks(lambda x: model.classify(x).argmax(1), test.images))
        found["accuracy"] = Metric((guesses == test.labels).float().mean().item(), "share of images", "higher", n)
    return found | (sample_metrics(model, dataset.name, dataset, samples, seed) if dataset else {})
