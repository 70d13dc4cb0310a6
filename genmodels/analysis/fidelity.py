"""How near a model's images come to real ones: in the features of a fixed judge, class by class, and pixel by pixel.

Where there is one, each number has its floor: what real images score, as many training images in the place of the
model's, against the same test images. The features are those of a small classifier of this very dataset, or of an
autoencoder where it has no labels, not of Inception: values of two models can be compared where the hash is the same,
and with published ones never.
"""

from typing import Any

import numpy as np
import torch

from genmodels.analysis.balance import missing
from genmodels.analysis.distances import PRDC, SHARPNESS, frechet, kernel_distance, prdc, sharpness
from genmodels.analysis.features import Reader, reader_of
from genmodels.analysis.judge import Judge
from genmodels.analysis.metrics import Metric
from genmodels.analysis.nearest import nearest, too_near, usual
from genmodels.analysis.snapshot import in_chunks, to_bytes
from genmodels.data.dataset import Dataset, Part
from genmodels.families.contract import abilities
from genmodels.training import evaluating, scaled

TOGETHER = 500  # images made at a time
FEWEST = 50  # images whose neighbours are counted: with fewer a share is off by ten points or more
OF_EACH = 10  # samples of each class, on average, that a share of classes is counted from
ASKED, LEAST = 500, 100  # samples whose nearest training image is looked for: so many, or this many of large sets
PRODUCTS, MOST = 25_000_000_000, 500_000_000  # pixels compared for that, and pixels of training images, about
COMPARED = ("frechet_distance", "kernel_distance", *PRDC._fields)
COUNTED = ("class_histogram", "missing_classes", "largest_class_share")


def class_shares(judge: Judge, images: np.ndarray) -> np.ndarray:
    """How many of the images read as each class. uint8 (N, C, H, W) -> float (K,) of sum 1."""
    return _shares(judge.probabilities(images))


def _shares(probabilities: np.ndarray) -> np.ndarray:
    return np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1]) / len(probabilities)


def sample_metrics(model: Any, dataset: str, data: Dataset, n: int = 10_000, seed: int = 0) -> dict[str, Metric]:
    """What can be measured of a model that samples or translates; of the rest `left_out` says why.

    dataset: the name that chooses the reader. n: images made, at most; distances are between as many samples, training
    and test images, so no more of each than there are test images. Of composed names see `judge_of`.
    """
    if min(n, data.sizes[0], data.sizes[2]) < 2:
        return {}  # nothing has a neighbour
    reader = reader_of(dataset, data.classes)
    found: dict[str, Metric] = {}
    if "sample" in abilities(model):
        found |= _of_samples(model, reader, data, n, seed)
    if "translate" in abilities(model) and data.sources is not None:
        for direction in model.DIRECTIONS:
            found |= _of_translations(model, direction, reader, data, n, seed)
    lacking = left_out(model, data, n, reader)
    return {name: metric for name, metric in found.items() if name.removesuffix("_back") not in lacking}


def left_out(model: Any, data: Dataset, n: int, reader: Reader | None) -> dict[str, str]:
    """Which figures of samples there cannot be, and why in one sentence. Cheap: nothing is made or read."""
    can = abilities(model)
    found: dict[str, str] = {}
    everything = (*COMPARED, *COUNTED, "sharpness", "memorised")
    if "sample" not in can:
        if "translate" not in can:
            why = "This family makes no images of its own: nothing gives its codes a law that one could draw from."
            return dict.fromkeys(everything, why)
        why = "This family turns given images into others: it has no samples of its own."
        found |= dict.fromkeys((*PRDC._fields, *COUNTED, "memorised"), why)
    if why := _too_few(data, n, 2):
        return found | dict.fromkeys(everything, why)
    if reader is None:
        who = "a judge" if len(data.classes) > 1 else "an autoencoder"
        why = f"Nothing was trained yet to read these images: `python -m genmodels evaluate RUN` trains {who} first."
        return found | dict.fromkeys((*COMPARED, *COUNTED), why)
    few = {"frechet_distance": reader.facts.features + 1} | dict.fromkeys(PRDC._fields, FEWEST)
    found |= {name: why for name, needed in few.items() if name not in found and (why := _too_few(data, n, needed))}
    if len(data.classes) < 2:
        why = f"The images have {'one class' if data.classes else 'no classes'}: sort them into folders by class first."
    else:
        needed = OF_EACH * len(data.classes)
        why = f"There are too few samples: {n:,}, and {needed:,} are needed; make more." if n < needed else ""
    return found | (dict.fromkeys(COUNTED, why) if why else {})


