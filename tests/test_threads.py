"""The chooser of threads, on a clock and a machine made up for the purpose."""

import pytest
import torch

from genmodels.threads import ThreadChooser


@pytest.fixture
def threads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The counts that were set, the newest last; no real thread is touched."""
    used = [2]
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: used[-1])
    return used


def drive(chooser: ThreadChooser, threads: list[int], rates: dict[int, float], start: float, end: float) -> None:
    seconds, step = start, round(start * 1000)
    while seconds < end:
        seconds, step = seconds + 1 / rates[threads[-1]], step + 1
        chooser.tick(seconds, step)


def test_it_settles_on_the_faster_and_changes_its_mind_when_the_machine_gets_busy(threads: list[int]) -> None:
    chooser = ThreadChooser(2)
    drive(chooser, threads, {1: 300, 2: 400}, 0, 2)
    assert threads[-1] == 2
    drive(chooser, threads, {1: 290, 2: 40}, 2, 5)
    assert threads[-1] == 1
    drive(chooser, threads, {1: 300, 2: 400}, 5, 25)
    assert threads[-1] == 2


def test_trying_costs_little(threads: list[int]) -> None:
    chooser = ThreadChooser(2)
    drive(chooser, threads, {1: 300, 2: 400}, 0, 60)
    assert len(threads) <= 14


def test_one_processor_is_left_alone(threads: list[int]) -> None:
    drive(ThreadChooser(1), threads, {2: 100}, 0, 1)
    assert threads == [2]
