"""The public function `encode`: it encodes all windows of a raster into a store of embeddings.

Prompts and automatic segmentation read the store instead of encoding windows again.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError, WindowError
from samgeo.geo.raster.identity import SourceWatch
from samgeo.models.embedding_packing import pack
from samgeo.progress import progress_bar
from samgeo.segmentation.execution.tasks import run_ordered
from samgeo.segmentation.options import ExecutionOptions, ModelOptions, ReadingOptions
from samgeo.segmentation.windows.automatic import embed_window
from samgeo.segmentation.windows.embedding import check_fresh, read_window
from samgeo.segmentation.windows.failures import FAULTS, describe_fault
from samgeo.segmentation.windows.store import EmbeddingStore, Index, pixel_digest
from samgeo.segmentation.windows.worker import ModelReference, load_referenced
from samgeo.storage.atomic import check_name, refuse_inputs
from samgeo.types import BandsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import torch
    from distributed import Client

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["Encoding", "encode"]

# A killed process loses at most the work of this time. A slow model writes window by window, a fast one whole blocks.
FLUSH_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Encoding:
    """Result of `encode`: how many windows were encoded.

    Attributes
    ----------
    windows : int
        Number of windows of the raster.
    encoded : int
        Windows that were encoded in this call.
    kept : int
        Windows that were in the store before.
    empty : int
        Windows without data, which are not encoded.
    mended : int
        Windows that were in the store before, but in a block with damaged files, and were encoded again in this call.
    """

    windows: int
    encoded: int
    kept: int
    empty: int
    mended: int = 0


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
    scheduler: str | Client | None = None,
    workers: int | None = None,
    overwrite: bool = False,
    verify: bool = False,
    progress: bool = True,
) -> Encoding:
    """Encode all windows of a raster into a store of embeddings.

    If the store exists, windows in it are not encoded again. A call that is killed loses about ten seconds of work. Several
    calls may fill the same store at the same time.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    store : path
        A folder, usually ``*.zarr``. It holds a Zarr v3 group of half-precision arrays over the window lattice, and is used by
        ``samgeo.Predictor(..., cache=store)`` and ``samgeo.segment(..., cache=store)``.
    model, device, dtype, bands, stretch, nodata, alpha, invented, window, overlap, scheduler, workers, progress
        See `samgeo.segment`.
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
    check_name(store, OptionError)
    raster = ReadingOptions.of(arguments).open(image)
    if overwrite:
        refuse_inputs(Path(store), (image, raster, model), OptionError)
    segmenter = choice.load()
    into = EmbeddingStore.open_or_create(store, raster, segmenter, window=window, overlap=overlap, overwrite=overwrite)
    check_fresh(raster, into)
    watch = SourceWatch(raster)

    sent = segmenter if execution.is_here else choice.reference(segmenter)
    shared = (raster, sent, into, verify)
    blocks = into.blocks()
    encoded = kept = empty = mended = 0
    with progress_bar(len(blocks), "block", Path(raster.name).name, progress=progress) as bar:
        for done in run_ordered(
            _encode_block,
            shared,
            blocks,
            scheduler=scheduler,
            workers=workers,
            done=lambda _: bar.update(),
            describe=lambda block: f"the block of windows at row {block[0]}, column {block[1]} of blocks of {raster.name}",
        ):
            encoded, kept, empty = encoded + done.encoded, kept + done.kept, empty + done.empty
            mended += done.mended
            _check_same(raster, into, watch)
    _check_same(raster, into, watch, now=True)
    return Encoding(len(into.lattice), encoded, kept, empty, mended)


def _check_same(raster: Raster, store: EmbeddingStore, watch: SourceWatch, *, now: bool = False) -> None:
    change = watch.look(now=now)
    if change is not None:
        raise RasterError(
            f"{change} while {raster.name} was encoded into {store.path}, which may contain windows of both versions; encode "
            "it again with overwrite when the raster no longer changes."
        )


def _encode_block(
    raster: Raster, model: Segmenter | ModelReference, store: EmbeddingStore, verify: bool, block: Index
) -> Encoding:
    """Encode the missing windows of a block, which share the files of the store."""
    segmenter = load_referenced(model)
    mended = store.forget_damaged(block, verify=verify)
    missing, kept = store.missing(block), len(store.present(block))
    waiting: dict[Index, tuple[bytes, Mapping[str, Any] | None]] = {}
    empty, since = 0, time.monotonic()
    for index in missing:
        try:
            window = read_window(raster, store.lattice, index)
            has_data = bool(window.valid.any())
            arrays = pack(segmenter, embed_window(segmenter, window.image, window.size)) if has_data else None
        except FAULTS as error:
            store.write(waiting)
            raise WindowError(
                f"the window at row {index[0]}, column {index[1]} of {raster.name} cannot be encoded "
                f"({describe_fault(error)}); the windows that were encoded before are kept: run it again to continue."
            ) from None
        empty += not has_data
        waiting[index] = (pixel_digest(window.image, window.size), arrays)
        if time.monotonic() - since > FLUSH_SECONDS:
            store.write(waiting)
            waiting, since = {}, time.monotonic()
    store.write(waiting)
    return Encoding(len(missing) + kept, len(missing) - empty, kept, empty, mended)
