"""Prepared datasets on disk: built once for each size and number of channels, read in a fraction of a second.

cache/<key>/ holds images.npy, labels.npy, factors.npy and info.json; it appears whole or not at all. Of own images it
lies in the home, which in a demo is the visitor's space; of registered datasets in the shared home.
"""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from filelock import FileLock

from genmodels.config import UserError
from genmodels.data.dataset import Report, Source
from genmodels.files import demo, disk_errors, home, read_json, shared_home, write_json

INFO = "info.json"
OWN = "folder-"  # what the keys of own images begin with
LARGE = 256 * 2**20  # bytes; images above this are memory-mapped instead of read
FORMAT = 1  # raise it when a loader gives other pixels than before


class Prepared(NamedTuple):
    """What a cache holds: images uint8 (N, C, H, W), labels (N,), factors (N, F), in the order of the source."""

    images: np.ndarray
    labels: np.ndarray
    factors: np.ndarray
    classes: tuple[str, ...]
    factor_names: tuple[str, ...]
    official: tuple[int, int] | None


def folder_of(key: str) -> Path:
    """Where the cache named `key` lies."""
    return (home() if key.startswith(OWN) else shared_home()) / "cache" / f"{key}-{FORMAT}"


def prepared(key: str, open_source: Callable[[], Source], report: Report) -> Prepared:
    """Read the cache named `key`; build it first when it is missing or damaged."""
    folder = folder_of(key)
    found = _read(folder)
    if found is not None:
        return found
    report(0.0, "Preparing the images")
    with disk_errors("the prepared dataset"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        # One process builds, any other waits here and then reads what was built. In a space there is one at a time, so
        # that each finds the room that the one before has left.
        name = OWN if demo() and key.startswith(OWN) else folder.name
        with FileLock(folder.with_name(f".{name}.lock")):
            found = _read(folder)
            if found is None:
                _build(folder, open_source(), report)
                found = _read(folder)
    if found is None:
        place = "" if demo() else f" in {folder}"
        raise UserError(f"The prepared dataset{place} could not be read back: check that disk and try again.")
    return found


def forget(prefix: str, keep: str = "") -> None:
    """Remove the caches of own images whose keys begin with `prefix`, but not with `keep`. Who reads one may go on."""
    for folder in (home() / "cache").glob(f"{prefix}*"):
        if not keep or not folder.name.startswith(keep):
            shutil.rmtree(folder, ignore_errors=True)


def trim(most: int) -> None:
    """Remove those shared caches that were not read for longest, until no more than `most` bytes are left."""
    found = []
    for folder in (shared_home() / "cache").glob("[!.]*"):
        with contextlib.suppress(OSError):
            size = sum(each.stat().st_size for each in folder.iterdir())
            found.append(((folder / INFO).stat().st_mtime, size, folder))
    for _, size, folder in sorted(found, reverse=True):
        most -= size
        if most < 0:
            shutil.rmtree(folder, ignore_errors=True)


def _read(folder: Path) -> Prepared | None:
    """What is in the folder, or None when it is missing or damaged."""
    try:
        info = read_json(folder / INFO)
        if demo():
            os.utime(folder / INFO)  # so that `trim` knows what is in use
        # In a demo all processes and visitors share one copy in memory of what they look at.
        large = demo() or (folder / "images.npy").stat().st_size > LARGE
        # Copy on write: arrays stay writable, as torch.from_numpy wants, and the file is never changed.
        images = np.load(folder / "images.npy", mmap_mode="c" if large else None)
        labels, factors = np.load(folder / "labels.npy"), np.load(folder / "factors.npy")
        if list(images.shape) != info["shape"] or len(labels) != len(images) or len(factors) != len(images):
            return None
        official = (int(info["official"][0]), int(info["official"][1])) if info["official"] else None
        return Prepared(images, labels, factors, tuple(info["classes"]), tuple(info["factor_names"]), official)
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _build(folder: Path, source: Source, report: Report) -> None:
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # left by a process that was killed; the lock says nobody is writing it
    part.mkdir()
    try:
        with (part / "images.npy").open("wb") as file:
            shape, labels, factors = _write_images(file, source, report)
            _flush(file)
        for name, array in (("labels", labels), ("factors", factors)):
            with (part / f"{name}.npy").open("wb") as file:
                np.save(file, array)
                _flush(file)
        info = {"shape": shape, "classes": source.classes, "factor_names": source.factor_names}
        write_json(part / INFO, info | {"official": source.official})
        shutil.rmtree(folder, ignore_errors=True)
        os.rename(part, folder)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _write_images(file: BinaryIO, source: Source, report: Report) -> tuple[tuple[int, ...], np.ndarray, np.ndarray]:
    """Append block after block, so that the images are never all in memory; then write how many there were."""
    count, shape, labels, factors = 0, (0, 1, 1, 1), [np.zeros(0, np.int64)], []
    _header(file, shape)
    for images, block_labels, block_factors in source.blocks:
        count += len(images)
        shape = (count, *images.shape[1:])
        file.write(np.ascontiguousarray(images).data)
        labels.append(block_labels)
        factors.append(block_factors)
        report(min(1.0, count / max(1, source.count)), f"Prepared {count:,} images")
    file.seek(0)
    _header(file, shape)
    return shape, np.concatenate(labels), np.concatenate(factors) if factors else np.zeros((0, 0), np.float32)


def _header(file: BinaryIO, shape: tuple[int, ...]) -> None:
    """numpy pads this header so that it keeps its length when the number of images grows."""
    np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})


def _flush(file: BinaryIO) -> None:
    """To the disk itself: after a power cut a cache must not have its full length and zeros inside."""
    file.flush()
    os.fsync(file.fileno())
