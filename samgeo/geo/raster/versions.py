"""Versions of all files that a raster is read from: the raster, the files that a mosaic names, and files beside these.

A local file is identified by its time of modification and its size, a remote file by what its server reports
(`remote.remote_version`). Overviews, masks, georeferences and metadata may lie beside a raster; a new file of these changes the
raster as much as a changed one. Viewers write metadata in ``.aux.xml`` files whenever a raster is displayed. Only the metadata
that affect pixels or their location count: statistics and histograms do not.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from xml.etree import ElementTree

from samgeo.geo.drivers import list_files, suffix_of
from samgeo.geo.raster.sources.remote import is_remote, remote_version

__all__ = ["FileVersion", "Stamp", "beside", "find_others", "local_stamp", "stamp_of", "stamps_of"]

Stamp = tuple[int | str, ...]
"""Numbers and texts that identify the version of a file. The stamp of a file that does not exist is empty."""

METADATA = ".aux.xml"
MOST_METADATA_BYTES = 1 << 24

# GDAL's names for addresses.
_ADDRESSES = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://"}

# Requests to servers mostly wait for answers, so many of them can run in parallel.
REQUESTS_AT_ONCE = 16

# With more files than this, folders are listed to find those that exist, because single requests are slow on a network drive.
LISTED_FROM = 256

# Limits for mosaics of mosaics: levels of nesting, and number of files.
MOST_DEPTH, MOST_FILES = 8, 100_000


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file and its version.

    Attributes
    ----------
    path : str
        Absolute path, or address.
    stamp : tuple
        See `stamp_of`.
    """

    path: str
    stamp: Stamp


def local_stamp(path: str | Path) -> tuple[int, ...]:
    """Return the time of modification, in nanoseconds, and the size of a local file; an empty tuple if it does not exist."""
    try:
        status = os.stat(path)  # noqa: PTH116 - paths may be thousands
    except (OSError, ValueError):
        return ()
    return status.st_mtime_ns, status.st_size


def stamp_of(path: str, *, patient: bool = True) -> Stamp | None:
    """Return the stamp of a file, which changes when the file changes.

    Parameters
    ----------
    path : str
        Path or address.
    patient : bool, default True
        Whether requests to a server that fails are repeated, with waiting times.

    Returns
    -------
    tuple or None
        Empty if the file does not exist. None if its server does not answer, or reports nothing that changes with the file.
    """
    archive = _archive_of(path)
    if archive is not None:
        return local_stamp(archive)
    if is_remote(path):
        return remote_version(path, patient=patient)
    if path.endswith(METADATA):
        return _metadata_stamp(path)
    return local_stamp(path)


def stamps_of(paths: Sequence[str], *, patient: bool = True) -> list[Stamp | None]:
    """Return the stamp of each file; servers are asked in parallel."""
    ask = partial(stamp_of, patient=patient)
    remote = [path for path in paths if is_remote(path) and _archive_of(path) is None]
    known: dict[str, Stamp | None] = {}
    if len(remote) > 1:
        with ThreadPoolExecutor(min(len(remote), REQUESTS_AT_ONCE)) as pool:
            known = dict(zip(remote, pool.map(ask, remote), strict=True))
    if len(paths) - len(remote) > LISTED_FROM:
        known |= dict.fromkeys(_absent([path for path in paths if not is_remote(path)]), ())
    return [known[path] if path in known else ask(path) for path in paths]


def _absent(paths: Iterable[str]) -> Iterator[str]:
    """Yield those of some local files that do not exist; each folder is listed once."""
    names: dict[str, set[str]] = {}
    for path in paths:
        folder, _, name = path.rpartition(os.sep)
        if folder not in names:
            try:
                names[folder] = set(os.listdir(folder or os.sep))  # noqa: PTH208 - names alone
            except OSError:
                names[folder] = set()
        if name not in names[folder]:
            yield path


