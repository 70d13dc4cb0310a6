"""Turning knobs while a model trains: asked for by a person, taken by the worker at its next step, kept to be replayed.

    turn.json        what was asked for and no worker has taken yet: {"beta": 4.0}; taken by renaming it
    steering.jsonl   append only: {"step": 300, "beta": 4.0}: every update after the 300th is made with it

The record is on disk before the first update that follows it. So a run that was killed, or a copy that is given the
record, turns the same knobs at the same steps. It stands apart from request.json: a stop can never overwrite a turn.
"""

import contextlib
import json
import math
import os
import sys
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from genmodels.config import UserError
from genmodels.families import family
from genmodels.files import disk_errors, read_json, write_atomically, write_json
from genmodels.runs import Run, RunConfig

RECORD, ASKED, TAKEN = "steering.jsonl", "turn.json", ".turn-taken"
LOOK_EVERY = 0.1  # seconds between two looks for a turn that is asked for: less than a microsecond a step
MOST_TURNS = 10_000
RENARD = (1, 1.25, 1.6, 2, 2.5, 3.2, 4, 5, 6.3, 8)  # evenly spaced by magnitude, and round: the series R10


class Turn(NamedTuple):
    """One entry of the record: updates after the first `step` ones are made with these values."""

    step: int
    values: dict[str, float]


def knobs(config: RunConfig) -> list[str]:
    """What can be turned: what the family reads anew at each step, and the learning rate of any family."""
    chosen = family(config.family)
    names = [*getattr(chosen.Model, "STEERABLE", ()), "learning_rate"]
    return [name for name in names if name in chosen.Config.model_fields]


def choices(config: RunConfig, name: str, *more: float) -> list[float]:
    """Values for a slider over the knob's range: ten in each decade where it is a matter of magnitude; and `more`."""
    field = family(config.family).Config.model_fields[name]
    low, high = (next(getattr(rule, end) for rule in field.metadata if hasattr(rule, end)) for end in ("ge", "le"))
    extra = field.json_schema_extra
    if isinstance(extra, dict) and extra.get("log"):
        first, last = math.floor(math.log10(low or high * 1e-6)), math.ceil(math.log10(high))
        steps = {float(f"{each}e{power}") for power in range(first, last + 1) for each in RENARD}
    else:
        steps = {low + (high - low) * tenth / 50 for tenth in range(51)}
    return sorted({float(low), float(high), *(step for step in steps if low <= step <= high), *more})


def checked(config: RunConfig, values: Any) -> dict[str, float]:
    """The values as numbers within the knobs' ranges. Raises UserError."""
    if not isinstance(values, Mapping) or not values:
        raise UserError("A turn names a knob and its value.")
    for name, value in values.items():
        if name not in knobs(config):
            raise UserError(f"'{str(name)[:60]}' cannot be turned; there is: {', '.join(knobs(config))}.")
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= sys.float_info.max:
            raise UserError(f"Knob '{name}' cannot be {str(value)[:60]!r}: it takes a number.")
    found = family(config.family).Config.of({**config.knobs, **values})
    return {name: float(getattr(found, name)) for name in values}


# -- what is asked for


def turn(run: Run, values: Mapping[str, float]) -> None:
    """Ask the run's worker to go on with these values. Raises UserError for what the knob cannot be."""
    write_json(run.path / ASKED, asked(run) | checked(run.config, values))


def asked(run: Run) -> dict[str, float]:
    """What was asked for and not yet taken; nothing where the file is damaged."""
    return _read(run, ASKED)


def take(run: Run) -> dict[str, float]:
    """What was asked for, now the caller's to carry out. A turn asked for meanwhile is not lost."""
    if not (run.path / ASKED).exists():
        return {}
    with contextlib.suppress(OSError):
        os.replace(run.path / ASKED, run.path / TAKEN)
        return _read(run, TAKEN)
    return {}


def _read(run: Run, name: str) -> dict[str, float]:
    with contextlib.suppress(OSError, UserError, RecursionError):
        return checked(run.config, read_json(run.path / name))
    return {}


# -- the record


