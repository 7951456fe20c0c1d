"""Every file that a raster is read from, and which version of it: the raster, what a mosaic names, and what lies beside these.

A file of this machine is known by its time of modification and its size; one at an address by what its server says of it
(`remote.remote_version`). Beside a raster may lie overviews, masks, georeferences and metadata; one that appears changes the
raster as much as one that is rewritten. Of metadata in ``.aux.xml`` files, which viewers write whenever somebody
looks at a raster, only what changes pixels or their place counts: statistics and histograms do not.
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
"""What a file is known by; empty for one that is not there, or of which nothing can be told."""

METADATA = ".aux.xml"
MOST_METADATA_BYTES = 1 << 24

# GDAL's names for addresses.
_ADDRESSES = {"/vsicurl/": "", "/vsis3/": "s3://", "/vsigs/": "gs://", "/vsiaz/": "az://"}

# Requests to servers wait for answers, not for this machine.
REQUESTS_AT_ONCE = 16

# Of more files than this, folders are listed to know which are there: on a network drive each question takes its time.
LISTED_FROM = 256

# Mosaics of mosaics: so deep, and so many files in all, are looked into.
MOST_DEPTH, MOST_FILES = 8, 100_000


@dataclass(frozen=True, slots=True)
class FileVersion:
    """A file, and which version of it.

    Attributes
    ----------
    path : str
        Absolute, or an address.
    stamp : tuple
        See `stamp_of`.
    """

    path: str
    stamp: Stamp


def local_stamp(path: str | Path) -> tuple[int, ...]:
    """Return the time of modification, in nanoseconds, and the size of a file of this machine; nothing if it is not there."""
    try:
        status = os.stat(path)  # noqa: PTH116 - paths may be thousands
    except (OSError, ValueError):
        return ()
    return status.st_mtime_ns, status.st_size


def stamp_of(path: str, *, patient: bool = True) -> Stamp | None:
    """Return what a file is known by.

    Parameters
    ----------
    path : str
    patient : bool, default True
        Whether a server that fails is asked again, and waited for.

    Returns
    -------
    tuple or None
        Empty if it is not there; None if its server does not answer or says nothing that could change with the file.
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
    """Return `stamp_of` each of some files, those of servers at once."""
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
    """Give those of some files of this machine that are not there, listing each folder once."""
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
    """Give the paths of files beside a raster of this machine that would change how it is read, there or not."""
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
    """Return the files that a raster is read from besides its own, as they are now.

    Parameters
    ----------
    path : str
        Of the raster.
    listed : iterable of str
        What GDAL says that it is read from; mosaics among these are followed.

    Returns
    -------
    tuple of FileVersion
        Those that are there, in order of their paths. What is `beside` one of them, or beside the raster, and not listed here,
        is not there.
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
    """Return a path or an address as a person would give it."""
    if not is_remote(path):
        return os.path.abspath(path)  # noqa: PTH100 - as GDAL names it, links and all
    return next((start + path.removeprefix(gdal) for gdal, start in _ADDRESSES.items() if path.startswith(gdal)), path)


def _archive_of(path: str) -> str | None:
    """Return the archive of this machine that a path leads into, None for other paths."""
    if path.startswith(("/vsizip/", "/vsitar/", "/vsigzip/", "/vsi7z/", "/vsirar/")):
        inner = path[path.index("/", 1) :].replace("{", "").replace("}", "")
        inner = inner[1:] if inner.startswith("//") else inner
    elif path.startswith(("zip://", "tar://", "gzip://")):
        inner = path.partition("://")[2].partition("!")[0]
    else:
        return None
    return next((str(one) for one in (Path(inner), *Path(inner).parents) if one.is_file()), None)


def _metadata_stamp(path: str) -> Stamp:
    """Return a digest of metadata without what only tells of the pixels; nothing where there is no more than that."""
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
