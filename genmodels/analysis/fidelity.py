"""How near a model's images come to real ones, in the features of a fixed judge.

Where there is one, each number has its floor: what real images score, as many training images in the place of the
model's, against the same test images. The features are those of a small classifier of this very dataset, not of
Inception: values of two models can be compared where the judge's hash is the same, and with published ones never.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from genmodels.analysis.balance import missing
from genmodels.analysis.judge import Judge, judge_of
from genmodels.analysis.metrics import Metric
from genmodels.analysis.snapshot import to_bytes
from genmodels.data.dataset import Dataset, Part
from genmodels.families.contract import abilities
from genmodels.training import evaluating, scaled

AT_ONCE = 4_000_000  # distances held in memory together
TOGETHER = 500  # images made at a time


class PRDC(NamedTuple):
    """Four shares of two sets of features; density alone can exceed 1. For two sets of the same law, precision and
    recall are near 1, density is 1 on average, and coverage 1 - 2^-wide."""

    precision: float
    recall: float
    density: float
    coverage: float


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Squared Fréchet distance of the Gaussians fitted to two sets of features. (N, F), (M, F) -> 0 or more.

    M. Heusel et al. (2017), GANs trained by a two time-scale update rule, https://arxiv.org/abs/1706.08500, Eq. 6:
    |m - m'|² + tr(C + C' - 2 (C C')^(1/2)), where the last trace is the sum of the singular values of C^(1/2) C'^(1/2).
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    first, second = (np.atleast_2d(np.cov(each, rowvar=False)) for each in (a, b))
    shared = np.linalg.svd(_root(first) @ _root(second), compute_uv=False).sum()
    apart = ((a.mean(0) - b.mean(0)) ** 2).sum()
    return max(0.0, float(apart + np.trace(first) + np.trace(second) - 2 * shared))


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root; what rounding made negative counts as nothing."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T


def prdc(real: np.ndarray, fake: np.ndarray, k: int = 3, wide: int = 5) -> PRDC:
    """Precision and recall with balls that reach the k-th neighbour, density and coverage with the `wide`-th.

    real: (N, F), fake: (M, F). A ball lies round each feature, as wide as to its k-th nearest other one of its set.
    precision: fakes in a ball of a real one; recall: real ones in a ball of a fake: T. Kynkäänniemi et al. (2019),
    Improved precision and recall metric, https://arxiv.org/abs/1904.06991, Eq. 1-2, k = 3. density: balls of real ones
    that a fake lies in, over `wide`; coverage: balls of real ones with a fake in them: M. F. Naeem et al. (2020),
    Reliable fidelity and diversity metrics, https://arxiv.org/abs/2002.09797, Eq. 4-5, k = 5.
    """
    middle = real.mean(0)  # what is subtracted from each other should not be large
    x, y = (torch.from_numpy(np.ascontiguousarray(each - middle, np.float32)) for each in (real, fake))
    # What lies on the edge is within, whatever the last digit of a product says.
    slack = 1e-6 * float(max(x.square().sum(1).max(), y.square().sum(1).max()))
    narrow, broad = (_reach(x, nearest) + slack for nearest in (k, wide))
    of_fake = _reach(y, k) + slack
    precise, inside = 0, 0
    recalled, covered = (torch.zeros(len(x), dtype=torch.bool) for _ in range(2))
    for rows in torch.arange(len(y)).split(max(1, AT_ONCE // len(x))):
        apart = _squares(y[rows], x)
        precise += int((apart <= narrow).any(1).sum())
        recalled |= (apart <= of_fake[rows, None]).any(0)
        within = apart <= broad
        inside += int(within.sum())
        covered |= within.any(0)
    wide = min(wide, len(x) - 1)
    return PRDC(
        precise / len(y), recalled.sum().item() / len(x), inside / (wide * len(y)), covered.sum().item() / len(x)
    )


def _squares(a: Tensor, b: Tensor) -> Tensor:
    """Squared distances. (A, F), (B, F) -> (A, B)."""
    return torch.addmm(b.square().sum(1), a, b.T, alpha=-2).add_(a.square().sum(1, keepdim=True))


def _reach(x: Tensor, k: int) -> Tensor:
    """The squared distance of each to its k-th nearest other one. (N, F) -> (N,)."""
    k = min(k, len(x) - 1)  # itself is the first of k + 1
    parts = x.split(max(1, AT_ONCE // len(x)))
    return torch.cat([_squares(part, x).topk(k + 1, largest=False).values[:, k] for part in parts])


def class_shares(judge: Judge, images: np.ndarray) -> np.ndarray:
    """How many of the images read as each class. uint8 (N, C, H, W) -> float (K,) of sum 1."""
    return _shares(judge.probabilities(images))


def _shares(probabilities: np.ndarray) -> np.ndarray:
    return np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1]) / len(probabilities)


def sample_metrics(model: Any, dataset: str, data: Dataset, n: int = 10_000, seed: int = 0) -> dict[str, Metric]:
    """What can be measured of a model that samples or translates; {} where it does neither or nothing can read it.

    dataset: the name that chooses the judge. n: images made, at most; distances are between as many samples, training
    and test images, so no more of each than there are test images. Of composed names see `judge_of`.
    """
    if min(data.sizes[0], data.sizes[2]) < 2:
        return {}  # nothing has a neighbour
    judge = judge_of(dataset, data.classes) if len(data.classes) > 1 else None
    found: dict[str, Metric] = {}
    if judge and "sample" in abilities(model):
        found |= _of_samples(model, judge, data, n, seed)
    if "translate" in abilities(model) and data.sources is not None:
        for direction in model.DIRECTIONS:
            found |= _of_translations(model, direction, judge, data, n, seed)
    return found


def _words(judge: Judge) -> str:
    return f"judge features, hash {judge.facts.sha256[:8]}, accuracy {judge.facts.accuracy:.1%}"


def _rows(data: Dataset, part: Part, n: int, seed: int) -> np.ndarray:
    """n images of a part in any order: official test sets can be sorted by class. -> (n,), places in the dataset."""
    span = data.span(part)
    return span.start + np.random.default_rng(seed).permutation(span.stop - span.start)[:n]


def _made(model: Any, n: int, labels: np.ndarray, seed: int) -> np.ndarray:
    """n samples, of these classes where they can be asked for. int64 (n,) -> uint8 (n, C, H, W)."""
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    asked = torch.from_numpy(labels).to(device).split(TOGETHER)
    told = "conditional" in abilities(model)
    with evaluating(model):
        return np.concatenate([to_bytes(model.sample(len(c), c if told else None, generator)) for c in asked])


def _of_samples(model: Any, judge: Judge, data: Dataset, n: int, seed: int) -> dict[str, Metric]:
    """Samples against test images, and training images in their place as the floor."""
    count, words = min(n, data.sizes[0], data.sizes[2]), _words(judge)
    labels = np.random.default_rng(seed).choice(data.labels[data.span("train")], n)  # by the law that was learned
    seen, said = judge.read(_made(model, n, labels, seed))
    real, truth = judge.read(data.images[_rows(data, "test", count, seed)])
    other = judge.features(data.images[_rows(data, "train", count, seed)])
    away, floor = frechet(seen[:count], real), frechet(other, real)
    found = {"frechet_distance": Metric(away, f"squared distance, {words}", "lower", count, floor)}
    if "conditional" in abilities(model):
        share = float((said.argmax(1) == labels).mean())
        found["class_as_asked"] = Metric(share, f"share of samples, {words}", "higher", n, judge.facts.accuracy)
    for name, value, floor in zip(PRDC._fields, prdc(real, seen[:count]), prdc(real, other), strict=True):
        unit = "relative to real images" if name == "density" else "share"
        found[name] = Metric(value, f"{unit}, {words}", "higher", count, floor)
    shares, known = _shares(said), _shares(truth)
    learned = np.bincount(data.labels[data.span("train")], minlength=len(shares)) / data.sizes[0]
    gone, none = (len(missing(each, learned)) for each in (shares, known))
    top, unit = float(known.max()), f"share of samples, {words}"
    found["missing_classes"] = Metric(gone, f"of {len(shares)}, {words}", "lower", n, none)
    found["largest_class_share"] = Metric(float(shares.max()), unit, "neither", n, top)
    return found


def _of_translations(
    model: Any, direction: str, judge: Judge | None, data: Dataset, n: int, seed: int
) -> dict[str, Metric]:
    """Translated test images against their true partners, or against real ones where these are unknown."""
    sources, targets, labels = data.sources, data.images, data.source_labels
    assert sources is not None
    back = direction == "back"
    if data.pairing == "domains":  # a judge reads the images, and knows nothing of the sources
        return {} if back or not judge else _against_domain(model, judge, data, sources, n, seed)
    if back:
        sources, targets, labels = targets, sources, data.labels
        # Only of a style is it known what the sources are: what the images were made of.
        judge = judge._replace(style="") if judge and data.pairing == "styled" else None
    rows = _rows(data, "test", n, seed)
    made, true = _translated(model, sources[rows], direction), targets[rows]
    found = _against_partners(made, true)
    if judge:
        (seen, said), (real, truth) = judge.read(made), judge.read(true)
        # Other real images would be no floor: a translation of these very inputs can come nearer to their partners.
        unit = f"squared distance against the true partners, {_words(judge)}"
        found["frechet_distance"] = Metric(frechet(seen, real), unit, "lower", len(rows))
        if labels is not None:
            kept, floor = (float((each.argmax(1) == labels[rows]).mean()) for each in (said, truth))
            found["class_kept"] = Metric(kept, f"share of translations, {_words(judge)}", "higher", len(rows), floor)
    return {f"{name}_back" if back else name: metric for name, metric in found.items()}


def _against_domain(
    model: Any, judge: Judge, data: Dataset, sources: np.ndarray, n: int, seed: int
) -> dict[str, Metric]:
    """Translated test images against real ones, and training images in their place as the floor; {} of one image."""
    parts: tuple[tuple[np.ndarray, Part], ...] = ((sources, "test"), (data.images, "test"), (data.images, "train"))
    made, true, other = (_once(images[_rows(data, part, n, seed)]) for images, part in parts)
    if (count := min(map(len, (made, true, other)))) < 2:
        return {}
    seen = judge.features(_translated(model, made[:count], "forward"))
    real, floor = judge.features(true[:count]), judge.features(other[:count])
    unit = f"squared distance, {_words(judge)}"
    return {"frechet_distance": Metric(frechet(seen, real), unit, "lower", count, frechet(floor, real))}


def _once(images: np.ndarray) -> np.ndarray:
    """Each image where it comes first: of two domains the smaller goes round. (N, C, H, W) -> (n, C, H, W)."""
    return images[np.sort(np.unique(images.reshape(len(images), -1), axis=0, return_index=True)[1])]


def _translated(model: Any, images: np.ndarray, direction: str) -> np.ndarray:
    device = next(model.parameters()).device
    with evaluating(model):
        parts = torch.from_numpy(np.ascontiguousarray(images)).split(TOGETHER)
        return np.concatenate([to_bytes(model.translate(scaled(part.to(device)), direction)) for part in parts])


def _against_partners(made: np.ndarray, true: np.ndarray) -> dict[str, Metric]:
    """How near each is to what it should be, and whether that is nearer than to another's partner."""
    apart, chance = l1(made, true), l1(made, np.roll(true, 1, 0))  # they come in no order, so the next is any other
    nearer, unit = float((apart < chance).mean()), "share of translations"
    return {
        "l1_to_partner": Metric(float(apart.mean()), "share of the full range, per pixel", "lower", len(made)),
        "closer_to_partner": Metric(nearer, f"{unit}, true partner against a random one", "higher", len(made), 1.0),
    }


def l1(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean absolute difference of a pixel, as a share of the full range. uint8 (N, C, H, W) twice -> (N,)."""
    return (np.maximum(a, b) - np.minimum(a, b)).mean((1, 2, 3)) / 255
