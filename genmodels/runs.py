"""A run on disk: a folder that any tool can read, and that nothing but its one worker writes while it trains."""

import contextlib
import json
import re
import secrets
import shutil
import time
import zipfile
import zlib
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NotRequired

import numpy as np
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, with_config
from typing_extensions import TypedDict  # that of typing is enough from Python 3.12

from genmodels import data, demo
from genmodels.config import Config, Schedule, UserError
from genmodels.data.selection import Selection
from genmodels.families import build, family
from genmodels.files import disk_errors, home, read_json, read_json_lines, remembered, write_atomically, write_json

if TYPE_CHECKING:
    from torch import nn

Wish = Literal["run", "pause", "stop"]
Whole = Annotated[int, Field(ge=-(2**63), lt=2**63)]
ID = re.compile(r"[a-z0-9][a-z0-9-]{0,99}")
ZOO = Path(__file__).parent / "zoo"  # runs that come with the package
# Of these, what a page opens on unasked.
FIRST = ("conditional-gan-mnist", "vae-mnist", "pix2pix-edges-mnist", "diffusion-mnist")
STARTING = 20.0  # seconds a worker may take until it holds its lock
WAITING = "waiting"  # what a queued run of a demo is doing: it gets a worker when it is called
MOST_CLASSES = 1000
MOST_REMEMBERED = 2**20  # bytes of curves, which in memory are six times as many
_version = lru_cache(version)  # to look it up takes milliseconds


class RunConfig(Config):
    """Enough to run it again."""

    family: str
    knobs: dict[str, Any] = Field(default_factory=dict)
    dataset: str
    size: int | None = Field(default=None, ge=8, le=64)
    channels: int | None = None
    seed: int = Field(default=0, ge=0, le=2**31 - 1)
    selection: Selection | None = None  # training images that it does not learn from
    schedule: Schedule = Schedule()
    shape: tuple[int, int, int]
    classes: tuple[str, ...] = ()
    created: str = Field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="milliseconds"))
    versions: dict[str, str] = Field(default_factory=lambda: {name: _version(name) for name in ("torch", "numpy")})
    parent: str | None = None  # the run this one is a changed copy of
    experiment: str | None = Field(default=None, pattern="^[0-9a-f]{8}$")  # those started together

    @field_validator("channels")
    @classmethod
    def _grey_or_colour(cls, channels: int | None) -> int | None:
        if channels not in (None, 1, 3):
            raise ValueError("images have 1 or 3 channels")
        return channels

    def model_config_of_family(self) -> Config:
        """The family's own Config, checked. Raises UserError."""
        return family(self.family).Config.of(self.knobs)

    def images(self) -> int:
        """How many it learns from. Raises UserError."""
        return data.load(self.dataset, self.size, self.channels, self.seed).sizes[0]

    def build(self) -> "nn.Module":
        """The model with its initial weights. Raises UserError."""
        return build(self.family, self.model_config_of_family(), self.shape, len(self.classes), self.seed)


