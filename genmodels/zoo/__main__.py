"""`make zoo`: train the runs that come with the package again. `python -m genmodels.zoo NAME ...` trains those alone,
and with --figures they are not trained but measured again, as at the end of a training.

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

from genmodels import data
from genmodels.analysis.metrics import evaluate
from genmodels.analysis.snapshot import centroids, one_of_each
from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES
from genmodels.families.contract import abilities
from genmodels.files import write_atomically, write_json
from genmodels.inside import WHILE_WAITED_FOR
from genmodels.nn import followed
from genmodels.runs import ZOO, Run, RunConfig, create
from genmodels.session import SAMPLES, dataset_of
from genmodels.training import Images
from genmodels.worker import run_to_end

KEPT = 6  # snapshots of each run
POINTS = 400  # of its curves, about
GREYS = 64  # of its pictures
# How many parts of their spread, or of 1 where they are logarithms, codes are rounded to.
PARTS = {"means": 64, "latents": 16, "log_vars": 8}
LEFT_OUT = ("resume.pt", "log.txt", "live.npz", "request.json", "worker.lock")
_DENSE: dict[str, object] = {"latent_size": 16, "hidden_size": 300, "layers": 2, "learning_rate": 1e-3}
_SMALLER = _DENSE | {"hidden_size": 224}  # there is room for no more
_SHAPES: dict[str, object] = {"latent_size": 10, "beta": 2.0, "body": "conv", "width": 8, "hidden_size": 128}
IMAGES = ("originals", "inputs", "targets", "noised")  # of the dataset, and not ours to give away
BETAS = "be7a0001"  # the clean comparison of the VAE on MNIST


class Recipe(NamedTuple):
    """knobs: those that are not the default. experiment: what the run is a member of."""

    family: str
    dataset: str
    knobs: dict[str, object]
    epochs: int
    experiment: str | None = None
    batch_size: int = 128


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


def made(name: str, folder: Path) -> Run:
    """Train a run by its recipe in a folder of its own."""
    recipe = RECIPES[name]
    loaded = data.load(recipe.dataset)
    config = RunConfig(
        family=recipe.family,
        knobs=FAMILIES[recipe.family].Config.of(recipe.knobs).model_dump(),
        dataset=recipe.dataset,
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


def shrink(run: Run) -> None:
    """Leave what the pages need, no finer than they show it."""
    for name in LEFT_OUT:
        (run.path / name).unlink(missing_ok=True)
    left_out: tuple[str, ...] = IMAGES
    if "log_prob" in abilities(run.model):  # its codes are the dataset's images in another form; so are its copies
        (run.path / "latents.npz").unlink(missing_ok=True)
        left_out = (*IMAGES, "reconstructions")
    _shrink_weights(run)
    steps = run.snapshots()
    kept = {steps[round(each)] for each in np.linspace(0, len(steps) - 1, KEPT)}
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
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(RECIPES))
    parser.add_argument("--figures", action="store_true", help="measure again what is there, and train nothing")
    asked = parser.parse_args()
    try:
        for name in asked.names or RECIPES:
            if name not in RECIPES:
                raise UserError(f"There is no recipe '{name}'; there is: {', '.join(RECIPES)}.")
            if asked.figures:
                print(name, flush=True)
                measured(Run(ZOO / name))
                continue
            with tempfile.TemporaryDirectory() as folder:
                run = made(name, Path(folder))
                shrink(run)
                shutil.rmtree(ZOO / name, ignore_errors=True)
                shutil.copytree(run.path, ZOO / name)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
