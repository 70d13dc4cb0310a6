"""What is learned from: the registry of datasets, and loading one as arrays of uint8.

Nothing here imports torch, torchvision or scikit-learn before it needs them, and `load` never uses the network.
"""

import difflib
from functools import partial

import numpy as np

from genmodels import demo
from genmodels.config import UserError
from genmodels.data import aligned, cache, folders, pairs
from genmodels.data.builtin import DIGITS, OBJECTS, PEOPLE, Cifar10, Olivetti, open_digits
from genmodels.data.celeba import CelebA
from genmodels.data.dataset import PARTS, Dataset, Entry, Offline, Pairing, Part, Report, Source, split
from genmodels.data.idx import Idx
from genmodels.data.shapes import CLASSES as SHAPES
from genmodels.data.shapes import open_shapes

__all__ = [
    "DATASETS",
    "PARTS",
    "Dataset",
    "Entry",
    "Pairing",
    "Part",
    "Report",
    "Source",
    "bases",
    "download",
    "entry",
    "is_present",
    "load",
    "pairing",
    "title",
]

HEADS = (*pairs.RECIPES, "domains", *aligned.HEADS)  # what stands before the colon of a dataset made of others
SMALLEST, LARGEST = 8, 64  # pixels

_CLOTHES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")
_LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_MNIST, _FASHION, _KMNIST = Idx("MNIST", DIGITS), Idx("FashionMNIST", _CLOTHES), Idx("KMNIST", _KANA)
_EMNIST = Idx("EMNIST", _LETTERS, "emnist-letters-", "test", letters=True)

# title, description, native size and channels, classes, megabytes to download, where it comes from
DATASETS: dict[str, Entry] = {
    "digits": Entry("Digits", "1,797 tiny handwritten digits.", 8, 1, DIGITS, None, Offline(open_digits)),
    "shapes": Entry("Shapes", "Drawn shapes with five known factors.", 32, 1, SHAPES, None, Offline(open_shapes)),
    "mnist": Entry("MNIST", "70,000 handwritten digits.", 28, 1, DIGITS, 12, _MNIST),
    "fashion-mnist": Entry("Fashion-MNIST", "70,000 pieces of clothing.", 28, 1, _CLOTHES, 31, _FASHION),
    "kmnist": Entry("KMNIST", "70,000 cursive Japanese characters.", 28, 1, _KANA, 21, _KMNIST),
    "emnist-letters": Entry("EMNIST letters", "145,600 handwritten letters.", 28, 1, _LETTERS, 562, _EMNIST),
    "cifar10": Entry("CIFAR-10", "60,000 small photos of ten kinds of thing.", 32, 3, OBJECTS, 170, Cifar10()),
    "celeba": Entry("CelebA", "202,599 faces with 40 attributes, such as Smiling.", 64, 3, (), 1443, CelebA()),
    "olivetti-faces": Entry("Olivetti faces", "400 faces, ten each of 40 people.", 64, 1, PEOPLE, 4, Olivetti()),
}


def _silent(share: float, text: str) -> None:
    """A Report that nobody reads."""


def entry(name: str) -> Entry:
    """The entry of a registered name, of 'folder:PATH', or of what is made of them; a UserError when there is none."""
    if name in DATASETS:
        return DATASETS[name]
    head, colon, _ = name.partition(":")
    if name.startswith(folders.PREFIX):
        return folders.entry(name)
    if head in aligned.HEADS and colon:
        return aligned.entry(name)
    if pairing(name) != "none":
        return pairs.entry(name, [entry(each) for each in bases(name)])
    if colon:
        raise UserError(f"There is no recipe '{folders.plain(head)}'; there is: {', '.join(HEADS)}.")
    near = difflib.get_close_matches(name, DATASETS, n=1)
    hint = f"did you mean '{near[0]}'?" if near else "there is: " + ", ".join(DATASETS) + ", folder:PATH."
    raise UserError(f"There is no dataset '{folders.plain(name)}'; {hint}")


def pairing(name: str) -> Pairing:
    """What `sources` such a dataset has, as its name tells: see Dataset."""
    head, colon, _ = name.partition(":")
    if not colon or head not in HEADS:
        return "none"
    return pairs.RECIPES[head].pairing if head in pairs.RECIPES else "domains" if head == "domains" else "pairs"


def bases(name: str) -> tuple[str, ...]:
    """The datasets that a name is made of; itself when it is not made of others. Raises a UserError."""
    return pairs.bases(name, DATASETS)


