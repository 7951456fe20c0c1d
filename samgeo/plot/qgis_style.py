"""Default styles of QGIS for layers of a GeoPackage, in the table ``layer_styles`` in which QGIS itself keeps them."""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from samgeo.arguments import check_types
from samgeo.errors import OptionError, VectorError, warn
from samgeo.geo.vector.geopackage_layers import WAIT_SECONDS, check_layer, is_sqlite, layers_of, quoted_name
from samgeo.geo.vector.reading import split_layer
from samgeo.plot.qml import categorized, graduated, outline
from samgeo.storage.locations import as_place

__all__ = ["MAX_VALUES", "style_layer"]

MAX_VALUES = 200
"""Largest number of values that get a colour each."""

NAME = "samgeo"
CLASS_COLUMN = "class"
DEFAULT_COLUMNS = (CLASS_COLUMN, "score")

# The columns and types are those with which QGIS creates the table through GDAL.
_CREATE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT, useAsDefault BOOLEAN, description TEXT,
    owner TEXT(30), ui TEXT(30), update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now')))
"""
_REGISTER = (
    "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('layer_styles', 'attributes', 'layer_styles')"
)
_INSERT = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column, styleName, styleQML, styleSLD,
    useAsDefault, description, owner, ui, update_time)
VALUES ('', '', ?, ?, ?, ?, '', 1, ?, ?, NULL, strftime('%Y-%m-%dT%H:%M:%fZ','now'))
"""
_POLYGONS = ("POLYGON", "MULTIPOLYGON", "CURVEPOLYGON", "MULTISURFACE")
# The characters that XML cannot hold.
_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_LARGEST = 1e300


@check_types
def style_layer(
    path: str | os.PathLike[str], *, layer: str | None = None, column: str | None = None, overwrite: bool = False
) -> str | None:
    """Give a layer of polygons in a GeoPackage a style, with which QGIS opens the layer.

    The style is one row in the table ``layer_styles``, QGIS's own, which is created if it is missing. The features, the other
    layers and the styles of other layers stay as they are. The row is written in one transaction, so that the file may be open
    in QGIS.

    Parameters
    ----------
    path : path
        An existing GeoPackage (.gpkg) on this machine. ``city.gpkg:roofs`` is the layer ``roofs`` of ``city.gpkg``.
    layer : str, optional
        Name of the layer, if it is not given in the path. By default the only layer with geometry.
    column : str, optional
        The column that gives the colours, the same as those of `samgeo.show`: a scale in five equal intervals for numbers, one
        colour for each other value. By default ``class``, with one colour for each value, if there is such a column and it
        has a value; otherwise ``score``; otherwise all polygons have the same outline.
    overwrite : bool, default False
        Whether the layer may get this style where it already has one. An earlier style of samgeo is then replaced. Styles that
        others made stay in the file, but are no longer the default.

    Returns
    -------
    str or None
        The column that gives the colours; None where all polygons have the same outline.

    Raises
    ------
    VectorError
        If the file is no GeoPackage or cannot be written, the layer is missing or has no polygons, the layer has a style
        and ``overwrite`` is False, or a value cannot be part of a style. The file is then unchanged.
    OptionError
        If the layer has no such column, or the column has no values, or more than 200 that are not numbers.

    Warns
    -----
    SamgeoWarning
        If features have no number in the column: QGIS does not draw them.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from samgeo.geo.vector import write_vectors
    >>> from samgeo.plot import style_layer
    >>> from shapely.geometry import box
    >>> roofs = gpd.GeoDataFrame({"score": [0.4, 0.9]}, geometry=[box(0, 0, 5, 5), box(9, 0, 12, 5)], crs="EPSG:32633")
    >>> write_vectors(roofs, "styled_roofs.gpkg")
    >>> style_layer("styled_roofs.gpkg")
    'score'
    """
    file, name = _file_and_layer(path, layer)
    with _transaction(file) as connection:
        geometry = _geometry_column(connection, file, name)
        columns = {
            str(row[1]): str(row[2]).upper()
            for row in connection.execute(f"PRAGMA table_info({quoted_name(name)})")
            if str(row[1]) != geometry
        }
        chosen = _chosen(connection, name, columns, column)
        style = outline() if chosen is None else _style(connection, file, name, chosen, columns[chosen])
        about = "the same outline for all polygons" if chosen is None else f"colours by {chosen}"
        _store(connection, file, (name, geometry, NAME, style, f"Written by samgeo: {about}", NAME), overwrite=overwrite)
    return chosen


