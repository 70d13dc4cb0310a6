"""One run being trained in this process: the loop's steps on one side, the run's files on the other."""

import contextlib
import math
import os
import pickle
import struct
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor

from genmodels import data, training
from genmodels.analysis.judge import Judge, judge_of
from genmodels.analysis.metrics import Metric, evaluate
from genmodels.analysis.snapshot import latent_space, snapshot
from genmodels.config import UserError
from genmodels.data.selection import select
from genmodels.families.contract import abilities
from genmodels.files import write_atomically, write_json
from genmodels.runs import Run, RunConfig, Status
from genmodels.steering import Helm
from genmodels.threads import ThreadChooser
from genmodels.training import Images, Step, some

CHECKPOINT_EVERY = 10.0  # seconds
LIVE_EVERY = 0.8  # seconds between two live pictures, at least
# By the worker; other files of the run, such as maps of its codes, are the server's.
WRITTEN = ("resume.pt", "weights.safetensors", "metrics.jsonl", "status.json", "latents.npz", "live.npz", "[0-9]*.npz")
SAY_EVERY = 0.25  # seconds between two words with the worker, at most
POINT_EVERY = 0.25  # seconds between two points of the curves, at least
SNAPSHOT_RATIO = 1.25  # from one kept snapshot to the next: ten in each decade of steps
WATCHED_TEST_IMAGES = 1000  # of which the live test curve is the mean; the final figures take them all
WATCHED_IN_STEPS = 250  # of a model that samples in many steps: its networks are large
FIRST_SAMPLES = 10.0  # seconds until such a model first shows samples
SAMPLES = 2000  # made for the final figures, or half, a quarter and so on; `python -m genmodels evaluate` makes 10,000
SAMPLING = 40.0  # seconds that making them may take, about
FEWEST, TRIED = 60, 8
SHOWING = 0.02  # share of the time that may go into showing rather than training
AT_FIRST = 0.3  # seconds of it that are granted at once: the first pictures are the ones people wait for


def cores() -> int:
    """Processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def dataset_of(config: RunConfig) -> data.Dataset:
    """The images a run was made for. Raises UserError, also where they have changed since."""
    dataset = data.load(config.dataset, config.size, config.channels, config.seed)
    if dataset.shape != config.shape or dataset.classes != config.classes:
        raise UserError(f"The dataset '{config.dataset}' is no longer what this run was made for: start a new one.")
    return select(dataset, config.selection) if config.selection else dataset


def load_checkpoint(run: Run, state: training.State) -> dict[str, Any] | None:
    """Set the state to the run's last checkpoint; what that holds, None where there is none. Raises UserError."""
    path = run.path / "resume.pt"
    if not path.exists():
        return None
    try:
        # To the processor, where the state of a generator belongs; modules and optimisers move what is theirs.
        saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        state.load(saved["training"])
    except (
        pickle.UnpicklingError,
        RuntimeError,
        EOFError,
        LookupError,
        ValueError,
        OSError,
        TypeError,
        AttributeError,
        struct.error,
    ) as error:
        raise UserError(
            f"The checkpoint of run {run.id} is damaged, so it cannot go on: start it anew as a copy."
        ) from error
    return saved


class Allowance:
    """Keeps what is done for the onlooker below a share of the time, however slow the model is."""

    def __init__(self) -> None:
        self.started, self.spent = time.perf_counter(), 0.0

    def allows(self) -> bool:
        return self.spent <= AT_FIRST + SHOWING * (time.perf_counter() - self.started)

    @contextlib.contextmanager
    def spending(self) -> Iterator[None]:
        before = time.perf_counter()
        yield
        self.spent += time.perf_counter() - before


