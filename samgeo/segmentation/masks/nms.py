"""Non-maximum suppression of boxes and of masks: what the greedy loop keeps, without its loop and without an N x N table.

Objects that are nearly equal to a better one, left out while rows of windows are merged.

Merging joins pieces that windows saw of one object. Two objects that merging keeps apart may still be nearly equal: joined from
pieces that were not alike enough, seen at two scales, or two masks of one window.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.mask import Mask, intersection_areas
from samgeo.segmentation.merge.piece import Piece, Segment, place
from samgeo.segmentation.profile import timed

__all__ = ["box_nms", "check_mask_nms", "keep_greedily", "nearly_equal", "settle"]


# Boxes are taken by falling score in blocks of this many, then twice as many: copies of a kept box go before they pair up.
_FIRST_BLOCK = 1024


def box_nms(boxes: NDArray[np.float64], scores: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Keep the best of boxes that overlap.

    The result is that of greedy suppression: by falling score, equal scores by index, a box is kept unless its IoU with one
    already kept exceeds the threshold. It costs O(N log N + E) for E pairs of boxes that meet.

    Parameters
    ----------
    boxes : ndarray, shape (N, 4)
        x0, y0, x1, y1 with ``x0 <= x1`` and ``y0 <= y1``, in any unit. A box without area suppresses nothing.
    scores : ndarray, shape (N,)
        Higher is better.
    threshold : float
        IoU from 0 to 1.

    Returns
    -------
    ndarray of int64, shape (K,)
        Indices of the kept boxes, by falling score.

    Raises
    ------
    OptionError
        If shapes do not fit, a value is not finite, a box is inside out, or the threshold is not from 0 to 1.
    """
    boxes, scores = np.asarray(boxes, dtype=np.float64), np.asarray(scores, dtype=np.float64)
    _check(boxes, scores, threshold)
    order = np.argsort(-scores, kind="stable")
    boxes = boxes[order]
    probes = _probes(boxes, threshold)
    kept = np.empty(0, dtype=np.int64)
    start, size = 0, _FIRST_BLOCK
    while start < len(boxes):
        block = np.arange(start, min(start + size, len(boxes)))
        if len(kept):
            _, beaten = _overlapping(boxes, probes, kept, block, threshold)
            block = np.setdiff1d(block, beaten)
        better, worse = _overlapping(boxes, probes, block, block, threshold)
        forward = better < worse
        kept = np.concatenate([kept, _independent(block, better[forward], worse[forward])])
        start, size = start + size, 2 * size
    return order[kept].astype(np.int64, copy=False)


def nearly_equal(masks: Sequence[Mask], threshold: float) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of masks whose IoU exceeds a threshold.

    Boxes miss two kinds of near-identical masks: those that differ by a stray island, which makes one box much larger, and
    those one pixel wide, whose boxes have no area in SAM's convention.

    Runs are compared only where boxes and areas leave the IoU possible: with areas ``a`` and ``b``, an IoU above ``t`` needs
    more than ``t * (a + b) / (1 + t)`` pixels in both, and both masks and the intersection of their boxes must have as many.

    Parameters
    ----------
    masks : sequence of Mask
        In the same pixels, none empty.
    threshold : float
        IoU from 0 to 1.

    Returns
    -------
    first, second : ndarray of int64, shape (P,)
        Indices of each pair, the first below the second.
    """
    import shapely

    rects = [mask.rect for mask in masks]
    boxes = np.array([(rect.x0, rect.y0, rect.x1, rect.y1) for rect in rects], dtype=np.int64).reshape(-1, 4)
    area = np.array([mask.area for mask in masks], dtype=np.int64)
    outlines = np.asarray(shapely.box(*boxes.T), dtype=np.object_)
    first, second = shapely.STRtree(outlines).query(outlines)
    ahead = first < second
    first, second = first[ahead], second[ahead]
    sides = np.minimum(boxes[first, 2:], boxes[second, 2:]) - np.maximum(boxes[first, :2], boxes[second, :2])
    most = np.minimum(np.prod(np.maximum(sides, 0), axis=1), np.minimum(area[first], area[second]))
    total = area[first] + area[second]
    may = most > threshold * (total - most)  # The IoU grows with the shared pixels, of which there are at most so many.
    first, second, total = first[may], second[may], total[may]
    shared = intersection_areas(masks, masks, first, second)
    over = shared / (total - shared) > threshold
    first, second = first[over], second[over]
    order = np.lexsort([second, first])
    return first[order], second[order]


def keep_greedily(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return what greedy suppression keeps.

    Parameters
    ----------
    count : int
        How many candidates there are, the best first.
    first, second : ndarray of int64, shape (P,)
        Pairs of which only one may stay, the better one first.

    Returns
    -------
    ndarray of int64, shape (K,)
        Indices of the kept candidates, rising.
    """
    return _independent(np.arange(count), first, second)


