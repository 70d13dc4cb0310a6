"""A trained run that translates, opened: its test images of both kinds, and people's pictures made what it reads."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image

from genmodels import data
from genmodels.analysis.snapshot import in_chunks, to_bytes
from genmodels.config import UserError
from genmodels.data import pairs
from genmodels.data.pictures import fit
from genmodels.families.contract import abilities
from genmodels.media import is_light_on_dark
from genmodels.opening import opened_once
from genmodels.runs import Run
from genmodels.training import evaluating

FORWARD, BACK = "forward", "back"
DARK, LIGHT = 64, 191  # a median grey value below or above which a picture is strokes on a dark or on a light ground

LINE = 0.3  # of a pixel: a thin pen then draws a line without gaps, and a usual one seldom two pixels wide


class Kind(NamedTuple):
    """Images of one kind. images: uint8 (N, C, H, W). labels: int64 (N,). made: whether these are no test images, but
    what the model made, or what was made of that."""

    images: np.ndarray
    labels: np.ndarray
    made: bool = False


@dataclass(frozen=True)
class Translator:
    """Shared by all who look: nothing in it is changed, trained or moved.

    kinds: what is translated from in each direction; the other one is what it is translated into. partners: whether
    row i of one is what row i of the other should become. real: whether these are the test images; where the dataset
    is not on this machine, the few that the run's last snapshot keeps stand in. classes: names of the labels, or ().
    """

    run: Run
    model: Any
    kinds: Mapping[str, Kind]
    partners: bool
    real: bool
    classes: tuple[str, ...]

    @property
    def directions(self) -> tuple[str, ...]:
        return self.model.DIRECTIONS

    @property
    def shape(self) -> tuple[int, int, int]:
        return self.run.config.shape

    @cached_property
    def light(self) -> bool:
        """Whether images are shown inverted: where the sources are light on dark, and then all of both kinds.

        One rule for both, whatever the direction: of digits and their negatives, each inverted for itself would look
        like the other, and what the model does would not be seen.
        """
        return is_light_on_dark(self.kinds[FORWARD].images[:500])

    @cached_property
    def grounds(self) -> dict[str, float]:
        """The median grey value of each kind, which for strokes is that of the ground they are drawn on."""
        return {direction: ground(kind.images[:500]) for direction, kind in self.kinds.items()}

    @cached_property
    def recipe(self) -> pairs.Recipe | None:
        """What made the sources from the images, where that is known: edges, grey, half or small."""
        found = pairs.RECIPES.get(self.run.config.dataset.partition(":")[0])
        return found if found is not None and found.pairing == "pairs" else None

    @property
    def edges(self) -> bool:
        """Whether the sources are lines of one pixel, white on black."""
        return self.recipe is not None and self.recipe.change is pairs.edges

    def translate(self, images: np.ndarray, direction: str = FORWARD) -> np.ndarray:
        """uint8 (N, C, H, W) -> the same. Raises UserError for a direction that it has not learned."""
        self._check(direction)
        with evaluating(self.model):
            parts = in_chunks(
                lambda part: to_bytes(self.model.translate(part, direction)),
                torch.from_numpy(np.array(images)), 250,  # a copy: torch wants to own it
            )  # fmt: skip
        return np.concatenate(parts)

    def there_and_back(self, images: np.ndarray, direction: str = FORWARD) -> list[np.ndarray]:
        """The translations and, where it goes both ways, these translated back. uint8 (N, C, H, W) each."""
        made = self.translate(images, direction)
        other = BACK if direction == FORWARD else FORWARD
        return [made, self.translate(made, other)] if other in self.directions else [made]

    def partner(self, which: np.ndarray, direction: str = FORWARD) -> np.ndarray | None:
        """What these test images should become, uint8 (n, C, H, W); None where nobody knows."""
        if not self.partners:
            return None
        return self.kinds[BACK if direction == FORWARD else FORWARD].images[which]

    def read(self, picture: np.ndarray, direction: str = FORWARD, *, drawn: bool = False) -> np.ndarray:
        """A person's picture as one to translate in this direction. uint8 (H, W) or (H, W, 3) -> uint8 (C, H, W).

        Resized and converted as at intake; inverted where its ground is dark and that of these images is light, or the
        other way round; made lines where these are edges, half or grey where these are. drawn: dark on white paper.
        """
        self._check(direction)
        image = as_ground(self._fit(picture), self._usual(direction), drawn)
        if self.recipe is None or direction != FORWARD:
            return image
        # Each of the other recipes makes of its own result the same once more.
        return as_lines(image) if self.edges else np.ascontiguousarray(self.recipe.change(image[None], 0)[0])

    def turned(self, direction: str = FORWARD) -> bool:
        """Whether what is read of a drawing is shown light on dark, the other way round than it was drawn."""
        return (self._usual(direction) < DARK) != self.light

    def _usual(self, direction: str) -> float:
        """The median grey value of what a person's picture should be like."""
        if self.recipe is None or direction != FORWARD:
            return self.grounds[direction]
        return 0.0 if self.edges else self.grounds[BACK]

    def take_apart(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """A picture of what should come out, and what the recipe makes of it to put in. -> uint8 (C, H, W) twice."""
        if self.recipe is None:
            raise UserError(f"Nothing is known of how the inputs of run {self.run.id} were made.")
        image = as_ground(self._fit(picture), self.grounds[BACK], False)
        return np.ascontiguousarray(self.recipe.change(image[None], 0)[0]), image

    def _check(self, direction: str) -> None:
        if direction not in self.directions:
            raise UserError(
                f"The run {self.run.id} does not translate '{direction[:20]}': {' or '.join(self.directions)} only."
            )

    def _fit(self, picture: np.ndarray) -> np.ndarray:
        return fit(Image.fromarray(picture), self.shape[1], self.shape[0])


def ground(images: np.ndarray) -> float:
    """Median grey value of images with 1 or 3 channels, uint8 (N, C, H, W)."""
    return float(np.median(images.mean(1)))


def as_ground(image: np.ndarray, usual: float, drawn: bool) -> np.ndarray:
    """The picture, inverted where its ground is dark and the usual one is not, or the other way round. (C, H, W).

    usual: the median grey value of the images that it should be like; one between dark and light, as of photos, has
    no ground and asks for nothing.
    """
    dark = not drawn and ground(image[None]) < DARK
    wrong = not dark if usual < DARK else dark if usual > LIGHT else False
    return np.ascontiguousarray(255 - image if wrong else image)


def as_lines(image: np.ndarray) -> np.ndarray:
    """White lines on black, as edges are: the pixels of which strokes cover at least LINE. uint8 (C, H, W)."""
    covered = image.max(0, keepdims=True) >= 255 * LINE
    return np.ascontiguousarray(np.broadcast_to(np.where(covered, np.uint8(255), np.uint8(0)), image.shape))


def names(dataset: str) -> tuple[str, str]:
    """What the two kinds of images of a dataset are called: what is translated, and into what."""
    head = dataset.partition(":")[0]
    if head in pairs.RECIPES:
        task = pairs.RECIPES[head].task
        source, found, image = task.partition(" to ")
        return (source, image) if found else ("plain", task)
    if head == "domains":
        source, image = map(data.title, data.bases(dataset))
        return source, image
    return "first kind", "second kind"


@opened_once
def open_translator(run: Run, present: bool) -> Translator:
    """The run, from memory where it was opened before and has not learned since. Raises UserError."""
    config, model = run.config, run.model
    if "translate" not in abilities(model):
        raise UserError(f"The run {run.id} cannot translate images.")
    if present:
        with contextlib.suppress(UserError):  # damaged: as if it were not here
            loaded = data.load(config.dataset, config.size, config.channels, config.seed)
            if loaded.shape == config.shape and loaded.sources is not None:
                return _of_dataset(run, loaded)
    return _of_snapshot(run)


def _of_dataset(run: Run, loaded: data.Dataset) -> Translator:
    span = loaded.span("test")
    known = loaded.pairing in ("pairs", "styled")
    # Copies: a part would keep all images in memory.
    images, labels = loaded.images[span].copy(), loaded.labels[span].copy()
    sources = loaded.sources[span].copy()  # type: ignore[index]  # looked at before
    # The sources of two domains have classes of their own, without names here.
    marks = labels if known else np.zeros(len(sources), np.int64)
    classes = loaded.classes if known else ()
    kinds = {FORWARD: Kind(sources, marks), BACK: Kind(images, labels if known else np.zeros(len(images), np.int64))}
    return Translator(run, run.model, kinds, known, True, classes)


def _of_snapshot(run: Run) -> Translator:
    """What a run kept of its images is enough to know what they look like; a run that came with the package has none,
    and then what it made of them stands in."""
    steps = run.snapshots()
    kept = run.arrays(f"snapshots/{steps[-1]}") if steps else {}
    recipe = pairs.RECIPES.get(run.config.dataset.partition(":")[0])
    real = "inputs" in kept
    if not real and "translations" in kept and ("cycled" in kept or recipe):
        made = kept["translations"]
        kept["inputs"] = (
            np.ascontiguousarray(recipe.change(made, 0)) if "cycled" not in kept and recipe else kept["cycled"]
        )
    if not {"inputs", "translations"} <= set(kept):
        raise UserError(
            f"The dataset of run {run.id} is not on this machine, or it is damaged: fetch it on the Data page."
        )
    partners = "targets" in kept

    def kind(name: str, made: bool) -> Kind:
        return Kind(kept[name], np.zeros(len(kept[name]), np.int64), made)

    back = kind("targets", False) if partners else kind("translations", True)
    kinds = {FORWARD: kind("inputs", not real), BACK: back}
    return Translator(run, run.model, kinds, partners, False, ())
