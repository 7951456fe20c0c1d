"""The mask of an object: the piece that was chosen for it, or the union of its cut pieces."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np

from samgeo.geo.grid import Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.mask import Mask, union
from samgeo.segmentation.masks.piece import Piece, Segment
from samgeo.segmentation.merge.matching import iou_in_windows
from samgeo.segmentation.windows.cut_edges import by_window, near, trimmed, uncovered
from samgeo.segmentation.windows.scales import thick_part

__all__ = ["to_segment"]

# Uncertainty of a mask's edge, in pixels that the model sees: one cell of its low-resolution logits.
EDGE_PIXELS = 4


def to_segment(members: Sequence[Piece], levels: Levels, *, finer: Sequence[Piece] = (), min_iou: float = 0.0) -> Segment:
    """Make one object of all its pieces.

    Parameters
    ----------
    members : sequence of Piece
        Pieces of one scale. If some are complete, the best of them is the object; else their union is.
    levels : Levels
        The windows of all scales.
    finer : sequence of Piece
        Cut pieces of finer scales, which draw sharper edges. In a window in which a finer piece agrees with the coarser mask,
        it replaces the mask, except for the parts that it leaves out and that are too thick to be an uncertain edge.
    min_iou : float
        Smallest IoU of pieces that agree.
    """
    members = sorted(members, key=lambda piece: piece.order)
    best = next((piece for piece in members if not piece.cut), None)
    drawn = members if best is None else [best]
    drawn = trimmed(drawn, levels)
    mask = _drawn(drawn, finer, levels, min_iou) if finer else union(piece.mask for piece in drawn)
    cut = [*(members if best is None else ()), *finer]
    complete = _is_complete(mask, [*drawn, *finer], levels)
    if best is not None:
        return Segment(mask, best.predicted_iou, best.stability_score, complete, score=best.score, kind=best.kind)
    areas = [piece.mask.area for piece in cut]
    return Segment(
        mask,
        float(np.average([piece.predicted_iou for piece in cut], weights=areas)),
        float(np.average([piece.stability_score for piece in cut], weights=areas)),
        complete,
        score=members[0].score,
        kind=members[0].kind,
    )


def _drawn(drawn: Sequence[Piece], finer: Sequence[Piece], levels: Levels, min_iou: float) -> Mask:
    """Return the mask of coarse pieces, corrected by the pieces of each finer scale, one scale after the other."""
    mask, coarse = union(piece.mask for piece in drawn), levels.level(drawn[0].window[0])
    complete = [piece for piece in drawn if not piece.cut]
    cut: dict[tuple[int, int], list[Piece]] = defaultdict(list)
    for piece in drawn:
        cut[piece.window].append(piece)
    for level in range(coarse - 1, -1, -1):
        sharper = [piece for piece in finer if levels.level(piece.window[0]) == level]
        if not sharper:
            continue
        agreed = set()
        for piece in sharper:
            across = (wide for window in levels.across(*piece.window) for wide in cut.get(window, ()))
            if any(iou_in_windows(piece, wide, levels) >= min_iou for wide in chain(complete, across)):
                agreed.add(levels.rect(*piece.window))
        seen, sharp = _filled(agreed), union(piece.mask for piece in sharper)
        missed = thick_part((mask & seen) - sharp, EDGE_PIXELS * levels.scales[coarse] + 1)
        mask, coarse = union([mask - seen, sharp, missed]), level
        for piece in sharper:
            cut[piece.window].append(piece)
    return mask


def _filled(rects: Iterable[Rect]) -> Mask:
    """Return all pixels of windows as a mask. Windows beside each other share runs, so that there are few."""
    rows: dict[tuple[int, int], list[Rect]] = defaultdict(list)
    for rect in rects:
        rows[rect.y0, rect.y1].append(rect)
    parts = []
    for (y0, y1), beside in sorted(rows.items()):
        line = union(Mask(np.array([[0, rect.x0, rect.x1]], dtype=np.int32)) for rect in beside).runs
        runs = np.tile(line, (y1 - y0, 1))
        runs[:, 0] = np.repeat(np.arange(y0, y1, dtype=np.int32), len(line))
        parts.append(Mask(runs))
    return union(parts)


def _is_complete(mask: Mask, pieces: Sequence[Piece], levels: Levels) -> bool:
    """Whether every cut pixel of the pieces that is in the mask is covered by another piece."""
    windows = by_window(pieces)
    return all(
        not piece.cut or (uncovered(piece, near(piece, windows, levels), levels) & mask.clip(piece.mask.rect)).is_empty
        for piece in pieces
    )
