"""Slow motion: a private copy of a run in which one network at a time makes one update, to see what that changes.

What is shown is always asked with the same images and the same noise, and only one network moves: so whatever differs
is the work of that one update. Nothing is written, and the run's own model stays as it is.
"""

import contextlib
import copy
import math
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from genmodels import steering, training
from genmodels.analysis.snapshot import one_of_each
from genmodels.config import UserError
from genmodels.runs import Run
from genmodels.session import dataset_of, load_checkpoint
from genmodels.training import Images, State, evaluating

FEW = 8  # images that are looked at one by one
FIXED = 128  # training images that losses are measured on
LEARNED = 4096  # training images that moves are made with
UNDO_BYTES = 2**26  # memory for the states that one can go back to; at least one is kept
UNDO_MOST = 20
GIVEN = ("originals", "inputs", "targets")  # views that no network made
_one_thread = threading.Lock()


class Seen(NamedTuple):
    """What the networks do at one moment. losses: name -> on FIXED images. made: float32 (8, C, H, W) in [0, 1].

    scores: D(x) and D(G(z)) of each of the eight real and made images, where the family has them.
    """

    losses: dict[str, float]
    made: np.ndarray
    scores: dict[str, list[float]]


class Move(NamedTuple):
    """Updates made together. moved: ||w' - w|| / ||w|| of the weights of each optimiser, 0 where none has changed."""

    names: tuple[str, ...]
    moved: dict[str, float]
    before: Seen
    after: Seen


class Stepper:
    """From the last checkpoint of a run (weights and moments), else its weights, else its start. Raises UserError.

    Each visitor has one: so it keeps no more than LEARNED training images, the same at every call.
    """

    def __init__(self, run: Run) -> None:
        config = run.config
        self.schedule = config.schedule
        self.images = training.some(Images.of(dataset_of(config), "train"), LEARNED)
        model = training.place(config.build(), torch.device("cpu"))
        self.state = State.new(model, config.seed)
        self.has_moments = load_checkpoint(run, self.state) is not None
        if not self.has_moments and (run.path / "weights.safetensors").exists():
            model.load_state_dict(run.model.state_dict())
            self.state.step = run.status().step
        values = steering.values_at(config, steering.record(run), self.state.step)
        model.config = model.config.model_copy(update=values)  # type: ignore[operator, union-attr]
        training.set_learning_rate(self.state, 1)  # at the end of a cosine it would be 0
        self.apply = training.updater(self.state, self.schedule)
        self._follow()
        self.fixed = training.some(self.images, FIXED)
        self.few = self.fixed.at(one_of_each(self.fixed.labels, FEW))
        self.moves: list[Move] = []  # the last ones
        self.made = 0  # updates made here
        self.kept: deque[dict[str, Any]] = deque(maxlen=self._states())
        self.seen = self._look()

    @property
    def names(self) -> list[str]:
        """Of the optimisers: what can be moved."""
        return list(self.state.optimizers)

    def move(self, *names: str) -> Move:
        """One update for each name, in this order, each with a fresh batch of training images. Raises UserError."""
        before, kept = self.seen, copy.deepcopy(self.state.save())
        weights = {name: [p.detach().clone() for p in self._owned(name)] for name in self.names}
        try:
            with one_thread():
                for name in names:
                    self._update(name)
            seen = self._look()
            if not all(map(math.isfinite, seen.losses.values())):  # the loss was a number, what was learned from it not
                raise training.DivergedError.at("A loss was", self.state.step)
        except training.DivergedError:
            self.state.load(kept)
            raise UserError("After this move a loss was no longer a number, so it was taken back: reset.") from None
        self.seen = seen
        moved = {name: _relative(self._owned(name), old) for name, old in weights.items()}
        self.made += len(names)
        self.kept.append(kept)
        self.moves = [*self.moves, Move(names, moved, before, self.seen)][-UNDO_MOST:]
        return self.moves[-1]

    def undo(self) -> None:
        """Take the last move back; nothing where none is left that is known."""
        if self.kept:
            self.state.load(self.kept.pop())
            last = self.moves.pop()
            self.seen, self.made = last.before, self.made - len(last.names)

    def _update(self, name: str) -> None:
        model, turns = self.state.model, getattr(self.state.model.config, "discriminator_steps", 1)
        drawn = [
            torch.randperm(len(self.images.images), generator=self.state.generator)[: self.schedule.batch_size]
            for _ in range(1 if self.images.aligned else 2)
        ]
        # A step in which every network has its turn.
        batch = self.images.at(*drawn).batch(self.state.generator, self.state.step // turns * turns + turns - 1)
        others = [(buffer, buffer.clone()) for buffer in self._buffers_of_others(name)]
        model.train()
        model.step(batch, lambda loss, called: self.apply(loss, called) if called == name else None)
        for buffer, value in others:
            buffer.copy_(value)  # running means and singular vectors move in any forward pass
        self._follow()

    def _follow(self) -> None:
        """What is sampled from is the network itself: in its average one step would not be seen."""
        for average, network in self._averages().values():
            average.module.load_state_dict(network.state_dict())

    def _averages(self) -> dict[str, tuple[Any, nn.Module]]:
        return self.state.model.averages() if hasattr(self.state.model, "averages") else {}

    def _owned(self, name: str) -> list[Tensor]:
        return [p for group in self.state.optimizers[name].param_groups for p in group["params"]]

    def _buffers_of_others(self, name: str) -> Iterator[Tensor]:
        for other in self.names:
            theirs = set(self._owned(other)) if other != name else set()
            for child in self.state.model.children():
                if not theirs.isdisjoint(child.parameters()):
                    yield from child.buffers()

    def _look(self) -> Seen:
        model, step = self.state.model, self.state.step
        with one_thread(), evaluating(model):
            losses = training.measure(model, self.fixed, step)
            made: list[Tensor] = []
            scores: dict[str, list[float]] = {name: [] for name in ("d_real", "d_fake") if name in losses}
            for number in range(len(self.few.images)):  # one by one: what D says of each
                one = self.few.at(slice(number, number + 1))
                batches = (one.batch(torch.Generator().manual_seed(number), step) for _ in range(2))
                told = model.step(next(batches), lambda loss, name: None)
                views = model.views(next(batches))
                made.append(next(view for name, view in views.items() if name not in GIVEN))
                for name, values in scores.items():
                    values.append(told[name].item())
        return Seen(losses, torch.cat(made).float().clamp(0, 1).numpy(), scores)

    def _states(self) -> int:
        """How many states fit into the memory for them: weights with two moments each."""
        size = 3 * sum(p.numel() * p.element_size() for name in self.names for p in self._owned(name))
        return max(1, min(UNDO_MOST, UNDO_BYTES // size))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Batches are small, and where a run trains beside it, two threads would wait for each other: up to ten times.

    One at a time: of two visitors the second would find, and leave behind, the one thread of the first.
    """
    with _one_thread:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            with threadpool_limits(1, "blas"):
                yield
        finally:
            torch.set_num_threads(threads)


def _relative(weights: list[Tensor], old: list[Tensor]) -> float:
    """||w' - w|| / ||w||; 0 exactly where no weight has changed."""
    with torch.no_grad():
        change = sum(float((new - was).square().sum()) for new, was in zip(weights, old, strict=True))
        return float((change / max(1e-30, sum(float(was.square().sum()) for was in old))) ** 0.5)
