"""Own images, friendly and hostile: each refusal is one sentence, and nothing is written."""

import contextlib
import io
import os
import re
import stat
import struct
import subprocess
import sys
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from genmodels import data
from genmodels.config import UserError
from genmodels.data import archives, folders, intake, pictures


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("GENMODELS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GENMODELS_DATA", str(tmp_path / "datasets"))


def picture(seed=0, size=(20, 16), mode="RGB", form="PNG", **options):
    channels = {"RGB": (3,), "L": (), "RGBA": (4,)}[mode]
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], *channels), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form, **options)
    return file.getvalue()


def archive(files, compression=zipfile.ZIP_DEFLATED):
    """A zip of {name or ZipInfo: bytes}."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return file.getvalue()


def two_classes(count=12):
    return {f"set/{'cat' if i % 2 else 'dog'}/{i}.png": picture(i) for i in range(count)}


def png(width, height, data=b""):
    """A PNG whose head says width x height, whatever its data says."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IDAT", data or zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + body + chunk(b"IEND", b"")


def everything_under(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def write(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


# Archives that are refused


def with_flag(flag):
    """An archive whose entries claim a general purpose flag, in both of their headers."""
    content = bytearray(archive(two_classes()))
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        for match in re.finditer(re.escape(signature), bytes(content)):
            content[match.start() + offset] |= flag
    return bytes(content)


def link():
    info = zipfile.ZipInfo("set/dog/link.png")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return archive(two_classes() | {info: b"/etc/passwd"})


def with_a_zero_byte():
    return archive({"set/dog/aaaa.png": picture()}).replace(b"set/dog/aaaa.png", b"set/dog/aa\0a.png")


def without_a_name():
    """zipfile reads a name up to its first zero byte."""
    return archive({"aaa.png": picture()}).replace(b"aaa.png", b"\0aa.png")


def claims_a_million():
    """The last record says 65,535 entries, which is how an archive of a million begins."""
    content = bytearray(archive(two_classes()))
    at = content.rfind(b"PK\5\6")
    content[at + 8 : at + 12] = b"\xff\xff\xff\xff"
    return bytes(content)


def hides_a_million():
    """The last record says 12, but a Zip64 record before it, which zipfile believes, may say anything."""
    content = archive(two_classes())
    at = content.rfind(b"PK\5\6")
    return content[:at] + struct.pack("<4sIQI", b"PK\6\7", 0, 0, 1) + content[at:]


def long_table():
    content = bytearray(archive(two_classes()))
    at = content.rfind(b"PK\5\6")
    content[at + 12 : at + 16] = struct.pack("<I", 2**31)
    return bytes(content)


HOSTILE = {
    "absolute": (lambda: archive({"/etc/x.png": picture()}), "leads out"),
    "drive": (lambda: archive({"C:/x.png": picture()}), "leads out"),
    "parent": (lambda: archive(two_classes() | {"set/../../x.png": picture()}), "leads out"),
    "backslashes": (lambda: archive({"..\\..\\x.png": picture()}), "leads out"),
    "zero byte": (with_a_zero_byte, "leads out"),
    "no name": (without_a_name, "leads out"),
    "link": (link, "link"),
    "encrypted": (lambda: with_flag(1), "encrypted"),
    "bomb": (lambda: archive({"a.png": bytes(50_000_000)}), "times its size"),
    "bzip2": (lambda: archive(two_classes(), zipfile.ZIP_BZIP2), "unusual"),
    "lzma": (lambda: archive(two_classes(), zipfile.ZIP_LZMA), "unusual"),
    "a million": (claims_a_million, "more than 50,000"),
    "a hidden million": (hides_a_million, "more than 50,000"),
    "a long table of contents": (long_table, "more than 50,000"),
    "not a zip": (lambda: b"hello" * 100, "not a zip"),
    "nothing": (lambda: b"", "not a zip"),
    "a picture": (picture, "not a zip"),
    "truncated": (lambda: archive(two_classes())[:-30], "not a zip"),
    "cut in front": (lambda: archive(two_classes())[2000:], "."),
    "empty": (lambda: archive({}), "no image"),
    "no image": (lambda: archive({"readme.txt": b"hello", "__MACOSX/a.png": picture()}), "no image"),
    "mixed up": (lambda: archive(two_classes() | {"set/loose.png": picture()}), "1 lie beside"),
    "too deep": (lambda: archive({f"{p}/{c}/1.png": picture() for p in "ab" for c in "cd"}), "inside class folders"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_archives_are_refused_in_one_sentence(name, tmp_path):
    make, words = HOSTILE[name]
    content = make()
    if name == "cut in front":  # zipfile forgives this and looks for the pieces, so only the pictures are gone
        assert not intake.examine(content).pictures or intake.examine(content).unreadable
        return
    with pytest.raises(UserError, match=words) as caught:
        intake.examine(content)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith(".")
    assert everything_under(tmp_path) == []


def test_a_bound_on_what_is_unpacked(monkeypatch):
    monkeypatch.setattr(archives, "MAX_UNPACKED", 5_000)
    with pytest.raises(UserError, match="would unpack"):
        intake.examine(archive(two_classes()))


def test_a_real_archive_of_many_entries_is_refused_quickly(monkeypatch):
    monkeypatch.setattr(archives, "MAX_ENTRIES", 100)
    with pytest.raises(UserError, match="more than 100"):
        intake.examine(archive({f"{i}.png": b"" for i in range(101)}))


def test_a_size_that_lies_does_not_unpack_more():
    """The table of contents says 100 bytes, the data unpacks to 10 MB: the picture is damaged, not the memory."""
    content = bytearray(archive({"lie.png": bytes(10_000_000)} | {f"{i}.png": picture(i) for i in range(100)}))
    at = content.find(b"PK\1\2")
    content[at + 24 : at + 28] = struct.pack("<I", 100)
    found = intake.examine(bytes(content))
    assert found.unreadable == (("lie.png", "damaged inside the archive"),)


@given(st.binary(max_size=30), st.integers(0, 2**31), st.integers(1, 60))
@settings(max_examples=60, deadline=None)
def test_damaged_archives_never_crash(junk, place, length):
    content = bytearray(archive({f"{i}.png": picture(i, (9, 9)) for i in range(3)}))
    place %= len(content)
    content[place : place + length] = junk
    with contextlib.suppress(UserError):
        found = intake.examine(bytes(content))
        assert len(found.pictures) + len(found.unreadable) <= 3


# Single pictures

BAD = {
    "bomb": (lambda: png(50_000, 50_000), "million"),
    "just too large": (lambda: png(8_000, 5_001), "8000 x 5001"),
    "text": (lambda: b"hello", "not a PNG"),
    "empty": (lambda: b"", "not a PNG"),
    "truncated": (lambda: picture(size=(200, 200))[:-4000], "damaged"),
    "tiff named png": (lambda: picture(form="TIFF"), "not a PNG"),
    "short data": (lambda: png(100, 100), "damaged"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a PNG"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_pictures_give_a_reason(name):
    make, words = BAD[name]
    with pytest.raises(pictures.UnreadableError, match=words):
        pictures.decode(make())


def test_a_bomb_is_never_allocated():
    code = (
        "import resource, sys, pathlib; from genmodels.data import pictures\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "try: pictures.decode(sys.stdin.buffer.read())\n"
        "except pictures.UnreadableError: pass\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)"
    )
    bomb = png(12_000, 12_000, zlib.compress(bytes(144_000_000 + 12_000), 9))  # 144 MB in 140 kB; only Pillow warns
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], input=bomb, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) * (1 if sys.platform == "darwin" else 1024) < 20_000_000


@given(st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "WEBP"]), st.integers(0, 5000), st.binary(min_size=1, max_size=8))
@settings(max_examples=300, deadline=None)
def test_damaged_pictures_never_crash(form, place, junk):
    content = bytearray(picture(size=(24, 24), form=form))
    place %= len(content)
    content[place : place + len(junk)] = junk
    with contextlib.suppress(pictures.UnreadableError):
        image, _ = pictures.decode(bytes(content))
        assert image.mode in ("L", "RGB")


@pytest.mark.parametrize("form", ["PNG", "JPEG", "BMP", "GIF", "WEBP"])
def test_each_format_is_read(form):
    image, size = pictures.decode(picture(form=form))
    assert size == (20, 16)
    assert image.mode in ("L", "RGB")


def saved(image, form="PNG", **options):
    file = io.BytesIO()
    image.save(file, form, **options)
    return pictures.decode(file.getvalue())[0]


def test_modes_become_grey_or_colour():
    ramp = np.linspace(0, 65_535, 256).astype(np.uint16).reshape(16, 16)
    assert np.array_equal(np.asarray(saved(Image.fromarray(ramp))), ramp >> 8)  # 16 bits scaled, not clipped
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(np.asarray(saved(Image.fromarray(grey))), grey)
    colour = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(saved(Image.fromarray(colour))), colour)
    palette = Image.fromarray(colour).quantize(16)
    assert np.array_equal(np.asarray(saved(palette)), np.asarray(palette.convert("RGB")))
    assert saved(Image.new("1", (9, 9), 1)).getpixel((0, 0)) == 255
    assert saved(Image.new("CMYK", (9, 9)), "JPEG").mode == "RGB"


def test_transparency_becomes_white():
    assert saved(Image.new("RGBA", (9, 9), (255, 0, 0, 0))).getpixel((4, 4)) == (255, 255, 255)
    assert saved(Image.new("RGBA", (9, 9), (255, 0, 0, 255))).getpixel((4, 4)) == (255, 0, 0)
    half = saved(Image.new("LA", (9, 9), (0, 128)))
    assert half.mode == "L"
    assert abs(half.getpixel((4, 4)) - 127) <= 1
    palette = Image.new("P", (9, 9), 0)
    palette.putpalette([10, 20, 30])
    assert saved(palette, transparency=0).getpixel((4, 4)) == (255, 255, 255)


def test_photos_are_turned_upright():
    pixels = np.zeros((10, 30, 3), np.uint8)
    pixels[:, :15, 0] = 255  # red on the left
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG", exif=exif)
    image, size = pictures.decode(file.getvalue())
    assert size == image.size == (10, 30)
    assert image.getpixel((5, 2))[0] == 255
    assert image.getpixel((5, 28))[0] == 0


def test_a_photo_of_24_megapixels_is_welcome():
    file = io.BytesIO()
    Image.new("RGB", (6000, 4000), "green").save(file, "JPEG")
    image, size = pictures.decode(file.getvalue())
    assert size == (6000, 4000)
    assert min(image.size) == 256


def test_fit_averages_and_takes_the_middle():
    stripes = np.zeros((40, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    small = pictures.fit(Image.fromarray(stripes), 8, 1)
    assert small.shape == (1, 8, 8)
    assert abs(small.astype(int) - 127).max() < 25  # aliasing would give 0 or 255
    left = np.zeros((20, 60), np.uint8)
    left[:, :20] = 255
    assert pictures.fit(Image.fromarray(left), 20, 3).max() == 0
    red = pictures.fit(Image.new("RGB", (8, 8), "red"), 8, 1)
    assert (red == round(0.299 * 255)).all()  # ITU-R 601


# Folders


def test_a_folder_with_classes(tmp_path):
    files = {f"{'ab'[i % 2]}/{i}.png": picture(i, (20 + i % 3, 16)) for i in range(30)}
    files |= {
        "a/copy.png": files["b/1.png"],
        "a/broken.jpg": b"x",
        "b/scan.tiff": b"x",
        "notes.txt": b"",
        ".x.png": b"",
    }
    found = intake.examine(write(tmp_path / "in", files))
    assert found.classes == ("a", "b")
    assert found.per_class == {"a": 16, "b": 15}
    assert dict(found.sizes) == {(20, 16): 10, (21, 16): 11, (22, 16): 10}
    assert [name for name, _ in found.unreadable] == ["a/broken.jpg", "b/scan.tiff"]
    assert sorted(found.ignored) == [".x.png", "notes.txt"]
    assert [[picture.name for picture in group] for group in found.duplicates] == [["a/copy.png", "b/1.png"]]
    assert found.problem is None
    assert len(found.remarks) == 3

    name = f"folder:{tmp_path / 'in'}"
    assert data.is_present(name)
    assert (data.entry(name).size, data.entry(name).channels) == (16, 3)
    dataset = data.load(name, 8, 1)
    assert dataset.images.shape == (31, 1, 8, 8)
    assert dataset.classes == ("a", "b")
    assert np.bincount(dataset.labels).tolist() == [16, 15]
    assert dataset.sizes == (25, 3, 3)
    (tmp_path / "in/a/0.png").unlink()
    assert len(data.load(name, 8, 1).images) == 30  # the cache follows the folder
    assert len(list((tmp_path / "home/cache").glob("folder-*"))) == 1


def test_labels_belong_to_their_images(tmp_path):
    write(tmp_path, {f"{shade}/{i}.png": png_of(int(shade)) for shade in ("000", "100", "200") for i in range(9)})
    dataset = data.load(f"folder:{tmp_path}", 8, 1)
    assert np.array_equal(dataset.images[:, 0, 0, 0], 100 * dataset.labels)


def png_of(shade):
    file = io.BytesIO()
    Image.new("L", (10, 10), shade).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda home: home / "nowhere", "There is no folder"),
        (lambda home: write(home, {"a.png": picture()}) / "a.png", "is a file, not a folder"),
        (lambda home: home, "no image"),
        (lambda home: write(home, {"a.txt": b"", "b/c.csv": b""}), "no image"),
        (lambda home: write(home, {"a/1.png": b"", "2.png": b"", "3.png": b""}), "2 lie beside"),
    ],
)
def test_folders_that_cannot_be_used(tmp_path, make, words):
    (tmp_path / "in").mkdir()
    folder = make(tmp_path / "in")
    with pytest.raises(UserError, match=words):
        intake.examine(folder)
    with pytest.raises(UserError, match=words):
        data.load(f"folder:{folder}")
    assert not (tmp_path / "home").exists()