def _too_few(data: Dataset, n: int, needed: int) -> str:
    """What there is least of, where that is less than needed."""
    there = {"samples": n, "training images": data.sizes[0], "test images": data.sizes[2]}
    name = min(there, key=lambda name: there[name])
    if there[name] >= needed:
        return ""
    cure = "make more" if name == "samples" else "bring more images"
    return f"There are too few {name}: {there[name]:,}, and {needed:,} are needed; {cure}."


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


def _of_samples(model: Any, reader: Reader | None, data: Dataset, n: int, seed: int) -> dict[str, Metric]:
    """Samples against test images, and training images in their place as the floor."""
    count = min(n, data.sizes[0], data.sizes[2])
    labels = np.random.default_rng(seed).choice(data.labels[data.span("train")], n)  # by the law that was learned
    made = _made(model, n, labels, seed)
    real, other = (data.images[_rows(data, part, count, seed)] for part in ("test", "train"))
    found: dict[str, Metric] = {}
    if reader:
        (seen, said), (known, truth) = reader.read(made), reader.read(real)
        found |= _compared(seen[:count], known, reader.features(other), reader.facts.words)
    if isinstance(reader, Judge):
        if "conditional" in abilities(model):
            share, unit = float((said.argmax(1) == labels).mean()), f"share of samples, {reader.facts.words}"
            found["class_as_asked"] = Metric(share, unit, "higher", n, reader.facts.accuracy)
        found |= _counted(_shares(said), _shares(truth), data, n, reader)
    return found | {"sharpness": _sharpness(made, real), "memorised": _memorised(made, real, data)}


def _compared(seen: np.ndarray, real: np.ndarray, other: np.ndarray, words: str) -> dict[str, Metric]:
    """Features of as many samples, test images and training images. (N, F) each."""
    found, n = {}, len(seen)
    for name, distance in (("frechet_distance", frechet), ("kernel_distance", kernel_distance)):
        unit = f"squared distance, {words}"
        found[name] = Metric(distance(seen, real), unit, "lower", n, distance(other, real))
    for name, value, floor in zip(PRDC._fields, prdc(real, seen), prdc(real, other), strict=True):
        unit = "relative to real images" if name == "density" else "share"
        found[name] = Metric(value, f"{unit}, {words}", "higher", n, floor)
    return found


def _counted(shares: np.ndarray, known: np.ndarray, data: Dataset, n: int, judge: Judge) -> dict[str, Metric]:
    """As which classes n samples read, beside the training images' own and, for the floor, test images. (K,), (K,)."""
    learned = np.bincount(data.labels[data.span("train")], minlength=len(shares)) / data.sizes[0]
    away, floor = (total_variation(each, learned) for each in (shares, known))
    gone, none = (len(missing(each, learned)) for each in (shares, known))
    parts = dict(zip(data.classes, shares.tolist(), strict=True))
    top, words = float(known.max()), judge.facts.words
    return {
        "class_histogram": Metric(away, f"share in a wrong class, {words}", "lower", n, floor, parts),
        "missing_classes": Metric(gone, f"of {len(shares)}, {words}", "lower", n, none),
        "largest_class_share": Metric(float(shares.max()), f"share of samples, {words}", "neither", n, top),
    }


def total_variation(p: np.ndarray, q: np.ndarray) -> float:
    """Half of sum |p - q|: the share that must move for one to become the other. (K,), (K,) of sum 1 -> 0 to 1."""
    return float(np.abs(p - q).sum() / 2)