def beside(path: str) -> Iterator[str]:
    """Yield the paths of files beside a local raster that would change how it is read, whether they exist or not."""
    yield f"{path}{METADATA}"
    for ending in (".ovr", ".msk", ".msk.ovr"):
        yield path + ending
    folder, _, name = path.rpartition(os.sep)
    stem, dot, letters = name.rpartition(".")
    stem = f"{folder}{os.sep}{stem if dot else name}"
    yield f"{stem}.aux"
    yield f"{stem}.wld"
    if dot and letters:
        yield f"{stem}.{letters[0]}{letters[-1]}w"
        yield f"{path}w"


def find_others(path: str, listed: Iterable[str]) -> tuple[FileVersion, ...]:
    """Return the present versions of the files that a raster is read from, other than its own file.

    Parameters
    ----------
    path : str
        Path of the raster.
    listed : iterable of str
        Files that GDAL lists for the raster; mosaics among them are followed.

    Returns
    -------
    tuple of FileVersion
        The existing files, in order of their paths. Files `beside` one of them or the raster that are not in the result do not
        exist.
    """
    path = _plain(path)
    found = {path}
    _follow(listed, found, MOST_DEPTH)
    found.discard(path)
    for one in [path, *found]:
        if not is_remote(one):
            found.update(beside(one))
    found.discard(path)
    paths = sorted(found)
    return tuple(FileVersion(one, stamp) for one, stamp in zip(paths, stamps_of(paths), strict=True) if stamp)


def _follow(listed: Iterable[str], found: set[str], depth: int) -> None:
    for given in listed:
        one = _plain(given)
        if one in found or len(found) >= MOST_FILES:
            continue
        found.add(one)
        if suffix_of(one) == ".vrt" and depth:
            _follow(list_files(one), found, depth - 1)


def _plain(path: str) -> str:
    """Return a path or an address in the form that users give, without GDAL's prefixes."""
    if not is_remote(path):
        return os.path.abspath(path)  # noqa: PTH100 - as GDAL names it, links and all
    return next((start + path.removeprefix(gdal) for gdal, start in _ADDRESSES.items() if path.startswith(gdal)), path)


def _archive_of(path: str) -> str | None:
    """Return the local archive of a path into an archive; None for other paths."""
    if path.startswith(("/vsizip/", "/vsitar/", "/vsigzip/", "/vsi7z/", "/vsirar/")):
        inner = path[path.index("/", 1) :].replace("{", "").replace("}", "")
        inner = inner[1:] if inner.startswith("//") else inner
    elif path.startswith(("zip://", "tar://", "gzip://")):
        inner = path.partition("://")[2].partition("!")[0]
    else:
        return None
    return next((str(one) for one in (Path(inner), *Path(inner).parents) if one.is_file()), None)


def _metadata_stamp(path: str) -> Stamp:
    """Return a digest of metadata without statistics and histograms; an empty tuple if there is nothing else."""
    try:
        if os.stat(path).st_size > MOST_METADATA_BYTES:  # noqa: PTH116
            return local_stamp(path)
        content = Path(path).read_bytes()
        if b"<!" in content.replace(b"<!--", b""):  # Entities, which could grow without end.
            return local_stamp(path)
        root = ElementTree.fromstring(content)  # noqa: S314 - without entities
    except (OSError, ValueError, ElementTree.ParseError):
        return local_stamp(path)
    _drop_statistics(root)
    for band in root.findall("PAMRasterBand"):
        _drop_statistics(band)
        if not len(band):
            root.remove(band)
    if not len(root):
        return ()
    text = "".join(f"{one.tag} {sorted(one.attrib.items())} {(one.text or '').strip()}\n" for one in root.iter())
    return (blake2b(text.encode(), digest_size=16).hexdigest(),)


def _drop_statistics(element: ElementTree.Element) -> None:
    for child in list(element):
        if child.tag == "Metadata":
            for item in list(child):
                if str(item.get("key")).startswith("STATISTICS_"):
                    child.remove(item)
        if child.tag == "Histograms" or (child.tag == "Metadata" and not len(child)):
            element.remove(child)
