"""A run as one zip file: out as bytes, and in again with every field checked before anything is kept."""

import contextlib
import errno
import io
import json
import re
import secrets
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from genmodels import demo, directions, steering
from genmodels.config import UserError
from genmodels.data.archives import entries
from genmodels.data.folders import plain
from genmodels.families import family
from genmodels.files import disk_errors, write_atomically, write_json
from genmodels.numbers_in import ANOTHER, MB, arrays_in, check_weights, latent_size_of, most_weights
from genmodels.runs import FIGURES, MOST_CLASSES, Run, RunConfig, Status, all_runs, runs_folder

PRIOR = "prior.safetensors"  # where the codes of the run lie, learned
# What a run may hold, and how large each may be once unpacked. resume.pt stays: what travels is plain data.
FILES = {
    r"config\.json": 1 * MB,
    r"status\.json": 1 * MB,
    r"summary\.json": 1 * MB,
    r"metrics\.jsonl": 16 * MB,
    r"directions\.json": 1 * MB,
    r"steering\.jsonl": 1 * MB,
    r"weights\.safetensors": 512 * MB,
    r"prior\.safetensors": 8 * MB,
    r"(latents|live)\.npz": 128 * MB,
    r"snapshots/[0-9]{1,12}\.npz": 64 * MB,
}
MOST_FILES = 2000
MOST_BYTES = 512 * MB  # unpacked, all together: it is read into memory
MOST_STEPS = 10**9
MOST_POINTS = 100_000  # of the curves


class Point(BaseModel):
    """One line of metrics.jsonl."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)
    step: int = Field(ge=0, le=MOST_STEPS)
    epoch: float = 0.0
    seconds: float = Field(ge=0)
    images_per_second: float = Field(ge=0)
    train: dict[str, float]
    test: dict[str, float] | None = None


class Standing(Status):
    """What status.json may say."""

    doing: str = Field("", max_length=100)
    step: int = Field(0, ge=0, le=MOST_STEPS)
    epoch: float = Field(0.0, ge=0)
    seconds: float = Field(0.0, ge=0)
    share: float = Field(0.0, ge=0, le=1)
    images_per_second: float = Field(0.0, ge=0)
    device: str = Field("", max_length=100)
    error: str | None = Field(None, max_length=10_000)


class Files(Mapping[str, bytes]):
    """The files of a run in an archive, by name. Each is read when it is asked for: no two are in memory at a time."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive, self.infos = archive, dict[str, zipfile.ZipInfo]()

    def __getitem__(self, name: str) -> bytes:
        info = self.infos[name]
        try:
            return self.archive.read(info)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, NotImplementedError):
            raise UserError(f"The file {name} in the archive is damaged: download the run again.") from None

    def __contains__(self, name: object) -> bool:  # without reading it
        return name in self.infos

    def __iter__(self) -> Iterator[str]:
        return iter(self.infos)

    def __len__(self) -> int:
        return len(self.infos)


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
    most = MOST_BYTES
    if demo.on():
        demo.check_upload(file.seek(0, 2))
        demo.check_count("runs", len(all_runs()))
        most = min(most, demo.room())
    name, files = _read(file, most)
    with disk_errors("the imported run"):
        runs_folder().mkdir(parents=True, exist_ok=True)
        # A name that no run has, so that the gallery does not see it before it is whole.
        with tempfile.TemporaryDirectory(dir=runs_folder().parent, prefix=".import-") as aside:
            run = Run(Path(aside) / "run")
            _write(run, files)
            final = runs_folder() / name
            if demo.on():  # what is remembered of runs goes by their ids, so nobody may choose one
                final = runs_folder() / f"{re.sub('-([0-9a-f]{4}){2,3}$', '', name)[:80]}-{secrets.token_hex(6)}"
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


def _read(file: BinaryIO, most: int) -> tuple[str, Files]:
    """The run's id and its files by name, each known and no larger than it may be."""
    found = entries(file)
    if len(found) > MOST_FILES:
        raise UserError(f"The archive has {len(found):,} files; a run has at most {MOST_FILES:,}.")
    with zipfile.ZipFile(file) as archive:
        if sum(info.file_size for info in archive.infolist()) > most:
            raise UserError(f"The archive would unpack to more than {most // MB} MB, and there is no room for that.")
    tops = {each.name.split("/")[0] for each in found if "/" in each.name}
    prefix = f"{tops.pop()}/" if len(tops) == 1 and all("/" in each.name for each in found) else ""
    prefix = "" if prefix == "snapshots/" else prefix
    files = Files(zipfile.ZipFile(file))
    for info in files.archive.infolist():
        name = info.filename.removeprefix(prefix)
        if info.filename.endswith("/"):
            continue
        most_of_it = _limit(name)
        if most_of_it is None or name in files.infos:
            raise UserError(
                f"The archive holds '{plain(name)}', which is no part of a run: import what was downloaded."
            )
        if info.file_size > most_of_it:
            raise UserError(f"The file {name} in the archive is larger than {most_of_it // MB} MB: this is not a run.")
        files.infos[name] = info
    if "config.json" not in files:
        raise UserError("The archive has no config.json, so it is not a run: import what the gallery downloaded.")
    wished = prefix.rstrip("/")
    return wished if re.fullmatch(r"[a-z0-9][a-z0-9-]{0,99}", wished) else f"imported-{secrets.token_hex(4)}", files


def _write(run: Run, files: Files) -> None:
    """Check every file and write it anew. Raises UserError."""
    config = _config(_json(files, "config.json"))
    demo.check_model(config)
    model_losses = family(config.family).Model.LOSSES
    (run.path / "snapshots").mkdir(parents=True)
    write_json(run.path / "config.json", config.model_dump(mode="json"))
    run.write_status(_at_rest(_checked(TypeAdapter(Standing), _json(files, "status.json"), "status.json")))
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
    left = MOST_BYTES  # of all arrays together: packed twice, few bytes could be thousands of megabytes
    latent = latent_size_of(config)
    for name in files:
        if name.endswith(".npz"):
            arrays = arrays_in(name, files[name], config, latent, min(left, _limit(name) or 0))
            left -= sum(array.nbytes for array in arrays.values())
            run.write_arrays(name.removesuffix(".npz"), arrays, compress=name != "live.npz")
    if "weights.safetensors" in files:
        path = run.path / "weights.safetensors"
        if files.infos[path.name].file_size > most_weights(config):  # before any of it is read
            raise UserError(ANOTHER)
        write_atomically(path, lambda file: file.write(files["weights.safetensors"]))
        check_weights(path, config)
        if PRIOR in files:
            _write_prior(run, files[PRIOR], config)


def _json(files: Files, name: str) -> Any:
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
    if content.count(b"\n") > MOST_POINTS:
        raise UserError(f"The file metrics.jsonl in the archive has over {MOST_POINTS:,} lines: this is not a run.")
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