def test_a_single_image_is_shown_but_not_learned(tmp_path):
    write(tmp_path / "in", {"1.png": picture()})
    found = intake.examine(tmp_path / "in")
    assert found.problem.startswith("Only 1 of the images")
    with pytest.raises(UserError, match="at least 10"):
        data.load(f"folder:{tmp_path / 'in'}")
    with pytest.raises(UserError, match="at least 10"):
        intake.keep(tmp_path / "in", found, "one")
    assert intake.own_datasets() == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes need a Unix")
def test_links_and_pipes_are_named_and_not_followed(tmp_path):
    secret = write(tmp_path / "secret", {"s.png": picture(99)})
    folder = write(tmp_path / "in", {f"{i}.png": picture(i) for i in range(12)})
    (folder / "link.png").symlink_to(secret / "s.png")
    (folder / "linked").symlink_to(secret)
    (folder / "loop").symlink_to(folder)
    os.mkfifo(folder / "pipe.png")
    found = intake.examine(folder)
    assert len(found.pictures) == 12
    assert [name for name, _ in found.unreadable] == ["link.png", "pipe.png"]
    assert len(data.load(f"folder:{folder}", 8).images) == 12


@pytest.mark.parametrize(
    "name", ["folder:", "folder:../x", "folder:a/../b", "folder:a/b/c", "folder:.", "folder:a\0b", "folder:.hidden"]
)
def test_names_that_are_no_folder(name):
    assert not data.is_present(name)
    with pytest.raises(UserError, match="names no folder"):
        data.load(name)


