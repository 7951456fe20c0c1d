"""Checks of written files: whether all content arrived, and whether a file is still as it was written.

A library that writes a file may not notice that the file system refused the last bytes because the disk was full or a quota
or a limit of file sizes was reached. The functions here write with calls that report this, and read the file back. A
`FileRecord` describes a file by its size, its time of modification and a digest of its content.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b, file_digest
from pathlib import Path

__all__ = [
    "FileRecord",
    "SourceError",
    "copy_checked",
    "damage",
    "digest_of_content",
    "digest_of_file",
    "record_file",
    "stamps_in",
    "sync_file",
    "write_checked",
]

_DIGEST_BYTES = 16
_BLOCK_BYTES = 1 << 20


class SourceError(OSError):
    """The source of a copy cannot be read; nothing is wrong with the place of the copy."""


@dataclass(frozen=True, slots=True)
class FileRecord:
    """Size, time and digest of a file when it was written.

    Attributes
    ----------
    name : str
        Path of the file relative to the folder that it belongs to, with ``/`` as the separator.
    size_bytes : int
        Size of the file.
    modified_ns : int
        Time of modification in nanoseconds, as the file system gives it.
    digest : str
        BLAKE2b digest of the content, 16 bytes, in hexadecimal.
    """

    name: str
    size_bytes: int
    modified_ns: int
    digest: str


def digest_of_content(content: bytes) -> str:
    """Return the BLAKE2b digest of some bytes, 16 bytes, in hexadecimal."""
    return blake2b(content, digest_size=_DIGEST_BYTES).hexdigest()


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
    """Return the record of a file in its present state.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    status = path.stat()
    return FileRecord(name, status.st_size, status.st_mtime_ns, digest_of_file(path))


def stamps_in(folder: Path) -> dict[str, list[int]]:
    """Return size and time of modification of all files in a folder and its subfolders, by their name relative to it.

    Links and special files have an empty list, and so has the folder itself, as ``"."``, if it is a link or no folder.

    Raises
    ------
    OSError
        If the folder cannot be read.
    """
    if folder.is_symlink() or not folder.is_dir():
        return {".": []}
    stamps = {}
    for path in folder.rglob("*"):
        if path.is_symlink() or not path.is_dir():
            status = path.lstat()
            is_plain = stat.S_ISREG(status.st_mode)
            stamps[path.relative_to(folder).as_posix()] = [status.st_size, status.st_mtime_ns] if is_plain else []
    return stamps


def damage(path: Path, record: FileRecord, *, verify: bool = False) -> str:
    """Return the reason why a file does not agree with its record, or an empty text if it agrees.

    Parameters
    ----------
    path : Path
        The file.
    record : FileRecord
        Record from the time when the file was written.
    verify : bool, default False
        Whether to compare the digest in any case. Otherwise the content is read only where the size agrees and the time of
        modification differs, as after a copy of the folder.
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
    """Make the operating system put a written file on the disk.

    Raises
    ------
    OSError
        If the file system did not store all of the file. Some file systems report this only now.
    """
    with path.open("rb+") as file:  # some systems refuse to sync a file that is open for reading only
        os.fsync(file.fileno())


def write_checked(path: Path, content: bytes) -> None:
    """Write a file, put it on the disk, and compare the stored content with the given content.

    Raises
    ------
    OSError
        If the file system did not store all of the content. A partial file may be left, so write to a temporary name.
    """
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if path.stat().st_size != len(content) or digest_of_file(path) != digest_of_content(content):
        raise _refused(path)


def copy_checked(source: Path, target: Path) -> None:
    """Copy the content of a file, put the copy on the disk, and compare it with the source.

    Raises
    ------
    SourceError
        If the source cannot be read. A partial copy may be left.
    OSError
        If the file system did not store all of the copy. A partial copy may be left.
    """
    total = blake2b(digest_size=_DIGEST_BYTES)
    with target.open("wb") as file:
        for block in _blocks(source):
            total.update(block)
            file.write(block)
    sync_file(target)
    if digest_of_file(target) != total.hexdigest():
        raise _refused(target)


def _blocks(source: Path) -> Iterator[bytes]:
    """Give the content of a file in blocks."""
    try:
        with source.open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                yield block
    except OSError as error:
        raise SourceError(f"{source} cannot be read ({error.strerror or error})") from None


def _refused(path: Path) -> OSError:
    return OSError(f"the file system did not keep what was written to {path}")
