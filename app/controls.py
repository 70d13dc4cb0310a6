"""A Config in, widgets drawn, a new Config out. No knob is typed here: its field holds bounds, help and unit."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

import streamlit as st
from pydantic.fields import FieldInfo
from streamlit.delta_generator import DeltaGenerator

from app.pictures import Facts, facts, show
from app.state import plain
from genmodels import data, demo
from genmodels.config import Config, UserError
from genmodels.data import DATASETS, aligned, intake
from genmodels.data.pairs import RECIPES
from genmodels.families import FAMILIES
from genmodels.figures import title

C = TypeVar("C", bound=Config)
KIND_OF = {"none": "images", "pairs": "pairs", "styled": "domains", "domains": "domains"}
KINDS = ("images", "pairs", "domains")  # what a family learns from
SHOWN = {
    "pairs": "Above: what goes in; below: what should come out.",
    "styled": "Above the one domain, below the other. Here are partners; in training it never sees both of a pair.",
    "domains": "Above the one domain, below the other: these are not pairs.",
}
ROOM = 18  # letters that fit beside each other on half a column


def knobs(
    config: type[C],
    key: str,
    basic: DeltaGenerator,
    advanced: DeltaGenerator,
    values: Mapping[str, Any],
    problems: list[str] | None = None,
) -> C:
    """Draw every field, two in a row of its place, starting at `values` or else at its default. Raises UserError.

    A number out of range is said in `problems`; the nearest in range stands in.
    """
    chosen: dict[str, Any] = {}
    for place, is_advanced in ((basic, False), (advanced, True)):
        named = [item for item in config.model_fields.items() if bool(_extra(item[1]).get("advanced")) == is_advanced]
        for first in range(0, len(named), 2):
            for column, (name, field) in zip(place.columns(2), named[first : first + 2], strict=False):
                chosen[name] = _widget(column, name, field, values.get(name, field.default), f"{key}-{name}", problems)
    return config.of(chosen)


def _extra(field: FieldInfo) -> dict[str, Any]:
    return field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}


def bounds(field: FieldInfo) -> tuple[Any, Any]:
    """The least and the most that a number may be, None for any."""
    rules = {key: getattr(rule, key) for rule in field.metadata for key in ("ge", "le") if hasattr(rule, key)}
    return rules.get("ge"), rules.get("le")


def _widget(
    place: DeltaGenerator, name: str, field: FieldInfo, value: Any, key: str, problems: list[str] | None
) -> Any:
    """The widget that suits the field's type."""
    unit = _extra(field).get("unit")
    label = f"{title(name)} ({unit})" if unit else title(name)
    common: dict[str, Any] = {"key": key, "help": field.description, "persist_state": "session"}
    if get_origin(field.annotation) is Literal:
        options = get_args(field.annotation)
        if len(options) <= 3 and len("".join(options)) <= ROOM:
            return place.segmented_control(label, options, default=value, required=True, **common)
        return place.selectbox(label, options, options.index(value), **common)
    if field.annotation is bool:
        return place.toggle(label, value, **common)
    if field.annotation is int:
        return number(place, label, bounds(field), int(value), problems, step=1, **common)
    return number(place, label, bounds(field), float(value), problems, step=_step(field), format="%g", **common)


def number(
    place: DeltaGenerator,
    label: str,
    bounds: tuple[float | None, float | None],
    value: float,
    problems: list[str] | None = None,
    **common: Any,
) -> Any:
    """A number of the type of `value`. One out of range is said below it and in `problems`; the nearest stands in.

    The widget knows no bounds: with them it would turn red and go on giving its last good value, and nobody told.
    """
    typed = place.number_input(label, value=value, **common)
    low, high = (typed if bound is None else type(value)(bound) for bound in bounds)
    nearest = min(max(typed, low), high)
    if nearest != typed:
        sentence = f"{label.split(' (')[0]} must be from {low:,.10g} to {high:,.10g}."
        place.caption(f":red[{sentence}]")
        if problems is not None:
            problems.append(sentence)
    return nearest


def _step(field: FieldInfo) -> float:
    """A tenth of the default where it is a matter of magnitude, else half of it."""
    size = abs(float(field.default)) or 1.0
    return size / 10 if _extra(field).get("log") else size / 2


