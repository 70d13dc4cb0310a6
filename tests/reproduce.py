"""`make reproduce`: the published results we hold ourselves to, trained again on MNIST, each with three seeds.

Trained on the 55,000 training images, measured on the 10,000 test images. `--part validation` measures on the 5,000
images held back instead: settings are picked there, and the test images are looked at once, at the end.
"""

import argparse
from typing import Any

import torch

from genmodels import data
from genmodels.analysis.metrics import evaluate
from genmodels.config import Schedule, UserError
from genmodels.data.dataset import Part
from genmodels.families import FAMILIES, build
from genmodels.session import cores
from genmodels.threads import ThreadChooser
from genmodels.training import Images, State, place, train

EPOCHS = 20
LARGE = {"latent_size": 16, "hidden_size": 512, "layers": 2}  # the best of four on the validation images
# family, knobs that are not the default, and what is published: metric, bound, whether it must lie below
RESULTS: list[tuple[str, dict[str, Any], tuple[str, float, bool] | None]] = [
    ("autoencoder", {"latent_size": 30}, ("reconstruction_error", 0.0157, True)),
    ("conv-autoencoder", {"latent_size": 30}, ("reconstruction_error", 0.0045, True)),
    ("vae", LARGE, None),
    ("multi-stage-vae", LARGE, ("accuracy", 0.985, False)),
]


def measured(family: str, knobs: dict[str, Any], seed: int, epochs: float, part: Part) -> dict[str, float]:
    """Train one model and measure it. Raises UserError without MNIST."""
    mnist = data.load("mnist")
    images, kept = Images.of(mnist, "train"), Images.of(mnist, part)
    model = place(build(family, FAMILIES[family].Config.of(knobs), mnist.shape, 10, seed), torch.device("cpu"))
    plan, chooser = Schedule(budget=epochs, unit="epochs", decay="cosine"), ThreadChooser(cores())
    for step in train(model, images, plan, State.new(model, seed)):
        chooser.tick(step.seconds, step.number)
    found = {name: metric.value for name, metric in evaluate(model, kept).items()}
    return found | {"minutes": step.seconds / 60}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=float, default=EPOCHS)
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--family", choices=[family for family, *_ in RESULTS], help="only this one")
    parser.add_argument("--set", nargs="*", default=[], metavar="KNOB=VALUE", help="try another setting")
    asked = parser.parse_args()
    print(f"MNIST, {asked.epochs:g} epochs, {asked.seeds} seeds, {asked.part} images: minimum / mean / maximum")
    for family, knobs, published in (result for result in RESULTS if asked.family in (None, result[0])):
        knobs = knobs | dict(word.split("=", 1) for word in asked.set)
        all_found = [measured(family, knobs, seed, asked.epochs, asked.part) for seed in range(asked.seeds)]
        print(f"\n{FAMILIES[family].title}, " + ", ".join(f"{name} {value}" for name, value in knobs.items()))
        for name in all_found[0]:
            values = [found[name] for found in all_found]
            line = f"  {name:24} {min(values):10.4f} / {sum(values) / len(values):10.4f} / {max(values):10.4f}"
            if published and published[0] == name:
                line += f"  (published: {'below' if published[2] else 'above'} {published[1]})"
            print(line, flush=True)


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
