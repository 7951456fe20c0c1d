"""Reprojection of geometries with their edges, because a straight edge in one CRS is a curve in another.

A parallel between two corners is a straight edge in longitude and latitude, and bulges by 120 m in UTM for one degree at 50 N.
Corners are therefore added where an edge would be off by more than a tolerance, and only there, so that buildings keep their
corners. Edges that cross the seam of a map (the antimeridian) are followed around the earth, and rings around a pole are closed
at the pole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from samgeo.errors import VectorError
from samgeo.geo.coordinates.antimeridian import middle_of, period_of, rejoined, shifted_by_turns
from samgeo.geo.coordinates.pixel_coordinates import same_crs, transformer

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

    from samgeo.types import CRSLike, GeometriesLike

__all__ = ["TOLERANCE_M", "Reprojected", "default_tolerance", "reproject", "reproject_frame"]

TOLERANCE_M = 0.001
"""Largest error of an edge in metres, where no raster defines the size of a pixel."""

# Edges shorter than this on the ground are tested in their middle, longer ones at their quarters too, because an edge that
# bends in both directions may be correct in its middle.
_SHORT_M = 1000.0
_EARTH_M = 6_378_137.0

# An edge that is still off after so many halvings is not a curve: it jumps, or cannot be represented.
_MOST_HALVINGS = 36
_MOST_CORNERS = 1_000_000
_ROUNDING = 1e-11

# Points that a projection puts further away than ten turns around the earth, such as the opposite pole in a stereographic map,
# count as not representable.
_FARTHEST_M = 400_000_000.0

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Reprojected:
    """Geometries in another CRS.

    Attributes
    ----------
    geometries : ndarray of shapely geometries, shape (N,)
        Polygons that cross themselves are not repaired. Lost geometries are unchanged.
    lost : ndarray of bool, shape (N,)
        True for geometries with a part that cannot be represented in the CRS.
    """

    geometries: NDArray[np.object_]
    lost: NDArray[np.bool_]


def default_tolerance(crs: pyproj.CRS) -> float:
    """Return one millimetre on the ground in the unit of a CRS."""
    unit = crs.axis_info[0].unit_conversion_factor if crs.axis_info else 1.0
    return TOLERANCE_M / (unit * _EARTH_M if crs.is_geographic else unit)


def reproject(
    geometries: GeometriesLike, source: pyproj.CRS, target: pyproj.CRS, *, tolerance: float | None = None, dense: bool = True
) -> Reprojected:
    """Reproject geometries to another CRS.

    Parameters
    ----------
    geometries : array-like of shapely geometries, shape (N,)
        Two-dimensional. Missing and empty ones stay unchanged.
    source, target : pyproj.CRS
        Coordinates are in the order x, y (longitude, latitude). Where both are the same, geometries stay unchanged.
    tolerance : float, optional
        By how much an edge may be off, in the unit of the target; one millimetre on the ground by default.
    dense : bool, default True
        Whether corners are added so that edges are correct. Otherwise only corners are transformed.

    Returns
    -------
    Reprojected
        x continues beyond the seam of the map where a geometry crosses it. `antimeridian.shifted_by_turns` shifts geometries to
        a frame.
    """
    given = np.asarray(geometries, dtype=object)
    xy, owner = shapely.get_coordinates(given, return_index=True)
    if same_crs(source, target):
        return Reprojected(given, _owners(owner[~np.isfinite(xy).all(axis=1)], len(given)))
    # A geometry that is cut at 180 degrees is joined first, because it is one piece in other CRSs.
    given = rejoined(given, period_of(source))
    xy, owner = shapely.get_coordinates(given, return_index=True)
    way = _Way(_transform(source, target), source, target, tolerance or default_tolerance(target))
    placed = way.transform(xy)
    lost = _owners(owner[~np.isfinite(placed).all(axis=1)], len(given))
    result = np.asarray(shapely.set_coordinates(given.copy(), np.where(np.isfinite(placed), placed, 0.0)), dtype=object)
    if dense:
        for index in np.flatnonzero(_bent(given, xy, owner, placed, way) & ~lost):
            followed = way.follow(given[index])
            lost[index] = followed is None
            if followed is not None:
                result[index] = way.closed_up(given[index], followed)
    result[lost] = given[lost]
    return Reprojected(result, lost)


def reproject_frame(
    frame: gpd.GeoDataFrame, crs: CRSLike, *, name: str = "the layer", near: gpd.GeoDataFrame | None = None
) -> gpd.GeoDataFrame:
    """Reproject features to another CRS with their edges, correct to one millimetre on the ground.

    Parameters
    ----------
    frame : GeoDataFrame
        With a CRS.
    crs : anything that pyproj takes
        CRS of the result.
    name : str
        Name of the features, for messages.
    near : GeoDataFrame, optional
        Features in the CRS of the result. Longitudes are shifted to within half a turn of their middle. By default they are not
        shifted.

    Raises
    ------
    VectorError
        If a feature has a part that cannot be represented in the CRS, or there is no transform between the CRSs.
    """
    target = pyproj.CRS.from_user_input(crs)
    geometries = shapely.force_2d(frame.geometry.to_numpy())
    try:
        placed = reproject(geometries, frame.crs, target)
    except pyproj.exceptions.ProjError as error:
        raise VectorError(f"{name} cannot be transformed to {target.name} ({error}); check both CRSs.") from None
    if placed.lost.any():
        first = int(np.argmax(placed.lost))
        more = f" (of {int(placed.lost.sum())} features in all)" if placed.lost.sum() > 1 else ""
        raise VectorError(
            f"feature {first} of {name} cannot be transformed to {target.name}, because a part of it lies outside the domain "
            f"of that CRS{more}. Check that the features are in {frame.crs.name}, and clip them to the area that you need."
        )
    moved = placed.geometries
    if near is not None:
        period = period_of(target)
        moved = shifted_by_turns(moved, middle_of(near.geometry.to_numpy(), period), period)
    return frame.set_geometry(gpd.GeoSeries(moved, index=frame.index, crs=target))


@dataclass(frozen=True, slots=True, eq=False)
class _Way:
    """The transform from one CRS to another, with the tolerance of edges."""

    transform: Callable[[Floats], Floats]
    source: pyproj.CRS
    target: pyproj.CRS
    tolerance: float

    @property
    def period(self) -> float | None:
        return period_of(self.target)

    def off(self, a: Floats, b: Floats, placed_a: Floats, placed_b: Floats) -> NDArray[np.bool_]:
        """Return which edges from ``a`` to ``b``, shape (N, 2), are off by more than the tolerance."""
        if not len(a):
            return np.zeros(0, dtype=bool)
        off = self._off_at(0.5, a, b, placed_a, placed_b)
        long = np.hypot(*(b - a).T) > _length(self.source)
        with np.errstate(invalid="ignore"):
            long |= np.hypot(*(placed_b - placed_a).T) > _length(self.target)
        some = np.flatnonzero(long & ~off)
        for share in (0.25, 0.75) if len(some) else ():
            off[some] |= self._off_at(share, a[some], b[some], placed_a[some], placed_b[some])
        return off

    def _off_at(self, share: float, a: Floats, b: Floats, placed_a: Floats, placed_b: Floats) -> NDArray[np.bool_]:
        """Return which edges are off at a share of their length, or have a point there that does not exist."""
        with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
            step = self._short(placed_b - placed_a)
            # The point is computed symmetrically from both ends, so that neighbours get the same corners on a shared edge.
            between = self._short(self.transform(a * (1 - share) + b * share) - placed_a)
            length = (step**2).sum(axis=1)
            along = np.clip((between * step).sum(axis=1) / np.where(length > 0, length, 1), 0, 1)
            distance = np.hypot(*(between - along[:, None] * step).T)
            return np.asarray(~(distance <= self.tolerance))

    def _short(self, step: Floats) -> Floats:
        """Return steps in the shorter direction around the earth."""
        period = self.period
        if period is None:
            return step
        return np.stack([step[:, 0] - period * np.rint(step[:, 0] / period), step[:, 1]], axis=1)

    def line(self, xy: Floats) -> Floats | None:
        """Return a line of corners, shape (N, 2), with the added corners; None if it cannot be represented."""
        placed = self.transform(xy)
        fresh = np.ones(len(xy) - 1, dtype=bool)
        for _ in range(_MOST_HALVINGS):
            if len(xy) > _MOST_CORNERS or not np.isfinite(placed).all():
                return None
            edges = np.flatnonzero(fresh)
            off = edges[self.off(xy[edges], xy[edges + 1], placed[edges], placed[edges + 1])]
            if not len(off):
                return self._unwrapped(placed)
            middle = (xy[off] + xy[off + 1]) / 2
            fresh[:] = False
            fresh[off] = True
            xy, placed = np.insert(xy, off + 1, middle, axis=0), np.insert(placed, off + 1, self.transform(middle), axis=0)
            fresh = np.insert(fresh, off + 1, True)
        return None

    def _unwrapped(self, placed: Floats) -> Floats:
        period = self.period
        if period is None or not (np.abs(np.diff(placed[:, 0])) > period / 2).any():
            return placed
        return np.stack([np.unwrap(placed[:, 0], period=period), placed[:, 1]], axis=1)

    def follow(self, geometry: BaseGeometry) -> BaseGeometry | None:
        """Return a geometry with the added corners; None if it cannot be represented."""
        kind = geometry.geom_type
        if kind in {"LineString", "LinearRing"}:
            line = self.line(shapely.get_coordinates(geometry))
            return None if line is None else shapely.LineString(line)
        if isinstance(geometry, shapely.Polygon):
            return geometry if geometry.is_empty else self._polygon(geometry)
        if kind in {"Point", "MultiPoint"}:
            placed = self.transform(shapely.get_coordinates(geometry))
            return shapely.set_coordinates(geometry, placed) if np.isfinite(placed).all() else None
        parts: list[Any] = [self.follow(part) for part in shapely.get_parts(geometry)]
        if any(part is None for part in parts):
            return None
        if kind == "MultiPolygon":
            return shapely.MultiPolygon(list(shapely.get_parts(np.array(parts, dtype=object))))
        return shapely.MultiLineString(parts) if kind == "MultiLineString" else shapely.GeometryCollection(parts)

    def _polygon(self, polygon: shapely.Polygon) -> BaseGeometry | None:
        rings = [self.line(shapely.get_coordinates(ring)) for ring in (polygon.exterior, *polygon.interiors)]
        if any(ring is None for ring in rings):
            return None
        given = [ring for ring in rings if ring is not None]
        period = self.period
        if period is None:
            return shapely.Polygon(given[0], given[1:])
        closed = [
            self._closed(ring, shapely.get_coordinates(source), period)
            for ring, source in zip(given, (polygon.exterior, *polygon.interiors), strict=True)
        ]
        if any(ring is None for ring in closed):
            return None
        shell, *holes = (shapely.Polygon(ring) for ring in closed)
        if not holes:
            return shell
        if all(shapely.covers(shapely.box(*shell.bounds), hole) for hole in holes) and len(closed[0]) == len(given[0]):  # type: ignore[arg-type]
            return shapely.Polygon(shell.exterior, [hole.exterior for hole in holes])
        turns = [
            shapely.transform(hole, lambda xy, turn=turn: xy + np.array([turn * period, 0.0]))  # type: ignore[misc]
            for hole in shapely.make_valid(np.array(holes, dtype=object), method="structure")
            for turn in (-2, -1, 0, 1, 2)
        ]
        return shapely.difference(shapely.make_valid(shell, method="structure"), shapely.union_all(turns))

    def closed_up(self, given: BaseGeometry, followed: BaseGeometry) -> BaseGeometry:
        """Return a geometry without the slit along the meridian where a whole turn begins and ends, as in a polar cap."""
        period = period_of(self.source)
        x0, _, x1, _ = shapely.bounds(given).tolist()
        if period is None or x1 - x0 < period * (1 - _ROUNDING) or not shapely.is_valid(given):
            return followed
        valid = shapely.make_valid(followed, method="structure")
        closed: BaseGeometry = shapely.set_precision(valid, self.tolerance / 1000)
        return closed

    def _closed(self, ring: Floats, source: Floats, period: float) -> Floats | None:
        """Return a closed ring; a ring around the earth is closed along the pole in it. None if that is impossible."""
        turns = round(float(ring[-1, 0] - ring[0, 0]) / period)
        if turns == 0:
            return ring
        if abs(turns) != 1 or not self.target.is_geographic:
            return None
        quarter = period / 4
        poles = np.array([[0.0, quarter], [0.0, -quarter]])
        there = _transform(self.target, self.source)(poles)
        inside = np.isfinite(there).all(axis=1) & shapely.contains_xy(
            shapely.make_valid(shapely.Polygon(source), method="structure"), *np.where(np.isfinite(there), there, 0.0).T
        )
        if inside.sum() != 1:
            return None
        pole = poles[inside][0, 1]
        return np.concatenate([ring, [[ring[-1, 0], pole], [ring[0, 0], pole], ring[0]]])


def _bent(given: NDArray[np.object_], xy: Floats, owner: NDArray[np.int64], placed: Floats, way: _Way) -> NDArray[np.bool_]:
    """Return which geometries have edges that need more corners, or that cross the seam of the map."""
    kinds = shapely.get_type_id(given)
    # If there are only polygons, the corners of the rings are in the order of the geometries.
    if not np.isin(kinds, (-1, 3, 6)).all():
        return np.asarray((kinds > 0) & (kinds != 4) & ~shapely.is_empty(given), dtype=np.bool_)
    parts = shapely.get_parts(given)
    ring_of = shapely.get_coordinates(shapely.get_rings(parts), return_index=True)[1]
    first = np.flatnonzero(ring_of[1:] == ring_of[:-1])
    off = way.off(xy[first], xy[first + 1], placed[first], placed[first + 1])
    if way.period is not None:
        with np.errstate(invalid="ignore"):
            off |= np.abs(placed[first + 1, 0] - placed[first, 0]) > way.period / 2
    return _owners(owner[first[off]], len(given))


def _owners(which: NDArray[np.int64], count: int) -> NDArray[np.bool_]:
    result = np.zeros(count, dtype=bool)
    result[which] = True
    return result


def _length(crs: pyproj.CRS) -> float:
    """Return the length of a short edge in the unit of a CRS."""
    return default_tolerance(crs) * _SHORT_M / TOLERANCE_M


def _transform(source: pyproj.CRS, target: pyproj.CRS) -> Callable[[Floats], Floats]:
    transform = transformer(source, target)
    farthest = default_tolerance(target) * _FARTHEST_M / TOLERANCE_M

    def apply(xy: Floats) -> Floats:
        x, y = transform(xy[:, 0], xy[:, 1])
        placed = np.stack([x, y], axis=1)
        placed[~(np.abs(placed) <= farthest).all(axis=1)] = np.inf
        return placed

    return apply
