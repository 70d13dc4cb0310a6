"""What codes are worth: whether they tell the class and the true factors, and whether they lie where the prior does.

All is of posterior means, or of the codes themselves where there is no posterior. What is learned from codes is learned
from training images, the numbers are of images that the model has not seen.
"""

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Normal

from genmodels.analysis.density import Points
from genmodels.analysis.disentanglement import BINS, dci, factor_vae, levels, mig, sap
from genmodels.analysis.metrics import Metric
from genmodels.analysis.snapshot import codes
from genmodels.config import UserError
from genmodels.data.dataset import PARTS, Dataset, Part
from genmodels.families.contract import abilities

MOST = 5000  # images that are encoded: to learn a probe from, to try it on, and to mix q(z) of
NEIGHBOURS = 5
FEWEST, FEWEST_KNOWN = 20, 1000  # images: for a share, and for factors in 20 bins against latents in 20 bins
DEPENDENT = 0.1  # of what can be known of a factor is known from another: then no latent can stand for one alone
# name -> unit, the same for every family: only what has one unit is ranked
PROBES = {
    "linear_probe": "share of images, by logistic regression on codes; floor: always the most frequent class",
    "neighbour_probe": f"share of images, by the {NEIGHBOURS} nearest codes; floor: always the most frequent class",
}
OF_FACTORS = {
    "mig": f"gap in mutual information, {BINS} bins",
    "sap": "gap in R² or balanced accuracy of one latent",
    "dci_disentanglement": "1 - entropy over factors of what forests use a latent for",
    "dci_completeness": "1 - entropy over latents of what forests use for a factor",
    "dci_informativeness": "R² of random forests on other images",
    "factor_vae": "share of groups of images whose shared factor is told",
}
ACTIVE = 0.01  # variance of a posterior mean over images below which its latent says nothing, as `active_units` counts
WIDTHS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0)  # of the smooth mixture that is nearest to q(z)
DRAWS = 500  # by which one is chosen
WORDS: dict[Part, str] = {"train": "training images", "validation": "validation images", "test": "test images"}
AT_ONCE = 500  # posteriors against all of them at a time


class Mismatch(NamedTuple):
    """KL(q(z) || N(0, I)) in nats lies between these two, but for chance."""

    least: float
    most: float


def code_metrics(model: Any, data: Dataset, seed: int = 0) -> dict[str, Metric]:
    """All that can be said of the codes of a model; of the rest `left_out` says why. Raises UserError for codes that
    are not numbers."""
    lacking = left_out(model, data, seed)
    found: dict[str, Metric] = {}
    probed, matched = "linear_probe" not in lacking, "aggregate_mismatch" not in lacking
    if probed or matched:
        taught, tried = _drawn(data, "train", seed), _drawn(data, "test", seed)
        learned, seen = (_encoded(model, data.images[rows]) for rows in (taught, tried))
    if probed:
        found |= _probes(learned, data.labels[taught], seen, data.labels[tried])
    if matched:
        tuned = _encoded(model, data.images[_drawn(data, "validation", seed)[:DRAWS]])
        found["aggregate_mismatch"] = _mismatch(learned, tuned, seen, seed)
    return found if "mig" in lacking else found | _of_factors(model, data, seed)


def left_out(model: Any, data: Dataset, seed: int = 0) -> dict[str, str]:
    """Which of these metrics there cannot be, and why in one sentence. Cheap: nothing is encoded."""
    everything = (*PROBES, "aggregate_mismatch", *OF_FACTORS)
    if "encode" not in abilities(model):
        return dict.fromkeys(everything, "This family does not turn images into codes.")
    if hasattr(model, "latent_size"):
        why = "A code of this family is noise of as many numbers as its image: it is not made to tell anything."
        return dict.fromkeys(everything, why)
    found: dict[str, str] = {}
    if why := _no_probe(data, seed):
        found |= dict.fromkeys(PROBES, why)
    if "posterior" not in abilities(model):
        found["aggregate_mismatch"] = "This family gives its codes no law: there is no prior that they could miss."
    elif why := _few_parts(data, "train", "validation", "test"):
        found["aggregate_mismatch"] = why
    if why := _no_factors(data):
        found |= dict.fromkeys(OF_FACTORS, why)
    return found


