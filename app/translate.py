"""What the page Translate is made of: direction, input, the translation beside it, a live drawing, a batch.

The address carries `run`, `direction`, `start` with `image`, and the batch: `count`, and its seed as `batch`. Uploads
and drawings are not in a link.
"""

import base64
from typing import NamedTuple

import numpy as np
import streamlit as st

from app import downloads, look, pictures, start, state
from app.components.pad import Live, pad
from app.downloads import File, given, keeping
from app.routes import address
from genmodels.analysis.fidelity import l1
from genmodels.config import UserError
from genmodels.media import as_people_write, png, stacked
from genmodels.translation import BACK, FORWARD, Kind, Translator, names

SIDE = 168  # CSS pixels of an image at most: two beside each other on a phone
CELL = 56  # of one in the batch
COLUMNS = 5  # of the batch: with their labels, what a phone has room for
LINE, STROKE = 1.2, 2.0  # pixels of the model's image that a pen is wide: for edges, and for what people write
TINY = 16  # pixels a side below which the outlines of a stroke run together and fill it
MOST = 60  # images of a batch
MADE = ("Translation", "And back again")
KEPT = " The dataset is not on this machine: these few are kept with the run."
STAND_IN = " The dataset is not on this machine, so pictures of the model's own making stand in for its test images."
# How an upload is made an input, by what the run learned from.
FIRST = {
    "edges": "Take its edges first",
    "grey": "Take its colours away first",
    "half": "Hide its right half first",
    "small": "Make it small first",
}
FORMULA = r"""
A translation is $\hat y = G(x)$, at test time by the moving average of the generator's weights. Where the true partner
$y$ is known, the error is $\frac{1}{D} \sum_i |\hat y_i - y_i|$ over all $D$ pixels and channels, as a share of the
full range from black to white: the L1 distance of pix2pix
([Isola et al., 2017](https://arxiv.org/abs/1611.07004), Eq. 3).

A CycleGAN has a second generator $F$ for the way back, and learned without partners that $F(G(x))$ should be $x$ again
([Zhu et al., 2017](https://arxiv.org/abs/1703.10593), Eq. 2). The cycle's error is the same distance between these two.
A small one says that nothing was lost on the way, not that the translation is right.
"""


class Found(NamedTuple):
    """Inputs and what became of them, uint8 (N, C, H, W) each, by what they are called; partners None if unknown."""

    inputs: np.ndarray
    made: list[np.ndarray]  # translated, and that translated back
    partners: np.ndarray | None

    @property
    def rows(self) -> dict[str, np.ndarray]:
        known = {} if self.partners is None else {"True partner": self.partners}
        return {"Input": self.inputs, **dict(zip(MADE, self.made, strict=False)), **known}

    @property
    def errors(self) -> str:
        """How far they are from what they should be, in words."""
        translated, *cycled = self.made
        told, many = [], len(self.inputs) > 1
        if self.partners is not None:
            error, before = (l1(each, self.partners).mean() for each in (translated, self.inputs))
            told.append(
                f"These {len(self.inputs)} differ from their true partners by **{error:.1%}** on average; untranslated "
                f"by {before:.1%}."
                if many
                else f"The translation differs from the true partner by **{error:.1%}** of the full range per pixel, "
                f"on average; the untranslated input by {before:.1%}."
            )
        if cycled:
            they = "they differ from the inputs" if many else "it differs from the input"
            told.append(f"Translated back, {they} by **{l1(cycled[0], self.inputs).mean():.1%}**.")
        return " ".join(told) or "Nobody knows what it should become, so there is no error to measure."


def found(translator: Translator, direction: str, inputs: np.ndarray, partners: np.ndarray | None) -> Found:
    return Found(inputs, translator.there_and_back(inputs, direction), partners)


def offer() -> None:
    """No run translates yet: one click trains one."""
    st.info("No trained run translates yet. A minute is enough for a small one, which turns edges into digits.")
    if st.button("Train pix2pix on edges of digits", type="primary", icon=":material/model_training:"):
        look.train_small("pix2pix", "edges:digits")


def choose_direction(translator: Translator) -> str:
    """Forward, or back where the run can."""
    asked = st.query_params.get("direction", FORWARD)
    if asked not in translator.directions:
        st.warning(f"This run translates {' and '.join(translator.directions)} only: here is forward.")
        asked = FORWARD
    if len(translator.directions) == 1:
        start.forget("direction")
        return asked
    one, other = (state.plain(name) for name in names(translator.run.config.dataset))
    st.session_state["translate-direction"] = asked
    st.segmented_control(
        "Direction", translator.directions, required=True, key="translate-direction",
        format_func={FORWARD: f"{one} → {other}", BACK: f"{other} → {one}"}.__getitem__,
        on_change=lambda: st.query_params.update(direction=st.session_state["translate-direction"]),
    )  # fmt: skip
    return asked


def one(translator: Translator, direction: str) -> None:
    """An input and what becomes of it."""
    own = {"test": "Model's picture"} if translator.kinds[direction].made else {}
    kind = start.choose_kind(start.PICTURES | own)
    if kind == "drawing":
        st.fragment(draw)(translator, direction)
        return
    try:
        seen = _test(translator, direction) if kind == "test" else _upload(translator, direction)
        if seen is None:
            st.info("Choose a picture.")
        else:
            show(translator, *seen)
    except UserError as error:
        st.error(state.plain(str(error)))


