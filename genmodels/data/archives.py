"""An uploaded zip archive, which may be hostile: checked before anything is unpacked, and read in memory only.

No path from an archive is ever used as a path. Names are only looked at for class folders and to speak of a file.
"""

import stat
import struct
import threading
import zipfile
import zlib
from collections.abc import Callable
from typing import BinaryIO

from genmodels.config import UserError
from genmodels.data.folders import MAX_BYTES, File, plain
from genmodels.data.pictures import UnreadableError

MAX_ENTRIES = 50_000
MAX_UNPACKED = 2 * 2**30  # bytes, all files together
MAX_RATIO = 200  # photos hardly shrink; a blank bitmap alone reaches 1,000, a bomb more
MAX_DIRECTORY = MAX_ENTRIES * 200  # bytes of the table of contents
NO_ZIP = "This is not a zip archive, or only a part of one: make the archive again and upload it anew."


def entries(file: BinaryIO) -> list[File]:
    """The files of an archive that is worth reading; they can be read as long as `file` is open.

    Raises a UserError when it is no zip archive, is encrypted, has too many or too large files, is compressed beyond
    what its files can be, or holds links, absolute paths or '..'.
    """
    size = _table_of_contents(file)
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, struct.error, NotImplementedError, LookupError):
        raise UserError(NO_ZIP) from None
    infos = [info for info in archive.infolist() if not info.filename.endswith("/")]  # is_dir() fails for no name
    if len(archive.infolist()) > MAX_ENTRIES:
        raise UserError(_too_many())
    for info in archive.infolist():
        _check(info)
    unpacked = sum(info.file_size for info in infos)
    if unpacked > MAX_UNPACKED:
        raise UserError(
            f"The archive would unpack to {unpacked / 1e9:,.1f} GB, more than {MAX_UNPACKED >> 30}: split it."
        )
    if unpacked > MAX_RATIO * size:
        raise UserError(
            f"The archive would unpack to {unpacked // size:,} times its size, which real pictures and runs never do: "
            "pack the files themselves."
        )
    lock = threading.Lock()  # the archive has one position in its file
    return [File(info.filename.replace("\\", "/"), _reader(archive, info, lock)) for info in infos]


def _table_of_contents(file: BinaryIO) -> int:
    """The size of the archive in bytes, once its last record says that the table of contents is not too long.

    zipfile builds an object of each entry before it can be asked how many there are, so this looks first.
    """
    size = file.seek(0, 2)
    file.seek(max(0, size - 65_557))  # the last record: 22 bytes and a comment of at most 65,535
    tail = file.read()
    at = len(tail) - 22 if tail[-22:-18] == b"PK\5\6" and tail[-2:] == b"\0\0" else tail.rfind(b"PK\5\6")
    if at < 0 or len(tail) < at + 22:
        raise UserError(NO_ZIP)
    count, length = struct.unpack("<HI", tail[at + 10 : at + 16])
    # Zip64 is for more than 65,535 entries or 4 GB, and its record overrules this one.
    zip64 = at >= 20 and tail[at - 20 : at - 16] == b"PK\6\7"
    if zip64 or count > MAX_ENTRIES or length > MAX_DIRECTORY:
        raise UserError(_too_many())
    return size


def _too_many() -> str:
    return f"The archive has more than {MAX_ENTRIES:,} files or 4 GB: pack fewer files, or give a folder instead."


def _check(info: zipfile.ZipInfo) -> None:
    # orig_filename still has what zipfile cuts off behind a zero byte.
    name = info.orig_filename.replace("\\", "/")
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":" or "\0" in name:
        raise UserError(f"The archive holds '{plain(name)}', a path that leads out of it: pack the plain folder again.")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UserError(f"The archive holds a link, '{plain(name)}': pack the image files themselves.")
    if info.flag_bits & 0x1:
        raise UserError("The archive is encrypted: pack it without a password.")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UserError("The archive is compressed in an unusual way: pack it as an ordinary zip (deflate).")


def _reader(archive: zipfile.ZipFile, info: zipfile.ZipInfo, lock: threading.Lock) -> Callable[[], bytes]:
    def read() -> bytes:
        if info.file_size > MAX_BYTES:
            raise UnreadableError(f"larger than {MAX_BYTES >> 20} MB")
        try:
            # zipfile stops at the size in the table of contents, which was checked, whatever the data goes on to.
            with lock, archive.open(info) as file:
                return file.read()
        except (zipfile.BadZipFile, zlib.error, OSError, EOFError, ValueError, struct.error):
            raise UnreadableError("damaged inside the archive") from None
        except (RuntimeError, NotImplementedError):
            raise UnreadableError("packed in a way that is not read") from None

    return read