def _too_few(what: str, there: int, needed: int) -> str:
    return f"There are too few {what}: {there:,}, and {needed:,} are needed; bring more images."


def _no_probe(data: Dataset, seed: int) -> str:
    if len(np.unique(data.labels[_drawn(data, "train", seed)])) < 2:
        return (
            "The training images, or all that are looked at, are of one class, so there is nothing to tell apart: "
            "choose images in two or more."
        )
    return _few_parts(data, "train", "test")


def _few_parts(data: Dataset, *parts: Part) -> str:
    sizes = {WORDS[part]: data.sizes[PARTS.index(part)] for part in parts}
    return next((_too_few(name, there, FEWEST) for name, there in sizes.items() if there < FEWEST), "")


def _no_factors(data: Dataset) -> str:
    """Why no latent can be asked for a factor; '' where it can."""
    from sklearn.metrics import mutual_info_score

    if not data.factor_names:
        return "The true factors of these images are not known: choose shapes, where they are."
    known, names = _known(data)
    if len(names) < 2:
        return "Fewer than two factors vary among these images: choose images in which two or more do."
    if len(known) < FEWEST_KNOWN:
        return _too_few("images whose factors are known", len(known), FEWEST_KNOWN)
    places = [levels(factor) for factor in known.T]
    least = [mutual_info_score(each, each) for each in places]  # the entropy
    for j in range(len(places)):
        for i in range(j):
            if mutual_info_score(places[i], places[j]) > DEPENDENT * min(least[i], least[j]):
                return (
                    f"'{names[i]}' and '{names[j]}' go together in these images, so no latent could stand for one of "
                    "them alone: choose images whose factors are independent, such as shapes."
                )
    return ""


def _known(data: Dataset) -> tuple[np.ndarray, list[str]]:
    """The factors that vary among the images not learned from, (N, F), and their names."""
    factors = data.factors[_unlearned(data)]
    varies = [j for j in range(len(data.factor_names)) if len(factors) and np.ptp(factors[:, j]) > 0]
    return factors[:, varies], [data.factor_names[j] for j in varies]


def _unlearned(data: Dataset) -> slice:
    """Images of validation and test: bins are hungry."""
    return slice(data.sizes[0], data.sizes[0] + min(MOST, sum(data.sizes[1:])))


def _encoded(model: Any, images: np.ndarray) -> Points:
    """Codes of uint8 images (N, C, H, W) in float64, with the deviations of posteriors. Raises UserError."""
    device = next(model.parameters()).device
    known = codes(model, torch.from_numpy(np.ascontiguousarray(images)).to(device))
    if not all(np.isfinite(each).all() for each in known.values()):
        raise UserError("This run gives codes that are not numbers, so nothing can be told of them: train it again.")
    deviations = torch.from_numpy(known["log_vars"]).double().div(2).exp() if "log_vars" in known else None
    return Points(torch.from_numpy(known["means"]).double(), deviations)


def _drawn(data: Dataset, part: Part, seed: int) -> np.ndarray:
    """At most 5,000 images of a part, drawn from all of it: sets can be sorted by class. -> places in the dataset."""
    span = data.span(part)
    return span.start + np.sort(np.random.default_rng(seed).permutation(span.stop - span.start)[:MOST])


def _probes(learned: Points, said: np.ndarray, seen: Points, truth: np.ndarray) -> dict[str, Metric]:
    """Can the class be read from the code, by planes and by its neighbours?"""
    chance = float((truth == np.bincount(said).argmax()).mean())
    guessed = probe(learned.means.numpy(), said, seen.means.numpy())
    return {
        name: Metric(float((guesses == truth).mean()), unit, "higher", len(truth), chance)
        for (name, unit), guesses in zip(PROBES.items(), guessed, strict=True)
    }


