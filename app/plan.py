"""What a run will be before it is started: its layers, its size, and about how long it takes."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import streamlit as st

from app.state import go, plain
from app.steering import follow
from genmodels import demo, jobs
from genmodels.config import UserError
from genmodels.families import FAMILIES
from genmodels.runs import Run, RunConfig, all_runs, create
from genmodels.steering import Turn

TRIAL = 0.1 if demo.on() else 0.4  # seconds a trial may take once it has warmed up; beside many visitors, fewer
LONG = 5.0  # seconds from which a run tells its speed: before, starting is much of it
SMALL = 16  # images in the steps of a demo's trial: it runs in the server, beside everybody's pages
RUNS = 3  # so many of the newest are asked


class Layer(NamedTuple):
    """One that learns, and how many numbers it learns."""

    name: str
    parameters: int


@st.cache_data(show_spinner=False, max_entries=200)
def layers(config: RunConfig) -> list[Layer]:
    """The layers that learn, in order; built without memory for their weights. Raises UserError."""
    import torch

    with torch.device("meta"):
        model = config.build()
    found = []
    for name, module in model.named_modules():
        if own := sum(parameter.numel() for parameter in module.parameters(recurse=False) if parameter.requires_grad):
            part = name.split(".")[0].replace("_", " ")
            found.append(Layer(f"{part}: {_words(module)}" if part else "a number of its own", own))
    return found


def _words(module: object) -> str:
    """'Linear 64 → 400' rather than how it is constructed."""
    kind = type(module).__name__
    sides = [
        (getattr(module, f"in_{what}", None), getattr(module, f"out_{what}", None)) for what in ("features", "channels")
    ]
    for inputs, outputs in sides:
        if inputs:
            kernel = getattr(module, "kernel_size", None)
            return f"{kind}{f' {kernel[0]}x{kernel[1]}' if kernel else ''} {inputs:,} → {outputs:,}"
    return kind


def estimate(config: RunConfig, count: int) -> str:
    """About how many steps or how much time the budget is, for `count` images to learn from. Raises UserError."""
    rate, source = images_per_second(config)
    schedule = config.schedule
    batch = min(schedule.batch_size, count)
    if schedule.unit == "minutes":
        steps = rate * 60 * schedule.budget / batch
        epochs = steps / max(1, count // batch)
        return f"About {_round(steps)} steps, {_round(epochs)} passes over the data. {source}"
    per_unit = max(1, count // batch) if schedule.unit == "epochs" else 1
    return f"About {duration(schedule.budget * per_unit * batch / rate)}. {source}"


def images_per_second(config: RunConfig) -> tuple[float, str]:
    """Speed of earlier runs of the same kind, else of a very short trial; and where the figure comes from."""
    works = [work for run in all_runs()[:50] if (work := _work(run, config)) and work[1] >= LONG][:RUNS]
    if works:
        images, seconds = np.sum(works, 0)
        return float(images / seconds), "An estimate, from earlier runs of this kind."
    demo.check_model(config)
    same = {"created": "", "seed": 0, "parent": None, "experiment": None}  # what does not tell on the speed
    return _tried(config.model_copy(update=same)), "An estimate, from a trial of a few steps."


def _work(run: Run, config: RunConfig) -> tuple[float, float] | None:
    """Images that a run of the same kind has looked at and the seconds it took, all it does beside included."""
    try:
        if _kind(run.config) != _kind(config) or not (run.path / "resume.pt").exists():
            return None  # of another kind, or trained on another machine
    except UserError:
        return None
    points = [point for point in run.metrics() if {"seconds", "images_per_second"} <= point.keys()]
    if not points:
        return None
    seconds = np.array([point["seconds"] for point in points])
    rates = np.array([point["images_per_second"] for point in points])
    return float(rates @ np.diff(seconds, prepend=0.0)), float(seconds[-1])


def _kind(config: RunConfig) -> tuple[object, ...]:
    schedule = config.schedule
    knobs = config.model_config_of_family().model_dump()
    return (
        config.family,
        config.shape,
        knobs,
        schedule.batch_size,
        schedule.device,
        schedule.precision,
        schedule.threads,
    )


@st.cache_data(show_spinner=False, max_entries=200)
def _tried(config: RunConfig) -> float:
    """Images per second of a few real steps on noise."""
    import torch

    from genmodels import training

    # More threads are slower by far where a worker has the other processors, and then the figure would say nothing.
    torch.set_num_threads(1)
    device = training.choose_device(config.schedule.device)
    size = min(config.schedule.batch_size, SMALL) if demo.on() else config.schedule.batch_size
    noise = torch.randint(0, 256, (size, *config.shape), dtype=torch.uint8, device=device)
    labels = torch.arange(size, device=device) % max(1, len(config.classes))
    model = training.place(config.build(), device)
    schedule = config.schedule.model_copy(update={"budget": 1000, "unit": "steps"})
    started = before = time.perf_counter()
    steps = 0
    sources = None if FAMILIES[config.family].learns_from == "images" else noise
    trial = training.Images(noise, labels, sources, None if sources is None else labels)
    for step in training.train(model, trial, schedule, training.State.new(model, 0)):
        now = time.perf_counter()
        if step.number == 1:
            started = now  # the first one pays for what is made once
        elif now - started > TRIAL or now - before > 4 * TRIAL or step.number > 200:
            steps = step.number - 1
            break
    return steps * size / max(time.perf_counter() - started, 1e-9)


def begin(config: RunConfig, turns: Sequence[Turn] = ()) -> None:
    """Start the run and go where it is seen learning; or say, right here, why it cannot be."""
    try:
        new = create(config)
        follow(new, turns)
        jobs.start(new)
    except UserError as error:
        st.error(plain(str(error)))
        return
    go("train", run=new.id)


def duration(seconds: float) -> str:
    """42 s, 1 min 20 s, or 3 h 20 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    large, small, names = (
        (whole // 60, whole % 60, "min s") if whole < 3600 else (whole // 3600, whole % 3600 // 60, "h min")
    )
    first, second = names.split()
    return f"{large:,} {first}" + (f" {small} {second}" if small else "")


def _round(value: float) -> str:
    """Two digits: an estimate has no more."""
    if value < 10:
        return f"{value:.1f}"
    size = 10 ** (len(str(int(value))) - 2)
    return f"{round(value / size) * size:,.0f}"