# Keeping


def test_an_archive_is_kept_loaded_listed_and_deleted(tmp_path):
    content = archive(two_classes(24) | {"set/dog/bad.png": b"x", "set/cat/copy.png": picture(0)})
    found = intake.examine(content)
    assert everything_under(tmp_path) == []
    name = intake.keep(content, found, "My Cats & Dogs!")
    assert name == "folder:my-cats-dogs"
    assert intake.own_datasets() == [name]
    kept = everything_under(tmp_path / "home/own/my-cats-dogs")
    assert kept[0] == "cat"
    assert all(re.fullmatch(r"(cat|dog)(/\d{6}\.png)?", path) for path in kept)
    dataset = data.load(name, 16)
    assert len(dataset.images) == 25
    assert dataset.classes == ("cat", "dog")
    original = data.load(f"folder:{write(tmp_path / 'in', two_classes(24))}", 16)
    assert {bytes(image) for image in dataset.images} == {bytes(image) for image in original.images}
    with pytest.raises(UserError, match="already a dataset"):
        intake.keep(content, found, "my cats dogs")
    assert intake.keep(content, found, "fewer", copies=False) == "folder:fewer"
    assert len(data.load("folder:fewer", 16).images) == 24
    intake.delete(name)
    assert intake.own_datasets() == ["folder:fewer"]
    assert not data.is_present(name)
    assert not list((tmp_path / "home/own").glob(".*"))