def choose_family(key: str, start: str | None) -> str:
    """Pick a family; its idea is folded below."""
    names = list(FAMILIES)
    index = names.index(start) if start in names else 0
    name = st.selectbox(
        "Model", names, index, lambda each: FAMILIES[each].title, key=f"{key}-family", persist_state="session"
    )
    chosen = FAMILIES[name]
    st.caption(f"{chosen.summary[0].upper()}{chosen.summary[1:]}.")
    return name


def choose(key: str, asked: str | None, old: tuple[str, str] | None) -> tuple[str, str, DeltaGenerator]:
    """Pick what is learned from and the model that does; and the place between them for a look at the images.

    asked: a dataset that the address names. old: dataset and family of a run that is copied. Raises UserError.
    """
    place, shown = st.container(), st.container()
    kind = KIND_OF[data.pairing(asked or "")]
    fitting = next((name for name, family in FAMILIES.items() if family.learns_from == kind != "images"), None)
    family = choose_family(f"{key}{fitting or ''}", old[1] if old else fitting)
    with place:  # what can be learned from depends on the model
        dataset = choose_dataset(
            f"{key}{asked or ''}", old[0] if old else asked, FAMILIES[family].learns_from, bool(old)
        )
        fetched(dataset)
    return dataset, family, shown


def choose_to_look(key: str, start: str) -> str:
    """Pick a dataset as it is, or what is made of it for a model that translates. Raises UserError."""
    kind = st.segmented_control(
        "Look at", KINDS, default=KIND_OF[data.pairing(start)], required=True, key=f"{key}-kind",
        help="Pairs and domains are for models that translate: they are made of the images of a dataset.",
    )  # fmt: skip
    return choose_dataset(key, start, kind)


def choose_dataset(key: str, start: str | None, learns_from: str = "images", copied: bool = False) -> str:
    """Pick a dataset, and for a family that translates what is made of it: the name says both.

    Start at one of the registry, one's own, or whatever the address names; or, copied, a run that did with it what it
    could. Raises UserError.
    """
    own = intake.own_datasets()
    if learns_from == "images":
        if start and not copied:
            start = re.sub("^pairs(-back)?:", "folder:", data.bases(start)[0])
        return _menu("Data", f"{key}-data", [*DATASETS, *own], start)
    pairs = _own_pairs(tuple(own)) if learns_from == "pairs" else []
    single = [name for name in own if name.replace("folder:", "pairs:", 1) not in pairs]
    classes = intake.own_classes() if learns_from == "domains" else []
    head, _, rest = (start or "").partition(":")
    first, other = [*data.bases(start), None][:2] if start else (None, None)
    if head in aligned.HEADS:
        first = f"pairs:{rest}" if learns_from == "pairs" else None
    names = [*DATASETS, *single, *classes, *pairs]
    base = _menu("Data", f"{key}-data", names, first)
    ways = _ways(base, learns_from)
    index = list(ways).index(head) if head in ways else 0
    label, kept = ("From ... to", base.partition(":")[0] == "pairs") if learns_from == "pairs" else ("Into", False)
    way = st.selectbox(
        label, ways, index, ways.__getitem__, key=f"{key}-{learns_from}-{'own' if kept else 'way'}",
        persist_state="session",
    )  # fmt: skip
    if way == "domains":
        others = [name for name in names if name != base]
        return f"domains:{base}+{_menu('The other dataset', f'{key}-other', others, other if other != base else None)}"
    return f"{way}:{base.removeprefix('pairs:')}"


@st.cache_data(show_spinner=False, ttl=120)
def _own_pairs(own: tuple[str, ...]) -> list[str]:
    """Those of one's own datasets that are pairs: every file name is looked at."""
    return intake.own_pairs()


def _menu(label: str, key: str, names: list[str], start: str | None) -> str:
    names = names + ([start] if start and start not in names else [])
    here = {name: data.is_present(name) for name in names}

    def words(name: str) -> str:
        entry = DATASETS.get(name)
        size = "" if here[name] or not entry else f" ({entry.megabytes:,} MB to download)"
        return data.title(name) + size

    index = names.index(start) if start else 0
    return st.selectbox(label, names, index, words, key=key, persist_state="session")


def _ways(base: str, learns_from: str) -> dict[str, str]:
    """What can be learned from this dataset: what stands before the colon of the name, and its words."""
    if base.startswith("pairs:"):
        return {head: aligned.way(f"{head}:{base.removeprefix('pairs:')}") for head in aligned.HEADS}
    kind = "pairs" if learns_from == "pairs" else "styled"
    colour = data.entry(base).channels == 3
    found = {
        head: recipe.task[0].upper() + recipe.task[1:]
        for head, recipe in RECIPES.items()
        if recipe.pairing == kind and (colour or head != "grey")
    }
    return found if learns_from == "pairs" else found | {"domains": "Another dataset"}


