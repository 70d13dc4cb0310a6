"""The terms of an equation of images: groups and an item, read from the address, chosen from menus or picked."""

import zlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import streamlit as st

from app import start, state
from app.components.equation import picks
from genmodels.analysis import arithmetic
from genmodels.config import UserError
from genmodels.inside import Inside
from genmodels.media import as_people_write

FEW = 3  # images of a group beside its mean
PAGE = 40  # images to pick from at once
LINKED = 200  # images of a group that an address carries
CLASS, FACTOR, IMAGE, IMAGES, SELECTION = "class", "factor", "image", "images", "selection"
WISHED = (  # as people know them; elsewhere what the run knows decides
    ("7", "1"), ("9", "4"), ("8", "3"), ("Smiling: yes", "Smiling: no"), ("Eyeglasses: yes", "Eyeglasses: no"),
    ("Blond Hair: yes", "Blond Hair: no"),
)  # fmt: skip
THIRDS = {"high": "high third", "low": "low third"}
TERMS = {"a": "Group A", "b": "minus group B", "item": "plus the item"}
ALL = -1  # the images of every class are to be picked from
PICKED_FROM = {f"{term}-{what}": "" for term in TERMS for what in ("class", "sheet")}  # in the address; usual: none


class Group(NamedTuple):
    """Some test images: as the address writes them, as a person calls them, their numbers (n,)."""

    spec: str
    name: str
    ids: np.ndarray


class Item(NamedTuple):
    """What is moved: its code (L,), and the number of the test image where it is one."""

    spec: str
    name: str
    code: np.ndarray
    image: int | None


class Sum(NamedTuple):
    """(A - B) times a strength plus the item. direction: (L,)."""

    inside: Inside
    a: Group
    b: Group
    item: Item
    direction: np.ndarray

    def codes(self, group: Group) -> np.ndarray:
        return self.inside.means[group.ids]

    def key(self, name: str) -> str:
        """The same for the same sum, so that what a person set on it stays."""
        what = "|".join((self.inside.run.id, self.a.spec, self.b.spec, self.item.spec))
        return f"{name}-{zlib.crc32(what.encode()):08x}"


def once(inside: Inside, name: str, function: Callable[[Inside], Any]) -> Any:
    """What is the same for all who look at this run, computed once."""
    return _once(which(inside), name, inside, function)


def which(inside: Inside) -> tuple[Any, ...]:
    """Others as soon as the run has learned on."""
    return str(inside.run.path), inside.real, inside.run.stamp, inside.run.changed("latents.npz")


@st.cache_data(show_spinner=False, max_entries=128)
def _once(which: tuple[Any, ...], name: str, _inside: Inside, _function: Callable[[Inside], Any]) -> Any:
    return _function(_inside)


# -- terms: from the address to images


def _named(inside: Inside) -> dict[str, str]:
    """Every group that has a name: as the address writes it -> as a person says it."""
    counts = np.bincount(inside.labels, minlength=len(inside.classes))
    alone = len(inside.classes) == 1
    found = {f"{CLASS}:{c}": "all images" if alone else name for c, name in enumerate(inside.classes) if counts[c]}
    for j, name in enumerate(inside.factor_names):
        column = inside.factors[:, j]
        if not np.array_equal(column, inside.labels):  # else it is the class once more
            kinds = arithmetic.factor_groups(column)
            found |= {f"{FACTOR}:{j}:{kind}": f"{name}: {THIRDS.get(kind, kind)}" for kind in kinds}
    return found


def named(inside: Inside) -> dict[str, str]:
    return once(inside, "groups", _named)


