"""Boundary IoU, a measure of how well two outlines agree."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.types import GeometriesLike

__all__ = ["boundary_iou"]


@check_types
def boundary_iou(a: GeometriesLike, b: GeometriesLike, distance: float) -> NDArray[np.float64]:
    """Compute the boundary IoU of pairs of polygons.

    A_d is the set of the points of A whose distance from the outline of A, including the outlines of holes, is at most d.
    Boundary IoU is the area of the intersection of A_d and B_d divided by the area of their union: B. Cheng, R. Girshick, P.
    Dollár, A. C. Berg, A. Kirillov, Boundary IoU: Improving Object-Centric Image Segmentation Evaluation, 2021, equation 2,
    with polygons in place of pixels. A_d is computed as A minus the erosion of A by d (a buffer of -d, whose arcs have 8
    segments in a quarter). If d is larger than both polygons, the result is their IoU.

    Parameters
    ----------
    a, b : array-like of polygons, shape (N,)
        Pairs of valid polygons in the same plane.
    distance : float
        The distance d in the unit of the coordinates, above 0.

    Returns
    -------
    ndarray, shape (N,)
        From 0 to 1; NaN where both polygons are empty.

    Raises
    ------
    OptionError
        If the distance is not positive.

    Examples
    --------
    >>> from shapely.geometry import box
    >>> from samgeo.evaluation import boundary_iou
    >>> a, b = box(0, 0, 100, 100), box(2, 0, 102, 100)
    >>> boundary_iou([a], [b], distance=2).round(2).tolist()
    [0.33]
    """
    if not 0 < distance < np.inf:
        raise OptionError(f"the distance of boundary IoU is {distance}; give a number above 0.")
    return iou(_band(a, distance), _band(b, distance))


def iou(a: GeometriesLike, b: GeometriesLike) -> NDArray[np.float64]:
    """Return the IoU of pairs of polygons, shape (N,); NaN where both are empty."""
    a, b = np.asarray(a, dtype=object), np.asarray(b, dtype=object)
    shared = np.asarray(shapely.area(shapely.intersection(a, b)), dtype=np.float64)
    union = shapely.area(a) + shapely.area(b) - shared
    ratio: NDArray[np.float64] = np.divide(shared, union, out=np.full_like(shared, np.nan), where=union > 0)
    return ratio


def _band(polygons: GeometriesLike, distance: float) -> NDArray[np.object_]:
    """Return the parts of polygons that are within a distance of their own outlines."""
    polygons = np.asarray(polygons, dtype=object)
    return np.asarray(shapely.difference(polygons, shapely.buffer(polygons, -distance, quad_segs=8)), dtype=object)
