"""Pairs and domains: each recipe by hand-made images, what belongs together, the cache, and bad input."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from genmodels import data
from genmodels.config import UserError
from genmodels.data import aligned, cache, intake, pairs
from genmodels.files import data_home

RECIPES = list(pairs.RECIPES)
STYLES = [name for name in RECIPES if pairs.RECIPES[name].pairing == "styled"]


def pictures(channels=1, side=12, count=5):
    return np.random.default_rng(0).integers(0, 256, (count, channels, side, side), dtype=np.uint8)


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path)


def side_by_side(folder: Path, count: int = 12, first: int = 0) -> Path:
    """Pairs whose left side has the value of their number and the right side 100 more."""
    for i in range(first, first + count):
        write(folder / f"{i}.png", np.repeat(np.uint8([[i, 100 + i]]), 16, 1).repeat(16, 0))
    return folder


def two_folders(folder: Path, count: int = 12) -> Path:
    for i in range(count):
        write(folder / "in" / f"{i}.png", np.full((16, 16), i, np.uint8))
        write(folder / "out" / f"{i}.bmp", np.full((16, 16), 100 + i, np.uint8))
    return folder


def test_edges_of_a_square_are_its_outline():
    image = np.zeros((1, 1, 10, 10), np.uint8)
    image[..., 2:7, 3:9] = 200
    outline = np.zeros_like(image)
    outline[..., 2:7, 3:9] = 255
    outline[..., 3:6, 4:8] = 0
    np.testing.assert_array_equal(pairs.edges(image), outline)
    assert not pairs.edges(np.full((1, 3, 9, 9), 77, np.uint8)).any()
    noise = np.zeros((1, 1, 9, 9), np.uint8)
    noise[0, 0, 4, 4] = pairs.NOISE
    assert not pairs.edges(noise).any(), "a faint speck is no edge, also where there is nothing else"
    coloured = np.zeros((1, 3, 9, 9), np.uint8)
    coloured[:, 2, :, 4:] = 90
    assert (pairs.edges(coloured)[0, :, :, 4] == 255).all(), "a step in one channel is an edge in all"


@pytest.mark.parametrize("channels", [1, 3])
def test_thickened_is_dilation_and_edges_start_from_erosion(channels):
    images, cross = pictures(channels), ndimage.generate_binary_structure(2, 1)[None, None]
    np.testing.assert_array_equal(pairs.thickened(images), ndimage.grey_dilation(images, footprint=cross))
    steps = (images - ndimage.grey_erosion(images, footprint=cross)).max(1, keepdims=True)
    least = np.maximum(pairs.NOISE, pairs.EDGE * steps.max((2, 3), keepdims=True))
    np.testing.assert_array_equal(pairs.edges(images), np.broadcast_to(255 * (steps > least), images.shape))


def test_rotated_inverted_and_half():
    images = pictures(3)
    for i, turned in enumerate(pairs.rotated(images)):
        np.testing.assert_array_equal(turned, np.stack([np.rot90(channel) for channel in images[i]]))
    np.testing.assert_array_equal(pairs.inverted(images), 255 - images)
    kept = pairs.half(images)
    np.testing.assert_array_equal(kept[..., :6], images[..., :6])
    assert not kept[..., 6:].any()
    assert images[..., 6:].any(), "the image itself is left as it was"


@pytest.mark.parametrize("side", [8, 12, 13, 30])
def test_small_is_the_mean_of_each_square(side):
    images = pictures(3, side)
    found = pairs.small(images)
    for y in range(0, side, 4):
        for x in range(0, side, 4):
            mean = images[:, :, y : y + 4, x : x + 4].mean((2, 3), keepdims=True)
            assert np.abs(found[:, :, y : y + 4, x : x + 4] - mean).max() <= 0.5
    np.testing.assert_array_equal(pairs.small(found), found)


def test_grey_is_brightness_as_a_picture_is_read():
    images = pictures(3)
    for image, found in zip(images, pairs.grey(images), strict=True):
        expected = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L"))
        assert (found == found[0]).all()
        np.testing.assert_allclose(found[0].astype(int), expected, atol=1)


def test_coloured_has_one_full_hue_for_each_number():
    import colorsys

    white = np.full((6, 3, 8, 8), 255, np.uint8)
    found = pairs.coloured(white, 40)
    for i, image in enumerate(found):
        hue = pairs.GOLDEN * (40 + i) % 1
        expected = 255 * np.array(colorsys.hsv_to_rgb(hue, 1, 1))
        np.testing.assert_allclose(image[:, 3, 3], expected, atol=1)
    np.testing.assert_array_equal(found[2:], pairs.coloured(white[2:], 42))


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_on_what_needs_no_network(recipe, monkeypatch, tmp_path):
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    base = "shapes" if recipe == "grey" else "digits"
    name = f"{recipe}:{base}"
    found, plain = data.load(name, 8, 3, seed=3), data.load(base, 8, 3, seed=3)
    assert data.is_present(name)
    assert found.pairing == data.pairing(name) == pairs.RECIPES[recipe].pairing
    assert found.sources.shape == found.images.shape
    assert (found.images.dtype, found.sources.dtype) == (np.uint8, np.uint8)
    assert len(found.images) == sum(found.sizes) == len(found.labels) == len(found.source_labels) == len(found.factors)
    assert (found.classes, found.factor_names) == (plain.classes, plain.factor_names)
    assert data.DATASETS[base].title in data.entry(name).title == data.title(name)
    for part in ("validation", "test"):
        here, there = found.span(part), plain.span(part)
        originals = found.sources if found.pairing == "styled" else found.images
        np.testing.assert_array_equal(originals[here], plain.images[there])
        for one in (found.labels, found.source_labels):
            np.testing.assert_array_equal(one[here], plain.labels[there])
        np.testing.assert_array_equal(found.factors[here], plain.factors[there])


@pytest.mark.parametrize("recipe", [name for name in RECIPES if name not in (*STYLES, "coloured")])
def test_pairs_belong_together_in_every_part(recipe):
    found, plain = data.load(f"{recipe}:digits", 8, 3, seed=1), data.load("digits", 8, 3, seed=1)
    np.testing.assert_array_equal(found.images, plain.images)
    np.testing.assert_array_equal(found.sources, pairs.RECIPES[recipe].change(plain.images, 0))


@pytest.mark.parametrize("seed", [0, 5])
def test_nobody_sees_a_styled_pair_in_training(seed):
    """The digits are all different, so that an image tells which one it is."""
    found, plain = data.load("inverted:digits", seed=seed), data.load("digits", seed=seed)
    train = found.span("train")
    theirs = {image.tobytes() for image in found.sources[train]}
    ours = {(255 - image).tobytes() for image in found.images[train]}
    every = {image.tobytes() for image in plain.images[plain.span("train")]}
    held = {image.tobytes() for part in ("validation", "test") for image in plain.images[plain.span(part)]}
    assert not theirs & ours
    assert theirs | ours <= every
    assert len(theirs) == len(ours) == len(every) // 2 > 0
    assert not (theirs | ours) & held
    test = found.span("test")
    np.testing.assert_array_equal(found.images[test], 255 - found.sources[test])
    known = {image.tobytes(): label for image, label in zip(plain.images, plain.labels, strict=True)}
    assert all(known[(255 - image).tobytes()] == label for image, label in zip(found.images, found.labels, strict=True))
    assert all(known[image.tobytes()] == label for image, label in zip(found.sources, found.source_labels, strict=True))


def test_a_hue_stays_with_its_image_whatever_the_split():
    def hues(seed):
        found = data.load("coloured:digits", seed=seed)
        test = found.span("test")
        return {a.tobytes(): b.tobytes() for a, b in zip(found.sources[test], found.images[test], strict=True)}

    one, other = hues(0), hues(1)
    both = one.keys() & other.keys()
    assert both
    assert all(one[key] == other[key] for key in both)


def test_what_is_made_is_kept_and_made_again_when_damaged(monkeypatch):
    first = data.load("edges:digits")
    with monkeypatch.context() as patch:
        patch.setitem(pairs.RECIPES, "edges", pairs.RECIPES["edges"]._replace(change=lambda images, _: 0 * images))
        np.testing.assert_array_equal(data.load("edges:digits").sources, first.sources)
    file = cache.folder_of("digits-edges-8x1") / "images.npy"
    assert file.exists()
    file.write_bytes(file.read_bytes()[:1000])
    np.testing.assert_array_equal(data.load("edges:digits").sources, first.sources)


def test_large_ones_stay_on_disk(monkeypatch):
    plain = data.load("rotated:digits")
    monkeypatch.setattr(cache, "LARGE", 1000)
    found = data.load("rotated:digits")
    assert isinstance(found.images, np.memmap)
    assert isinstance(found.sources, np.memmap)
    np.testing.assert_array_equal(found.images, plain.images)
    np.testing.assert_array_equal(found.sources, plain.sources)
    again = data.load("rotated:digits", seed=1)
    assert not np.array_equal(again.images, plain.images)
    np.testing.assert_array_equal(data.load("rotated:digits").images, plain.images)  # nothing was written back


def test_domains_go_round_where_one_has_fewer(tmp_path):
    for i in range(30):
        write(tmp_path / f"{i}.png", np.full((9, 9), i, np.uint8))
    small = f"folder:{tmp_path}"
    found = data.load(f"domains:{small}+digits", 16, 1, seed=2)
    few, many = data.load(small, 16, 1, seed=2), data.load("digits", 16, 1, seed=2)
    assert (found.pairing, found.sizes, found.classes) == ("domains", many.sizes, many.classes)
    np.testing.assert_array_equal(found.images, many.images)
    np.testing.assert_array_equal(found.labels, many.labels)
    for part in data.PARTS:
        count, own = few.sizes[data.PARTS.index(part)], few.images[few.span(part)]
        np.testing.assert_array_equal(found.sources[found.span(part)][:count], own)
        np.testing.assert_array_equal(found.sources[found.span(part)][count : 2 * count], own)
    back = data.load(f"domains:digits+{small}", 16, 1, seed=2)
    np.testing.assert_array_equal(back.source_labels, many.labels)
    np.testing.assert_array_equal(back.images, found.sources)


def test_paths_may_hold_what_parts_a_name(tmp_path):
    one, other = tmp_path / "a+b:c", tmp_path / "d+folder:e"
    for folder, value in ((one, 10), (other, 200)):
        for i in range(12):
            write(folder / f"{i}.png", np.full((9, 9), value + i, np.uint8))
    name = f"domains:folder:{one}+folder:{other}"
    found = data.load(name)
    assert found.sources.max() < 100 < found.images.min()
    assert data.load(f"edges:folder:{one}").images.max() < 100
    assert data.title(name) == "a+b:c and d+folder:e"
    assert data.load(f"domains:digits+folder:{one}", 9, 1).sizes[0] > 1000


@pytest.mark.parametrize("make", [side_by_side, two_folders])
def test_pairs_of_ones_own(make, tmp_path):
    found = data.load(f"pairs:{make(tmp_path)}")
    assert found.pairing == "pairs"
    assert sum(found.sizes) == 12
    assert found.shape == (1, 16, 16)
    np.testing.assert_array_equal(found.images, found.sources + 100)
    assert len(np.unique(found.sources)) == 12
    back = data.load(f"pairs-back:{tmp_path}")
    np.testing.assert_array_equal(back.images, found.sources)
    np.testing.assert_array_equal(back.sources, found.images)
    words = {side_by_side: "left to right", two_folders: "in to out"}[make]
    assert data.entry(f"pairs:{tmp_path}").title.endswith(words)
    assert aligned.way(f"pairs-back:{tmp_path}") == {side_by_side: "Right to left", two_folders: "Out to in"}[make]


def test_folders_that_are_a_split(tmp_path):
    side_by_side(tmp_path / "train", 20)
    side_by_side(tmp_path / "val", 6, first=18)  # two of them lie in train
    found = data.load(f"pairs:{tmp_path}")
    assert found.sizes == (18, 2, 4)
    assert sorted(found.sources[found.span("test"), 0, 0, 0]) == [20, 21, 22, 23]
    side_by_side(tmp_path / "test", 5, first=50)
    found = data.load(f"pairs:{tmp_path}")
    assert found.sizes == (20, 4, 5)
    assert sorted(found.sources[found.span("test"), 0, 0, 0]) == [50, 51, 52, 53, 54]
    side_by_side(tmp_path / "validation", 3, first=70)
    found = data.load(f"pairs:{tmp_path}")
    assert found.sizes == (20, 7, 5), "nothing that is held back is learned from"
    assert sorted(found.sources[found.span("validation"), 0, 0, 0]) == [20, 21, 22, 23, 70, 71, 72]


def test_the_longer_side_and_colour_are_cut_to_squares(tmp_path):
    for i in range(10):
        image = np.zeros((16, 48, 3), np.uint8)
        image[:, :24], image[:, 24:] = (200, 0, 0), (0, 0, 200)
        write(tmp_path / f"{i}.png", image)
    found = data.load(f"pairs:{tmp_path}")
    assert found.shape == (3, 16, 16)
    assert (found.sources[0, :, 5, 5] == (200, 0, 0)).all()
    assert (found.images[0, :, 5, 5] == (0, 0, 200)).all()


def test_facades():
    path = data_home() / "facades"
    if not path.is_dir():
        pytest.skip("facades are not here")
    found = data.load(f"pairs-back:{path}")
    assert found.shape == (3, 64, 64)
    train, test = ({image.tobytes() for image in found.images[found.span(part)]} for part in ("train", "test"))
    assert train
    assert test
    assert not train & test


def refused(name, *form):
    with pytest.raises(UserError) as error:
        data.load(name, *form)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "form", "words"),
    [
        ("domains:digits+shapes", (), "8 and 32 pixels"),
        ("domains:digits+olivetti-faces", (16, None), "not on this machine"),
        ("domains:digits+digits", (), "two different"),
        ("domains:digits", (), "names one domain"),
        ("domains:digits+nothing", (), "no dataset 'nothing'"),
        ("domains:digits+edges:shapes", (), "made itself"),
        ("blur:digits", (), "There is no recipe 'blur'"),
        ("edges:nothing", (), "no dataset 'nothing'"),
        ("edges:inverted:digits", (), "made itself"),
        ("edges:mnist", (), "'mnist' is not on this machine"),
        ("edges:folder:/nowhere/at/all", (), "There is no folder"),
        ("grey:digits", (), "in colour"),
        ("coloured:digits", (8, 1), "in colour"),
        ("pairs:/nowhere/at/all", (), "There is no folder"),
        ("pairs:", (), "names no folder"),
    ],
)
def test_bad_names_are_one_sentence(name, form, words, monkeypatch, tmp_path):
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path))
    assert words in refused(name, *form)


def test_domains_of_different_channels(tmp_path):
    for i in range(12):
        write(tmp_path / f"{i}.png", np.full((8, 8, 3), (i, 99, 0), np.uint8))
    name = f"domains:digits+folder:{tmp_path}"
    assert "1 and 3 channels" in refused(name)
    assert data.load(name, None, 3).shape == data.load(name, 8, 3).shape == (3, 8, 8)
    (tmp_path / "empty").mkdir()
    assert "no image" in refused(f"domains:digits+folder:{tmp_path / 'empty'}", 8, 1)


def test_pairs_that_do_not_match(tmp_path):
    two_folders(tmp_path / "names")
    for i in range(5):
        (tmp_path / "names" / "in" / f"{i}.png").rename(tmp_path / "names" / "in" / f"other-{i}.png")
    words = refused(f"pairs:{tmp_path / 'names'}")
    assert "do not match: '0', '1', '2' and others" in words
    side_by_side(tmp_path / "square")
    write(tmp_path / "square" / "3.png", np.zeros((20, 30), np.uint8))
    assert "'3.png' has 30 x 20 pixels" in refused(f"pairs:{tmp_path / 'square'}")
    side_by_side(tmp_path / "broken")
    (tmp_path / "broken" / "4.png").write_bytes(b"no picture")
    assert "'4.png' cannot be read" in refused(f"pairs:{tmp_path / 'broken'}")
    assert "at least 10" in refused(f"pairs:{side_by_side(tmp_path / 'few', 4)}")
    write(two_folders(tmp_path / "twice") / "in" / "3.bmp", np.zeros((16, 16), np.uint8))
    assert "In 'in' there are 2 files called '3'" in refused(f"pairs:{tmp_path / 'twice'}")
    for name in ("val", "test"):
        side_by_side(tmp_path / "untaught" / name)
    assert "no 'train'" in refused(f"pairs:{tmp_path / 'untaught'}")
    for name in "abc":
        side_by_side(tmp_path / "three" / name)
    assert "3 sub-folders are not pairs" in refused(f"pairs:{tmp_path / 'three'}")


def test_pairs_are_kept_whole(tmp_path):
    """Of two folders with equal names each picture stays with its partner, copies and broken partners or not."""
    two_folders(tmp_path / "given", 14)
    write(tmp_path / "given" / "out" / "3.bmp", np.full((16, 16), 104, np.uint8))  # as out/4
    (tmp_path / "given" / "in" / "5.png").write_bytes(b"broken")
    found = intake.examine(tmp_path / "given")
    assert any("pairs" in remark for remark in found.remarks)
    assert intake.keep(tmp_path / "given", found, "mine", copies=False) == "pairs:mine"
    kept = data.load("pairs:mine")
    assert sorted(kept.sources[:, 0, 0, 0]) == [0, 1, 2, 3, 4, *range(6, 14)]
    partners = np.where(kept.sources == 3, 104, kept.sources + 100)
    np.testing.assert_array_equal(kept.images, partners)
    assert intake.own_pairs() == ["pairs:mine"]
    assert intake.own_classes() == ["folder:mine/in", "folder:mine/out"]
    domains = data.load("domains:folder:mine/in+folder:mine/out")
    assert domains.sources.max() < 100 <= domains.images.min()
    intake.delete("pairs:mine")
    assert not intake.own_datasets()
    assert not list((cache.folder_of("x").parent).glob("folder-*")), "what was prepared from it is gone as well"


def test_classes_whose_files_are_numbered_alike_are_no_pairs(tmp_path):
    for i in range(14):
        write(tmp_path / "cats" / f"{i}.png", np.full((16, 16), max(i, 1), np.uint8))  # 0 is a copy of 1
        write(tmp_path / "dogs" / f"{i}.png", np.full((16, 16), 100 + i, np.uint8))
    found = intake.examine(tmp_path)
    assert not found.partners
    assert any("call the folders 'input' and 'target'" in remark for remark in found.remarks)
    assert "copies are left out" in found.becomes
    assert intake.keep(tmp_path, found, "pets", copies=False) == "folder:pets"
    assert len(data.load("folder:pets").images) == 27
    assert intake.own_pairs() == []


@pytest.mark.parametrize(("names", "known"), [(("trainA", "trainB"), True), (("B", "a"), True), (("a", "x"), False)])
def test_what_sides_are_called(names, known):
    assert aligned.are_sides(names) == known


def test_pairs_side_by_side_are_kept_too(tmp_path):
    side_by_side(tmp_path / "given")
    found = intake.examine(tmp_path / "given")
    assert found.side_by_side
    assert intake.preview(tmp_path / "given", found, 8, 1)[0].after.shape == (1, 8, 16)
    assert intake.keep(tmp_path / "given", found, "wide") == "pairs:wide"
    kept = data.load("pairs:wide")
    np.testing.assert_array_equal(kept.images, kept.sources + 100)


def test_ordinary_images_are_no_pairs(tmp_path):
    for i in range(12):
        write(tmp_path / "ab"[i % 2] / f"{i}.png", np.full((16, 16), i, np.uint8))
    found = intake.examine(tmp_path)
    assert not found.side_by_side
    assert not found.partners
    assert intake.keep(tmp_path, found, "plain") == "folder:plain"
    assert intake.own_pairs() == []
