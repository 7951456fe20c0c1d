"""Short walls and sharp corners, which cutting a building at its neighbours leaves, taken off."""

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
"""Of the tolerance: no wall of a footprint is shorter."""
LEAST_ANGLE = 30.0
"""Degrees: no corner of a footprint is sharper."""
# What is made has to pass the limits after coordinates were rounded.
_MARGIN = 1.01
# Corners that are off the line of their neighbours by less than this, in tolerances, are none.
_STRAIGHT = 0.01
# Where two walls are extended to where they meet, that is at most so many tolerances away.
_EXTENDED = 3.0
_MOST_STEPS = 40
# Overlaps below this, in tolerances squared, are rounding.
_NOTHING = 1e-6


def count_slivers(polygon: shapely.Polygon, tolerance: float) -> int:
    """Count the walls that are shorter than half the tolerance, and the corners that are sharper than 30 degrees.

    Corners on straight walls, where a neighbour ends, do not count.

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
    """Remove short walls and sharp corners, one after the other, by the change of least area.

    Parameters
    ----------
    polygon : Polygon
        In metres.
    taken : sequence of Polygon
        Its neighbours, into which it does not grow.
    tolerance : float
        Metres.
    grid : float
        Metres: corners of what is cut at neighbours lie on multiples of it.

    Returns
    -------
    Polygon
        The same where there is nothing to remove. Where nothing helps, some slivers stay; `count_slivers` says so.
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
    """Where a polygon stands: its neighbours as one geometry, how much of them it overlaps already, and the scale."""

    around: shapely.Geometry
    overlap: float
    tolerance: float
    grid: float


def _best(current: shapely.Polygon, rings: list[Floats], slivers: int, place: _Place) -> shapely.Polygon | None:
    """Return the change of least area that leaves fewer slivers, or as many and fewer corners; None if there is none."""
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
    """Return options without what they take of neighbours, as far as they took none before."""
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
    if len(rings[0]) < 3:
        return shapely.Polygon()
    polygon = shapely.Polygon(rings[0], [ring for ring in rings[1:] if len(ring) >= 3])
    return polygon if polygon.is_valid else largest(shapely.make_valid(polygon))


def _opened(polygon: shapely.Polygon, tolerance: float) -> Iterator[shapely.Polygon]:
    """Give the polygon without its thin parts, and with its thin notches filled."""
    reach = LEAST_WALL * _MARGIN * tolerance / 2
    for first in (-reach, reach):
        inner = shapely.buffer(polygon, first, join_style="mitre", mitre_limit=10)
        yield largest(shapely.buffer(inner, -first, join_style="mitre", mitre_limit=10))


def _changes(xy: Floats, tolerance: float) -> Iterator[Floats]:
    """Give rings that may have fewer slivers than a ring of N corners (N, 2), which is not closed."""
    edge, length, angle = _measures(xy)
    count = len(xy)
    least = LEAST_WALL * _MARGIN * tolerance
    for place in np.flatnonzero(length < least).tolist():
        a, u, v, b = (xy[(place + step) % count] for step in (-1, 0, 1, 2))
        # The corners from the one before the wall to the one after it are replaced by these.
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
    """Replace some corners of a ring from one on."""
    turned = np.roll(xy, -first, axis=0)
    return np.concatenate([np.array(corners), turned[length:]])


def _foot(point: Floats, start: Floats, stop: Floats) -> Floats:
    """Return the point of a segment that is nearest to another point."""
    along = stop - start
    share = float((point - start) @ along) / max(float(along @ along), 1e-12)
    return np.asarray(start + min(max(share, 0.0), 1.0) * along)


def _meeting(a: Floats, u: Floats, v: Floats, b: Floats) -> Floats | None:
    """Return where the lines through a and u, and through v and b, meet; None if they are parallel."""
    one, other = u - a, b - v
    cross = one[0] * other[1] - one[1] * other[0]
    if abs(cross) < 1e-3 * np.hypot(*one) * np.hypot(*other):
        return None
    off = v - a
    return np.asarray(a + one * ((off[0] * other[1] - off[1] * other[0]) / cross))


def _rings(polygon: shapely.Polygon) -> list[Floats]:
    return (
        [shapely.get_coordinates(ring)[:-1] for ring in (polygon.exterior, *polygon.interiors)] if not polygon.is_empty else []
    )


def _corners(xy: Floats, tolerance: float) -> Floats:
    """Return the corners at which a ring turns; the straightest are left out one after the other."""
    limit = _STRAIGHT * tolerance
    while len(xy) > 3:
        before, after = np.roll(xy, 1, axis=0), np.roll(xy, -1, axis=0)
        chord = after - before
        length = np.hypot(*chord.T)
        off = xy - before
        across = np.abs(off[:, 0] * chord[:, 1] - off[:, 1] * chord[:, 0]) / np.maximum(length, 1e-12)
        along = (off * chord).sum(axis=1)
        # The tip of a spike may lie on the line of its neighbours, and is no corner on a straight wall.
        straight = (along >= 0) & (along <= length**2) & (length > 0)
        repeated = np.hypot(*off.T) < limit / 10
        across = np.where(repeated, 0, np.where(straight, across, np.inf))
        flattest = int(np.argmin(across))
        if across[flattest] > limit:
            break
        xy = np.delete(xy, flattest, axis=0)
    return xy


def _measures(xy: Floats) -> tuple[Floats, Floats, Floats]:
    """Return the edge from each corner to the next, its length, and the angle at each corner in degrees, 0 to 180."""
    edge = np.roll(xy, -1, axis=0) - xy
    before = np.roll(edge, 1, axis=0)
    turn = np.arctan2(before[:, 0] * edge[:, 1] - before[:, 1] * edge[:, 0], (before * edge).sum(axis=1))
    return edge, np.hypot(*edge.T), 180 - np.abs(np.degrees(turn))


def _count(xy: Floats, tolerance: float, margin: float) -> int:
    _, length, angle = _measures(xy)
    return int((length < LEAST_WALL * margin * tolerance).sum() + (angle < LEAST_ANGLE * margin).sum())
