"""The one loop: a generator of Step records. Stopping is the consumer's `break`; there are no callbacks.

The whole dataset sits in memory as uint8 and is gathered and scaled as tensors, never image by image.
"""

import contextlib
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from genmodels.config import Schedule, UserError
from genmodels.config import steps_per_epoch as steps_per_epoch
from genmodels.data.dataset import Dataset, Part
from genmodels.families.contract import Batch, Update
from genmodels.nn import set_bfloat16

CHUNK = 2000  # images that are encoded at once


class DivergedError(UserError):
    """A loss or a weight stopped being a number."""

    @classmethod
    def at(cls, what: str, step: int) -> "DivergedError":
        return cls(
            f"{what} no longer a number at step {step}, so training stopped and the last good checkpoint is kept: "
            "lower learning_rate or set clip_norm, then start a changed copy."
        )


class Images(NamedTuple):
    """What is trained on. images: uint8 (N, C, H, W). labels: int64 (N,).

    sources, source_labels: what is translated into images; aligned: row by row, else in no order.
    """

    images: Tensor
    labels: Tensor
    sources: Tensor | None = None
    source_labels: Tensor | None = None
    aligned: bool = True

    @classmethod
    def of(cls, data: Dataset, part: Part, device: torch.device | str = "cpu", limit: int | None = None) -> "Images":
        """One part of a dataset (its first `limit` images), without a copy where it stays on the processor."""
        span = data.span(part)
        stop = span.stop if limit is None else min(span.stop, span.start + limit)
        arrays = (data.images, data.labels, data.sources, data.source_labels)
        found = [None if a is None else torch.from_numpy(a[span.start : stop]).to(device) for a in arrays]
        aligned = data.pairing != "domains" and (data.pairing != "styled" or part != "train")
        return cls(*found)._replace(aligned=aligned)  # type: ignore[arg-type]

    def at(self, rows: Tensor | slice, source_rows: Tensor | slice | None = None) -> "Images":
        """These rows; of the sources others, where `source_rows` says so."""

        def take(tensor: Tensor | None, where: Tensor | slice) -> Any:
            if tensor is None or isinstance(where, slice):
                return None if tensor is None else tensor[where]
            return tensor.index_select(0, where)  # twice as fast as tensor[where]

        others = rows if source_rows is None else source_rows
        sources, source_labels = take(self.sources, others), take(self.source_labels, others)
        return Images(take(self.images, rows), take(self.labels, rows), sources, source_labels, self.aligned)

    def batch(self, generator: torch.Generator, step: int) -> Batch:
        """These images, scaled, as one step of a family takes them."""
        sources = None if self.sources is None else scaled(self.sources)
        return Batch(scaled(self.images), self.labels, generator, step, sources, self.source_labels)


def some(images: Images, count: int) -> Images:
    """The same `count` images at every call, drawn from all of them: official test sets can be sorted by class."""
    chosen = torch.randperm(len(images.images), generator=torch.Generator().manual_seed(0))[:count]
    return images.at(chosen.to(images.images.device))


@dataclass(frozen=True)
class Step:
    """One update. Losses stay on the device until they are asked for."""

    number: int  # updates made, this one included
    epoch: float
    seconds: float  # of training, pauses apart
    losses: dict[str, Tensor]


@dataclass
class State:
    """All that changes while a model trains. What `save` returns, given to `load`, continues bit for bit on one CPU."""

    model: Any
    optimizers: dict[str, torch.optim.Optimizer]
    generator: torch.Generator
    seed: int
    step: int = 0
    seconds: float = 0.0
    drawn: tuple[int, Tensor] | None = None  # of a model with draw_weights: an epoch, and the images drawn for it

    @classmethod
    def new(cls, model: nn.Module, seed: int) -> "State":
        device = next(model.parameters()).device
        generator = torch.Generator(device).manual_seed(seed)
        return cls(model, model.optimizers(), generator, seed)  # type: ignore[operator]

    def save(self) -> dict[str, Any]:
        # The weights of a draw are of the model as it was when the epoch began, so it cannot be made again.
        drawn = {} if self.drawn is None else {"drawn": (self.drawn[0], self.drawn[1].cpu())}
        return drawn | {
            "model": self.model.state_dict(),
            "optimizers": {name: optimizer.state_dict() for name, optimizer in self.optimizers.items()},
            "generator": self.generator.get_state(),
            "device": self.generator.device.type,
            "step": self.step,
            "seconds": self.seconds,
        }

    def load(self, saved: Mapping[str, Any]) -> None:
        self.model.load_state_dict(saved["model"])
        for name, optimizer in self.optimizers.items():
            optimizer.load_state_dict(saved["optimizers"][name])
        self.step, self.seconds = saved["step"], saved["seconds"]
        self.drawn = saved.get("drawn")
        if saved["device"] == self.generator.device.type:
            self.generator.set_state(saved["generator"])
        else:  # generators of different devices have different states: other noise, of the same law
            self.generator.manual_seed(self.seed + self.step)


def choose_device(wish: str = "auto") -> torch.device:
    """CUDA, else MPS, else the processor; or the wish, refused with a UserError where the machine lacks it."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wish == "auto":
        return torch.device(next(name for name, there in has.items() if there))
    if not has[wish]:
        raise UserError(f"This machine has no {wish} device: choose auto or cpu.")
    return torch.device(wish)


def use_bfloat16(wish: str, device: torch.device) -> bool:
    """Whether products run in bfloat16: as wished, or where the hardware multiplies it faster."""
    if wish != "auto":
        return wish == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    return device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()


def place(model: nn.Module, device: torch.device) -> nn.Module:
    """Move to the device; convolutions in channels-last, which is up to twice as fast."""
    return model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]


def scaled(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W) -> float in [0, 1], laid out as convolutions like it."""
    return images.float().div_(255).contiguous(memory_format=torch.channels_last)


