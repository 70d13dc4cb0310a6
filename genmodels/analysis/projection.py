"""Codes of many dimensions on a plane: by a linear map that can be turned back, or by t-SNE, which keeps neighbours."""

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genmodels import demo
from genmodels.config import UserError

WAITS = 0.2  # seconds between two looks whether it is one's turn
SAID_EVERY = 10  # iterations of t-SNE between two words about its progress
EARLY, LATE = 250, 500  # iterations with and without early exaggeration, as van der Maaten and openTSNE have them
_turn = threading.Lock()


class Linear(NamedTuple):
    """A plane in the latent space: z = offset + basis @ (x, y). offset: (L,), basis: (L, 2), shares: (2,).

    shares: what part of the variance of the codes lies along each axis.
    """

    offset: np.ndarray
    basis: np.ndarray
    shares: np.ndarray

    def place(self, codes: np.ndarray) -> np.ndarray:
        """Where codes fall on the plane, at right angles to it. (..., L) -> float32 (..., 2)."""
        return ((codes - self.offset) @ self.basis).astype(np.float32)

    def code(self, points: np.ndarray) -> np.ndarray:
        """The codes on the plane itself. (..., 2) -> float32 (..., L)."""
        return (self.offset + points @ self.basis.T).astype(np.float32)


def pca(codes: np.ndarray) -> Linear:
    """The plane through the mean along which the codes vary most. (N, L), L at least 2.

    K. Pearson (1901), On lines and planes of closest fit. Eigenvectors of the covariance; of each, the largest part is
    positive, so that the same codes always give the same map.
    """
    centred = codes.astype(np.float64) - codes.mean(0, dtype=np.float64)
    count = max(1, len(codes) - 1)
    if 2 < len(codes) < codes.shape[1]:  # the products of codes have the same eigenvalues, and are fewer
        variances, vectors = np.linalg.eigh(centred @ centred.T / count)
        basis = centred.T @ vectors[:, [-1, -2]]
        basis /= np.linalg.norm(basis, axis=0).clip(1e-30)
    else:
        variances, vectors = np.linalg.eigh(centred.T @ centred / count)
        basis = vectors[:, [-1, -2]]
    basis = basis * np.sign(basis[np.abs(basis).argmax(0), [0, 1]])
    total = variances.sum()
    shares = variances[[-1, -2]].clip(0) / total if total > 0 else np.zeros(2)
    return Linear(codes.mean(0, dtype=np.float64), basis, shares)


def dimensions(codes: np.ndarray, x: int, y: int) -> Linear:
    """The plane of two latent dimensions; the others stay at their mean. (N, L)."""
    offset = codes.mean(0, dtype=np.float64)
    offset[[x, y]] = 0
    variances = codes.var(0, dtype=np.float64)
    shares = variances[[x, y]] / variances.sum() if variances.sum() > 0 else np.zeros(2)
    return Linear(offset, np.eye(codes.shape[1])[:, [x, y]], shares)


def tsne(
    codes: np.ndarray, perplexity: float = 30, seed: int = 0, said: Callable[[float], Any] = lambda share: None
) -> np.ndarray:
    """A map that keeps neighbours together; what is far apart on it says little. (N, L) -> float32 (N, 2).

    perplexity: about how many neighbours count. said: called with the share that is done, on this thread; what it
    raises ends the work at once. The same seed and number of cores give the same map. Raises UserError.

    L. van der Maaten and G. Hinton (2008), Visualizing data using t-SNE, https://jmlr.org/papers/v9/vandermaaten08a.html,
    with the Barnes-Hut approximation (https://arxiv.org/abs/1301.3342) and the start from PCA, as openTSNE computes it.
    """
    if perplexity > (len(codes) - 1) / 3:
        raise UserError(
            f"A perplexity of {perplexity:g} needs more than {3 * perplexity:g} images: take a smaller one."
        )
    with tempfile.TemporaryDirectory() as folder:
        with _in_turn(said):
            np.save(Path(folder) / "codes.npy", np.asarray(codes, np.float64))
            _run_process([folder, str(perplexity), str(seed)], said)
        return np.load(Path(folder) / "points.npy")


@contextlib.contextmanager
def _in_turn(said: Callable[[float], Any]) -> Iterator[None]:
    """In a demo one after another: together they would take as long, and the memory of each. Whoever waits may stop."""
    if not demo.on():
        yield
        return
    while not _turn.acquire(timeout=WAITS):
        said(0.0)
    try:
        yield
    finally:
        _turn.release()


def _run_process(words: list[str], said: Callable[[float], Any]) -> None:
    """t-SNE in a process of its own: it can be ended at any moment, and nothing waits for it meanwhile.

    Its threads sleep while they wait for each other. Spinning, as is usual, they take ten times as long as soon as a
    training run wants the same cores; and that is settled when a process starts.
    """
    path = filter(None, [str(Path(__file__).parent.parent.parent), os.environ.get("PYTHONPATH")])
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path), "OMP_WAIT_POLICY": "passive"}
    command = [sys.executable, "-m", "genmodels.analysis.projection", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=env) as process:
        try:
            assert process.stdout
            for line in process.stdout:
                said(float(line))
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise UserError("t-SNE ended before its map was ready: try again, with fewer images.")


def _main(folder: str, perplexity: str, seed: str) -> None:
    """In that process: codes.npy -> points.npy, and the share that is done on each line of the output."""
    from openTSNE import TSNE

    calls, done = (EARLY + LATE) // SAID_EVERY, 0

    def step(iteration: int, error: float, embedding: np.ndarray) -> None:
        nonlocal done
        done += 1
        print(min(1.0, done / calls), flush=True)

    print(0.0, flush=True)
    model = TSNE(
        perplexity=float(perplexity), random_state=int(seed), n_jobs=1 if demo.on() else -1, initialization="pca",
        negative_gradient_method="bh", early_exaggeration_iter=EARLY, n_iter=LATE, callbacks=step,
        callbacks_every_iters=SAID_EVERY,
    )  # fmt: skip
    np.save(Path(folder) / "points.npy", np.asarray(model.fit(np.load(Path(folder) / "codes.npy")), np.float32))


def neighbour_agreement(points: np.ndarray, labels: np.ndarray, k: int = 10, queries: int = 1000) -> float:
    """Of the k nearest neighbours of a point, the mean share of its own class. (N, D), (N,); by `queries` of them."""
    k = min(k, len(points) - 1)
    if k < 1:
        return float("nan")
    chosen = np.random.default_rng(0).permutation(len(points))[:queries]
    squares, shares = (points**2).sum(1), []
    for part in np.array_split(chosen, -(-len(chosen) // 100)):
        distances = squares - 2 * points[part] @ points.T
        distances[np.arange(len(part)), part] = np.inf  # nobody is one's own neighbour
        nearest = np.argpartition(distances, k - 1, axis=1)[:, :k]
        shares.append((labels[nearest] == labels[part, None]).mean(1))
    return float(np.concatenate(shares).mean())


if __name__ == "__main__":
    if hasattr(os, "nice"):
        os.nice(10)  # after the server, but before what trains: somebody waits for it
    _main(*sys.argv[1:])
