"""What tells runs apart, in as few words as can be."""

from collections import Counter
from collections.abc import Collection, Sequence
from itertools import chain, combinations

from app import look, settings
from genmodels import data as datasets
from genmodels.families import FAMILIES
from genmodels.figures import lowered
from genmodels.runs import Run

MOST = 2  # settings in a name


def named(runs: Sequence[Run], but: Collection[str] = ()) -> dict[str, str]:
    """Id -> the run's name among these: its model and its data where they differ, a setting or two of those alike.
    Not escaped: charts and alt texts take it as it is.

    but: settings that no name is made of, by their titles.
    """
    families, sets = ({getattr(run.config, name) for run in runs} for name in ("family", "dataset"))
    found = {}
    for run in runs:
        model, data = FAMILIES[run.config.family].title, datasets.title(run.config.dataset)
        if (len(families) > 1 and len(sets) > 1) or len(runs) == 1:
            found[run.id] = f"{model} on {data}"
        else:
            found[run.id] = model if len(families) > 1 else data if len(sets) > 1 else ""
    for name in set(found.values()):
        alike = [run for run in runs if found[run.id] == name]
        if len(alike) > 1:
            found |= {run_id: f"{name}, {told}" if name else told for run_id, told in _by_settings(alike, but).items()}
    count = Counter(found.values())
    return {
        run.id: found[run.id] if count[found[run.id]] == 1 else f"{found[run.id]} {look.short(run)}".strip(" ,")
        for run in runs
    }


def _by_settings(runs: Sequence[Run], but: Collection[str]) -> dict[str, str]:
    """Id -> the setting or two that tell the most of these runs apart, 'beta 4'."""
    rows = [row for row in settings.differences([(run.id, run.config) for run in runs]) if row["setting"] not in but]
    several = chain.from_iterable(combinations(rows, count) for count in range(1, MOST + 1))
    chosen = max(several, key=lambda few: len({tuple(row[run.id] for row in few) for run in runs}), default=())
    return {run.id: ", ".join(f"{lowered(row['setting'])} {row[run.id]}" for row in chosen) for run in runs}
