"""`make zoo`: train the runs and flows that come with the package again. `python -m genmodels.zoo NAME ...` trains
these alone, and with --figures runs are not trained but measured again, as at the end of a training.

What is kept of a run is what the pages need, small: no image of a dataset, no optimiser, half-precision weights without
the networks that only training needs, rounded codes and pictures, and a few snapshots.
"""

import argparse
import json
import math
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save
from tqdm import tqdm

from genmodels import data, debiasing, maps, toys
from genmodels.analysis import toy_flow
from genmodels.analysis.metrics import evaluate
from genmodels.analysis.projection import tsne
from genmodels.analysis.snapshot import centroids, one_of_each
from genmodels.config import Schedule, UserError
from genmodels.data.selection import Selection
from genmodels.families import FAMILIES
from genmodels.families.contract import abilities
from genmodels.files import write_atomically, write_json
from genmodels.inside import WHILE_WAITED_FOR, open_inside
from genmodels.nn import followed
from genmodels.runs import ZOO, Run, RunConfig, create
from genmodels.session import SAMPLES, dataset_of
from genmodels.stepping import one_thread
from genmodels.training import Images
from genmodels.worker import run_to_end

KEPT = 6  # snapshots of each run
POINTS = 400  # of its curves, about
GREYS = 64  # of its pictures
PLACES = 256  # of its map, each way, about
# How many parts of their spread, or of 1 where they are logarithms, codes are rounded to.
PARTS = {"means": 64, "latents": 16, "log_vars": 8}
LEFT_OUT = ("resume.pt", "log.txt", "live.npz", "request.json", "worker.lock")
_DENSE: dict[str, object] = {"latent_size": 16, "hidden_size": 300, "layers": 2, "learning_rate": 1e-3}
_SMALLER = _DENSE | {"hidden_size": 224}  # there is room for no more
_SHAPES: dict[str, object] = {"latent_size": 10, "beta": 2.0, "body": "conv", "width": 8, "hidden_size": 128}
IMAGES = ("originals", "inputs", "targets", "noised")  # of the dataset, and not ours to give away
BETAS = "be7a0001"  # the clean comparison of the VAE on MNIST
SCARCE = "5ca4ce01"  # digits with few of class 4, with and without resampling


class Recipe(NamedTuple):
    """knobs: those that are not the default. experiment: what the run is a member of. snapshots: so many are kept."""

    family: str
    dataset: str
    knobs: dict[str, object]
    epochs: int
    experiment: str | None = None
    batch_size: int = 128
    seed: int = 0
    selection: Selection | None = None
    snapshots: int = KEPT


# Within a dataset only the head differs, or beta.
RECIPES = {
    "vae-digits": Recipe("vae", "digits", {"latent_size": 8, "hidden_size": 200}, 300),
    "multi-stage-vae-digits": Recipe("multi-stage-vae", "digits", {"latent_size": 8, "hidden_size": 200}, 300),
    "vae-mnist": Recipe("vae", "mnist", _DENSE, 60, BETAS),
    "vae-mnist-beta-025": Recipe("vae", "mnist", _DENSE | {"beta": 0.25}, 60, BETAS),
    "vae-mnist-beta-4": Recipe("vae", "mnist", _DENSE | {"beta": 4.0}, 60, BETAS),
    "vae-mnist-beta-16": Recipe("vae", "mnist", _DENSE | {"beta": 16.0}, 60, BETAS),
    "multi-stage-vae-mnist": Recipe("multi-stage-vae", "mnist", _DENSE, 60),
    "vae-fashion-mnist": Recipe("vae", "fashion-mnist", _SMALLER, 60),
    "multi-stage-vae-fashion-mnist": Recipe("multi-stage-vae", "fashion-mnist", _SMALLER, 60),
    "autoencoder-mnist": Recipe("autoencoder", "mnist", _DENSE, 60),
    "conv-autoencoder-mnist": Recipe("conv-autoencoder", "mnist", {"width": 16, "hidden_size": 128}, 20),
    "vae-shapes": Recipe("vae", "shapes", _SHAPES, 60),
    "gan-mnist": Recipe("gan", "mnist", {}, 8, batch_size=64),
    "conditional-gan-mnist": Recipe("conditional-gan", "mnist", {}, 6, batch_size=64),
    "vae-gan-mnist": Recipe("vae-gan", "mnist", {"latent_size": 16, "hidden_size": 64}, 8, batch_size=64),
    "flow-mnist": Recipe("flow", "mnist", {"body": "conv", "width": 48, "learning_rate": 2e-3}, 20),
    "diffusion-mnist": Recipe("diffusion", "mnist", {}, 27),
    "diffusion-fashion-mnist": Recipe("diffusion", "fashion-mnist", {}, 20),
    "pix2pix-edges-mnist": Recipe("pix2pix", "edges:mnist", {"width": 16}, 3, batch_size=64),
    "cyclegan-inverted-mnist": Recipe("cyclegan", "inverted:mnist", {}, 2, batch_size=64),
}


