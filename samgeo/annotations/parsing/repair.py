"""One repair for the polygons of every reader, so that a polygon covers what programs draw of it.

A ring that crosses itself covers what an odd number of its turns go around: pycocotools, OpenCV and GDAL fill it so. Holes are
cut out, and parts of a polygon that overlap are joined.
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
    """Return a valid polygon that covers what is drawn of another one; empty where that has no area.

    Parameters
    ----------
    geometry : Polygon or MultiPolygon

    Returns
    -------
    Polygon or MultiPolygon
    """
    if not np.isfinite(shapely.get_coordinates(geometry)).all():
        return shapely.Polygon()
    parts = []
    for part in shapely.get_parts(geometry):
        holes = [_filled(ring) for ring in part.interiors]
        shell = _filled(part.exterior)
        parts.append(shapely.difference(shell, shapely.union_all(holes)) if holes else shell)
    return _polygons(shapely.union_all(parts))


def in_order(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return four corners in the order in which they lie around their middle, the first one first, clockwise on a screen.

    Parameters
    ----------
    corners : ndarray, shape (4, 2)
    """
    x, y = (corners - corners.mean(axis=0)).T
    turn = np.arctan2(y, x)
    order = np.argsort((turn - turn[0]) % (2 * np.pi), kind="stable")
    return np.asarray(corners[order])


def _filled(ring: shapely.LinearRing) -> BaseGeometry:
    polygon = shapely.Polygon(ring)
    return polygon if polygon.is_valid else _polygons(shapely.make_valid(polygon, method="linework"))


def _polygons(geometry: shapely.Geometry) -> BaseGeometry:
    """Return the polygons of a geometry, without the lines and points that a repair leaves."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    return shapely.union_all(parts[np.isin(shapely.get_type_id(parts), _AREAL)])
