"""The judge: a small fixed classifier of each dataset that says what a picture reads as.

It is trained on the real training images, tested once on the test images, and never changed: so two models, or two
settings of one, are read with the same eyes. Those of mnist, fashion-mnist, digits and shapes come with the package;
for any other dataset with classes one is trained when it is first asked for, and kept in home()/judges. It reads
pictures as the model makes them: mean pixels in [0, 1], not inverted, not stretched.

    python -m genmodels.analysis.judge DATASET [FOLDER]     trains it anew
"""

import hashlib
import math
import re
import sys
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from genmodels import data
from genmodels.config import Config, Schedule, UserError, knob
from genmodels.data import folders
from genmodels.data.dataset import Report
from genmodels.families.contract import Batch, Update
from genmodels.files import home, read_json, shared_home, write_atomically, write_json
from genmodels.nn import Shape, adam
from genmodels.training import Images, State, evaluating, place, scaled, total_steps, train

SHIPPED = Path(__file__).parents[1] / "zoo" / "judges"
REPORTS = 100  # times that training says how far it is
# How a styled image becomes one that its judge was trained on; what is not here is read as it is. uint8 (N, C, H, W).
UNSTYLED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "inverted": lambda images: 255 - images,
    "rotated": lambda images: np.rot90(images, -1, axes=(2, 3)),
    # A full colour has one channel as bright as the grey image was, so the brightest is exact and the mean is not.
    "coloured": lambda images: images.max(1, keepdims=True),
}


class Settings(Config):
    """How a judge is trained; written beside its weights."""

    width: int = knob(32, 4, 128, help="Channels of the first convolution; the others have twice as many.")
    epochs: int = knob(4, 1, 200, help="Passes over the training images.")
    batch_size: int = knob(128, 1, 4096, help="Images in each update.")
    learning_rate: float = knob(2e-3, 1e-5, 1.0, help="Of Adam, at the start; it falls to zero as a cosine.")
    seed: int = knob(0, 0, help="Of the initial weights and the order of the images.")


# Set before the test images were looked at: small sets need more passes, clothes a wider body than digits.
SETTINGS: dict[str, Settings] = {
    "mnist": Settings(),
    "fashion-mnist": Settings(width=48, epochs=8),
    "digits": Settings(epochs=60, batch_size=64),
    "shapes": Settings(epochs=12),
}


class Facts(NamedTuple):
    """What is known of a judge. accuracy: share of the n test images that it reads as their class.
    data: of a folder of one's own, which images it was trained on, as its cache is called; else empty."""

    dataset: str
    classes: tuple[str, ...]
    shape: Shape
    accuracy: float
    n: int
    parameters: int
    settings: dict[str, Any]
    sha256: str
    data: str = ""

    @property
    def features(self) -> int:
        """How many numbers an image is compared in."""
        return 2 * self.settings["width"]

    @property
    def words(self) -> str:
        """Whose features they are, as the unit of a figure says it."""
        return f"judge features, hash {self.sha256[:8]}, accuracy {self.accuracy:.1%}"


class Network(nn.Module):
    """Three 3x3 convolutions with batch normalisation, halved by max-pooling, and one linear layer: about 100,000
    parameters for 28x28 images. A Model for `training.train`; (N, C, H, W) in [0, 1] -> logits (N, K)."""

    LOSSES = {"cross_entropy": "nats per image"}  # noqa: RUF012  (as every family has it)

    def __init__(self, shape: Shape, classes: int, settings: Settings) -> None:
        super().__init__()
        self.learning_rate = settings.learning_rate
        channels, side = shape[0], shape[1:]
        layers: list[nn.Module] = []
        for level, wide in enumerate((settings.width, 2 * settings.width, 2 * settings.width)):
            layers += [nn.Conv2d(channels, wide, 3, padding=1, bias=False), nn.BatchNorm2d(wide)]
            channels = wide
            if level < 2 or max(shape[1:]) > 32:
                layers.append(nn.MaxPool2d(2))
                side = (side[0] // 2, side[1] // 2)
            layers.append(nn.ReLU())  # after the pool: the same, for a quarter of the pixels
        self.body = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.3))
        self.head = nn.Linear(channels * side[0] * side[1], classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).float()

    def maps(self, x: Tensor) -> Tensor:
        """What the last convolution sees: the body without its Flatten and Dropout. -> (N, F, h, w)."""
        return self.body[:-2](x)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        return {"judge": adam(self.parameters(), self.learning_rate)}

    def step(self, batch: Batch, update: Update) -> dict[str, Tensor]:
        loss = F.cross_entropy(self(batch.images), batch.labels)
        update(loss, "judge")
        return {"cross_entropy": loss.detach()}


