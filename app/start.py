"""Where one starts from on the pages that ask for a picture or a code: a test image, a sample, a centroid, a drawing
or an upload.

The address is the truth: `start`, with `image`, `seed`, `class` or `code`. Widgets are set from it and write to it.
"""

import base64
import binascii
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from app import downloads
from app.components.pad import pad
from app.state import plain
from genmodels import demo
from genmodels.completion import Completer
from genmodels.config import UserError
from genmodels.data.pictures import FORMATS, UnreadableError, decode
from genmodels.denoising import Denoiser
from genmodels.inside import Inside
from genmodels.media import as_people_write, is_light_on_dark

KINDS = {
    "test": "Test image",
    "prior": "Sample",
    "centroid": "Class centroid",
    "drawing": "Drawing",
    "upload": "Upload",
}
PICTURES = {"test": "Test image", "upload": "Upload", "drawing": "Drawing"}
OWN = ("image", "seed", "class", "code")  # what else of the address says where one starts
MOVED = ("z", "along")  # what says how far one went from there
SEEDS = 2**31 - 1
FARTHEST = 1000.0  # a number in a link beyond this is none that a slider gave
STROKE = 1.5  # pixels of a tiny image that a stroke is wide at least
BLACK_AND_WHITE = ("#000000", "#ffffff")  # white rubs out
# For models of colour pictures.
INKS = ("#000000", "#ffffff", "#d62728", "#ff9f1c", "#f4d35e", "#2a9d4b", "#1f77b4", "#7b4fb5", "#8d5a3b", "#e8b796")
NOT_HERE = " The dataset is not on this machine, so the model's own copies stand in for its test images."


class Start(NamedTuple):
    """Where one starts from. code: float32 (L,). picture: uint8 (C, H, W), what was encoded, or None. words: of it."""

    code: np.ndarray
    picture: np.ndarray | None
    words: str


def choose_start(inside: Inside) -> Start | None:
    """The controls, and where they lead; None while there is no drawing or upload yet. Raises UserError."""
    if st.session_state.get("perturb-run", inside.run.id) != inside.run.id:
        forget(*MOVED, "code")  # they are of the run that was looked at before
    st.session_state["perturb-run"] = inside.run.id
    ways = {"test": _test, "prior": _prior, "centroid": _centroid, "drawing": _drawing, "upload": _upload}
    lacking = "centroid" if inside.in_noise else None  # the mean of noise is no image's code
    return ways[choose_kind({kind: name for kind, name in KINDS.items() if kind != lacking})](inside)


def choose_kind(kinds: Mapping[str, str]) -> str:
    """One of these kinds of start, each with its name; where the address says none, a test image."""
    kind = st.query_params.get("start", "test")
    if kind not in kinds:
        st.warning("The link names no such start: here is a test image.")
        kind = "test"
    st.session_state["perturb-start"] = kind
    st.segmented_control(
        "Start from", list(kinds), required=True, key="perturb-start", format_func=kinds.__getitem__,
        on_change=lambda: go(start=st.session_state["perturb-start"]),
    )  # fmt: skip
    return kind


def go(**where: object) -> None:
    """Start anew from there: the rest of the old start and the way from it are forgotten.

    A seed is of the start only where that is a sample; elsewhere it says which noise, and stays.
    """
    forget(
        *MOVED, *(each for each in OWN if each != "seed" or "prior" in (st.query_params.get("start"), *where.values()))
    )
    st.query_params.update({name: str(value) for name, value in where.items()})


def forget(*names: str) -> None:
    for name in names:
        st.query_params.pop(name, None)


def whole(name: str, most: int, default: int) -> int:
    """A whole number of the address from 0 to `most`; the default, with a sentence, where it is none."""
    text = st.query_params.get(name)
    if text is None:
        return default
    if not re.fullmatch(r"\d{1,10}", text, re.ASCII) or int(text) > most:
        st.warning(f"The link asks for {name} {plain(text[:20])}; there is 0 to {most}.")
        return default
    return int(text)


def choice(
    name: str, title: str, options: Mapping[str, str], usual: str, stale: Sequence[str] = (), **about: Any
) -> str:
    """One of these, by its key in the address, shown by its words; a change forgets what is stale of the address."""
    asked, widget = st.query_params.get(name), f"choice-{name}"
    if asked is not None and asked not in options:
        st.warning(f"The link asks for {name} {plain(asked[:20])}; there is {', '.join(options)}.")
    st.session_state[widget] = asked if asked in options else usual

    def told() -> None:
        forget(*stale)
        st.query_params[name] = st.session_state[widget]

    return st.segmented_control(
        title, list(options), required=True, key=widget, format_func=options.__getitem__, on_change=told, **about
    )


