"""Limit of GDAL's block cache to the size that reading window by window needs.

By default GDAL uses a twentieth of the machine's memory for the cache in every process, and fills it with blocks that are not
read again. Without a limit, memory would grow with the raster up to that size.
"""

from __future__ import annotations

import multiprocessing
import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import rasterio

from samgeo.geo.drivers import open_raster
from samgeo.geo.raster.sources.remote import patient

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["LEAST_BYTES", "block_cache_bytes", "limit_worker_block_cache", "limited_block_cache"]

LEAST_BYTES = 1 << 27


def block_cache_bytes(raster: Raster, window: int) -> int:
    """Return the size of a cache with which windows are read row by row without decoding blocks several times.

    Parameters
    ----------
    raster : Raster
        The raster.
    window : int
        Side of a window in pixels.

    Returns
    -------
    int
        `LEAST_BYTES`; or the size of a row of windows, if blocks are wider than two windows, as strips are.
    """
    source = raster.source
    if not source.files:
        return LEAST_BYTES
    file = max(source.files, key=lambda file: file.block[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with patient(file.path, fresh=True), open_raster(file.path, file.name) as dataset:
            height, width = dataset.block_shapes[0]
    if width <= 2 * window:
        return LEAST_BYTES
    pixel = sum(np.dtype(band.dtype).itemsize for band in source.bands)
    return int(max(LEAST_BYTES, (window + 2 * height) * raster.shape[1] * pixel))


@contextmanager
def limited_block_cache(size: int) -> Iterator[None]:
    """Limit the cache of this process to ``size`` bytes within a ``with`` block, unless the variable GDAL_CACHEMAX is set."""
    if "GDAL_CACHEMAX" in os.environ:
        yield
        return
    with rasterio.Env(GDAL_CACHEMAX=size):
        yield


@lru_cache(maxsize=1)
def limit_worker_block_cache(size: int) -> None:
    """Limit the cache of a worker process for the rest of its life; do nothing in a main process."""
    if multiprocessing.parent_process() is not None:
        _kept.enter_context(limited_block_cache(size))


_kept = ExitStack()
