"""Identity of a raster: the versions of all files that it is read from, and a digest of a sample of its content."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.errors import RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.sources.remote import is_remote, without_secrets
from samgeo.geo.raster.versions import FileVersion, beside, local_stamp, stamps_of

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.geo.raster.sources.file_source import FileSource

__all__ = ["SourceChange", "SourceWatch", "file_versions", "has_changed", "identify"]

# Headers and tables of offsets lie at the ends of a file. With many files, fewer bytes of each are read.
END_BYTES, LEAST_END_BYTES = 1 << 16, 1 << 11
SAMPLES_PER_SIDE, SAMPLE_SIDE = 4, 64
DIGEST_BYTES = 16

# A few files are checked at every call. If a check takes longer than QUICK_SECONDS, with thousands of files or slow disks, the
# next check waits for LOOK_SHARE times as long, so that checks take at most a twentieth of the time. Servers are asked at most
# every REMOTE_LOOK_SECONDS.
QUICK_SECONDS, LOOK_SHARE, REMOTE_LOOK_SECONDS = 0.02, 20.0, 5.0

MOST_TOLD = 3


def identify(raster: Raster) -> dict[str, Any]:
    """Describe the content of a raster without reading all of it.

    For one local file, the digest ``content`` is BLAKE2b over the first and the last 64 KiB of the file, and over 16 squares of
    64 pixels all over the raster as `Raster.read` returns them. For several files, it is over the size, the time and both ends,
    at least 2 KiB, of each local file in their order, and over these squares. A change elsewhere that keeps the size is visible
    only in ``files``.

    Parameters
    ----------
    raster : Raster
        A file, a URL or an array.

    Returns
    -------
    dict
        JSON-serializable. ``bytes`` and ``modified_ns``: total size and latest time of the local files, None if there are none.
        ``files``: a digest of the names and versions of all files that it is read from (`versions`), None for an array.
        ``content``: the digest of the sample.
    """
    digest = blake2b(digest_size=DIGEST_BYTES)
    files, local = raster.source.files, _local_files(raster)
    length = max(END_BYTES // max(len(local), 1), LEAST_END_BYTES)
    for file in local:
        if len(files) > 1:
            digest.update(repr(file.version).encode())
        digest.update(_ends(Path(file.path), length))
    for rect in _samples(raster.shape):
        try:
            pixels, valid = raster.read(rect)
        except RasterError:
            # A damaged block stays damaged, so it can be part of the digest. The error is raised when the raster is processed.
            digest.update(b"unreadable")
        else:
            digest.update(pixels.tobytes() + np.packbits(valid).tobytes())
    size = sum(int(file.version[1]) for file in local) if local else None
    modified = max((int(file.version[0]) for file in local), default=None)
    versions = [(Path(one.path).name, one.stamp) for one in file_versions(raster)]
    named = blake2b(repr(versions).encode(), digest_size=DIGEST_BYTES).hexdigest() if versions else None
    return {"bytes": size, "modified_ns": modified, "files": named, "content": digest.hexdigest()}


def file_versions(raster: Raster) -> list[FileVersion]:
    """Return all files that a raster is read from, in the order of its sources, with their versions when it was opened."""
    found: dict[str, FileVersion] = {}
    for file in raster.source.files:
        for one in (FileVersion(file.path, file.version), *file.others):
            found.setdefault(one.path, one)
    array = getattr(raster.source, "array", None)
    behind = getattr(array, "encoding", {}).get("source") if array is not None else None
    if isinstance(behind, str) and Path(behind).is_file():
        found.setdefault(behind, FileVersion(behind, local_stamp(behind)))
    return list(found.values())


def has_changed(raster: Raster) -> bool:
    """Return whether a file that a raster is read from has changed or disappeared since the raster was opened."""
    return SourceWatch(raster).look(now=True) is not None


@dataclass(frozen=True, slots=True)
class SourceChange:
    """A change of the files that a raster is read from.

    Attributes
    ----------
    files : str
        The changed files, for a message.
    is_loss : bool
        Whether all of them have disappeared, so that they may come back, as on a network drive.
    """

    files: str
    is_loss: bool

    def __str__(self) -> str:
        return f"{self.files} {'is gone' if self.is_loss else 'has changed'}"


class SourceWatch:
    """Monitor of the files of a raster, which reports whether they have changed since the raster was opened.

    It may be asked often: it looks at the files only from time to time.

    Parameters
    ----------
    raster : Raster
        The raster.
    clock : callable, default time.monotonic
        Returns the time in seconds.
    """

    def __init__(self, raster: Raster, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._expected = {one.path: one.stamp for one in file_versions(raster)}
        # A server that did not answer when the raster was opened is asked again.
        unknown = [path for path, stamp in self._expected.items() if not stamp]
        for path, stamp in zip(unknown, stamps_of(unknown), strict=True):
            if stamp:
                self._expected[path] = stamp
            else:
                del self._expected[path]
        for path in list(self._expected):
            if not is_remote(path):
                for other in beside(path):
                    self._expected.setdefault(other, ())
        self._seconds = REMOTE_LOOK_SECONDS if any(map(is_remote, self._expected)) else 0.0
        self._next = clock()
        self._found: SourceChange | None = None

    def look(self, *, now: bool = False) -> SourceChange | None:
        """Return the change of the files, or None if there is none. A change other than a loss is reported from then on.

        Parameters
        ----------
        now : bool, default False
            Whether to look at the files even if the last look was a moment ago.

        Raises
        ------
        RasterError
            If ``now`` is true, and a server that gave the version of a file before does not answer.
        """
        start = self._clock()
        if self._found is not None or not (now or start >= self._next):
            return self._found
        stamps = dict(zip(self._expected, stamps_of(list(self._expected), patient=now), strict=True))
        took = self._clock() - start
        self._next = self._clock() + max(self._seconds, LOOK_SHARE * took if took > QUICK_SECONDS else 0.0)
        changed = [path for path, stamp in stamps.items() if stamp is not None and stamp != self._expected[path]]
        if changed:
            lost = [path for path in changed if not stamps[path]]
            change = SourceChange(_tell(changed), is_loss=len(lost) == len(changed))
            self._found = None if change.is_loss else change
            return change
        silent = [path for path, stamp in stamps.items() if stamp is None]
        if silent and now:
            raise RasterError(
                f"it is unknown whether {_tell(silent)} has changed, because the server does not answer; try again later."
            )
        return None


def _tell(paths: list[str]) -> str:
    more = f" and {len(paths) - MOST_TOLD} more" if len(paths) > MOST_TOLD else ""
    return ", ".join(without_secrets(path) for path in paths[:MOST_TOLD]) + more


def _local_files(raster: Raster) -> list[FileSource]:
    return [file for file in raster.source.files if file.version and not is_remote(file.path)]


def _ends(path: Path, length: int) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(length)
            file.seek(max(file.seek(0, 2) - length, 0))
            return head + file.read(length)
    except OSError:
        return b"unreadable"


def _samples(shape: tuple[int, int]) -> list[Rect]:
    tops, lefts = (np.linspace(0, max(length - SAMPLE_SIDE, 0), SAMPLES_PER_SIDE).astype(int).tolist() for length in shape)
    return [Rect(x, y, x + SAMPLE_SIDE, y + SAMPLE_SIDE) for y in tops for x in lefts]
