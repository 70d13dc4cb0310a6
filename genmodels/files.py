"""Where things live, and writing so that a reader never sees half a file."""

import errno
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from platformdirs import user_data_path

from genmodels.config import UserError

UMASK = os.umask(0o022)
os.umask(UMASK)
READABLE = 0o666 & ~UMASK


def home() -> Path:
    """Where runs, caches and own images live: GENMODELS_HOME, or the user's data folder."""
    return Path(os.environ.get("GENMODELS_HOME") or user_data_path("latent-lab")).expanduser().absolute()


def data_home() -> Path:
    """Where downloaded datasets live: GENMODELS_DATA, or a folder beside the runs."""
    given = os.environ.get("GENMODELS_DATA")
    return Path(given).expanduser().absolute() if given else home() / "datasets"


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
