"""What is counted while visitors come: reruns and requests, errors, memory, processor time, the speed of training."""

import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

EVERY = 10.0  # seconds between two looks at memory and training
MEGA = 1024.0  # kilobytes
# What a page rightly says of what a visitor chose.
PLANNED = ("Both axes show the same dimension", "Groups A and B", "The two runs have other test images")


class Look(NamedTuple):
    """At one moment: seconds since the start; memory of the server and of it with its workers in megabytes; processor
    seconds so far of the server, the visitors and the training; its step; reruns so far."""

    seconds: float
    resident: float
    proportional: float
    together: float
    server: float
    visitors: float
    training: float
    step: int
    reruns: int


class Score:
    """server: its process id. progress: process id and step of the training."""

    def __init__(self, server: int, progress: Callable[[], tuple[int | None, int]]) -> None:
        self.server, self.progress = server, progress
        self.seconds: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.processor: dict[tuple[str, str], list[float]] = defaultdict(list)
        self.errors: Counter[tuple[str, str]] = Counter()
        self.looks: list[Look] = []
        self.began, self.used, self.say = time.monotonic(), processor_seconds(server), False

    def told(self, kind: str, page: str, seconds: float) -> None:
        """A rerun or a request has ended. The processor time since the one before is its own where nobody else is."""
        used = processor_seconds(self.server)
        self.seconds[kind, page].append(seconds)
        self.processor[kind, page].append(used - self.used)
        if self.say:
            print(f"{page}: {kind}, {seconds:.2f} s, {used - self.used:.2f} s of the processor", flush=True)
        self.used = used

    def wrong(self, page: str, words: str) -> None:
        if not words.startswith(PLANNED):
            self.errors[page, words] += 1

    def look(self) -> Look:
        """Take a look, and keep it."""
        pid, step = self.progress()
        family = [self.server, *children(self.server), *([pid] if pid else [])]
        memory = {each: memory_of(each) for each in dict.fromkeys(family)}
        found = Look(
            time.monotonic() - self.began, *memory[self.server], sum(each[1] for each in memory.values()),
            processor_seconds(self.server), time.process_time(), processor_seconds(pid) if pid else 0.0, step,
            sum(len(each) for (_, page), each in self.seconds.items() if page != "route"),
        )  # fmt: skip
        self.looks.append(found)
        return found

    # -- what comes of it

    def table(self, by: int = 0) -> list[dict[str, Any]]:
        """A row for each kind, or with by=1 for each page, or with by=2 for both: times of reruns in milliseconds."""
        grouped: dict[str, tuple[list[float], list[float]]] = defaultdict(lambda: ([], []))
        for (kind, page), values in self.seconds.items():
            if page == "route" and by:
                continue
            name = (f"{kind} (request)" if page == "route" else kind, page, f"{page or 'bare'}: {kind}")[by]
            grouped[name][0].extend(values)
            grouped[name][1].extend(self.processor[kind, page])
        return [summary(name, *values) for name, values in sorted(grouped.items())]

    def reruns(self) -> list[float]:
        """Seconds of every rerun, whatever its kind."""
        return [each for (_, page), values in self.seconds.items() if page != "route" for each in values]

    def memory(self, warm_up: float) -> dict[str, float]:
        """A line through the server's memory after so many seconds: megabytes a minute, from and to how many."""
        looks = [each for each in self.looks if each.seconds >= warm_up]
        if len(looks) < 3:
            return {}
        minutes, values = np.array([[each.seconds / 60, each.proportional] for each in looks]).T
        slope, start = np.polyfit(minutes, values, 1)
        return {
            "megabytes_a_minute": float(slope), "from": float(start + slope * minutes[0]),
            "to": float(start + slope * minutes[-1]), "scatter": float(np.std(values - start - slope * minutes)),
            "most": max(each.proportional for each in self.looks),
            "most_resident": max(each.resident for each in self.looks),
            "most_with_workers": max(each.together for each in self.looks),
        }  # fmt: skip


def summary(name: str, seconds: list[float], processor: list[float]) -> dict[str, Any]:
    """Milliseconds: median, 95th percentile, most; and the server's processor time of each on average."""
    values = 1000 * np.array(seconds)
    return {
        "name": name, "count": len(values), "median": float(np.median(values)),
        "p95": float(np.percentile(values, 95)), "most": float(values.max()),
        "in_a_second": float((values < 1000).mean()), "processor": 1000 * float(np.mean(processor)),
    }  # fmt: skip


# -- /proc


def processor_seconds(pid: int) -> float:
    """Processor time of a process, ended threads included: the clock that clock_getcpuclockid(3) gives."""
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return 0.0


def memory_of(pid: int) -> tuple[float, float]:
    """Resident and proportional megabytes; shared pages are divided among those that share them."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0, 0.0
    found = {line.split(":")[0]: int(line.split()[1]) for line in text.splitlines()[1:] if ":" in line}
    return found["Rss"] / MEGA, found["Pss"] / MEGA


def children(pid: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    found = []
    for each in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in each.read_text().split():
            found += [int(child), *children(int(child))]
    return found
