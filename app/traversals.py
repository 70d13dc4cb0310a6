"""One latent dimension after the other, from the same image in every member of a comparison."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
import streamlit as st

from app import pictures
from genmodels import media
from genmodels.config import UserError
from genmodels.runs import Run

ROWS, COLUMNS = 6, 7  # dimensions, and quantiles of the prior


class Traversal(NamedTuple):
    """images: uint8 (R, K, C, H, W), one latent dimension in each row; kl: of these dimensions, (R,) nats."""

    images: np.ndarray
    dimensions: np.ndarray
    kl: np.ndarray
    marked: np.ndarray


def test_images(run: Run) -> str:
    """The same text for runs in which number i is the same test image; empty before there are codes."""
    try:
        labels = pictures.arrays_of(run, pictures.newest(run)).get("labels")
    except UserError:  # said where its pictures are drawn
        return ""
    if labels is None:
        return ""
    # Labels that are all alike do not tell one split from another; the seed does.
    seed = run.config.seed if len(np.unique(labels)) < 2 else ""
    return (
        f"{run.config.dataset} {seed} {hashlib.blake2b(labels.astype(np.int64).tobytes(), digest_size=8).hexdigest()}"
    )


def traversal(run: Run, image: int) -> Traversal | None:
    """From the code of the first watched test image of a class, or of the image of this number without classes.

    None before there are weights, or where there is no such image. Raises UserError.
    """
    return _traversal(str(run.path), run.stamp, image) if run.stamp else None


@st.cache_data(show_spinner=False, max_entries=64)
def _traversal(path: str, changed: int, image: int) -> Traversal | None:
    import torch

    from genmodels.analysis.snapshot import to_bytes
    from genmodels.analysis.traversal import decoded, nearest, quantiles
    from genmodels.training import evaluating

    run = Run(Path(path))
    arrays = run.arrays(pictures.newest(run))
    if not {"reconstructions", "latents", "labels", "kl"} <= set(arrays):
        return None
    z = _code(run, arrays, image)
    if z is None:
        return None
    if not np.isfinite(z).all():
        raise UserError(f"The codes of run {run.id} are not numbers, so there is nothing to traverse: train it again.")
    order = np.argsort(-arrays["kl"], kind="stable")[:ROWS]
    values = np.broadcast_to(quantiles(COLUMNS), (len(order), COLUMNS)).astype(np.float32)
    with evaluating(run.model):
        images = decoded(
            lambda grid: to_bytes(run.model.decode(torch.from_numpy(grid))),  # type: ignore[operator]
            z, order, values,
        )  # fmt: skip
    shown = media.as_people_write(images, light(arrays))
    return Traversal(shown, order, arrays["kl"][order], nearest(z, order, values))


def _code(run: Run, arrays: Mapping[str, np.ndarray], image: int) -> np.ndarray | None:
    """See `traversal`. By the weights as they are now where the image was kept, else as it was in the end. (L,)."""
    import torch

    from genmodels.analysis.snapshot import VIEWS, codes, one_of_each

    labels = arrays["labels"].astype(np.int64)
    found = np.flatnonzero(labels == image) if run.config.classes else np.arange(len(labels))[image : image + 1]
    if not len(found):
        return None
    place = np.flatnonzero(one_of_each(torch.from_numpy(labels), VIEWS).numpy() == found[0])
    if "originals" not in arrays or not len(place):
        return arrays["latents"][found[0]].astype(np.float32)
    return codes(run.model, torch.from_numpy(arrays["originals"][place]))["means"][0]


def light(arrays: Mapping[str, np.ndarray]) -> bool:
    """By the images of the dataset, or by the copies where those were not kept."""
    return media.is_light_on_dark(arrays.get("originals", arrays["reconstructions"]))