def _file_and_layer(path: str | os.PathLike[str], layer: str | None) -> tuple[Path, str]:
    """Return the checked GeoPackage, and the name of the layer in the upper and lower case of the file."""
    text, in_path = split_layer(os.fspath(path))
    if layer is not None and in_path is not None and layer != in_path:
        raise OptionError(f"{path} names the layer {in_path}, and layer={layer!r} another one; give one of them.")
    layer = in_path if layer is None else layer
    file = as_place(text)
    if not isinstance(file, Path):
        raise VectorError(f"{file} is not a file of this machine; download it, and give the copy a style.")
    if not file.is_file():
        raise VectorError(f"{file} does not exist; give an existing GeoPackage (.gpkg).")
    if file.suffix.lower() != ".gpkg" or not is_sqlite(file):
        raise VectorError(f"{file} is not a GeoPackage, and no other format has a place for styles; write a .gpkg.")
    known = [name for name, kind in layers_of(file).items() if kind == "features"]
    if layer is None:
        if len(known) != 1:
            listed = ", ".join(known) or "none"
            raise VectorError(f"{file} has not one layer with geometry (it has: {listed}); name one, as in {file}:NAME.")
        return file, known[0]
    spelled = check_layer(file, layer)
    if spelled not in known:
        raise VectorError(f"{file} has no layer {layer}; it has: {', '.join(known) or 'none'}.")
    return file, spelled


