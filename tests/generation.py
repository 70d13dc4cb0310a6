"""`make generation`: what families that make or translate images are held to, trained again on two cores.

Read by the fixed judge of each dataset, 10,000 samples, test images; the floor is what real images score.

    python -m tests.generation [--only gan diffusion ...] [--data mnist] [--seeds 3] [--budget N]
"""

import argparse
import time
from typing import Any, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from genmodels import data
from genmodels.analysis.fidelity import sample_metrics
from genmodels.analysis.metrics import Metric, bits_per_dimension
from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, build
from genmodels.families.contract import Batch, Update, abilities
from genmodels.session import cores
from genmodels.threads import ThreadChooser
from genmodels.training import Images, State, place, train


class TutorialGAN(nn.Module):
    """The DCGAN of the tutorials, at 28 pixels: batch normalisation in both, neither spectral norm nor average.

    A. Radford, L. Metz and S. Chintala (2016), https://arxiv.org/abs/1511.06434, as it is usually written: transposed
    convolutions, real and made images through D one after the other, Adam with 2e-4 and 0.5, weights from N(0, 0.02).
    """

    LOSSES: ClassVar = {"discriminator": "nats per image", "generator": "nats per image"}

    def __init__(self, latent_size: int = 64, width: int = 32) -> None:
        super().__init__()
        self.latent_size = latent_size
        self.generator = nn.Sequential(
            nn.ConvTranspose2d(latent_size, 2 * width, 7, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.ConvTranspose2d(width, 1, 4, 2, 1, bias=False), nn.Tanh(),
        )  # fmt: skip
        self.discriminator = nn.Sequential(
            nn.Conv2d(1, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 1, 7, bias=False), nn.Flatten(0),
        )  # fmt: skip
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(module.weight, 0, 0.02)
            elif isinstance(module, nn.BatchNorm2d):
                nn.init.normal_(module.weight, 1, 0.02)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {
            name: torch.optim.Adam(getattr(self, name).parameters(), 2e-4, (0.5, 0.999), fused=True)
            for name in ("discriminator", "generator")
        }

    def make(self, n: int, generator: torch.Generator | None) -> Tensor:
        return self.generator(torch.randn(n, self.latent_size, 1, 1, generator=generator))

    def sample(self, n: int, labels: Tensor | None = None, generator: torch.Generator | None = None) -> Tensor:
        return (self.make(n, generator) + 1) / 2

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        made = self.make(len(batch.images), batch.generator)
        real, fake = self.discriminator(2 * batch.images - 1), self.discriminator(made.detach())
        ones, zeros = torch.ones_like(real), torch.zeros_like(real)
        loss = F.binary_cross_entropy_with_logits(real, ones) + F.binary_cross_entropy_with_logits(fake, zeros)
        update(loss, "discriminator")
        goal = F.binary_cross_entropy_with_logits(self.discriminator(made), ones)
        update(goal, "generator")
        return {"discriminator": loss.detach(), "generator": goal.detach()}


class Nothing(nn.Module):
    """Gives back what it is given: what a translator must be better than."""

    DIRECTIONS: ClassVar = ("forward",)

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(()))

    def translate(self, x: Tensor, direction: str = "forward") -> Tensor:
        return x


class Plan(NamedTuple):
    """family: its name, or one of the networks above. prefix: of the dataset's name. budget: in `unit`, 0 for none.

    batch_size: 64 as the tutorials have it; of the same images, twice the updates of 128.
    """

    title: str
    family: str | type[nn.Module]
    prefix: str
    budget: float
    knobs: dict[str, Any]
    unit: Literal["epochs", "minutes"] = "epochs"
    batch_size: int = 64