def _test(inside: Inside) -> Start:
    chosen, words = choose_image(inside.labels, inside.classes)
    if not inside.real:  # the model's copy was not encoded: it is what the decoder draws at this very code
        return Start(inside.means[chosen].copy(), None, f"The model's copy of test image {words}")
    # Copies: a part would keep all of them in memory for as long as the page is looked at.
    return Start(inside.means[chosen].copy(), inside.images[chosen].copy(), f"The test image {words}")


def choose_image(labels: np.ndarray, classes: Sequence[str]) -> tuple[int, str]:
    """One of the images with these labels, (N,), by its class and its place in it. -> its number, and both in words."""
    chosen = whole("image", len(labels) - 1, 0)
    label = int(labels[chosen])
    members = np.flatnonzero(labels == label)
    st.session_state["perturb-class"] = label
    st.session_state["perturb-number"] = int(np.searchsorted(members, chosen)) + 1

    def first_of_class() -> None:
        go(start="test", image=np.flatnonzero(labels == st.session_state["perturb-class"])[0])

    with st.container(horizontal=True, vertical_alignment="bottom"):
        if len(classes) > 1:
            _choose_class(labels, classes, first_of_class)
        st.number_input(
            f"Number (1 to {len(members):,})", 1, len(members), key="perturb-number", width=150,
            on_change=lambda: go(start="test", image=members[st.session_state["perturb-number"] - 1]),
        )  # fmt: skip
        _another(lambda: go(start="test", image=np.random.default_rng().choice(members)))
    name = f" of class {plain(classes[label])}" if len(classes) > 1 else ""
    return chosen, f"{st.session_state['perturb-number']} of {len(members):,}{name}"


def _choose_class(labels: np.ndarray, classes: Sequence[str], on_change: Callable[[], None]) -> None:
    there = [int(each) for each in np.unique(labels)]
    st.selectbox("Class", there, format_func=classes.__getitem__, key="perturb-class", on_change=on_change, width=150)


def _another(on_click: Callable[[], None]) -> None:
    st.button("Another", icon=":material/casino:", on_click=on_click)


def _prior(inside: Inside) -> Start:
    st.session_state["perturb-seed"] = seed = whole("seed", SEEDS, 0)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        st.number_input(
            "Seed", 0, SEEDS, key="perturb-seed", width=170,
            on_change=lambda: go(start="prior", seed=st.session_state["perturb-seed"]),
        )  # fmt: skip
        _another(lambda: go(start="prior", seed=np.random.default_rng().integers(1_000_000)))
    centre, spread = inside.spread
    noise = np.random.default_rng(seed).standard_normal(inside.latent_size)
    law = (
        "a normal fitted to the codes, as it has no prior"
        if inside.kl is None and not inside.in_noise
        else "the prior, a standard normal"
    )
    return Start((centre + spread * noise).astype(np.float32), None, f"Sample {seed} from {law}")


def _centroid(inside: Inside) -> Start:
    there = np.unique(inside.labels)
    label = whole("class", len(inside.classes) - 1, int(there[0]))
    if label not in there:
        name = plain(inside.classes[label])
        st.warning(f"Class {name} has no test images, so it has no centroid: here is another.")
        label = int(there[0])
    st.session_state["perturb-class"] = label
    _choose_class(
        inside.labels, inside.classes, lambda: go(**{"start": "centroid", "class": st.session_state["perturb-class"]})
    )
    count = int((inside.labels == label).sum())
    return Start(inside.centroids[label], None, f"The mean code of {count:,} images of {plain(inside.classes[label])}")


def _drawing(inside: Inside) -> Start | None:
    inks = ("#000000",) if inside.images.shape[1] == 1 or inside.light else INKS
    pen = max(0.1, STROKE / inside.images.shape[3])
    drawn = pad("Draw here", key="perturb-pad", inks=inks, pen=pen, on_drawn=lambda: go(start="drawing"))
    if drawn is None or drawn.min() == drawn.max():
        return _from_link(inside, "Draw something: it is encoded after each stroke.")
    return _encoded(inside, drawn, "Your drawing")


