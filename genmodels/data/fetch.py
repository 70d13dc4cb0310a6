"""Files from the network: checked against their digest, and in place only when they are whole."""

import contextlib
import errno
import gzip
import hashlib
import http.client
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

from genmodels.config import UserError
from genmodels.data.dataset import Report
from genmodels.files import data_home, disk_errors, write_atomically

CHUNK = 1 << 18
TIMEOUT = 30  # seconds without a byte before a server counts as silent


class _DamagedError(OSError):
    """What arrived is not what the digest says."""


def fetch(urls: Sequence[str], digest: str, file: IO[bytes], report: Report) -> None:
    """Write what the first answering URL gives to `file`, rewound to its start. digest: MD5 or SHA-256, hexadecimal.

    Raises a UserError when no URL answers with the right bytes.
    """
    damaged = False
    for url in urls:
        try:
            _stream(url, digest, file, report)
            return
        except _DamagedError:
            damaged = True
        except http.client.HTTPException:
            continue  # the next mirror
        except OSError as error:  # no route, no answer, no certificate; but a full disk is not the server's fault
            if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
    place = f"put the files into {data_home()} (GENMODELS_DATA)"
    if damaged:
        raise UserError(
            f"The server sent something else than the dataset (a broken-off transfer, or its daily limit): "
            f"try again later, or {place}."
        )
    raise UserError(
        "The dataset could not be downloaded because its server does not answer: check the network and try again, "
        f"{place}, or choose 'digits' or 'shapes', which need no download."
    )


def _stream(url: str, digest: str, file: IO[bytes], report: Report) -> None:
    total = hashlib.md5(usedforsecurity=False) if len(digest) == 32 else hashlib.sha256()
    name, done = url.rsplit("/", 1)[-1].split("?")[0], 0
    file.seek(0)
    file.truncate()
    request = urllib.request.Request(url, headers={"User-Agent": "latent-lab"})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        size = int(response.headers.get("Content-Length") or 0)
        while chunk := response.read(CHUNK):
            file.write(chunk)
            total.update(chunk)
            done += len(chunk)
            share = min(1.0, done / size) if size else 0.0
            report(
                share, f"{name}: {done / 1e6:.1f} of {size / 1e6:.1f} MB" if size else f"{name}: {done / 1e6:.1f} MB"
            )
    if total.hexdigest() != digest:
        raise _DamagedError
    file.seek(0)


def target(*parts: str) -> Path:
    """A path under data_home() whose folder exists and can be written to, or a UserError."""
    path = data_home().joinpath(*parts)
    with contextlib.suppress(OSError):  # said below, in words
        path.parent.mkdir(parents=True, exist_ok=True)
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"Nothing can be saved in {data_home()}: set GENMODELS_DATA to a folder that is writable.")
    return path


def save(urls: Sequence[str], digest: str, path: Path, report: Report) -> None:
    """Fetch to `path`, which appears only when it is whole."""
    write_atomically(path, lambda file: fetch(urls, digest, file, report))


@contextlib.contextmanager
def fetch_aside(urls: Sequence[str], digest: str, beside: Path, report: Report) -> Iterator[IO[bytes]]:
    """Fetch an archive to a nameless file on the disk of `beside`; it is gone afterwards, however the process ends."""
    with disk_errors("the download"), tempfile.TemporaryFile(dir=beside.parent) as file:
        fetch(urls, digest, file, report)
        yield file


def gunzip(packed: IO[bytes], path: Path) -> None:
    """Unpack to `path`, which appears only when it is whole."""
    try:
        with gzip.open(packed) as unpacked:
            write_atomically(path, lambda file: shutil.copyfileobj(unpacked, file, CHUNK))
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise UserError(f"The download of {path.name} is damaged: try again.") from None


def part_of(report: Report, first: float, last: float) -> Report:
    """A report for one piece of a longer job, between two shares of the whole."""
    return lambda share, text: report(first + (last - first) * share, text)
