"""`reproduce.py` of a run: the script that trains it again and says whether the same came out.

script(run)   the text of the script, with every setting of the run in it
again(...)    what the script calls: trains by these settings and compares what came out
"""

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

from genmodels import data, runs, steering
from genmodels.config import UserError
from genmodels.families import FAMILIES, family
from genmodels.runs import Run, RunConfig, Status

NEAR = 0.05  # of a loss: what other sums of the last digits, such as of other threads, come to
MOST = 1_000_000  # steps of a budget, and between two points of the curves
LEFT_OUT = ("created", "versions", "experiment")  # of the training that was, not of what it is to do
BEGINNING = """import sys

sys.path.insert(0, "")  # the folder where it is run
try:
    {line}
except ModuleNotFoundError as error:
    print(f"{{error}}: run this script in the folder of Latent Lab, with the Python of its .venv.", file=sys.stderr)
    sys.exit(2)"""
SAFE = re.compile(r"[^\w .,:;()/+-]")  # whatever could end a docstring; names in a run may come from anybody


def safe(text: str) -> str:
    """Words from a run for a comment or a docstring of a script that a person is going to carry out."""
    return SAFE.sub("?", text)


def fingerprint(run: Run, kind: str | None = None) -> str:
    """'float32 3fa9...': a hash of names, shapes and numbers of the weights, as they are kept or rounded to `kind`.

    Runs that come with the package are kept in half precision, and what a moving average follows may not be kept: so
    it does not count. Raises UserError.
    """
    import torch

    from genmodels.nn import followed

    if not (tensors := _weights(run)):
        raise UserError(f"The run {run.id} has no weights yet: wait for its first checkpoint.")
    with torch.device("meta"):
        left_out = followed(run.config.build())
    floats = [tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()]
    dtype = getattr(torch, kind) if kind else floats[0]
    total = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        if name in left_out:
            continue
        kept = tensor.to(dtype) if tensor.is_floating_point() else tensor
        total.update(f"{name} {tuple(tensor.shape)}".encode() + kept.contiguous().numpy().tobytes())
    return f"{str(dtype).removeprefix('torch.')} {total.hexdigest()}"


