"""Fitting of neighbours: overlaps go to one of two buildings, gaps between them are closed, and corners are matched."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.buildings.regularization.cells import largest, only_polygons, tidy
from samgeo.buildings.regularization.slivers import without_slivers
from samgeo.progress import counting

__all__ = ["ONE_PLACE", "match_corners", "settle"]

Floats = NDArray[np.float64]

# Smaller areas, in squared tolerances, are rounding errors.
_NOTHING = 1e-6
# Corners nearer than this, in metres, are the same corner.
ONE_PLACE = 1e-5


def settle(
    polygons: list[shapely.Polygon],
    order: list[int],
    fit: dict[int, list[int]],
    *,
    beside: dict[int, list[int]],
    tolerance: float,
    grid: float,
    square: set[int],
    done: Callable[[int], object],
) -> None:
    """Remove overlaps and gaps between neighbours, in place: later buildings in the order give way to earlier ones.

    Gaps that are at most as wide as the tolerance are closed by dilation and erosion of the two polygons with mitred corners,
    which preserves the directions of walls.

    Parameters
    ----------
    polygons : list of Polygon
        The polygons, which are replaced. Empty ones are skipped.
    order : list of int
        Order of the buildings. The earlier of two buildings is not changed for the later one.
    fit : dict of int to list of int
        Buildings to which each building is fitted: it overlaps none of them afterwards.
    beside : dict of int to list of int
        Neighbours of each building. Gaps are closed to those that are also in ``fit``. When a gap is closed, the building does
        not grow into any of its neighbours.
    tolerance : float
        Metres.
    grid : float
        Grid in metres for corners of polygons that are cut or filled.
    square : set of int
        Buildings with straight walls, from which short walls and sharp corners are removed.
    done : callable
        Called with 1 after each building.
    """
    rank = {building: place for place, building in enumerate(order)}
    nothing = _NOTHING * tolerance**2
    for building in counting(order, done):
        mine = polygons[building]
        earlier = [other for other in fit.get(building, []) if rank.get(other, len(rank)) < rank[building]]
        earlier = [other for other in earlier if not polygons[other].is_empty]
        theirs = [polygons[other] for other in earlier]
        if mine.is_empty:
            continue
        fixed = {other for other in beside.get(building, ()) if other not in fit.get(building, ())}
        placed = [polygons[other] for other in sorted({*earlier, *fixed}) if not polygons[other].is_empty]
        if not theirs:
            polygons[building] = without_slivers(mine, placed, tolerance, grid) if building in square else mine
            continue
        over = [other for other in theirs if shapely.area(shapely.intersection(mine, other, grid_size=grid)) > nothing]
        if over:
            mine = tidy(shapely.difference(mine, shapely.union_all(over, grid_size=grid), grid_size=grid), grid)
        close = [polygons[other] for other in earlier if other in beside.get(building, ())]
        gaps = [gap for other in close for gap in _gaps(mine, other, tolerance, grid)]
        if gaps:
            taken = [polygons[other] for other in sorted({*beside[building], *fit[building]}) if not polygons[other].is_empty]
            gap = only_polygons(
                shapely.difference(
                    shapely.union_all(gaps, grid_size=grid), shapely.union_all(taken, grid_size=grid), grid_size=grid
                )
            )
            if gap.area > nothing:
                mine = tidy(shapely.union(mine, gap, grid_size=grid), grid)
        if building in square:
            mine = without_slivers(mine, placed, tolerance, grid)
        polygons[building] = mine


def _gaps(mine: shapely.Polygon, other: shapely.Polygon, tolerance: float, grid: float) -> list[shapely.Polygon]:
    """Return the gaps between two polygons that are at most as wide as the tolerance."""
    reach = tolerance / 2 * (1 + 1e-9)
    if mine.is_empty or shapely.distance(mine, other) > tolerance:
        return []
    both = shapely.union(mine, other, grid_size=grid)
    closed = shapely.buffer(shapely.buffer(both, reach, join_style="mitre"), -reach, join_style="mitre")
    if closed.area - both.area <= _NOTHING * tolerance**2:
        return []
    left = shapely.get_parts(shapely.difference(shapely.make_valid(closed), both, grid_size=grid))
    left = left[(shapely.get_dimensions(left) == 2) & (shapely.area(left) > _NOTHING * tolerance**2)]
    touches = (shapely.distance(left, mine) < ONE_PLACE) & (shapely.distance(left, other) < ONE_PLACE)
    return list(left[touches])


def match_corners(polygons: list[shapely.Polygon], order: list[int], beside: dict[int, list[int]]) -> None:
    """Give neighbours identical corners along shared walls, in place."""
    done: set[int] = set()
    for building in order:
        if polygons[building].is_empty:
            continue
        earlier = [polygons[other] for other in beside.get(building, []) if other in done]
        if earlier:
            polygons[building] = _snapped(
                polygons[building], np.concatenate([shapely.get_coordinates(each) for each in earlier])
            )
        done.add(building)
    for building in order:
        others = [polygons[other] for other in beside.get(building, []) if not polygons[other].is_empty]
        if others and not polygons[building].is_empty:
            polygons[building] = _with_corners(
                polygons[building], np.concatenate([shapely.get_coordinates(each) for each in others])
            )


def _snapped(polygon: shapely.Polygon, corners: Floats) -> shapely.Polygon:
    """Move the corners of a polygon to given corners that are nearer than `ONE_PLACE`."""
    xy = shapely.get_coordinates(polygon)
    squared = ((xy[:, None] - corners) ** 2).sum(axis=-1)
    nearest = squared.argmin(axis=1)
    near = squared[np.arange(len(xy)), nearest] <= ONE_PLACE**2
    if not near.any():
        return polygon
    moved = shapely.remove_repeated_points(shapely.set_coordinates(polygon, np.where(near[:, None], corners[nearest], xy)))
    return moved if moved.is_valid else largest(shapely.make_valid(moved))


def _with_corners(polygon: shapely.Polygon, corners: Floats) -> shapely.Polygon:
    """Insert given corners that lie on the edges of a polygon."""
    low_x, low_y, high_x, high_y = polygon.bounds
    inside = (corners >= [low_x - ONE_PLACE, low_y - ONE_PLACE]) & (corners <= [high_x + ONE_PLACE, high_y + ONE_PLACE])
    corners = np.unique(corners[inside.all(axis=1)], axis=0)
    if len(corners) == 0:
        return polygon
    rings = [_ring_with(shapely.get_coordinates(ring), corners) for ring in (polygon.exterior, *polygon.interiors)]
    found = shapely.Polygon(rings[0], rings[1:])
    return found if found.is_valid else largest(shapely.make_valid(found))


def _ring_with(xy: Floats, corners: Floats) -> Floats:
    """Insert given corners that lie on the edges of a ring."""
    start, edge = xy[:-1], np.diff(xy, axis=0)
    length = np.hypot(*edge.T)
    off = corners[:, None] - start
    along = (off * edge).sum(axis=-1) / length
    across = np.abs(off[..., 0] * edge[:, 1] - off[..., 1] * edge[:, 0]) / length
    apart = ((corners[:, None] - xy) ** 2).sum(axis=-1).min(axis=1) > 0
    on = (across <= ONE_PLACE) & (along > 0) & (along < length) & apart[:, None]
    corner, of_edge = np.nonzero(on)
    if len(corner) == 0:
        return xy
    points = np.concatenate([xy[:-1], corners[corner]])
    edges = np.concatenate([np.arange(len(edge)), of_edge])
    places = np.concatenate([np.zeros(len(edge)), along[corner, of_edge]])
    ring = points[np.lexsort([places, edges])]
    return np.concatenate([ring, ring[:1]])