class Status(BaseModel):
    """Where a run stands, said a few times a second while it trains."""

    model_config = ConfigDict(allow_inf_nan=False)
    state: Literal["queued", "running", "paused", "stopped", "finished", "failed"] = "queued"
    doing: str = ""
    step: int = Field(default=0, ge=0, le=10**12)
    epoch: float = 0.0
    seconds: float = 0.0
    share: float = 0.0
    images_per_second: float = 0.0
    device: str = ""
    pid: int | None = None
    heartbeat: float = Field(default_factory=time.time)
    since: float | None = None  # when a worker was asked for, by the machine's own clock, which nobody sets
    error: str | None = None

    @property
    def active(self) -> bool:
        """A worker is at it or will be."""
        return self.state in ("queued", "running", "paused")

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before there is one."""
        return self.seconds * (1 - self.share) / self.share if self.share > 0 else None


@with_config(extra="forbid", allow_inf_nan=False)
class Figure(TypedDict):
    """One entry of summary.json; parts only where there are any."""

    value: Whole | float
    unit: Annotated[str, Field(max_length=200)]
    better: Literal["lower", "higher", "neither"]
    n: Annotated[Whole, Field(ge=0)]
    floor: float | None
    parts: NotRequired[Annotated[dict[Annotated[str, Field(max_length=300)], float], Field(max_length=MOST_CLASSES)]]


FIGURES = TypeAdapter(dict[Annotated[str, Field(pattern="^[a-z][a-z0-9_]{0,60}$")], Figure])


class Run:
    """One folder. Reading never changes it, but for one thing: a dead worker's run is marked as such."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def id(self) -> str:
        return self.path.name

    @property
    def shipped(self) -> bool:
        """Whether it came with the package: to look at, never to change."""
        return self.path.parent == ZOO

    @cached_property
    def config(self) -> RunConfig:
        try:
            return remembered(self.path / "config.json", _config)
        except FileNotFoundError:
            raise UserError(f"The run {self.id} has no config.json: it is not a run, or it was deleted.") from None
        except ValidationError as error:
            raise UserError(f"The file config.json of run {self.id} is damaged: {error.errors()[0]['msg']}.") from None

    @cached_property
    def model(self) -> "nn.Module":
        """The trained model on the processor, in evaluation mode. Shared: never train or move it. Raises UserError."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from genmodels.nn import completed

        model = self.config.build()
        try:
            model.load_state_dict(completed(load_file(self.path / "weights.safetensors"), model))
        except FileNotFoundError:
            raise UserError(f"The run {self.id} has no weights yet: wait for its first checkpoint.") from None
        except (SafetensorError, RuntimeError):
            raise UserError(
                f"The weights of run {self.id} are damaged or belong to another model: resume the run or train again."
            ) from None
        return model.eval()

    # -- status and wishes

    def lock(self) -> FileLock:
        """Held by the run's worker as long as it lives: the system lets go of it even after a kill."""
        return FileLock(self.path / "worker.lock", is_singleton=False)

    def status(self) -> Status:
        """Where it stands, never 'running' when its worker is gone. A damaged file reads as failed."""
        status = self._written_status()
        asked = time.time() - status.heartbeat if status.since is None else time.monotonic() - status.since
        fresh = abs(asked) < STARTING
        if not status.active or (status.pid is None and (fresh or status.doing == WAITING)):
            return status
        try:
            with self.lock().acquire(blocking=False):
                # The worker may have finished between the reading and the locking.
                status = self._written_status()
                if status.active:
                    status = self._orphaned(status)
                    with contextlib.suppress(UserError):  # said, though it cannot be written
                        self.write_status(status)
        except Timeout:
            pass  # its worker lives
        except OSError:
            status = self._orphaned(status)
        return status

    def _written_status(self) -> Status:
        try:
            return Status.model_validate(read_json(self.path / "status.json"))
        except FileNotFoundError:
            return Status(state="failed", error="This run has no status.json: it was not started, or was deleted.")
        except (UserError, ValidationError):
            return Status(state="failed", error="The file status.json is damaged: resume the run to write it anew.")

    def _orphaned(self, status: Status) -> Status:
        if status.state == "paused":
            status = status.model_copy(update={"state": "stopped", "doing": ""})
        else:
            words = "The training process ended unexpectedly; resume goes on from the last checkpoint."
            lines = "" if demo.on() else self.last_words()  # which tell strangers of the server
            error = f"{words} Its last lines: {lines}" if lines else words
            status = status.model_copy(update={"state": "failed", "doing": "", "error": error})
        return status

    def can_resume(self, status: Status) -> bool:
        """Paused, or ended before its budget with a checkpoint to go on from. An imported run has none."""
        if status.state in ("stopped", "failed"):
            return (self.path / "resume.pt").exists() or status.step == 0
        return status.state == "paused"

    def last_words(self, lines: int = 5) -> str:
        """The end of the worker's log, without the indented lines of a traceback: what happened, not where."""
        log = self.path / "log.txt"
        told = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        return "\n".join([line for line in told if line and not line.startswith((" ", "Traceback"))][-lines:])

    def write_status(self, status: Status) -> None:
        write_json(self.path / "status.json", status.model_dump())

    @property
    def wish(self) -> Wish:
        """What the person wants; a missing or damaged file means: go on."""
        try:
            want = read_json(self.path / "request.json")["want"]
        except (FileNotFoundError, UserError, KeyError, TypeError):
            return "run"
        return want if want in ("pause", "stop") else "run"

    def ask(self, want: Wish) -> None:
        write_json(self.path / "request.json", {"want": want})

    # -- what training left

    def changed(self, name: str) -> int:
        """When a file of the run was last written, in nanoseconds; 0 where there is none."""
        try:
            return (self.path / name).stat().st_mtime_ns
        except FileNotFoundError:
            return 0

    @property
    def stamp(self) -> int:
        """When its weights were last written, in nanoseconds; 0 where there are none, as of a run that was deleted."""
        return self.changed("weights.safetensors")

    def metrics(self) -> list[dict[str, Any]]:
        """The points of the curves. A last line that is still being written, or was cut off, is left out."""
        try:
            found = remembered(self.path / "metrics.jsonl", read_json_lines, MOST_REMEMBERED)
            return [each for each in found if is_point(each)]
        except FileNotFoundError:
            return []

    def newest_point(self) -> dict[str, Any] | None:
        """The last point of the curves, read from the end of the file."""
        try:
            with (self.path / "metrics.jsonl").open("rb") as file:
                file.seek(max(0, file.seek(0, 2) - 8192))
                lines = file.read().split(b"\n")[:-1]
                point = json.loads(lines[-1]) if lines else None
                return point if is_point(point) else None
        except (FileNotFoundError, ValueError):
            return None

    def append_metrics(self, point: dict[str, Any]) -> None:
        with disk_errors("metrics.jsonl"), (self.path / "metrics.jsonl").open("ab") as file:
            file.write(json.dumps(point, allow_nan=False).encode() + b"\n")

    def snapshots(self) -> list[int]:
        """The steps of which there is a snapshot, in order."""
        return sorted(int(path.stem) for path in (self.path / "snapshots").glob("*.npz") if path.stem.isdecimal())

    def arrays(self, name: str) -> dict[str, np.ndarray]:
        """An .npz of the run ('latents', 'live' or 'snapshots/<step>'), or {} where there is none. Raises UserError."""
        path = self.path / f"{name}.npz"
        try:
            with np.load(path, allow_pickle=False) as file:
                return dict(file)
        except FileNotFoundError:
            return {}
        except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, zlib.error):
            raise UserError(f"The file {name}.npz of run {self.id} is damaged: delete it or train again.") from None

    def write_arrays(self, name: str, arrays: dict[str, np.ndarray], *, compress: bool = True) -> None:
        save = np.savez_compressed if compress else np.savez
        write_atomically(self.path / f"{name}.npz", lambda file: save(file, **arrays))  # type: ignore[arg-type]

    def summary(self) -> dict[str, Any]:
        """Final metrics, name -> {value, unit, better, n, floor}, with parts where it has any; {} before the end.

        Raises UserError.
        """
        try:
            return FIGURES.validate_python(read_json(self.path / "summary.json"))
        except FileNotFoundError:
            return {}
        except ValidationError:
            raise UserError(f"The file summary.json of run {self.id} is damaged: delete it or train again.") from None

    def forget_after(self, step: int) -> None:
        """Drop what is later than `step`: points, snapshots and final figures. A resumed run writes them again."""
        lines = b"".join(json.dumps(p).encode() + b"\n" for p in self.metrics() if p["step"] <= step)
        write_atomically(self.path / "metrics.jsonl", lambda file: file.write(lines), durable=True)
        for name in ("summary.json", "latents.npz"):
            (self.path / name).unlink(missing_ok=True)
        for later in (s for s in self.snapshots() if s > step):
            (self.path / "snapshots" / f"{later}.npz").unlink()

    def delete(self) -> None:
        """Remove the folder. A run that is being trained, or whose worker still writes, is refused."""
        if self.shipped:
            raise UserError(f"The run {self.id} comes with the app and stays.")
        if self.status().active:
            raise UserError(f"The run {self.id} is still active: stop it before deleting it.")
        try:
            with self.lock().acquire(timeout=1), disk_errors(f"the deletion of {self.id}"):
                # Out of the gallery at once; a name that begins with a dot is no run.
                gone = self.path.rename(self.path.with_name(f".gone-{self.id}-{secrets.token_hex(4)}"))
                shutil.rmtree(gone)
        except Timeout:
            raise UserError(f"The run {self.id} is still saving its last figures: try again in a moment.") from None
        except FileNotFoundError:
            pass  # somebody else deleted it


