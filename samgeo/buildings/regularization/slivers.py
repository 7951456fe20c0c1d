"""Removal of short walls and sharp corners, which remain when a building is cut at its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.buildings.regularization.cells import largest, tidy

__all__ = ["LEAST_ANGLE", "LEAST_WALL", "count_slivers", "without_slivers"]

Floats = NDArray[np.float64]

LEAST_WALL = 0.5
"""Length of the shortest wall that a footprint may have, as a multiple of the tolerance."""
LEAST_ANGLE = 30.0
"""Sharpest corner that a footprint may have, in degrees."""
# Changes use slightly stricter limits, so that the result is still within the limits after its coordinates are rounded.
_MARGIN = 1.01
# Corners nearer than this, in tolerances, to the line between the corners before and after them are ignored.
_STRAIGHT = 0.01
# Two walls are extended to their intersection if it is at most this many tolerances away.
_EXTENDED = 3.0
_MOST_STEPS = 40
# Overlaps with a smaller area, in squared tolerances, are rounding errors.
_NOTHING = 1e-6


def count_slivers(polygon: shapely.Polygon, tolerance: float) -> int:
    """Count the walls shorter than half the tolerance and the corners sharper than 30 degrees.

    Corners on a straight wall, at which a neighbour ends, are not counted.

    Parameters
    ----------
    polygon : Polygon
        In metres.
    tolerance : float
        Metres.
    """
    return sum(_count(_corners(ring, tolerance), tolerance, 1.0) for ring in _rings(polygon))


def without_slivers(
    polygon: shapely.Polygon, taken: Sequence[shapely.Polygon], tolerance: float, grid: float
) -> shapely.Polygon:
    """Remove short walls and sharp corners, one after another, by the change with the smallest area.

    Parameters
    ----------
    polygon : Polygon
        In metres.
    taken : sequence of Polygon
        Neighbours, into which the polygon must not grow.
    tolerance : float
        Metres.
    grid : float
        Grid in metres for the corners of polygons that are cut at neighbours.

    Returns
    -------
    Polygon
        The given polygon if there is nothing to remove. If no change helps, some slivers remain; `count_slivers` counts them.
    """
    rings = [_corners(ring, tolerance) for ring in _rings(polygon)]
    count = sum(_count(ring, tolerance, _MARGIN) for ring in rings)
    if count == 0:
        return polygon
    around = shapely.union_all(np.array(taken, dtype=object)) if len(taken) else shapely.Polygon()
    current = shapely.Polygon(rings[0], rings[1:])
    if not current.is_valid:
        current = largest(shapely.make_valid(current))
    place = _Place(around, shapely.area(shapely.intersection(polygon, around)), tolerance, grid)
    for _ in range(_MOST_STEPS):
        rings = [_corners(ring, tolerance) for ring in _rings(current)]
        slivers = [_count(ring, tolerance, _MARGIN) for ring in rings]
        if not any(slivers):
            break
        best = _best(current, rings, sum(slivers), place)
        if best is None:
            break
        current = best
    return current


@dataclass(frozen=True, slots=True)
class _Place:
    """Surroundings of a polygon: its neighbours as one geometry, the area of them that it overlaps already, and the scale."""

    around: shapely.Geometry
    overlap: float
    tolerance: float
    grid: float


def _best(current: shapely.Polygon, rings: list[Floats], slivers: int, place: _Place) -> shapely.Polygon | None:
    """Return the change of least area that leaves fewer slivers, or as many slivers and fewer corners.

    The result is None if there is no such change.
    """
    corners, tolerance = sum(map(len, rings)), place.tolerance
    options: list[shapely.Polygon] = [*_opened(current, tolerance)]
    for number, ring in enumerate(rings):
        changes = _changes(ring, tolerance)
        options += [_polygon([*rings[:number], changed, *rings[number + 1 :]]) for changed in changes]
    some = _apart(np.array([each for each in options if not each.is_empty], dtype=object), place)
    change = shapely.area(shapely.symmetric_difference(some, current)) if len(some) else np.empty(0)
    second: shapely.Polygon | None = None
    for number in np.argsort(np.round(change, 9), kind="stable").tolist():
        now = [_corners(ring, tolerance) for ring in _rings(some[number])]
        left = sum(_count(ring, tolerance, _MARGIN) for ring in now)
        if now and left < slivers:
            return largest(some[number])
        if second is None and now and left == slivers and sum(map(len, now)) < corners:
            second = largest(some[number])
    return second


def _apart(options: NDArray[np.object_], place: _Place) -> NDArray[np.object_]:
    """Cut the overlaps with neighbours off possible changes.

    If the polygon overlapped neighbours before, changes that overlap them more are left out instead.
    """
    if len(options) == 0 or shapely.is_empty(place.around):
        return options
    limit = place.overlap + _NOTHING * place.tolerance**2
    over = shapely.area(shapely.intersection(options, place.around)) > limit
    if place.overlap > _NOTHING * place.tolerance**2:
        return options[~over]
    for number in np.flatnonzero(over).tolist():
        cut = shapely.difference(options[number], place.around, grid_size=place.grid)
        options[number] = tidy(cut, place.grid)
    return np.asarray(options[~shapely.is_empty(options)], dtype=np.object_)


def _polygon(rings: list[Floats]) -> shapely.Polygon:
    """Return a valid polygon of rings; an empty one if the exterior has fewer than three corners."""
    if len(rings[0]) < 3:
        return shapely.Polygon()
    polygon = shapely.Polygon(rings[0], [ring for ring in rings[1:] if len(ring) >= 3])
    return polygon if polygon.is_valid else largest(shapely.make_valid(polygon))


def _opened(polygon: shapely.Polygon, tolerance: float) -> Iterator[shapely.Polygon]:
    """Yield the polygon without its thin parts, and the polygon with its thin notches filled."""
    reach = LEAST_WALL * _MARGIN * tolerance / 2
    for first in (-reach, reach):
        inner = shapely.buffer(polygon, first, join_style="mitre", mitre_limit=10)
        yield largest(shapely.buffer(inner, -first, join_style="mitre", mitre_limit=10))


def _changes(xy: Floats, tolerance: float) -> Iterator[Floats]:
    """Yield rings that may have fewer slivers than a ring of N corners, shape (N, 2), which is not closed."""
    edge, length, angle = _measures(xy)
    count = len(xy)
    least = LEAST_WALL * _MARGIN * tolerance
    for place in np.flatnonzero(length < least).tolist():
        a, u, v, b = (xy[(place + step) % count] for step in (-1, 0, 1, 2))
        # Each option replaces the four corners from the one before the wall to the one after it.
        options = [
            [a + (v - u), v, b], [a, u, b + (u - v)], [a, v, b], [a, u, b], [a, (u + v) / 2, b], [a, b],
            [a, _foot(a, v, b), b], [a, _foot(b, a, u), b],
        ]  # fmt: skip
        meeting = _meeting(a, u, v, b)
        if meeting is not None and np.hypot(*(meeting - (u + v) / 2)) <= _EXTENDED * tolerance:
            options.append([a, meeting, b])
        for corners in options if count >= 4 else []:
            yield _replaced(xy, place - 1, 4, corners)
    for place in np.flatnonzero(angle < LEAST_ANGLE * _MARGIN).tolist():
        a, s, b = (xy[(place + step) % count] for step in (-1, 0, 1))
        before, after = length[place - 1], length[place]
        yield _replaced(xy, place - 1, 3, [a, b])
        yield _replaced(xy, place - 1, 3, [a, _foot(a, s, b), b])
        yield _replaced(xy, place - 1, 3, [a, _foot(b, a, s), b])
        back = least / (2 * np.sin(np.deg2rad(max(angle[place], 0.1)) / 2))
        if back < min(before, after):
            blunt = [a, s - edge[place - 1] / before * back, s + edge[place] / after * back, b]
            yield _replaced(xy, place - 1, 3, blunt)


def _replaced(xy: Floats, first: int, length: int, corners: list[Floats]) -> Floats:
    """Replace a number of corners of a ring, from the given index on."""
    turned = np.roll(xy, -first, axis=0)
    return np.concatenate([np.array(corners), turned[length:]])


def _foot(point: Floats, start: Floats, stop: Floats) -> Floats:
    """Return the point of a segment that is nearest to another point."""
    along = stop - start
    share = float((point - start) @ along) / max(float(along @ along), 1e-12)
    return np.asarray(start + min(max(share, 0.0), 1.0) * along)


def _meeting(a: Floats, u: Floats, v: Floats, b: Floats) -> Floats | None:
    """Return the intersection of the line through a and u with the line through v and b; None if they are parallel."""
    one, other = u - a, b - v
    cross = one[0] * other[1] - one[1] * other[0]
    if abs(cross) < 1e-3 * np.hypot(*one) * np.hypot(*other):
        return None
    off = v - a
    return np.asarray(a + one * ((off[0] * other[1] - off[1] * other[0]) / cross))


def _rings(polygon: shapely.Polygon) -> list[Floats]:
    """Return the corners of each ring, without the repeated first corner."""
    return (
        [shapely.get_coordinates(ring)[:-1] for ring in (polygon.exterior, *polygon.interiors)] if not polygon.is_empty else []
    )


def _corners(xy: Floats, tolerance: float) -> Floats:
    """Return the corners at which a ring turns; the straightest corners are removed one after another."""
    limit = _STRAIGHT * tolerance
    while len(xy) > 3:
        before, after = np.roll(xy, 1, axis=0), np.roll(xy, -1, axis=0)
        chord = after - before
        length = np.hypot(*chord.T)
        off = xy - before
        across = np.abs(off[:, 0] * chord[:, 1] - off[:, 1] * chord[:, 0]) / np.maximum(length, 1e-12)
        along = (off * chord).sum(axis=1)
        # The tip of a spike may lie on the line through its neighbours without lying between them: it is kept.
        straight = (along >= 0) & (along <= length**2) & (length > 0)
        repeated = np.hypot(*off.T) < limit / 10
        across = np.where(repeated, 0, np.where(straight, across, np.inf))
        flattest = int(np.argmin(across))
        if across[flattest] > limit:
            break
        xy = np.delete(xy, flattest, axis=0)
    return xy


def _measures(xy: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the edge from each corner to the next, its length, and the angle at each corner in degrees, from 0 to 180."""
    edge = np.roll(xy, -1, axis=0) - xy
    before = np.roll(edge, 1, axis=0)
    turn = np.arctan2(before[:, 0] * edge[:, 1] - before[:, 1] * edge[:, 0], (before * edge).sum(axis=1))
    return edge, np.hypot(*edge.T), 180 - np.abs(np.degrees(turn))


def _count(xy: Floats, tolerance: float, margin: float) -> int:
    """Count the short walls and the sharp corners of a ring."""
    _, length, angle = _measures(xy)
    return int((length < LEAST_WALL * margin * tolerance).sum() + (angle < LEAST_ANGLE * margin).sum())
