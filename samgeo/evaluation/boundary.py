"""Boundary IoU: how well outlines agree, whatever the size of what they enclose."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.types import GeometriesLike

__all__ = ["boundary_iou"]


@check_types
def boundary_iou(a: GeometriesLike, b: GeometriesLike, distance: float) -> NDArray[np.float64]:
    """Compare the parts of polygons that lie within a distance of their own outlines.

    With A_d the points of A that lie at most d from A's outline, holes included, it is the area of the intersection of A_d
    and B_d over that of their union: B. Cheng, R. Girshick, P. Dollár, A. C. Berg, A. Kirillov, Boundary IoU: Improving
    Object-Centric Image Segmentation Evaluation, 2021, equation 2, on polygons in place of pixels. A_d is A less A's erosion
    by d (a buffer of -d, whose arcs have 8 corners a quarter). Where d is as large as both, it is the IoU.

    Parameters
    ----------
    a, b : array-like of polygons, shape (N,)
        Pairs, valid, in the same plane.
    distance : float
        In the unit of the coordinates, above 0.

    Returns
    -------
    ndarray, shape (N,)
        0 to 1; NaN where both are empty.

    Raises
    ------
    OptionError
        If the distance is not positive.
    """
    if not 0 < distance < np.inf:
        raise OptionError(f"the distance of boundary IoU is {distance}; give a number above 0.")
    return iou(_band(a, distance), _band(b, distance))


def iou(a: Any, b: Any) -> NDArray[np.float64]:
    """Return intersection over union of pairs of areas, shape (N,); NaN where both are empty."""
    import shapely

    a, b = np.asarray(a, dtype=object), np.asarray(b, dtype=object)
    shared = np.asarray(shapely.area(shapely.intersection(a, b)), dtype=np.float64)
    union = shapely.area(a) + shapely.area(b) - shared
    ratio: NDArray[np.float64] = np.divide(shared, union, out=np.full_like(shared, np.nan), where=union > 0)
    return ratio


def _band(polygons: Any, distance: float) -> NDArray[np.object_]:
    import shapely

    polygons = np.asarray(polygons, dtype=object)
    return np.asarray(shapely.difference(polygons, shapely.buffer(polygons, -distance, quad_segs=8)), dtype=object)
