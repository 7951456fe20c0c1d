"""Continuation of clicked objects beyond the edge of their window: the neighbouring windows are prompted for the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Lattice
from samgeo.segmentation.masks.mask import iou
from samgeo.segmentation.masks.outline_prompts import interior_points
from samgeo.segmentation.masks.piece import MERGE_IOU, Piece
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.segmentation.prompts.assignment import Index
from samgeo.segmentation.prompts.decoding import Candidate
from samgeo.segmentation.windows.cut_edges import EDGE_PX

__all__ = ["MAX_WINDOWS", "follow"]

# Limit of windows for one click. Without it, a click on a road would wait until the whole road is found.
MAX_WINDOWS = 16


def follow(
    piece: Piece,
    lattice: Lattice,
    offers: Callable[[Index, NDArray[np.float64]], list[Candidate]],
    *,
    steps: int = MAX_WINDOWS,
) -> list[Piece]:
    """Collect the pieces of an object that the edge of its window cuts.

    The neighbouring window beyond each cut edge is prompted with one point: of the part that both windows show, the point that
    is farthest from the outline. Of the masks that the neighbour proposes, the one that agrees best with this part is the next
    piece, if its IoU is at least `MERGE_IOU`. A piece that is cut itself is continued in the same way. A complete piece ends
    the search, because it is the whole object.

    Parameters
    ----------
    piece : Piece
        The first piece.
    lattice : Lattice
        The windows.
    offers : callable
        Returns the masks that a window proposes, given the window and a point of shape (1, 2) in raster pixels.
    steps : int
        How many windows a piece may be from the first one; with 1 only the neighbours of the first window are prompted.

    Returns
    -------
    list of Piece
        The first piece and those found, at most one for each window and `MAX_WINDOWS` in total.
    """
    pieces = {piece.window: piece}
    waiting = deque([(piece, 0)])
    while waiting:
        here, step = waiting.popleft()
        if step == steps:
            break
        for index in _behind(here, lattice):
            if index in pieces or len(pieces) == MAX_WINDOWS:
                continue
            seen = here.mask.clip(lattice.rect(*index))
            if seen.is_empty:
                continue
            best, agreement = None, MERGE_IOU
            for one in offers(index, interior_points(polygons([seen]).tolist())):
                value = iou(seen, one.mask.clip(lattice.rect(*here.window)))
                if value >= agreement:
                    best, agreement = Piece(one.mask, one.predicted_iou, one.stability_score, index, 0, one.cut_at), value
            if best is None:
                continue
            pieces[index] = best
            if not best.cut:
                return list(pieces.values())
            waiting.append((best, step + 1))
    return list(pieces.values())


def _behind(piece: Piece, lattice: Lattice) -> Iterator[Index]:
    """Give the neighbouring windows beyond the edges that a piece comes close to."""
    window, mask = lattice.rect(*piece.window), piece.mask.rect
    rows = [0, *_steps(mask.y0 - window.y0 < EDGE_PX, window.y1 - mask.y1 < EDGE_PX)]
    columns = [0, *_steps(mask.x0 - window.x0 < EDGE_PX, window.x1 - mask.x1 < EDGE_PX)]
    for down in rows:
        for right in columns:
            row, column = piece.window[0] + down, piece.window[1] + right
            if (down or right) and 0 <= row < lattice.rows and 0 <= column < lattice.columns:
                yield row, column


def _steps(low: bool, high: bool) -> list[int]:
    return [-1] * low + [1] * high