def group(inside: Inside, spec: str) -> Group:
    """What the address writes, as images. Raises UserError for what is not there."""
    kind, _, rest = spec.partition(":")
    known = named(inside)
    if spec in known:
        c, _, which = rest.partition(":")
        factor = inside.factors[:, int(c)] if kind == FACTOR else None
        chosen = inside.labels == int(c) if factor is None else arithmetic.factor_groups(factor)[which]
        return Group(spec, known[spec], np.flatnonzero(chosen))
    if kind == CLASS and rest in map(str, range(len(inside.classes))):
        raise UserError(f"The test images have none of class {inside.classes[int(rest)]}: choose another group.")
    if spec == SELECTION:
        ids = selected(inside)
        if not len(ids):
            raise UserError(
                "This group was drawn on a latent map, and was larger than a link can carry "
                f"({LINKED} images): draw it again."
            )
        return Group(spec, f"{len(ids)} from the map", ids)
    if kind == IMAGES:
        ids = numbers(inside, rest)
        return Group(spec, "1 picked image" if len(ids) == 1 else f"{len(ids)} picked images", ids)
    raise UserError(f"This run has no group '{spec[:60]}'.")


def numbers(inside: Inside, text: str) -> np.ndarray:
    """Test image numbers from an address, each once. Raises UserError."""
    parts = text.split(",") if text else []
    if len(parts) > LINKED or not all(part.isdecimal() and len(part) < 10 for part in parts):
        raise UserError(f"The images of a group are up to {LINKED} numbers.")
    if parts and max(map(int, parts)) >= len(inside.images):
        raise UserError(f"The test images have numbers below {len(inside.images):,}.")
    return np.array(list(dict.fromkeys(map(int, parts))), int)


def selected(inside: Inside) -> np.ndarray:
    """The test images that are selected on the latent map, (n,)."""
    found = st.session_state.get(f"selection-{inside.run.id}") or []
    return np.array([each for each in found if 0 <= each < len(inside.images)], int)


def item(inside: Inside, spec: str) -> Item:
    """What is moved: a test image, or the centroid of a group that has a name. Raises UserError."""
    kind, _, rest = spec.partition(":")
    if kind == IMAGE and len(ids := numbers(inside, rest)) == 1:
        number = int(ids[0])
        name = inside.classes[inside.labels[number]]
        return Item(spec, a_(name) if len(inside.classes) > 1 else "an image", inside.means[number], number)
    if spec not in named(inside):
        raise UserError(f"This run has no item '{spec[:60]}'.")
    found = group(inside, spec)
    return Item(spec, f"mean of {found.name}", inside.means[found.ids].mean(0), None)


def described(inside: Inside, number: int) -> str:
    """A test image in words, for those who cannot see it. People count from 1, the address and the code from 0."""
    return f"test image {number + 1}" + (
        f", {inside.classes[inside.labels[number]]}" if len(inside.classes) > 1 else ""
    )


def presets(inside: Inside) -> dict[str, dict[str, str]]:
    """Equations worth looking at: name -> what the address says. The first opens with the page. Raises UserError."""
    return once(inside, "presets", _presets)


def _presets(inside: Inside) -> dict[str, dict[str, str]]:
    known = named(inside)
    names = {name: spec for spec, name in known.items()}
    wished = [(names[a], names[b]) for a, b in WISHED if {a, b} <= names.keys()]
    found = {}
    for a, b in (wished or [*_factor_pairs(inside, known), *_class_pairs(inside, known)])[:4]:
        label = f"{known[a]} − {known[b]} + {a_(known[b])}"
        if a.startswith(FACTOR):
            name, more, less = known[a].rpartition(":")[0], a.rpartition(":")[2], b.rpartition(":")[2]
            label = f"{name}: {more} − {less}"
        found[label] = {"a": a, "b": b, "item": f"{IMAGE}:{group(inside, b).ids[0]}"}
    if not found:  # one class and nothing else is known of an image: two of them
        found["one image − another"] = {
            "a": f"{IMAGES}:0",
            "b": f"{IMAGES}:{len(inside.images) - 1}",
            "item": "image:0",
        }
    return found


def _factor_pairs(inside: Inside, known: dict[str, str]) -> list[tuple[str, str]]:
    pairs = [
        (f"{FACTOR}:{j}:{more}", f"{FACTOR}:{j}:{less}")
        for j in range(len(inside.factor_names))
        for more, less in (("high", "low"), ("yes", "no"))
    ]
    return [pair for pair in pairs if set(pair) <= known.keys()]


