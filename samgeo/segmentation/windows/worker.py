"""One window of a raster: read it, embed it, segment what lies under its points, and say what its edges cut."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import SamgeoError, WindowError
from samgeo.geo.grid import Rect
from samgeo.geo.levels import Levels
from samgeo.geo.raster.sources.block_cache import LEAST_BYTES, limit_worker_block_cache
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.merge.cut_edges import cut_pixels, edge_px
from samgeo.segmentation.merge.piece import MERGE_IOU, Piece
from samgeo.segmentation.profile import timed
from samgeo.segmentation.run.parts import Failure

if TYPE_CHECKING:
    import shapely

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.models.registry import Gates
    from samgeo.segmentation.windows.automatic import Found
    from samgeo.segmentation.windows.embedding import EmbeddingCache, Encoded, WindowImage
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = [
    "ATTEMPTS",
    "FAULTS",
    "ModelReference",
    "Plan",
    "describe_fault",
    "found_in",
    "load_referenced",
    "make_room",
    "placed",
    "segment_window",
    "tell_failure",
    "together",
    "try_window",
    "try_windows",
]

_log = logging.getLogger(__name__)

ATTEMPTS = 2

# A fault of one window, of whatever kind a model or a driver raises, does not end the others.
FAULTS = (Exception,)

# Windows of 1024 pixels fill a large GPU by themselves; of smaller ones so many do.
WINDOWS_TOGETHER = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a worker needs to segment a window, besides the raster and the model.

    Attributes
    ----------
    levels : Levels
        The windows.
    gates : Gates
        Which masks are kept.
    aoi_px : geometry or None
        Only points in it are asked, in raster pixels.
    store : EmbeddingStore, optional
        Embeddings that were made before.
    cache_bytes : int
        What GDAL may keep of the raster, in bytes.
    merge_iou : float
        From which IoU on two pieces are the same object.
    recent : EmbeddingCache, optional
        The windows that this process encoded last, for asking them again. Copies in other processes begin empty.
    """

    levels: Levels
    gates: Gates
    aoi_px: shapely.Geometry | None
    store: EmbeddingStore | None = None
    cache_bytes: int = LEAST_BYTES
    merge_iou: float = MERGE_IOU
    recent: EmbeddingCache | None = None


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
    return found_in(try_window(raster, model, plan, index), raster, plan)


def found_in(result: list[Piece] | Failure, raster: Raster, plan: Plan) -> list[Piece]:
    """Return what was found in a window.

    Raises
    ------
    WindowError
        If it failed.
    """
    if isinstance(result, Failure):
        raise WindowError(tell_failure(result, raster.name, plan.levels))
    return result


def try_window(raster: Raster, model: Segmenter | ModelReference, plan: Plan, index: tuple[int, int]) -> list[Piece] | Failure:
    """Segment one window as `segment_window` does; where that fails, return why."""
    return _try(raster, model, plan, index, None)


def try_windows(
    raster: Raster, model: Segmenter | ModelReference, plan: Plan, indices: Sequence[tuple[int, int]]
) -> list[list[Piece] | Failure]:
    """Do `try_window` for windows that lie together, encoding them together; see `together`."""
    limit_worker_block_cache(plan.cache_bytes)
    try:
        segmenter = load_referenced(model) if isinstance(model, ModelReference) else model
        made = _embed_together(raster, segmenter, plan, indices)
    except FAULTS:
        make_room()
        made = {}
    # What failed among others may do alone: it has all of its attempts.
    return [_try(raster, model, plan, index, made.pop(index, None)) for index in indices]


def together(model: Segmenter) -> int:
    """Return how many neighbouring windows a model encodes at once: several on a GPU, which waits between calls."""
    device = getattr(model, "device", None)
    return WINDOWS_TOGETHER if device is not None and device.type == "cuda" else 1


def _try(
    raster: Raster, model: Segmenter | ModelReference, plan: Plan, index: tuple[int, int], made: _Embedded | None
) -> list[Piece] | Failure:
    reason = ""
    limit_worker_block_cache(plan.cache_bytes)
    for _ in range(ATTEMPTS):
        try:
            segmenter = load_referenced(model) if isinstance(model, ModelReference) else model
            made = _embed_together(raster, segmenter, plan, [index])[index] if made is None else made
            return [] if made.asked is None else _answer(segmenter, plan, made.asked, made.embedding)
        except FAULTS as error:
            reason = f"failed {ATTEMPTS} times: {describe_fault(error)}"
            _log.warning("The window at row %d, column %d of %s failed: %s", *index, raster.name, describe_fault(error))
            made = None
            make_room()
    return Failure(index, reason)


def tell_failure(failure: Failure, name: str, levels: Levels) -> str:
    """Say which window of a raster failed, where, and why."""
    rect = levels.rect(*failure.window)
    scale, _, row = levels.locate(failure.window[0])
    coarse = "" if scale == 1 else f" of scale {scale}"
    return (
        f"the window{coarse} at row {row}, column {failure.window[1]} of {name} (pixels x {rect.x0} to {rect.x1}, "
        f"y {rect.y0} to {rect.y1}) {failure.reason}"
    )


