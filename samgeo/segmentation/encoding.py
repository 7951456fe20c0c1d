"""The public function `encode`: it encodes all windows of a raster, of one or several scales, into a store of embeddings.

Prompts and automatic segmentation read the store instead of encoding windows again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError, WindowError
from samgeo.geo.levels import Levels
from samgeo.geo.raster.identity import SourceWatch
from samgeo.models.embedding_packing import pack
from samgeo.progress import progress_bar
from samgeo.segmentation.execution.tasks import run_ordered
from samgeo.segmentation.options import ExecutionOptions, ModelOptions, ReadingOptions
from samgeo.segmentation.prompts.prompt_scales import scales_of
from samgeo.segmentation.windows.automatic import embed_window
from samgeo.segmentation.windows.embedding import check_fresh, read_window
from samgeo.segmentation.windows.failures import FAULTS, describe_fault
from samgeo.segmentation.windows.store import EmbeddingStore, Index, pixel_digest
from samgeo.segmentation.windows.store_metadata import attributes
from samgeo.segmentation.windows.worker import ModelReference, load_referenced
from samgeo.storage.atomic import check_name, refuse_inputs
from samgeo.storage.provenance import printable
from samgeo.types import BandsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import torch
    from distributed import Client

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["Encoding", "StoreStatus", "StoredScale", "encode", "store_status"]

# A killed process loses at most the work of this time. A slow model writes window by window, a fast one whole blocks.
FLUSH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Encoding:
    """Result of `encode`: how many windows were encoded.

    Attributes
    ----------
    windows : int
        Number of windows of the raster, of all scales.
    encoded : int
        Windows that were encoded in this call.
    kept : int
        Windows that were in the store before.
    empty : int
        Windows without data, which are not encoded.
    mended : int
        Windows that were in the store before, but in a block with damaged files, and were encoded again in this call.
    scales : tuple of int
        The scales whose windows these are. Scales at which one window shows more than the raster are left out.
    """

    windows: int
    encoded: int
    kept: int
    empty: int
    mended: int = 0
    scales: tuple[int, ...] = (1,)


@check_types
def encode(
    image: RasterLike,
    store: str | os.PathLike[str],
    *,
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    invented: str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    scales: str | Sequence[int] = (1,),
    scheduler: str | Client | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = True,
) -> Encoding:
    """Encode all windows of a raster, of one or several scales, into a store of embeddings.

    If the store exists, windows in it are not encoded again. A call that is killed loses about ten seconds of work. Several
    calls may fill the same store at the same time.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    store : path
        A folder, usually ``*.zarr``. It holds a Zarr v3 group of half-precision arrays over the window lattice, and is used by
        ``samgeo.Predictor(..., cache=store)`` and ``samgeo.segment(..., cache=store)``. Each coarser scale is a group of the
        same kind in it, such as ``scale-2``.
    model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, scheduler, workers, progress
        See `samgeo.segment`.
    scales : sequence of int or "auto", default (1,)
        Sizes of windows as multiples of ``window``, as in `samgeo.segment`; "auto" means 1, 2, 4, 8 and 16 as far as the raster
        is larger than a window, which `samgeo.Predictor` and the map use by default. Scale 2 adds a quarter to the work and to
        the size of the store, scale 4 adds a sixteenth. Scales can be added to a store later.
    overwrite : bool, default False
        Whether to replace an existing store by a new one.
    verify : bool, default False
        Whether to read every embedding in the store and compare it with its digest. Blocks of windows whose files are damaged
        are encoded again. Without this option only missing or empty files are noticed.

    Returns
    -------
    Encoding

    Raises
    ------
    OptionError
        If the store was made from another raster, stretch, model or lattice, or the raster has changed since.
    SamgeoError
        If the raster, the model or an option is invalid; later, if a window cannot be read or encoded, or a file of the raster
        changes during the work.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.synthetic import town
    >>> image = town((64, 64)).image
    >>> done = samgeo.encode(image, "town.zarr", model="tiny", progress=False)
    >>> done.windows, done.encoded, done.kept
    (1, 1, 0)
    """
    arguments = locals()
    execution, choice = ExecutionOptions.of(arguments), ModelOptions.of(arguments)
    execution.check()
    chosen = scales_of(scales)
    check_name(store, OptionError)
    raster = ReadingOptions.of(arguments).open(image)
    if overwrite:
        refuse_inputs(Path(store), (image, raster, model), OptionError)
    segmenter = choice.load()
    into = EmbeddingStore.open_or_create(store, raster, segmenter, window=window, overlap=overlap, overwrite=overwrite)
    levels = Levels.of(into.lattice, chosen)
    check_fresh(raster, into, levels.scales)
    watch = SourceWatch(raster)

    sent = segmenter if execution.is_here else choice.reference(segmenter)
    shared = (raster, sent, into, verify)
    blocks = [(scale, block) for scale in levels.scales for block in into.at_scale(scale).blocks()]
    for scale in levels.scales:
        into.at_scale(scale).make()
    encoded = kept = empty = mended = 0
    with progress_bar(len(blocks), "block", Path(raster.name).name, progress=progress) as bar:
        for done in run_ordered(
            _encode_block,
            shared,
            blocks,
            scheduler=scheduler,
            workers=workers,
            done=lambda _: bar.update(),
            describe=lambda task: _name("block of windows", *task, raster),
        ):
            encoded, kept, empty = encoded + done.encoded, kept + done.kept, empty + done.empty
            mended += done.mended
            _check_same(raster, into, watch)
    _check_same(raster, into, watch, now=True)
    return Encoding(len(levels), encoded, kept, empty, mended, levels.scales)


def _name(what: str, scale: int, index: Index, raster: Raster) -> str:
    """Return a text that says which window, or block of windows from this one on, it is."""
    coarse = "" if scale == 1 else f" of scale {scale}"
    return f"the {what}{coarse} at row {index[0]}, column {index[1]} of {raster.name}"


@dataclass(frozen=True, slots=True)
class StoredScale:
    """The windows of one scale in a store.

    Attributes
    ----------
    scale : int
        The scale.
    window, overlap : int
        Side of a window, and what neighbours share, in raster pixels.
    windows, stored : int
        Number of windows that the raster has at this scale, and of those that are in the store.
    """

    scale: int
    window: int
    overlap: int
    windows: int
    stored: int


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What a store of embeddings has.

    Attributes
    ----------
    path : Path
        The folder.
    raster, model : str
        Names of the raster and the model.
    scales : tuple of StoredScale
        Its scales, in ascending order.
    """

    path: Path
    raster: str
    model: str
    scales: tuple[StoredScale, ...]


