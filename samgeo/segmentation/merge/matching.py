"""Decision whether two pieces are the same object, by their IoU over the pixels where both are known."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.mask import Mask, intersection_area
from samgeo.segmentation.masks.piece import Piece

__all__ = ["iou_in_windows", "known_iou", "same_across", "same_beside"]


def known_iou(one: Piece, here: Rect, other: Piece, there: Rect) -> float:
    """Return the IoU of two pieces over the pixels where both are known.

    A cut piece is known only inside its window, which is ``here`` for ``one`` and ``there`` for ``other``. A complete piece is
    known everywhere.
    """
    a = one.mask.clip(there) if other.cut else one.mask
    b = other.mask.clip(here) if one.cut else other.mask
    area_a, area_b = a.area, b.area
    if not area_a or not area_b:
        return 0.0
    shared = intersection_area(a, b)
    return shared / (area_a + area_b - shared)


def iou_in_windows(one: Piece, other: Piece, levels: Levels) -> float:
    """Return the `known_iou` of two pieces, whose windows are those that they say."""
    return known_iou(one, levels.rect(*one.window), other, levels.rect(*other.window))


def same_beside(
    pieces: Sequence[Piece], here: Rect, others: Sequence[Piece], there: Rect, min_iou: float
) -> Iterator[tuple[Piece, Piece]]:
    """Give the pairs of pieces, one from each of two neighbouring windows of a scale, that are the same object."""
    if not pieces or not others:
        return
    for index, other_index in _boxes_meet(_boxes(pieces), _boxes(others)):
        one, other = pieces[index], others[other_index]
        if known_iou(one, here, other, there) >= min_iou:
            yield one, other


def same_across(
    pieces: Sequence[Piece], here: Rect, others: Sequence[Piece], there: Rect, min_iou: float, *, least_strip: int
) -> Iterator[tuple[Piece, Piece]]:
    """Give the pairs of pieces, one from each of two windows of different scales, that are the same object.

    A fine window has many small pieces, a coarse one a few large ones. Pairs that cannot match because of their areas are not
    compared.

    Parameters
    ----------
    pieces, others : sequence of Piece
        Pieces of the windows ``here`` and ``there``.
    here, there : Rect
        The windows, in raster pixels.
    min_iou : float
        Smallest IoU of two pieces that are the same object.
    least_strip : int
        Two cut pieces are compared only if the shared part of their windows is at least so many pixels wide and high. In a
        narrower part different objects look alike.
    """
    if not pieces or not others:
        return
    within = [other.mask.clip(here) for other in others]
    area, inside = _areas(piece.mask for piece in pieces)[:, None], _areas(within)
    one_cut, other_cut = np.array([one.cut for one in pieces])[:, None], np.array([other.cut for other in others])
    # Upper bounds from areas: ``known`` is the area of the other piece where both are known, ``shared`` is at least the area of
    # the intersection. The IoU cannot exceed ``shared`` over the known area of either piece.
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
    """Return the index pairs of boxes that share pixels, shape (N, 2)."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    meet = (low < high).all(axis=2)
    return np.argwhere(meet if also is None else meet & also)
