"""Clicks on what goes on behind a window's edge: the neighbours are asked for the rest."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Lattice
from samgeo.segmentation.masks.mask import iou
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.segmentation.merge.cut_edges import EDGE_PX
from samgeo.segmentation.merge.merger import MERGE_IOU, Piece
from samgeo.segmentation.prompts.assignment import Index, interior_points
from samgeo.segmentation.prompts.decoding import Candidate

__all__ = ["follow"]

# A road that crosses a town is not what a click on it needs to wait for.
MAX_WINDOWS = 16


def follow(
    piece: Piece,
    lattice: Lattice,
    offers: Callable[[Index, NDArray[np.float64]], list[Candidate]],
) -> list[Piece]:
    """Collect the pieces of an object that its window has cut.

    The neighbour behind each cut edge is asked with a point of the part that both windows see, the one that is farthest from
    its outline. Of what it offers, what agrees best with that part is the next piece, if it agrees at all; a piece that is cut
    in its turn is followed too. A piece that is whole ends it: it stands for the object.

    Parameters
    ----------
    piece : Piece
        The first.
    lattice : Lattice
    offers : callable
        From a window and a point (1, 2) in raster pixels to the masks offered there.

    Returns
    -------
    list of Piece
        At most one of each of `MAX_WINDOWS` windows; the first too.
    """
    pieces = {piece.window: piece}
    waiting = deque([piece])
    while waiting:
        here = waiting.popleft()
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
            waiting.append(best)
    return list(pieces.values())


def _behind(piece: Piece, lattice: Lattice) -> Iterator[Index]:
    """Give the windows behind the edges that a piece comes close to."""
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
