"""What the perturbation page is made of: the sliders, the traversal grid, the formulas.

The address carries where the sliders stand: `z=3:1.25,7:-0.5` says which dimensions are not at the start, `along` the
same of named directions.
"""

import base64
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import streamlit as st

from app import pictures, state
from app.components.latents import Place, latents
from app.downloads import File, offer
from app.start import FARTHEST, Start, forget
from genmodels.config import UserError
from genmodels.inside import Inside
from genmodels.media import as_people_write, gif, grid, png
from genmodels.sliders import carries, dead_words, told

CELL = 56  # CSS pixels of an image of the grid, about
ROWS = 16  # dimensions in the grid at first, at most
SLIDERS = [16, 32, 64]  # of a code that is noise, as long as an image
PACE = 0.15  # seconds of a frame of the GIF


def directions_of(inside: Inside) -> dict[str, np.ndarray]:
    """The named directions of the run, unit of strength 1. A damaged file is said, and stops nothing."""
    from genmodels import directions

    try:
        return directions.directions_of(inside.run)
    except UserError as error:
        st.warning(state.plain(str(error)))
        return {}


def place_in_address(start: np.ndarray, directions: Mapping[str, np.ndarray]) -> Place:
    """Where the address says that the sliders stand; what it says wrongly stays at the start."""
    z, strengths = start.astype(np.float64), dict.fromkeys(directions, 0.0)
    numbers = {str(index + 1): index for index in range(len(z))}
    for key, value in _pairs("z", numbers):
        z[numbers[key]] = value
    strengths.update(_pairs("along", strengths))
    return Place(z, strengths)


def _pairs(name: str, known: Mapping[str, object]) -> list[tuple[str, float]]:
    """key:value,key:value of the address. A sentence says that some are left out."""
    text = st.query_params.get(name, "")
    found = [part.rpartition(":") for part in text.split(",")] if text else []
    kept = []
    for key, _, value in found:
        try:
            amount = float(value)
        except ValueError:
            amount = math.nan
        if key.strip() in known and abs(amount) <= FARTHEST:
            kept.append((key.strip(), amount))
    if len(kept) < len(found):
        st.warning(f"The link's '{name}' names what this run does not have, or no number: that is left out.")
    return kept


def write_place(place: Place, start: np.ndarray) -> None:
    """Into the address: only what is not at the start."""
    z = [f"{i + 1}:{value:.4g}" for i, value in enumerate(place.z) if abs(value - start[i]) > 1e-6]
    along = [f"{name}:{value:.4g}" for name, value in place.strengths.items() if value and "," not in name]
    for name, parts in (("z", z), ("along", along)):
        if parts:
            st.query_params[name] = ",".join(parts)
        else:
            forget(name)


def explore(inside: Inside, start: Start) -> np.ndarray:
    """The sliders and the pictures. -> the code where they stand, (L,), directions included."""
    directions, shown = directions_of(inside), inside.latent_size
    if inside.in_noise and shown > SLIDERS[0]:
        shown = st.segmented_control(
            f"Sliders, of {shown:,} dimensions", [each for each in SLIDERS if each <= shown], default=SLIDERS[0],
            required=True, key="sliders", bind="query-params",
            help="First come those that vary most among test images.",
        )  # fmt: skip
        st.caption(
            "A code of this run is noise, in which each number matters as little as any other: one slider alone "
            "changes next to nothing. The page Transitions walks from one image's noise to another's."
        )
    place = place_in_address(start.code, directions)
    latents(
        inside, start.code, place, directions, told(inside), dead_words(inside), key=f"latents-{inside.run.id}",
        original=start.picture, on_moved=lambda moved: write_place(moved, start.code), shown=shown,
    )  # fmt: skip
    return sum((place.strengths[name] * vector for name, vector in directions.items()), place.z)


class Grid(NamedTuple):
    """images: uint8 (R, K, C, H, W), dark on light. rows, columns: labels. marked: (R,). scale: on the page."""

    images: np.ndarray
    rows: list[str]
    columns: list[str]
    marked: np.ndarray
    scale: int