def _scarce(seed: int, resampling: bool) -> Recipe:
    """One of a pair. Class and settings were picked with the seeds 11 to 16."""
    knobs: dict[str, object] = {"latent_size": 8, "hidden_size": 64, "head_size": 32, "learning_rate": 5e-3}
    knobs |= {"class_weight": 100.0, "smoothing": 0.2, "resampling": resampling}
    selection = Selection(scarce="4", kept=0.1, seed=seed)
    return Recipe(debiasing.FAMILY, "digits", knobs, 80, SCARCE, seed=seed, selection=selection, snapshots=2)


# By their names the last in every menu: they are looked at together, on the page Debias.
RECIPES |= {
    f"{'with' if resampling else 'without'}-resampling-digits-{seed}": _scarce(seed, resampling)
    for resampling in (True, False)
    for seed in (1, 2, 3)
}
FLOWS = {f"flow-{name}": toy_flow.Asked(name) for name in toys.SETS}


def made(name: str, folder: Path) -> Run:
    """Train a run by its recipe in a folder of its own."""
    recipe = RECIPES[name]
    loaded = data.load(recipe.dataset)
    config = RunConfig(
        family=recipe.family,
        knobs=FAMILIES[recipe.family].Config.of(recipe.knobs).model_dump(),
        dataset=recipe.dataset,
        seed=recipe.seed,
        selection=recipe.selection,
        experiment=recipe.experiment,
        schedule=Schedule(budget=recipe.epochs, unit="epochs", batch_size=recipe.batch_size, decay="cosine"),
        shape=loaded.shape,
        classes=loaded.classes,
    )
    run = create(config, folder / name)
    with tqdm(total=100, desc=name, unit="%") as bar:
        for status in run_to_end(run):
            bar.update(round(100 * status.share) - bar.n)
    return run


def made_flow(name: str) -> None:
    """Train a flow as the page Flow does, and keep it."""
    with tqdm(total=100, desc=name, unit="%") as bar, one_thread():
        for found in toy_flow.trained(FLOWS[name]):
            bar.update(round(100 * found.seen[-1].share) - bar.n)
    toy_flow.keep(found, FLOWS[name])


def shrink(run: Run, snapshots: int = KEPT) -> None:
    """Leave what the pages need, no finer than they show it."""
    for name in LEFT_OUT:
        (run.path / name).unlink(missing_ok=True)
    left_out: tuple[str, ...] = IMAGES
    if "log_prob" in abilities(run.model):  # its codes are the dataset's images in another form; so are its copies
        (run.path / "latents.npz").unlink(missing_ok=True)
        left_out = (*IMAGES, "reconstructions")
    _shrink_weights(run)
    steps = run.snapshots()
    kept = {steps[round(each)] for each in np.linspace(0, len(steps) - 1, snapshots)}
    for step in steps:
        if step not in kept:
            (run.path / "snapshots" / f"{step}.npz").unlink()
    for name in ("latents", *(f"snapshots/{step}" for step in kept)):
        arrays = _fewer(run.arrays(name))
        if small := {key: _small(key, array) for key, array in arrays.items() if key not in left_out}:
            run.write_arrays(name, small)
    points = run.metrics()
    every = math.ceil(len(points) / POINTS)
    points = [point for before, point in enumerate(points, 1 - len(points)) if "test" in point or before % every == 0]
    lines = "".join(json.dumps(_rounded(point), separators=(",", ":")) + "\n" for point in points)
    write_atomically(run.path / "metrics.jsonl", lambda file: file.write(lines.encode()))
    status = run.status()
    run.write_status(status.model_copy(update={"pid": None}))


