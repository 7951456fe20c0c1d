"""Read and change a layer of a GeoPackage row by row, in SQLite transactions.

A GeoPackage is an SQLite database, which several programs may have open at once. This module changes single rows and single
columns of one table: other columns, rows, layers and styles stay as they are, and a program that has the file open sees the
changes. SQLite's locks end with the process that holds them, and its journal undoes what a killed process began.
"""

from __future__ import annotations

import json
import sqlite3
import struct
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyproj
import shapely

from samgeo.errors import VectorError
from samgeo.geo.vector.reading import PROVENANCE

__all__ = ["Layers", "RowTable", "decode", "encode", "opened"]

WAIT_S = 5.0
"""Time in seconds that a transaction waits for another program that writes to the file."""

Value = int | float | str | bytes | None
Row = tuple[Value, ...]

# Envelope codes of the header of a geometry to the envelope's size in bytes (OGC 12-128r19, 2.1.3).
_ENVELOPES = {0: 0, 1: 32, 2: 48, 3: 48, 4: 64}
_HEADER = struct.Struct("<2sBBi4d")
_UNDEFINED = "undefined"

# The definitions of the standard (OGC 12-128r19, F.8).
_METADATA_TABLES = """
CREATE TABLE IF NOT EXISTS gpkg_extensions (table_name TEXT, column_name TEXT, extension_name TEXT NOT NULL,
  definition TEXT NOT NULL, scope TEXT NOT NULL, CONSTRAINT ge_tce UNIQUE (table_name, column_name, extension_name));
CREATE TABLE IF NOT EXISTS gpkg_metadata (id INTEGER CONSTRAINT m_pk PRIMARY KEY ASC NOT NULL,
  md_scope TEXT NOT NULL DEFAULT 'dataset', md_standard_uri TEXT NOT NULL, mime_type TEXT NOT NULL DEFAULT 'text/xml',
  metadata TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS gpkg_metadata_reference (reference_scope TEXT NOT NULL, table_name TEXT, column_name TEXT,
  row_id_value INTEGER, timestamp DATETIME NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')),
  md_file_id INTEGER NOT NULL, md_parent_id INTEGER,
  CONSTRAINT crmr_mfi_fk FOREIGN KEY (md_file_id) REFERENCES gpkg_metadata(id),
  CONSTRAINT crmr_mpi_fk FOREIGN KEY (md_parent_id) REFERENCES gpkg_metadata(id))
"""
_METADATA_EXTENSION = "http://www.geopackage.org/spec120/#extension_metadata"


@dataclass(frozen=True, slots=True)
class RowTable:
    """A layer of features in a GeoPackage.

    Attributes
    ----------
    name : str
    fid, geometry : str
        The names of its columns for the primary key and for the geometry.
    columns : tuple of str
        All of its columns, including these two.
    srs_id : int
        The number of its CRS in the file.
    kind : str
        The declared type of geometry, in capital letters.
    """

    name: str
    fid: str
    geometry: str
    columns: tuple[str, ...]
    srs_id: int
    kind: str

    def column(self, name: str) -> str | None:
        """Return a column's name as the table spells it, or None if it has none: SQLite compares without case."""
        return next((one for one in self.columns if one.lower() == name.lower()), None)


@contextmanager
def opened(path: Path, *, write: bool) -> Iterator[Layers]:
    """Open an existing GeoPackage in one transaction. At the end all changes are kept; after an error none is kept.

    Parameters
    ----------
    path : Path
    write : bool
        Whether the transaction locks the file against other writers.

    Raises
    ------
    VectorError
        If the file cannot be opened, read or written, or if another program has it locked for more than `WAIT_S` seconds.
    """
    address = f"file:{quote(str(path.absolute()))}?mode={'rw' if write else 'ro'}"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=WAIT_S, isolation_level=None)) as connection:
            for number, name in enumerate(("ST_MinX", "ST_MinY", "ST_MaxX", "ST_MaxY")):
                connection.create_function(name, 1, _bound(number), deterministic=True)
            connection.create_function("ST_IsEmpty", 1, _is_empty, deterministic=True)
            connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")
            try:
                yield Layers(connection, path)
            except BaseException:
                connection.rollback()
                raise
            connection.execute("COMMIT")
    except (sqlite3.Error, OverflowError) as error:
        remedy = (
            "another program is writing to it; save or cancel the edits there"
            if "locked" in str(error)
            else "check that it is a complete GeoPackage, that you have permission to write to it, and the free space"
        )
        raise VectorError(f"{path} cannot be {'saved' if write else 'read'} ({error}); {remedy}.") from None