def _class_pairs(inside: Inside, known: dict[str, str]) -> list[tuple[str, str]]:
    """The classes whose centroids are nearest to each other come first."""
    here = [int(spec.partition(":")[2]) for spec in known if spec.startswith(CLASS)]
    away = {(a, b): np.linalg.norm(inside.centroids[a] - inside.centroids[b]) for a in here for b in here if a > b}
    return [(f"{CLASS}:{a}", f"{CLASS}:{b}") for a, b in sorted(away, key=away.__getitem__)]


def a_(name: str) -> str:
    """With its article: a 7, an 8, an ellipse."""
    return f"{'an' if name[:1].lower() in tuple('aeiou8') else 'a'} {name}"


def tell(inside: Inside, **terms: str) -> None:
    """Put terms into the address, where the page reads them; what it opens with anyway is left out.

    Every change is a place in the browser's history, so nothing is written twice, and all of it at once.
    """
    usual = next(iter(presets(inside).values())) | {"strength": "1"} | PICKED_FROM
    before = st.query_params.to_dict()
    after = {name: value for name, value in (before | terms).items() if name not in terms or value != usual[name]}
    if after != before:
        st.query_params.from_dict(after)


def offer(inside: Inside) -> None:
    """Ready-made equations, a press away."""
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("Try")
        for label, terms in presets(inside).items():
            terms = terms | {"strength": "1"} | PICKED_FROM
            st.button(state.plain(label), on_click=partial(tell, inside, **terms), key=f"preset-{label}")


# -- terms: what a person chooses


def choose(inside: Inside) -> Sum:
    """Both groups and the item, from the address and the menus. Raises UserError for what cannot be computed."""
    _leave_behind(inside)
    usual = next(iter(presets(inside).values()))
    found: dict[str, Any] = {}
    for place, term in zip(st.columns(len(TERMS)), TERMS, strict=True):
        with place:
            found[term] = _menu(inside, term, usual[term])
    for term, chosen in found.items():
        if chosen.spec.startswith((f"{IMAGE}:", f"{IMAGES}:")):
            _picker(inside, term, chosen)
    a, b, moved = (found[term] for term in TERMS)
    if both := len(np.intersect1d(a.ids, b.ids)):
        st.caption(f"{both:,} {'image is' if both == 1 else 'images are'} in both groups.")
    return Sum(inside, a, b, moved, arithmetic.direction(inside.means[a.ids], inside.means[b.ids]))


def _leave_behind(inside: Inside) -> None:
    """Another dataset in the menu: what the address said of images and classes was about the last one.

    What came with a link meanwhile stays.
    """
    dataset, said = inside.run.config.dataset, {term: st.query_params.get(term) for term in TERMS}
    known, before = st.session_state.get("arithmetic-data", (dataset, said))
    if known != dataset and said == before:
        start.forget(*TERMS, *PICKED_FROM)
        said = dict.fromkeys(TERMS)
    st.session_state["arithmetic-data"] = dataset, said


def _menu(inside: Inside, term: str, usual: str) -> Group | Item:
    """One term: the address says what it is, the menu changes the address."""
    read = item if term == "item" else group
    spec = st.query_params.get(term, usual)
    try:
        found: Group | Item = read(inside, spec)
    except UserError as error:
        st.warning(f"{state.plain(str(error))} What the page opens with stands in for it.")
        found = read(inside, usual)
    known, more = named(inside), [IMAGE] if term == "item" else [IMAGES, SELECTION]
    mean = "mean of " if term == "item" else ""
    words = {spec: mean + name for spec, name in known.items()} | {
        IMAGE: "a test image", IMAGES: "picked images", SELECTION: f"selection on the map ({len(selected(inside))})",
    }  # fmt: skip
    key = f"term-{term}-{inside.run.id}"
    st.session_state[key] = found.spec if found.spec in known else found.spec.partition(":")[0]
    st.selectbox(
        TERMS[term], [*known, *more] if term != "item" else [*more, *known], format_func=words.__getitem__, key=key,
        on_change=_chosen, args=(inside, term, key, found),
    )  # fmt: skip
    if st.session_state.pop(f"{key}-none", False):
        st.info("Nothing is selected yet: open the Latent map, draw round some points with the lasso, and come back.")
    if found.spec == SELECTION:
        st.caption(f"A link carries a group of up to {LINKED} images: elsewhere this one has to be drawn again.")
    tell(inside, **{term: found.spec})
    return found


