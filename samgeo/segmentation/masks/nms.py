"""Non-maximum suppression of boxes and of masks, and the removal of nearly equal objects while rows of windows are merged.

The results equal those of the greedy loop, but are computed without a loop over boxes and without an N x N table.

Merging joins the pieces of one object. Two objects that merging keeps separate may still be nearly equal: their pieces were not
similar enough to be joined, they were found at two scales, or they are two masks of one window. `settle` keeps the better one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.mask import Mask, intersection_areas
from samgeo.segmentation.masks.piece import Piece, Segment, place
from samgeo.segmentation.profile import timed

__all__ = [
    "Decision",
    "box_nms",
    "check_mask_nms",
    "decide",
    "keep_greedily",
    "nearly_equal",
    "overlapping",
    "settle",
]


# Boxes are processed by falling score, in blocks whose size starts at this number and doubles. So copies of a kept box are
# removed before they are compared with each other.
_FIRST_BLOCK = 1024


def box_nms(boxes: NDArray[np.float64], scores: NDArray[np.float64], threshold: float) -> NDArray[np.int64]:
    """Return the boxes that greedy non-maximum suppression keeps.

    Boxes are taken by falling score, equal scores by index. A box is kept unless its IoU with a box kept before exceeds the
    threshold. The cost is O(N log N + E) for E pairs of boxes that intersect.

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
        If shapes do not fit, a value is not finite, a box has x0 > x1 or y0 > y1, or the threshold is not from 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation.masks.nms import box_nms
    >>> boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10]], dtype=float)
    >>> box_nms(boxes, np.array([0.8, 0.9, 0.7]), threshold=0.7).tolist()
    [1, 2]
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

    Box suppression misses two kinds of nearly equal masks: masks that differ by a small separate island, which makes one box
    much larger, and masks that are one pixel wide, whose boxes have no area in SAM's convention.

    Runs are compared only if boxes and areas allow such an IoU. With areas ``a`` and ``b``, an IoU above ``t`` needs more than
    ``t * (a + b) / (1 + t)`` shared pixels. Both masks and the intersection of their boxes must have at least so many.

    Parameters
    ----------
    masks : sequence of Mask
        In the same pixels, none empty.
    threshold : float
        IoU from 0 to 1.

    Returns
    -------
    first, second : ndarray of int64, shape (P,)
        Indices of each pair; the first is smaller than the second.
    """
    # Imported in functions, because the benchmarks of models import this module on machines without shapely.
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
    may = most > threshold * (total - most)  # ``most`` is an upper bound of the shared pixels, and the IoU grows with them.
    first, second, total = first[may], second[may], total[may]
    shared = intersection_areas(masks, masks, first, second)
    over = shared / (total - shared) > threshold
    first, second = first[over], second[over]
    order = np.lexsort([second, first])
    return first[order], second[order]


def overlapping(
    masks: Sequence[Mask], iou: float, covered: float, kinds: Sequence[int] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the pairs of masks that overlap much: by their IoU, or because one of them is mostly covered by the other.

    Parameters
    ----------
    masks : sequence of Mask
        In the same pixels, none empty.
    iou : float
        Pairs with a higher IoU are returned.
    covered : float
        Pairs that share more than this part of the smaller mask are returned.
    kinds : sequence of int, optional
        Only masks of the same kind are compared.

    Returns
    -------
    first, second : ndarray of int64, shape (P,)
        Indices of each pair; the first is smaller than the second.
    """
    import shapely

    outlines, area = _boxes(masks), _areas(masks)
    first, second = shapely.STRtree(outlines).query(outlines)
    ahead = first < second
    if kinds is not None:
        same = np.asarray(kinds)
        ahead &= same[first] == same[second]
    first, second = first[ahead], second[ahead]
    shared = intersection_areas(masks, masks, first, second)
    total = area[first] + area[second] - shared
    over = (shared > iou * total) | (shared > covered * np.minimum(area[first], area[second]))
    first, second = first[over], second[over]
    order = np.lexsort([second, first])
    return first[order], second[order]


def keep_greedily(count: int, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the candidates that greedy suppression keeps.

    Parameters
    ----------
    count : int
        Number of candidates, which are ordered from the best to the worst.
    first, second : ndarray of int64, shape (P,)
        Pairs of candidates of which only one may be kept; the first is the better one.

    Returns
    -------
    ndarray of int64, shape (K,)
        Indices of the kept candidates, rising.
    """
    return _independent(np.arange(count), first, second)


def check_mask_nms(threshold: object) -> None:
    """Check the threshold of mask suppression.

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
    """Return geometries whose envelopes intersect whenever two boxes have an IoU above the threshold ``t``.

    On each axis such boxes share more than ``t`` of the longer side, so the distance of their centres is less than ``1 - t``
    times half the sum of their sides. Therefore the boxes still intersect if they are shrunk to ``1 - t`` of their size about
    their centres.
    """
    import shapely

    centre, reach = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 * (1 - threshold)
    reach += 1e-9 * np.abs(boxes).max(initial=0)  # A margin for rounding of the bound. The exact IoU is compared later.
    # The tree compares only envelopes, and a diagonal line has its box as envelope.
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
    # The quotient is the same as in the greedy loop, so that both round in the same way at the threshold.
    over = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0) > threshold
    return first[over], second[over]