def probe(learned: np.ndarray, labels: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes of unseen codes by multinomial logistic regression, and by the 5 nearest. (N, L), (N,), (M, L) -> (M,).

    The regression is of codes whose latents are each scaled to unit variance, with scikit-learn's usual penalty; the
    neighbours are by the distance between codes as they are, where a latent that hardly moves hardly counts.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    planes = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    near = KNeighborsClassifier(min(NEIGHBOURS, len(learned)))
    linear, neighbour = (each.fit(learned, labels).predict(seen) for each in (planes, near))
    return linear, neighbour


def log_mixture(z: Tensor, means: Tensor, variances: Tensor) -> Tensor:
    """log density under the equal mixture of normals with these (N, L) in each dimension. (M, L) -> (M,), nats."""
    precision = 1 / variances
    fixed = (means**2 * precision + variances.log()).sum(1)
    densities = [
        torch.logsumexp(part @ (means * precision).T - 0.5 * (part**2 @ precision.T + fixed), 1)
        for part in z.split(AT_ONCE)
    ]
    return torch.cat(densities) - math.log(len(means)) - 0.5 * means.shape[1] * math.log(2 * math.pi)


def shrunk(posteriors: Points, width: float) -> tuple[Tensor, Tensor]:
    """Means and variances of a smooth mixture: each posterior is wider, and so much nearer to the middle of all that
    mean and variance of the whole stay as they are. width: 0 for the posteriors themselves, 1 for all in one place.

    M. West (1993), Approximating posterior distributions by mixtures, J. R. Statist. Soc. B 55, 409-422.
    """
    means, middle = posteriors.means, posteriors.means.mean(0)
    spread = means.var(0, correction=0)
    noise = torch.zeros_like(means) if posteriors.deviations is None else posteriors.deviations
    return middle + math.sqrt(1 - width**2) * (means - middle), noise**2 + width**2 * spread


def marginal_kl(learned: Points, tuned: Points, seen: Points, seed: int = 0) -> Mismatch:
    """How far q(z) = E_x q(z|x) is from N(0, I), by posteriors in float64 of three sets of images with none in common.

    That is E_x KL(q(z|x) || p) - I(x; z), by M. Hoffman and M. Johnson (2016), ELBO surgery, section 2,
    http://approximateinference.org/accepted/HoffmanJohnson2016.pdf, or E_q(z)[log q(z) - log p(z)], a mean over one
    draw from each posterior of the images seen. The logarithm of any other density g is lower in the mean: `least` has
    the `shrunk` mixture of what is learned, at the width at which the draws it is tuned by are likeliest. That of the
    mixture of the very posteriors drawn from is higher: `most` counts I(x; z) to the log of their number only.
    """
    generator = torch.Generator().manual_seed(seed)
    trial, z = tuned.drawn(generator), seen.drawn(generator)
    width = max(WIDTHS, key=lambda each: float(log_mixture(trial, *shrunk(learned, each)).mean()))
    prior = Normal(torch.zeros_like(z), 1.0).log_prob(z).sum(1)
    own = log_mixture(z, *shrunk(seen, 0))
    return Mismatch(*(float((each - prior).mean()) for each in (log_mixture(z, *shrunk(learned, width)), own)))


def _mismatch(learned: Points, tuned: Points, seen: Points, seed: int) -> Metric:
    found = marginal_kl(learned, tuned, seen, seed)
    parts = {"at least": found.least, "at most": found.most}
    return Metric(found.least, "nats, a lower bound", "neither", len(seen.means), parts=parts)  # an empty code has 0


def _of_factors(model: Any, data: Dataset, seed: int) -> dict[str, Metric]:
    """Scores of the codes of validation and test images, beside those of a code that is the factors themselves."""
    factors = _known(data)[0].astype(np.float64)
    known = _encoded(model, data.images[_unlearned(data)])
    means = known.means.numpy()
    if known.deviations is not None:
        # What the posterior's noise drowns tells the decoder nothing, however exactly its mean follows the image.
        means = means * (means.var(0) > ACTIVE)
    ours, best = (_scores(each, factors, seed) for each in (means, factors))
    return {
        name: Metric(ours[name], f"{unit}; floor: the factors themselves as code", "higher", len(means), best[name])
        for name, unit in OF_FACTORS.items()
    }


def _scores(codes: np.ndarray, factors: np.ndarray, seed: int) -> dict[str, float]:
    """(N, L), (N, F) -> each of OF_FACTORS."""
    forests = dci(codes, factors, seed)._asdict()
    return {
        "mig": mig(codes, np.stack([levels(factor) for factor in factors.T], 1)),
        "sap": sap(codes, factors),
        "factor_vae": factor_vae(codes, factors, seed),
    } | {f"dci_{name}": value for name, value in forests.items()}
