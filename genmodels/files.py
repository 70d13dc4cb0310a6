"""Where things live, and writing so that a reader never sees half a file.

In a hosted demo (GENMODELS_DEMO=1) everything that is a visitor's own lies in a space, the folder
shared_home()/spaces/<key>, and `home` is that space. Who works for nobody is refused rather than shown another's.
"""

import errno
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from platformdirs import user_data_path

from genmodels.config import UserError

Kept = TypeVar("Kept")

UMASK = os.umask(0o022)
os.umask(UMASK)
READABLE = 0o666 & ~UMASK


SHIPPED = "shipped"  # a folder of a home with what was added to the runs that come with the app
KEY = re.compile(r"[0-9a-f]{32}")  # of a space: 128 bits that nobody guesses

_space: ContextVar[str | None] = ContextVar("space", default=None)
_finders: list[Callable[[], str | None]] = []


def demo() -> bool:
    """Whether this is a demo that is open to strangers: GENMODELS_DEMO=1."""
    return os.environ.get("GENMODELS_DEMO") == "1"


def shared_home() -> Path:
    """Where everything lives that is nobody's alone: GENMODELS_HOME, or the user's data folder."""
    return Path(os.environ.get("GENMODELS_HOME") or user_data_path("latent-lab")).expanduser().absolute()


def home() -> Path:
    """Where runs and own images live: the visitor's space in a demo, else the shared home.

    Raises UserError in a demo where nobody is known to be asking, or their space is gone.
    """
    if not demo():
        return shared_home()
    key = _space.get() or next(filter(None, (find() for find in _finders)), None)
    if key is None:
        raise UserError("It is not known whose space this is: open the address of your space again.")
    if not (folder := space_folder(key)).is_dir():
        raise UserError("Your space has expired, and what was in it is gone: reload the page to get a new one.")
    return folder


def space_folder(key: str) -> Path:
    """Where the space of that key lies, or would. Raises UserError for what is no key: an address bar may name it."""
    if not KEY.fullmatch(key):
        raise UserError("There is no such space: copy its whole address, or begin with a new one.")
    return shared_home() / "spaces" / key


@contextmanager
def in_space(key: str | None) -> Iterator[None]:
    """What is done meanwhile in this thread is done in that visitor's space."""
    before = _space.set(key)
    try:
        yield
    finally:
        _space.reset(before)


def space_now() -> str | None:
    """The key of the space that is worked in, None outside of a demo. Raises UserError."""
    return home().name if demo() else None


def space_of(path: Path) -> str | None:
    """The key of the space in which a file or folder lies; None where it lies in none."""
    place = shared_home() / "spaces"
    return path.relative_to(place).parts[0] if place in path.parents else None


def find_spaces_by(finder: Callable[[], str | None]) -> None:
    """Let `home` ask this too: whoever runs threads for visitors knows for whom."""
    if finder not in _finders:
        _finders.append(finder)


def data_home() -> Path:
    """Where downloaded datasets live: GENMODELS_DATA, or a folder beside the runs."""
    given = os.environ.get("GENMODELS_DATA")
    return Path(given).expanduser().absolute() if given else shared_home() / "datasets"


@contextmanager
def disk_errors(what: str) -> Iterator[None]:
    """Turn a full or read-only disk into a sentence; `what` was being written."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"The disk is full, so {what} could not be saved: free some space and try again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.ENOENT, errno.EISDIR):
            if demo():  # a path has the key of the space, and sentences are given away with a run
                raise UserError(f"{what[0].upper() + what[1:]} could not be saved: try again later.") from error
            raise UserError(
                f"{what[0].upper() + what[1:]} could not be saved: {error.filename} cannot be written; "
                "choose a folder that can (GENMODELS_HOME says where runs live)."
            ) from error
        raise


def write_atomically(path: Path, write: Callable[[BinaryIO], Any], *, durable: bool = False) -> None:
    """Write a sibling and rename it over `path`: readers see the old file or the new one, and a failure leaves the old.

    durable: also survive a power cut (fsync), for what cannot be computed again.
    """
    with disk_errors(path.name):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        try:
            os.chmod(name, READABLE)  # mkstemp lets nobody else read; a run is for any tool
            with os.fdopen(handle, "wb") as file:
                write(file)
                if durable:
                    file.flush()
                    os.fsync(file.fileno())
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    write_atomically(path, lambda file: file.write(json.dumps(value, indent=1, allow_nan=False).encode()))


def read_json(path: Path) -> Any:
    """Read JSON, or raise a UserError that names the damaged file. A missing file raises FileNotFoundError."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError):  # no JSON, no text, a number too long or lists too deep
        raise UserError(
            f"The file {path.name} in {path.parent.name} is damaged (not valid JSON): restore it or delete the folder."
        ) from None


def read_json_lines(path: Path) -> list[Any]:
    """The values of the lines of a file, without those that are no JSON and a last one that is still being written."""
    found = []
    for line in path.read_bytes().split(b"\n")[:-1]:
        with suppress(ValueError, RecursionError):  # not JSON, or not even text
            found.append(json.loads(line))
    return found


def remembered(path: Path, read: Callable[[Path], Kept], most: int | None = None) -> Kept:
    """What `read` makes of a file, from memory until it is written again: many look at one run. Nobody changes it.

    most: bytes; a larger file is read each time. Raises FileNotFoundError, and what `read` raises.
    """
    found = path.stat()
    if most is not None and found.st_size > most:
        return read(path)
    kept = _kept(path, read)
    stamps = (found.st_mtime_ns, found.st_size, found.st_ino)
    if kept[:1] != [stamps]:
        kept[:] = stamps, read(path)
    return kept[1]


@lru_cache(256)
def _kept(path: Path, read: Callable[[Path], Any]) -> list[Any]:
    """When the file was as it was read last, and what it was read as; filled by who reads it."""
    return []