def _upload(inside: Inside) -> Start | None:
    picture = uploaded()
    if picture is None:
        return _from_link(inside, "Choose a picture.")
    return _encoded(inside, picture, "Your picture")


def uploaded() -> np.ndarray | None:
    """The picture that was given, uint8 (H, W, 3), or None before. Raises UserError for what is no picture."""
    given = st.file_uploader(
        "Any picture: its middle square is resized to what the model reads",
        [each.lower() for each in (*FORMATS, "jpg")],
        on_change=lambda: go(start="upload"), key="perturb-upload", max_upload_size=demo.upload_limit(20),
    )  # fmt: skip
    if given is None:
        return None
    try:
        image, _ = decode(given.getvalue())
    except UnreadableError as error:
        raise UserError(f"The picture {given.name} cannot be read: {error}.") from None
    return np.asarray(image.convert("RGB"))


def picture(seen: Denoiser | Completer, key: str, otherwise: str) -> tuple[np.ndarray, int | None, str] | None:
    """One test image, a drawing or an upload: uint8 (C, H, W), as the model reads it, its class where that is known,
    and what it is; None while there is none. otherwise: said while the paper is blank. Raises UserError."""
    kind = choose_kind(PICTURES)
    if kind == "test":
        downloads.given(None)
        chosen, words = choose_image(seen.labels, seen.classes)
        what = "Test image" if seen.real else "The dataset is not on this machine: the model's own picture"
        return seen.images[chosen], int(seen.labels[chosen]) if seen.classes else None, f"{what} {words}."
    if kind == "upload":
        given = uploaded()
    else:
        channels, side, _ = seen.images.shape[1:]
        inks = BLACK_AND_WHITE if channels == 1 or seen.light else INKS
        given = pad("Draw here", key=key, inks=inks, pen=STROKE / side)
    what = "Your picture" if kind == "upload" else "Your drawing"
    there = given is not None and given.min() < given.max()
    image = downloads.given(_read(seen, given, what) if given is not None and there else None)
    if image is None:
        st.info("Choose a picture." if kind == "upload" else otherwise)
        return None
    return image, None, f"{what}, as the model reads it."


def _read(seen: Inside | Denoiser | Completer, given: np.ndarray, words: str) -> np.ndarray:
    """As `as_input`. Raises UserError where nothing is left of it."""
    image = as_input(given, seen)
    if image.min() == image.max():
        raise UserError(f"{words} is blank where the model looks, in its middle square: choose another one.")
    return image


def _encoded(inside: Inside, picture: np.ndarray, words: str) -> Start:
    """uint8 (H, W, 3), dark on light as people draw. The code goes into the address: a link cannot hold the picture."""
    image = _read(inside, picture, words)
    code = inside.encode(image[None])[0]
    if not np.isfinite(code).all():
        raise UserError("The model gives no number for this picture: try another one.")
    st.query_params["code"] = base64.urlsafe_b64encode(code.astype("<f4").tobytes()).decode().rstrip("=")
    return Start(code, image, words)


def as_input(picture: np.ndarray, inside: Inside | Denoiser | Completer) -> np.ndarray:
    """A picture as the run's own images are. uint8 (H, W, 3) -> uint8 (C, H, W).

    Resized and converted as at intake; inverted where the run's images are light on dark and this one is not.
    """
    from PIL import Image

    from genmodels.data.pictures import fit

    channels, side, _ = inside.images.shape[1:]
    image = fit(Image.fromarray(picture), side, channels)
    return np.ascontiguousarray(as_people_write(image, inside.light and not is_light_on_dark(image[None])))


def _from_link(inside: Inside, otherwise: str) -> Start | None:
    """The code of a drawing or an upload that came with the link."""
    text = st.query_params.get("code")
    if text is None:
        st.info(otherwise)
        return None
    code = code_in(text)
    if code is None or code.shape != (inside.latent_size,):
        st.warning("The link's code is damaged, so there is nothing to start from.")
        return None
    return Start(code, None, "The code that came with the link; the picture itself did not")


def code_in(text: str) -> np.ndarray | None:
    """The code in a link, float32 (L,), or None where it is damaged."""
    try:
        code = np.frombuffer(base64.b64decode(text + "=" * (-len(text) % 4), "-_", validate=True), "<f4").copy()
    except (binascii.Error, ValueError):
        return None
    return code if len(code) and np.isfinite(code).all() and np.abs(code).max() <= FARTHEST else None
