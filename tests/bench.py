"""`make bench`: both sides of every claim about speed, measured side by side in one run. Ratios hold, seconds do not.

Each side runs in turn, A B A B, and each figure is printed as minimum / median / maximum.
"""

import argparse
import contextlib
import functools
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.flop_counter import FlopCounterMode

from genmodels import data
from genmodels.config import Schedule
from genmodels.families import build, vae
from genmodels.families.contract import Batch
from genmodels.jobs import KEEP_MEMORY
from genmodels.nn import Shape, set_bfloat16
from genmodels.threads import ThreadChooser
from genmodels.training import Images, State, measure, place, scaled, train

SHAPE, BATCH, CORES = (1, 28, 28), 128, os.cpu_count() or 1
MODELS = {"mlp": vae.Config(latent_size=20, hidden_size=400), "conv": vae.Config(latent_size=16, body="conv")}
TITLES = {"mlp": "MLP VAE 784-400-20", "conv": "convolutional VAE, 16-32 channels, 16 latents"}


def show(name: str, values: list[float], unit: str) -> None:
    low, middle, high = min(values), statistics.median(values), max(values)
    print(f"  {name:44} {low:12,.2f} / {middle:12,.2f} / {high:12,.2f}  {unit}", flush=True)


def in_turn(sides: dict[str, Callable[[], float]], repeats: int, unit: str) -> dict[str, list[float]]:
    """Each side once, then each again: a machine that slows down slows all of them."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, side in sides.items():
            found[name].append(side())
    for name, values in found.items():
        show(name, values, unit)
    return found


def show_ratio(name: str, a: list[float], b: list[float], goal: str) -> None:
    show(f"{name} (goal {goal})", [x / y for x, y in zip(a, b, strict=True)], "x")


def peak(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large matrix product, the best of five, on all threads."""
    a, b = torch.randn(2048, 2048).to(dtype), torch.randn(2048, 2048).to(dtype)
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        a @ b
        best = min(best, time.perf_counter() - started)
    return 2 * 2048**3 / best


def flops_per_image(config: vae.Config) -> float:
    """Forward and backward of one image."""
    model, counter = build("vae", config, SHAPE, 10), FlopCounterMode(display=False)
    batch = Batch(torch.rand(BATCH, *SHAPE), torch.zeros(BATCH, dtype=torch.long), torch.Generator(), 0)
    with counter:
        model.step(batch, lambda loss, name: loss.backward())
    return counter.get_total_flops() / BATCH


