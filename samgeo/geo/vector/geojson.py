"""Streaming writer of GeoJSON with exact coordinates, the CRS and the provenance, and reader of its head.

Longitudes are from -180 to 180 degrees, and geometries that cross the antimeridian are cut there (RFC 7946, section 3.1.9).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely

from samgeo.errors import VectorError
from samgeo.geo.coordinates.antimeridian import cut_at_antimeridian

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

    from samgeo.types import CRSLike

POLYGON, MULTIPOLYGON = 3, 6

__all__ = ["SCHEMA_MEMBER", "crs_name", "read_head", "write_geojson", "write_geojson_parts"]

# Member for `read_vectors` with what GeoJSON cannot express: the columns of a file without features, and a missing CRS.
SCHEMA_MEMBER = "samgeo_schema"

CHUNK = 10_000
HEAD_SIZE = 65_536


def crs_name(crs: CRSLike) -> str | None:
    """Return the name of a CRS in GeoJSON of 2008, which GDAL reads.

    Parameters
    ----------
    crs : anything that pyproj takes, or None
        The CRS.

    Returns
    -------
    str or None
        None if there is no CRS.

    Raises
    ------
    VectorError
        If no authority has a code for the CRS, because GeoJSON can only name a CRS.
    """
    if crs is None:
        return None
    crs = pyproj.CRS.from_user_input(crs)
    authority = crs.to_authority()
    if authority is None or not crs.equals(pyproj.CRS.from_authority(*authority), ignore_axis_order=True):
        raise VectorError(
            f"GeoJSON can only hold a CRS with a code of an authority such as EPSG, and {crs.name!r} has none; "
            "write .parquet, .gpkg or .fgb, or reproject to a CRS with a code."
        )
    return "urn:ogc:def:crs:OGC:1.3:CRS84" if authority == ("EPSG", "4326") else "urn:ogc:def:crs:{}::{}".format(*authority)


def write_geojson(frame: gpd.GeoDataFrame, path: Path, members: dict[str, Any]) -> None:
    """Write features with exact coordinates; the given members of the collection come before the features.

    In longitude and latitude, longitudes beyond 180 degrees are shifted by a turn, and geometries that cross the antimeridian
    are cut.

    Raises
    ------
    VectorError
        If the CRS has no name, or JSON cannot hold a value.
    OSError
        If the file cannot be written.
    """
    write_geojson_parts([frame], path, members)


def write_geojson_parts(frames: Iterable[gpd.GeoDataFrame], path: Path, members: dict[str, Any]) -> int:
    """Write the features of one or more tables with the same columns and CRS; return the number of features.

    Raises
    ------
    VectorError, OSError
        As `write_geojson`.
    """
    count = 0
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for number, frame in enumerate(frames):
            if number == 0:
                file.write(_head(frame, members)[:-1] + ',"features":[')
            for feature in _features(frame, count):
                file.write(f"{',' if count else ''}\n{feature}")
                count += 1
        file.write("\n]}\n")
    return count


def _head(frame: gpd.GeoDataFrame, members: dict[str, Any]) -> str:
    name = crs_name(frame.crs)
    columns = {str(column): str(dtype) for column, dtype in frame.drop(columns=frame.geometry.name).dtypes.items()}
    head = {
        "type": "FeatureCollection",
        "crs": None if name is None else {"type": "name", "properties": {"name": name}},
        **members,
        SCHEMA_MEMBER: {"crs": name, "columns": columns},
    }
    return _dumps(head)


def _features(frame: gpd.GeoDataFrame, first: int) -> Iterator[str]:
    """Yield features as text; ``first`` is the number of the first one in the file.

    GDAL takes a column ``id`` of numbers for the identifiers of the features, and warns if they are not unique, as in a table
    of tracks. Features of a table with such a column therefore have a member ``id`` of their own, which is their number.
    """
    given = frame.geometry.to_numpy()
    geometry = cut_at_antimeridian(given, frame.crs)
    # Shifting a multipolygon of one part gives a polygon; it is converted back, because a file has features of one type.
    single = (shapely.get_type_id(given) == MULTIPOLYGON) & (shapely.get_type_id(geometry) == POLYGON)
    geometry[single] = [shapely.multipolygons([one]) for one in geometry[single]]
    table = frame.drop(columns=frame.geometry.name)
    is_numbered = "id" in table
    for start in range(0, len(frame), CHUNK):
        shapes = shapely.to_geojson(geometry[start : start + CHUNK])
        records = enumerate(_records(table.iloc[start : start + CHUNK]), first + start)
        for (number, properties), shape in zip(records, shapes, strict=True):
            identifier = f'"id":{number},' if is_numbered else ""
            yield f'{{"type":"Feature",{identifier}"properties":{_dumps(properties)},"geometry":{shape or "null"}}}'


def read_head(path: Path) -> dict[str, Any]:
    """Return the members of a feature collection other than its features.

    If they are at the beginning, as samgeo writes them, only the beginning of the file is read.

    Raises
    ------
    ValueError
        If the file is not JSON.
    OSError
        If the file cannot be read.
    """
    with path.open(encoding="utf-8-sig") as file:
        head = _members_before_features(file.read(HEAD_SIZE))
        if head is not None and SCHEMA_MEMBER in head:
            return head
        file.seek(0)
        whole = json.load(file)
    return {name: value for name, value in whole.items() if name != "features"} if isinstance(whole, dict) else {}


def _members_before_features(text: str) -> dict[str, Any] | None:
    decoder = json.JSONDecoder()
    head: dict[str, Any] = {}
    position = text.find("{") + 1
    try:
        while True:
            name, position = decoder.raw_decode(text, _skip(text, position))
            position = _skip(text, position)
            if name == "features":
                return head
            head[name], position = decoder.raw_decode(text, _skip(text, position))
            position = _skip(text, position)
    except ValueError:
        return None


def _skip(text: str, position: int) -> int:
    """Return the position at which the next name or value starts."""
    while position < len(text) and text[position] in " \t\r\n:,":
        position += 1
    return position


def _records(table: pd.DataFrame) -> Iterator[dict[str, Any]]:
    names = [str(column) for column in table.columns]
    columns = [table.iloc[:, number].astype(object) for number in range(len(names))]
    values = [column.where(column.notna(), None).tolist() for column in columns]
    return (dict(zip(names, row, strict=True)) for row in (zip(*values, strict=True) if values else ((),) * len(table)))


def _dumps(value: object) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, default=_plain, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise VectorError(f"GeoJSON cannot hold a value ({error}); remove its column, or write .parquet.") from None


def _plain(value: object) -> object:
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if hasattr(value, "isoformat"):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} {value!r}")
