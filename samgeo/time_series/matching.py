"""Which polygons of two dates are the same object."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray

__all__ = ["Partners", "match"]


@dataclass(frozen=True, slots=True, eq=False)
class Partners:
    """Pairs of polygons of two layers.

    Attributes
    ----------
    of_first : ndarray of int64, shape (N,)
        Number of the partner of each polygon of the first layer in the second; -1 for none.
    of_second : ndarray of int64, shape (M,)
        The same for the second layer.
    iou : ndarray of float64, shape (M,)
        IoU of each polygon of the second layer with its partner; NaN for none.
    """

    of_first: NDArray[np.int64]
    of_second: NDArray[np.int64]
    iou: NDArray[np.float64]


def match(first: NDArray[np.object_], second: NDArray[np.object_], *, min_iou: float = 0.5) -> Partners:
    """Pair polygons of two layers: two are partners if each has its highest IoU with the other, and it is above a limit.

    Of equal IoUs, that with the polygon of the lower number counts as higher. So the pairs depend only on the polygons that
    touch them, and not on the order in which parts of the layers are matched.

    Parameters
    ----------
    first, second : ndarray of shapely geometries, shapes (N,) and (M,)
        Valid polygons in the same plane coordinates.
    min_iou : float, default 0.5
        Partners have an IoU above this value. Polygons of one layer that do not overlap have one such partner at most.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.time_series.matching import match
    >>> from shapely.geometry import box
    >>> before = np.array([box(0, 0, 10, 10), box(20, 0, 30, 10)], dtype=object)
    >>> after = np.array([box(40, 0, 50, 10), box(1, 0, 11, 10)], dtype=object)
    >>> match(before, after).of_second.tolist()
    [-1, 0]
    """
    of_first = np.full(len(first), -1, dtype=np.int64)
    of_second = np.full(len(second), -1, dtype=np.int64)
    overlap = np.full(len(second), np.nan)
    if not (len(first) and len(second)):
        return Partners(of_first, of_second, overlap)
    one, other = shapely.STRtree(second).query(first, predicate="intersects")
    shared = shapely.area(shapely.intersection(first[one], second[other]))
    union = shapely.area(first[one]) + shapely.area(second[other]) - shared
    iou = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    likely = iou > min_iou
    one, other, iou = one[likely], other[likely], iou[likely]
    best_of_first, best_of_second = _best(one, other, iou, len(first)), _best(other, one, iou, len(second))
    mutual = best_of_second[best_of_first] == np.arange(len(first))
    mutual &= best_of_first >= 0
    of_first[mutual] = best_of_first[mutual]
    of_second[of_first[mutual]] = np.flatnonzero(mutual)
    pairs = dict(zip(zip(one.tolist(), other.tolist(), strict=True), iou.tolist(), strict=True))
    for number in np.flatnonzero(of_second >= 0).tolist():
        overlap[number] = pairs[int(of_second[number]), number]
    return Partners(of_first, of_second, overlap)


def _best(mine: NDArray[np.int64], theirs: NDArray[np.int64], iou: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return for each polygon the one with which it has the highest IoU; -1 for none."""
    result = np.full(count, -1, dtype=np.int64)
    # The last one that is written stays: the highest IoU, and of equal ones the lowest number.
    order = np.lexsort((-theirs, iou))
    result[mine[order]] = theirs[order]
    return result
