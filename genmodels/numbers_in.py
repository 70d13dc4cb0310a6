"""What of an archive is numbers: arrays and weights, checked by their headers before any of it is believed."""

import io
import math
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from genmodels.config import UserError
from genmodels.families import family
from genmodels.runs import RunConfig

MB = 2**20
MOST_ROWS = 25_000  # images whose codes a run keeps: the largest test set, of EMNIST, has 20,800
ARRAYS = {"u1": np.uint8, "i8": np.int64, "f2": np.float16, "f4": np.float32}
NPY = b"\x93NUMPY\1\0"  # how a file of the format's version 1.0 begins
HEADER = re.compile(
    rb"\{'descr': '(?P<order>[<>|])(?P<kind>[a-z]\d)', 'fortran_order': False, "
    rb"'shape': \((?P<shape>\d{1,9},|\d{1,9}(?:, \d{1,9}){1,3}|)\), \} *\n"
)
FLOATS = ("means", "log_vars", "centroids", "latents", "kl")
NUMBERS = ("labels", "read_as", "which")
VIEWS = ("inputs", "translations", "targets", "cycled")  # row i of each belongs to row i of the others
ANOTHER = "The weights in the archive belong to another model than its config.json describes."


def arrays_in(name: str, content: bytes, config: RunConfig, latent: int | None, most: int) -> dict[str, np.ndarray]:
    """The arrays of an .npz, of at most so many bytes. Sizes are read from the headers before any array is made.

    latent: `latent_size_of` the run. Raises UserError.
    """
    wrong = UserError(f"The file {name} in the archive is damaged or not what it should be: download the run again.")
    arrays, left = {}, most
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.infolist()) > 50:
                raise wrong
            for info in archive.infolist():
                with archive.open(info) as member:
                    shape, dtype = _header(member)
                    left -= math.prod(shape) * dtype.itemsize
                    key = info.filename.removesuffix(".npy")
                    if left < 0 or key in arrays or not _fits(key, shape, dtype, config, latent):
                        raise wrong
                    data = member.read(math.prod(shape) * dtype.itemsize)
                    arrays[key] = np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, NotImplementedError, RuntimeError):
        raise wrong from None
    if "originals" in arrays and len(arrays["originals"]) != len(arrays.get("reconstructions", ())):
        raise wrong
    if len({len(arrays[each]) for each in VIEWS if each in arrays}) > 1:
        raise wrong
    for key in NUMBERS:
        found, most = arrays.get(key, np.zeros(0, np.int64)), max(1, len(config.classes))
        if len(found) and (found.min() < 0 or (key == "labels" and found.max() >= most)):
            raise wrong
    return arrays


def latent_size_of(config: RunConfig) -> int | None:
    """Numbers in a code of the model that the config describes; None where images have no code."""
    import torch

    from genmodels.families.contract import latent_size

    if "encode" not in family(config.family).abilities:
        return None
    try:
        with torch.device("meta"):
            return latent_size(config.build())
    except UserError:  # no such model: no code is of it
        return None


def _header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type, in C order, of an .npy as numpy writes it. Raises ValueError; nothing in it is evaluated."""
    start = member.read(10)
    found = HEADER.fullmatch(member.read(int.from_bytes(start[8:], "little")) if start[:8] == NPY else b"")
    if not found or found["kind"].decode() not in ARRAYS:
        raise ValueError("an array that no run has")
    shape = tuple(int(each) for each in found["shape"].split(b",") if each.strip())
    return shape, np.dtype((found["order"] + found["kind"]).decode())


def _fits(key: str, shape: tuple[int, ...], dtype: np.dtype[Any], config: RunConfig, latent: int | None) -> bool:
    """Whether an array of that name may look so."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", key):
        return False
    if key in NUMBERS:
        return dtype.kind in "iu" and len(shape) == 1 and shape[0] <= MOST_ROWS
    if key in FLOATS:
        rows = shape[0] <= MOST_ROWS and len(shape) == (1 if key == "kl" else 2)
        return rows and dtype.kind == "f" and shape[-1] == latent
    return dtype.kind == "u" and len(shape) == 4 and 1 <= shape[0] <= 4096 and shape[1:] == config.shape


def most_weights(config: RunConfig) -> int:
    """Bytes that a file of its weights has at most; nothing is allocated to find out."""
    import torch

    with torch.device("meta"):
        return 1 * MB + sum(tensor.nbytes for tensor in config.build().state_dict().values())


def check_weights(path: Path, config: RunConfig) -> None:
    """Names, shapes and types are those of the model that the config describes; nothing is allocated to find out.

    A network may be kept as its moving average alone.
    """
    import torch
    from safetensors import SafetensorError, safe_open

    from genmodels.nn import followed

    kinds = {torch.float32: ("F32", "F16"), torch.int64: ("I64",)}
    with torch.device("meta"):
        model = config.build()
    expected = dict(model.state_dict())
    try:
        with safe_open(path, framework="pt") as file:
            names = set(file.keys())
            same = expected.keys() - followed(model).keys() <= names <= expected.keys() and all(
                tuple(file.get_slice(name).get_shape()) == tuple(expected[name].shape)
                and file.get_slice(name).get_dtype() in kinds[expected[name].dtype]
                for name in names
            )
    except SafetensorError:
        raise UserError("The weights in the archive are damaged: download the run again.") from None
    if not same:
        raise UserError(ANOTHER)