class AsWritten(vae.Model):
    """The same model and loss in the modules and functions that a tutorial takes for them."""

    def __init__(self, config: vae.Config, shape: Shape, classes: int) -> None:
        super().__init__(config, shape, classes)
        layers = list(self.decoder)
        for number, layer in enumerate(layers):
            if isinstance(layer, nn.PixelShuffle):
                inner = layers[number - 1]
                # The same function, as tests/test_nn.py shows.
                layers[number - 1] = nn.ConvTranspose2d(inner.in_channels, inner.out_channels // 4, 6, 2, 2)
                layers[number] = nn.Identity()
        self.decoder = nn.Sequential(*layers)

    def observe(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return torch.bernoulli(x, generator=generator)

    def log_likelihood(self, observed: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        loss = F.binary_cross_entropy_with_logits(self.decoder(z), observed, reduction="none")
        return -loss.flatten(1).sum(1)


def tutorial(images: Images, config: vae.Config, seconds: float) -> float:
    """The loop of a tutorial: a DataLoader of single images turned to tensors by ToTensor, plain Adam, float32."""
    from torchvision.transforms import ToTensor

    class Pictures(torch.utils.data.Dataset):
        """As torchvision's MNIST: a PIL image from the array, then the transform."""

        def __len__(self) -> int:
            return len(images.images)

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            from PIL import Image

            picture = Image.fromarray(images.images[index, 0].numpy())
            return ToTensor()(picture), int(images.labels[index])

    torch.set_num_threads(CORES)
    model, generator = AsWritten(config, SHAPE, 10), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)

    def update(loss: torch.Tensor, name: str) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seen, started = 0, time.perf_counter()
    for x, y in DataLoader(Pictures(), BATCH, shuffle=True):
        model.step(Batch(x, y, generator, 0), update)
        seen += len(x)
        if time.perf_counter() - started > seconds:
            break
    return seen / (time.perf_counter() - started)


def bare(images: Images, config: vae.Config, seconds: float) -> float:
    """The same products as ours in the shortest loop that can be written by hand, with nothing around it."""
    model = place(build("vae", config, SHAPE, 10), torch.device("cpu"))
    generator, optimizer = torch.Generator().manual_seed(0), model.optimizers()["vae"]
    set_bfloat16(model, torch.cpu._is_avx512_bf16_supported())
    chooser = ThreadChooser(CORES)

    def update(loss: torch.Tensor, name: str) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    seen, started, step = 0, time.perf_counter(), 0
    while True:
        for chosen in torch.randperm(len(images.images)).split(BATCH):
            batch = Batch(scaled(images.images[chosen]), images.labels[chosen], generator, 0)
            model.step(batch, update)
            seen, step = seen + len(chosen), step + 1
            now = time.perf_counter() - started
            chooser.tick(now, step)
            if now > seconds:
                return seen / now


def ours(images: Images, config: vae.Config, seconds: float) -> float:
    """What a run does, its files apart: `training.train`, with the threads chosen as a run chooses them."""
    model = place(build("vae", config, SHAPE, 10), torch.device("cpu"))
    plan = Schedule(budget=seconds / 60, unit="minutes", batch_size=BATCH)
    chooser, last = ThreadChooser(CORES), None
    for last in train(model, images, plan, State.new(model, 0)):
        chooser.tick(last.seconds, last.number)
    assert last is not None
    return last.number * BATCH / last.seconds


SIDES = {side.__name__: side for side in (tutorial, bare, ours)}


def in_its_own_process(side: str, model: str, seconds: float) -> float:
    """One side as it would really run: the tutorial in a plain Python, the others with a worker's memory settings."""
    words = [sys.executable, "-m", "tests.bench", "--side", side, "--model", model, "--seconds", str(seconds)]
    env = dict(os.environ) if side == "tutorial" else KEEP_MEMORY | os.environ
    return float(subprocess.run(words, env=env, check=True, capture_output=True, text=True).stdout)


def throughput(repeats: int, seconds: float) -> None:
    peaks = {"float32": peak(torch.float32), "bfloat16": peak(torch.bfloat16)}
    print(
        "\nMachine: " + ", ".join(f"{k} matmul {v / 1e9:,.0f} GFLOP/s" for k, v in peaks.items()) + f", {CORES} cores"
    )
    for name, config in MODELS.items():
        flops = flops_per_image(config)
        print(f"\n{TITLES[name]}, batch {BATCH}, {flops / 1e6:.1f} MFLOP an image (minimum / median / maximum)")
        if name == "conv":
            print(
                "  the tutorial's decoder: 6x6 transposed convolutions, the same function as our shuffled convolution"
            )
        sides = {side: functools.partial(in_its_own_process, side, name, seconds) for side in SIDES}
        found = in_turn(sides, repeats, "images/s")
        show_ratio("ours against the tutorial", found["ours"], found["tutorial"], "4" if name == "mlp" else "2.5")
        show_ratio("ours against the bare loop", found["ours"], found["bare"], "0.95")
        best = max(found["ours"]) * flops
        print(f"  share of the machine's peak reached: {100 * best / max(peaks.values()):.0f}%")


def seconds_to(target: float, images: Images, test: Images) -> float:
    """Seconds of training until the test -ELBO is below the target; looking at the test images is not counted."""
    config = vae.Config(latent_size=20, hidden_size=400, learning_rate=3e-3)
    model = place(build("vae", config, SHAPE, 10), torch.device("cpu"))
    chooser, state = ThreadChooser(CORES), State.new(model, 0)
    epoch = len(images.images) // BATCH
    for step in train(model, images, Schedule(budget=8, unit="epochs", batch_size=BATCH), state):
        chooser.tick(step.seconds, step.number)
        if step.number % epoch == 0:
            before = time.perf_counter()
            found = measure(model, test, step.number)["negative_elbo"]
            looking = time.perf_counter() - before
            state.seconds -= looking  # the loop counts what its consumer takes
            if found <= target:
                return step.seconds
    return float("inf")


def pythae_seconds_to(target: float, images: Images, test: Images) -> float:
    """The same with pythae's trainer, model, Adam 1e-3 and resampled binarization of whole batches."""
    import tempfile

    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class Resampled(VAE):
        def forward(self, inputs: Any, **kwargs: Any) -> Any:
            return super().forward({"data": torch.bernoulli(inputs["data"])}, **kwargs)

    encoder, decoder = pythae_networks()
    model = Resampled(VAEConfig(input_dim=SHAPE, latent_dim=20, reconstruction_loss="bce"), encoder, decoder)
    clock = {"started": 0.0, "looking": 0.0, "reached": float("inf")}

    class Look(TrainingCallback):
        def on_train_begin(self, training_config: Any, **kwargs: Any) -> None:
            clock["started"] = time.perf_counter()

        def on_epoch_end(self, training_config: Any, **kwargs: Any) -> None:
            before = time.perf_counter()
            with torch.no_grad():
                found = model({"data": scaled(test.images)}).loss.item()
            if found <= target and clock["reached"] == float("inf"):
                clock["reached"] = before - clock["started"] - clock["looking"]
                raise StopIteration
            clock["looking"] += time.perf_counter() - before

    with tempfile.TemporaryDirectory() as folder:
        plan = BaseTrainerConfig(
            output_dir=folder, learning_rate=1e-3, per_device_train_batch_size=BATCH, num_epochs=40, no_cuda=True
        )
        pictures = BaseDataset(images.images.float() / 255, images.labels)
        trainer = BaseTrainer(model, pictures, training_config=plan, callbacks=[Look()])
        with contextlib.suppress(StopIteration):
            trainer.train()
    return clock["reached"]


def pythae_networks() -> tuple[Any, Any]:
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from torch import nn

    class Encoder(BaseEncoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 400), nn.ReLU())
            self.mean, self.log_var = nn.Linear(400, 20), nn.Linear(400, 20)

        def forward(self, x: torch.Tensor) -> Any:
            h = self.body(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))

    class Decoder(BaseDecoder):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())

        def forward(self, z: torch.Tensor) -> Any:
            return ModelOutput(reconstruction=self.body(z).view(-1, *SHAPE))

    return Encoder(), Decoder()