def record(run: Run) -> list[Turn]:
    """Every turn of the run, in order; those later than its step are still to come. Raises UserError."""
    try:
        return parsed((run.path / RECORD).read_bytes(), run.config)
    except FileNotFoundError:
        return []
    except UserError as error:
        raise UserError(f"The steering record of run {run.id} is damaged: {error}") from None


def parsed(content: bytes, config: RunConfig) -> list[Turn]:
    """The turns of a record. A last line without an end was never followed, and is left out. Raises UserError."""
    lines = content.split(b"\n")[:-1]
    if len(lines) > MOST_TURNS:
        raise UserError(f"it holds more than {MOST_TURNS:,} turns.")
    turns: list[Turn] = []
    for number, line in enumerate(lines, 1):
        try:
            values = json.loads(line)
            step = values.pop("step")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise UserError(f"line {number} of {RECORD} is no turn.") from None
        if type(step) is not int or step < (turns[-1].step if turns else 0):
            raise UserError(f"line {number} of {RECORD} names no later step.")
        turns.append(Turn(step, checked(config, values)))
    return turns


def written(turns: Iterable[Turn]) -> bytes:
    """The record as a file."""
    return b"".join(json.dumps({"step": each.step, **each.values}).encode() + b"\n" for each in turns)


def add(run: Run, new: Turn) -> None:
    """Write a turn into the record, durably. Who turns a knob takes over: what was to come later is dropped."""
    kept = [each for each in record(run) if each.step <= new.step]
    path = run.path / RECORD
    if path.exists() and path.read_bytes() != written(kept):  # or a last line was cut off
        replace(run, [*kept, new])
        return
    with disk_errors(RECORD), path.open("ab") as file:
        file.write(written([new]))
        file.flush()
        os.fsync(file.fileno())


def replace(run: Run, turns: Iterable[Turn]) -> None:
    """Give the run this record: what it is to follow from its first step on."""
    content = written(turns)
    write_atomically(run.path / RECORD, lambda file: file.write(content), durable=True)


def in_words(turns: Iterable[Turn]) -> str:
    """'beta 4 after step 300, learning rate 0.001 after step 900'."""
    return ", ".join(f"{values_in_words(each.values)} after step {each.step:,}" for each in turns)


def said(run: Run) -> str:
    """How a run was steered, in words: 'no' where it was not."""
    try:
        return in_words(record(run)) or "no"
    except UserError:
        return "its record is damaged"


def values_in_words(values: Mapping[str, float]) -> str:
    """'beta 4 and learning rate 0.001'."""
    return " and ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in values.items())


def values_at(config: RunConfig, turns: Iterable[Turn], step: int) -> dict[str, float]:
    """What each knob stands at after so many updates."""
    start = family(config.family).Config.of(config.knobs)
    found = {name: float(getattr(start, name)) for name in knobs(config)}
    for each in turns:
        if each.step <= step:
            found |= each.values
    return found


# -- while it trains


class Helm:
    """Carries turns out between two updates of a model: those of the record, then those that are asked for."""

    def __init__(self, run: Run, model: Any, optimizers: Mapping[str, Any], step: int) -> None:
        self.run, self.model, self.optimizers = run, model, optimizers
        self.coming = deque(record(run))
        self.looked = -math.inf
        self.between(step, 0.0)  # also what was asked for while it was paused

    def between(self, step: int, now: float) -> None:
        """After `step` updates, at the time `now` in seconds. Raises UserError when the record cannot be written."""
        self._follow(step)
        if now - self.looked < LOOK_EVERY:
            return
        self.looked = now
        values = {name: value for name, value in take(self.run).items() if value != getattr(self.model.config, name)}
        if values:
            add(self.run, Turn(step, values))
            self.coming.clear()
            self._apply(values)

    def _follow(self, step: int) -> None:
        while self.coming and self.coming[0].step <= step:
            self._apply(self.coming.popleft().values)

    def _apply(self, values: Mapping[str, float]) -> None:
        self.model.config = self.model.config.model_copy(update=values)
        if "learning_rate" in values:
            for group in (group for each in self.optimizers.values() for group in each.param_groups):
                # With a schedule this is what its factor multiplies, before each step.
                group["lr"] = group["initial_lr"] = values["learning_rate"]
