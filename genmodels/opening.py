"""Runs opened once for all who look into them, and anew when they have learned on or their dataset has changed.

What a page still shows stays in memory, however many are opened after it: so nothing is forgotten there and then opened
for the next one, who would hold a second copy.
"""

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

import numpy as np

from genmodels import data
from genmodels.runs import Run

KEPT = 6  # opened runs of each kind that are remembered, some of them with their whole dataset

Opened = TypeVar("Opened")
_forget: list[Callable[[], None]] = []
_runs: WeakValueDictionary[tuple[Path, int], Run] = WeakValueDictionary()
_arrays: WeakValueDictionary[bytes, np.ndarray] = WeakValueDictionary()


def held(run: Run) -> Run:
    """The same run, with its model where somebody holds that already, and of the weights that it has now."""
    return _runs.setdefault((run.path, run.stamp), Run(run.path))


def one_copy(array: np.ndarray) -> np.ndarray:
    """This array, or an equal one that somebody holds already: many runs look at the same test images."""
    digest = hashlib.blake2b(repr((array.shape, array.dtype.str)).encode())
    digest.update(np.ascontiguousarray(array).data)
    return _arrays.setdefault(digest.digest(), array)


def opened_once(anew: Callable[[Run, bool], Opened], keep: int = KEPT) -> Callable[[Run], Opened]:
    """From memory what `anew` made of the same run before: of its weights, its codes, and whether its dataset is here.

    anew: takes a run and whether its dataset is on this machine; what it raises is not remembered. Each run is opened
    once, however many ask at the same time, and nobody waits for another run. keep: how many are remembered, whether
    somebody holds them or not.
    """
    locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
    alive: WeakValueDictionary[tuple[Path, tuple[int, int], bool], Opened] = WeakValueDictionary()

    @lru_cache(keep)
    def kept(path: Path) -> list[Any]:
        """As it was when it was opened last, and that; of a run that trains, no older one."""
        return []

    @wraps(anew)
    def once(run: Run) -> Opened:
        key = (run.path, (run.stamp, run.changed("latents.npz")), data.is_present(run.config.dataset))
        with locks[run.path]:
            last = kept(run.path)
            if last[:1] != [key]:
                found = alive.get(key)
                last[:] = key, alive.setdefault(key, anew(held(run), key[2])) if found is None else found
            return last[1]

    del once.__wrapped__  # it takes the run alone
    _forget.extend([kept.cache_clear, alive.clear])
    return once


def forget_all() -> None:
    """Open every run anew when it is next asked for: a dataset has changed."""
    for forget in _forget:
        forget()