def describe_fault(error: Exception) -> str:
    """Say what went wrong: what the system, a driver or torch reports as it is, a fault of code with its kind and line."""
    if isinstance(error, SamgeoError | OSError | RuntimeError) and str(error):
        return str(error)
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    frames = traceback.extract_tb(error.__traceback__)
    return f"{told} (in {Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else told


def make_room() -> None:
    """Give back what torch keeps of a GPU's memory: it may be in pieces too small for what was asked."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A window, and the points in it that are asked, in raster pixels from its corner."""

    index: tuple[int, int]
    window: WindowImage
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    """A window to be answered, and its embedding; none where nothing is asked."""

    asked: _Asked | None
    embedding: Any = None


@timed("pieces")
def _embed_together(
    raster: Raster, model: Segmenter, plan: Plan, indices: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], _Embedded]:
    """Read and encode windows of one row, each in the place of its column."""
    from samgeo.segmentation.windows.embedding import embed_together

    places = together(model)
    asked = {index: _ask(raster, plan, index) for index in indices}
    made = {index: _Embedded(None) for index in indices}
    windows = {index[1] % places: one.window for index, one in asked.items() if one is not None}
    store = plan.store if plan.levels.locate(indices[0][0])[0] == 1 else None
    embeddings = embed_together(model, windows, places, store) if windows else {}
    return made | {index: _Embedded(one, embeddings[index[1] % places]) for index, one in asked.items() if one is not None}


def _ask(raster: Raster, plan: Plan, index: tuple[int, int]) -> _Asked | None:
    """Read a window, unless no point of its core has data and lies in the area of interest."""
    from samgeo.segmentation.windows.embedding import read_window

    points = plan.levels.points(*index, plan.gates.points_per_side)
    if plan.aoi_px is not None:
        points = _inside(points, plan.aoi_px)
    if not len(points):
        return None
    scale, lattice, row_of_scale = plan.levels.locate(index[0])
    window = read_window(raster, lattice, (row_of_scale, index[1]), scale)
    rect, valid = window.rect, window.valid
    column, row = (points - (rect.x0, rect.y0)).astype(np.int64).T // scale
    points = points[valid[row, column]] - (rect.x0, rect.y0)
    return _Asked(index, window, points) if len(points) else None


@timed("pieces")
def _answer(model: Segmenter, plan: Plan, asked: _Asked, embedding: Any) -> list[Piece]:
    from samgeo.segmentation.windows.automatic import automatic_masks
    from samgeo.segmentation.windows.embedding import Encoded

    index, window = asked.index, asked.window
    scale, lattice, _ = plan.levels.locate(index[0])
    size_px = (window.size[0] * scale, window.size[1] * scale)
    found = automatic_masks(model, embedding, asked.points, gates=plan.gates, window=lattice.window, size=size_px)
    encoded = Encoded(embedding, window.rect, window.size, window.known)
    if plan.recent is not None:
        plan.recent.put(index, encoded, model)
    return [piece for piece in placed(found, encoded, plan.levels, index) if piece is not None]


def placed(found: Sequence[Found], window: Encoded, levels: Levels, index: tuple[int, int]) -> list[Piece | None]:
    """Make pieces in raster pixels of masks in window pixels; None where nothing is left of a mask.

    Parameters
    ----------
    found : sequence of Found
        Best first: a piece's rank is its place here.
    window : Encoded
    levels : Levels
    index : (int, int)
        The window.
    """
    from samgeo.segmentation.merge.scales import leave_to_finer

    scale, lattice, _ = levels.locate(index[0])
    rect, size, valid = window.rect, window.size, window.valid
    masks = [one.mask for one in found]
    if not valid[: size[0], : size[1]].all():
        valid_mask = Mask.from_array(np.ascontiguousarray(valid)).scaled(scale)
        masks = [mask & valid_mask for mask in masks]
    if scale > 1:
        in_raster = Rect(0, 0, lattice.shape[1] - rect.x0, lattice.shape[0] - rect.y0)
        finer = levels.lattices[levels.level(index[0]) - 1]
        masks = [leave_to_finer(mask.clip(in_raster), scale, finer.overlap) for mask in masks]
    cut = cut_pixels(masks, window.known, edge_px(lattice.overlap // scale), scale)
    return [
        None
        if mask.is_empty
        else Piece(
            mask.shift(rect.x0, rect.y0), one.predicted_iou, one.stability_score, index, rank, at.shift(rect.x0, rect.y0)
        )
        for rank, (one, mask, at) in enumerate(zip(found, masks, cut, strict=True))
    ]


def _inside(points: NDArray[np.float64], aoi_px: shapely.Geometry) -> NDArray[np.float64]:
    import shapely

    return points[shapely.contains_xy(aoi_px, points)]


# Threads of a worker that begin together would load, and keep on the device, a model each.
_loading = threading.Lock()


def load_referenced(reference: ModelReference) -> Segmenter:
    """Load a model that came by name; once in a process."""
    with _loading:
        return _load(reference)


@lru_cache(maxsize=2)
def _load(reference: ModelReference) -> Segmenter:
    from samgeo.models.registry import load_model

    return load_model(reference.name, device=reference.device, dtype=reference.dtype)
