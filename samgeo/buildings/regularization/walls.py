"""Neighbours made to fit: what two claim goes to one, what neither claims between them is closed, corners meet."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.buildings.regularization.cells import largest, only_polygons, tidy
from samgeo.buildings.regularization.slivers import without_slivers

__all__ = ["ONE_PLACE", "match_corners", "settle"]

Floats = NDArray[np.float64]

# Less than this of a tolerance squared is rounding, not ground.
_NOTHING = 1e-6
# Corners nearer than this, in metres, are one.
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
) -> None:
    """Let neighbours neither overlap nor gape, in place: later ones in the order give way to earlier ones.

    Gaps to neighbours up to the tolerance wide are closed, by dilation and erosion of the two with mitred corners, which keeps
    directions.

    Parameters
    ----------
    polygons : list of Polygon
        Empty ones take no part.
    order : list of int
        The earlier stays as it is.
    fit : dict of int to list of int
        Those that each is made to fit: it overlaps none of them afterwards.
    beside : dict of int to list of int
        Those of them to which gaps are closed, and all into which it does not grow then.
    tolerance : float
        Metres.
    grid : float
        Metres: corners of what is cut or filled lie on multiples of it.
    square : set of int
        Those of straight walls, of which short walls and sharp corners are taken off.
    """
    rank = {building: place for place, building in enumerate(order)}
    nothing = _NOTHING * tolerance**2
    for building in order:
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
    """Return what lies between two, no wider than the tolerance."""
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
    """Give neighbours the same corners along the walls that they share, in place: to the last bit."""
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
    xy = shapely.get_coordinates(polygon)
    squared = ((xy[:, None] - corners) ** 2).sum(axis=-1)
    nearest = squared.argmin(axis=1)
    near = squared[np.arange(len(xy)), nearest] <= ONE_PLACE**2
    if not near.any():
        return polygon
    moved = shapely.remove_repeated_points(shapely.set_coordinates(polygon, np.where(near[:, None], corners[nearest], xy)))
    return moved if moved.is_valid else largest(shapely.make_valid(moved))


def _with_corners(polygon: shapely.Polygon, corners: Floats) -> shapely.Polygon:
    low_x, low_y, high_x, high_y = polygon.bounds
    inside = (corners >= [low_x - ONE_PLACE, low_y - ONE_PLACE]) & (corners <= [high_x + ONE_PLACE, high_y + ONE_PLACE])
    corners = np.unique(corners[inside.all(axis=1)], axis=0)
    if len(corners) == 0:
        return polygon
    rings = [_ring_with(shapely.get_coordinates(ring), corners) for ring in (polygon.exterior, *polygon.interiors)]
    found = shapely.Polygon(rings[0], rings[1:])
    return found if found.is_valid else largest(shapely.make_valid(found))


def _ring_with(xy: Floats, corners: Floats) -> Floats:
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
