"""Drawing of masks that windows of a coarser scale found: windows of the finer scales are prompted with them.

Each finer scale draws the outline again. The windows through whose cores it goes are prompted with the mask: its part in the
window is a soft mask, and its bounding box and innermost point are prompts too. Where an answer agrees with the mask, it
replaces the mask, with two exceptions: parts of the mask that the answer leaves out stay if they are too thick to be an
uncertain edge, and parts that it adds beyond the edge are dropped if they are so thick that the coarser scale would show them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.cleaning import components
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.outline_prompts import interior_points, soften_mask
from samgeo.segmentation.masks.piece import MERGE_IOU, Piece, Segment
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.segmentation.merge.union import EDGE_PIXELS, to_segment
from samgeo.segmentation.prompts.answering import Answering
from samgeo.segmentation.prompts.assignment import Index, Prompts, WindowPrompt
from samgeo.segmentation.prompts.decoding import Candidate, best_pieces, on_data
from samgeo.segmentation.windows.cut_edges import dilated
from samgeo.segmentation.windows.embedding import Encoded, EncodedWindows
from samgeo.segmentation.windows.scales import thick_part

__all__ = ["CoarseMask", "draw"]

# An outline that goes through more windows of a scale is not drawn again at this scale. Without this limit, a click on the
# background would wait until the outlines of everything on it are drawn.
MOST_WINDOWS = 128

# A part that is more than so many pixels of a scale wide contains whole pixels of it, so that the scale shows the part.
SEEN_PIXELS = 2


@dataclass(slots=True, eq=False)
class CoarseMask:
    """A mask of a coarser scale, and what finer windows answered to it.

    Attributes
    ----------
    prompt : int
        The prompt that the mask answers.
    level : int
        Index of the scale of the mask.
    coarse : Piece
        The mask. It has no cut pixels, so that it is compared with the answers of all finer windows that it reaches.
    complete : bool
        Whether the windows of its scale show the whole object.
    offers : tuple of Candidate
        All masks that the window proposed with this one, which is the first, if it was found for clicks.
    finer : list of Piece
        The answers of finer windows.
    """

    prompt: int
    level: int
    coarse: Piece
    complete: bool
    offers: tuple[Candidate, ...] = ()
    finer: list[Piece] = field(default_factory=list)

    def drawn(self, levels: Levels) -> Segment:
        """Return the object that the mask and the answers so far make; its scale is that of the finest answer."""
        found = to_segment([self.coarse], levels, finer=self.finer, min_iou=MERGE_IOU)
        finest = min((levels.level(piece.window[0]) for piece in self.finer), default=self.level)
        return replace(found, scale=levels.scales[finest], complete=self.complete)


def draw(
    answering: Sequence[Answering], levels: Levels, prompts: Prompts, drawings: Mapping[int, CoarseMask], *, refine: int
) -> dict[int, Segment]:
    """Ask finer windows for the outlines of masks, one scale after the other, and return the objects.

    Parameters
    ----------
    answering : sequence of Answering
        The windows of each scale; scale 1 comes first.
    levels : Levels
        The windows of all scales.
    prompts : Prompts
        All prompts.
    drawings : dict of int to CoarseMask
        The masks, by any number. The answers of finer windows are added to them.
    refine : int
        As in `samgeo.Predictor.predict`.

    Returns
    -------
    dict of int to Segment
        The object of each mask, with the scale of its finest answer.
    """
    finest = {key: one.level for key, one in drawings.items()}
    model = answering[0].windows.model
    for level in range(max(finest.values(), default=0) - 1, -1, -1):
        encoded, lattice = answering[level].windows, levels.lattices[level]
        masks: dict[int, Mask] = {}
        by_window: dict[Index, list[int]] = defaultdict(list)
        for key, one in drawings.items():
            if finest[key] != level + 1:
                continue
            mask = one.drawn(levels).mask
            windows = list(_crossed(mask, lattice, EDGE_PIXELS * levels.scales[level + 1]))
            if len(windows) > MOST_WINDOWS:
                continue
            finest[key], masks[key] = level, mask
            for index in windows:
                by_window[index].append(key)
        for index in sorted(by_window):
            window = encoded.get(index)
            if window.embedding is None:
                continue
            asks = [_prompt(prompts.one(drawings[key].prompt), key, masks[key], encoded, window) for key in by_window[index]]
            parts = [ask for ask in asks if ask is not None]
            for key, piece in best_pieces(model, lattice, index, window, parts, multimask=False, refine=refine):
                place = levels.number(level, index[0]), index[1]
                kept = _without_leaks(piece.mask, masks[key], levels.scales[level + 1])
                if not kept.is_empty:
                    drawings[key].finer.append(replace(piece, mask=kept, cut_at=piece.cut_at & kept, window=place))
    return {key: one.drawn(levels) for key, one in drawings.items()}


def _prompt(given: Prompts, key: int, mask: Mask, windows: EncodedWindows, window: Encoded) -> WindowPrompt | None:
    """Return the part of a mask that a window shows, and the user's points in the window, as a prompt.

    Parameters
    ----------
    given : Prompts
        The prompt of the user alone.
    key : int
        Number of the mask.
    mask : Mask
        The mask, in raster pixels.
    windows : EncodedWindows
        The windows of the scale.
    window : Encoded
        One of them.
    """
    lattice, model = windows.lattice, windows.model
    origin = window.rect.x0, window.rect.y0
    part = on_data(mask.clip(window.rect).shift(-origin[0], -origin[1]), lattice, window)
    if part.is_empty:
        return None
    side = int(getattr(model, "mask_size", model.input_size // 4))
    points, labels = given.points[0] - origin, given.labels[0]
    height, width = (size * window.scale for size in window.size)
    with np.errstate(invalid="ignore"):
        inside = (labels >= 0) & (points >= 0).all(axis=1) & (points < (width, height)).all(axis=1)
    rect = part.rect
    return WindowPrompt(
        key,
        np.concatenate([interior_points(polygons([part]).tolist()), points[inside]]),
        np.append(1, labels[inside]),
        np.array([rect.x0, rect.y0, rect.x1, rect.y1], dtype=np.float64),
        None,
        soften_mask(part, lattice.window, side),
    )


def _without_leaks(mask: Mask, coarse: Mask, scale: int) -> Mask:
    """Return a mask without the parts that a coarser mask lacks although they are thick enough for its scale.

    Parameters
    ----------
    mask : Mask
        The answer of a finer window.
    coarse : Mask
        The mask that the window was asked to draw.
    scale : int
        Scale of the coarser mask.
    """
    reach, least = EDGE_PIXELS * scale, SEEN_PIXELS * scale + 1
    added = mask - coarse
    if thick_part(added, least).is_empty:
        return mask
    rect = mask.rect
    near = dilated(coarse.clip(Rect(rect.x0 - reach, rect.y0 - reach, rect.x1 + reach, rect.y1 + reach)), reach)
    for part in components(added - near):
        if not thick_part(part, least).is_empty:
            mask = mask - part
    return mask


def _crossed(mask: Mask, lattice: Lattice, reach: int) -> Iterator[Index]:
    """Yield the windows in whose cores, or ``reach`` pixels around them, the outline of a mask lies."""
    if mask.is_empty:
        return
    height, width = lattice.shape
    rect = mask.rect
    first = lattice.owner(max(rect.x0 - reach, 0), max(rect.y0 - reach, 0))
    last = lattice.owner(min(rect.x1 + reach, width) - 1, min(rect.y1 + reach, height) - 1)
    for row in range(first[0], last[0] + 1):
        strip = _grown(lattice.core(row, 0), reach, lattice)
        beside = mask.clip(Rect(0, strip.y0, width, strip.y1))
        for column in range(first[1], last[1] + 1):
            near = _grown(lattice.core(row, column), reach, lattice)
            if 0 < beside.clip(near).area < near.height * near.width:
                yield row, column


def _grown(core: Rect, reach: int, lattice: Lattice) -> Rect:
    height, width = lattice.shape
    return Rect(max(core.x0 - reach, 0), max(core.y0 - reach, 0), min(core.x1 + reach, width), min(core.y1 + reach, height))