def _weights(run: Run) -> dict[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(run.path / "weights.safetensors")
    except FileNotFoundError:
        return {}
    except SafetensorError:
        raise UserError(f"The weights of run {run.id} are damaged: train it again.") from None


# -- the script


def ready(status: Status) -> bool:
    """Whether a run has come to an end, or to a rest, that can be come to again."""
    return status.state in ("finished", "stopped", "paused") and status.step > 0


def script(run: Run) -> str:
    """The script that makes the run again. Raises UserError for a run that has not come to an end."""
    status, config = run.status(), run.config
    if not ready(status):
        raise UserError(f"The run {run.id} is {status.state}: there is a script once it has come to its end.")
    settings = config.model_dump(mode="json", exclude=set(LEFT_OUT), exclude_none=True)
    settings["schedule"] |= _to_the_step(config, status)
    turns = [{"step": turn.step, **turn.values} for turn in steering.record(run) if turn.step < status.step]
    parts: dict[str, Any] = {
        "SETTINGS": settings,
        "TURNS": turns,
        "STEPS": status.step,
        "WEIGHTS": fingerprint(run),
        "FIGURES": {name: figure["value"] for name, figure in run.summary().items()},
    }
    written = "\n".join(assigned(name, value) for name, value in parts.items())
    return f'''"""{_head(run)}
"""

{begun("from genmodels import reproduction")}

{written}

if __name__ == "__main__":
    sys.exit(reproduction.again(SETTINGS, TURNS, STEPS, WEIGHTS, FIGURES, folder=sys.argv[1:]))
'''


def begun(line: str) -> str:
    """The imports of a script, the line among them; where it cannot be carried out, a sentence says what to do."""
    return BEGINNING.format(line=line)


def assigned(name: str, value: Any) -> str:
    """NAME = value, as a line of Python or several. Texts are quoted: nothing in them is carried out."""
    lines = pformat(value, width=110 - len(name), sort_dicts=False).splitlines()
    return f"{name} = " + f"\n{' ' * (len(name) + 3)}".join(lines)


def _to_the_step(config: RunConfig, status: Status) -> dict[str, Any]:
    """What of the schedule has to change for the script to come to the same step: a budget of time becomes one of as
    many steps; and where a run was stopped early, a point of the curves, and so a place to stop, is at its last step.
    """
    changed: dict[str, Any] = {}
    if config.schedule.unit == "minutes":
        if not 0 < status.step <= MOST * (share := status.share or 1):  # a run may come from anybody
            raise UserError(f"In its whole time this run would make more than {MOST:,} steps: no script goes so far.")
        changed = {"budget": max(1, round(status.step / share)), "unit": "steps"}
    if status.share < 1:
        most = min(status.step, MOST)
        changed["log_every"] = next(every for every in range(most, 0, -1) if status.step % every == 0)
    return changed


def _head(run: Run) -> str:
    """What the run is, how to make it again, and how near that can come. Plain words only."""
    config, status = run.config, run.status()
    title, versions = family(config.family).title, ", ".join(f"{k} {v}" for k, v in config.versions.items())
    lines = [
        f"Makes {safe(run.id)} again: {title} on {safe(data.title(config.dataset))}, {status.step:,} steps, seed "
        f"{config.seed}.",
        "",
        "    cd latent-lab                                # where the package genmodels is",
        "    .venv/bin/python path/of/this/reproduce.py   # and, if you like, the folder of the new run",
        "",
        f"It was made on {created(config)} with {safe(versions)} on {safe(status.device) or 'cpu'}, in "
        f"{status.seconds:,.0f} s.",
    ]
    if config.parent:
        lines.append(f"It is a changed copy of {safe(config.parent)}.")
    if config.experiment:
        lines.append(f"It is one of the experiment {config.experiment}: runs that were started together.")
    if turns := steering.record(run):
        lines.append(f"Knobs were turned while it trained: {safe(steering.in_words(turns))}.")
    if config.selection:
        lines.append("It did not learn from all training images: 'selection' in its settings says from which it did.")
    return "\n".join([*lines, *exactness(config)])


def created(config: RunConfig) -> str:
    return safe(config.created[:10])


def exactness(config: RunConfig) -> list[str]:
    """How near the same settings come to the same weights."""
    if config.schedule.unit == "minutes" and config.schedule.decay == "cosine":
        return [
            "Its learning rate fell with the clock, which no other training can follow: here it falls over as many",
            "steps, so the weights differ and the figures come near.",
        ]
    if config.schedule.threads != 1 or config.schedule.device not in ("cpu", "auto"):
        return [
            "Several threads or a GPU add up in another order each time, so the weights differ in their last digits,",
            "more and more as it learns, and the figures come near.",
        ]
    return ["On one thread of the same kind of processor, with the same versions, the weights are the same to the bit."]


# -- what it calls


def again(
    settings: Mapping[str, Any], turns: Sequence[Mapping[str, float]], steps: int, weights: str,
    figures: Mapping[str, float], folder: Sequence[str] = (),
) -> int:  # fmt: skip
    """Train by these settings to this step and compare what came out: see `compare`. What is wrong is one sentence.

    turns: of knobs while it trained, each with the step after which it was. folder: of the new run; else in the home.
    """
    from genmodels.session import dataset_of

    try:
        config = RunConfig.of(settings)
        dataset_of(config)  # what is missing is said before there is a run
        run = runs.create(config, Path(folder[0]).absolute() if folder else None)
        steering.replace(run, [steering.Turn(int(turn["step"]), _values(turn)) for turn in turns])
        _follow(run, steps)
        return compare(run, weights, figures)
    except UserError as error:
        print(error, file=sys.stderr)
        return 1


def _values(turn: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in turn.items() if name != "step"}


def _follow(run: Run, steps: int) -> None:
    """Train in this process to that step."""
    from tqdm import tqdm

    from genmodels.worker import run_to_end

    print(f"Training {run.id}: {run.path}", file=sys.stderr)
    with tqdm(total=steps, unit=" steps") as bar:
        for status in run_to_end(run):
            bar.update(status.step - bar.n)
            if status.step == steps and status.share < 1:
                run.ask("stop")


def compare(run: Run, weights: str, figures: Mapping[str, float]) -> int:
    """Print what was expected and what was found. -> 0 where the weights are the same or the losses come near, else 1.

    The other figures are of samples, whose number depends on the time there is, and of what reads them.
    """
    kind, _, _ = weights.partition(" ")
    found, same = run.summary(), fingerprint(run, kind) == weights
    print(f"{'weights':28} {'the same' if same else 'other'}")
    losses, near = FAMILIES[run.config.family].Model.LOSSES, True
    for name, expected in figures.items():
        if name not in found:
            print(f"{name:28} expected {expected:12.5g}   not measured here")
            continue
        value = found[name]["value"]
        off = abs(value - expected) / max(abs(expected), 1e-9)
        print(f"{name:28} expected {expected:12.5g}   found {value:12.5g}   {off:7.2%} off")
        near = near and (name not in losses or off <= NEAR)
    if same or not any(name in losses for name in figures):
        print("The same run." if same else "It kept no losses to compare, and its weights differ.")
        return 0 if same else 1
    print(f"Other weights, and losses {'within' if near else 'beyond'} {NEAR:.0%} of those expected.")
    return 0 if near else 1
