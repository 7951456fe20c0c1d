"""PoLiS, a distance between the outlines of two polygons."""

from __future__ import annotations

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.types import GeometriesLike

__all__ = ["polis"]


def polis(a: GeometriesLike, b: GeometriesLike) -> NDArray[np.float64]:
    """Compute the PoLiS distance of pairs of polygons.

    It is half the mean distance of A's corners from B's outline plus half the mean distance of B's corners from A's outline:
    J. Avbelj, R. Müller, R. Bamler, A Metric for Polygon Comparison and Building Extraction Evaluation, IEEE Geoscience and
    Remote Sensing Letters 12, 2015, equation 1. The corners and outlines of holes and of all parts are included; the source
    does not define this. Corners on straight edges are included too, so simplify outlines along pixel edges first to get the
    distance of the real corners.

    Parameters
    ----------
    a, b : array-like of polygons, shape (N,)
        Pairs of polygons in the same plane.

    Returns
    -------
    ndarray, shape (N,)
        Distances in the unit of the coordinates. They are 0 for equal outlines, and NaN where one of the polygons is empty.

    Examples
    --------
    >>> from shapely.geometry import box
    >>> from samgeo.evaluation import polis
    >>> polis([box(0, 0, 10, 10)], [box(0, 0, 12, 10)]).tolist()
    [0.5]
    """
    a, b = np.asarray(a, dtype=object), np.asarray(b, dtype=object)
    return (_one_way(a, b) + _one_way(b, a)) / 2


def _one_way(a: NDArray[np.object_], b: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the mean distance of the corners of each polygon of ``a`` from the outline of its partner in ``b``."""
    # The last coordinate of a ring repeats the first, and must not be counted twice.
    parts, owner_of_part = shapely.get_parts(a, return_index=True)
    rings, part_of_ring = shapely.get_rings(parts, return_index=True)
    xy, ring = shapely.get_coordinates(rings, return_index=True)
    is_corner = np.r_[ring[1:] == ring[:-1], False] if len(ring) else np.zeros(0, dtype=bool)
    owner = owner_of_part[part_of_ring[ring[is_corner]]]
    outlines = shapely.boundary(b)
    shapely.prepare(outlines)
    distance = shapely.distance(outlines[owner], shapely.points(xy[is_corner]))
    count = np.bincount(owner, minlength=len(a)).astype(np.float64)
    total = np.bincount(owner, distance, minlength=len(a))
    mean: NDArray[np.float64] = np.divide(total, count, out=np.full(len(a), np.nan), where=count > 0)
    return mean