@dataclass(frozen=True, slots=True)
class Layers:
    """An open GeoPackage.

    Attributes
    ----------
    connection : sqlite3.Connection
        In a transaction.
    path : Path
        For messages.
    """

    connection: sqlite3.Connection
    path: Path

    def tables(self) -> list[RowTable]:
        """Return the layers of features that are stored, without views.

        Raises
        ------
        VectorError
            If the file is not a GeoPackage.
        """
        try:
            found = self.connection.execute(
                "SELECT c.table_name, g.column_name, g.srs_id, g.geometry_type_name FROM gpkg_contents c JOIN "
                "gpkg_geometry_columns g ON lower(c.table_name) = lower(g.table_name) JOIN sqlite_master m ON "
                "lower(m.name) = lower(c.table_name) WHERE c.data_type = 'features' AND m.type = 'table' ORDER BY c.rowid"
            ).fetchall()
        except sqlite3.DatabaseError as error:
            raise VectorError(f"{self.path} is not a GeoPackage ({error}); choose another name to keep it.") from None
        tables = []
        for name, geometry, srs_id, kind in found:
            columns = self.connection.execute(f"PRAGMA table_info({_quoted(name)})").fetchall()
            fid = next((column[1] for column in columns if column[5] == 1), "rowid")
            tables.append(RowTable(name, fid, geometry, tuple(column[1] for column in columns), srs_id, str(kind).upper()))
        return tables

    def crs(self, table: RowTable) -> pyproj.CRS | None:
        """Return the CRS of a layer, or None where it is undefined."""
        found = self.connection.execute(
            "SELECT organization, organization_coordsys_id, definition, srs_name FROM gpkg_spatial_ref_sys WHERE srs_id = ?",
            (table.srs_id,),
        ).fetchone()
        if found is None or _UNDEFINED in (str(found[2]).lower()) or _UNDEFINED in str(found[3]).lower():
            return None
        try:
            return pyproj.CRS.from_authority(found[0], found[1])
        except pyproj.exceptions.CRSError:
            return pyproj.CRS.from_wkt(found[2])

    def note(self, table: RowTable) -> dict[str, Any] | None:
        """Return the provenance of a layer that `samgeo.geo.vector.reading.write_vectors` wrote, or None."""
        for _, text in self._metadata(table):
            for element in _elements(text):
                if element.get("key") == PROVENANCE:
                    try:
                        found = json.loads(element.text or "")
                    except ValueError:
                        return None
                    return found if isinstance(found, dict) else None
        return None

    def write_note(self, table: RowTable, note: Mapping[str, Any]) -> None:
        """Replace the provenance of a layer. Other metadata of the layer stay."""
        for statement in _METADATA_TABLES.split(";"):
            self.connection.execute(statement)
        for name in ("gpkg_metadata", "gpkg_metadata_reference"):
            self.connection.execute(
                "INSERT INTO gpkg_extensions SELECT ?, NULL, 'gpkg_metadata', ?, 'read-write' WHERE NOT EXISTS "
                "(SELECT 1 FROM gpkg_extensions WHERE table_name = ?)",
                (name, _METADATA_EXTENSION, name),
            )
        text = json.dumps(note, allow_nan=False)
        for number, before in self._metadata(table):
            root = ET.fromstring(before)  # noqa: S314 - `_metadata` gives no text with a document type
            for element in root.iter("MDI"):
                if element.get("key") == PROVENANCE:
                    element.text = text
                    after = ET.tostring(root, encoding="unicode")
                    self.connection.execute("UPDATE gpkg_metadata SET metadata = ? WHERE id = ?", (after, number))
                    return
        root = ET.Element("GDALMultiDomainMetadata")
        ET.SubElement(ET.SubElement(root, "Metadata"), "MDI", key=PROVENANCE).text = text
        made = self.connection.execute(
            "INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata) VALUES ('dataset', 'http://gdal.org', "
            "'text/xml', ?)",
            (ET.tostring(root, encoding="unicode"),),
        )
        self.connection.execute(
            "INSERT INTO gpkg_metadata_reference (reference_scope, table_name, md_file_id) VALUES ('table', ?, ?)",
            (table.name, made.lastrowid),
        )

    def rows(self, table: RowTable, columns: Sequence[str], fid: int | None = None) -> list[Row]:
        """Return the values of columns in each row, or in the one with a primary key; None for a missing column.

        Rows are in the order of the primary key.
        """
        names = ", ".join(_quoted(one) if table.column(one) or one == table.fid else "NULL" for one in columns)
        key = _quoted(table.fid)
        only = "" if fid is None else f"WHERE {key} = ? "
        statement = f"SELECT {names} FROM {_quoted(table.name)} {only}ORDER BY {key}"  # noqa: S608 - names are quoted
        return self.connection.execute(statement, () if fid is None else (fid,)).fetchall()

    def row(self, table: RowTable, fid: int) -> dict[str, Value]:
        """Return a row as a dict by column name; an empty dict if there is no such row."""
        statement = f"SELECT * FROM {_quoted(table.name)} WHERE {_quoted(table.fid)} = ?"  # noqa: S608 - names are quoted
        found = self.connection.execute(statement, (fid,)).fetchone()
        return {} if found is None else dict(zip(table.columns, found, strict=True))

    def insert(self, table: RowTable, values: Mapping[str, Value]) -> int:
        """Add a row; return its primary key."""
        names, marks = ", ".join(map(_quoted, values)), ", ".join("?" * len(values))
        statement = f"INSERT INTO {_quoted(table.name)} ({names}) VALUES ({marks})"  # noqa: S608 - names are quoted
        return int(self.connection.execute(statement, tuple(values.values())).lastrowid or 0)

    def update(self, table: RowTable, fid: int, values: Mapping[str, Value]) -> None:
        """Change some columns of a row."""
        sets = ", ".join(f"{_quoted(name)} = ?" for name in values)
        statement = f"UPDATE {_quoted(table.name)} SET {sets} WHERE {_quoted(table.fid)} = ?"  # noqa: S608 - names are quoted
        self.connection.execute(statement, (*values.values(), fid))

    def delete(self, table: RowTable, fid: int) -> None:
        """Delete a row."""
        statement = f"DELETE FROM {_quoted(table.name)} WHERE {_quoted(table.fid)} = ?"  # noqa: S608 - names are quoted
        self.connection.execute(statement, (fid,))

    def add_column(self, table: RowTable, name: str, kind: str) -> None:
        """Add a column with a type of SQLite."""
        self.connection.execute(f"ALTER TABLE {_quoted(table.name)} ADD COLUMN {_quoted(name)} {kind}")

    def declare(self, table: RowTable, geometries: Sequence[shapely.Geometry]) -> None:
        """Update the time of change and the extent of a layer in the contents table of the file."""
        by_name = "lower(table_name) = lower(?)"
        self.connection.execute(
            f"UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ','now') WHERE {by_name}",  # noqa: S608
            (table.name,),
        )
        if not geometries:
            return
        bounds = shapely.total_bounds(np.array(geometries, dtype=object)).tolist()
        statement = (
            "UPDATE gpkg_contents SET min_x = min(coalesce(min_x, ?1), ?1), min_y = min(coalesce(min_y, ?2), ?2), "  # noqa: S608
            f"max_x = max(coalesce(max_x, ?3), ?3), max_y = max(coalesce(max_y, ?4), ?4) WHERE {by_name.replace('?', '?5')}"
        )
        self.connection.execute(statement, (*bounds, table.name))
        if table.kind == "POLYGON" and any(shapely.get_type_id(one) == shapely.GeometryType.MULTIPOLYGON for one in geometries):
            self.set_kind(table, "GEOMETRY")

    def set_kind(self, table: RowTable, kind: str) -> None:
        """Declare another type of geometry."""
        self.connection.execute(
            "UPDATE gpkg_geometry_columns SET geometry_type_name = ? WHERE lower(table_name) = lower(?)", (kind, table.name)
        )

    def _metadata(self, table: RowTable) -> list[tuple[int, str]]:
        """Return the number and the text of GDAL's metadata of a layer."""
        try:
            found = self.connection.execute(
                "SELECT m.id, m.metadata FROM gpkg_metadata m JOIN gpkg_metadata_reference r ON r.md_file_id = m.id WHERE "
                "r.reference_scope = 'table' AND lower(r.table_name) = lower(?) AND m.mime_type = 'text/xml' AND "
                "m.metadata LIKE '<GDALMultiDomainMetadata%' AND m.metadata NOT LIKE '%<!DOCTYPE%' ORDER BY m.id",
                (table.name,),
            ).fetchall()
        except sqlite3.OperationalError:
            return []  # a file without metadata has no tables for them
        return [(number, text) for number, text in found if _elements(text)]