@contextmanager
def _transaction(file: Path) -> Iterator[sqlite3.Connection]:
    """Give a connection whose changes are all made at the end, or none of them."""
    address = f"{file.absolute().as_uri()}?mode=rw"
    try:
        with closing(sqlite3.connect(address, uri=True, timeout=WAIT_SECONDS, isolation_level=None)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            # A connection that is closed without a commit undoes its changes.
            yield connection
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise VectorError(
            f"{file} cannot get a style ({error}); close it in other programs, and check that it may be written."
        ) from None


def _geometry_column(connection: sqlite3.Connection, file: Path, name: str) -> str:
    found = connection.execute(
        "SELECT column_name, geometry_type_name FROM gpkg_geometry_columns WHERE lower(table_name) = lower(?)", (name,)
    ).fetchone()
    if found is None or str(found[1]).upper() not in _POLYGONS:
        kind = "no geometry" if found is None else f"geometries of the type {found[1]}"
        raise VectorError(f"the layer {name} of {file} has {kind}; a style is written for polygons only.")
    return str(found[0])


def _chosen(connection: sqlite3.Connection, name: str, columns: dict[str, str], column: str | None) -> str | None:
    """Return the column that gives the colours, or None if there is none."""

    def has_value(one: str) -> bool:
        sql = f"SELECT 1 FROM {quoted_name(name)} WHERE {quoted_name(one)} IS NOT NULL LIMIT 1"  # noqa: S608 - names are quoted
        return connection.execute(sql).fetchone() is not None

    if column is None:
        return next((one for one in DEFAULT_COLUMNS if one in columns and has_value(one)), None)
    if column not in columns:
        raise OptionError(f"the layer {name} has no column {column!r} to colour by; it has: {', '.join(columns) or 'none'}.")
    if not has_value(column):
        raise OptionError(f"the column {column} of the layer {name} has no values to colour by; choose another column.")
    return column


def _style(connection: sqlite3.Connection, file: Path, name: str, column: str, kind: str) -> str:
    """Return the style of a layer whose polygons are coloured by a column of a type of SQLite."""
    whole = "INT" in kind
    number = whole or kind in ("REAL", "DOUBLE", "FLOAT")
    if number and column != CLASS_COLUMN:
        return _scale(connection, name, column)
    if not number and kind != "BOOLEAN" and not kind.startswith(("TEXT", "VARCHAR")):
        raise OptionError(f"the column {column} of {file} has the type {kind}, which gives no colours; choose another column.")
    chosen, table = quoted_name(column), quoted_name(name)
    sql = f"SELECT DISTINCT {chosen} FROM {table} WHERE {chosen} IS NOT NULL LIMIT {MAX_VALUES + 1}"  # noqa: S608 - names are quoted
    values = [row[0] for row in connection.execute(sql)]
    if len(values) > MAX_VALUES:
        raise OptionError(f"the column {column} of {file} has more than {MAX_VALUES} values; choose another column.")
    type_of = "bool" if kind == "BOOLEAN" else "long" if whole else "double" if number else "string"
    texts = sorted(_text(value, type_of) for value in values)
    for text in texts:
        if _NOT_XML.search(text):
            raise VectorError(f"the value {text!r} of the column {column} of {file} has a character that a style cannot hold.")
    return categorized(column, [(text, type_of) for text in texts])


def _text(value: object, type_of: str) -> str:
    """Return a value as QGIS writes it."""
    if type_of == "bool":
        return "true" if value else "false"
    return f"{value:.15g}" if isinstance(value, float) else str(value)


def _scale(connection: sqlite3.Connection, name: str, column: str) -> str:
    chosen, table = quoted_name(column), quoted_name(name)
    known = f"typeof({chosen}) IN ('integer', 'real') AND abs({chosen}) < {_LARGEST}"
    sql = f"SELECT min({chosen}), max({chosen}), count(*) FROM {table} WHERE {known}"  # noqa: S608 - names are quoted
    least, greatest, count = connection.execute(sql).fetchone()
    if not count:
        raise OptionError(f"the column {column} of the layer {name} has no finite number; choose another column.")
    every = int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - names are quoted
    if every > count:
        warn(f"{every - count:,} of {every:,} features have no number in the column {column}; QGIS does not draw them.")
    return graduated(column, float(least), float(greatest))


def _store(connection: sqlite3.Connection, file: Path, row: tuple[str, ...], *, overwrite: bool) -> None:
    """Write the style as the default of its layer."""
    name, geometry = row[:2]
    exists = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'layer_styles'").fetchone()
    if not exists:
        connection.execute(_CREATE)
        connection.execute(_REGISTER)
    of_layer = "lower(f_table_name) = lower(?) AND f_geometry_column = ?"
    found = connection.execute(f"SELECT styleName FROM layer_styles WHERE {of_layer}", (name, geometry)).fetchall()  # noqa: S608 - a constant
    if found and not overwrite:
        names = ", ".join(str(one) for (one,) in found)
        raise VectorError(f"the layer {name} of {file} has a style already ({names}); allow overwrite to give it this one.")
    # QGIS leaves the owner of the styles that it saves empty, so that a style of samgeo that was edited there is kept.
    connection.execute(f"DELETE FROM layer_styles WHERE {of_layer} AND owner = ?", (name, geometry, NAME))  # noqa: S608 - a constant
    connection.execute(f"UPDATE layer_styles SET useAsDefault = 0 WHERE {of_layer}", (name, geometry))  # noqa: S608 - a constant
    connection.execute(_INSERT, row)
    connection.execute(
        "UPDATE gpkg_contents SET last_change = strftime('%Y-%m-%dT%H:%M:%fZ','now') WHERE table_name = 'layer_styles'"
    )
