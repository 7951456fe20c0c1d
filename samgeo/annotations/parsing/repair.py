"""Repair of invalid polygons and of the order of corners, the same for all annotation formats.

A repaired polygon covers the area that pycocotools, OpenCV and GDAL fill. For a ring that crosses itself, these are the points
that the ring goes around an odd number of times. Holes are cut out, and parts that overlap are joined.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

__all__ = ["in_order", "repaired"]

_AREAL = (3, 6)  # shapely's type ids of polygons and multipolygons


def repaired(geometry: shapely.Geometry) -> BaseGeometry:
    """Return a valid polygon that covers the area which drawing programs fill for a polygon.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon

    Returns
    -------
    Polygon or MultiPolygon
        The repaired polygon; empty if it has no area or a coordinate that is not finite.
    """
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return shapely.Polygon()
    parts = []
    for part in shapely.get_parts(geometry):
        holes = [_filled_ring(ring) for ring in part.interiors]
        shell = _filled_ring(part.exterior)
        parts.append(shapely.difference(shell, shapely.union_all(holes)) if holes else shell)
    return _polygons(shapely.union_all(parts))


def in_order(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return four corners in clockwise order on a screen (y down) around their mean, from the first of the given corners.

    Parameters
    ----------
    corners : ndarray, shape (4, 2)

    Returns
    -------
    ndarray, shape (4, 2)
    """
    x, y = (corners - corners.mean(axis=0)).T
    angles = np.arctan2(y, x)
    order = np.argsort((angles - angles[0]) % (2 * np.pi), kind="stable")
    return np.asarray(corners[order])


def _filled_ring(ring: shapely.LinearRing) -> BaseGeometry:
    """Return the area that a ring goes around an odd number of times."""
    polygon = shapely.Polygon(ring)
    return polygon if polygon.is_valid else _polygons(shapely.make_valid(polygon, method="linework"))


def _polygons(geometry: shapely.Geometry) -> BaseGeometry:
    """Return the union of the polygons in a geometry, without the lines and points that a repair can leave."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.union_all(parts[np.isin(shapely.get_type_id(parts), _AREAL)])