@check_types
def store_status(path: str | os.PathLike[str]) -> StoreStatus:
    """Return which raster, model and scales a store of embeddings has, and how many windows of each scale.

    Parameters
    ----------
    path : path
        The folder of the store.

    Returns
    -------
    StoreStatus

    Raises
    ------
    OptionError
        If the folder is not a store.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids
    >>> image = encode_ids(np.ones((96, 96), dtype=np.int32))
    >>> _ = samgeo.encode(image, "ids.zarr", model=Oracle(64), scales=(1, 2), progress=False)
    >>> [(one.scale, one.window, one.windows, one.stored) for one in samgeo.segmentation.store_status("ids.zarr").scales]
    [(1, 64, 4, 4), (2, 128, 1, 1)]
    """
    store = EmbeddingStore.open(path)
    parts = [store.at_scale(scale) for scale in store.scales]
    about = attributes(store.path)
    return StoreStatus(
        store.path,
        printable(about.get("raster")),
        printable(about["model"].get("name")),
        tuple(StoredScale(one.scale, one.lattice.window, one.lattice.overlap, len(one.lattice), one.count()) for one in parts),
    )


def _check_same(raster: Raster, store: EmbeddingStore, watch: SourceWatch, *, now: bool = False) -> None:
    change = watch.look(now=now)
    if change is not None:
        raise RasterError(
            f"{change} while {raster.name} was encoded into {store.path}, which may contain windows of both versions; encode "
            "it again with overwrite when the raster no longer changes."
        )


def _encode_block(
    raster: Raster, model: Segmenter | ModelReference, whole: EmbeddingStore, verify: bool, task: tuple[int, Index]
) -> Encoding:
    """Encode the missing windows of a block of a scale, which share the files of the store."""
    scale, block = task
    segmenter, store = load_referenced(model), whole.at_scale(scale)
    mended = store.forget_damaged(block, verify=verify)
    missing, kept = store.missing(block), len(store.present(block))
    waiting: dict[Index, tuple[bytes, Mapping[str, Any] | None]] = {}
    empty, since = 0, time.monotonic()
    for index in missing:
        try:
            window = read_window(raster, store.lattice, index, scale)
            has_data = bool(window.valid.any())
            arrays = pack(segmenter, embed_window(segmenter, window.image, window.size)) if has_data else None
        except FAULTS as error:
            store.write(waiting)
            raise WindowError(
                f"{_name('window', scale, index, raster)} cannot be encoded "
                f"({describe_fault(error)}); the windows that were encoded before are kept: run it again to continue."
            ) from None
        empty += not has_data
        waiting[index] = (pixel_digest(window.image, window.size), arrays)
        if time.monotonic() - since > FLUSH_SECONDS:
            store.write(waiting)
            waiting, since = {}, time.monotonic()
    store.write(waiting)
    return Encoding(len(missing) + kept, len(missing) - empty, kept, empty, mended)