def test_class_names_from_strangers_become_harmless(tmp_path):
    names = ["a<b>", "a?b?", "CAFÉ", "café", "x ..", "![x](http:y)"]
    content = archive({f"set/{name}/{i}.png": picture(17 * j + i) for j, name in enumerate(names) for i in range(3)})
    intake.keep(content, intake.examine(content), "strange")
    own = tmp_path / "home/own/strange"
    assert len(list(own.iterdir())) == len(names)
    assert all(re.fullmatch(r"\w[\w -]*", path.name) for path in own.iterdir())
    assert everything_under(tmp_path)[0] == "home"
    assert len(data.load("folder:strange", 8).classes) == len(names)


def test_preview_shows_before_and_after():
    content = archive(two_classes())
    shown = intake.preview(content, intake.examine(content), 8, 1, count=5)
    assert len(shown) == 5
    for _, before, after in shown:
        assert before.shape == (16, 20, 3)
        assert after.shape == (1, 8, 8)
        assert after.dtype == np.uint8


@pytest.mark.parametrize("name", ["digits", "folder:nothing", "folder:/etc", "folder:..", "folder:"])
def test_only_kept_datasets_are_deleted(name):
    with pytest.raises(UserError, match="not a kept dataset"):
        intake.delete(name)


def test_a_full_disk_keeps_nothing(tmp_path, monkeypatch):
    content = archive(two_classes())

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    found = intake.examine(content)
    with pytest.raises(UserError, match="disk is full"):
        intake.keep(content, found, "mine")
    assert intake.own_datasets() == []
    assert everything_under(tmp_path / "home") == ["own"]


def test_names_in_sentences_do_nothing_in_markdown():
    assert folders.plain("![x](http://e.vil/p.png)<b>`$") == "??x?(http?//e.vil/p.png)?b???"
    assert len(folders.plain("x" * 500)) == 60
