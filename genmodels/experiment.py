"""The clean comparison: one model under several betas, and nothing else that differs.

The members of an experiment share family, knobs, seed, data and budget. So they share their initial weights (`build`
draws them from the seed), the order of their batches (`training.order`: seed and epoch) and their noise (one generator
with that seed, of which every step draws the same amount). The budget counts steps: in the same minutes the members
would not do the same work.
"""

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genmodels import jobs, steering
from genmodels.config import Schedule, UserError
from genmodels.families import FAMILIES, family
from genmodels.files import space_now
from genmodels.runs import Run, RunConfig, Status, all_runs, by_id, create, shipped_runs

MOST = 8  # members
GRACE = 30.0  # seconds that workers have to end before their runs are deleted
BETAS = (0.25, 1.0, 4.0, 16.0)  # to begin with


def families() -> list[str]:
    """Those that have a beta, but where beta also decides which images are drawn: then more than beta would differ."""
    fields = {name: each.Config.model_fields for name, each in FAMILIES.items()}
    return [name for name, knobs in fields.items() if "beta" in knobs and "resampling" not in knobs]


def betas_of(text: str, family_name: str) -> list[float]:
    """The betas that a person wrote, in order: '0.25, 1, 4, 16'. Raises UserError."""
    if family_name not in families():
        raise UserError(f"The family {family_name} has no beta; there is: {', '.join(families())}.")
    found: list[float] = []
    for word in re.split(r"[,;\s]+", text.strip()):
        try:
            beta = float(word)
        except ValueError:
            raise UserError(f"'{word[:40]}' is not a number: write the betas like 0.25, 1, 4, 16.") from None
        family(family_name).Config.of({"beta": beta})
        if beta in found:
            raise UserError(f"Beta {beta:g} is in the list twice: the two models would be the same.")
        found.append(beta)
    if not 2 <= len(found) <= MOST:
        raise UserError(f"A comparison has 2 to {MOST} betas, not {len(found)}.")
    return sorted(found)


def plan(base: RunConfig, betas: Sequence[float], budget: Schedule, parent: str | None = None) -> list[RunConfig]:
    """The members: `base` with each beta, under one budget in steps or epochs. Raises UserError."""
    if budget.unit == "minutes":
        raise UserError("Give the comparison a budget in steps or epochs: minutes would not be equal work.")
    kept = base.model_dump(exclude={"created", "versions", "parent", "experiment", "knobs", "schedule"})
    knobs = base.model_config_of_family().model_dump()
    shared = {**kept, "schedule": budget, "parent": parent, "experiment": secrets.token_hex(4)}
    return [RunConfig.of({**shared, "knobs": knobs | {"beta": beta}}) for beta in betas]


def start(members: Sequence[RunConfig]) -> list[Run]:
    """Make and queue every member, or none. Raises UserError."""
    jobs.check_active(space_now(), len(members))
    made: list[Run] = []
    started = 0
    try:
        for config in members:
            made.append(create(config))
        for run in made:
            jobs.start(run)
            started += 1
    except BaseException:
        _undo(made[:started], made[started:])
        raise
    return made


def _undo(started: Sequence[Run], others: Sequence[Run]) -> None:
    """Stop and delete. What was not started goes first, because the disk may be full; who works has time to end."""
    for run in others:
        with contextlib.suppress(UserError):
            run.write_status(Status(state="stopped"))  # the one that failed may say that it is queued
    for run in started:
        with contextlib.suppress(UserError):
            jobs.stop(run)
    until = time.monotonic() + GRACE
    for run in [*others, *started]:
        while run.path.exists() and time.monotonic() < until:
            try:
                run.delete()
            except UserError:  # its worker still writes
                time.sleep(0.1)


def grouped(runs: Sequence[Run], is_member: Callable[[Run], bool], order: Callable[[Run], Any]) -> dict[str, list[Run]]:
    """Id -> the members of each experiment in order. Damaged runs are left out."""
    found: dict[str, list[Run]] = {}
    for run in runs:
        with contextlib.suppress(UserError):
            if run.config.experiment and is_member(run):
                found.setdefault(run.config.experiment, []).append(run)
    return {name: sorted(members, key=order) for name, members in found.items()}


