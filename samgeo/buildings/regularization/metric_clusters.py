"""Conversion of polygons in any CRS to metres, cluster by cluster, and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.buildings.regularization.neighbours import candidates, clusters
from samgeo.errors import VectorError
from samgeo.geo.coordinates.local_metres import metres_at

if TYPE_CHECKING:
    from samgeo.types import CRSLike, GeometriesLike

__all__ = ["Metric", "polygonal", "to_metric"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Metric:
    """Polygons in metres around the middle of their cluster. Polygons that are near to each other share one plane.

    Attributes
    ----------
    parts : ndarray of Polygon, shape (N,)
        The polygons.
    row : ndarray of int, shape (N,)
        Row of the feature to which each polygon belongs.
    pairs : ndarray of int, shape (P, 2)
        Pairs of polygons that may be neighbours.
    origin : ndarray, shape (N, 2)
        Origin of the plane of each polygon, in the CRS.
    steps : ndarray, shape (N, 2, 2)
        Matrix from the CRS to metres: ``steps @ (xy - origin)``.
    """

    parts: NDArray[np.object_]
    row: NDArray[np.int64]
    pairs: NDArray[np.int64]
    origin: Floats
    steps: Floats

    def back(self, polygons: list[shapely.Polygon]) -> NDArray[np.object_]:
        """Convert polygons in metres, one for each part, to the coordinates of the CRS."""
        return _moved(polygons, lambda xy, of: (np.linalg.inv(self.steps)[of] @ xy[:, :, None])[:, :, 0] + self.origin[of])


def polygonal(geometries: GeometriesLike) -> tuple[NDArray[np.object_], NDArray[np.int64]]:
    """Return the valid polygons in geometries, and the row of the geometry to which each belongs.

    Raises
    ------
    VectorError
        If a geometry is not a polygon, or has a coordinate that is not finite.
    """
    geometries = shapely.force_2d(np.asarray(geometries, dtype=object))
    there = ~(shapely.is_missing(geometries) | shapely.is_empty(geometries))
    wrong = there & ~np.isin(shapely.get_type_id(geometries), [3, 6])
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise VectorError(
            f"row {first} is a {geometries[first].geom_type}, but footprints must be polygons; remove other features."
        )
    wrong = there & ~np.isfinite(shapely.bounds(geometries)).all(axis=1)
    xy, of = shapely.get_coordinates(geometries, return_index=True)
    wrong[of[~np.isfinite(xy).all(axis=1)]] = True
    if wrong.any():
        first = int(np.flatnonzero(wrong)[0])
        raise VectorError(f"row {first} has a coordinate that is not a finite number; repair or remove it.")
    broken = there & ~shapely.is_valid(geometries)
    geometries[broken] = shapely.make_valid(geometries[broken])
    pieces, owner = shapely.get_parts(geometries, return_index=True)
    parts, piece = shapely.get_parts(pieces, return_index=True)  # Repaired geometries may be collections of multipolygons.
    row = owner[piece]
    wanted = (shapely.get_type_id(parts) == 3) & (shapely.area(parts) > 0)
    return np.asarray(parts[wanted], dtype=object), np.asarray(row[wanted], dtype=np.int64)


def to_metric(geometries: GeometriesLike, crs: CRSLike, reach_m: float, *, keep_small: bool = False) -> Metric:
    """Convert features to metres on the ground, or keep their own units if there is no CRS.

    Small holes and parts are removed, unless ``keep_small`` is true: holes with an area below the square of ``reach_m``, and
    parts that are nowhere wider than ``reach_m``. The largest part of each feature is always kept.

    Parameters
    ----------
    geometries : array-like of Polygon and MultiPolygon
        Missing and empty geometries have no parts.
    crs : anything that pyproj accepts, or None
        CRS of the geometries.
    reach_m : float
        Polygons nearer to each other than this may be neighbours.
    keep_small : bool, default False
        Whether small holes and parts are kept.

    Raises
    ------
    VectorError
        For the reasons given at `polygonal`.
    OptionError
        If the CRS is not a map CRS, or coordinates lie outside of it.
    """
    parts, row = polygonal(geometries)
    if len(parts) == 0:
        return Metric(parts, row, np.empty((0, 2), np.int64), np.empty((0, 2)), np.empty((0, 2, 2)))
    own = metres_at(_middles(parts), crs)
    if not keep_small:
        parts, row, own = _without_specks(parts, row, own, reach_m)
    low_high = shapely.bounds(parts)
    # The norms are the lengths in metres of a unit step along each axis of the CRS.
    reach = reach_m / np.linalg.norm(own, axis=1)
    pairs = candidates(parts, reach)
    cluster = clusters(len(parts), pairs)
    _, first = np.unique(cluster, return_index=True)
    low = np.full((len(first), 2), np.inf)
    high = -low
    np.minimum.at(low, cluster, low_high[:, :2])
    np.maximum.at(high, cluster, low_high[:, 2:])
    middle = (low + high) / 2
    origin, steps = middle[cluster], metres_at(middle, crs)[cluster]
    moved = _moved(parts, lambda xy, of: (steps[of] @ (xy - origin[of])[:, :, None])[:, :, 0])
    return Metric(moved, row, pairs, origin, steps)


def _middles(polygons: NDArray[np.object_]) -> Floats:
    """Return the centres of the bounding boxes, shape (N, 2)."""
    low_high = shapely.bounds(polygons)
    return np.asarray((low_high[:, :2] + low_high[:, 2:]) / 2)


def _without_specks(
    parts: NDArray[np.object_], row: NDArray[np.int64], own: Floats, reach_m: float
) -> tuple[NDArray[np.object_], NDArray[np.int64], Floats]:
    """Remove small parts and small holes."""
    scale = np.abs(np.linalg.det(own))
    area = shapely.area(parts) * scale
    most = np.zeros(int(row.max()) + 1)
    np.maximum.at(most, row, area)
    wanted = area == most[row]
    rest = np.flatnonzero(~wanted)
    in_metres = _moved(parts[rest], lambda xy, of: (own[rest][of] @ xy[:, :, None])[:, :, 0])
    wanted[rest] = ~shapely.is_empty(shapely.buffer(in_metres, -reach_m / 2))
    parts, scale = parts[wanted].copy(), scale[wanted]
    for index in np.flatnonzero(shapely.get_num_interior_rings(parts)).tolist():
        holes = [hole for hole in parts[index].interiors if shapely.Polygon(hole).area * scale[index] >= reach_m**2]
        parts[index] = shapely.Polygon(parts[index].exterior, holes)
    return parts, row[wanted], own[wanted]


def _moved(
    polygons: Sequence[shapely.Polygon] | NDArray[np.object_], move: Callable[[Floats, NDArray[np.int64]], Floats]
) -> NDArray[np.object_]:
    """Apply a function to the coordinates of polygons."""
    polygons = np.array(polygons, dtype=object)
    if len(polygons) == 0:
        return np.empty(0, dtype=object)
    xy, of = shapely.get_coordinates(polygons, return_index=True)
    return np.asarray(shapely.set_coordinates(polygons, move(xy, of)), dtype=object)