def _config(path: Path) -> RunConfig:
    config = RunConfig.model_validate(read_json(path))
    family(config.family)  # refuses one that only a newer version has
    return config


def is_point(value: Any) -> bool:
    """Whether a line of metrics.jsonl is a point of the curves."""
    return isinstance(value, dict) and isinstance(value.get("step"), int) and isinstance(value.get("train"), dict)


def runs_folder() -> Path:
    return home() / "runs"


def by_id(run_id: str) -> Run:
    """The run of that id in this home or the package, or a UserError. Never a path: an address bar may name it."""
    for folder in (runs_folder(), ZOO):
        if ID.fullmatch(run_id) and (folder / run_id / "config.json").is_file():
            return Run(folder / run_id)
    raise UserError(f"There is no run '{run_id[:100]}' here: it may have been deleted; see the gallery.")


def find(name: str | Path) -> Run:
    """A run by its id, or by the path of its folder; else a UserError."""
    if (Path(name) / "config.json").is_file():
        return Run(Path(name).absolute())
    return by_id(str(name))


def all_runs() -> list[Run]:
    """Every run in the home, newest first."""
    found = []
    for path in runs_folder().glob("*/config.json"):
        with contextlib.suppress(FileNotFoundError):  # deleted meanwhile
            if ID.fullmatch(path.parent.name):
                found.append((path.stat().st_mtime_ns, Run(path.parent)))
    return [run for _, run in sorted(found, key=lambda pair: pair[0], reverse=True)]


def shipped_runs() -> list[Run]:
    """The runs that come with the package, those that a page opens on unasked first."""
    names = sorted(path.parent.name for path in ZOO.glob("*/config.json"))
    return [Run(ZOO / name) for name in dict.fromkeys([*(each for each in FIRST if each in names), *names])]


def create(config: RunConfig, path: Path | None = None) -> Run:
    """Make the folder of a new run, whole or not at all. Raises UserError for settings that cannot be trained."""
    if demo.on():
        demo.check_run(config, all_runs())
    config.build()  # refuses what its family cannot train, before anything is written
    dataset = re.sub(r"[^a-z0-9]+", "-", config.dataset.lower()).strip("-")[-30:].strip("-")
    path = path or runs_folder() / f"{config.family}-{dataset}-{secrets.token_hex(6 if demo.on() else 4)}"
    if path.exists():
        raise UserError(f"There is already something at {path}: choose another folder for the run.")
    with disk_errors("the run"):
        path.mkdir(parents=True)
        try:
            (path / "snapshots").mkdir()
            run = Run(path)
            run.write_status(Status(state="stopped"))
            # Last, because a folder with a config.json is a run.
            write_json(path / "config.json", config.model_dump(mode="json"))
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
    return run
