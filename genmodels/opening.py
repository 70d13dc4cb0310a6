"""Runs opened once for all who look into them, and anew when they have learned on or their dataset has changed."""

import threading
from collections import defaultdict
from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar

from genmodels import data
from genmodels.runs import Run

KEPT = 6  # opened runs of each kind that are remembered, some of them with their whole dataset

Opened = TypeVar("Opened")
_forget: list[Callable[[], None]] = []


def opened_once(anew: Callable[[Run, bool], Opened], keep: int = KEPT) -> Callable[[Run], Opened]:
    """From memory what `anew` made of the same run before: of its weights, its codes, and whether its dataset is here.

    anew: takes a run and whether its dataset is on this machine; what it raises is not remembered. Each run is opened
    once, however many ask at the same time, and nobody waits for another run. keep: how many are remembered.
    """
    locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)

    @lru_cache(keep)
    def opened(path: Path, stamps: tuple[int, int], present: bool) -> Opened:
        return anew(Run(path), present)

    @wraps(anew)
    def once(run: Run) -> Opened:
        with locks[run.path]:
            return opened(run.path, (run.stamp, run.changed("latents.npz")), data.is_present(run.config.dataset))

    del once.__wrapped__  # it takes the run alone
    _forget.append(opened.cache_clear)
    return once


def forget_all() -> None:
    """Open every run anew when it is next asked for: a dataset has changed."""
    for forget in _forget:
        forget()