def check_mask_nms(threshold: object) -> None:
    """Refuse a threshold of mask suppression that is not an IoU.

    Raises
    ------
    OptionError
        If it is neither None, which turns suppression off, nor a number from 0 to 1.
    """
    if threshold is None:
        return
    if isinstance(threshold, bool) or not isinstance(threshold, Real) or not 0 <= float(threshold) <= 1:
        raise OptionError(f"mask_nms is {threshold!r}; give an IoU from 0 to 1, or None to keep near-identical masks.")


def _check(boxes: NDArray[np.float64], scores: NDArray[np.float64], threshold: float) -> None:
    if boxes.ndim != 2 or boxes.shape[1] != 4 or scores.shape != boxes.shape[:1]:
        raise OptionError(f"boxes have shape {boxes.shape} and scores {scores.shape}; give (N, 4) and (N,).")
    if not 0 <= threshold <= 1:
        raise OptionError(f"the IoU threshold is {threshold}; give a number from 0 to 1.")
    bad = ~(np.isfinite(boxes).all(axis=1) & np.isfinite(scores) & (boxes[:, :2] <= boxes[:, 2:]).all(axis=1))
    if bad.any():
        index = int(np.argmax(bad))
        raise OptionError(
            f"box {index} is {boxes[index].tolist()} with score {scores[index]}; "
            "give finite x0 <= x1, y0 <= y1 and a finite score."
        )


def _probes(boxes: NDArray[np.float64], threshold: float) -> NDArray[np.object_]:
    """Return geometries whose envelopes meet wherever two boxes have an IoU above the threshold ``t``.

    On each axis such boxes share more than ``t`` of the longer side, so that their centres are nearer than
    ``(1 - t)`` times half the sum of their sides: boxes shrunk by ``1 - t`` about their centres still meet.
    """
    import shapely

    centre, reach = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * (1 - threshold)
    reach += 1e-9 * np.abs(boxes).max(initial=0)  # Covers the rounding of the bound; the IoU itself decides.
    # A diagonal has its box as envelope, which is all that the tree compares.
    return np.asarray(shapely.linestrings(np.stack([centre - reach, centre + reach], axis=1)), dtype=np.object_)


def _overlapping(
    boxes: NDArray[np.float64],
    probes: NDArray[np.object_],
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    threshold: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs, one of ``left`` and one of ``right``, whose IoU exceeds the threshold."""
    import shapely

    second, first = shapely.STRtree(probes[left]).query(probes[right])
    first, second = left[first], right[second]
    a, b = boxes[first], boxes[second]
    sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
    shared = np.prod(np.maximum(sides, 0), axis=1)
    area = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1)
    total = area[first] + area[second] - shared
    # Written as the quotient of the greedy loop, so that both round alike at the threshold.
    over = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0) > threshold
    return first[over], second[over]


def _independent(members: NDArray[np.int64], better: NDArray[np.int64], worse: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the members that greedy suppression keeps, given the pairs of which only one may stay.

    In each round, a member that no undecided better one threatens is kept, and what it threatens goes: the sequential
    result, since a decision depends on better members alone.
    """
    size = int(members[-1]) + 1 if len(members) else 0
    undecided = np.zeros(size, dtype=np.bool_)
    undecided[members] = True
    kept = np.zeros(size, dtype=np.bool_)
    while len(worse):
        threatened = np.zeros(size, dtype=np.bool_)
        threatened[worse] = True
        safe = undecided & ~threatened
        kept |= safe
        undecided &= ~safe
        undecided[worse[kept[better]]] = False
        # A pair matters while the worse is undecided and the better may still be kept.
        live = undecided[worse] & undecided[better]
        better, worse = better[live], worse[live]
    return np.flatnonzero(kept | undecided)


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