LONG = 30  # minutes
PLANS: dict[str, list[Plan]] = {
    "gan": [Plan("GAN", "gan", "", 4, {}), Plan("tutorial GAN", TutorialGAN, "", 4, {})],
    "conditional-gan": [Plan("conditional GAN", "conditional-gan", "", 4, {})],
    "pix2pix": [
        Plan("pix2pix", "pix2pix", "edges:", 2, {}),
        Plan("plain L1 U-Net", "pix2pix", "edges:", 2, {"adversarial": 0.0}),
        Plan("the edges as they are", Nothing, "edges:", 0, {}),
    ],
    "cyclegan": [
        Plan("CycleGAN", "cyclegan", "inverted:", 2, {}),
        Plan("the digits as they are", Nothing, "inverted:", 0, {}),
    ],
    "flow": [
        Plan("flow, dense couplings", "flow", "", 15, {"body": "mlp"}, "minutes", 128),
        Plan(
            "flow, convolutions", "flow", "", LONG, {"body": "conv", "width": 48, "learning_rate": 2e-3}, "minutes", 128
        ),
    ],
    "diffusion": [Plan("diffusion", "diffusion", "", LONG, {}, "minutes", 128)],
    # What diffusion must be better than, each trained as long.
    "rivals": [
        *(Plan(name, name, "", LONG, {}, "minutes") for name in ("conditional-gan", "gan", "vae-gan")),
        *(Plan(name, name, "", LONG, {}, "minutes", 128) for name in ("vae", "multi-stage-vae")),
    ],
}


def measured(plan: Plan, dataset: str, seed: int, n: int) -> dict[str, Metric]:
    """Train one model and measure it: metric -> value, with the floor where there is one. Raises UserError."""
    loaded = data.load(dataset)
    if isinstance(plan.family, str):
        config = FAMILIES[plan.family].Config.of(plan.knobs)
        model = build(plan.family, config, loaded.shape, len(loaded.classes), seed)
    else:
        torch.manual_seed(seed)
        model = plan.family()
    place(model, torch.device("cpu"))
    decay: Any = "constant" if plan.family is TutorialGAN else "cosine"  # as the tutorials have it
    began, chooser = time.perf_counter(), ThreadChooser(cores())
    if plan.budget:
        schedule = Schedule(budget=plan.budget, unit=plan.unit, batch_size=plan.batch_size, decay=decay)
        for step in train(model, Images.of(loaded, "train"), schedule, State.new(model, seed)):
            chooser.tick(step.seconds, step.number)
    seconds = time.perf_counter() - began
    found = sample_metrics(model, dataset, loaded, n, seed)
    if "log_prob" in abilities(model):
        test = Images.of(loaded, "test").images
        found["bits_per_dimension"] = Metric(bits_per_dimension(model, test), "bits", "lower", len(test))
    print(f"    seed {seed}: {seconds:.0f} s", {name: round(each.value, 4) for name, each in found.items()}, flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=PLANS, default=list(PLANS))
    parser.add_argument("--data", nargs="*", default=["mnist", "fashion-mnist"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--budget", type=float, help="in the unit of each: epochs or minutes")
    parser.add_argument("--samples", type=int, default=10_000)
    asked = parser.parse_args()
    for dataset in asked.data:
        for plan in (plan for group in asked.only for plan in PLANS[group]):
            plan = plan._replace(budget=plan.budget and (asked.budget or plan.budget))
            name, budget = plan.prefix + dataset, f"{plan.budget:g} {plan.unit}"
            print(f"\n{plan.title} on {name}, {budget}, {asked.seeds} seeds: minimum / mean / maximum")
            all_found = [measured(plan, name, seed, asked.samples) for seed in range(asked.seeds)]
            for metric, (_, unit, better, n, floor) in all_found[0].items():
                values = [found[metric].value for found in all_found]
                told = f"floor {floor:.4f}, " if floor is not None else ""
                print(
                    f"  {metric:24} {min(values):9.4f} / {sum(values) / len(values):9.4f} / {max(values):9.4f}"
                    f"  {told}{better} is better, {unit}, n = {n:,}",
                    flush=True,
                )


if __name__ == "__main__":
    try:
        main()
    except UserError as error:
        raise SystemExit(str(error)) from None
