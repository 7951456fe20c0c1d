"""Building footprints in CSV, with or without gzip compression: Google Open Buildings and SpaceNet.

``"open-buildings"``: the column ``geometry`` has WKT in longitude and latitude, and ``confidence`` becomes the score. Features
that meet no image are skipped while the file is read.

``"spacenet"``: the polygon of a row is in ``PolygonWKT_Pix`` (continuous pixel coordinates) or else in ``PolygonWKT_Geo``
(longitude and latitude). ``Confidence``, which results have, becomes the score. The image of a row is the one whose name is the
``ImageId``, or ends with ``_`` and the ``ImageId``. ``POLYGON EMPTY`` stands for an image without objects.

All objects have one class, ``building`` unless the caller gives another.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.annotations.formats.vector_files import extent_of, read_frame
from samgeo.annotations.images import ImageFiles, geobox_of, without_suffix
from samgeo.annotations.parsing.csv_rows import header_of, read_records
from samgeo.annotations.parsing.json_shapes import text_of
from samgeo.annotations.parsing.rows import Gathered, Row
from samgeo.annotations.parsing.text_files import MAX_ROWS, Where, as_number, fail, shown

if TYPE_CHECKING:
    from samgeo.annotations.table import Image

__all__ = ["Near", "format_of", "near", "read"]

Near = Callable[[NDArray[np.object_]], NDArray[np.bool_]]
"""Function that returns for each geometry, in longitude and latitude, whether it may meet an image."""

# Only polygons are parsed: geometry collections could be nested without limit.
_POLYGON = re.compile(r"\s*(MULTI)?POLYGON\b", re.IGNORECASE)
_AT_A_TIME = 10_000


def format_of(head: bytes) -> str:
    """Return ``"spacenet"``, ``"open-buildings"`` or ``""``, according to the names of the columns."""
    names = set(header_of(head))
    if "ImageId" in names and names & {"PolygonWKT_Pix", "PolygonWKT_Geo"}:
        return "spacenet"
    return "open-buildings" if "geometry" in names and names & {"confidence", "full_plus_code", "area_in_meters"} else ""


def read(gathered: Gathered, paths: Sequence[Path], images: ImageFiles, kind: str, class_name: str) -> None:
    """Read files of the format ``"open-buildings"`` or ``"spacenet"``; all objects get the class ``class_name``."""
    if kind == "spacenet":
        for path in paths:
            _read_spacenet(gathered, path, images, class_name)
        return
    if not images.paths:
        fail(
            Where(paths[0]),
            "it is georeferenced, and an image is needed to compute pixel coordinates",
            "give the image, or the folder of images, with images=...",
        )
    is_near = near(images)
    found: list[tuple[Where, shapely.Geometry, dict[str, Any]]] = []
    for path in paths:
        found += _open_buildings(gathered, path, is_near)
    _add_frame(gathered, found, images, class_name)


def near(images: ImageFiles) -> Near:
    """Return a function that tells which geometries in longitude and latitude may meet an image.

    If the extent of an image in longitude and latitude is not known, the function keeps all geometries.
    """
    extents = [extent_of(geobox_of(path), "EPSG:4326") for path in images.paths.values()]
    known = [extent for extent in extents if extent is not None]
    if not known or len(known) < len(extents):
        return lambda geometries: np.ones(len(geometries), dtype=np.bool_)
    tree = shapely.STRtree(known)

    def test(geometries: NDArray[np.object_]) -> NDArray[np.bool_]:
        which = np.zeros(len(geometries), dtype=np.bool_)
        which[tree.query(geometries)[0]] = True
        return which

    return test


def _parsed(gathered: Gathered, texts: Sequence[str], wheres: Sequence[Where]) -> NDArray[np.object_]:
    """Parse WKT; return polygons, with None where a text is not a polygon."""
    checked = [text if _POLYGON.match(text) else None for text in texts]
    with np.errstate(all="ignore"):
        # Numbers that overflow become infinite. They are refused later with other infinite coordinates.
        geometries = np.array(shapely.force_2d(shapely.from_wkt(checked, on_invalid="ignore")), dtype=np.object_)
    for geometry, text, where in zip(geometries, texts, wheres, strict=True):
        with gathered.faults:
            if geometry is None:
                fail(where, f"its polygon is {shown(text)}, not a POLYGON or MULTIPOLYGON in WKT")
    return geometries


def _open_buildings(gathered: Gathered, path: Path, is_near: Near) -> Iterator[tuple[Where, shapely.Geometry, dict[str, Any]]]:
    records: list[tuple[Where, dict[str, str]]] = []

    def flush() -> Iterator[tuple[Where, shapely.Geometry, dict[str, Any]]]:
        wheres = [where for where, _ in records]
        geometries = _parsed(gathered, [record["geometry"] for _, record in records], wheres)
        for number in np.flatnonzero(is_near(geometries)).tolist():
            where, record = records[number]
            with gathered.faults:
                sure = record.get("confidence", "")
                yield where, geometries[number], {"score": as_number(sure, where, "its confidence") if sure else np.nan}
        records.clear()

    for where, record in read_records(gathered, path):
        if "geometry" not in record:
            fail(where, "it has no column geometry", "give an Open Buildings file with polygons", whole=True)
        records.append((where, record))
        if len(records) == _AT_A_TIME:
            yield from flush()
    yield from flush()


def _add_frame(
    gathered: Gathered, found: Sequence[tuple[Where, shapely.Geometry, dict[str, Any]]], images: ImageFiles, class_name: str
) -> None:
    """Add features in longitude and latitude; the georeference of their images gives their pixel coordinates."""
    for path, some in _by_path(found).items():
        columns = pd.DataFrame([columns for _, _, columns in some])
        frame = gpd.GeoDataFrame(columns, geometry=[geometry for _, geometry, _ in some], crs="EPSG:4326")
        places = [where.part for where, _, _ in some]
        read_frame(gathered, frame, Where(path), images, class_name=class_name, places=places)


def _by_path(found: Sequence[tuple[Where, Any, Any]]) -> dict[Path, list[tuple[Where, Any, Any]]]:
    groups: dict[Path, list[tuple[Where, Any, Any]]] = {}
    for one in found:
        groups.setdefault(one[0].path, []).append(one)
    return groups


def _read_spacenet(gathered: Gathered, path: Path, images: ImageFiles, class_name: str) -> None:
    placed: list[tuple[Where, shapely.Geometry, dict[str, Any]]] = []
    names: dict[str, Image] = {}
    for number, (where, record) in enumerate(read_records(gathered, path)):
        if number >= MAX_ROWS:
            fail(where, f"there are more than {MAX_ROWS} annotations", "read the file in parts", whole=True)
        with gathered.faults:
            id_ = text_of(record.get("ImageId"), where, "its ImageId")
            if id_ not in names:
                names[id_] = images.image(_image_name(id_, images, where), None, where)
            in_pixels = bool(record.get("PolygonWKT_Pix"))
            (geometry,) = _parsed(gathered, [record.get("PolygonWKT_Pix") or record.get("PolygonWKT_Geo") or ""], [where])
            if geometry is None:
                continue
            sure = record.get("Confidence", "")
            score = as_number(sure, where, "its Confidence") if sure else np.nan
            image = names[id_].name
            if in_pixels or geometry.is_empty:
                gathered.images.setdefault(image, names[id_])
            if geometry.is_empty:
                continue
            if in_pixels:
                gathered.add(Row(where, image, class_name, shape=geometry, score=score))
            else:
                placed.append((where, geometry, {"image": image, "score": score}))
    if placed:
        _add_frame(gathered, placed, images, class_name)


def _image_name(id_: str, images: ImageFiles, where: Where) -> str:
    """Return the name of the image of an ImageId."""
    if images.find(id_, where) is not None:
        return id_
    ending = "_" + id_
    found = [name for name in (*images.paths, *images.shapes) if without_suffix(PurePosixPath(name).name).endswith(ending)]
    if len(set(found)) > 1:
        fail(
            where, f"the ImageId {id_!r} fits both {found[0]} and {found[1]} of {images.what}", "give the folder of one of them"
        )
    return found[0] if found else id_
