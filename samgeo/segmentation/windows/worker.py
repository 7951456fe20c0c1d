"""The work on one window: read it, encode it, segment the objects under its points, and mark where its edges cut them."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import WindowError
from samgeo.geo.grid import Rect
from samgeo.geo.levels import Levels
from samgeo.geo.raster.sources.block_cache import LEAST_BYTES, limit_worker_block_cache
from samgeo.models.allocator import return_freed_memory
from samgeo.models.registry import load_model
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import MERGE_IOU, Piece
from samgeo.segmentation.profile import timed
from samgeo.segmentation.windows.automatic import automatic_masks
from samgeo.segmentation.windows.cut_edges import cut_pixels, edge_px
from samgeo.segmentation.windows.embedding import Encoded, embed_together, read_window
from samgeo.segmentation.windows.failures import ATTEMPTS, FAULTS, Failure, describe_fault, release_gpu_memory, tell_failure
from samgeo.segmentation.windows.proposals import WindowView
from samgeo.segmentation.windows.proposed import proposed_masks
from samgeo.segmentation.windows.scales import leave_to_finer

if TYPE_CHECKING:
    import torch

    from samgeo.geo.coordinates.indexed_area import IndexedArea
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.models.registry import Gates
    from samgeo.segmentation.windows.automatic import Found
    from samgeo.segmentation.windows.embedding import EmbeddingCache, Encoded, WindowImage
    from samgeo.segmentation.windows.proposals import PromptSource
    from samgeo.segmentation.windows.store import EmbeddingStore
    from samgeo.types import Embedding

__all__ = [
    "ModelReference",
    "Plan",
    "found_by_source",
    "found_in",
    "load_referenced",
    "reference_to",
    "segment_window",
    "to_pieces",
    "try_window",
    "try_windows",
    "windows_at_once",
]

_log = logging.getLogger(__name__)

# A piece of an object that is cut may have a lower score than the whole object: it is kept from this share of the least score.
PIECE_SCORE = 0.5

# Number of windows that are encoded together on a GPU. A window of 1024 pixels uses a large GPU fully by itself; smaller
# windows do so together.
WINDOWS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """The data that a worker needs to segment a window, besides the raster and the model.

    Attributes
    ----------
    levels : Levels
        The windows of all scales.
    gates : Gates
        Thresholds that decide which masks are kept.
    aoi_px : IndexedArea or None
        Area of interest in raster pixels. Only points inside it are used.
    store : EmbeddingStore, optional
        Store of embeddings, of the windows of all scales.
    cache_bytes : int
        Memory that GDAL may use to cache blocks of the raster, in bytes.
    merge_iou : float
        Two pieces are the same object if their IoU is at least this value.
    recent : EmbeddingCache, optional
        The windows that this process encoded last, kept for continuation requests. Copies in other processes start empty.
    source : PromptSource, optional
        What proposes objects in place of the regular points.
    min_score : float, default 0.0
        Objects of a source with a lower score are dropped.
    """

    levels: Levels
    gates: Gates
    aoi_px: IndexedArea | None
    store: EmbeddingStore | None = None
    cache_bytes: int = LEAST_BYTES
    merge_iou: float = MERGE_IOU
    recent: EmbeddingCache | None = None
    source: PromptSource | None = None
    min_score: float = 0.0

    def store_of(self, row: int) -> EmbeddingStore | None:
        """Return the part of the store for the scale of a row of windows."""
        return None if self.store is None else self.store.at_scale(self.levels.locate(row)[0])


@dataclass(frozen=True, slots=True)
class ModelReference:
    """Name of a model, sent to worker processes, each of which loads the model once.

    Attributes
    ----------
    name : str
        A name of `samgeo.list_models`, or the path of a checkpoint file.
    device, dtype : str
        See `samgeo.segment`.
    """

    name: str
    device: str
    dtype: str


def segment_window(raster: Raster, model: Segmenter | ModelReference, plan: Plan, index: tuple[int, int]) -> list[Piece]:
    """Segment one window. It is not encoded if no point of its core has data and is in the area of interest.

    Raises
    ------
    WindowError
        If the window cannot be read or computed in two attempts.
    """
    return found_in(try_window(raster, model, plan, index), raster, plan)


def found_in(result: list[Piece] | Failure, raster: Raster, plan: Plan) -> list[Piece]:
    """Return the pieces of a window, or raise an error if it failed.

    Raises
    ------
    WindowError
        If the window failed.
    """
    if isinstance(result, Failure):
        raise WindowError(tell_failure(result, raster.name, plan.levels))
    return result


def try_window(raster: Raster, model: Segmenter | ModelReference, plan: Plan, index: tuple[int, int]) -> list[Piece] | Failure:
    """Segment one window as `segment_window` does; return a failure instead of raising an error."""
    return _try(raster, model, plan, index, None)


def try_windows(
    raster: Raster, model: Segmenter | ModelReference, plan: Plan, indices: Sequence[tuple[int, int]]
) -> list[list[Piece] | Failure]:
    """Segment neighbouring windows of a row as `try_window` does, but encode them together; see `together`."""
    limit_worker_block_cache(plan.cache_bytes)
    try:
        segmenter = load_referenced(model)
        made = _embed_together(raster, segmenter, plan, indices)
    except FAULTS:
        release_gpu_memory()
        made = {}
    # A window that failed together with others may succeed alone, so it still gets all attempts.
    return [_try(raster, model, plan, index, made.pop(index, None)) for index in indices]


def windows_at_once(model: Segmenter) -> int:
    """Return how many neighbouring windows a model encodes at once.

    On a GPU, which waits between calls, there are several; else one.
    """
    device = getattr(model, "device", None)
    return WINDOWS_AT_ONCE if device is not None and device.type == "cuda" else 1


def _try(
    raster: Raster, model: Segmenter | ModelReference, plan: Plan, index: tuple[int, int], made: _Embedded | None
) -> list[Piece] | Failure:
    reason = ""
    limit_worker_block_cache(plan.cache_bytes)
    return_freed_memory()
    for _ in range(ATTEMPTS):
        try:
            segmenter = load_referenced(model)
            made = _embed_together(raster, segmenter, plan, [index])[index] if made is None else made
            return [] if made.asked is None else _answer(segmenter, plan, made.asked, made.embedding)
        except FAULTS as error:
            reason = f"failed {ATTEMPTS} times: {describe_fault(error)}"
            _log.warning("The window at row %d, column %d of %s failed: %s", *index, raster.name, describe_fault(error))
            made = None
            release_gpu_memory()
    return Failure(index, reason)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """A window that was read, and its points that are used as prompts, in raster pixels from its corner."""

    index: tuple[int, int]
    window: WindowImage
    points: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class _Embedded:
    """A window and its embedding; ``asked`` is None if no point of the window is used."""

    asked: _Asked | None
    embedding: Embedding = None


@timed("pieces")
def _embed_together(
    raster: Raster, model: Segmenter, plan: Plan, indices: Sequence[tuple[int, int]]
) -> dict[tuple[int, int], _Embedded]:
    """Read and encode windows of one row. The column of a window determines its position in the batch."""
    places = windows_at_once(model)
    asked = {index: _ask(raster, plan, index) for index in indices}
    made = {index: _Embedded(None) for index in indices}
    windows = {index[1] % places: one.window for index, one in asked.items() if one is not None}
    embeddings = embed_together(model, windows, places, plan.store_of(indices[0][0])) if windows else {}
    return made | {index: _Embedded(one, embeddings[index[1] % places]) for index, one in asked.items() if one is not None}


def _ask(raster: Raster, plan: Plan, index: tuple[int, int]) -> _Asked | None:
    """Read a window and select its points; return None if no point of its core has data and is in the area of interest."""
    if plan.source is not None:
        return _ask_source(raster, plan, index)
    points = plan.levels.points(*index, plan.gates.points_per_side)
    if plan.aoi_px is not None:
        points = points[plan.aoi_px.contains_xy(points)]
    if not len(points):
        return None
    scale, lattice, row_of_scale = plan.levels.locate(index[0])
    window = read_window(raster, lattice, (row_of_scale, index[1]), scale)
    rect, valid = window.rect, window.valid
    column, row = (points - (rect.x0, rect.y0)).astype(np.int64).T // scale
    points = points[valid[row, column]] - (rect.x0, rect.y0)
    return _Asked(index, window, points) if len(points) else None


def _ask_source(raster: Raster, plan: Plan, index: tuple[int, int]) -> _Asked | None:
    """Read a window for a prompt source; return None if its core has no data or is outside the area of interest."""
    scale, lattice, row = plan.levels.locate(index[0])
    core = lattice.core(row, index[1])
    if plan.aoi_px is not None and not plan.aoi_px.meets(core.x0, core.y0, core.x1, core.y1):
        return None
    window = read_window(raster, lattice, (row, index[1]), scale)
    left, top = window.rect.x0, window.rect.y0
    part = window.valid[
        (core.y0 - top) // scale : -(-(core.y1 - top) // scale), (core.x0 - left) // scale : -(-(core.x1 - left) // scale)
    ]
    return _Asked(index, window, np.empty((0, 2))) if part.any() else None


@timed("pieces")
def _answer(model: Segmenter, plan: Plan, asked: _Asked, embedding: Embedding) -> list[Piece]:
    index, window = asked.index, asked.window
    encoded = Encoded(embedding, window.rect, window.size, window.known, plan.levels.locate(index[0])[0])
    if plan.source is None:
        scale, lattice, _ = plan.levels.locate(index[0])
        size_px = (window.size[0] * scale, window.size[1] * scale)
        found = automatic_masks(model, embedding, asked.points, gates=plan.gates, window=lattice.window, size=size_px)
    else:
        found = found_by_source(model, plan, index, encoded, image=window.image)
    if plan.recent is not None:
        plan.recent.put(index, encoded, model)
    return [piece for piece in to_pieces(found, encoded, plan.levels, index) if piece is not None]


def found_by_source(
    model: Segmenter, plan: Plan, index: tuple[int, int], window: Encoded, *, image: NDArray[np.uint8] | None = None
) -> list[Found]:
    """Return the masks that the plan's prompt source finds in an encoded window, in window pixels, the best first.

    Parameters
    ----------
    model : Segmenter
        The model.
    plan : Plan
        The source, windows, thresholds and area of interest.
    index : (int, int)
        Row and column of the window.
    window : Encoded
        The window, which must have data.
    image : ndarray of uint8, optional
        Its pixels, which some sources need.
    """
    source = plan.source
    if source is None:
        return []
    scale, lattice, row = plan.levels.locate(index[0])
    size_px, zoom = (window.size[0] * scale, window.size[1] * scale), model.input_size / lattice.window
    core = lattice.core(row, index[1])
    view = WindowView(window.rect, size_px, window.valid, core, scale, zoom, plan.aoi_px, image)
    least, offset = PIECE_SCORE * plan.min_score, plan.gates.stability_offset
    return proposed_masks(model, window.embedding, source, view, least_score=least, offset=offset)


def to_pieces(found: Sequence[Found], window: Encoded, levels: Levels, index: tuple[int, int]) -> list[Piece | None]:
    """Convert masks in window pixels to pieces in raster pixels; None if nothing is left of a mask.

    Parameters
    ----------
    found : sequence of Found
        Masks, the best first. The position of a mask is the rank of its piece.
    window : Encoded
        The window.
    levels : Levels
        The windows of all scales.
    index : (int, int)
        Row and column of the window.
    """
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
            mask.shift(rect.x0, rect.y0),
            one.predicted_iou,
            one.stability_score,
            index,
            rank,
            at.shift(rect.x0, rect.y0),
            one.score,
            one.kind,
        )
        for rank, (one, mask, at) in enumerate(zip(found, masks, cut, strict=True))
    ]


# Without this lock, threads of a worker that start together would each load a model onto the device.
_loading = threading.Lock()


def reference_to(
    given: str | Path | Segmenter, model: Segmenter, device: str | torch.device, dtype: str
) -> ModelReference | Segmenter:
    """Return what worker processes receive as the model: a reference if it was given by name, else the model itself.

    The type "auto" is replaced by the type of the loaded model, so that all workers compute in one type whatever their devices.
    """
    if not isinstance(given, str | Path):
        return model
    return ModelReference(str(given), str(device), str(getattr(model, "dtype", dtype)).removeprefix("torch."))


def load_referenced(model: Segmenter | ModelReference) -> Segmenter:
    """Return a model, which is loaded once in a process and cached if it is given by its reference."""
    if not isinstance(model, ModelReference):
        return model
    with _loading:
        return _load(model)


@lru_cache(maxsize=2)
def _load(reference: ModelReference) -> Segmenter:
    return load_model(reference.name, device=reference.device, dtype=reference.dtype)
