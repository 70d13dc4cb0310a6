"""A run as one zip file: out as bytes, and in again with every field checked before anything is kept."""

import contextlib
import errno
import io
import json
import math
import re
import secrets
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from genmodels import directions, steering
from genmodels.config import UserError
from genmodels.data.archives import entries
from genmodels.data.folders import plain
from genmodels.families import family
from genmodels.files import disk_errors, write_atomically, write_json
from genmodels.runs import FIGURES, MOST_CLASSES, Run, RunConfig, Status, runs_folder

MB = 2**20
PRIOR = "prior.safetensors"  # where the codes of the run lie, learned
# What a run may hold, and how large each may be once unpacked. resume.pt stays: what travels is plain data.
FILES = {
    r"config\.json": 1 * MB,
    r"status\.json": 1 * MB,
    r"summary\.json": 1 * MB,
    r"metrics\.jsonl": 64 * MB,
    r"directions\.json": 1 * MB,
    r"steering\.jsonl": 1 * MB,
    r"weights\.safetensors": 1024 * MB,
    r"prior\.safetensors": 8 * MB,
    r"(latents|live)\.npz": 512 * MB,
    r"snapshots/[0-9]{1,12}\.npz": 64 * MB,
}
MOST_FILES = 2000
MOST_BYTES = 512 * MB  # unpacked, all together: it is read into memory
ARRAYS = {"u1": np.uint8, "i8": np.int64, "f2": np.float16, "f4": np.float32}
FLOATS = ("means", "log_vars", "centroids", "latents", "kl")
VIEWS = ("inputs", "translations", "targets", "cycled")  # row i of each belongs to row i of the others


class Point(BaseModel):
    """One line of metrics.jsonl."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    step: int = Field(ge=0)
    epoch: float = 0.0
    seconds: float = Field(ge=0)
    images_per_second: float = Field(ge=0)
    train: dict[str, float]
    test: dict[str, float] | None = None


def pack(run: Run) -> bytes:
    """The run as a zip with one folder in it, named after the run. A run still at work is packed as it stands."""
    buffer, apart = io.BytesIO(), {"status.json", directions.FILE}
    if run.changed(PRIOR) and not _is_current(run):
        apart.add(PRIOR)  # it would be taken for one of the weights that travel with it
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(run.path.rglob("*")):
            name = path.relative_to(run.path).as_posix()
            if path.is_file() and _limit(name) and name not in apart:
                with contextlib.suppress(FileNotFoundError):  # a worker may just have put another in its place
                    archive.writestr(f"{run.id}/{name}", path.read_bytes())
        with contextlib.suppress(FileNotFoundError):
            archive.writestr(f"{run.id}/{directions.FILE}", directions.place(run).read_bytes())
        archive.writestr(f"{run.id}/status.json", json.dumps(_at_rest(run.status()).model_dump()))
    return buffer.getvalue()


def unpack(given: bytes | BinaryIO) -> Run:
    """Import a packed run under its own id, or a new one where that is taken. Raises UserError and keeps nothing."""
    file = io.BytesIO(given) if isinstance(given, bytes) else given
    name, files = _read(file)
    with disk_errors("the imported run"):
        runs_folder().mkdir(parents=True, exist_ok=True)
        # A name that no run has, so that the gallery does not see it before it is whole.
        with tempfile.TemporaryDirectory(dir=runs_folder().parent, prefix=".import-") as aside:
            run = Run(Path(aside) / "run")
            _write(run, files)
            final = runs_folder() / name
            while True:
                try:
                    return Run(run.path.rename(final))  # refused where something stands already
                except OSError as error:
                    if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                        raise
                    final = runs_folder() / f"{name[:80]}-{secrets.token_hex(4)}"


def _limit(name: str) -> int | None:
    """The most bytes a file of that name may have; None where a run has no such file."""
    return next((most for pattern, most in FILES.items() if re.fullmatch(pattern, name)), None)


def _at_rest(status: Status) -> Status:
    """Without a worker: what was active counts as stopped."""
    state = "stopped" if status.active else status.state
    return status.model_copy(update={"state": state, "pid": None, "doing": "", "images_per_second": 0.0})


def _read(file: BinaryIO) -> tuple[str, dict[str, bytes]]:
    """The run's id and its files by name, each known and no larger than it may be."""
    found = entries(file)
    if len(found) > MOST_FILES:
        raise UserError(f"The archive has {len(found):,} files; a run has at most {MOST_FILES:,}.")
    with zipfile.ZipFile(file) as archive:
        if sum(info.file_size for info in archive.infolist()) > MOST_BYTES:
            raise UserError(f"The archive would unpack to more than {MOST_BYTES // MB} MB; a run is smaller.")
    tops = {each.name.split("/")[0] for each in found if "/" in each.name}
    prefix = f"{tops.pop()}/" if len(tops) == 1 and all("/" in each.name for each in found) else ""
    prefix = "" if prefix == "snapshots/" else prefix
    files: dict[str, bytes] = {}
    with zipfile.ZipFile(file) as archive:
        for info in archive.infolist():
            name = info.filename.removeprefix(prefix)
            if info.is_dir():
                continue
            most = _limit(name)
            if most is None or name in files:
                raise UserError(
                    f"The archive holds '{plain(name)}', which is no part of a run: import what was downloaded."
                )
            if info.file_size > most:
                raise UserError(f"The file {name} in the archive is larger than {most // MB} MB: this is not a run.")
            try:
                files[name] = archive.read(info)
            except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError):
                raise UserError(f"The file {name} in the archive is damaged: download the run again.") from None
    if "config.json" not in files:
        raise UserError("The archive has no config.json, so it is not a run: import what the gallery downloaded.")
    wished = prefix.rstrip("/")
    return wished if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,99}", wished) else f"imported-{secrets.token_hex(4)}", files


