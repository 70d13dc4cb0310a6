"""What the one-file explorer holds of a run: numbers for the browser, each array with its kind."""

from typing import Any

import numpy as np

from genmodels import directions, maps, sliders
from genmodels.analysis.projection import Linear
from genmodels.analysis.traversal import quantiles
from genmodels.browser.message import Kind
from genmodels.figures import COLOURS, MARKS
from genmodels.inside import Inside, open_inside
from genmodels.media import is_light_on_dark
from genmodels.runs import Run

POINTS = 2500  # on the map, at most
NUMBERS = 400_000  # of all their codes together, at most
ROWS, COLUMNS = 10, 7  # of the traversal grid
SHOWN = 16  # sliders that are not folded away, where no dimension is dead
PERPLEXITY = 30
TRIED = 8  # noises by which it is measured what a slider changes
Arrays = dict[str, tuple[Any, Kind]]
Contents = tuple[dict[str, Any], Arrays]


def in_codes(run: Run, tsne: bool) -> Contents:
    """Of a run that encodes: its sliders by what they carry, its map, its classes. Raises UserError."""
    inside = open_inside(run)
    told = sliders.told(inside)
    about = _common(run, inside.spread, inside.order, told, inside.light) | {
        "active": inside.active,
        "dead": sliders.dead_words(inside),
        "ordered": f"ordered by {'what each carries, its KL in nats' if inside.kl is not None else 'their variance'}",
        "directions": sliders.of_directions(directions.directions_of(run)),
        "classes": list(inside.classes),
        "start": inside.means.mean(0).tolist(),
        "centroids": [row.tolist() if np.isfinite(row).all() else None for row in inside.centroids],
        "images": len(inside.means),
    }
    placed, arrays = _maps(inside, tsne)
    return about | {"maps": placed}, arrays


def in_noise(run: Run) -> Contents:
    """Of a run that makes images of noise: sliders ordered by how much they change on average, and no map."""
    import torch

    from genmodels.training import evaluating

    model, generator = run.model, torch.Generator().manual_seed(0)
    size, classes = int(model.config.latent_size), run.config.classes  # type: ignore[union-attr, arg-type]
    noise = torch.randn(TRIED, size, generator=generator)
    moved = noise + torch.eye(size)[:, None]  # each number one standard deviation further
    asked = getattr(model, "conditional", False)
    with evaluating(model):
        labels = torch.arange(TRIED) % max(1, len(classes))
        drawn, other = (
            model.decode(z, *([labels.repeat(len(z) // TRIED)] if asked else [])).flatten(1)  # type: ignore[operator]
            for z in (noise, moved.flatten(0, 1))
        )
    change = 255 * (other.unflatten(0, (size, TRIED)) - drawn).abs().mean((1, 2)).numpy()
    told = [f"{each:.1f} grey levels" for each in change]
    light = is_light_on_dark((255 * drawn).byte().numpy().reshape(TRIED, *run.config.shape))
    spread, order = np.stack([np.zeros(size), np.ones(size)]), np.argsort(-change, kind="stable")
    return _common(run, spread, order, told, light) | {
        "active": min(size, SHOWN),
        "dead": f"{size - SHOWN} more dimensions, which change less",
        "ordered": "ordered by how many grey levels, of 255, a pixel changes on average when it moves by one deviation",
        "directions": [],
        "classes": list(classes) if asked else [],
        "asked": asked,
        "start": noise[0].tolist(),
        "centroids": [],
        "maps": [],
    }, {}


def _common(run: Run, spread: np.ndarray, order: np.ndarray, told: list[str], light: bool) -> dict[str, Any]:
    return sliders.facts(spread, order.tolist(), told, light) | {
        "name": run.id,
        "shape": run.config.shape,
        "colours": list(COLOURS),
        "marks": list(MARKS),
        "columns": quantiles(COLUMNS).tolist(),
        "rows": ROWS,
    }


def _maps(inside: Inside, tsne: bool) -> tuple[list[dict[str, Any]], Arrays]:
    """The maps, each with its axes and, where a place has a code, the plane that it lies on; codes and points."""
    count, most = len(inside.means), min(POINTS, NUMBERS // inside.latent_size)
    known = maps.kept_tsne(inside)
    if known is None and tsne and count > 3 * PERPLEXITY + 1 and inside.latent_size > 1:
        ids = maps.sample(count, POINTS)
        known = ids, maps.make_tsne(inside, ids, PERPLEXITY)
    ids = maps.sample(count, min(most, count if known is None else len(known[0])))
    view = maps.View(maps.RAW if inside.latent_size <= 2 else maps.PCA)
    flat = maps.flat(inside.means, inside.labels, view)
    placed = [{"name": view.kind, "axes": flat.axes, "plane": _rows(flat.plane), "points": "points0"}]
    arrays: Arrays = {
        "codes": (inside.means[ids].astype(np.float16).view(np.uint16), "u2"),
        "labels": (inside.labels[ids], "u2"),
        "ids": (ids, "u4"),
        "points0": (flat.points[ids], "f4"),
    }
    if known is not None:
        placed.append({"name": maps.TSNE, "axes": ("", ""), "plane": None, "points": "points1"})
        arrays["points1"] = (known[1][np.searchsorted(known[0], ids)], "f4")
    return placed, arrays


def _rows(plane: Linear | None) -> list[list[float]] | None:
    """Of each dimension its offset and its two parts of the basis."""
    return None if plane is None else np.column_stack([plane.offset, plane.basis]).astype(float).tolist()