def title(name: str) -> str:
    """What a dataset is called, whether it is here or not: 'Edges of MNIST'."""
    head, colon, rest = name.partition(":")
    if name in DATASETS or not colon:
        return DATASETS[name].title if name in DATASETS else name
    if head in pairs.RECIPES:
        return pairs.RECIPES[head].title.format(title(rest))
    if head == "domains":
        return " and ".join(map(title, pairs.parted(rest, DATASETS)))
    last = rest.split("/")[-1] if rest.startswith(("/", "~")) else folders.without_mark(rest)
    return f"{last} ({'right to left' if head == 'pairs-back' else 'pairs'})" if head in aligned.HEADS else last


def is_present(name: str) -> bool:
    """Whether `load` could read this dataset without the network; looks at files only. False for unknown names."""
    try:
        if ":" not in name:
            return name in DATASETS and DATASETS[name].store.present()
        if name.partition(":")[0] in ("folder", *aligned.HEADS):
            return folders.path_of(folders.PREFIX + name.partition(":")[2]).is_dir()
        return pairing(name) != "none" and all(map(is_present, bases(name)))
    except UserError:
        return False


def download(name: str, report: Report = _silent) -> None:
    """Fetch a dataset from the network into data_home(), also over a damaged copy.

    Raises a UserError when there is no network, no room, or nothing to fetch from; or when a demo has no room for it.
    """
    if may_not := refused(name):
        raise UserError(may_not)
    entry(name).store.download(report)


def refused(name: str) -> str | None:
    """Why a demo does not fetch this dataset, None where it may be fetched."""
    known = entry(name)
    if demo.on() and (known.megabytes or 0) > demo.quotas().download:
        return f"{known.title} is too large to be fetched for this demo: choose another dataset."
    return None


def load(
    name: str, size: int | None = None, channels: int | None = None, seed: int = 0, report: Report | None = None
) -> Dataset:
    """Load a dataset as square images of `size` pixels (8 to 64) in 1 or 3 channels; None is its native form.

    `seed` decides which images are held back where no official split says so. The first call prepares a cache, each
    later one reads it. Never downloads. Raises a UserError when the dataset is unknown, not here yet, or damaged.
    """
    known = entry(name)
    if name.startswith(pairs.DOMAINS):
        pairs.alike(name, [entry(each) for each in bases(name)], size, channels)
        return pairs.joined(name, *(load(each, size, channels, seed, report) for each in bases(name)))
    size, channels = size or known.size, channels or known.channels
    if not SMALLEST <= size <= LARGEST or channels not in (1, 3):
        raise UserError(
            f"Images can have {SMALLEST} to {LARGEST} pixels a side and 1 or 3 channels, not {size} and {channels}."
        )
    recipe, form, report = pairs.recipe(name, channels), f"{size}x{channels}", report or _silent
    (base,) = bases(name)
    key, affordable = _key(base, known), partial(_affordable, known, channels * size**2)

    def open_source() -> Source:
        if not known.store.present():
            raise UserError(_absent(base, known))
        return affordable(known.store.open(size, channels))

    found, made = cache.prepared(f"{key}-{form}", open_source, report), None
    if recipe:  # in the order of what it is made of: both are split alike
        head = name.partition(":")[0]
        made = cache.prepared(f"{key}-{head}-{form}", lambda: affordable(pairs.changed(found, recipe)), report).images
    sizes, order = split(len(found.images), found.official, seed)
    moved = np.flatnonzero(order != np.arange(len(order)))
    for array in (found.images, found.labels, found.factors, made):
        if array is not None:
            array[moved] = array[order[moved]]
    dataset = Dataset(name, found.images, found.labels, found.classes, sizes, found.factors, found.factor_names)
    if isinstance(known.store, aligned.Aligned):
        return known.store.parted(dataset)
    return dataset if made is None else pairs.with_sources(dataset, made, pairing(name))


def _affordable(known: Entry, each: int, source: Source) -> Source:
    """The source, of so many bytes an image. Raises UserError where a demo has no room."""
    own, both = isinstance(known.store, folders.Folder), isinstance(known.store, aligned.Aligned)
    return demo.affordable(source, each * (2 if both else 1), partial(cache.forget, cache.OWN) if own else None)


def _key(base: str, known: Entry) -> str:
    """What the names of all caches made of a dataset begin with; those of a folder as it was before are removed."""
    if not isinstance(known.store, folders.Folder):
        return base
    key = known.store.key()
    cache.forget(known.store.cache_prefix(), keep=key)
    return f"{key}-pairs" if isinstance(known.store, aligned.Aligned) else key


def _absent(name: str, known: Entry) -> str:
    return (
        f"'{name}' is not on this machine yet ({known.megabytes:,} MB to download): fetch it on the page Data or with "
        f"'python -m genmodels datasets --download {name}'; digits and shapes need no download."
    )
