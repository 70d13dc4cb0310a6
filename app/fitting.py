"""What is seen of a flow while it is fitted: how far it is, and the likelihood of held-out points over the steps."""

from collections.abc import Iterable, Iterator
from itertools import accumulate
from operator import add

import numpy as np

from app.charts import chart
from genmodels import figures
from genmodels.analysis.density import Progress

WHAT = "**Log-likelihood of held-out points**, nats"


def growing(path: Iterable[Progress]) -> Iterator[list[Progress]]:
    """All words of progress so far, after each."""
    return accumulate(([now] for now in path), add)


def tell(_: int, seen: list[Progress]) -> tuple[float, str]:
    """The share that is done, and words for it."""
    return seen[-1].share, f"step {seen[-1].step:,}, {seen[-1].held_out:.2f} nats a held-out point"


def curve(seen: list[Progress], key: str = "") -> None:
    """Mean log-likelihood of the held-out points over the steps. key: of one that is fitted; none while it is."""
    lines = {"held out": (np.array([each.step for each in seen]), np.array([each.held_out for each in seen]))}
    drawn = figures.without_legend(figures.live_curves(lines, height=180))
    words = f"{seen[-1].held_out:.2f} nats after {seen[-1].step:,} steps."
    chart(drawn, words, key=key or "fitting", heading=WHAT, folded=bool(key))
