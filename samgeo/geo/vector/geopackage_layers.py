"""Replacement of one layer of a GeoPackage; all other layers, styles, views, tables and triggers of the file are kept.

A GeoPackage is an SQLite database that other programs may have open. It is copied with SQLite's own backup, which includes
what other programs have committed to the write-ahead log. The layer is written into the copy, and the copy replaces the file.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from samgeo.errors import VectorError, warn

__all__ = [
    "WAIT_SECONDS",
    "Kept",
    "check_layer",
    "check_written_layer",
    "copy_for_layer",
    "is_sqlite",
    "layers_of",
    "put_back",
    "quoted_name",
    "take_place",
]

WAIT_SECONDS = 10.0
"""Time to wait for another program that has locked the file, in seconds."""

_HEAD = b"SQLite format 3\0"
# Errors of SQLite where the file that is written, not the file that is read, is the cause.
_NO_SPACE = ("SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE")
_RESERVED = ("gpkg_", "rtree_", "sqlite_")
_OWN_TRIGGERS = ("rtree_", "gpkg_", "trigger_insert_feature_count_", "trigger_delete_feature_count_")


@dataclass(frozen=True, slots=True)
class Kept:
    """State of the copied file, and the triggers and indexes that GDAL drops together with the layer that it replaces.

    Attributes
    ----------
    stamp : tuple
        Size and time of modification of the file and of its write-ahead log.
    statements : tuple of (str, str)
        Name and SQL of the triggers and indexes of the layer that are not GDAL's own.
    """

    stamp: tuple[object, ...]
    statements: tuple[tuple[str, str], ...]


def is_sqlite(path: Path) -> bool:
    """Return whether a file begins as an SQLite database does."""
    try:
        with path.open("rb") as file:
            return file.read(len(_HEAD)) == _HEAD
    except OSError:
        return False


def layers_of(path: Path) -> dict[str, str]:
    """Return the contents that a GeoPackage lists: name to type, such as "features" or "tiles".

    Raises
    ------
    VectorError
        If the file cannot be read.
    """
    with closing(_connect(path)) as connection:
        try:
            return _contents(connection)
        except sqlite3.Error as error:
            raise _unreadable(path, error) from None


def check_layer(path: Path, layer: str) -> str:
    """Check that a layer can be written into an existing GeoPackage, or replaced there.

    Parameters
    ----------
    path : Path
        The GeoPackage.
    layer : str
        Name of the layer.

    Returns
    -------
    str
        The name in the upper and lower case of the file, if it has the layer; SQLite does not distinguish case.

    Raises
    ------
    VectorError
        If the file cannot be read, or has a view or a table of that name that is not a layer of features.
    """
    _check_layer_name(layer, path)
    with closing(_connect(path)) as connection:
        try:
            contents = _contents(connection)
            objects = dict(
                connection.execute("SELECT name, type FROM sqlite_master WHERE type IN ('table', 'view')").fetchall()
            )
        except sqlite3.Error as error:
            raise _unreadable(path, error) from None
    spelled: str | None = next((name for name in {**contents, **objects} if name.lower() == layer.lower()), None)
    if spelled is None:
        return layer
    kind = "view" if objects.get(spelled) == "view" else contents.get(spelled)
    if kind != "features":
        what = {"view": "a view", "tiles": "a raster", "attributes": "a table without geometry"}.get(str(kind), "a table")
        raise VectorError(f"{spelled} in {path} is {what}, which is not replaced; give the layer another name with layer=.")
    return spelled


def _check_layer_name(layer: str, path: Path) -> None:
    if not layer or layer.lower().startswith(_RESERVED) or layer.lower() == "layer_styles" or "\0" in layer:
        raise VectorError(f"{path} cannot have a layer named {layer!r}: the name is reserved; give another one with layer=.")


def copy_for_layer(path: Path, copy: Path, layer: str) -> Kept:
    """Copy a GeoPackage, so that a layer can be written into the copy.

    Raises
    ------
    VectorError
        If the file cannot be read, or another program has locked it.
    OSError
        If the copy cannot be written.
    """
    stamp = _stamp(path)
    with closing(_connect(path)) as source, closing(sqlite3.connect(copy)) as target:
        try:
            source.backup(target, pages=4096, progress=_patience(path), sleep=0.05)
            found = target.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE type IN ('trigger', 'index') AND sql IS NOT NULL "
                "AND lower(tbl_name) = lower(?)",
                (layer,),
            ).fetchall()
        except sqlite3.Error as error:
            if getattr(error, "sqlite_errorname", "") in _NO_SPACE:
                raise OSError(f"its copy for the new layer: {error}") from None
            raise _unreadable(path, error) from None
    return Kept(stamp, tuple((name, sql) for _, name, sql in found if not name.startswith(_OWN_TRIGGERS)))


def put_back(copy: Path, kept: Kept) -> None:
    """Create the layer's own triggers and indexes again in the copy, if they fit the new columns.

    Warns
    -----
    SamgeoWarning
        If an index or a trigger does not fit.
    """
    with closing(sqlite3.connect(copy)) as connection:
        for name, sql in kept.statements:
            try:
                connection.execute(sql)
            except sqlite3.Error as error:
                warn(f"{name} does not fit the new layer and was removed from the file ({error}).")
        connection.commit()


def take_place(copy: Path, path: Path, kept: Kept) -> None:
    """Replace the file with the copy, unless another program has changed the file in the meantime.

    If another program has the file open in write-ahead mode, the content is copied through SQLite in one transaction, because a
    renamed file would be combined with the log of the old file.

    Raises
    ------
    VectorError
        If the file has changed, or is locked.
    OSError
        If the copy cannot be moved.
    """
    if _stamp(path) != kept.stamp:
        raise VectorError(
            f"{path} was changed by another program while the layer was written, and was not replaced; run the same call or "
            "command again."
        )
    if not _log(path).exists():
        copy.replace(path)
        return
    with closing(sqlite3.connect(copy)) as source, closing(sqlite3.connect(path, timeout=WAIT_SECONDS)) as target:
        try:
            source.backup(target, pages=-1, progress=_patience(path), sleep=0.05)
        except sqlite3.Error as error:
            raise VectorError(f"{path} cannot be written ({error}); close it in other programs.") from None


def check_written_layer(path: Path, layer: str, count: int, indexed: int) -> None:
    """Check a layer that was just written: file size, number of features, last feature and spatial index.

    Parameters
    ----------
    path : Path
        The GeoPackage.
    layer : str
        Name of the layer.
    count, indexed : int
        Number of features, and of features with a geometry.

    Raises
    ------
    VectorError
        If something is missing. GDAL may lose the error of a last write when it closes a file.
    """
    with closing(_connect(path)) as connection:
        try:
            pages, size = (connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_count", "page_size"))
            _expect(path, "bytes", path.stat().st_size, pages * size)
            geometry = connection.execute(
                "SELECT column_name FROM gpkg_geometry_columns WHERE lower(table_name) = lower(?)", (layer,)
            ).fetchone()[0]
            _expect(path, "features", _rows(connection, layer), count)
            last = f"SELECT * FROM {quoted_name(layer)} ORDER BY rowid DESC LIMIT 1"  # noqa: S608 - names cannot be parameters
            connection.execute(last).fetchone()
            _expect(path, "entries of its spatial index", _rows(connection, f"rtree_{layer}_{geometry}"), indexed)
        except (sqlite3.Error, TypeError) as error:
            raise VectorError(f"{path} is incomplete after writing ({error}); check the free space.") from None


def _rows(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {quoted_name(table)}").fetchone()[0])  # noqa: S608


def _expect(path: Path, what: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise VectorError(f"{path} has {found} of {wanted} {what} after writing; check the free space.")


def _contents(connection: sqlite3.Connection) -> dict[str, str]:
    return {str(name): str(kind) for name, kind in connection.execute("SELECT table_name, data_type FROM gpkg_contents")}


def _connect(path: Path) -> sqlite3.Connection:
    try:
        return sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=WAIT_SECONDS)
    except sqlite3.Error as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: sqlite3.Error) -> VectorError:
    return VectorError(
        f"{path} exists and cannot be read as a GeoPackage ({error}), so that its other layers cannot be kept; "
        "close it in other programs, or choose another name."
    )


def _patience(path: Path) -> Callable[[int, int, int], None]:
    """Return a callback for the steps of a backup, which raises after a time limit.

    Without it, SQLite would wait for a lock without end.
    """
    until = time.monotonic() + WAIT_SECONDS

    def progress(status: int, _remaining: int, _total: int) -> None:
        nonlocal until
        if status not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            until = time.monotonic() + WAIT_SECONDS
        elif time.monotonic() > until:
            raise VectorError(f"{path} is locked by another program; save or cancel the edits there, or close the file.")

    return progress


def _log(path: Path) -> Path:
    return path.with_name(f"{path.name}-wal")


def _stamp(path: Path) -> tuple[object, ...]:
    found: list[object] = []
    for one in (path, _log(path)):
        try:
            status = one.stat()
        except OSError:
            found.append(None)
        else:
            found.append((status.st_size, status.st_mtime_ns) if status.st_size else None)
    return tuple(found)


def quoted_name(name: str) -> str:
    """Return a name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'