def _chosen(inside: Inside, term: str, key: str, before: Group | Item) -> None:
    """The menu was changed."""
    spec = st.session_state[key]
    if spec == IMAGE:
        spec = f"{IMAGE}:{group(inside, before.spec).ids[0]}"
    elif spec == SELECTION and len(ids := selected(inside)) <= LINKED:
        st.session_state[f"{key}-none"] = not len(ids)
        spec = f"{IMAGES}:{','.join(map(str, ids))}" if len(ids) else before.spec
    elif spec == IMAGES:
        few = before.ids[:FEW].tolist() if isinstance(before, Group) else []
        spec = f"{IMAGES}:{','.join(map(str, few))}"
        st.session_state[f"pick-{term}-{inside.run.id}-open"] = True
    tell(inside, **{term: spec, f"{term}-class": "", f"{term}-sheet": ""})


def _picker(inside: Inside, term: str, chosen: Group | Item) -> None:
    """Test images to pick from: one for the item, any number for a group."""
    many = isinstance(chosen, Group)
    on: list[int] = chosen.ids.tolist() if isinstance(chosen, Group) else [chosen.image or 0]
    what = f"Pick the images of group {term.upper()}" if many else "Pick the test image"
    key = f"pick-{term}-{inside.run.id}"
    linked = f"{term}-class" in st.query_params or f"{term}-sheet" in st.query_params
    unfolded = st.session_state.setdefault(
        f"{key}-open", not on or linked
    )  # and not folded away under the person's hand
    with st.expander(what, expanded=unfolded, icon=":material/touch_app:"):
        with st.container(horizontal=True, vertical_alignment="bottom"):
            shown = _sheet(inside, term)
            if many and on:
                st.button("Clear", key=f"{key}-none", on_click=partial(tell, inside, **{term: f"{IMAGES}:"}))
        words = [inside.classes[label] if len(np.unique(inside.labels)) > 1 else "" for label in inside.labels[shown]]

        def told(picked: list[int]) -> None:
            if many or picked:
                spec = f"{IMAGES}:{','.join(map(str, picked[:LINKED]))}" if many else f"{IMAGE}:{picked[0]}"
                tell(inside, **{term: spec})

        picks(
            as_people_write(inside.images[shown], inside.light), shown.tolist(), words,
            [described(inside, i) for i in shown],
            name=what, key=f"{key}-grid", pick="many" if many else "one", chosen=on, on_pick=told,
        )  # fmt: skip


def _sheet(inside: Inside, term: str) -> np.ndarray:
    """Numbers of the test images that are laid out to pick from: of one class or of all, and some of these at once."""
    of, sheet, widget = f"{term}-class", f"{term}-sheet", f"pick-{term}-class"
    there = np.unique(inside.labels).tolist()
    asked = start.whole(of, len(inside.classes) - 1, ALL)
    st.session_state[widget] = label = asked if asked in there else ALL

    def told() -> None:
        chosen = st.session_state[widget]
        tell(inside, **{of: "" if chosen == ALL else str(chosen), sheet: ""})

    if len(there) > 1:
        st.selectbox(
            "Show", [ALL, *there], key=widget, on_change=told, width=160,
            format_func=lambda each: "all" if each == ALL else inside.classes[each],
        )  # fmt: skip
    pool = np.flatnonzero((inside.labels == label) | (label == ALL))
    sheets = -(-len(pool) // PAGE)
    now = start.whole(sheet, sheets - 1, 0)
    following = str((now + 1) % sheets)
    more = partial(tell, inside, **{sheet: "" if following == "0" else following})
    st.button("Others", key=f"pick-{term}-more", icon=":material/refresh:", on_click=more)
    return pool[PAGE * now : PAGE * (now + 1)]
