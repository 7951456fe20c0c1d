"""Files that are checked after they were written, and found damaged when they are no longer what was written.

A library that writes a file may not notice that the file system refused the last bytes: the disk was full, or a quota or
a limit of file sizes was reached. The functions here write through calls that report this, and read back what arrived. A
`FileRecord` remembers a file by its size, its time of modification and a digest of its content.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b, file_digest
from pathlib import Path

__all__ = ["FileRecord", "copy_checked", "damage", "digest_of_file", "record_file", "sync_file", "write_checked"]

_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class FileRecord:
    """What a file was when it was written.

    Attributes
    ----------
    name : str
        Path of the file below the folder that it belongs to, with ``/`` between its parts.
    size_bytes : int
    modified_ns : int
        Time of modification in nanoseconds, as the file system gave it.
    digest : str
        BLAKE2b digest of the content, 16 bytes, in hexadecimal.
    """

    name: str
    size_bytes: int
    modified_ns: int
    digest: str


def digest_of_file(path: Path) -> str:
    """Return the BLAKE2b digest of a file, 16 bytes, in hexadecimal.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    with path.open("rb") as file:
        return file_digest(file, partial(blake2b, digest_size=_DIGEST_BYTES)).hexdigest()


def record_file(path: Path, name: str) -> FileRecord:
    """Return the record of a file as it is now.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    status = path.stat()
    return FileRecord(name, status.st_size, status.st_mtime_ns, digest_of_file(path))


def damage(path: Path, record: FileRecord, *, verify: bool = False) -> str:
    """Say why a file is not what its record says; return an empty text if it is.

    Parameters
    ----------
    path : Path
    record : FileRecord
        Made when the file was written.
    verify : bool, default False
        Whether to compare the digest of every file. Otherwise the content is read only where the size is right and the time
        of modification is another one, as after a copy of the folder.
    """
    try:
        if path.is_symlink() or not path.is_file():
            return "is missing"
        status = path.stat()
        if status.st_size != record.size_bytes:
            return f"has {status.st_size:,} of {record.size_bytes:,} bytes"
        if (verify or status.st_mtime_ns != record.modified_ns) and digest_of_file(path) != record.digest:
            return "has another content"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def sync_file(path: Path) -> None:
    """Have the operating system put a file that was written on the disk.

    Raises
    ------
    OSError
        If the file system did not take all of it. Some file systems say so only now.
    """
    with path.open("rb") as file:
        os.fsync(file.fileno())


def write_checked(path: Path, content: bytes) -> None:
    """Write a file, put it on the disk, and compare what arrived with what was written.

    Raises
    ------
    OSError
        If the file system did not take all of it. A partial file may be left: write to a temporary name.
    """
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.stat().st_size != len(content) or digest_of_file(path) != _digest(content):
        raise _refused(path)


def copy_checked(source: Path, target: Path) -> None:
    """Copy the content of a file, put it on the disk, and compare the copy with its source.

    Raises
    ------
    OSError
        If the source cannot be read, or the file system did not take all of it. A partial copy may be left.
    """
    shutil.copyfile(source, target)
    sync_file(target)
    if digest_of_file(target) != digest_of_file(source):
        raise _refused(target)


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


def _refused(path: Path) -> OSError:
    return OSError(f"the file system did not keep what was written to {path}")
