"""Polygons from outside a session, in any CRS, to the raster's CRS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import shapely

from samgeo.errors import OptionError, VectorError
from samgeo.geo.prompts import PIXELS
from samgeo.geo.vectors import read_vectors
from samgeo.map.actions import Proposed
from samgeo.map.export import check_polygons, is_complete
from samgeo.segment.vectorize import georeference

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["place_geometry", "read_proposals"]


def place_geometry(geometry: Any, geobox: GeoBox, crs: Any = None) -> shapely.Geometry:
    """Bring one polygon to the raster's CRS, with all bits of its coordinates where it is in it.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon
    geobox : GeoBox
        Of the raster.
    crs : anything that pyproj takes, or "pixels", optional
        The raster's own by default.

    Raises
    ------
    VectorError
        If it is not a valid polygon.
    OptionError
        If the CRS is unknown, or the raster has none.
    """
    import geopandas as gpd
    import pyproj

    if not isinstance(geometry, shapely.Geometry):
        raise VectorError(f"the geometry is a {type(geometry).__name__}; give a shapely polygon.")
    check_polygons([geometry], "what was drawn")
    flat: shapely.Geometry = shapely.force_2d(geometry)
    if isinstance(crs, str) and crs == PIXELS:
        (flat,) = georeference(np.array([flat]), geobox.affine)
        return flat
    if crs is None:
        return flat
    if geobox.crs is None:
        raise OptionError(f'the raster has no CRS, so that a polygon in {crs} has no place in it; give crs="{PIXELS}".')
    try:
        series = gpd.GeoSeries([flat], crs=crs)
    except pyproj.exceptions.CRSError as error:
        raise OptionError(f'crs is {crs!r}, which is no CRS ({error}); give one such as "EPSG:4326", or "{PIXELS}".') from None
    placed: shapely.Geometry = series.to_crs(geobox.crs.proj).iloc[0]
    _check_finite([placed])
    return placed


def read_proposals(features: Any, geobox: GeoBox) -> tuple[Proposed, ...]:
    """Read polygons to accept or reject, with the scores and classes that they may have.

    Raises
    ------
    VectorError
        If they cannot be read, have no CRS where one is needed, or are not valid polygons.
    """
    frame = read_vectors(features, crs=None if geobox.crs is None else geobox.crs.proj)
    if geobox.crs is None and frame.crs is not None:
        raise VectorError(
            f"the raster has no CRS, so that features in {frame.crs.to_string()} have no place in it; give them in its pixels."
        )
    check_polygons(frame.geometry, "the proposals")
    _check_finite(frame.geometry)
    rows = zip(
        shapely.force_2d(frame.geometry.to_numpy()),
        *(frame[name].tolist() if name in frame else [None] * len(frame) for name in ("predicted_iou", "stability_score")),
        frame["class"].tolist() if "class" in frame else [None] * len(frame),
        frame["complete"].tolist() if "complete" in frame else [True] * len(frame),
        strict=True,
    )
    return tuple(
        Proposed(geometry, _known(iou), _known(stability), _class_name(class_name), is_complete(complete))
        for geometry, iou, stability, class_name, complete in rows
    )


def _class_name(value: Any) -> str | None:
    if isinstance(value, str):
        return value
    if value is not None and value == value:  # noqa: PLR0124 - a missing value is NaN, which differs from itself
        raise VectorError(f"the class of a proposal is {value!r}; give names.")
    return None


def _known(score: Any) -> float | None:
    return None if score is None or np.isnan(score) else float(score)


def _check_finite(geometries: Any) -> None:
    if not np.isfinite(shapely.bounds(np.asarray(geometries, dtype=object))).all():
        raise VectorError("a polygon has a corner without a place in the raster's CRS; check the CRS that it is in.")
