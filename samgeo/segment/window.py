"""One window of a raster: read it, embed it, segment what lies under its points, and say what its edges cut."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import SamgeoError, WindowError
from samgeo.geo.block_cache import LEAST_BYTES, limit_worker_block_cache
from samgeo.geo.grid import Lattice, Rect
from samgeo.segment.masks import Mask
from samgeo.segment.merge import Piece
from samgeo.segment.run.parts import Failure

if TYPE_CHECKING:
    import shapely

    from samgeo.geo.raster import Raster
    from samgeo.sam.registry import Gates
    from samgeo.sam.segmenter import Segmenter
    from samgeo.segment.store import EmbeddingStore

__all__ = ["ModelReference", "Plan", "is_cut", "load_referenced", "segment_window", "tell_failure", "try_window"]

ATTEMPTS = 2

# A mask that ends within one cell of a model's low-resolution logits from the edge may well go on behind it.
EDGE_PX = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a worker needs to segment a window, besides the raster and the model."""

    lattice: Lattice
    gates: Gates
    aoi_px: shapely.Geometry | None
    store: EmbeddingStore | None = None
    cache_bytes: int = LEAST_BYTES


@dataclass(frozen=True, slots=True)
class ModelReference:
    """A model by name: what travels to other processes, which load it once each."""

    name: str
    device: str
    dtype: str


def segment_window(raster: Raster, model: Segmenter | ModelReference, plan: Plan, index: tuple[int, int]) -> list[Piece]:
    """Segment one window; nothing is encoded where no point of its core has data and lies in the area of interest.

    Raises
    ------
    WindowError
        If it cannot be read or computed, after a second attempt.
    """
    found = try_window(raster, model, plan, index)
    if isinstance(found, Failure):
        raise WindowError(tell_failure(found, raster.name, plan.lattice))
    return found


def try_window(raster: Raster, model: Segmenter | ModelReference, plan: Plan, index: tuple[int, int]) -> list[Piece] | Failure:
    """Segment one window as `segment_window` does; where that fails, return why."""
    reason = ""
    limit_worker_block_cache(plan.cache_bytes)
    for _ in range(ATTEMPTS):
        try:
            segmenter = load_referenced(model) if isinstance(model, ModelReference) else model
            return _segment_window(raster, segmenter, plan, index)
        except (SamgeoError, OSError, RuntimeError, MemoryError) as error:
            reason = f"failed {ATTEMPTS} times: {error}"
            _make_room()
    return Failure(index, reason)


def tell_failure(failure: Failure, name: str, lattice: Lattice) -> str:
    """Say which window of a raster failed, where, and why."""
    rect = lattice.rect(*failure.window)
    return (
        f"the window at row {failure.window[0]}, column {failure.window[1]} of {name} (pixels x {rect.x0} to {rect.x1}, "
        f"y {rect.y0} to {rect.y1}) {failure.reason}"
    )


def _make_room() -> None:
    """Give back what torch keeps of a GPU's memory: it may be in pieces too small for what was asked."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _segment_window(raster: Raster, model: Segmenter, plan: Plan, index: tuple[int, int]) -> list[Piece]:
    from samgeo.segment.automatic import automatic_masks
    from samgeo.segment.embeddings import embed, read_window

    lattice = plan.lattice
    points = lattice.points(*index, plan.gates.points_per_side)
    if plan.aoi_px is not None:
        points = _inside(points, plan.aoi_px)
    if not len(points):
        return []
    window = read_window(raster, lattice, index)
    rect, size, valid = window.rect, window.size, window.valid
    column, row = (points - (rect.x0, rect.y0)).astype(np.int64).T
    points = points[valid[row, column]] - (rect.x0, rect.y0)
    if not len(points):
        return []
    embedding = embed(model, window, plan.store)
    found = automatic_masks(model, embedding, points, gates=plan.gates, window=lattice.window, size=size)
    masks = [one.mask for one in found]
    if not valid[: size[0], : size[1]].all():
        valid_mask = Mask.from_array(valid)
        masks = [mask & valid_mask for mask in masks]
    return [
        Piece(mask.shift(rect.x0, rect.y0), one.predicted_iou, one.stability_score, index, rank, is_cut(mask, window.known))
        for rank, (one, mask) in enumerate(zip(found, masks, strict=True))
        if not mask.is_empty
    ]


def is_cut(mask: Mask, known: NDArray[np.bool_]) -> bool:
    """Whether a mask comes close to an edge of its window behind which the raster has data.

    ``known`` is the validity of the window grown by one pixel on every side.
    """
    y, start, stop = mask.runs.T
    side = known.shape[0] - 2
    left, right = known[y[start < EDGE_PX] + 1, 0], known[y[stop > side - EDGE_PX] + 1, -1]
    if left.any() or right.any():
        return True
    over, under = mask.clip(Rect(0, 0, side, EDGE_PX)), mask.clip(Rect(0, side - EDGE_PX, side, side))
    return any(known[row, start + 1 : stop + 1].any() for row, part in ((0, over), (-1, under)) for _, start, stop in part.runs)


def _inside(points: NDArray[np.float64], aoi_px: shapely.Geometry) -> NDArray[np.float64]:
    import shapely

    return points[shapely.contains_xy(aoi_px, points)]


@lru_cache(maxsize=2)
def load_referenced(reference: ModelReference) -> Segmenter:
    """Load a model that came by name; once in a process."""
    from samgeo.sam.registry import load_model

    return load_model(reference.name, device=reference.device, dtype=reference.dtype)
