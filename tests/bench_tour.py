"""`python -m tests.bench_tour`: a tour of 1,000 frames of 28x28 on two threads: decoded, measured and written as a GIF.

The model is a VAE with the usual body (784-400-20), untrained: the work is the same. Goal: under 2 seconds in all.
"""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from genmodels import media
from genmodels.analysis import transitions
from genmodels.analysis.judge import judge_of
from genmodels.analysis.snapshot import to_bytes
from genmodels.data import DATASETS
from genmodels.families import build, vae
from genmodels.training import evaluating
from tests.bench import show

LEGS, FRAMES, REAL = 10, 100, 10_000


def main(repeats: int = 7) -> None:
    torch.set_num_threads(2)
    torch.manual_seed(0)
    model = build("vae", vae.Config(latent_size=20, hidden_size=400), (1, 28, 28), 10)
    judge = judge_of("mnist", DATASETS["mnist"].classes)
    assert judge, "the judge of mnist comes with the package"
    rng = np.random.default_rng(0)
    real = rng.normal(size=(REAL, 20)).astype(np.float32)
    centroids = np.stack([real[rng.integers(0, REAL, 20)].mean(0) for _ in range(10)])
    found: dict[str, list[float]] = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        began = time.perf_counter()
        result = work()
        found.setdefault(name, []).append(time.perf_counter() - began)
        return result

    def once() -> bytes:
        stops = transitions.class_stops(centroids, DATASETS["mnist"].classes, [*range(10), 0])
        tour = timed("path", lambda: transitions.tour(stops, transitions.Plan(FRAMES), np.zeros(20)))
        with evaluating(model):
            frames = timed("decoded", lambda: to_bytes(model.decode(torch.from_numpy(tour.codes))))
        assert frames.shape == (LEGS * FRAMES, 1, 28, 28)
        within = timed("radius, once for each run", lambda: transitions.radius(real))
        timed("class probabilities", lambda: judge.probabilities(frames))
        timed("neighbours among 10,000", lambda: transitions.neighbours(tour.codes, real, within))
        timed("pixel jumps", lambda: transitions.jumps(frames))
        return timed("GIF of 112x112", lambda: media.gif(frames, 0.05, 4))

    once()  # what is set up once is not counted
    found.clear()
    for _ in range(repeats):
        timed("all of it", once)
    print(f"\nA tour of {LEGS * FRAMES:,} frames of 28x28 (goal: under 2 s in all)")
    for name, values in found.items():
        show(name, values, "s")


if __name__ == "__main__":
    main()
