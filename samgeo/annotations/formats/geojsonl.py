"""GeoJSON with one feature on each line (GeoJSONL, GeoJSONSeq), with or without gzip compression.

Microsoft publishes its building footprints in this format. Coordinates are longitude and latitude. The file is read in batches,
and features that meet no image are skipped.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from samgeo.annotations.parsing.rows import Gathered
from samgeo.annotations.parsing.text_files import MAX_ROWS, Where, fail, shown, stream_lines
from samgeo.errors import AnnotationError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from samgeo.annotations.formats.footprint_csv import Near
    from samgeo.types import Json

__all__ = ["is_lines", "read_features"]

_SEPARATOR = "\x1e"
_FEATURE = re.compile(rb'"type"\s*:\s*"Feature"')
_AT_A_TIME = 10_000
_MOST_COLUMNS = 100


def is_lines(head: bytes) -> bool:
    """Return whether the first line of a file is a whole feature."""
    first, end, _ = head.removeprefix(_SEPARATOR.encode()).partition(b"\n")
    if not _FEATURE.search(first):
        return False
    if not end and len(head) >= 1 << 16:
        return True
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and value.get("type") == "Feature"


def read_features(gathered: Gathered, path: Path, near: Near | None) -> tuple[gpd.GeoDataFrame, list[str]]:
    """Return the features of a file, in longitude and latitude, and the place of each, such as ``"line 3"``.

    Parameters
    ----------
    gathered : Gathered
    path : Path
    near : callable, optional
        Function that tells which geometries to keep. By default all are kept.
    """
    kept: list[tuple[int, Any, dict[str, Any]]] = []
    waiting: list[tuple[int, Any, dict[str, Any]]] = []

    def flush() -> None:
        geometries = np.full(len(waiting), None, dtype=object)
        geometries[:] = [geometry for _, geometry, _ in waiting]
        is_near = np.ones(len(waiting), dtype=np.bool_) if near is None else near(geometries) | shapely.is_missing(geometries)
        kept.extend(one for one, wanted in zip(waiting, is_near, strict=True) if wanted)
        waiting.clear()
        if len(kept) > MAX_ROWS:
            fail(Where(path), f"there are more than {MAX_ROWS} annotations", "read the file in parts", whole=True)

    for number, line in stream_lines(path):
        text = line.lstrip(_SEPARATOR).strip()
        if not text:
            continue
        with gathered.faults:
            geometry, properties = _feature(text, Where(path, f"line {number}"))
            waiting.append((number, geometry, properties))
        if len(waiting) == _AT_A_TIME:
            flush()
    flush()
    names = list(dict.fromkeys(name for _, _, properties in kept for name in properties))[:_MOST_COLUMNS]
    columns = {name: [properties.get(name) for _, _, properties in kept] for name in names if name != "geometry"}
    table = pd.DataFrame(columns, index=range(len(kept)), dtype=object)
    frame = gpd.GeoDataFrame(table, geometry=[geometry for _, geometry, _ in kept], crs="EPSG:4326")
    return frame, [f"line {number}" for number, _, _ in kept]


def _feature(text: str, where: Where) -> tuple[shapely.Geometry | None, dict[str, Any]]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise AnnotationError(f"{where}: it is not valid JSON ({str(error)[:100]}); check that the file is complete.") from None
    if not isinstance(value, dict) or value.get("type") != "Feature":
        fail(where, "it is not a GeoJSON feature")
    properties = value.get("properties") or {}
    if not isinstance(properties, dict):
        fail(where, f"its properties are {shown(properties)}, not an object")
    return _geometry(value.get("geometry"), where), properties


def _geometry(value: Json, where: Where) -> shapely.Polygon | shapely.MultiPolygon | None:
    """Return the polygon or multipolygon of a GeoJSON geometry; None if the feature has no geometry."""
    if value is None:
        return None
    kind = value.get("type") if isinstance(value, dict) else None
    if kind not in ("Polygon", "MultiPolygon"):
        fail(where, f"its geometry is {shown(kind)}, not a polygon")
    parts = value.get("coordinates")
    try:
        rings = [[_ring(ring) for ring in part] for part in ([parts] if kind == "Polygon" else parts)]
        polygons = [shapely.Polygon(part[0], part[1:]) for part in rings]
    except (TypeError, ValueError, IndexError, KeyError, OverflowError, shapely.errors.ShapelyError) as error:
        raise AnnotationError(f"{where}: its coordinates are not a polygon ({str(error)[:100]}); correct the file.") from None
    return polygons[0] if kind == "Polygon" else shapely.MultiPolygon(polygons)


def _ring(ring: Json) -> NDArray[np.float64]:
    points = np.array([point[:2] for point in ring], dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ValueError("a ring is not a list of x and y")
    return points