def total_steps(schedule: Schedule, count: int) -> int | None:
    """Updates in the budget, or None where the budget is time."""
    return schedule.steps(count)


def share_done(schedule: Schedule, count: int, step: int, seconds: float) -> float:
    """How much of the budget is used, in [0, 1]."""
    total = total_steps(schedule, count)
    return min(1.0, step / total if total else seconds / (60 * schedule.budget))


def order(count: int, seed: int, epoch: int) -> Tensor:
    """The images of one pass, shuffled by seed and epoch alone, so that a place in it needs no memory. -> (count,)"""
    return torch.randperm(count, generator=torch.Generator().manual_seed(seed * 1_000_003 + epoch))


def weights_of(model: nn.Module, data: Images) -> Tensor | None:
    """How likely a model that has `draw_weights` would now draw each image, (N,), or None: all alike."""
    with evaluating(model):
        return model.draw_weights(map(scaled, data.images.split(CHUNK)), data.labels)  # type: ignore[operator]


def drawn_order(state: State, data: Images, epoch: int) -> Tensor:
    """The images of one pass of a model that has `draw_weights`: drawn with replacement by its weights, once it has
    learned from a whole pass. A pass that was left half-way keeps its draw. -> (count,)
    """
    if state.drawn is None or state.drawn[0] != epoch:
        count, weights = len(data.images), weights_of(state.model, data) if epoch else None
        if weights is None:
            return order(count, state.seed, epoch)
        generator = torch.Generator().manual_seed(state.seed * 1_000_003 + epoch)
        state.drawn = epoch, torch.multinomial(weights, count, replacement=True, generator=generator)
    return state.drawn[1]


def updater(state: State, schedule: Schedule) -> Update:
    """`update(loss, name)` for a family's step: zero, backward, clip, step, average; refuses a loss that is no number.

    Only the parameters of the optimiser of that name get a gradient: of two networks that compete, the one that is
    not being taught stays as it is, and costs no product.
    """
    on_cpu = state.generator.device.type == "cpu"
    averages = state.model.averages() if hasattr(state.model, "averages") else {}
    owned = {
        name: [p for group in optimizer.param_groups for p in group["params"]]
        for name, optimizer in state.optimizers.items()
    }

    def update(loss: Tensor, name: str) -> None:
        # Reading a loss waits for a GPU, so there it is looked at only now and then, and always before a save.
        if (on_cpu or state.step % 50 == 0) and not math.isfinite(loss.item()):
            raise DivergedError.at("The loss was", state.step + 1)
        optimizer = state.optimizers[name]
        optimizer.zero_grad(set_to_none=True)
        loss.backward(inputs=owned[name])
        if schedule.clip_norm:
            nn.utils.clip_grad_norm_(owned[name], schedule.clip_norm)
        optimizer.step()
        if name in averages:
            average, network = averages[name]
            average.update_parameters(network)

    return update


def set_learning_rate(state: State, factor: float) -> None:
    """Each optimiser's learning rate becomes `factor` times the one it was made with."""
    for optimizer in state.optimizers.values():
        for group in optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
            group["lr"] = group["initial_lr"] * factor


def train(model: nn.Module, data: Images, schedule: Schedule, state: State) -> Iterator[Step]:
    """Update the model until the budget is used, one Step for each update. Raises DivergedError.

    It can be left at any step and called again with the same state later: that is a pause.
    """
    count, size = len(data.images), min(schedule.batch_size, len(data.images))
    per_epoch = steps_per_epoch(count, schedule.batch_size)
    device = data.images.device
    set_bfloat16(model, use_bfloat16(schedule.precision, device))
    update, step, before = updater(state, schedule), model.step, time.perf_counter()
    permutation, others, permuted = torch.empty(0), None, -1
    draws = hasattr(model, "draw_weights")
    model.train()
    while (done := share_done(schedule, count, state.step, state.seconds)) < 1:
        epoch, place_in_epoch = divmod(state.step, per_epoch)
        if epoch != permuted:
            drawn = drawn_order(state, data, epoch) if draws else order(count, state.seed, epoch)
            permutation, permuted = drawn.to(device), epoch
            if not data.aligned:
                others = order(count, ~state.seed, epoch).to(device)
        if schedule.decay == "cosine":
            set_learning_rate(state, 0.5 * (1 + math.cos(math.pi * done)))
        rows = slice(place_in_epoch * size, (place_in_epoch + 1) * size)
        chosen = data.at(permutation[rows], None if others is None else others[rows])
        batch = chosen.batch(state.generator, state.step)
        losses = step(batch, update)  # type: ignore[operator]
        state.step += 1
        now = time.perf_counter()
        state.seconds, before = state.seconds + now - before, now
        yield Step(state.step, state.step / per_epoch, state.seconds, losses)


@contextlib.contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients; the model is put back as it was."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def measure(model: nn.Module, data: Images, step: int, seed: int = 0, batch_size: int = 500) -> dict[str, float]:
    """The losses on data that is not learned from, by the family's own `step` with updates switched off.

    step: the updates made so far. The noise depends on the seed alone, so two calls can be compared.
    """
    generator = torch.Generator(data.images.device).manual_seed(seed)
    sums: dict[str, float] = {}
    with evaluating(model):
        for first in range(0, len(data.images), batch_size):
            few = data.at(slice(first, first + batch_size))
            losses = model.step(few.batch(generator, step), lambda loss, name: None)  # type: ignore[operator]
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item() * len(few.images)
    return {name: total / len(data.images) for name, total in sums.items()}