def _test(translator: Translator, direction: str) -> tuple[Found, str]:
    given(None)
    kind = translator.kinds[direction]
    chosen, words = start.choose_image(kind.labels, translator.classes)
    which = np.array([chosen])
    kept = "" if translator.real else STAND_IN if kind.made else KEPT
    seen = found(translator, direction, kind.images[which], translator.partner(which, direction))
    return seen, f"{called(kind)} {words}.{kept}"


def called(kind: Kind) -> str:
    """What one of these images is called."""
    return "Picture" if kind.made else "Test image"


def _upload(translator: Translator, direction: str) -> tuple[Found, str] | None:
    picture = start.uploaded()
    first = FIRST.get(translator.run.config.dataset.partition(":")[0])
    apart = False
    if first and direction == FORWARD:
        apart = st.toggle(
            first, True, key="translate-apart",
            help="Then the picture itself is what should come out, and the error can be measured.",
        )  # fmt: skip
    read = None
    if picture is not None:
        read = np.stack(translator.take_apart(picture) if apart else [translator.read(picture, direction)])
    if (read := given(read)) is None:
        return None
    image, *partner = read[:, None]
    if image.min() == image.max():
        raise UserError("Nothing is left of the picture where the model looks, in its middle square: choose another.")
    words = "Made of your picture, which is the true partner." if partner else "Your picture, as the model reads it."
    return found(translator, direction, image, partner[0] if partner else None), words


def show(translator: Translator, seen: Found, words: str) -> None:
    """The pictures side by side, and how far they are from what they should be."""
    side = seen.inputs.shape[3]
    cell = max(1, SIDE // side) * side
    with keeping("translate", f"translation-{translator.run.id}"), st.container(horizontal=True):
        for name, images in seen.rows.items():
            picture = pictures.sheet(images, cell, translator.light, 1, cell)
            with st.container(width=picture.width, gap="xsmall"):
                pictures.show(picture, f"{name}. {words}", name)
    st.markdown(seen.errors)
    st.caption(words)


def draw(translator: Translator, direction: str) -> None:
    """A pad, and beside it what becomes of the drawing while one draws."""
    depth, _, side = translator.shape
    edges = translator.edges and direction == FORWARD
    lines = edges and side >= TINY
    both = len(translator.directions) > 1
    live = Live(
        f"{address('translate', translator.run.id)}?direction={direction}", translator.shape,
        ("As the model reads it", *MADE[: 1 + both]),
        "Translated back, it differs from what the model read, per pixel, by" if both else "",
    )  # fmt: skip
    told = ["Draw: it is translated as you go."]
    if lines:
        told = ["Draw outlines: it learned from lines one pixel wide."]
    elif edges:
        told = ["Draw whole strokes: in images as tiny as these the outlines fill them."]
    if translator.turned(direction):
        told.append("Your drawing is shown light on dark here, as the test images of this kind are.")
    if depth == 3:
        told.append("Drawings are grey: the same in all three colour channels.")
    st.caption(" ".join(told) + " White ink rubs out.")
    pad("Draw here", key="translate-pad", inks=start.BLACK_AND_WHITE, pen=(LINE if lines else STROKE) / side, live=live)


def batch(translator: Translator, direction: str) -> None:
    """Test images, what becomes of them, and the same as a file."""
    from genmodels.analysis.traversal import sheet

    kind = translator.kinds[direction]
    inputs, many = kind.images, f"{called(kind)}s"
    st.header("A batch")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        most = min(MOST, len(inputs))
        count = st.number_input(many, 1, most, min(10, most), key="count", bind="query-params", width=120)
        seed = st.number_input("Which, by seed", 0, start.SEEDS, 0, key="batch", bind="query-params", width=150)
    which = np.sort(np.random.default_rng(seed).permutation(len(inputs))[:count])
    key = (str(translator.run.path), translator.run.stamp, translator.real, direction, which.tobytes())
    seen = _batch(key, translator, direction, which)
    rows, labels = _blocks(seen)
    scale = max(1, round(CELL / inputs.shape[3]))
    large = sheet(as_people_write(rows, translator.light), labels, (), np.full(len(rows), -1), 2 * scale)
    data = png(large)
    picture = pictures.Picture("data:image/png;base64," + base64.b64encode(data).decode(), large.shape[1] // 2)
    pictures.show(picture, f"{count} {many.lower()} in columns; in rows: {', '.join(seen.rows)}. {seen.errors}")
    st.markdown(seen.errors)
    name = f"translations-{translator.run.id}-{direction}.png"
    downloads.offer("translate", File("PNG", name, lambda: data))


@st.cache_data(show_spinner=False, max_entries=32)
def _batch(key: tuple[object, ...], _translator: Translator, _direction: str, _which: np.ndarray) -> Found:
    partners = _translator.partner(_which, _direction)
    return found(_translator, _direction, _translator.kinds[_direction].images[_which], partners)


def _blocks(seen: Found) -> tuple[np.ndarray, list[str]]:
    """In blocks of as many columns as there is room for: uint8 (R, K, C, H, W), and what each row is."""
    columns = min(COLUMNS, len(seen.inputs))
    stack = stacked(list(seen.rows.values()), columns)
    rows = stack.reshape(-1, columns, *stack.shape[1:])
    return rows, list(seen.rows) * (len(rows) // len(seen.rows))