def _independent(members: NDArray[np.int64], better: NDArray[np.int64], worse: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the members that greedy suppression keeps, given the pairs of which only one may be kept.

    In each round, members that no better undecided member suppresses are kept, and the members that they suppress are removed.
    This equals the sequential result, because a decision depends only on better members.
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
        # A pair matters only while both of its members are undecided.
        live = undecided[worse] & undecided[better]
        better, worse = better[live], worse[live]
    return np.flatnonzero(kept | undecided)


# The area of an object after finer scales have drawn its edges and specks were removed is at least this share of its pieces.
LEAST_LEFT = 0.5


def settle(
    objects: Iterable[Segment],
    open_pieces: Sequence[Piece],
    threshold: float | None,
    *,
    least_areas: Sequence[int] | None = None,
) -> tuple[list[Segment], list[Segment]]:
    """Remove objects that are nearly equal to a better one, and hold back objects that cannot be decided yet.

    Over all rows of windows, the result equals greedy suppression among all objects of the raster: complete objects before
    objects that a window cut, then by falling predicted IoU, then by place. An object is kept unless the IoU of its mask with
    an object kept before exceeds the threshold. An object waits while an open object may turn out to be nearly equal to it,
    that is, while open pieces that are not much larger than the object cover a good part of it.

    Parameters
    ----------
    objects : iterable of Segment
        Objects that waited before, and objects that closed with a row of windows. No later window reaches them.
    open_pieces : sequence of Piece
        The pieces of all open objects. Those that share no pixels with an object may be left out.
    least_areas : sequence of int, optional
        A lower bound of the area of the object that each open piece will belong to; by default the area of the piece.
    threshold : float or None
        IoU from 0 to 1; None keeps all objects.

    Returns
    -------
    kept : list of Segment
        The decided objects that are kept.
    waiting : list of Segment
        Objects to be given to the next call.
    """
    ordered = sorted(objects, key=_rank)
    decision = decide(ordered, open_pieces, threshold, least_areas=least_areas)
    waiting = [one for one, waits in zip(ordered, decision.waits, strict=True) if waits]
    return [ordered[index] for index in decision.kept.tolist()], waiting


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """What is decided about objects, which are named by their indices.

    Attributes
    ----------
    kept : ndarray of int64, shape (K,)
        The objects that are decided and kept, the best first.
    waits : ndarray of bool, shape (N,)
        Which objects cannot be decided yet.
    nearly_equal : tuple of ndarray of int64, shape (P,)
        The pairs of objects of which only one may be kept.
    overlapping : tuple of ndarray of int64, shape (Q,)
        The pairs of an object and an open piece whose boxes share pixels.
    """

    kept: NDArray[np.int64]
    waits: NDArray[np.bool_]
    nearly_equal: tuple[NDArray[np.int64], NDArray[np.int64]]
    overlapping: tuple[NDArray[np.int64], NDArray[np.int64]]


@timed("suppress")
def decide(
    objects: Sequence[Segment],
    open_pieces: Sequence[Piece],
    threshold: float | None,
    *,
    least_areas: Sequence[int] | None = None,
) -> Decision:
    """Decide objects as `settle` does, which describes the parameters, and tell what the decision depends on."""
    order = np.array(sorted(range(len(objects)), key=lambda index: _rank(objects[index])), dtype=np.int64)
    none = (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64))
    if threshold is None or not len(order):
        return Decision(order, np.zeros(len(order), dtype=np.bool_), none, none)
    masks = [objects[index].mask for index in order.tolist()]
    first, second = nearly_equal(masks, threshold)
    met, mine, theirs = _may_be_met(masks, [piece.mask for piece in open_pieces], least_areas, threshold)
    waits = np.empty(len(order), dtype=np.bool_)
    waits[order] = _hang_together(met, first, second)
    kept = order[keep_greedily(len(order), first, second)]
    return Decision(kept[~waits[kept]], waits, (order[first], order[second]), (order[mine], theirs))


def _rank(one: Segment) -> tuple[bool, float, tuple[int, int, int, int, float, bytes]]:
    return not one.complete, -(one.predicted_iou if one.score is None else one.score), place(one)


def _may_be_met(
    masks: Sequence[Mask], open_masks: Sequence[Mask], least_areas: Sequence[int] | None, threshold: float
) -> tuple[NDArray[np.bool_], NDArray[np.int64], NDArray[np.int64]]:
    """Return whether an open object may reach an IoU above the threshold with each mask, and the pairs whose boxes meet.

    Such an object is not larger than the mask by more than the threshold allows, and its pieces together cover more of
    the mask than the threshold demands. Both limits are relaxed by `LEAST_LEFT`.
    """
    import shapely

    if not open_masks:
        none = np.zeros(0, dtype=np.int64)
        return np.zeros(len(masks), dtype=np.bool_), none, none
    area = _areas(masks)
    open_area = _areas(open_masks) if least_areas is None else np.array(least_areas, dtype=np.int64)
    tree = shapely.STRtree(_boxes(open_masks))
    mine, theirs = tree.query(_boxes(masks))
    fits = area[mine] >= LEAST_LEFT * threshold * open_area[theirs]
    shared = intersection_areas(masks, open_masks, mine[fits], theirs[fits])
    covered = np.bincount(mine[fits], weights=shared, minlength=len(masks))
    met: NDArray[np.bool_] = (covered > 0) & (covered >= LEAST_LEFT * threshold * area)
    return met, mine, theirs


def _hang_together(waits: NDArray[np.bool_], first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which objects wait, including those that are connected by pairs to a waiting object.

    Which of a pair is kept depends on the object that waits.
    """
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
