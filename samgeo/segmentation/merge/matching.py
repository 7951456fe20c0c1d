"""When two pieces are of the same object: compared where both are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.mask import Mask, intersection_area
from samgeo.segmentation.merge.piece import Piece

__all__ = ["known_iou", "same_across", "same_beside"]


def known_iou(one: Piece, here: Rect, other: Piece, there: Rect) -> float:
    """Return the IoU of two pieces over the pixels where both are known.

    A cut piece is known inside its window, ``here`` for ``one`` and ``there`` for the other; a complete one everywhere.
    """
    a = one.mask.clip(there) if other.cut else one.mask
    b = other.mask.clip(here) if one.cut else other.mask
    area_a, area_b = a.area, b.area
    if not area_a or not area_b:
        return 0.0
    shared = intersection_area(a, b)
    return shared / (area_a + area_b - shared)


def same_beside(
    pieces: Sequence[Piece], here: Rect, others: Sequence[Piece], there: Rect, min_iou: float
) -> Iterator[tuple[Piece, Piece]]:
    """Give the pairs, one from each of two neighbouring windows of a scale, that are the same object."""
    if not pieces or not others:
        return
    for index, other_index in _boxes_meet(_boxes(pieces), _boxes(others)):
        one, other = pieces[index], others[other_index]
        if known_iou(one, here, other, there) >= min_iou:
            yield one, other


def same_across(
    pieces: Sequence[Piece], here: Rect, others: Sequence[Piece], there: Rect, min_iou: float, *, least_strip: int
) -> Iterator[tuple[Piece, Piece]]:
    """Give the pairs, one from each of two windows of different scales, that are the same object.

    Many small pieces of one meet a few large ones of the other: what areas alone rule out is not compared.

    Parameters
    ----------
    pieces, others : sequence of Piece
        Of the windows ``here`` and ``there``.
    min_iou : float
    least_strip : int
        Two cut pieces are compared where their windows share at least so many pixels across: in less, anything looks alike.
    """
    if not pieces or not others:
        return
    within = [other.mask.clip(here) for other in others]
    area, inside = _areas(piece.mask for piece in pieces)[:, None], _areas(within)
    one_cut, other_cut = np.array([one.cut for one in pieces])[:, None], np.array([other.cut for other in others])
    # What of the other is known here; and at most what both share, and of what complete others are measured by.
    known = np.where(one_cut, inside, _areas(other.mask for other in others))
    shared = np.minimum(area, inside)
    may = (shared > 0) & (shared >= min_iou * known) & (other_cut | (shared >= min_iou * area))
    if min((here & there).shape) < least_strip:
        may &= ~(one_cut & other_cut)
    for index, other_index in _boxes_meet(_boxes(pieces), _boxes_of(within), may):
        one, other = pieces[index], others[other_index]
        if known_iou(one, here, other, there) >= min_iou:
            yield one, other


def _areas(masks: Iterable[Mask]) -> NDArray[np.int64]:
    return np.array([mask.area for mask in masks], dtype=np.int64)


def _boxes(pieces: Sequence[Piece]) -> NDArray[np.int64]:
    return _boxes_of(piece.mask for piece in pieces)


def _boxes_of(masks: Iterable[Mask]) -> NDArray[np.int64]:
    return np.array([(rect.x0, rect.y0, rect.x1, rect.y1) for rect in (mask.rect for mask in masks)], dtype=np.int64)


def _boxes_meet(
    boxes: NDArray[np.int64], others: NDArray[np.int64], also: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Return the pairs of boxes that share pixels, shape (N, 2)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    meet = (low < high).all(axis=2)
    return np.argwhere(meet if also is None else meet & also)
