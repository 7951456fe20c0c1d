"""SAM's two bilinear steps along one axis, from samples of logits to pixels of a window.

Pixels are grouped in cells that read the same samples, so that a cell can be judged by its samples alone: bilinear
interpolation is a convex combination.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "bilinear_axis"]


@dataclass(frozen=True, slots=True)
class Axis:
    """How the pixels of one axis are made of its samples, in cells of neighbouring pixels that read the same samples.

    Attributes
    ----------
    samples : ndarray of int, shape (C, T)
        What each cell reads, rising along both axes.
    weights : ndarray of float32, shape (R, T, C)
        Of each sample for each pixel of a cell; a cell with fewer than ``R`` pixels repeats its last.
    first : ndarray of int, shape (C + 1,)
        Where each cell's pixels start, and where the axis ends.
    sizes : ndarray of int, shape (C,)
        Pixels of each cell.
    """

    samples: NDArray[np.int64]
    weights: NDArray[np.float32]
    first: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def cells_that_read(self, has: NDArray[np.bool_]) -> slice:
        """Return the cells between the first and the last that read any of the samples in ``has``."""
        where = np.flatnonzero(has)
        if len(where) == 0:
            return slice(0, 0)
        low = int(np.searchsorted(self.samples[:, -1], where[0]))
        return slice(low, max(low, int(np.searchsorted(self.samples[:, 0], where[-1], side="right"))))


@lru_cache(maxsize=64)
def bilinear_axis(count: int, input_size: int, window: int, length: int) -> Axis:
    """Compose the steps: ``count`` samples to ``input_size``, the padding cropped, then to ``length`` pixels.

    Parameters
    ----------
    count : int
        Samples over the model's whole input, up to ``input_size``.
    input_size : int
        Side of the model's input, in pixels.
    window : int
        Side of the window that was resized to ``input_size``, in raster pixels.
    length : int
        Pixels of the window that are real, from its start.

    Returns
    -------
    Axis
        Of ``length`` pixels. Where ``window`` equals ``input_size`` there is no second step, as in the reference.
    """
    cell, weights = _bilinear(count, input_size)
    if window != input_size:
        real = min(max(int(length * input_size / window + 0.5), 1), input_size)
        into, mix = _bilinear(real, length)
        width = weights.shape[1]
        both = [np.clip(into + tap, 0, real - 1) for tap in range(mix.shape[1])]
        joined = np.zeros((length, width + len(both) - 1))
        for tap, source in enumerate(both):
            shift = cell[source] - cell[both[0]]
            for sample in range(width):
                joined[np.arange(length), shift + sample] += mix[:, tap].astype(np.float64) * weights[source, sample]
        cell, weights = cell[both[0]], joined.astype(np.float32)
    cells, first, sizes = np.unique(cell[:length], return_index=True, return_counts=True)
    pixels = first[:, None] + np.minimum(np.arange(sizes.max()), sizes[:, None] - 1)
    samples = np.clip(cells[:, None] + np.arange(weights.shape[1]), 0, count - 1)
    by_cell = np.ascontiguousarray(weights[pixels].transpose(1, 2, 0))
    return Axis(samples, by_cell, np.append(first, length), sizes)


def _bilinear(count: int, length: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the first sample of each of ``length`` pixels, -1 left of the first, and the weights of it and the next.

    torch's own arithmetic, float32 with a fused multiply and subtract: an error in the weights would move outlines.
    """
    if count == length:
        return np.arange(length), np.ones((length, 1), dtype=np.float32)
    scale = np.float32(count) / np.float32(length)
    place = (np.float64(scale) * (np.arange(length) + 0.5) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    fraction = np.where(first < 0, np.float32(0), place - first.astype(np.float32))
    return first, np.stack([1 - fraction, fraction], axis=1)
