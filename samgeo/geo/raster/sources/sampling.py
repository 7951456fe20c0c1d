"""A small sample of a raster, which is read before any work to inspect its values."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import RasterError
from samgeo.geo.grid import Rect

if TYPE_CHECKING:
    from samgeo.geo.raster.sources.base import Source

__all__ = ["Sample", "fit", "flatten", "sample", "thinned"]

Sample = tuple[Rect, NDArray[Any], NDArray[np.bool_]]
"""A part of a raster: its rectangle, its values of shape (n, h, w), which may be decimated, and the mask of valid values."""

SIDE = 512

# If a decimated read would touch more pixels than this, because there are no overviews, windows from edge to edge are read.
MOST_PIXELS = 1 << 22
WINDOWS, WINDOW = 5, 128

# Limit of the bytes that are decoded for a sample. If blocks are large, fewer windows are read, or none.
MOST_BYTES = 1 << 27


def sample(source: Source, numbers: Sequence[int]) -> list[Sample]:
    """Read a sample: the whole raster at most 512 pixels a side, or windows all over it if that would take long.

    If the blocks of a raster are too large, nothing is read.

    Parameters
    ----------
    source : Source
        The raster.
    numbers : sequence of int
        Numbers of the bands, from 1.

    Returns
    -------
    list of (Rect, ndarray, ndarray)
        Parts that cannot be read are left out; the error is raised later, when the raster is processed.
    """
    samples = []
    for rect, shape in _parts(source):
        try:
            samples.append((rect, *source.read(numbers, rect, shape)))
        except RasterError:
            continue
    return samples


def flatten(samples: Sequence[Sample]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return the values of samples, of shape (n, N), and where no mask hides them, of shape (N,)."""
    values = np.concatenate([values.reshape(len(values), -1) for _, values, _ in samples], axis=1)
    return values, np.concatenate([mask.ravel() for _, _, mask in samples])


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """Return samples with about as many pixels as `sample` reads.

    On each axis every second, third or further pixel is kept.
    """
    pixels = sum(mask.size for _, _, mask in samples)
    step = max(math.ceil(math.sqrt(pixels) / SIDE), 1)
    return [(rect, values[:, ::step, ::step], mask[::step, ::step]) for rect, values, mask in samples]


def fit(shape: tuple[int, int], side: int) -> tuple[int, int]:
    """Return a shape scaled down so that its longer side is at most ``side`` pixels."""
    scale = min(side / max(shape), 1.0)
    return max(round(shape[0] * scale), 1), max(round(shape[1] * scale), 1)


def _parts(source: Source) -> Iterator[tuple[Rect, tuple[int, int] | None]]:
    height, width = (int(length) for length in source.geobox.shape)
    frame = Rect(0, 0, width, height)
    block_pixels, block_bytes = source.block
    touched = height * width / source.decimation**2
    if touched <= MOST_PIXELS and touched * block_bytes <= MOST_BYTES * block_pixels:
        yield frame, fit((height, width), SIDE)
        return
    count = min(math.isqrt(MOST_BYTES // block_bytes), WINDOWS)
    tops, lefts = (np.linspace(0, max(length - WINDOW, 0), count).astype(int).tolist() for length in (height, width))
    for y in tops:
        for x in lefts:
            yield Rect(x, y, x + WINDOW, y + WINDOW) & frame, None
