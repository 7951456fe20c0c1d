"""Continuation of objects that the edge of a window cut and whose rest no neighbouring window found.

Automatic segmentation prompts each window with a lattice of points. If the edge of a window cuts an object, the neighbouring
window has usually found the rest with its own points. If it has not, it is prompted again with the part of the object that lies
in both windows. While a row of windows is merged, `Ends` decides which windows are asked about which pieces, and
`continue_pieces` computes the answers.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.geo.raster.sources.block_cache import limit_worker_block_cache
from samgeo.models.protocols import decode
from samgeo.segmentation.masks.cleaning import fill_and_drop
from samgeo.segmentation.masks.mask import Mask, iou
from samgeo.segmentation.masks.outline_prompts import interior_points, soften_mask
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.masks.upsample import masks_from_logits
from samgeo.segmentation.masks.vectorize import polygons
from samgeo.segmentation.merge.matching import known_iou
from samgeo.segmentation.profile import stage, timed
from samgeo.segmentation.windows.automatic import Found, device_lock
from samgeo.segmentation.windows.cut_edges import uncovered
from samgeo.segmentation.windows.embedding import Encoded, embed_together, read_window
from samgeo.segmentation.windows.failures import ATTEMPTS, FAULTS, Failure, describe_fault, release_gpu_memory
from samgeo.segmentation.windows.worker import (
    ModelReference,
    load_referenced,
    to_pieces,
    windows_at_once,
)

if TYPE_CHECKING:
    from samgeo.geo.levels import Levels
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.merge.merger import Merger
    from samgeo.segmentation.windows.worker import Plan

__all__ = ["ContinuationRequest", "Ends", "continue_pieces", "try_to_continue"]

_log = logging.getLogger(__name__)

# An answer with at least this IoU with an earlier mask of its window is treated as the same mask.
SAME_IOU = 0.8

# Limit of requests for one object while one row of windows is merged. Without it, a background that fills the raster would be
# continued through all windows.
MOST_ASKS = 64

# Ranks of continued pieces start here, after the ranks of all masks that a window finds by itself.
FIRST_RANK = 1 << 24

# Number of prompts that are decoded together, and of lattice points of a window that are prompted for one piece.
PROMPTS_AT_ONCE = 32
OWN_POINTS = 8


@dataclass(frozen=True, slots=True)
class ContinuationRequest:
    """A request to a window: the pieces of other windows that may continue in it.

    Attributes
    ----------
    window : (int, int)
        Row and column of the window.
    pieces : tuple of Piece
        The cut pieces of other windows.
    """

    window: tuple[int, int]
    pieces: tuple[Piece, ...]


class Ends:
    """The cut ends of the objects in the row that is being merged; it makes requests and takes the answers.

    Parameters
    ----------
    merger : Merger
        A merger that has begun the row.
    levels : Levels
        The windows of all scales.
    row : int
        The row of windows.
    missing : container of (int, int)
        Windows that could not be read or computed. They get no requests.
    """

    def __init__(self, merger: Merger, levels: Levels, row: int, *, missing: Container[tuple[int, int]] = ()) -> None:
        self._merger, self._levels, self._row, self._missing = merger, levels, row, missing
        self._asked: set[tuple[int, tuple[int, int]]] = set()
        self._count: dict[int, int] = defaultdict(int)
        self._ranks: dict[tuple[int, int], int] = defaultdict(int)
        above = levels.row_above(row)
        # Requests about pieces of earlier rows were made when those rows were merged. Only windows of this row are new to them.
        self._old = set() if above is None else {id(one) for one in merger.pieces_of_row(above)}
        self._open = [one for one in merger.pieces_of_row(row) if one.cut]
        self._open += [] if above is None else [one for one in merger.pieces_of_row(above) if one.cut]

    def requests(self) -> list[ContinuationRequest]:
        """Return the next requests, ordered by window; an empty list if no object can be continued."""
        found: dict[tuple[int, int], list[Piece]] = defaultdict(list)
        taken: set[tuple[int, tuple[int, int]]] = set()
        still_open = []
        for piece in sorted(self._open, key=lambda one: one.order):
            if self._merger.is_whole(piece):
                continue
            left = self._left(piece)
            if left.is_empty:
                continue
            key = self._merger.number_of(piece)
            waiting = False
            for window in self._owners(piece, left):
                if (id(piece), window) in self._asked or self._count[key] >= MOST_ASKS:
                    continue
                if (key, window) in taken:
                    waiting = True
                    continue
                taken.add((key, window))
                self._asked.add((id(piece), window))
                self._count[key] += 1
                found[window].append(piece)
                waiting = True
            if waiting:
                still_open.append(piece)
        self._open = still_open
        return [ContinuationRequest(window, tuple(found[window])) for window in sorted(found)]

    def answer(self, ask: ContinuationRequest, answers: Sequence[Piece | None]) -> None:
        """Take the answers of a window, one for each piece of the request."""
        for piece, answer in zip(ask.pieces, answers, strict=True):
            if answer is not None:
                self._take(piece, answer)

    def _take(self, piece: Piece, answer: Piece) -> None:
        """Join a piece with its continuation, or with the object that equals the continuation.

        An object that some window shows completely is not changed: an answer neither replaces it nor joins two such objects.
        """
        merger = self._merger
        twins = [one for one in merger.pieces_of(answer.window) if iou(one.mask, answer.mask) >= SAME_IOU]
        same = [*twins, *(other for _, other in merger.beside(answer))]
        whole = [one for one in same if merger.is_whole(one)]
        parts = [one for one in same if self._goes_on(one)]
        if not answer.cut and whole:
            merger.join(piece, whole[0])
        elif twins and twins[0] in parts:
            merger.join(piece, twins[0])
        elif not twins:
            answer = self._ranked(answer)
            merger.insert(answer, [piece, *parts])
            if answer.cut:
                self._open.append(answer)

    def _goes_on(self, piece: Piece) -> bool:
        """Whether the object of a piece has a cut end that no other piece of it covers."""
        # The end of an object that is still open is usually at its last pieces.
        newest = self._merger.newest_first(piece)
        return not self._merger.is_whole(piece) and any(not self._left(one).is_empty for one in newest)

    def _left(self, piece: Piece) -> Mask:
        """Return the cut pixels of a piece that no other piece of its scale or of a finer scale covers.

        Pieces of coarser scales are ignored. If such a piece is cut itself, its continuation may be too thin for its scale, and
        is then left to the finer scale.
        """
        level = self._levels.level(piece.window[0])
        others = (one for one in self._merger.around(piece) if self._levels.level(one.window[0]) <= level)
        return uncovered(piece, others, self._levels)

    def _owners(self, piece: Piece, left: Mask) -> Iterable[tuple[int, int]]:
        """Give the neighbouring windows, read so far, in whose cores uncovered cut pixels of a piece lie."""
        for window in self._levels.beside(*piece.window):
            if window[0] > self._row or window in self._missing or (id(piece) in self._old and window[0] != self._row):
                continue
            if not left.clip(self._levels.core(*window)).is_empty:
                yield window

    def _ranked(self, piece: Piece) -> Piece:
        """Return a piece with a rank after all earlier ranks of its window."""
        self._ranks[piece.window] += 1
        return replace(piece, rank=FIRST_RANK * (self._row + 1) + self._ranks[piece.window])


def try_to_continue(
    raster: Raster, model: Segmenter | ModelReference, plan: Plan, ask: ContinuationRequest
) -> list[Piece | None] | Failure:
    """Answer a request with `continue_pieces`; return a failure if that raises an error twice."""
    limit_worker_block_cache(plan.cache_bytes)
    reason = ""
    for _ in range(ATTEMPTS):
        try:
            segmenter = load_referenced(model)
            return continue_pieces(raster, segmenter, plan, ask)
        except FAULTS as error:
            reason = f"failed {ATTEMPTS} times: {describe_fault(error)}"
            _log.warning("Asking the window at row %d, column %d again failed: %s", *ask.window, describe_fault(error))
            release_gpu_memory()
    return Failure(ask.window, reason)


@timed("pieces")
def continue_pieces(raster: Raster, model: Segmenter, plan: Plan, ask: ContinuationRequest) -> list[Piece | None]:
    """Find the rest of cut pieces in a neighbouring window.

    The part of a piece that lies in both windows is given to the model as its innermost point and a soft mask. The model is
    asked for one mask and for several masks. If an area of interest restricts the points, the lattice points of the window on
    this part are prompted too. Of the answers that pass the thresholds, the one with the largest product of predicted IoU and
    agreement with the piece is taken.

    Parameters
    ----------
    raster : Raster
        The raster.
    model : Segmenter
        The model.
    plan : Plan
        Windows and thresholds.
    ask : ContinuationRequest
        The window, and the pieces that may continue in it.

    Returns
    -------
    list of Piece or None
        One item for each piece of the request; None if the model finds no continuation in the window.

    Raises
    ------
    RasterError
        If the window has to be read again and cannot be read.
    """
    window = _window(raster, model, plan, ask.window)
    here = plan.levels.rect(*ask.window)
    seen = [piece.mask.clip(here) & _valid_mask(window, plan, ask.window) for piece in ask.pieces]
    known = [index for index, mask in enumerate(seen) if not mask.is_empty]
    best: dict[int, tuple[float, Piece]] = {}
    if window.embedding is None or not known:
        return [None] * len(ask.pieces)
    prompts = _prompts(model, plan, ask.window, window, [seen[index] for index in known])
    for owners, given in prompts:
        for place, one in _answers(model, plan, window, ask.window, given):
            index = known[owners[place]]
            piece = ask.pieces[index]
            agreement = known_iou(piece, plan.levels.rect(*piece.window), one, here)
            value = agreement * one.predicted_iou
            if agreement >= plan.merge_iou and (index not in best or value > best[index][0]):
                best[index] = value, replace(one, score=piece.score, kind=piece.kind)
    return [best[index][1] if index in best else None for index in range(len(ask.pieces))]


def _window(raster: Raster, model: Segmenter, plan: Plan, index: tuple[int, int]) -> Encoded:
    """Return the window from the cache of this process, or encode it again."""

    def make() -> Encoded:
        scale, lattice, row = plan.levels.locate(index[0])
        window = read_window(raster, lattice, (row, index[1]), scale)
        embedding = None
        if window.valid.any():
            places = windows_at_once(model)
            made = embed_together(model, {index[1] % places: window}, places, plan.store_of(index[0]))
            embedding = made[index[1] % places]
        return Encoded(embedding, window.rect, window.size, window.known, scale)

    if plan.recent is None:
        return make()
    return plan.recent.take(index, model, make)


def _valid_mask(window: Encoded, plan: Plan, index: tuple[int, int]) -> Mask:
    """Return the pixels of a window that have data, in raster pixels."""
    scale, _, _ = plan.levels.locate(index[0])
    height, width = window.size
    valid = Mask.from_array(np.ascontiguousarray(window.valid[:height, :width]))
    return valid.scaled(scale).shift(window.rect.x0, window.rect.y0)


def _prompts(
    model: Segmenter, plan: Plan, index: tuple[int, int], window: Encoded, seen: Sequence[Mask]
) -> list[tuple[NDArray[np.int64], dict[str, Any]]]:
    """Return batches of prompts: for each batch, the index of the mask of each prompt, and the arguments for the model."""
    lattice = plan.levels.locate(index[0])[1]
    origin = np.array([window.rect.x0, window.rect.y0], dtype=np.float64)
    scale = np.float32(model.input_size / lattice.window)
    side = int(getattr(model, "mask_size", model.input_size // 4))
    inside = [mask.shift(-window.rect.x0, -window.rect.y0) for mask in seen]
    outlines = polygons(inside).tolist()
    soft = np.stack([soften_mask(mask, lattice.window, side) for mask in inside])
    points = interior_points(outlines).astype(np.float32)[:, None] * scale
    labels = np.ones(points.shape[:2], dtype=np.int64)
    every = np.arange(len(seen))
    batches: list[tuple[NDArray[np.int64], dict[str, Any]]] = []
    for start in range(0, len(seen), PROMPTS_AT_ONCE):
        part = slice(start, start + PROMPTS_AT_ONCE)
        given = {"points": points[part], "labels": labels[part], "masks": soft[part]}
        batches += [(every[part], given | {"multimask": multimask}) for multimask in (False, True)]
    if plan.aoi_px is not None:
        own = plan.levels.points(*index, plan.gates.points_per_side)
        owners, chosen = [], []
        for place, mask in enumerate(seen):
            on_mask = own[_on(mask, own)][:OWN_POINTS]
            owners += [place] * len(on_mask)
            chosen.append(on_mask)
        if owners:
            clicks = ((np.concatenate(chosen) - origin).astype(np.float32) * scale)[:, None]
            own_labels = np.ones((len(clicks), 1), dtype=np.int64)
            batches.append((np.array(owners), {"points": clicks, "labels": own_labels, "multimask": True}))
    return batches


def _on(mask: Mask, points: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return which points, given in raster pixels, are on a mask."""
    rect = mask.rect
    column, row = np.floor(points).astype(np.int64).T
    inside = (column >= rect.x0) & (column < rect.x1) & (row >= rect.y0) & (row < rect.y1)
    found = np.zeros(len(points), dtype=np.bool_)
    found[inside] = mask.to_array(rect)[row[inside] - rect.y0, column[inside] - rect.x0]
    return found


