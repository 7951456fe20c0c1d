"""The straight stretches of an outline, and the direction that most of it runs in.

Angles are in radians, modulo a quarter turn: a building's two wall directions are one number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["QUARTER", "Stretches", "apart", "direction", "pooled_direction", "stretches"]

Floats = NDArray[np.float64]

QUARTER = np.pi / 2
# Stretches further from the direction than this say nothing of it.
_NEAR = np.deg2rad(12)
# Of a stretch, this share at either end is left out of its fit, at most a tolerance: models round corners off.
_TRIM = 0.2


@dataclass(frozen=True, slots=True)
class Stretches:
    """The K straight stretches of a polygon's rings.

    ``ends`` (K, 2, 2) are start and stop, with the polygon on the left. ``middle`` (K, 2) and ``spread`` (K, 2, 2), the mean
    and the covariance times the length, are of the outline between them, without what is near to them.
    """

    ends: Floats
    middle: Floats
    spread: Floats

    @property
    def chord(self) -> Floats:
        """From start to stop."""
        return np.asarray(self.ends[:, 1] - self.ends[:, 0])

    @property
    def length(self) -> Floats:
        """Of each chord."""
        return np.asarray(np.hypot(*self.chord.T))

    @property
    def angle(self) -> Floats:
        """Of each chord, over the full circle."""
        return np.arctan2(self.chord[:, 1], self.chord[:, 0])


def apart(first: Floats | float, second: Floats | float, period: float = QUARTER) -> Floats:
    """Return the difference of angles modulo a period, in [-period / 2, period / 2)."""
    return np.asarray((np.subtract(first, second) + period / 2) % period - period / 2)


def stretches(polygon: shapely.Polygon, tolerance: float) -> Stretches:
    """Split a polygon's rings into straight stretches.

    The corners are those that the algorithm of Douglas and Peucker (1973) keeps at the tolerance, from the corner furthest
    from the ring's middle.
    """
    polygon = shapely.orient_polygons(polygon)
    rings = [_ring(shapely.get_coordinates(ring), tolerance) for ring in (polygon.exterior, *polygon.interiors)]
    return Stretches(*(np.concatenate([ring[part] for ring in rings]) for part in range(3)))


def _ring(xy: Floats, tolerance: float) -> tuple[Floats, Floats, Floats]:
    middle = (xy[:-1] + xy[1:]).mean(axis=0) / 2
    start = int(np.argmax(((xy[:-1] - middle) ** 2).sum(axis=1)))
    xy = np.concatenate([xy[start:-1], xy[: start + 1]])
    kept = shapely.get_coordinates(shapely.simplify(shapely.linestrings(xy), tolerance, preserve_topology=False))
    if len(kept) < 4:
        return np.empty((0, 2, 2)), np.empty((0, 2)), np.empty((0, 2, 2))
    corner = np.flatnonzero(np.isin(xy[:-1] @ [1, 1j], kept[:-1] @ [1, 1j]))
    # Short pieces, each standing for its middle.
    edge = np.diff(xy, axis=0)
    pieces = np.maximum(np.ceil(4 * np.hypot(*edge.T) / tolerance), 1).astype(np.int64)
    of_edge = np.repeat(np.arange(len(edge)), pieces)
    within = (np.arange(len(of_edge)) - np.repeat(np.cumsum(pieces) - pieces, pieces) + 0.5) / pieces[of_edge]
    points = xy[of_edge] + within[:, None] * edge[of_edge]
    weight = np.hypot(*edge.T)[of_edge] / pieces[of_edge]
    stretch = np.searchsorted(corner, of_edge, side="right") - 1
    ends = np.stack([kept[:-1], kept[1:]], axis=1)
    return ends, *_moments(points, weight, stretch, ends, tolerance)


def _moments(
    points: Floats, weight: Floats, stretch: NDArray[np.int64], ends: Floats, tolerance: float
) -> tuple[Floats, Floats]:
    chord = ends[:, 1] - ends[:, 0]
    length = np.hypot(*chord.T)
    along = ((points - ends[stretch, 0]) * chord[stretch]).sum(axis=1) / length[stretch]
    trim = np.minimum(_TRIM * length, tolerance)[stretch]
    weight = np.where((along >= trim) & (along <= length[stretch] - trim), weight, 1e-9 * weight)
    total = np.bincount(stretch, weight, minlength=len(ends))
    middle = np.stack([np.bincount(stretch, weight * axis, minlength=len(ends)) for axis in points.T], axis=1) / total[:, None]
    off = points - middle[stretch]
    xx, xy, yy = (
        np.bincount(stretch, weight * product, minlength=len(ends))
        for product in (off[:, 0] ** 2, off.prod(axis=1), off[:, 1] ** 2)
    )
    return middle, np.stack([np.stack([xx, xy], axis=1), np.stack([xy, yy], axis=1)], axis=1)


def direction(found: Stretches) -> float:
    """Return the direction that most of an outline runs in, or across: in [0, a quarter turn)."""
    angle, length = found.angle, found.length
    if len(length) == 0:
        return 0.0
    support = np.maximum(1 - (apart(angle[:, None], angle[None]) / _NEAR) ** 2, 0)
    return pooled_direction([found], float(angle[np.argmax(length @ support)]))


def pooled_direction(outlines: list[Stretches], near: float) -> float:
    """Fit one direction to the stretches of several outlines that run near to it, by total least squares."""
    angle, spread = (np.concatenate([getattr(each, name) for each in outlines]) for name in ("angle", "spread"))
    fits = np.abs(apart(angle, near)) <= _NEAR
    if not fits.any():
        return near % QUARTER
    back = np.rint((angle[fits] - near) / QUARTER) * QUARTER
    turn = _turn(-back)
    pooled = (turn @ spread[fits] @ np.swapaxes(turn, 1, 2)).sum(axis=0)
    fitted = np.arctan2(2 * pooled[0, 1], pooled[0, 0] - pooled[1, 1]) / 2
    # The axis of a line has no head: choose the one near the start.
    return float((near + apart(fitted, near, np.pi)) % QUARTER)


def _turn(angle: Floats) -> Floats:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