def grid_settings(inside: Inside) -> tuple[np.ndarray, int]:
    """The columns in standard deviations, and how many rows."""
    from genmodels.analysis.traversal import quantiles

    with st.container(horizontal=True, vertical_alignment="bottom"):
        over = st.segmented_control(
            "Columns over", ["Quantiles", "Range"], default="Quantiles", required=True, key="over", bind="query-params",
            help="Quantiles of the prior, from 5% to 95%, or of the codes where there is no prior.",
        )  # fmt: skip
        most = max(1, inside.active)
        with st.container(horizontal=True, width="content"):  # on a phone they go to the next line together
            columns = st.number_input("Columns", 3, 15, 7, key="columns", bind="query-params", width=120)
            rows = st.number_input("Rows", 1, most, min(most, ROWS), key="rows", bind="query-params", width=120)
        if over == "Quantiles":
            return quantiles(int(columns)), int(rows)
        reach = st.number_input("Up to ± (σ)", 0.5, 6.0, 3.0, 0.5, key="reach", bind="query-params", width=120)
        return np.linspace(-reach, reach, int(columns)), int(rows)


def make_grid(inside: Inside, z: np.ndarray, columns: np.ndarray, rows: int) -> Grid:
    """Each of the first `rows` dimensions over `columns`, in standard deviations of the prior or of the codes."""
    from genmodels.analysis.traversal import decoded, nearest

    dimensions = inside.order[:rows]
    centre, spread = (part[dimensions][:, None] for part in inside.spread)
    values = centre + spread * columns
    images = decoded(inside.decode, z, dimensions, values)
    words = carries(inside)
    labels = [f"z{index + 1}\n{words[index]}" for index in dimensions]
    heads = [f"{each:.2f}".replace("-", "−") if abs(each) > 0.005 else "0" for each in columns]
    scale = max(1, round(CELL / images.shape[4]))
    return Grid(as_people_write(images, inside.light), labels, heads, nearest(z, dimensions, values), scale)


def image_file(inside: Inside, z: np.ndarray) -> File:
    """The image where the sliders stand, z (L,)."""
    scale = max(1, round(8 * CELL / inside.images.shape[3]))

    def make() -> bytes:
        return png(grid(as_people_write(inside.decode(z[None]), inside.light), 1, scale))

    return File("Image", f"image-{inside.run.id}.png", make, "The image where the sliders stand.")


def show_grid(inside: Inside, grid: Grid, image: File) -> None:
    """The picture, what it says, and its downloads, with that of the image."""
    from genmodels.analysis.traversal import frames, sheet

    large = sheet(grid.images, grid.rows, grid.columns, grid.marked, 2 * grid.scale)
    file = png(large)
    address = "data:image/png;base64," + base64.b64encode(file).decode()
    of = "of the codes" if inside.kl is None and not inside.in_noise else "of the prior"
    best = ", ".join(label.replace("\n", " with ") for label in grid.rows[:3])
    pictures.show(pictures.Picture(address, large.shape[1] // 2), f"Traversal grid; first rows: {best}")
    st.caption(
        f"Each row moves one dimension and leaves the others where the sliders stand; columns are standard deviations "
        f"{of}. The framed image of each row is the nearest to where that slider stands."
    )
    name = f"traversal-{inside.run.id}"
    moving = File(
        "GIF", f"{name}.gif", lambda: gif(frames(grid.images, grid.rows, 2 * grid.scale), PACE),
        "All rows move together, there and back.",
    )  # fmt: skip
    offer("perturbation", File("PNG", f"{name}.png", lambda: file), moving, image)


FORMULA = r"""
The decoder draws $\hat x = g(z)$. A slider changes one number $z_j$ of the code and leaves the others. What a
dimension carries is its mean divergence from the prior over the test images,
$\mathrm{KL}_j = \tfrac12\,\overline{\mu_j^2 + \sigma_j^2 - 1 - \log \sigma_j^2}$ nats; without a posterior it is
the variance of $z_j$. Below 0.01 the dimension is dead: nothing about the image comes through it.

A column at level $p$ of the prior is $z_j = \Phi^{-1}(p)$, from 5% to 95%. Where the true factors are known,
"follows" names the one that accounts for most of the variance of $\mu_j$: the correlation ratio
$\varepsilon^2 = 1 - (1 - \eta^2)\frac{N - 1}{N - k}$, where $\eta^2$ is the share of the variance between $k = 10$
groups of images with about the same value of the factor, corrected for chance
([Kelley, 1935](https://doi.org/10.1073/pnas.21.9.554)). It needs no order: a class or an angle is as good as a length.
"""
