"""Detection of places where the edge of a window may have cut an object, and of objects that are complete nevertheless.

A window shows nothing beyond its edges, so a mask that ends within a few pixels of an edge may continue beyond it. Such pixels
of a mask are its *cut* pixels. An object is complete if every cut pixel of its pieces is also shown, away from the edges, by
another window that has a piece of the object. That window shows whether the object continues and where it ends.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.cleaning import components
from samgeo.segmentation.masks.mask import Mask, union

if TYPE_CHECKING:
    from samgeo.geo.levels import Levels
    from samgeo.segmentation.masks.piece import Piece

__all__ = ["EDGE_PX", "border", "by_window", "cut_pixels", "dilated", "edge_px", "near", "trimmed", "uncovered"]

# A mask that ends within one cell of a model's low-resolution logits from the edge may continue beyond it.
EDGE_PX = 4

_NOTHING = Mask(np.empty((0, 3), dtype=np.int32))


def edge_px(overlap: int) -> int:
    """Return the distance from a window's edge within which a mask counts as cut, in pixels that the model sees.

    It is at most half of the overlap, so that a place near the edge of a window is not near the edge of its neighbour.

    Parameters
    ----------
    overlap : int
        Number of pixels, as the model sees them, that neighbouring windows share.
    """
    return max(min(EDGE_PX, overlap // 2), 1)


def border(known: NDArray[np.bool_], edge: int = EDGE_PX, scale: int = 1) -> Mask:
    """Return the pixels of a window that are near an edge beyond which the raster has data.

    Parameters
    ----------
    known : ndarray of bool, shape (W + 2, W + 2)
        Where the raster has data: the window, in cells of ``scale`` x ``scale`` pixels, and one more cell on every side.
    edge : int, default `EDGE_PX`
        Distance from the edge, in cells.
    scale : int, default 1
        Side of a cell in raster pixels.

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
    """Return the pixels of masks at which the edge of their window may have cut them.

    Parameters
    ----------
    masks : sequence of Mask
        In window pixels.
    known, edge, scale
        As in `border`.

    Returns
    -------
    list of Mask
        The cut pixels of each mask; empty if the mask is complete.
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


def by_window(pieces: Iterable[Piece]) -> dict[tuple[int, int], list[Piece]]:
    """Return the pieces of each window."""
    windows: dict[tuple[int, int], list[Piece]] = defaultdict(list)
    for piece in pieces:
        windows[piece.window].append(piece)
    return dict(windows)


def near(piece: Piece, windows: Mapping[tuple[int, int], Sequence[Piece]], levels: Levels) -> list[Piece]:
    """Return the pieces of the other windows that share pixels with the window of a piece, which alone can cover its pixels."""
    meeting = (*levels.beside(*piece.window), *levels.across(*piece.window))
    return [other for window in meeting for other in windows.get(window, ())]


def uncovered(piece: Piece, others: Iterable[Piece], levels: Levels) -> Mask:
    """Return the cut pixels of a piece that no other piece of the same object covers.

    Another piece covers a pixel if its window shows the pixel away from its edges, and its mask contains the pixel or ends
    within `EDGE_PX` of it. The tolerance is needed because two windows seldom draw an outline at exactly the same pixels.

    Parameters
    ----------
    piece : Piece
        The piece.
    others : iterable of Piece
        Other pieces of the same object.
    levels : Levels
        The windows of all scales.

    Returns
    -------
    Mask
        Empty if every cut pixel is covered.
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
        close = other.mask.clip(Rect(rect.x0 - reach, rect.y0 - reach, rect.x1 + reach, rect.y1 + reach))
        left = left - close.clip(shown)
        if not left.is_empty and not close.is_empty:
            left = left - dilated(close, reach).clip(shown)
    return left


def _shown(piece: Piece, levels: Levels) -> Rect:
    """Return the part of a piece's window that is away from its edges. Edges that are edges of the raster do not count."""
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
    """Return a mask grown by ``reach`` pixels in all eight directions."""
    runs = mask.runs
    if not len(runs) or reach == 0:
        return mask
    wide = runs + np.array([0, -reach, reach], dtype=np.int32)
    steps = np.arange(-reach, reach + 1, dtype=np.int32)
    rows = np.repeat(wide[None], len(steps), axis=0)
    rows[:, :, 0] += steps[:, None]
    return union(Mask(one) for one in rows)


def trimmed(pieces: Sequence[Piece], levels: Levels) -> list[Piece]:
    """Remove parts of pieces at the edge of their window that another window shows completely and leaves out.

    Near its edges a window shows little of the surroundings of a pixel. If two windows disagree there about an object, and the
    region in which they disagree is away from the edges of one of them, this window is right.

    Parameters
    ----------
    pieces : sequence of Piece
        Pieces of one object.
    levels : Levels
        The windows of all scales.

    Returns
    -------
    list of Piece
        As many pieces as given. Removed pixels are also removed from ``cut_at``.
    """
    if len(pieces) == 1:
        return list(pieces)
    found = []
    windows, place = by_window(pieces), {id(piece): index for index, piece in enumerate(pieces)}
    for piece in pieces:
        others = sorted(near(piece, windows, levels), key=lambda other: place[id(other)])
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
