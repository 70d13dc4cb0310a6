"""Changed copies: which knobs a cure turns, in words, in an address, and as the settings of a new run."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from genmodels.analysis.balance import listed
from genmodels.config import Schedule, UserError
from genmodels.families import family
from genmodels.figures import title
from genmodels.runs import RunConfig


class Cure(NamedTuple):
    """Knobs and settings of the schedule to change in a copy, and what that should bring, as a sentence."""

    changes: dict[str, Any]
    hope: str


def changed(config: RunConfig, changes: Mapping[str, Any], parent: str | None = None) -> RunConfig:
    """The settings of a copy: with other values of the family's knobs, or of the schedule. Raises UserError."""
    schedule = {name: value for name, value in changes.items() if name in Schedule.model_fields}
    knobs = {name: value for name, value in changes.items() if name not in schedule}
    new = {
        "schedule": Schedule.of(config.schedule.model_dump() | schedule),
        "knobs": family(config.family).Config.of(config.knobs | knobs).model_dump(),
    }
    kept = config.model_dump(exclude={"created", "versions", "parent", "experiment", *new})
    return RunConfig.of({**kept, **new, "parent": parent})


def in_words(config: RunConfig, changes: Mapping[str, Any]) -> str:
    """'beta 1', 'budget 120 steps'."""
    told = []
    for name, value in changes.items():
        if name == "budget":
            told.append(f"budget {value:g} {changes.get('unit', config.schedule.unit)}")
        elif name != "unit":
            words = "on" if value is True else "off" if value is False else f"{value:g}" if _is_number(value) else value
            told.append(f"{title(name).lower()} {words}")
    return listed(told)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float)


def written(changes: Mapping[str, Any]) -> str:
    """Changes for an address: 'beta:1.0,latent_size:8'."""
    return ",".join(f"{name}:{value}" for name, value in changes.items())


def parsed(text: str) -> dict[str, str]:
    """Changes out of an address, for `changed` to check. Raises UserError."""
    pairs = [each.partition(":") for each in text.split(",") if each]
    if not all(name and colon and value for name, colon, value in pairs):
        raise UserError(f"'{text[:60]}' names no changes: write them like beta:1,latent_size:8.")
    return {name: value for name, _, value in pairs}
