"""Objects that are nearly equal to a better one, left out while rows of windows are merged.

Merging joins pieces that windows saw of one object. Two objects that merging keeps apart may still be nearly equal: joined from
pieces that were not alike enough, seen at two scales, or two masks of one window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.mask import Mask, intersection_areas
from samgeo.segmentation.masks.nms import keep_greedily, nearly_equal
from samgeo.segmentation.merge.piece import Piece, Segment, place
from samgeo.segmentation.profile import timed

__all__ = ["settle"]

# Finer scales that draw the edges of a piece, and the removal of specks, leave at least so much of its area.
LEAST_LEFT = 0.5


@timed("suppress")
def settle(
    objects: Iterable[Segment], open_pieces: Sequence[Piece], threshold: float | None
) -> tuple[list[Segment], list[Segment]]:
    """Leave out objects that are nearly equal to a better one, as far as this is known.

    Over all rows of windows, the result is that of greedy suppression among all objects of the raster: complete objects before
    those that a window cut, then by falling predicted IoU, then by place, an object is kept unless the IoU of its mask with one
    already kept exceeds the threshold. An object waits while an object that is still open may turn out to be nearly equal to
    it: while pieces that are not much larger than it cover a good part of it.

    Parameters
    ----------
    objects : iterable of Segment
        Those that waited before, and those that closed with a row of windows. No window that is still to come reaches them.
    open_pieces : sequence of Piece
        The pieces of all objects that are still open.
    threshold : float or None
        IoU from 0 to 1; None keeps all objects.

    Returns
    -------
    kept : list of Segment
        What is decided, without those that are left out.
    waiting : list of Segment
        What goes into the next call.
    """
    ordered = sorted(objects, key=_rank)
    if threshold is None or not ordered:
        return ordered, []
    masks = [one.mask for one in ordered]
    first, second = nearly_equal(masks, threshold)
    waits = _hang_together(_may_be_met(masks, [piece.mask for piece in open_pieces], threshold), first, second)
    kept = np.zeros(len(ordered), dtype=np.bool_)
    kept[keep_greedily(len(ordered), first, second)] = True
    decided = [one for one, is_kept, waiting in zip(ordered, kept, waits, strict=True) if is_kept and not waiting]
    return decided, [one for one, waiting in zip(ordered, waits, strict=True) if waiting]


def _rank(one: Segment) -> tuple[bool, float, tuple[int, int, int, int, float, bytes]]:
    return not one.complete, -one.predicted_iou, place(one)


def _may_be_met(masks: Sequence[Mask], open_masks: Sequence[Mask], threshold: float) -> NDArray[np.bool_]:
    """Whether an object that is made of open pieces, among others, may come to an IoU above the threshold with each mask.

    The pieces of such an object are not larger than the mask by more than the threshold allows, and together they cover it by
    more than the threshold.
    """
    import shapely

    if not open_masks:
        return np.zeros(len(masks), dtype=np.bool_)
    area, open_area = _areas(masks), _areas(open_masks)
    tree = shapely.STRtree(_boxes(open_masks))
    mine, theirs = tree.query(_boxes(masks))
    fits = area[mine] >= LEAST_LEFT * threshold * open_area[theirs]
    mine, theirs = mine[fits], theirs[fits]
    shared = intersection_areas(masks, open_masks, mine, theirs)
    covered = np.bincount(mine, weights=shared, minlength=len(masks))
    met: NDArray[np.bool_] = (covered > 0) & (covered >= LEAST_LEFT * threshold * area)
    return met


def _hang_together(waits: NDArray[np.bool_], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Have all wait that are joined to one that waits by pairs: which of them stays depends on it."""
    while True:
        spread = waits.copy()
        spread[first] |= waits[second]
        spread[second] |= waits[first]
        if np.array_equal(spread, waits):
            return waits
        waits = spread


def _areas(masks: Sequence[Mask]) -> NDArray[np.int64]:
    return np.array([mask.area for mask in masks], dtype=np.int64)


def _boxes(masks: Sequence[Mask]) -> NDArray[np.object_]:
    import shapely

    rects: list[Rect] = [mask.rect for mask in masks]
    corners = np.array([(rect.x0, rect.y0, rect.x1, rect.y1) for rect in rects], dtype=np.float64)
    return np.asarray(shapely.box(*corners.reshape(-1, 4).T), dtype=np.object_)
