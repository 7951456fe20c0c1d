"""The PoLiS distance: how far the corners of two outlines are from each other's edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samgeo.types import GeometriesLike

__all__ = ["polis"]


def polis(a: GeometriesLike, b: GeometriesLike) -> NDArray[np.float64]:
    """Measure the mean distance from the corners of each polygon to the outline of the other.

    Half the mean over A's corners of the distance to B's outline, plus half the mean over B's corners of the distance to A's:
    J. Avbelj, R. Müller, R. Bamler, A Metric for Polygon Comparison and Building Extraction Evaluation, IEEE Geoscience and
    Remote Sensing Letters 12, 2015, equation 1. Corners and outlines of holes and of all parts count, which the source leaves
    open. Corners on straight edges count too: simplify outlines along pixel edges first if the figure shall be that of
    their buildings.

    Parameters
    ----------
    a, b : array-like of polygons, shape (N,)
        Pairs, in the same plane.

    Returns
    -------
    ndarray, shape (N,)
        In the unit of the coordinates; 0 for the same outline, NaN where either is empty.
    """
    a, b = np.asarray(a, dtype=object), np.asarray(b, dtype=object)
    return (_one_way(a, b) + _one_way(b, a)) / 2


def _one_way(a: NDArray[np.object_], b: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the mean distance of the corners of ``a`` from the outline of ``b``."""
    import shapely

    # The closing corner of a ring is its first one again.
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
