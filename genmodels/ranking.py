"""Runs beside each other: which of their figures can be ranked, which is best, and how far the seeds of one setting
spread."""

import csv
import io
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from genmodels import steering
from genmodels.runs import Run

# Beside its summary, what a run's figures are of: its data and the shape of the images, as text.
Measured = Mapping[str, tuple[str, Mapping[str, Any]]]
FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n")  # what a spreadsheet would carry out begins with one of these


class Row(NamedTuple):
    """One metric of the runs that were measured alike: by the same judge or draws (the unit says so), on as many images
    of the same data. Only such values can be ranked. values, floors: by the id of a run."""

    data: str
    metric: str
    unit: str
    better: str
    n: int
    values: Mapping[str, float]
    floors: Mapping[str, float]


class Spread(NamedTuple):
    """Values of some seeds. deviation: the sample's standard deviation, None of one seed."""

    mean: float
    deviation: float | None
    seeds: int


def rows(measured: Measured) -> list[Row]:
    """Every metric of these runs, once for each way in which it was measured; that of one dataset stands together.

    A value that is no number is left out.
    """
    found: dict[tuple[str, str, str, str, int], Row] = {}
    for run, (data, summary) in measured.items():
        for name, entry in summary.items():
            if _is_number(entry["value"]):
                key = (data, name, str(entry["unit"]), str(entry["better"]), int(entry["n"]))
                row = found.setdefault(key, Row(*key, values={}, floors={}))
                row.values[run] = entry["value"]  # type: ignore[index]
                if _is_number(entry["floor"]):
                    row.floors[run] = entry["floor"]  # type: ignore[index]
    sets, names = (list(dict.fromkeys(key[place] for key in found)) for place in (0, 1))
    return sorted(found.values(), key=lambda row: (sets.index(row.data), names.index(row.metric)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def seeds(runs: Iterable[Run]) -> list[list[Run]]:
    """The runs in groups that differ in the seed alone, in the order of the first of each.

    One that has not come to its end stands alone: it has not learned as much. So does a second one of the same seed,
    which would make the spread look smaller than it is. Raises UserError.
    """
    groups: dict[tuple[str, str, int], list[Run]] = {}
    for run in runs:
        kept = run.config.model_dump(mode="json", exclude={"created", "versions", "parent", "experiment", "seed"})
        chosen = kept["selection"]
        if chosen and (chosen["seed"] == run.config.seed or chosen["kept"] in (0, 1)):
            del chosen["seed"]  # it goes with the run's, or chooses nothing
        alone = "" if run.status().state == "finished" else run.id
        key, again = (json.dumps([kept, steering.said(run)], sort_keys=True), alone), 0
        while run.config.seed in {other.config.seed for other in groups.get((*key, again), [])}:
            again += 1
        groups.setdefault((*key, again), []).append(run)
    return list(groups.values())


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one value or more."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return Spread(statistics.fmean(values) if len(values) > 1 else values[0], deviation, len(values))


def best(row: Row, groups: Sequence[Sequence[str]]) -> set[int]:
    """Which groups of runs have the best mean; none where nothing is better, or all have the same."""
    means = {}
    for number, group in enumerate(groups):
        if values := [row.values[run] for run in group if run in row.values]:
            means[number] = spread(values).mean
    if row.better == "neither" or len(set(means.values())) < 2:
        return set()
    top = (min if row.better == "lower" else max)(means.values())
    return {number for number, mean in means.items() if mean == top}


def as_csv(found: Sequence[Row], runs: Sequence[str]) -> bytes:
    """The rows as a spreadsheet: a column for each run. Where runs have different floors, a row for each of these."""
    text = io.StringIO()
    sheet = csv.writer(text)
    sheet.writerow(["data", "metric", "unit", "better", "n", "floor", *map(cell, runs)])
    for row in found:
        for floor in dict.fromkeys(row.floors.get(run) for run in row.values):
            values = [row.values[run] if run in row.values and row.floors.get(run) == floor else "" for run in runs]
            about = map(cell, (row.data, row.metric, row.unit, row.better))
            sheet.writerow([*about, row.n, "" if floor is None else floor, *values])
    return text.getvalue().encode("utf-8-sig")  # with the mark by which a spreadsheet knows it is UTF-8


def cell(text: str) -> str:
    """Words, never a formula: https://owasp.org/www-community/attacks/CSV_Injection."""
    return f"'{text}" if text.startswith(FORMULAS) else text