def _write(run: Run, files: dict[str, bytes]) -> None:
    """Check every file and write it anew. Raises UserError."""
    config = _config(_json(files, "config.json"))
    model_losses = family(config.family).Model.LOSSES
    (run.path / "snapshots").mkdir(parents=True)
    write_json(run.path / "config.json", config.model_dump(mode="json"))
    run.write_status(_at_rest(_checked(TypeAdapter(Status), _json(files, "status.json"), "status.json")))
    if "metrics.jsonl" in files:
        text = _metrics(files["metrics.jsonl"], set(model_losses))
        write_atomically(run.path / "metrics.jsonl", lambda file: file.write(text))
    if "summary.json" in files:
        found = _checked(FIGURES, _json(files, "summary.json"), "summary.json")
        write_json(run.path / "summary.json", found)
    if steering.RECORD in files:
        try:
            steering.replace(run, steering.parsed(files[steering.RECORD], config))
        except UserError as error:
            raise UserError(f"The steering record in the archive is damaged: {error}") from None
    if directions.FILE in files:
        found = _json(files, directions.FILE)
        directions.checked(found, config)
        write_json(run.path / directions.FILE, found)
    for name, content in files.items():
        if name.endswith(".npz"):
            arrays = _arrays(name, content, config)
            run.write_arrays(name.removesuffix(".npz"), arrays, compress=name != "live.npz")
    if "weights.safetensors" in files:
        path = run.path / "weights.safetensors"
        write_atomically(path, lambda file: file.write(files["weights.safetensors"]))
        _check_weights(path, config)
        if PRIOR in files:
            _write_prior(run, files[PRIOR], config)


def _json(files: dict[str, bytes], name: str) -> Any:
    try:
        return json.loads(files[name])
    except KeyError:
        raise UserError(f"The archive has no {name}, so it is not a whole run: download it again.") from None
    except (ValueError, RecursionError):
        raise UserError(
            f"The file {name} in the archive is damaged (not valid JSON): download the run again."
        ) from None


def _checked(kind: TypeAdapter[Any], value: Any, name: str) -> Any:
    try:
        return kind.validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        raise UserError(
            f"The file {name} in the archive is not what it should be: {plain(place)}: {first['msg']}."
        ) from None


def _config(value: Any) -> RunConfig:
    config: RunConfig = _checked(TypeAdapter(RunConfig), value, "config.json")
    texts = [
        config.dataset,
        config.created,
        config.parent or "",
        *config.classes,
        *config.versions,
        *config.versions.values(),
    ]
    if len(config.classes) > MOST_CLASSES or len(config.versions) > 20 or any(len(text) > 300 for text in texts):
        raise UserError("The file config.json in the archive has names too many or too long for a run.")
    config.model_config_of_family()
    return config


