"""The codes of a run as points: on a plane, or by t-SNE, whose maps are kept because they take long."""

import contextlib
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from genmodels.analysis.projection import Linear, dimensions, pca, tsne
from genmodels.config import UserError
from genmodels.files import demo, disk_errors, home, shared_home
from genmodels.inside import Inside
from genmodels.runs import Run

PCA, TSNE, RAW = "PCA", "t-SNE", "Dimensions"
SHARED = 64  # maps and flows of one shipped run that all visitors of a demo keep together


class View(NamedTuple):
    """How the codes become points. x and y: dimensions from 0; taken: images that t-SNE takes."""

    kind: str
    x: int = 0
    y: int = 1
    perplexity: int = 30
    seed: int = 0
    taken: int = 2500


class Map(NamedTuple):
    """Points float32 (n, 2) of the test images `ids`; the plane they lie on, None for t-SNE."""

    points: np.ndarray
    ids: np.ndarray
    plane: Linear | None
    axes: tuple[str, str]


def flat(means: np.ndarray, labels: np.ndarray, view: View) -> Map:
    """Codes (N, L) on two dimensions or principal components, as images 0 to N-1; a single dimension by class (N,)."""
    everything = np.arange(len(means))
    if means.shape[1] == 1:  # the code across, the classes in rows
        plane = Linear(np.zeros(1), np.array([[1.0, 0.0]]), np.array([1.0, 0.0]))
        points = np.column_stack([means[:, 0], labels]).astype(np.float32)
        return Map(points, everything, plane, ("latent dimension 1", "class"))
    plane = pca(means) if view.kind == PCA else dimensions(means, view.x, view.y)
    return Map(plane.place(means), everything, plane, axes_of(view, plane))


def axes_of(view: View, plane: Linear) -> tuple[str, str]:
    """What stands at the axes, with the variance each explains."""
    if view.kind == PCA:
        names = "principal component 1", "principal component 2"
    else:
        names = f"latent dimension {view.x + 1}", f"latent dimension {view.y + 1}"
    x, y = (f"{name}: {share:.0%} of variance" for name, share in zip(names, plane.shares, strict=True))
    return x, y


def sample(count: int, wanted: int) -> np.ndarray:
    """Numbers of the images that t-SNE takes: always the same, in order."""
    return np.sort(np.random.default_rng(0).permutation(count)[:wanted])


def stamp(inside: Inside) -> str:
    """Told apart by it: codes that have learned since."""
    return hashlib.blake2b(np.ascontiguousarray(inside.means).data, digest_size=8).hexdigest()


def _places(run: Run) -> list[Path]:
    """Where new maps are kept: in the run's folder, or for one that comes with the package under the shared home.

    So each is made once for all visitors of a demo; but they cannot fill that: what is more is kept for one alone.
    """
    if not run.shipped:
        return [run.path]
    return [shared_home() / "maps" / run.id, *([home() / "maps" / run.id] if demo() else [])]


def keeper_of(run: Run, file: str) -> Run:
    """Where a file of that name is kept, or is to be; it may have come with the run. Raises UserError."""
    if not run.shipped or (run.path / file).is_file():
        return run
    places = _places(run)
    full = len(list(places[0].glob("*"))) >= SHARED
    folder = next((place for place in places if (place / file).is_file()), places[-1 if full else 0])
    with disk_errors("the map"):
        folder.mkdir(parents=True, exist_ok=True)
    return Run(folder)


def place_of(inside: Inside, ids: np.ndarray, perplexity: int, seed: int = 0) -> Path:
    """The file in which the map of these test images is kept, or is to be. Raises UserError."""
    file = f"{_name(ids, perplexity, seed)}.npz"
    return keeper_of(inside.run, file).path / file


def tsne_of(inside: Inside, ids: np.ndarray, perplexity: int, seed: int = 0) -> np.ndarray | None:
    """The map of these test images that was kept, float32 (n, 2); None where there is none of these codes."""
    try:
        place = place_of(inside, ids, perplexity, seed)
        known = Run(place.parent).arrays(place.stem)
    except UserError:  # damaged: computed anew
        known = {}
    if str(known.get("stamp")) == stamp(inside) and known["points"].shape == (len(ids), 2):
        return known["points"].astype(np.float32)
    return None


def make_tsne(
    inside: Inside, ids: np.ndarray, perplexity: int, seed: int = 0, said: Callable[[float], Any] = lambda share: None
) -> np.ndarray:
    """Place these test images by their neighbours, and keep the map. said: see `tsne`. Raises UserError."""
    points = tsne(inside.means[ids], perplexity, seed, said)
    keep(inside, ids, points, perplexity, seed, Run(place_of(inside, ids, perplexity, seed).parent))
    return points


def keep(inside: Inside, ids: np.ndarray, points: np.ndarray, perplexity: int, seed: int, keeper: Run) -> None:
    """Write a map of these test images into a folder. Raises UserError."""
    keeper.write_arrays(_name(ids, perplexity, seed), {"points": points, "stamp": np.array(stamp(inside))})


def _name(ids: np.ndarray, perplexity: int, seed: int) -> str:
    return f"tsne-{len(ids)}-{perplexity}-{seed}"


def kept_tsne(inside: Inside) -> tuple[np.ndarray, np.ndarray] | None:
    """The newest t-SNE map that was kept of these codes: ids int (n,), points float32 (n, 2)."""
    places = dict.fromkeys([inside.run.path, *_places(inside.run)])
    paths = [path for place in places for path in place.glob("tsne-*-*-*.npz")]
    for path in sorted(paths, key=lambda path: path.stat().st_mtime_ns, reverse=True):
        with contextlib.suppress(ValueError):
            count, perplexity, seed = map(int, path.stem.split("-")[1:])
            ids = sample(len(inside.means), count)
            if (points := tsne_of(inside, ids, perplexity, seed)) is not None:
                return ids, points
    return None
