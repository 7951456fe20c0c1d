"""Locations of results: local files, and objects in object storage with an address such as ``s3://bucket/city.parquet``.

A local location is a `pathlib.Path`. An object has those methods of a path that are needed here. An object is always uploaded
from a complete local file.
"""

from __future__ import annotations

import errno
import os
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from samgeo.errors import StorageError

__all__ = ["Place", "RemotePlace", "as_place", "fetched", "is_there"]

# Protocols of storage in which an object appears whole or not at all, and the fsspec package that implements each of them.
PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "oss": "ossfs",
    "oci": "ocifs",
    "memory": "fsspec",
}

_LOCAL_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@dataclass(frozen=True, slots=True)
class RemotePlace:
    """An object in object storage, which need not exist yet.

    Attributes
    ----------
    url : str
        Address of the object.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.url.rpartition("/")[2]

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The suffix of the name, with its dot."""
        return PurePosixPath(self.name).suffix

    def with_name(self, name: str) -> RemotePlace:
        """Return the object with another name in the same folder."""
        return RemotePlace(f"{self.url.rpartition('/')[0]}/{name}")

    def size(self) -> int | None:
        """Return the size of the object in bytes, or None if it does not exist.

        Raises
        ------
        StorageError
            If the storage does not answer.
        """
        with _storage_errors(f"{self} cannot be looked up"):
            files, path = _open(self.url)
            files.invalidate_cache()
            try:
                return int(files.info(path)["size"])
            except FileNotFoundError:
                return None

    def check_writable(self) -> None:
        """Check, before any work, that the bucket accepts objects, by writing and removing an empty object beside this one.

        Raises
        ------
        StorageError
            If the bucket accepts no objects. The message says what to install or to allow.
        """
        _probe(self.with_name(f".samgeo-{uuid.getnode():012x}").url, self.url)

    def put(self, file: Path) -> None:
        """Upload the content of a local file to this object.

        Raises
        ------
        OSError
            If the local file cannot be read.
        StorageError
            If the upload fails, or the object then has another size than the file.
        """
        with file.open("rb"):
            size = file.stat().st_size
        with _storage_errors(f"{self} cannot be written"):
            files, path = _open(self.url)
            files.put_file(str(file), path)
        arrived = self.size()
        if arrived != size:
            raise StorageError(f"{self} has {arrived} of {size} bytes after writing; look at the storage, and write it again.")

    def unlink(self) -> None:
        """Remove the object if it exists.

        Raises
        ------
        StorageError
            If the object cannot be removed.
        """
        with _storage_errors(f"{self} cannot be removed"):
            files, path = _open(self.url)
            if files.exists(path):
                files.rm_file(path)


Place = Path | RemotePlace


def as_place(path: str | os.PathLike[str] | RemotePlace) -> Place:
    """Return an address with a protocol as an object in object storage, and any other text as a local path.

    Raises
    ------
    StorageError
        If the protocol is not one of object storage.
    """
    if isinstance(path, RemotePlace):
        return path
    text = os.fspath(path)
    if "://" not in text:
        return Path(text)
    protocol = urlsplit(text).scheme.lower()
    if protocol not in PACKAGES or "::" in text:
        known = ", ".join(f"{one}://" for one in ("s3", "gs", "az"))
        raise StorageError(f"{text} cannot be written: results go to files, or to object storage ({known}); give one of these.")
    return RemotePlace(text)


def is_there(place: Place) -> bool:
    """Return whether the file or the object exists.

    Raises
    ------
    StorageError
        If the object storage does not answer.
    """
    return place.is_file() if isinstance(place, Path) else place.size() is not None


@contextmanager
def fetched(place: Place) -> Iterator[Path]:
    """Give a local file with the content of a location: the file itself, or a temporary copy of an object.

    Raises
    ------
    OSError
        If the copy cannot be written on this machine.
    StorageError
        If the object cannot be read.
    """
    if isinstance(place, Path):
        yield place
        return
    with tempfile.TemporaryDirectory() as folder:
        local = Path(folder) / place.name
        with _storage_errors(f"{place} cannot be read"):
            files, path = _open(place.url)
            files.get_file(path, str(local))
        yield local


def _open(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs

    try:
        files, path = url_to_fs(url)
    except ImportError:
        package = PACKAGES[urlsplit(url).scheme.lower()]
        raise ImportError(f"that takes the package {package}, which is not installed; pip install {package}") from None
    return files, path


@lru_cache(maxsize=64)
def _probe(probe: str, url: str) -> None:
    with _storage_errors(f"{url} cannot be written"):
        files, path = _open(probe)
        files.pipe_file(path, b"")
        files.rm_file(path)


@contextmanager
def _storage_errors(what: str) -> Iterator[None]:
    try:
        yield
    except StorageError:
        raise
    except ImportError as error:
        raise StorageError(f"{what}: {error}.") from None
    except OSError as error:
        # A disk of this machine is full or cannot be written to, which is no failure of the object storage.
        if error.errno in _LOCAL_ERRORS:
            raise
        raise _failed(what, error) from None
    # Each storage package raises errors of its own, which are not OSErrors.
    except Exception as error:  # noqa: BLE001
        raise _failed(what, error) from None


def _failed(what: str, error: Exception) -> StorageError:
    reason = str(error) or type(error).__name__
    return StorageError(f"{what} ({reason}); check the address, the credentials and what they allow.")