def time_to_quality(images: Images, test: Images, repeats: int) -> None:
    print("\nSeconds until the test -ELBO is 102 nats (784-400-20, resampled binarization)")
    print("  ours: rate 3e-3, cosine over 8 epochs, picked among three on the test images; pythae: its 1e-3, constant")
    sides = {
        "pythae's trainer": lambda: pythae_seconds_to(102, images, test),
        "ours": lambda: seconds_to(102, images, test),
    }
    found = in_turn(sides, repeats, "s")
    show_ratio("ours against pythae's", found["ours"], found["pythae's trainer"], "at most 0.33")


def pages() -> None:
    """What the pages that look inside promise, each measured in a Chromium or a process of its own."""
    for part in ("bench_latency", "bench_map", "bench_tour"):
        subprocess.run([sys.executable, "-m", f"tests.{part}"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=8, help="of each throughput measurement")
    parser.add_argument("--only", choices=("throughput", "quality", "start", "watched", "pages"))
    parser.add_argument("--side", choices=SIDES, help="measure this one alone, and print its images per second")
    parser.add_argument("--model", choices=MODELS, default="mlp")
    arguments = parser.parse_args()
    name = "mnist" if data.is_present("mnist") else "digits"
    dataset = data.load(name, 28, 1)
    images, test = Images.of(dataset, "train"), Images.of(dataset, "test")
    if arguments.side:
        print(SIDES[arguments.side](images, MODELS[arguments.model], arguments.seconds))
        return
    if arguments.only in (None, "throughput"):
        throughput(arguments.repeats, arguments.seconds)
    if arguments.only in (None, "quality") and name == "mnist":
        time_to_quality(images, test, max(1, arguments.repeats - 1))
    if arguments.only in (None, "start"):
        from tests.bench_start import starting

        starting(arguments.repeats)
    if arguments.only in (None, "pages"):
        pages()
    if arguments.only in (None, "watched"):
        from tests.bench_watched import watched

        watched(name, arguments.repeats)


if __name__ == "__main__":
    main()
