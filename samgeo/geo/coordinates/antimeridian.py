"""Coordinates that repeat after one turn around the earth, and geometries that cross the antimeridian.

The same meridian has the longitudes -170 and 190 degrees. A raster may use either (180 to 360, or 170 to 190 across the
antimeridian), and so may a layer; moreover, RFC 7946 cuts geometries at 180 degrees. Projected CRSs of the cylindrical kind
(Mercator) repeat in the same way.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

if TYPE_CHECKING:
    from shapely.geometry.base import BaseGeometry

__all__ = ["cut_at_antimeridian", "middle_of", "near_centre", "period_of", "rejoined", "shifted_by_turns"]

# Tolerance for rounded coordinates at the edge of a turn, as a share of the turn: 0.4 mm on the equator.
_ROUNDING = 1e-11

# Coordinates that are more turns away are not longitudes (metres in a file that claims degrees), and stay unchanged.
_MOST_TURNS = 2

_CYLINDRICAL = ("Mercator", "Cylindrical", "Plate Car")
_NOT_CYLINDRICAL = ("Transverse", "Oblique", "Laborde", "Swiss")
_PROBES = np.array([-135.0, -45.0, 45.0, 135.0, 225.0])


def period_of(crs: pyproj.CRS | None) -> float | None:
    """Return by how much x grows in one turn around the earth.

    Parameters
    ----------
    crs : pyproj.CRS or None
        The CRS of the coordinates.

    Returns
    -------
    float or None
        360 for degrees of longitude, the length of the equator on the map for cylindrical projections. None where x does not
        repeat, or there is no CRS.
    """
    return None if crs is None else _period_of(crs)


@lru_cache(maxsize=64)
def _period_of(crs: pyproj.CRS) -> float | None:
    if crs.is_geographic:
        return float(round(2 * np.pi / crs.axis_info[0].unit_conversion_factor, 9))
    operation = crs.coordinate_operation
    method = "" if operation is None else operation.method_name
    if crs.geodetic_crs is None or not any(word in method for word in _CYLINDRICAL):
        return None
    if any(word in method for word in _NOT_CYLINDRICAL):
        return None
    degree = 1 / (crs.geodetic_crs.axis_info[0].unit_conversion_factor * 180 / np.pi)
    x, _ = pyproj.Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(_PROBES * degree, np.zeros(5))
    # The jump at the seam of the map affects at most one of the four differences, and the median ignores it.
    period = 4 * float(np.median(np.abs(np.diff(x))))
    return period if np.isfinite(period) and period > 0 else None


def near_centre(x: NDArray[np.float64], centre: float, period: float | None) -> NDArray[np.float64]:
    """Shift x by whole turns to within half a turn of a centre; coordinates that are already there keep every bit."""
    if period is None:
        return x
    with np.errstate(invalid="ignore"):
        turns = np.rint((centre - x) / period)
        return np.where((turns == 0) | ~(np.abs(turns) <= _MOST_TURNS), x, x + turns * period)


def middle_of(geometries: NDArray[np.object_], period: float | None) -> float:
    """Return x in the middle of geometries, which is opposite the widest gap between them.

    Parameters
    ----------
    geometries : ndarray of shapely geometries, shape (N,)
        The geometries. In a frame of one turn around the result they lie together.
    period : float or None
        See `period_of`; the middle is 0 where x does not repeat.

    Returns
    -------
    float
        From minus half a turn to half a turn.
    """
    bounds = shapely.bounds(geometries).reshape(-1, 4)
    x = (bounds[:, 0] + bounds[:, 2]) / 2
    if period is None or not np.isfinite(x).any():
        return 0.0
    x = np.sort(x[np.isfinite(x)] % period)
    gaps = np.diff(np.append(x, x[0] + period))
    widest = int(np.argmax(gaps))
    opposite = x[widest] + gaps[widest] / 2 + period / 2
    return float((opposite + period / 2) % period - period / 2)


def shifted_by_turns(geometries: NDArray[np.object_], centre: float, period: float | None) -> NDArray[np.object_]:
    """Shift geometries by whole turns to within half a turn of a centre.

    Geometries that are already there stay unchanged, and so do those that are more than two turns away. Polygons that reach
    further are cut, and parts that touch are joined. What RFC 7946 has cut at 180 degrees is therefore whole in a frame from
    170 to 190 degrees, and the other way round.

    Parameters
    ----------
    geometries : ndarray of shapely geometries, shape (N,)
        Missing and empty ones stay unchanged.
    centre : float
        x of the middle of the frame.
    period : float or None
        See `period_of`; None changes nothing.

    Returns
    -------
    ndarray of shapely geometries, shape (N,)
    """
    if period is None or not len(geometries):
        return geometries
    low, high = centre - period / 2, centre + period / 2
    x0, _, x1, _ = shapely.bounds(geometries).T
    with np.errstate(invalid="ignore"):
        outside = (x0 < low - _ROUNDING * period) | (x1 > high + _ROUNDING * period)
        outside &= (x0 > centre - _MOST_TURNS * period) & (x1 < centre + _MOST_TURNS * period)
    if not outside.any():
        return geometries
    result = geometries.copy()
    for index in np.flatnonzero(outside):
        result[index] = _turned(geometries[index], centre, period)
    return result


def rejoined(geometries: NDArray[np.object_], period: float | None) -> NDArray[np.object_]:
    """Join the parts of geometries that are cut at 180 degrees, so that the bounds are those of the whole geometry.

    Parameters
    ----------
    geometries : ndarray of shapely geometries, shape (N,)
        The geometries.
    period : float or None
        See `period_of`; None changes nothing.
    """
    if period is None or not len(geometries):
        return geometries
    half, slack = period / 2, _ROUNDING * period
    x0, _, x1, _ = shapely.bounds(geometries).T
    with np.errstate(invalid="ignore"):
        cut = (np.abs(x0 + half) <= slack) & (np.abs(x1 - half) <= slack) & (shapely.get_num_geometries(geometries) > 1)
    if not cut.any():
        return geometries
    result = geometries.copy()
    for index in np.flatnonzero(cut):
        parts = shapely.get_parts(geometries[index])
        west = shapely.bounds(parts)[:, [0, 2]].mean(axis=1) < 0
        joined = [_shifted(part, period) if moved else part for part, moved in zip(parts, west, strict=True)]
        result[index] = _union(joined)
    return result


def cut_at_antimeridian(geometries: NDArray[np.object_], crs: pyproj.CRS | None) -> NDArray[np.object_]:
    """Shift longitudes to -180 to 180 degrees, and cut geometries that cross the antimeridian (RFC 7946, section 3.1.9).

    Parameters
    ----------
    geometries : ndarray of shapely geometries, shape (N,)
        The geometries.
    crs : pyproj.CRS or None
        CRS of the geometries. Only those in a geographic CRS are changed.
    """
    if crs is None or not crs.is_geographic:
        return geometries
    return shifted_by_turns(geometries, 0.0, period_of(crs))


def _turned(geometry: BaseGeometry, centre: float, period: float) -> BaseGeometry:
    parts = [_narrow(part, centre, period) for part in shapely.get_parts(geometry)]
    flat = [one for part in parts for one in part]
    if len(flat) == 1:
        return flat[0] if shapely.get_num_geometries(geometry) == 1 else _like(geometry, flat)
    return _like(geometry, flat)


def _narrow(part: BaseGeometry, centre: float, period: float) -> list[BaseGeometry]:
    """Return the pieces of one part within half a turn of the centre."""
    slack = _ROUNDING * period
    low, high = centre - period / 2, centre + period / 2
    x0, y0, x1, y1 = shapely.bounds(part).tolist()
    if x0 != x0:  # noqa: PLR0124 - an empty part has no bounds, which are NaN
        return [part]
    moved = _shifted(part, period * np.rint((centre - (x0 + x1) / 2) / period))
    mx0, _, mx1, _ = shapely.bounds(moved).tolist()
    if mx0 >= low - slack and mx1 <= high + slack:
        return [moved]
    whole = part if shapely.is_valid(part) or part.geom_type != "Polygon" else shapely.make_valid(part, method="structure")
    first, last = int(np.ceil((low - x1) / period)), int(np.floor((high - x0) / period))
    copies = (_shifted(whole, turn * period) for turn in range(first, last + 1))
    pieces = [shapely.clip_by_rect(copy, low, y0 - 1, high, y1 + 1) for copy in copies]
    return [one for one in pieces if not shapely.is_empty(one)]


def _like(geometry: BaseGeometry, pieces: list[BaseGeometry]) -> BaseGeometry:
    if geometry.geom_type in {"Polygon", "MultiPolygon"}:
        return _union(pieces)
    parts: list[Any] = list(shapely.get_parts(np.array(pieces, dtype=object)))
    kinds = {one.geom_type for one in parts}
    many: dict[str, Any] = {"LineString": shapely.MultiLineString, "Point": shapely.MultiPoint}
    if len(kinds) == 1 and next(iter(kinds)) in many:
        one: BaseGeometry = parts[0] if len(parts) == 1 and geometry.geom_type in kinds else many[kinds.pop()](parts)
        return one
    return shapely.GeometryCollection(parts)


def _union(pieces: Iterable[BaseGeometry]) -> BaseGeometry:
    valid = shapely.make_valid(np.array(list(pieces), dtype=object), method="structure")
    joined: BaseGeometry = shapely.union_all(valid)
    return joined


def _shifted(geometry: BaseGeometry, x: float) -> BaseGeometry:
    if x == 0:
        return geometry
    moved: BaseGeometry = shapely.transform(geometry, lambda xy: xy + np.array([x, 0.0]))
    return moved