class Session:
    """Opens a run (from its last checkpoint where it has one) and trains it. Raises UserError."""

    def __init__(self, run: Run, slots: int = 1) -> None:
        self.run, self.config = run, run.config
        self.schedule = self.config.schedule
        most = self.schedule.threads or max(1, cores() // slots)
        self.threads = None if self.schedule.threads else ThreadChooser(most)
        torch.set_num_threads(self.schedule.threads or 1)
        self.device = training.choose_device(self.schedule.device)
        self.dataset = dataset_of(self.config)
        self.judge = self._judge()
        self.train_images = Images.of(self.dataset, "train", self.device)
        self.test_images = Images.of(self.dataset, "test", self.device)
        self.model = training.place(self.config.build(), self.device)
        self.in_steps = "denoise_path" in abilities(self.model)  # samples take many passes each
        self.watched = some(self.test_images, WATCHED_IN_STEPS if self.in_steps else WATCHED_TEST_IMAGES)
        self.state = training.State.new(self.model, self.config.seed)
        self.interval = self.schedule.log_every or 1
        self.pending: list[dict[str, Tensor]] = []  # losses since the last point
        self.seconds_before = 0.0  # at the last point
        self._resume()
        self.helm = Helm(run, self.model, self.state.optimizers, self.state.step)
        self.allowance = Allowance()
        self.shown = self.noted = time.perf_counter()

    def _judge(self) -> Judge | None:
        """What reads samples as classes; a damaged one stops no training."""
        with contextlib.suppress(UserError):
            return judge_of(self.config.dataset, self.config.classes)
        return None

    def _resume(self) -> None:
        for left in (left for name in WRITTEN for left in self.run.path.rglob(f".{name}-*")):
            left.unlink(missing_ok=True)  # of a worker that was killed while it wrote
        if saved := load_checkpoint(self.run, self.state):
            self.interval, self.seconds_before = saved["interval"], saved["seconds_before"]
            self.pending = [{name: loss.to(self.device) for name, loss in each.items()} for each in saved["pending"]]
        if self.status().share < 1:
            self.run.forget_after(self.state.step)

    # -- writing

    def checkpoint(self) -> None:
        """Save what resuming needs and what sampling needs. A failure leaves the last ones whole."""
        from safetensors.torch import save

        if not all(torch.isfinite(parameter).all() for parameter in self.model.parameters()):
            raise training.DivergedError.at("A weight was", self.state.step)
        saved = {
            "training": self.state.save(),
            "interval": self.interval,
            "pending": self.pending,
            "seconds_before": self.seconds_before,
        }
        write_atomically(self.run.path / "resume.pt", lambda file: torch.save(saved, file), durable=True)
        weights = {name: tensor.contiguous() for name, tensor in self.model.state_dict().items()}
        write_atomically(self.run.path / "weights.safetensors", lambda file: file.write(save(weights)), durable=True)

    def status(self, **more: Any) -> Status:
        schedule, state = self.schedule, self.state
        count = len(self.train_images.images)
        return Status(
            step=state.step,
            epoch=state.step / training.steps_per_epoch(count, schedule.batch_size),
            seconds=state.seconds,
            share=training.share_done(schedule, count, state.step, state.seconds),
            device=self.device.type,
            pid=os.getpid(),
            **more,
        )

    def summarize(self) -> dict[str, Metric]:
        """Write the codes of the test images and the final figures. Short: 100 draws on 500 images for the NLL."""
        with torch.random.fork_rng(devices=[]):
            space = latent_space(self.model, self.test_images, len(self.config.classes))
            if space:
                self.run.write_arrays("latents", space)
            asked = partial(evaluate, self.model, self.test_images, draws=100, nll_images=500)
            try:
                found = asked(dataset=self.dataset, samples=self._affordable())
            except UserError:  # a judge that cannot be read fails no training
                found = asked()
        write_json(self.run.path / "summary.json", {name: metric.entry() for name, metric in found.items()})
        return found

    def _affordable(self) -> int:
        """How many samples the final figures are of."""
        count = SAMPLES
        if self.in_steps:
            with training.evaluating(self.model):
                few, before = torch.Generator(self.device).manual_seed(0), time.perf_counter()
                self.model.sample(TRIED, generator=few)  # type: ignore[operator]
            each = (time.perf_counter() - before) / TRIED
            while count > FEWEST and count * each > SAMPLING:
                count //= 2
        return count

    # -- training

    def train(self) -> Iterator[Status]:
        """Train to the end of the budget; a Status at each point of the curves and a few times a second.

        It can be left at any of them, and `checkpoint` then keeps the place.
        """
        saved = said = time.perf_counter()
        rate, first = 0.0, self.state.step == 0
        for step in training.train(self.model, self.train_images, self.schedule, self.state):
            self.pending.append(step.losses)
            if self.threads:
                self.threads.tick(step.seconds, step.number)
            last = training.share_done(self.schedule, len(self.train_images.images), step.number, step.seconds) >= 1
            now = time.perf_counter()
            on_curve = step.number % self.interval == 0 or first or last
            if not last:
                self.helm.between(step.number, now)
            if on_curve:
                rate = self._record(step, first, last)
            if first or last or now - saved > CHECKPOINT_EVERY:
                self.checkpoint()
                saved = now
            first = False
            if on_curve or now - said > SAY_EVERY:
                said = now
                yield self.status(state="running", doing="training", images_per_second=rate)

    def _record(self, step: Step, first: bool, last: bool) -> float:
        """Write a point of the curves, and pictures where they are due or affordable. -> images per second."""
        point = self._point(step)
        always = first or last  # the onlooker sees something at once, and the end
        affordable = self.allowance.allows()
        if always or self.schedule.log_every or affordable:
            with self.allowance.spending():
                point["test"] = training.measure(self.model, self.watched, step.number)
            self._refuse_non_numbers(point["test"], step.number)
        self.run.append_metrics(point)
        show = always or (affordable and time.perf_counter() - self.shown > LIVE_EVERY)
        keep = last or (show if self.in_steps else self._snapshot_due(step.number))
        if show or keep:
            self._picture(show, keep, first, self.judge if last or (keep and affordable) else None)
        if first:
            self.allowance = Allowance()  # the first look also pays for what is set up once
            if self.in_steps:
                self.allowance.spent = AT_FIRST + SHOWING * FIRST_SAMPLES
        self._choose_interval()
        return point["images_per_second"]

    def _picture(self, show: bool, keep: bool, first: bool, judge: Judge | None) -> None:
        """The live picture, a snapshot to keep, or both. judge: reads the samples, where there is time for that."""
        step, samples = self.state.step, not (first and self.in_steps)  # the first ones would be noise
        with self.allowance.spending() if show or judge else contextlib.nullcontext():
            arrays = snapshot(self.model, self.watched, step, judge, samples)
            if keep:
                self.run.write_arrays(f"snapshots/{step}", arrays, compress=True)
            if show:
                self.run.write_arrays("live", arrays, compress=False)
                self.shown = time.perf_counter()

    def _snapshot_due(self, step: int) -> bool:
        """Whether a rung of the ladder 1.25^k lies among this point's steps: the same however often the run stops."""
        rung = math.floor(math.log(step) / math.log(SNAPSHOT_RATIO) + 1e-9)
        return round(SNAPSHOT_RATIO**rung) > step - self.interval

    def _choose_interval(self) -> None:
        """Points no faster than the eye, and not many thousands in a long run: the interval only ever doubles."""
        now = time.perf_counter()
        crowded = self.state.step // self.interval >= 1000
        if not self.schedule.log_every and (now - self.noted < POINT_EVERY or crowded):
            self.interval *= 2
        self.noted = now

    def _refuse_non_numbers(self, losses: dict[str, float], step: int) -> None:
        for name, value in losses.items():
            if not math.isfinite(value):
                raise training.DivergedError.at(f"The loss {name} was", step)

    def _point(self, step: Step) -> dict[str, Any]:
        means = {name: torch.stack([each[name] for each in self.pending]).mean().item() for name in self.pending[0]}
        self._refuse_non_numbers(means, step.number)
        images = len(self.pending) * min(self.schedule.batch_size, len(self.train_images.images))
        rate = images / max(step.seconds - self.seconds_before, 1e-9)
        self.pending, self.seconds_before = [], step.seconds
        return {
            "step": step.number,
            "epoch": round(step.epoch, 4),
            "seconds": round(step.seconds, 3),
            "images_per_second": round(rate, 1),
            "train": means,
        }
