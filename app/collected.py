"""What a part of a page draws, remembered while it draws, so that all its pictures can be kept as files."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Makers = list[tuple[str, Callable[[], bytes]]]
_drawn: ContextVar[Makers | None] = ContextVar("drawn", default=None)


@contextmanager
def collecting() -> Iterator[Makers]:
    """The pictures drawn inside: what each is, and what makes its PNG when it is asked for."""
    found: Makers = []
    before = _drawn.set(found)
    try:
        yield found
    finally:
        _drawn.reset(before)


def add(what: str, make: Callable[[], bytes]) -> None:
    """Called by whoever draws a picture."""
    if (found := _drawn.get()) is not None:
        found.append((what, make))
