"""Whether a raster is the one that it was: its date and size, and a digest of a sample of its content."""

from __future__ import annotations

from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.errors import RasterError
from samgeo.geo.grid import Rect

if TYPE_CHECKING:
    from samgeo.geo.file_source import FileSource
    from samgeo.geo.raster import Raster

__all__ = ["has_changed", "identify"]

# Headers and tables of places lie at the ends of a file. Of many files, less of each is read.
END_BYTES, LEAST_END_BYTES = 1 << 16, 1 << 11
SAMPLES_PER_SIDE, SAMPLE_SIDE = 4, 64
DIGEST_BYTES = 16


def identify(raster: Raster) -> dict[str, Any]:
    """Describe a raster's content without reading all of it.

    The digest is BLAKE2b over the first and the last 64 KiB of a local file, and over 16 squares of 64 pixels all over the
    raster as `Raster.read` gives them. A change elsewhere that keeps the size shows in the time of modification alone. Of
    several files, it is over the size, the time and both ends of each that is local, at least 2 KiB, in their order.

    Parameters
    ----------
    raster : Raster
        A file, a URL or an array; the latter two have no size and no time.

    Returns
    -------
    dict
        For JSON: ``bytes`` and ``modified_ns`` of local files, all together and the latest, else None, and ``content``, the
        digest in hexadecimal.
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
            # A damaged block stays damaged; whoever works on the raster says so.
            digest.update(b"unreadable")
        else:
            digest.update(pixels.tobytes() + np.packbits(valid).tobytes())
    size = sum(file.version[1] for file in local) if local else None
    modified = max((file.version[0] for file in local), default=None)
    return {"bytes": size, "modified_ns": modified, "content": digest.hexdigest()}


def has_changed(raster: Raster) -> bool:
    """Return whether a local file, any of several, has another time or size than when it was opened, or is gone."""
    return any(_is_another(file) for file in _local_files(raster))


def _is_another(file: FileSource) -> bool:
    try:
        status = Path(file.path).stat()
    except OSError:
        return True
    return (status.st_mtime_ns, status.st_size) != file.version


def _local_files(raster: Raster) -> list[FileSource]:
    return [file for file in raster.source.files if file.version]


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
