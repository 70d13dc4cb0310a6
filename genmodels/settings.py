"""The settings of a run: what differs from the defaults in a few words, all of them one by one, two runs beside."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from genmodels.config import Config, Schedule
from genmodels.data import DATASETS
from genmodels.data.selection import named
from genmodels.families import FAMILIES
from genmodels.figures import title
from genmodels.runs import RunConfig

COLOUR = {1: "grey", 3: "colour"}


class Setting(NamedTuple):
    """One setting as it is shown; default None: there is none, so that nothing is said to differ from it."""

    name: str
    value: str
    default: str | None
    words: str  # name and value in one breath

    @property
    def differs(self) -> bool:
        return self.default is not None and self.value != self.default


def of_run(config: RunConfig) -> list[Setting]:
    """All that decides what the run becomes, the family's own knobs first."""
    entry = DATASETS.get(config.dataset)
    channels, side, _ = config.shape
    schedule = config.schedule
    return [
        *_knobs(FAMILIES[config.family].Config, config.knobs),
        Setting(
            "image_side", f"{side} pixels", f"{min(64, entry.size)} pixels" if entry else None, f"{side} pixels wide"
        ),
        Setting("colour", COLOUR[channels], COLOUR[entry.channels] if entry else None, f"in {COLOUR[channels]}"),
        Setting("seed", str(config.seed), "0", f"seed {config.seed}"),
        Setting("left_out", selection := _selection(config), "nothing", selection),
        Setting("budget", _budget(schedule), _budget(Schedule()), _budget(schedule)),
        *[each for each in _knobs(Schedule, schedule.model_dump()) if each.name not in ("budget", "unit")],
    ]


def _selection(config: RunConfig) -> str:
    """'without 12 images, 5% of class 8 kept'."""
    selection = config.selection
    if not selection:
        return "nothing"
    parts = [f"without {len(selection.left_out):,} images"] if selection.left_out else []
    if selection.scarce is not None:
        parts.append(f"{100 * selection.kept:.3g}% of {named(selection.scarce, config.classes)} kept")
    return ", ".join(parts) or "nothing"


def _knobs(kind: type[Config], values: dict[str, Any]) -> list[Setting]:
    found = []
    for name, field in kind.model_fields.items():
        value, word = values.get(name, field.default), name.replace("_", " ")
        if isinstance(value, bool):
            words = word if value else f"no {word}"
        else:
            words = f"{value} {word}" if isinstance(value, str) else f"{word} {_shown(value)}"
        found.append(Setting(name, _shown(value), _shown(field.default), words))
    return found


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _budget(schedule: Schedule) -> str:
    """1 minute, 20 epochs."""
    return f"{schedule.budget:g} {schedule.unit.removesuffix('s') if schedule.budget == 1 else schedule.unit}"


def in_words(config: RunConfig) -> str:
    """What differs from the defaults: 'beta 4, latent size 32, seed 3'; '' where nothing does.

    A gallery opened while the server still imports torch does not wait for it: there it is '' too.
    """
    if not FAMILIES[config.family].loaded:
        return ""
    return ", ".join(setting.words for setting in of_run(config) if setting.differs)


def differences(configs: Sequence[tuple[str, RunConfig]]) -> list[dict[str, str]]:
    """One row for each setting that is not the same in all of the runs, which are given with their names."""
    flat = {}
    for name, config in configs:
        own = {"family": config.family, "data": config.dataset} | {each.name: each.value for each in of_run(config)}
        flat[name] = {title(setting): value for setting, value in own.items()}
    settings = dict.fromkeys(key for values in flat.values() for key in values)
    return [
        {"setting": key, **{name: values.get(key, "-") for name, values in flat.items()}}
        for key in settings
        if len({values.get(key) for values in flat.values()}) > 1
    ]