def _answers(
    model: Segmenter, plan: Plan, window: Encoded, index: tuple[int, int], given: dict[str, Any]
) -> Iterator[tuple[int, Piece]]:
    """Decode a batch of prompts; give each piece that passes the thresholds, with the index of its prompt."""
    gates, (scale, lattice, _) = plan.gates, plan.levels.locate(index[0])
    with device_lock(model), stage("decode", getattr(model, "device", None)):
        logits, predicted = decode(model, window.embedding, **given)
        scores = predicted.float().cpu().numpy().astype(np.float64)
        prompt, token = np.nonzero(scores > gates.pred_iou)
        chosen = logits[prompt, token]
    size = (window.size[0] * scale, window.size[1] * scale)
    with stage("masks"):
        drawn = masks_from_logits(
            chosen,
            input_size=model.input_size,
            window=lattice.window,
            size=size,
            offset=gates.stability_offset,
            min_stability=gates.stability,
        )
    frame = Rect(0, 0, size[1], size[0])
    found = [
        Found(
            fill_and_drop(mask, gates.min_region_px, frame)[0],
            float(scores[prompt[number], token[number]]),
            float(stability),
            int(prompt[number]),
        )
        for number, mask, stability in zip(drawn.index.tolist(), drawn.masks, drawn.stability, strict=True)
    ]
    for one, piece in zip(found, to_pieces(found, window, plan.levels, index), strict=True):
        if piece is not None:
            yield one.prompt, piece
