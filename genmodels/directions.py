"""Named directions in a run's latent space, kept with the run as one readable JSON file: name -> L numbers."""

import threading
from pathlib import Path
from typing import Any

import numpy as np

from genmodels.config import UserError
from genmodels.files import SHIPPED, disk_errors, home, read_json, write_json
from genmodels.runs import Run, RunConfig

FILE = "directions.json"
LONGEST = 60  # characters of a name
MOST = 100  # directions of a run

_one_at_a_time = threading.Lock()  # one visitor's direction must not overwrite another's


def place(run: Run) -> Path:
    """The file: in the run's folder, or in the home for a run that came with the package, which stays as it is."""
    return (home() / SHIPPED / run.id if run.shipped else run.path) / FILE


def directions_of(run: Run) -> dict[str, np.ndarray]:
    """Name -> direction, float32 (L,), in the order they were kept; {} where there is none. Raises UserError."""
    try:
        value = read_json(place(run))
    except FileNotFoundError:
        return {}
    return checked(value, run.config)


def keep_direction(run: Run, name: str, vector: np.ndarray) -> None:
    """Keep `vector`, (L,), under `name`. Raises UserError for a name that is taken, or what is no direction."""
    name = " ".join(name.split())
    with _one_at_a_time:
        kept = directions_of(run)
        if name in kept:
            raise UserError(f"There is a direction '{name}' already: choose another name, or delete it first.")
        value = _as_json(kept | {name: vector})
        checked(value, run.config)
        _write(run, value)


def forget_direction(run: Run, name: str) -> None:
    """Delete the direction; one that is gone already is no error."""
    with _one_at_a_time:
        kept = directions_of(run)
        if kept.pop(name, None) is not None:
            _write(run, _as_json(kept))


def checked(value: Any, config: RunConfig) -> dict[str, np.ndarray]:
    """What such a file says, as arrays: names are short, vectors finite, not zero and of the run's length.

    Raises UserError.
    """
    wrong = f"The file {FILE} is damaged"
    if not isinstance(value, dict):
        raise UserError(f"{wrong} (it holds no names): delete it.")
    if len(value) > MOST:
        raise UserError(f"A run keeps at most {MOST} directions: delete one first.")
    length = getattr(config.model_config_of_family(), "latent_size", None)
    found = {}
    for name, numbers in value.items():
        if not name.strip() or len(name) > LONGEST or not name.isprintable():
            raise UserError(f"A direction's name has 1 to {LONGEST} letters, digits or signs.")
        if not isinstance(numbers, list) or {type(number) for number in numbers} - {int, float} or not numbers:
            raise UserError(f"{wrong} (direction '{name}' is no list of numbers): delete it.")
        try:
            with np.errstate(over="ignore"):
                vector = np.array(numbers, np.float64).astype(np.float32)
        except OverflowError:  # a whole number too long for any float
            vector = np.full(len(numbers), np.inf, np.float32)
        if not np.isfinite(vector).all():
            raise UserError(f"The direction '{name}' has a value that is not a number.")
        if not vector.any():
            raise UserError(f"The direction '{name}' is zero: it leads nowhere.")
        if len(vector) != (length or len(vector)):
            raise UserError(f"The direction '{name}' has {len(vector)} numbers; codes of this run have {length}.")
        found[name] = vector
    return found


def _as_json(directions: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """With the shortest decimals that read back as the same float32."""
    return {
        name: [float(str(number)) for number in np.asarray(vector, np.float32).ravel()]
        for name, vector in directions.items()
    }


def _write(run: Run, value: dict[str, list[float]]) -> None:
    path = place(run)
    with disk_errors(FILE):
        path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value)
