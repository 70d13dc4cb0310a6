"""`make zoo`: train the runs that come with the package again. `python -m genmodels.zoo NAME ...` trains those alone,
and with --figures they are not trained but measured again, as at the end of a training.

What is kept of a run is what the pages need, small: no image of a dataset, no optimiser, half-precision numbers, and
a few snapshots.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from genmodels import data
from genmodels.analysis.metrics import evaluate
from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES
from genmodels.families.contract import abilities
from genmodels.files import write_json
from genmodels.runs import ZOO, Run, RunConfig, create
from genmodels.session import SAMPLES, dataset_of
from genmodels.training import Images
from genmodels.worker import run_to_end

KEPT = 9  # snapshots of each run
LEFT_OUT = ("resume.pt", "log.txt", "live.npz", "request.json", "worker.lock")
_MNIST: dict[str, object] = {"latent_size": 16, "hidden_size": 300, "layers": 2, "learning_rate": 1e-3}
_SHAPES: dict[str, object] = {"latent_size": 10, "beta": 4.0, "body": "conv", "hidden_size": 128}
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
    "vae-mnist": Recipe("vae", "mnist", _MNIST, 60, BETAS),
    "vae-mnist-beta-025": Recipe("vae", "mnist", _MNIST | {"beta": 0.25}, 60, BETAS),
    "vae-mnist-beta-4": Recipe("vae", "mnist", _MNIST | {"beta": 4.0}, 60, BETAS),
    "vae-mnist-beta-16": Recipe("vae", "mnist", _MNIST | {"beta": 16.0}, 60, BETAS),
    "multi-stage-vae-mnist": Recipe("multi-stage-vae", "mnist", _MNIST, 60),
    "vae-shapes": Recipe("vae", "shapes", _SHAPES, 30),
    "gan-mnist": Recipe("gan", "mnist", {}, 8, batch_size=64),
    "conditional-gan-mnist": Recipe("conditional-gan", "mnist", {}, 6, batch_size=64),
    "flow-mnist": Recipe("flow", "mnist", {"body": "conv", "width": 48, "learning_rate": 2e-3}, 20),
    "diffusion-mnist": Recipe("diffusion", "mnist", {}, 27),
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
    """Leave what the pages need. Weights and codes keep three digits, which no picture shows."""
    for name in LEFT_OUT:
        (run.path / name).unlink(missing_ok=True)
    if "log_prob" in abilities(run.model):  # its codes are the dataset's images in another form, without loss
        (run.path / "latents.npz").unlink(missing_ok=True)
    weights = load_file(run.path / "weights.safetensors")
    for name, tensor in weights.items():
        if name.startswith("pools."):  # what was made of training images, and needed only to train further
            tensor.zero_()
    half = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in weights.items()}
    save_file(half, run.path / "weights.safetensors")
    steps = run.snapshots()
    kept = {steps[round(each)] for each in np.linspace(0, len(steps) - 1, KEPT)}
    for step in steps:
        if step not in kept:
            (run.path / "snapshots" / f"{step}.npz").unlink()
    for name in ("latents", *(f"snapshots/{step}" for step in kept)):
        arrays = {key: array for key, array in run.arrays(name).items() if key not in IMAGES}
        small = {key: array.astype(np.float16) if array.dtype == np.float32 else array for key, array in arrays.items()}
        if "labels" in arrays:
            small["labels"] = arrays["labels"].astype(np.uint8)
        if small:
            run.write_arrays(name, small)
    status = run.status()
    run.write_status(status.model_copy(update={"pid": None}))


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
