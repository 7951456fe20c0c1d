"""Convert accepted objects to tables and COCO files, and read objects from a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from shapely.affinity import affine_transform

from samgeo.errors import VectorError
from samgeo.map.state.reducer import Annotation
from samgeo.segmentation.masks.rle import HEAD, to_rings, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from shapely.geometry.base import BaseGeometry

    from samgeo.geo.raster.raster import Raster

__all__ = ["REQUIRED", "area_name", "check_polygons", "from_frame", "is_complete", "to_coco", "to_frame", "write_json"]

UNKNOWN = "unknown"
REQUIRED = ("id", "class")
"""Columns that every table of annotations has."""
PX_DECIMALS = 6


def area_name(geobox: GeoBox) -> str:
    """Return the name of the area column: ``area_m2``, or ``area_px`` for a raster without a CRS."""
    return "area_px" if geobox.crs is None else "area_m2"


def to_frame(objects: Sequence[Annotation], geobox: GeoBox) -> gpd.GeoDataFrame:
    """Return objects as a table.

    Parameters
    ----------
    objects : sequence of Annotation
    geobox : GeoBox
        Of the raster.

    Returns
    -------
    GeoDataFrame
        ``id``, ``class``, ``predicted_iou`` and ``stability_score`` (NaN where no model scored the geometry), ``area_m2``
        (``area_px`` without a CRS), ``complete`` (false where the edge of a window cut the outline), ``prompt`` (what the
        object was made from, such as "clicks"), ``edited``, ``model`` (name of the model that drew the first outline, and the
        first 16 digits of the digest of its weights; None if unknown), ``accepted_at`` (time in ISO 8601 and UTC; None if
        unknown), ``geometry``, in the raster's CRS.
    """

    def scores(name: str) -> NDArray[np.float64]:
        return np.array([np.nan if getattr(one, name) is None else getattr(one, name) for one in objects], dtype=np.float64)

    columns = {
        "id": np.array([one.id for one in objects], dtype=np.int64),
        "class": np.array([one.class_name for one in objects], dtype=object),
        "predicted_iou": scores("predicted_iou"),
        "stability_score": scores("stability_score"),
        area_name(geobox): np.array([one.area for one in objects], dtype=np.float64),
        "complete": np.array([one.complete for one in objects], dtype=np.bool_),
        "prompt": np.array([one.prompt for one in objects], dtype=object),
        "edited": np.array([one.edited for one in objects], dtype=np.bool_),
        "model": np.array([one.model for one in objects], dtype=object),
        "accepted_at": np.array([one.accepted_at for one in objects], dtype=object),
    }
    geometry = gpd.GeoSeries([one.geometry for one in objects], dtype="geometry")
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=None if geobox.crs is None else geobox.crs.proj)


def from_frame(
    frame: gpd.GeoDataFrame, name: str, measure: Callable[[Sequence[shapely.Geometry]], list[float]], next_id: int
) -> tuple[Annotation, ...]:
    """Return the objects of a table that a session saved. Other programs may have changed the table since.

    Parameters
    ----------
    frame : GeoDataFrame
        The table, in the raster's CRS.
    name : str
        The name of its file, for messages.
    measure : callable
        Returns the areas of geometries. The areas in the file are not used, because they may be out of date.
    next_id : int
        The first id for objects without one: the next id of the session that saved the table, or 1.

    Raises
    ------
    VectorError
        If the table is not a table of annotations, or has rows that cannot be objects.
    """
    missing = [name for name in REQUIRED if name not in frame]
    if missing:
        raise VectorError(
            f"{name} is not a file of annotations, because it has no {' and '.join(missing)}; choose another name to keep it."
        )
    if frame["class"].isna().any():
        raise VectorError(f"{name} has {int(frame['class'].isna().sum())} objects without a class; give each a class first.")
    check_polygons(frame.geometry, name)
    if frame["id"].dtype.kind not in "iuf" and frame["id"].notna().any():
        raise VectorError(f"{name} has ids that are not numbers; choose another name to keep it.")
    given = [_number(one) for one in frame["id"].tolist()]
    twice = [one for one, times in Counter(given).items() if one is not None and times > 1]
    if twice:
        raise VectorError(
            f"{name} has the id {twice[0]:g} more than once; clear the id of the copies, so that they get new ids."
        )
    unused = count(max([next_id, *(int(one) + 1 for one in given if one is not None)]))
    areas = measure(frame.geometry.tolist())
    return tuple(
        _object(row, next(unused) if number is None else int(number), _single(row[frame.active_geometry_name]), area)
        for row, number, area in zip(frame.to_dict("records"), given, areas, strict=True)
    )


def _object(row: Mapping[Any, Any], number: int, geometry: shapely.Geometry, area: float) -> Annotation:
    return Annotation(
        number,
        geometry,
        str(row["class"]),
        _score(row.get("predicted_iou")),
        _score(row.get("stability_score")),
        area,
        row["prompt"] if isinstance(row.get("prompt"), str) else UNKNOWN,
        row.get("edited") in (True, 1),
        is_complete(row.get("complete")),
        row["model"] if isinstance(row.get("model"), str) else None,
        row["accepted_at"] if isinstance(row.get("accepted_at"), str) else None,
    )


def check_polygons(geometries: Iterable[BaseGeometry | None], what: str) -> None:
    """Check that geometries can be geometries of objects.

    Raises
    ------
    VectorError
        If a geometry is not a valid polygon or multipolygon with an area. The message gives its number, from 0, and why.
    """
    for number, geometry in enumerate(geometries):
        if geometry is None or geometry.is_empty or geometry.geom_type not in {"Polygon", "MultiPolygon"}:
            kind = "nothing" if geometry is None or geometry.is_empty else f"a {geometry.geom_type}"
            raise VectorError(f"feature {number} of {what} is {kind}; give polygons.")
        if not geometry.is_valid:
            why = shapely.is_valid_reason(geometry)
            raise VectorError(
                f"feature {number} of {what} is not a valid polygon ({why}); draw a polygon that does not cross itself."
            )


def to_coco(objects: Sequence[Annotation], raster: Raster, classes: Sequence[str]) -> dict[str, Any]:
    """Return objects as a COCO detection data set of one image.

    Polygons are in pixel coordinates, the outer corner of the first pixel at (0, 0). COCO's polygons have no
    holes: a polygon with holes is cut into parts without holes that cover the same area. The area is exact, in pixels.

    Parameters
    ----------
    objects : sequence of Annotation
    raster : Raster
        The image.
    classes : sequence of str
        The categories, numbered from 1.

    Returns
    -------
    dict
        ``info``, ``licenses``, ``images``, ``categories`` and ``annotations``, each with ``segmentation``, ``bbox`` (x, y,
        width, height), ``area``, ``category_id``, ``complete``, and the scores of the model's mask where there are any.
    """
    height, width = raster.shape
    inverse = (~raster.geobox.affine).to_shapely()
    annotations = []
    for one in objects:
        # An affine and its inverse leave small rounding errors in coordinates that are whole pixels.
        geometry = shapely.transform(affine_transform(one.geometry, inverse), lambda xy: np.round(xy, PX_DECIMALS))
        x0, y0, x1, y1 = shapely.bounds(geometry).tolist()
        scores = {"predicted_iou": one.predicted_iou, "stability_score": one.stability_score}
        annotations.append(
            {
                "id": one.id,
                "image_id": 1,
                "category_id": classes.index(one.class_name) + 1,
                "segmentation": to_rings(geometry),
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": float(shapely.area(geometry)),
                "iscrowd": 0,
                "complete": one.complete,
                **{name: score for name, score in scores.items() if score is not None},
            }
        )
    return {
        **HEAD,
        "images": [{"id": 1, "file_name": Path(raster.name).name, "width": width, "height": height}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, 1)],
        "annotations": annotations,
    }


def is_complete(value: bool | float | None) -> bool:
    """Whether a value of a column ``complete`` is true. A missing value counts as true: no cut is known."""
    return bool(pd.isna(value)) or bool(value)


def _single(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return the polygon of a multipolygon with one part, because files store polygons in this way."""
    return geometry.geoms[0] if isinstance(geometry, shapely.MultiPolygon) and len(geometry.geoms) == 1 else geometry


def _number(value: float | None) -> float | None:
    return None if value is None or np.isnan(value) else float(value)


def _score(value: object) -> float | None:
    """Return a score; None if another program replaced it by a value that is not a number."""
    return _number(value) if isinstance(value, int | float) else None
