"""`make reproduce`: published results, trained again and measured, hours in all. It can be stopped at any time: what is
trained is kept in GENMODELS_HOME/reproduced, what is measured beside it, and the next call goes on from there.

    python -m tests.reproduce [--only vae iwae ...] [--seeds 3] [--part validation] [--set KNOB=VALUE ...]

Settings are picked with `--part validation`, on images held back; the test images are looked at once, at the end.

A budget in minutes is of two cores. Where there is one, it lasts 1.7 times as long: two threads do at most that much
more than one.
"""

import argparse
import hashlib
import json
import statistics
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from genmodels import data
from genmodels.analysis.codes import code_metrics
from genmodels.analysis.metrics import bits_per_dimension, evaluate, importance_sampled_nll
from genmodels.analysis.outliers import aurocs
from genmodels.config import Schedule, UserError
from genmodels.data.dataset import Dataset, Part
from genmodels.families import FAMILIES, build
from genmodels.files import home, write_atomically, write_json
from genmodels.session import cores
from genmodels.threads import ThreadChooser
from genmodels.training import Images, State, measure, place, some, train

ONE_CORE = 1.7
Found = dict[str, float]
DRAWS = {"validation": (500, 1000), "test": (5000, 10_000)}  # codes an image, and images, for the NLL
AT_ONCE = 4_000_000  # pixels decoded together for it: faster than more, which no cache holds
ODD = 2000  # images a side, to tell outliers


class Plan(NamedTuple):
    """What is trained, and what is measured of it.

    knobs: those that are not the default. known: metric -> what is published of it and where, or asked for, in words.
    """

    title: str
    family: str
    dataset: str
    knobs: dict[str, Any]
    budget: float
    unit: Literal["epochs", "minutes"]
    batch_size: int
    measured: Callable[[Any, Dataset, Part, int], Found]
    known: dict[str, str]

    def schedule(self) -> Schedule:
        """A budget in minutes as it is on this machine."""
        longer = ONE_CORE if self.unit == "minutes" and cores() == 1 else 1
        return Schedule(budget=self.budget * longer, unit=self.unit, batch_size=self.batch_size, decay="cosine")


# -- what is measured


def of_images(model: Any, loaded: Dataset, part: Part, seed: int) -> Found:
    """What any model can be asked."""
    return {name: metric.value for name, metric in evaluate(model, Images.of(loaded, part)).items()}


def likelihood(model: Any, loaded: Dataset, part: Part, seed: int) -> Found:
    """NLL with its standard error over images, in nats, and the bound that a VAE is trained by.

    Y. Burda et al. (2016), section 5: 5,000 draws, pixels drawn black or white by their grey value.
    """
    kept, (draws, count) = Images.of(loaded, part), DRAWS[part]
    groups = list(enumerate(some(kept, count).images.split(50)))  # the error is of the means of groups
    found = [importance_sampled_nll(model, images, draws, seed + number, AT_ONCE) for number, images in groups]
    nll, sizes = zip(*found, strict=True)
    error = statistics.stdev(nll) / len(nll) ** 0.5
    bound = measure(model, kept, 0)["negative_elbo"]
    size = statistics.mean(sizes)
    return {"nll": statistics.mean(nll), "standard_error": error, "effective_sample_size": size, "negative_elbo": bound}


def bits(model: Any, loaded: Dataset, part: Part, seed: int) -> Found:
    """Bits per dimension by one draw of dequantization noise, an upper bound."""
    return {"bits_per_dimension": bits_per_dimension(model, Images.of(loaded, part).images)}