def _sharpness(made: np.ndarray, real: np.ndarray) -> Metric:
    """No direction is better: blur is below what real images have, and noise above."""
    value, floor = (torch.cat(in_chunks(sharpness, torch.from_numpy(each))).mean().item() for each in (made, real))
    return Metric(value, SHARPNESS, "neither", len(made), floor)


def _memorised(made: np.ndarray, real: np.ndarray, data: Dataset) -> Metric:
    """Samples, and test images as the floor, nearer to a training image than 99 in 100 of these are to another.

    A blurred image is nearer to all others, so where sharpness is far below its floor a few are no sign of copying. Of
    large sets not all training images are asked, and fewer samples: it takes seconds.
    """
    learned = data.images[data.span("train")]
    pixels = learned[0].size
    kept, most = learned, max(2, MOST // pixels)
    if len(learned) > most:
        kept = learned[np.sort(np.random.default_rng(0).permutation(len(learned))[:most])]
    asked = min(ASKED, max(LEAST, PRODUCTS // (len(kept) * pixels)))
    made, real = made[:asked], real[:asked]
    near = too_near(nearest(np.concatenate([made, real]), kept), usual(kept, asked))
    unit = f"share nearer to one of {len(kept):,} training images than 99% of these to another"
    return Metric(float(near[: len(made)].mean()), unit, "lower", len(made), float(near[len(made) :].mean()))


def _of_translations(
    model: Any, direction: str, reader: Reader | None, data: Dataset, n: int, seed: int
) -> dict[str, Metric]:
    """Translated test images against their true partners, or against real ones where these are unknown."""
    sources, targets, labels = data.sources, data.images, data.source_labels
    assert sources is not None
    back = direction == "back"
    if data.pairing == "domains":  # a judge reads the images, and knows nothing of the sources
        return {} if back else _against_domain(model, reader, data, sources, n, seed)
    if back:
        sources, targets, labels = targets, sources, data.labels
        # Only of a style is it known what the sources are: what the images were made of.
        reader = reader._replace(style="") if reader and data.pairing == "styled" else None
    rows = _rows(data, "test", n, seed)
    made, true = _translated(model, sources[rows], direction), targets[rows]
    found = _against_partners(made, true) | {"sharpness": _sharpness(made, true)}
    if reader:
        (seen, said), (real, truth) = reader.read(made), reader.read(true)
        # Other real images would be no floor: a translation of these very inputs can come nearer to their partners.
        unit = f"squared distance against the true partners, {reader.facts.words}"
        found["frechet_distance"] = Metric(frechet(seen, real), unit, "lower", len(rows))
        if isinstance(reader, Judge) and labels is not None:
            kept, floor = (float((each.argmax(1) == labels[rows]).mean()) for each in (said, truth))
            unit = f"share of translations, {reader.facts.words}"
            found["class_kept"] = Metric(kept, unit, "higher", len(rows), floor)
    return {f"{name}_back" if back else name: metric for name, metric in found.items()}


def _against_domain(
    model: Any, reader: Reader | None, data: Dataset, sources: np.ndarray, n: int, seed: int
) -> dict[str, Metric]:
    """Translated test images against real ones, and training images in their place as the floor; {} of one image."""
    parts: tuple[tuple[np.ndarray, Part], ...] = ((sources, "test"), (data.images, "test"), (data.images, "train"))
    given, true, other = (_once(images[_rows(data, part, n, seed)]) for images, part in parts)
    if (count := min(map(len, (given, true, other)))) < 2:
        return {}
    made = _translated(model, given[:count], "forward")
    found = {"sharpness": _sharpness(made, true)}
    if reader and count > reader.facts.features:
        seen, real, floor = map(reader.features, (made, true[:count], other[:count]))
        unit = f"squared distance, {reader.facts.words}"
        found["frechet_distance"] = Metric(frechet(seen, real), unit, "lower", count, frechet(floor, real))
    return found


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
