"""A latent map as files: the points as a picture, and as a table."""

import io
from collections.abc import Sequence

import numpy as np
import pandas as pd

from app import maps
from app.downloads import File, offer
from genmodels import ranking
from genmodels.inside import Inside
from genmodels.maps import Map, View
from genmodels.media import PAPER

SIDE, MARGIN, DOT, LETTERS = 1000, 40, 5, 22  # pixels
SHORT = 2  # letters of a name that can stand for a point
FAINT = 0.2  # of its ink a point has that is not shown alone, as on the page
INK = (38, 39, 48)


def files(inside: Inside, found: Map, view: View, by: str | None) -> None:
    """Its picture and its points."""
    labels, names, colours = maps.colouring(inside, by)
    shown, labels = maps.shown_alone(inside, names), labels[found.ids]
    name = f"map-{inside.run.id}-{view.kind.lower()}"
    offer(
        "latent_map",
        File("PNG", f"{name}.png", lambda: picture(found, labels, names, colours, shown)),
        File("CSV", f"{name}.csv", lambda: table(found, labels, names), "Number, class and place of every point."),
    )


def picture(
    found: Map, labels: np.ndarray, names: Sequence[str], colours: Sequence[str], shown: Sequence[int] = ()
) -> bytes:
    """The points as a PNG, the names of the classes beside them in their colours. labels: (n,). shown: those of which
    are shown alone, over the others, which are faint; none: all are."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(LETTERS)
    wide = max(int(font.getlength(name)) for name in names) + 3 * LETTERS
    image = Image.new("RGB", (SIDE + wide, SIDE), (PAPER,) * 3)
    pen = ImageDraw.Draw(image)
    low, high = found.points.min(0), found.points.max(0)
    scale = (SIDE - 2 * MARGIN) / max(float((high - low).max()), 1e-9)  # the same both ways: distances stay true
    places = SIDE / 2 + (found.points - (low + high) / 2) * scale * (1, -1)
    short = all(len(name) <= SHORT for name in names)  # then the name is the point: not all can tell ten colours apart
    inks = [_ink(colours[label % len(colours)], label in shown or not shown) for label in range(len(names))]
    for i in np.argsort(np.isin(labels, shown), kind="stable"):
        (x, y), label = places[i], labels[i]
        if short:
            pen.text((x, y), names[label], inks[label], font, "mm")
        else:
            pen.ellipse((x - DOT, y - DOT, x + DOT, y + DOT), inks[label])
    for row, name in enumerate(names[: SIDE // (2 * LETTERS)]):
        y = MARGIN + 1.5 * LETTERS * row
        pen.ellipse((SIDE, y, SIDE + LETTERS, y + LETTERS), inks[row])
        pen.text((SIDE + 1.5 * LETTERS, y + LETTERS / 2), name, INK, font, "lm")
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _ink(colour: str, clear: bool) -> tuple[int, ...]:
    """A colour as it is on paper, or a faint one."""
    from PIL import ImageColor

    return tuple(round(PAPER + (each - PAPER) * (1 if clear else FAINT)) for each in ImageColor.getrgb(colour))


def table(found: Map, labels: np.ndarray, names: Sequence[str]) -> bytes:
    """A line for each point, as a spreadsheet reads it."""
    x, y = found.points.T
    told = [ranking.cell(names[label]) for label in labels]
    frame = pd.DataFrame({"test image": found.ids + 1, "class": told, "x": x, "y": y})
    return frame.to_csv(index=False, float_format="%.6g").encode("utf-8-sig")
