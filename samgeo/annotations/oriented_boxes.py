"""Oriented boxes: rectangles of smallest area around masks and polygons, and their angles.

Corners go clockwise as seen on a screen (x right, y down), and start with the topmost corner, of two topmost ones with the left
one. Of an axis-parallel box these are top left, top right, bottom right, bottom left.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from samgeo.errors import OptionError
from samgeo.segmentation.masks.mask import Mask

__all__ = ["box_corners", "to_rbox", "to_xywha", "turned_corners"]

Floats = NDArray[np.float64]

# Areas that differ by less are the same: a square's diamond and its like, in float arithmetic.
_SAME_AREA = 1e-9


def to_rbox(shape: Mask | shapely.Geometry) -> Floats:
    """Return the rectangle of smallest area around a shape.

    One side of it lies on the convex hull (Freeman and Shapira, 1975), so that the hull's edges are tried in turn. Pixels are
    taken with their edges: a mask of 30 x 10 pixels gives a rectangle of 30 x 10, not the 29 x 9 between pixel centres. Of
    rectangles of the same area, the one that is turned least from the axes is taken.

    Parameters
    ----------
    shape : Mask or geometry
        In pixels, or any plane coordinates with y down.

    Returns
    -------
    ndarray, shape (4, 2)
        Corners in the order that this module states. A line or a point gives a rectangle without area.

    Raises
    ------
    OptionError
        If the shape is empty, or has a coordinate that is not finite.

    Examples
    --------
    >>> import shapely
    >>> from samgeo.annotations import to_rbox
    >>> to_rbox(shapely.box(0, 0, 4, 2)).shape
    (4, 2)
    """
    points = _outermost(shape) if isinstance(shape, Mask) else shapely.get_coordinates(shape)
    if len(points) == 0 or not np.isfinite(points).all():
        raise OptionError("a shape without points, or with one that is not finite, has no box; leave it out.")
    hull = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(points)))
    if len(hull) == 1:
        return np.repeat(hull, 4, axis=0)
    origin = hull[0]
    edges = np.diff(hull, axis=0)
    # A direction and its perpendicular give the same rectangle: turn each to within 45 degrees of the x axis.
    steep = np.abs(edges[:, 1]) > np.abs(edges[:, 0])
    edges[steep] = np.stack([-edges[steep, 1], edges[steep, 0]], axis=1)
    edges[edges[:, 0] < 0] *= -1
    # Exact for pixel edges: whole numbers, divided once at the end.
    along = (hull - origin) @ edges.T
    across = (hull - origin) @ np.stack([-edges[:, 1], edges[:, 0]])
    squared = (edges**2).sum(axis=1)
    areas = np.ptp(along, axis=0) * np.ptp(across, axis=0) / squared
    turn = np.abs(np.arctan2(edges[:, 1], edges[:, 0]))
    candidates = np.flatnonzero(areas <= areas.min() * (1 + _SAME_AREA))
    # Of two turned the same way to either side, the positive angle: an order that does not depend on the hull's first point.
    best = min(candidates.tolist(), key=lambda index: (round(float(turn[index]), 9), -edges[index, 1]))
    edge, length = edges[best], squared[best]
    normal = np.array([-edge[1], edge[0]])
    low, high = along[:, best].min(), along[:, best].max()
    top, bottom = across[:, best].min(), across[:, best].max()
    corners = [(low, top), (high, top), (high, bottom), (low, bottom)]
    return _ordered(np.array([origin + (u * edge + v * normal) / length for u, v in corners]))


def box_corners(boxes: ArrayLike) -> Floats:
    """Return the corners of horizontal boxes in the order that this module states.

    Parameters
    ----------
    boxes : array-like, shape (..., 4)
        x0, y0, x1, y1.

    Returns
    -------
    ndarray, shape (..., 4, 2)
    """
    array = np.asarray(boxes, dtype=np.float64)
    return array[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*array.shape[:-1], 4, 2)


def turned_corners(x: float, y: float, width: float, height: float, turn: float) -> Floats:
    """Return the corners of a rectangle that is turned around its middle.

    Parameters
    ----------
    x, y : float
        The middle.
    width, height : float
        The sides before the turn.
    turn : float
        Radians, clockwise on a screen with y down.

    Returns
    -------
    ndarray, shape (4, 2)
        The corner that is top left before the turn, and then the others, clockwise on a screen.
    """
    across, down = np.array([-1, 1, 1, -1]) * width / 2, np.array([-1, -1, 1, 1]) * height / 2
    cos, sin = np.cos(turn), np.sin(turn)
    return np.stack([x + across * cos - down * sin, y + across * sin + down * cos], axis=1)


def to_xywha(corners: ArrayLike) -> Floats:
    """Return centre, sides and angle of a rectangle, with DOTA's "le90" angle.

    Parameters
    ----------
    corners : array-like, shape (4, 2)
        In order around the rectangle, either way.

    Returns
    -------
    ndarray, shape (5,)
        x and y of the centre, the long side, the short side, and the angle of the long side to the x axis in degrees, in
        [-90, 90), clockwise on a screen with y down. The angle of a square is in [-45, 45).

    Examples
    --------
    >>> from samgeo.annotations import to_xywha
    >>> to_xywha([[0, 0], [4, 0], [4, 2], [0, 2]]).tolist()
    [2.0, 1.0, 4.0, 2.0, 0.0]
    """
    points = np.asarray(corners, dtype=np.float64)
    first, second = points[1] - points[0], points[2] - points[1]
    sides = np.hypot(first[0], first[1]), np.hypot(second[0], second[1])
    is_square = bool(np.isclose(*sides, rtol=1e-9, atol=0))
    long = first if sides[0] >= sides[1] else second
    angle = float(np.degrees(np.arctan2(long[1], long[0])))
    period, least = (90.0, -45.0) if is_square else (180.0, -90.0)
    # A turn that is a rounding error away from the end of the range is the range's start.
    turned = round((angle - least) % period, 9) % period + least
    return np.array([*points.mean(axis=0), max(sides), min(sides), turned])


def _ordered(corners: Floats) -> Floats:
    """Turn corners that go clockwise so that the topmost one, of two the left one, comes first."""
    tops = np.flatnonzero(corners[:, 1] <= corners[:, 1].min() + _SAME_AREA)
    first = tops[np.argmin(corners[tops, 0])]
    return np.roll(corners, -int(first), axis=0)


def _outermost(mask: Mask) -> Floats:
    """Return the corners of a mask's first and last pixel in every row."""
    y, start, stop = mask.runs.astype(np.float64).T
    rows, first = np.unique(y, return_index=True)
    if len(rows) == 0:
        return np.empty((0, 2))
    left, right = start[first], np.maximum.reduceat(stop, first)
    return np.concatenate([np.stack([x, rows + down], axis=1) for x in (left, right) for down in (0, 1)])
