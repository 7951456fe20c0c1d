"""Where the edge of a window may have cut a mask, and whether an object is complete in spite of that.

A window shows nothing behind its edges, and a mask that ends within a few pixels of one may well go on there. Such pixels of a
mask are its *cut* pixels. An object is complete when every cut pixel of its pieces was also seen, away from the edges, by
another window that has a piece of the object: that window shows whether the object goes on, and where it ends.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.cleaning import components
from samgeo.segmentation.masks.mask import Mask, union

if TYPE_CHECKING:
    from samgeo.geo.levels import Levels
    from samgeo.segmentation.merge.piece import Piece

__all__ = ["EDGE_PX", "border", "cut_pixels", "dilated", "edge_px", "trimmed", "uncovered"]

# A mask that ends within one cell of a model's low-resolution logits from the edge may well go on behind it.
EDGE_PX = 4

_NOTHING = Mask(np.empty((0, 3), dtype=np.int32))


def edge_px(overlap: int) -> int:
    """Return how near to a window's edge a mask counts as cut, in pixels that the model saw.

    At most half of the overlap, so that what is near the edge of a window is not near the edge of its neighbour.

    Parameters
    ----------
    overlap : int
        Pixels, as the model saw them, that neighbouring windows share.
    """
    return max(min(EDGE_PX, overlap // 2), 1)


def border(known: NDArray[np.bool_], edge: int = EDGE_PX, scale: int = 1) -> Mask:
    """Return the pixels of a window that lie near an edge behind which the raster has data.

    Parameters
    ----------
    known : ndarray of bool, shape (W + 2, W + 2)
        Where the raster has data: the window, in squares of ``scale`` x ``scale`` pixels, and one square more on every side.
    edge : int, default `EDGE_PX`
        How near, in squares.
    scale : int, default 1

    Returns
    -------
    Mask
        In window pixels.
    """
    side = known.shape[0] - 2
    near = np.zeros((side, side), dtype=np.bool_)
    near[:edge] |= known[0, 1:-1]
    near[-edge:] |= known[-1, 1:-1]
    near[:, :edge] |= known[1:-1, :1]
    near[:, -edge:] |= known[1:-1, -1:]
    return Mask.from_array(near).scaled(scale)


def cut_pixels(masks: Sequence[Mask], known: NDArray[np.bool_], edge: int = EDGE_PX, scale: int = 1) -> list[Mask]:
    """Return the pixels at which the edge of their window may have cut masks.

    Parameters
    ----------
    masks : sequence of Mask
        In window pixels.
    known, edge, scale
        As in `border`.

    Returns
    -------
    list of Mask
        A part of each mask; empty where it is whole.
    """
    side, near = (known.shape[0] - 2) * scale, edge * scale
    inner = Rect(near, near, side - near, side - near)
    edges: Mask | None = None
    found = []
    for mask in masks:
        if mask.rect in inner:
            found.append(_NOTHING)
            continue
        edges = border(known, edge, scale) if edges is None else edges
        found.append(mask & edges)
    return found


def uncovered(piece: Piece, others: Iterable[Piece], levels: Levels) -> Mask:
    """Return the cut pixels of a piece about which no other piece of the same object says more.

    Another piece does where its own window shows the pixel away from its edges, and its mask holds the pixel or ends within
    `EDGE_PX` of it: two windows seldom draw an outline at the very same pixels.

    Parameters
    ----------
    piece : Piece
    others : iterable of Piece
        Pieces of the same object.
    levels : Levels
        The windows.

    Returns
    -------
    Mask
        Empty where every cut pixel is covered.
    """
    left = piece.cut_at
    for other in others:
        if left.is_empty:
            break
        if other.window == piece.window:
            continue
        shown = _shown(other, levels)
        within = left.clip(shown)
        if within.is_empty:
            continue
        scale = levels.locate(other.window[0])[0]
        reach = EDGE_PX * scale
        rect = within.rect
        near = other.mask.clip(Rect(rect.x0 - reach, rect.y0 - reach, rect.x1 + reach, rect.y1 + reach))
        left = left - near.clip(shown)
        if not left.is_empty and not near.is_empty:
            left = left - dilated(near, reach).clip(shown)
    return left


def _shown(piece: Piece, levels: Levels) -> Rect:
    """Return the part of a piece's window that is away from its edges, but for those that are the raster's."""
    scale, lattice, _ = levels.locate(piece.window[0])
    rect, (height, width) = levels.rect(*piece.window), levels.shape
    edge = edge_px(lattice.overlap // scale) * scale
    return Rect(
        rect.x0 + (edge if rect.x0 > 0 else 0),
        rect.y0 + (edge if rect.y0 > 0 else 0),
        rect.x1 - (edge if rect.x1 < width else 0),
        rect.y1 - (edge if rect.y1 < height else 0),
    )


def dilated(mask: Mask, reach: int) -> Mask:
    """Grow a mask by ``reach`` pixels to every side, corners included."""
    runs = mask.runs
    if not len(runs) or reach == 0:
        return mask
    wide = runs + np.array([0, -reach, reach], dtype=np.int32)
    steps = np.arange(-reach, reach + 1, dtype=np.int32)
    rows = np.repeat(wide[None], len(steps), axis=0)
    rows[:, :, 0] += steps[:, None]
    return union(Mask(one) for one in rows)


def trimmed(pieces: Sequence[Piece], levels: Levels) -> list[Piece]:
    """Take from pieces what ends at the edge of their window, where another window shows it whole and does not count it in.

    Near its edges a window shows little of what surrounds a pixel. Where two windows disagree there about an object, and the
    region in which they disagree lies away from the edges of one of them, that one is right.

    Parameters
    ----------
    pieces : sequence of Piece
        Of one object.
    levels : Levels
        The windows.

    Returns
    -------
    list of Piece
        As many; those that lose pixels have fewer cut pixels, too.
    """
    if len(pieces) == 1:
        return list(pieces)
    found = []
    for piece in pieces:
        others = [other for other in pieces if other.window != piece.window]
        left = uncovered(piece, others, levels)
        mask = piece.mask
        for other in others if not left.is_empty else ():
            shown = _shown(other, levels)
            if left.clip(shown).is_empty:
                continue
            reach = EDGE_PX * levels.locate(other.window[0])[0]
            for region in components(mask.clip(levels.rect(*other.window)) - dilated(other.mask, reach)):
                if region.rect in shown and not (region & left).is_empty:
                    mask = mask - region
        found.append(piece if mask is piece.mask else replace(piece, mask=mask, cut_at=piece.cut_at & mask))
    return found