def _metrics(content: bytes, losses: set[str]) -> bytes:
    """Whole lines only, in order, with the family's losses."""
    lines, last = [], -1
    for number, line in enumerate(content.split(b"\n")[:-1], 1):
        try:
            point = Point.model_validate_json(line)
        except ValidationError:
            raise UserError(
                f"Line {number} of metrics.jsonl in the archive is damaged: download the run again."
            ) from None
        if point.step <= last or not set(point.train) | set(point.test or {}) <= losses:
            raise UserError(f"Line {number} of metrics.jsonl in the archive does not belong to such a run.")
        last = point.step
        lines.append(point.model_dump_json(exclude_none=True).encode() + b"\n")
    return b"".join(lines)


def _arrays(name: str, content: bytes, config: RunConfig) -> dict[str, np.ndarray]:
    """The arrays of an .npz. Sizes are read from the headers, and added up, before any array is made."""
    wrong = UserError(f"The file {name} in the archive is damaged or not what it should be: download the run again.")
    arrays, left = {}, _limit(name) or 0
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if len(archive.infolist()) > 50:
                raise wrong
            for info in archive.infolist():
                with archive.open(info) as member:
                    shape, dtype = _header(member)
                    left -= math.prod(shape) * dtype.itemsize
                    key = info.filename.removesuffix(".npy")
                    if left < 0 or key in arrays or not _fits(key, shape, dtype, config):
                        raise wrong
                    data = member.read(math.prod(shape) * dtype.itemsize)
                    arrays[key] = np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, KeyError, NotImplementedError, RuntimeError):
        raise wrong from None
    if "originals" in arrays and len(arrays["originals"]) != len(arrays.get("reconstructions", ())):
        raise wrong
    if len({len(arrays[each]) for each in VIEWS if each in arrays}) > 1:
        raise wrong
    return arrays


def _header(member: Any) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type, in C order, of an .npy whose header is short and plain. Raises ValueError."""
    if np.lib.format.read_magic(member) != (1, 0):
        raise ValueError("an .npy of another version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(member, max_header_size=10_000)
    if fortran or dtype.str[1:] not in ARRAYS or len(shape) > 4 or math.prod(shape) < 0:
        raise ValueError("an array that no run has")
    return shape, dtype


def _fits(key: str, shape: tuple[int, ...], dtype: np.dtype[Any], config: RunConfig) -> bool:
    """Whether an array of that name may look so."""
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,40}", key):
        return False
    if key in ("labels", "read_as", "which"):
        return dtype.kind in "iu" and len(shape) == 1
    if key in FLOATS:
        return dtype.kind == "f" and len(shape) == (1 if key == "kl" else 2)
    return dtype.kind == "u" and len(shape) == 4 and 1 <= shape[0] <= 4096 and shape[1:] == config.shape


def _check_weights(path: Path, config: RunConfig) -> None:
    """Names, shapes and types are those of the model that the config describes; nothing is allocated to find out."""
    import torch
    from safetensors import SafetensorError, safe_open

    kinds = {torch.float32: ("F32", "F16"), torch.int64: ("I64",)}
    with torch.device("meta"):
        expected = dict(config.build().state_dict())
    try:
        with safe_open(path, framework="pt") as file:
            same = set(file.keys()) == set(expected) and all(
                tuple(file.get_slice(name).get_shape()) == tuple(tensor.shape)
                and file.get_slice(name).get_dtype() in kinds[tensor.dtype]
                for name, tensor in expected.items()
            )
    except SafetensorError:
        raise UserError("The weights in the archive are damaged: download the run again.") from None
    if not same:
        raise UserError("The weights in the archive belong to another model than its config.json describes.")


def _is_current(run: Run) -> bool:
    """Whether where the codes lie was learned of the weights as they are."""
    from genmodels.analysis.learned_prior import stamp_of

    return stamp_of(run.path / PRIOR) == run.stamp


def _write_prior(run: Run, content: bytes, config: RunConfig) -> None:
    """Where the codes lie: names, shapes and numbers are checked, and it is bound to the weights as written here."""
    import torch

    from genmodels.analysis import learned_prior
    from genmodels.families.contract import latent_size

    with torch.device("meta"):
        model = config.build()
    path = run.path / PRIOR
    write_atomically(path, lambda file: file.write(content))
    try:
        if latent_size(model) > learned_prior.LARGEST:
            raise UserError("Codes as long as these have none.")
        prior = learned_prior.load(path, model, None)
    except (UserError, AttributeError):  # codes that no flow can learn, or none at all
        raise UserError(f"The file {PRIOR} in the archive is damaged: download the run again.") from None
    learned_prior.save(prior, path, run.stamp)  # type: ignore[arg-type]  # it was just written