def fetched(name: str) -> None:
    """End the page with an offer to download the dataset, if it is not on this machine. Raises UserError."""
    if data.is_present(name):
        return
    entry = data.entry(name)
    if may_not := data.refused(name):
        raise UserError(may_not)
    st.info(f"{entry.title} is not on this machine yet: {entry.megabytes:,} MB to download, once.")
    if st.button(f"Download {entry.title}", type="primary", icon=":material/download:"):
        bar = st.progress(0.0, "Connecting")

        def report(share: float, text: str) -> None:
            bar.progress(min(1.0, share), text)

        data.download(name, report)
        st.rerun()
    st.stop()


def preview(name: str, size: int | None, channels: int | None) -> Facts:
    """A row of images of the dataset as they will be learned from. Raises UserError."""
    with st.spinner("Preparing the images", show_time=True):
        found = facts(name, size, channels)
    told = put_in_words(name, "validation")
    show(found.preview, f"Images of {plain(data.title(name))}. {told}".strip())
    _, height, width = found.shape
    colour = "colour" if found.shape[0] == 3 else "grey"
    kind = KIND_OF[data.pairing(name)]
    what, each = "pairs" if kind == "pairs" else "images", " of each domain" if kind == "domains" else ""
    classes = f", {len(found.classes)} classes" if found.classes else ""
    st.caption(
        f"{found.sizes[0]:,} {colour} {what} of {width} x {height} pixels{each} to learn from{classes}. {told}".strip()
    )
    return found


def put_in_words(name: str, part: data.Part) -> str:
    """What lies above what, in pictures of a part of a dataset made of others."""
    kind = data.pairing(name)
    return SHOWN.get("domains" if kind == "styled" and part == "train" else kind, "")


def image_form(
    place: DeltaGenerator,
    key: str,
    name: str,
    size: int | None,
    channels: int | None,
    problems: list[str] | None = None,
) -> tuple[int, int]:
    """Pixels a side and channels, starting at the dataset's own."""
    entry = data.entry(name)
    left, right = place.columns(2)
    side = number(
        left, "Image side (pixels)", (data.SMALLEST, data.LARGEST), min(64, size or entry.size), problems,
        key=f"{key}-{name}-size", help="Images are resized to such a square. Smaller trains faster.",
        persist_state="session",
    )  # fmt: skip
    depth = right.segmented_control(
        "Colour", [1, 3], default=channels or entry.channels, required=True, key=f"{key}-{name}-channels",
        format_func={1: "grey", 3: "colour"}.__getitem__, help="Grey has one channel, colour three.",
        persist_state="session",
    )  # fmt: skip
    return int(side), depth


def image_form_in_address(key: str, name: str) -> tuple[int, int]:
    """As `image_form`, with `size` and `channels` in the address where they are not the dataset's own."""
    entry = data.entry(name)
    usual = {"size": min(64, entry.size), "channels": entry.channels}
    asked = {each: st.query_params.get(each, "") for each in usual}
    known = {"size": [str(side) for side in range(data.SMALLEST, data.LARGEST + 1)], "channels": ["1", "3"]}
    start = {each: int(text) if text in known[each] else usual[each] for each, text in asked.items()}
    if any(text and text not in known[each] for each, text in asked.items()):
        st.warning("The link asks for images of a size or colour that there is not: here they are as they come.")
    found = image_form(st.container(), key, name, start["size"], start["channels"])
    for (each, common), now in zip(usual.items(), found, strict=True):
        st.query_params.pop(each, None)
        if now != common:
            st.query_params[each] = str(now)
    return found


def server_folder() -> str:
    """Where on the server images lie. A demonstration is open to strangers: they are not asked, and read none."""
    if demo.on():
        return ""
    return st.text_input("Or a folder on the machine where this app runs").strip()


def attempt(action: Callable[..., Any], *arguments: Any) -> None:
    """For callbacks: do it, or say in a toast why it cannot be done."""
    try:
        action(*arguments)
    except UserError as error:
        st.toast(plain(str(error)), icon=":material/error:", duration="long")


def bounded(key: str, most: float) -> None:
    """Before a slider is drawn: it starts anew where what it was on another run is beyond this one's end."""
    if st.session_state.get(key, most) > most:
        del st.session_state[key]