def encode(geometry: shapely.Geometry, srs_id: int) -> bytes:
    """Encode a geometry in the binary format of a GeoPackage."""
    x0, y0, x1, y1 = shapely.bounds(geometry).tolist()
    return _HEADER.pack(b"GP", 0, 0b11, srs_id, x0, x1, y0, y1) + bytes(shapely.to_wkb(geometry, flavor="iso", byte_order=1))


def decode(blob: Value) -> shapely.Geometry | None:
    """Decode a geometry from the binary format of a GeoPackage; None if it is missing or damaged."""
    if not isinstance(blob, bytes) or len(blob) < 8 or blob[:2] != b"GP":
        return None
    start = 8 + _ENVELOPES.get(blob[3] >> 1 & 0b111, len(blob))
    found: shapely.Geometry | None = shapely.from_wkb(blob[start:], on_invalid="ignore")
    return found


def _bound(number: int) -> Callable[[Value], float | None]:
    def bound(blob: Value) -> float | None:
        geometry = decode(blob)
        return None if geometry is None or shapely.is_empty(geometry) else float(shapely.bounds(geometry)[number])

    return bound


def _is_empty(blob: Value) -> int | None:
    geometry = decode(blob)
    return None if geometry is None else int(shapely.is_empty(geometry))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _elements(text: str) -> list[ET.Element]:
    try:
        return list(ET.fromstring(text).iter("MDI"))  # noqa: S314 - `_metadata` gives no text with a document type
    except ET.ParseError:
        return []