def experiments() -> dict[str, list[Run]]:
    """Id -> members by beta, the newest experiment first, the shipped one last. Damaged runs are left out."""
    return grouped([*all_runs(), *shipped_runs()], has_beta, by_beta)


def members(name: str) -> list[Run]:
    """The runs of an experiment, by beta. Raises UserError where there is none."""
    if runs := experiments().get(name):
        return runs
    raise UserError(f"There is no comparison '{name[:40]}' here: its runs may have been deleted.")


def assembled(text: str) -> list[Run]:
    """Existing runs by their ids, 'a,b,c', by beta. Raises UserError for what cannot be compared."""
    ids = list(dict.fromkeys(each for each in text.split(",") if each))
    if not 2 <= len(ids) <= MOST:
        raise UserError(f"A comparison has 2 to {MOST} runs, not {len(ids)}.")
    runs = [by_id(each) for each in ids]
    for run in runs:
        if not has_beta(run):
            raise UserError(f"The run {run.id} is of the family {run.config.family}, which has no beta.")
    return in_order(runs)


def has_beta(run: Run) -> bool:
    return run.config.family in families()


def beta_of(run: Run) -> float:
    """The beta that the run was started with."""
    return float(run.config.model_config_of_family().beta)  # type: ignore[attr-defined]


def by_beta(run: Run) -> tuple[float, str]:
    return beta_of(run), run.id


def in_order(runs: Sequence[Run]) -> list[Run]:
    return sorted(runs, key=by_beta)


def labelled(runs: Sequence[Run]) -> dict[str, Run]:
    """Each run under its beta as text, with the end of its id, or all of it, where another has the same beta."""
    betas = [f"{beta_of(run):g}" for run in runs]
    ends = [run.id.rsplit("-", 1)[-1] for run in runs]
    names = ends if len(set(ends)) == len(ends) else [run.id for run in runs]
    return {
        beta if betas.count(beta) == 1 else f"{beta} ({name})": run
        for beta, name, run in zip(betas, names, runs, strict=True)
    }


def settings(run: Run) -> dict[str, str]:
    """All that decides what a run becomes but its beta, as text: its config, how it was steered, how far it came."""
    config = run.config
    flat = config.model_dump(mode="json", exclude={"created", "parent", "experiment", "knobs", "schedule", "classes"})
    flat |= config.model_config_of_family().model_dump(exclude={"beta"}) | config.schedule.model_dump()
    flat |= {f"version of {name}": number for name, number in flat.pop("versions").items()}
    status = run.status()
    flat["steered"] = steering.said(run)
    if not status.active:
        flat |= {"device used": status.device, "steps made": status.step}
    return {name: str(value) for name, value in flat.items()}


def confounders(named: Mapping[str, Run]) -> list[dict[str, str]]:
    """One row for each setting but beta that differs: {'setting': its name, label: its value there, ...}."""
    flat = {label: settings(run) for label, run in named.items()}
    return [
        {"setting": name, **{label: values.get(name, "-") for label, values in flat.items()}}
        for name in dict.fromkeys(name for values in flat.values() for name in values)
        # What is not there yet (a run still trains) is no difference.
        if len({values[name] for values in flat.values() if name in values}) > 1
    ]


def terms(run: Run) -> dict[str, float]:
    """Reconstruction, KL and -ELBO at beta 1 on test images, nats per image: measured at the end, or the newest point.

    {} before there is one. Raises UserError.
    """
    names = ("negative_elbo", "reconstruction", "kl")
    summary: dict[str, Any] = run.summary()
    if set(names) <= set(summary):
        return {name: float(summary[name]["value"]) for name in names}
    for point in reversed(run.metrics()):
        if set(names) <= set(point.get("test") or {}):
            return {name: float(point["test"][name]) for name in names}
    return {}