def _shrink_weights(run: Run) -> None:
    """Half precision, which no picture shows, and of a network whose moving average is sampled from, only that."""
    weights, averaged = load_file(run.path / "weights.safetensors"), followed(run.model)
    for name, tensor in weights.items():
        if name.startswith("pools."):  # what was made of training images, and needed only to train further
            tensor.zero_()
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor
        for name, tensor in weights.items()
        if name not in averaged
    }
    write_atomically(run.path / "weights.safetensors", lambda file: file.write(save(half)))  # save_file hides it


def _fewer(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Of codes that are decoded in many steps, no more than are encoded while somebody waits."""
    if len(arrays.get("which", ())) <= WHILE_WAITED_FOR:
        return arrays
    labels = torch.from_numpy(arrays["labels"].astype(np.int64))
    chosen = one_of_each(labels, WHILE_WAITED_FOR).sort().values.numpy()
    kept = {name: arrays[name][chosen] for name in ("means", "labels", "which")}
    return arrays | kept | {"centroids": centroids(kept["means"], kept["labels"], len(arrays["centroids"]))}


def _small(key: str, array: np.ndarray) -> np.ndarray:
    """An array of a run, as fine as pages show it."""
    if key == "labels":
        return array.astype(np.uint8)
    if array.ndim == 4:
        return np.round(np.round(array / 255 * (GREYS - 1)) * 255 / (GREYS - 1)).astype(np.uint8)
    if key in PARTS:
        spread = 1.0 if key == "log_vars" else float(array.astype(np.float32).std(0).max()) or 1.0
        step = 2.0 ** round(math.log2(spread)) / PARTS[key]
        array = np.round(array.astype(np.float32) / step) * step
    return array.astype(np.float16) if array.dtype.kind == "f" else array


def place(run: Run) -> None:
    """Keep where t-SNE places its test images with the settings that a map begins with, as fine as screens show it."""
    if not run.arrays("latents"):
        return
    inside, view = open_inside(run), maps.View(maps.TSNE)
    if inside.latent_size == 1 or len(inside.means) <= 3 * view.perplexity + 1:
        return
    ids = maps.sample(len(inside.means), view.taken)
    points = tsne(inside.means[ids], view.perplexity, view.seed)
    step = 2.0 ** round(math.log2(np.ptp(points, 0).max() / PLACES))
    maps.keep(inside, ids, (np.round(points / step) * step).astype(np.float16), view.perplexity, view.seed, run)


def _rounded(value: object) -> object:
    """Six digits of each number in a point of the curves."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    return float(f"{value:.6g}") if isinstance(value, float) else value


def measured(run: Run) -> None:
    """Write the final figures anew, of as many samples as before. Raises UserError where its dataset is not here."""
    dataset, known = dataset_of(run.config), run.summary()
    before = [known[name]["n"] for name in ("frechet_distance", "missing_classes") if name in known]
    test = Images.of(dataset, "test")
    samples = min(SAMPLES, max(before, default=SAMPLES))  # distances are of no more than there are test images
    found = evaluate(run.model, test, draws=100, nll_images=500, dataset=dataset, samples=samples)
    write_json(run.path / "summary.json", {name: metric.entry() for name, metric in found.items()})


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join([*RECIPES, *FLOWS]))
    parser.add_argument("--figures", action="store_true", help="measure again what is there, and train nothing")
    parser.add_argument("--maps", action="store_true", help="place the test images again, and train nothing")
    asked = parser.parse_args()
    known = [*RECIPES] if asked.figures or asked.maps else [*RECIPES, *FLOWS]
    try:
        for name in asked.names or known:
            if name not in known:
                raise UserError(f"There is no recipe '{name}'; there is: {', '.join(known)}.")
            if name in FLOWS:
                made_flow(name)
                continue
            if asked.figures or asked.maps:
                print(name, flush=True)
                (place if asked.maps else measured)(Run(ZOO / name))
                continue
            with tempfile.TemporaryDirectory() as folder:
                run = made(name, Path(folder))
                shrink(run, RECIPES[name].snapshots)
                shutil.rmtree(ZOO / name, ignore_errors=True)
                shutil.copytree(run.path, ZOO / name)
            place(Run(ZOO / name))
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
