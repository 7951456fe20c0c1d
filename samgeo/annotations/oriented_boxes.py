"""Oriented boxes: rectangles of smallest area around masks and polygons, and conversion of corners to centre, sides and angle.

Corners are in clockwise order on a screen (x right, y down). The first corner is the topmost one, and the left one of two
topmost corners. An axis-parallel box therefore has the order top left, top right, bottom right, bottom left.
"""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import ArrayLike, NDArray

from samgeo.errors import OptionError
from samgeo.segmentation.masks.mask import Mask

__all__ = ["box_corners", "to_rbox", "to_xywha", "turned_corners"]

Floats = NDArray[np.float64]

# Areas, relative to the smallest one, and heights of corners in pixels count as equal if they differ by less than this, because
# float arithmetic does not give exactly equal values for rectangles that are equal.
_TOLERANCE = 1e-9


def to_rbox(shape: Mask | shapely.Geometry) -> Floats:
    """Return the rectangle of smallest area around a shape.

    A side of this rectangle lies on an edge of the convex hull (Freeman and Shapira, 1975), so that one rectangle is computed
    for each edge and the smallest is chosen. Of several with the same area, the one with the smallest angle to the axes is
    chosen. The rectangle of a mask goes around whole pixels: a mask of 30 x 10 pixels has a rectangle of 30 x 10, and not of
    29 x 9, the distances between pixel centres.

    Parameters
    ----------
    shape : Mask or geometry
        A shape in pixels, or in any plane coordinates with y down.

    Returns
    -------
    ndarray, shape (4, 2)
        Corners in clockwise order on a screen (x right, y down), from the topmost one, or the left one of two topmost corners.
        A line or a point gives a rectangle without area.

    Raises
    ------
    OptionError
        If the shape is empty or has a coordinate that is not finite.

    Examples
    --------
    >>> import shapely
    >>> from samgeo.annotations import to_rbox
    >>> to_rbox(shapely.box(0, 0, 4, 2)).shape
    (4, 2)
    """
    points = _outer_corners(shape) if isinstance(shape, Mask) else shapely.get_coordinates(shape)
    if len(points) == 0 or not np.isfinite(points).all():
        raise OptionError("The shape is empty or has a coordinate that is not finite, so that it has no oriented box; omit it.")
    hull = shapely.get_coordinates(shapely.convex_hull(shapely.multipoints(points)))
    if len(hull) == 1:
        return np.repeat(hull, 4, axis=0)
    origin = hull[0]
    edges = np.diff(hull, axis=0)
    # A direction and its perpendicular give the same rectangle. Each edge is rotated to within 45 degrees of the x axis.
    steep = np.abs(edges[:, 1]) > np.abs(edges[:, 0])
    edges[steep] = np.stack([-edges[steep, 1], edges[steep, 0]], axis=1)
    edges[edges[:, 0] < 0] *= -1
    # Directions are not normalised, so that coordinates of pixel edges stay whole numbers, which are exact, until one division.
    along = (hull - origin) @ edges.T
    across = (hull - origin) @ np.stack([-edges[:, 1], edges[:, 0]])
    squared = (edges**2).sum(axis=1)
    areas = np.ptp(along, axis=0) * np.ptp(across, axis=0) / squared
    angles = np.abs(np.arctan2(edges[:, 1], edges[:, 0]))
    candidates = np.flatnonzero(areas <= areas.min() * (1 + _TOLERANCE))
    # Of two rectangles whose angles differ only in sign, the one with the positive angle is chosen, so that the result does not
    # depend on the first point of the hull.
    best = min(candidates.tolist(), key=lambda index: (round(float(angles[index]), 9), -edges[index, 1]))
    edge, length = edges[best], squared[best]
    normal = np.array([-edge[1], edge[0]])
    low, high = along[:, best].min(), along[:, best].max()
    top, bottom = across[:, best].min(), across[:, best].max()
    corners = [(low, top), (high, top), (high, bottom), (low, bottom)]
    return _from_topmost(np.array([origin + (u * edge + v * normal) / length for u, v in corners]))


def box_corners(boxes: ArrayLike) -> Floats:
    """Return the corners of horizontal boxes.

    Parameters
    ----------
    boxes : array-like, shape (..., 4)
        Boxes as x0, y0, x1, y1.

    Returns
    -------
    ndarray, shape (..., 4, 2)
        Corners in the order top left, top right, bottom right, bottom left.
    """
    array = np.asarray(boxes, dtype=np.float64)
    return array[..., [0, 1, 2, 1, 2, 3, 0, 3]].reshape(*array.shape[:-1], 4, 2)


def turned_corners(x: float, y: float, width: float, height: float, angle: float) -> Floats:
    """Return the corners of a rectangle that is rotated around its centre.

    Parameters
    ----------
    x, y : float
        The centre.
    width, height : float
        The sides before the rotation.
    angle : float
        Angle of the rotation in radians, clockwise on a screen (y down).

    Returns
    -------
    ndarray, shape (4, 2)
        Corners in clockwise order on a screen, from the one that is top left before the rotation.
    """
    across, down = np.array([-1, 1, 1, -1]) * width / 2, np.array([-1, -1, 1, 1]) * height / 2
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([x + across * cos - down * sin, y + across * sin + down * cos], axis=1)


def to_xywha(corners: ArrayLike) -> Floats:
    """Return centre, sides and angle of a rectangle, with the angle in the convention "le90" of DOTA.

    Parameters
    ----------
    corners : array-like, shape (4, 2)
        Corners in clockwise or anticlockwise order.

    Returns
    -------
    ndarray, shape (5,)
        x and y of the centre, the long side, the short side, and the angle from the x axis to the long side in degrees, in
        [-90, 90), clockwise on a screen (y down). The angle of a square is in [-45, 45).

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
    # An angle that differs from the end of the range by a rounding error becomes the start of the range.
    turned = round((angle - least) % period, 9) % period + least
    return np.array([*points.mean(axis=0), max(sides), min(sides), turned])


def _from_topmost(corners: Floats) -> Floats:
    """Shift corners in clockwise order so that the topmost one, or the left one of two topmost corners, comes first."""
    tops = np.flatnonzero(corners[:, 1] <= corners[:, 1].min() + _TOLERANCE)
    first = tops[np.argmin(corners[tops, 0])]
    return np.roll(corners, -int(first), axis=0)


def _outer_corners(mask: Mask) -> Floats:
    """Return the outer corners of the first and last pixel of every row of a mask; all vertices of its hull are among them."""
    y, start, stop = mask.runs.astype(np.float64).T
    rows, first = np.unique(y, return_index=True)
    if len(rows) == 0:
        return np.empty((0, 2))
    left, right = start[first], np.maximum.reduceat(stop, first)
    return np.concatenate([np.stack([x, rows + down], axis=1) for x in (left, right) for down in (0, 1)])