class Judge(NamedTuple):
    """A trained network and what is known of it. Shared: never trained further or moved.

    style: of the images that it is shown, a name in UNSTYLED; they are mapped back before it reads them.
    """

    network: Network
    facts: Facts
    style: str = ""

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """p(class | image). uint8 (N, C, H, W) of any size, grey or colour -> float32 (N, K)."""
        return self.read(images)[1]

    def features(self, images: np.ndarray) -> np.ndarray:
        """The last convolution's maps after the ReLU, each averaged over its pixels. uint8 (N, C, H, W) -> (N, F).

        float32; F is twice the width: 64 for mnist, digits and shapes, 96 for fashion-mnist.
        """
        return self.read(images)[0]

    def read(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both of the above for the price of one: features (N, F) and probabilities (N, K)."""
        features, probabilities = [], []
        with evaluating(self.network):
            for part in torch.from_numpy(unstyled(images, self.style)).split(250):
                maps = self.network.maps(fitted(part, self.facts.shape))
                features.append(maps.mean((2, 3)).float())
                probabilities.append(self.network.head(maps.flatten(1)).float().softmax(1))
        return torch.cat(features).numpy(), torch.cat(probabilities).numpy()


def unstyled(images: np.ndarray, style: str) -> np.ndarray:
    """Images as they were before they got this style, where that can be undone. uint8 (N, C, H, W) -> the same."""
    return np.ascontiguousarray(UNSTYLED[style](images) if style in UNSTYLED else images)


def fitted(images: Tensor, shape: Shape) -> Tensor:
    """Images as a judge of this shape takes them. uint8 (N, C, H, W) -> float (N, *shape) in [0, 1]."""
    x = scaled(images)
    if x.shape[1] != shape[0]:
        x = x.mean(1, keepdim=True) if shape[0] == 1 else x.expand(-1, shape[0], -1, -1)
    if x.shape[2:] != shape[1:]:
        x = F.interpolate(x, shape[1:], mode="bilinear", antialias=True).clamp(0, 1)
    return x


def judge_of(dataset: str, classes: tuple[str, ...]) -> Judge | None:
    """The judge that comes with the package or was trained here before; None where there is none for these classes, or
    where the images of a folder are no longer those that it was trained on.

    Of pairs and domains made of other datasets it is the judge of what the images are made of, and maps a style back.
    Raises UserError where its weights are not those it was tested with.
    """
    base, style = base_of(dataset)
    for folder in (SHIPPED, kept_in(base)):
        told = folder / f"{file_name(base)}.json"
        if told.exists():
            judge = _opened(told, told.stat().st_mtime_ns)
            if judge.facts.classes == classes and content_of(base) in (None, judge.facts.data):
                return judge._replace(style=style)
    return None


def base_of(dataset: str) -> tuple[str, str]:
    """The dataset that the images are made of, and their style, empty where they are as they were.

    "inverted:mnist" -> "mnist", "inverted"; "edges:mnist" -> "mnist", ""; "domains:digits+mnist" -> "mnist", "".
    """
    head = dataset.partition(":")[0]
    return data.bases(dataset)[-1], head if head in UNSTYLED else ""


def train_judge(
    dataset: str,
    folder: Path | None = None,
    report: Report = lambda share, text: None,
    settings: Settings | None = None,
) -> Judge:
    """Train on the training images, test on the test images, write weights and facts. Raises UserError.

    One seed and one machine give the same weights. Which dataset is read for pairs and domains: see `judge_of`.
    """
    dataset, style = base_of(dataset)
    content, loaded = content_of(dataset) or "", data.load(dataset)
    if len(loaded.classes) < 2:
        raise UserError(f"The dataset {dataset} has no classes, so there is nothing that a judge could read.")
    settings = settings or SETTINGS.get(dataset, _settings_for(loaded.sizes[0]))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = Network(loaded.shape, len(loaded.classes), settings)
        place(network, torch.device("cpu"))
        _learn(network, Images.of(loaded, "train"), settings, report)
    test, count = Images.of(loaded, "test"), sum(p.numel() for p in network.parameters())
    facts = Facts(
        dataset, loaded.classes, loaded.shape, 0.0, len(test.labels), count, settings.model_dump(), "", content
    )
    facts = facts._replace(accuracy=accuracy(Judge(network, facts), test))
    return Judge(network, keep(network, facts, (folder or kept_in(dataset)) / f"{file_name(dataset)}.json"), style)


def keep(network: nn.Module, facts: Any, told: Path) -> Any:
    """Write the weights, in half precision, beside the facts, which then have their hash. -> the facts"""
    network.half().float()  # here as there
    state = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    weights = save_tensors({name: each.half() if each.is_floating_point() else each for name, each in state.items()})
    facts = facts._replace(sha256=hashlib.sha256(weights).hexdigest())
    told.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(told.with_suffix(".safetensors"), lambda file: file.write(weights))
    write_json(told, facts._asdict())
    return facts


def accuracy(judge: Judge, images: Images) -> float:
    """Share of images read as their class."""
    return float((judge.probabilities(images.images.numpy()).argmax(1) == images.labels.numpy()).mean())


def _settings_for(count: int) -> Settings:
    """About 1,500 updates, at least one pass and at most a hundred: a quarter of a minute on two cores."""
    return Settings(epochs=int(np.clip(round(1500 * 128 / count), 1, 100)))


def _learn(network: Network, images: Images, settings: Settings, report: Report) -> None:
    schedule = Schedule(budget=settings.epochs, unit="epochs", batch_size=settings.batch_size, decay="cosine")
    total = total_steps(schedule, len(images.images)) or 1
    for step in train(network, images, schedule, State.new(network, settings.seed)):
        if step.number % max(1, total // REPORTS) == 0:
            report(step.number / total, f"Training a judge: epoch {math.ceil(step.epoch)} of {settings.epochs}")
    network.eval()


def kept_in(dataset: str) -> Path:
    """The folder of judges: what was learned from own images belongs to their owner."""
    return (shared_home() if dataset in data.DATASETS else home()) / "judges"


def file_name(dataset: str) -> str:
    """A file name: that of a folder of one's own has a mark of its path, for two may sound alike."""
    plain = re.sub(r"[^a-z0-9]+", "-", dataset.lower()).strip("-")[-40:]
    return plain if dataset in data.DATASETS else f"{plain}-{hashlib.sha256(dataset.encode()).hexdigest()[:8]}"


def content_of(dataset: str) -> str | None:
    """What changes with any image of a folder of one's own; empty for the sets that stay as they are, None where the
    folder is not on this machine."""
    if not dataset.startswith(folders.PREFIX):
        return ""
    return folders.Folder(folders.path_of(dataset)).key() if data.is_present(dataset) else None


def opened(told: Path, build: Callable[[dict[str, Any]], tuple[nn.Module, Any]]) -> tuple[nn.Module, Any]:
    """What `keep` has written; `build` makes an untrained network, and facts, of what is told. Raises UserError."""
    damaged = UserError(f"The judge {told.stem} is damaged: delete {told.name} in {told.parent}, or install again.")
    try:
        network, facts = build(read_json(told))
        weights = told.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(weights).hexdigest() != facts.sha256:
            raise damaged
        network.load_state_dict(load_tensors(weights))
    except (OSError, TypeError, KeyError, RuntimeError, SafetensorError) as error:
        raise damaged from error
    return place(network, torch.device("cpu")).eval(), facts


@lru_cache(maxsize=8)
def _opened(told: Path, stamp: int) -> Judge:
    network, facts = opened(told, _built)
    _fuse(network)
    return Judge(network, facts)  # type: ignore[arg-type]


def _built(told: Mapping[str, Any]) -> tuple[Network, Facts]:
    channels, height, width = told["shape"]
    facts = Facts(**{**told, "classes": tuple(told["classes"]), "shape": (channels, height, width)})
    return Network(facts.shape, len(facts.classes), Settings.of(facts.settings)), facts


def _fuse(network: nn.Module) -> None:
    """Each normalisation becomes a part of the convolution before it: the same to rounding, and a third faster."""
    body = network.get_submodule("body")
    assert isinstance(body, nn.Sequential)
    for number, layer in enumerate(body):
        before = body[number - 1]
        if isinstance(layer, nn.BatchNorm2d) and isinstance(before, nn.Conv2d):
            body[number - 1] = fuse_conv_bn_eval(before, layer)
            body[number] = nn.Identity()


if __name__ == "__main__":
    began = time.perf_counter()
    made = train_judge(sys.argv[1], Path(sys.argv[2]) if len(sys.argv) > 2 else SHIPPED, lambda share, text: None).facts
    print(
        f"{made.dataset}: {made.accuracy:.2%} of {made.n:,} test images, {made.parameters:,} parameters, "
        f"{time.perf_counter() - began:.0f} s, sha256 {made.sha256[:12]}"
    )