def factors(model: Any, loaded: Dataset, part: Part, seed: int) -> Found:
    """Whether each true factor has a latent of its own, by all images that are not learned from; while settings are
    picked, by those held back alone."""
    if part == "validation":
        train, held, _ = loaded.sizes
        arrays = {name: getattr(loaded, name)[: train + held] for name in ("images", "labels", "factors")}
        loaded = replace(loaded, sizes=(train, held // 2, held - held // 2), **arrays)
    found = code_metrics(model, loaded, seed)
    wanted = ("mig", "dci_disentanglement", "sap", "factor_vae")
    return {name: found[name].value for name in wanted} | {"mig_of_the_factors": found["mig"].floor or 0}


def outliers(model: Any, loaded: Dataset, part: Part, seed: int) -> Found:
    """AUROC of each score, images of the dataset against as many of MNIST."""
    usual, odd = (some(Images.of(each, part), ODD).images.numpy() for each in (loaded, data.load("mnist")))
    return aurocs(model, loaded.images[loaded.span("train")], usual, odd, seed)


# -- what is held to what

LARGE = {"latent_size": 16, "hidden_size": 512, "layers": 2}  # the best of four on the validation images
DENSE = {"hidden_size": 512, "layers": 2, "latent_size": 40, "learning_rate": 2e-3, "beta_warm_up": 10_000}
NOTEBOOK = "the notebook this grew from"
BURDA = "Burda et al. (2016), Table 1"
TABLE = "table of zalandoresearch/fashion-mnist#144"
CLAIM = "no value: the set is our own. Higgins et al. (2017): more than 1 disentangles better, up to a point"
NALISNICK = "Nalisnick et al. (2019): raw likelihood ranks MNIST as the more usual"


def beta_vae(beta: float) -> Plan:
    knobs = {"latent_size": 10, "beta": beta, "body": "conv", "hidden_size": 128}
    return Plan(f"VAE, beta {beta:g}", "vae", "shapes", knobs, 30, "epochs", 128, factors, {"mig": CLAIM})


PLANS: dict[str, list[Plan]] = {
    "autoencoder": [
        Plan("autoencoder", "autoencoder", "mnist", {"latent_size": 30}, 20, "epochs", 128, of_images,
             {"reconstruction_error": f"0.0157 ({NOTEBOOK})"}),
    ],
    "conv": [
        Plan("convolutional autoencoder", "conv-autoencoder", "mnist", {"latent_size": 30}, 20, "epochs", 128,
             of_images, {"reconstruction_error": f"0.0045 ({NOTEBOOK})"}),
    ],
    "multi-stage": [
        Plan("multi-stage VAE", "multi-stage-vae", "mnist", LARGE, 20, "epochs", 128, of_images,
             {"accuracy": f"0.9815 ({NOTEBOOK})"}),
    ],
    "vae": [Plan("VAE", "vae", "mnist", DENSE, 5, "minutes", 256, likelihood, {"nll": f"86.76 ({BURDA}, k = 1)"})],
    "iwae": [
        Plan("importance-weighted VAE", "vae", "mnist", DENSE | {"importance_samples": 5}, 10, "minutes", 256,
             likelihood, {"nll": f"84.78 ({BURDA}, k = 50)"}),
    ],
    "flow": [
        Plan("flow of convolutions", "flow", "mnist", {"body": "conv", "width": 48, "learning_rate": 2e-3}, 20,
             "epochs", 128, bits, {"bits_per_dimension": f"1.06 (RealNVP; {TABLE})"}),
    ],
    "beta": [beta_vae(beta) for beta in (1, 4, 8, 16)],
    "outliers": [
        Plan("VAE against MNIST", "vae", "fashion-mnist", LARGE, 20, "epochs", 128, outliers,
             {"elbo": f"below 0.5 ({NALISNICK})", "regret": "at least 0.95 is asked for"}),
    ],
}  # fmt: skip


# -- doing it


def kept_at(plan: Plan, seed: int) -> Path:
    """Where this model is kept: another setting, or another budget, is another model."""
    said = json.dumps([plan.knobs, plan.budget, plan.unit, plan.batch_size], sort_keys=True)
    folder = home() / "reproduced"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{plan.family}-{plan.dataset}-{hashlib.sha256(said.encode()).hexdigest()[:10]}-{seed}.pt"


def trained(plan: Plan, loaded: Dataset, seed: int) -> tuple[Any, Found]:
    """The model of this plan and seed, and what it took; from the disk where it has been trained before."""
    config, path = FAMILIES[plan.family].Config.of(plan.knobs), kept_at(plan, seed)
    model: Any = place(build(plan.family, config, loaded.shape, len(loaded.classes), seed), torch.device("cpu"))
    if path.exists():
        saved = torch.load(path, weights_only=True)
        model.load_state_dict(saved["model"])
        return model, saved["took"]
    chooser = ThreadChooser(cores())
    for step in train(model, Images.of(loaded, "train"), plan.schedule(), State.new(model, seed)):
        chooser.tick(step.seconds, step.number)
    took = {"minutes": step.seconds / 60, "epochs": step.epoch, "cores": float(cores())}
    write_atomically(path, lambda file: torch.save({"model": model.state_dict(), "took": took}, file), durable=True)
    return model, took


def found(plan: Plan, seed: int, part: Part) -> Found:
    """Train one model, measure it, and keep both; or read what was. Raises UserError without the dataset."""
    path = kept_at(plan, seed).with_suffix(f".{part}.json")
    if not path.exists():
        loaded = data.load(plan.dataset)
        model, took = trained(plan, loaded, seed)
        write_json(path, plan.measured(model, loaded, part, seed) | took)
    return json.loads(path.read_text(encoding="utf-8"))


def tell(plan: Plan, all_found: list[Found]) -> None:
    """A table of every number: mean, smallest and largest over the seeds, and beside it what is known."""
    knobs = ", ".join(f"{name} {value}" for name, value in plan.knobs.items())
    print(f"\n{plan.title}, {plan.dataset}, {plan.budget:g} {plan.unit}, batches of {plan.batch_size}: {knobs}")
    for name in all_found[0]:
        values = [each[name] for each in all_found]
        line = f"  {name:24} {statistics.mean(values):10.4f}  ({min(values):.4f} to {max(values):.4f})"
        print(line + (f"  known: {plan.known[name]}" if name in plan.known else ""), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PLANS, default=list(PLANS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--part", choices=("validation", "test"), default="test")
    parser.add_argument("--budget", type=float, help="in the unit of each: epochs or minutes")
    parser.add_argument("--set", nargs="*", default=[], metavar="KNOB=VALUE", help="try another setting")
    asked = parser.parse_args()
    print(f"{asked.part} images, {asked.seeds} seeds, {cores()} cores: mean (smallest to largest)")
    more = f" --budget {asked.budget:g}" if asked.budget else ""
    more += f" --set {' '.join(asked.set)}" if asked.set else ""
    for name in asked.only:
        for plan in PLANS[name]:
            knobs = plan.knobs | dict(word.split("=", 1) for word in asked.set)
            tried = plan._replace(budget=asked.budget or plan.budget, knobs=knobs)
            tell(tried, [found(tried, seed, asked.part) for seed in range(asked.seeds)])
        print(f"  again: python -m tests.reproduce --only {name} --seeds {asked.seeds} --part {asked.part}{more}")


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
