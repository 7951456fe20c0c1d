"""The straight stretches of an outline, and its main direction.

Angles are in radians. Directions are modulo a quarter turn, so that the two perpendicular wall directions of a building are the
same number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["QUARTER", "Stretches", "apart", "direction", "pooled_direction", "stretches"]

Floats = NDArray[np.float64]

QUARTER = np.pi / 2
# Only stretches within this angle of a direction are used to fit it.
_NEAR = np.deg2rad(12)
# This fraction of a stretch at each end, but at most one tolerance, is left out of the fit, because models round corners off.
_TRIM = 0.2


@dataclass(frozen=True, slots=True)
class Stretches:
    """The K straight stretches of a polygon's rings.

    ``ends`` (K, 2, 2) are the start and stop points; the polygon is on the left. ``middle`` (K, 2) is the mean, and ``spread``
    (K, 2, 2) the covariance times the length, of the outline between the two points, without the parts near to them.
    """

    ends: Floats
    middle: Floats
    spread: Floats

    @property
    def chord(self) -> Floats:
        """Vectors from start to stop, shape (K, 2)."""
        return np.asarray(self.ends[:, 1] - self.ends[:, 0])

    @property
    def length(self) -> Floats:
        """Lengths of the chords, shape (K,)."""
        return np.asarray(np.hypot(*self.chord.T))

    @property
    def angle(self) -> Floats:
        """Angles of the chords over the full circle, shape (K,)."""
        return np.arctan2(self.chord[:, 1], self.chord[:, 0])


def apart(first: Floats | float, second: Floats | float, period: float = QUARTER) -> Floats:
    """Return the difference of angles modulo a period, in [-period / 2, period / 2)."""
    return np.asarray((np.subtract(first, second) + period / 2) % period - period / 2)


def stretches(polygon: shapely.Polygon, tolerance: float) -> Stretches:
    """Split a polygon's rings into straight stretches.

    The ends of the stretches are the corners that the algorithm of Douglas and Peucker (1973) keeps at the tolerance. It
    starts at the corner that is furthest from the middle of the ring.
    """
    polygon = shapely.orient_polygons(polygon)
    rings = [_ring(shapely.get_coordinates(ring), tolerance) for ring in (polygon.exterior, *polygon.interiors)]
    return Stretches(*(np.concatenate([ring[part] for ring in rings]) for part in range(3)))


def _ring(xy: Floats, tolerance: float) -> tuple[Floats, Floats, Floats]:
    """Return the ends, means and spreads of the stretches of one ring."""
    middle = (xy[:-1] + xy[1:]).mean(axis=0) / 2
    start = int(np.argmax(((xy[:-1] - middle) ** 2).sum(axis=1)))
    xy = np.concatenate([xy[start:-1], xy[: start + 1]])
    kept = shapely.get_coordinates(shapely.simplify(shapely.linestrings(xy), tolerance, preserve_topology=False))
    if len(kept) < 4:
        return np.empty((0, 2, 2)), np.empty((0, 2)), np.empty((0, 2, 2))
    corner = np.flatnonzero(np.isin(xy[:-1] @ [1, 1j], kept[:-1] @ [1, 1j]))
    # The ring is sampled: each edge is divided into short pieces, and each piece is represented by its middle.
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
    """Return the weighted means and spreads of the sampled points of each stretch."""
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
    """Return the main direction of an outline, in [0, a quarter turn)."""
    angle, length = found.angle, found.length
    if len(length) == 0:
        return 0.0
    support = np.maximum(1 - (apart(angle[:, None], angle[None]) / _NEAR) ** 2, 0)
    return pooled_direction([found], float(angle[np.argmax(length @ support)]))


def pooled_direction(outlines: list[Stretches], near: float) -> float:
    """Fit one direction to the stretches of several outlines that are near to it, by total least squares."""
    angle, spread = (np.concatenate([getattr(each, name) for each in outlines]) for name in ("angle", "spread"))
    fits = np.abs(apart(angle, near)) <= _NEAR
    if not fits.any():
        return near % QUARTER
    back = np.rint((angle[fits] - near) / QUARTER) * QUARTER
    turn = _turn(-back)
    pooled = (turn @ spread[fits] @ np.swapaxes(turn, 1, 2)).sum(axis=0)
    fitted = np.arctan2(2 * pooled[0, 1], pooled[0, 0] - pooled[1, 1]) / 2
    # A fitted axis has two opposite directions: take the one that is nearer to the initial direction.
    return float((near + apart(fitted, near, np.pi)) % QUARTER)


def _turn(angle: Floats) -> Floats:
    """Return rotation matrices, shape (N, 2, 2)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([np.stack([cos, -sin], axis=1), np.stack([sin, cos], axis=1)], axis=1)
