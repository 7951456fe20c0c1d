"""Upsampling of low-resolution logits to masks in window pixels, without making full-size images.

The result equals that of SAM: two bilinear interpolations of the whole image, then a threshold. Bilinear interpolation is a
convex combination of samples. If all samples of a pixel are above every threshold, or none is above any, the result is known
without arithmetic. Therefore only pixels along the outline of a mask are interpolated, for many masks at once, and runs follow
from the changes along each row.

The two interpolation steps along one axis are composed to one (`Axis`). Pixels that read the same samples are grouped in cells,
so that a whole cell can be decided from its samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.segmentation.masks.mask import Mask

if TYPE_CHECKING:
    import torch

__all__ = ["Axis", "Upsampled", "bilinear_axis", "masks_from_logits"]


Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
Floats = NDArray[np.float32]

# Masks are interpolated together until they have so many cells. This bounds memory if logits are noise.
_CELLS_AT_ONCE = 1 << 14
# Rounding may make a combination of samples larger than all samples by a few units in the last place.
_ROUNDING = 1e-6
_LARGE = np.float32(1e30)


@dataclass(frozen=True, slots=True)
class Upsampled:
    """Result of `masks_from_logits`: the masks that are not empty and stable enough.

    Attributes
    ----------
    index : ndarray of int64, shape (N,)
        Index of the logits of each mask, rising.
    masks : tuple of Mask
        In window pixels.
    stability : ndarray of float64, shape (N,)
        Number of pixels above ``threshold + offset`` divided by the number above ``threshold - offset``.
    """

    index: NDArray[np.int64]
    masks: tuple[Mask, ...]
    stability: NDArray[np.float64]


def masks_from_logits(
    logits: torch.Tensor,
    *,
    input_size: int,
    window: int,
    size: tuple[int, int],
    offset: float = 1.0,
    threshold: float = 0.0,
    min_stability: float = 0.0,
) -> Upsampled:
    """Convert a model's logits to masks of a window.

    The masks and scores are those of ``postprocess_masks`` and ``calculate_stability_score`` of segment_anything on whole
    images: bilinear (``align_corners=False``) to ``input_size``, padding removed, bilinear to ``size``, threshold. They may
    differ only if an interpolated logit equals a threshold within float rounding, where torch's own kernels differ from each
    other too.

    Parameters
    ----------
    logits : tensor, shape (K, h, w)
        Logits over the model's whole input, including padding; ``h`` and ``w`` are at most ``input_size``. Any float dtype and
        device.
    input_size : int
        Side of the model's input, in pixels.
    window : int
        Side of the window that was resized to ``input_size``, in raster pixels.
    size : (int, int)
        Height and width of the part of the window without padding, at its top left, in raster pixels.
    offset : float, default 1.0
        Distance of the two logits of the stability score from the threshold; not negative.
    threshold : float, default 0.0
        Logits above it are foreground.
    min_stability : float, default 0.0
        Masks with a lower stability score are left out.

    Returns
    -------
    Upsampled
        Empty masks are left out too.

    Raises
    ------
    OptionError
        If shapes or sizes do not fit each other, or ``offset`` is negative.

    Examples
    --------
    >>> import torch
    >>> from samgeo.segmentation.masks.upsample import masks_from_logits
    >>> logits = torch.full((1, 4, 4), -8.0)
    >>> logits[0, 1:3, 1:3] = 8.0
    >>> masks_from_logits(logits, input_size=16, window=16, size=(16, 16)).masks[0].rect
    Rect(x0=4, y0=4, x1=12, y1=12)
    """
    _check(logits, input_size, window, size, offset)
    samples = np.ascontiguousarray(logits.detach().float().cpu().numpy())
    rows, columns = (
        bilinear_axis(count, input_size, window, length) for count, length in zip(samples.shape[1:], size, strict=True)
    )
    low, high = threshold - offset, threshold + offset
    kept: list[tuple[int, Mask, float]] = []
    for index, outlines in _batches(samples, rows, columns, low, high):
        cells = _Cells.of(index, outlines, rows, columns)
        values = cells.values(samples, rows, columns)
        inside = np.array([outline.inside for outline in outlines])
        loose, strict = inside + cells.count(values > low), inside + cells.count(values > high)
        stability = np.divide(strict, loose, out=np.zeros(len(loose)), where=loose > 0)
        masks = cells.masks(values > threshold, stability >= min_stability, rows, columns)
        kept += [(index[place], mask, stability[place]) for place, mask in masks]
    numbers, found, scores = zip(*kept, strict=True) if kept else ((), (), ())
    return Upsampled(np.array(numbers, dtype=np.int64), found, np.array(scores, dtype=np.float64))


def _check(logits: torch.Tensor, input_size: int, window: int, size: tuple[int, int], offset: float) -> None:
    if logits.ndim != 3 or not 1 <= min(logits.shape[1:]) <= max(logits.shape[1:]) <= input_size:
        raise OptionError(
            f"logits have shape {tuple(logits.shape)}; give (K, h, w) with h and w from 1 to the input size {input_size}."
        )
    if not 1 <= min(size) <= max(size) <= window:
        raise OptionError(f"size is {size} in a window of {window} pixels; give a height and a width from 1 to {window}.")
    if offset < 0:
        raise OptionError(f"the stability offset is {offset}; give 0 or more.")


@dataclass(frozen=True, slots=True)
class _Outline:
    """The cells of one mask in which its pixels may change along a row, in reading order.

    Attributes
    ----------
    row, column : ndarray, shape (N,)
        Position of each cell. One more column, after the last that reads foreground, ends each row; it counts as background.
    ends : ndarray of bool, shape (N,)
        Whether the cell is in that additional column.
    after_inside : ndarray of bool, shape (N,)
        Whether the cell to the left is known, without arithmetic, to be inside the mask.
    inside : int
        Number of pixels of all other cells inside the mask.
    """

    row: Ints
    column: Ints
    ends: Bools
    after_inside: Bools
    inside: int


def _outline(samples: Floats, rows: Axis, columns: Axis, low: float, high: float) -> _Outline | None:
    """Return the outline of one mask; None if no pixel exceeds ``low``."""
    may: Bools = samples > low
    y, x = rows.cells_that_read(np.any(may, axis=1)), columns.cells_that_read(np.any(may, axis=0))
    if y.start == y.stop or x.start == x.stop:
        return None
    reads_y, reads_x = rows.samples[y], columns.samples[x]
    part = slice(reads_y[0, 0], reads_y[-1, -1] + 1), slice(reads_x[0, 0], reads_x[-1, -1] + 1)
    reads_y, reads_x = reads_y - part[0].start, reads_x - part[1].start
    # 0 is outside, 1 undecided, 2 inside. There is one column of background on either side.
    state = np.zeros((len(reads_y), len(reads_x) + 2), dtype=np.int8)
    state[:, 1:-1] = _over_reads(np.logical_or, may[part], reads_y, reads_x)
    state[:, 1:-1] += _over_reads(np.logical_and, samples[part] > high, reads_y, reads_x)
    here, left = state[:, 1:], state[:, :-1]
    change = (here == 1) | (here != left)
    row, column = np.divmod(np.flatnonzero(change), change.shape[1])
    if len(row) == 0:
        return None
    known = ((here == 2) & ~change)[:, :-1].astype(np.float64)
    inside = int(rows.sizes[y] @ (known @ columns.sizes[x]))
    return _Outline(row + y.start, column + x.start, column == len(reads_x), left[row, column] == 2, inside)


def _over_reads(join: np.ufunc, array: Bools, y: Ints, x: Ints) -> Bools:
    """Combine the samples that each cell reads with ``join``."""
    tall = array[y[:, 0]]
    for sample in y.T[1:]:
        join(tall, array[sample], out=tall)
    wide = tall.take(x[:, 0], axis=1)
    for sample in x.T[1:]:
        join(wide, tall.take(sample, axis=1), out=wide)
    return wide


def _batches(samples: Floats, rows: Axis, columns: Axis, low: float, high: float) -> Iterator[tuple[list[int], list[_Outline]]]:
    """Find the outlines of all masks, and give them in batches of bounded size."""
    low, high = low - _ROUNDING * abs(low), high + _ROUNDING * abs(high)
    index: list[int] = []
    outlines: list[_Outline] = []
    cells = 0
    for number, one in enumerate(samples):
        outline = _outline(one, rows, columns, low, high)
        if outline is None:
            continue
        index.append(number)
        outlines.append(outline)
        cells += len(outline.row)
        if cells >= _CELLS_AT_ONCE:
            yield index, outlines
            index, outlines, cells = [], [], 0
    if outlines:
        yield index, outlines


@dataclass(frozen=True, slots=True)
class _Cells:
    """The cells of several outlines, one outline after the other.

    Attributes
    ----------
    outline, logit, row, column : ndarray of int, shape (N,)
        Index of the outline of each cell, index of its logits, and its position on the two axes.
    real_y, real_x : ndarray of bool, shape (Ry, N) and (Rx, N)
        Which rows and columns of pixels exist in each cell. A cell that ends a row has no column.
    after_inside : ndarray of bool, shape (N,)
        As in `_Outline`.
    bounds : ndarray of int, shape (M + 1,)
        Index of the first cell of each of ``M`` outlines, and the number of cells.
    """

    outline: Ints
    logit: Ints
    row: Ints
    column: Ints
    real_y: Bools
    real_x: Bools
    after_inside: Bools
    bounds: Ints

    @classmethod
    def of(cls, index: list[int], outlines: list[_Outline], rows: Axis, columns: Axis) -> _Cells:
        lengths = [len(one.row) for one in outlines]
        row = np.concatenate([one.row for one in outlines])
        column = np.concatenate([one.column for one in outlines])
        ends = np.concatenate([one.ends for one in outlines])
        wide = np.where(ends, 0, columns.sizes.take(column, mode="clip"))
        return cls(
            outline=np.repeat(np.arange(len(outlines)), lengths),
            logit=np.repeat(np.array(index), lengths),
            row=row,
            column=column,
            real_y=np.arange(len(rows.weights))[:, None] < rows.sizes[row],
            real_x=np.arange(len(columns.weights))[:, None] < wide,
            after_inside=np.concatenate([one.after_inside for one in outlines]),
            bounds=np.concatenate([[0], np.cumsum(lengths)]),
        )

    def values(self, samples: Floats, rows: Axis, columns: Axis) -> Floats:
        """Interpolate along x, then along y; return logits of shape (Ry, Rx, N)."""
        height, width = samples.shape[1:]
        y, x = rows.samples.T[:, self.row], columns.samples.T.take(self.column, axis=1, mode="clip")
        read = samples.ravel()[((self.logit * height + y) * width)[:, None] + x]
        # Logits are clipped, because an infinite logit times a weight of 0 would be NaN.
        np.clip(read, -_LARGE, _LARGE, out=read)
        weights_y, weights_x = rows.weights[:, :, self.row], columns.weights.take(self.column, axis=2, mode="clip")
        wide = read[:, None, 0] * weights_x[:, 0]
        for sample in range(1, len(x)):
            wide += read[:, None, sample] * weights_x[:, sample]
        values: Floats = wide[0] * weights_y[:, None, 0]
        for sample in range(1, len(y)):
            values += wide[sample] * weights_y[:, None, sample]
        return values

    def count(self, above: Bools) -> Ints:
        """Return the number of pixels of each outline that are true in ``above``, which has shape (Ry, Rx, N)."""
        pixels = (above & self.real_y[:, None] & self.real_x).reshape(-1, len(self.row))
        return np.add.reduceat(pixels.sum(axis=0, dtype=np.int32), self.bounds[:-1], dtype=np.int64)

    def masks(self, foreground: Bools, keep: Bools, rows: Axis, columns: Axis) -> Iterator[tuple[int, Mask]]:
        """Yield the masks that are kept and not empty, given which pixels are foreground, shape (Ry, Rx, N)."""
        foreground = foreground & self.real_x[0]
        follows = (np.diff(self.outline) == 0) & (np.diff(self.row) == 0) & (np.diff(self.column) == 1)
        before = np.empty_like(foreground)
        before[:, 1:] = foreground[:, :-1]
        before[:, 0] = self.after_inside
        before[:, 0, 1:] = np.where(follows, foreground[:, -1, :-1], before[:, 0, 1:])
        changes = (foreground != before) & self.real_y[:, None] & keep[self.outline]
        pixel, cell = np.divmod(np.flatnonzero(changes), len(self.row))
        down, right = np.divmod(pixel, changes.shape[1])
        height, width = int(rows.first[-1]), int(columns.first[-1]) + 1
        line = self.outline[cell] * height + rows.first[self.row[cell]] + down
        places = np.sort(line * width + columns.first[self.column[cell]] + right)
        line, start = np.divmod(places[0::2], width)
        outline, y = np.divmod(line, height)
        runs = np.stack([y, start, places[1::2] - line * width], axis=1).astype(np.int32)
        bounds = np.searchsorted(outline, np.arange(len(self.bounds)))
        for number, (low, high) in enumerate(pairwise(bounds.tolist())):
            if low < high:
                # Each mask gets a copy. A view would keep the runs of all masks in memory.
                yield number, Mask(runs[low:high].copy())


@dataclass(frozen=True, slots=True)
class Axis:
    """Weights with which the pixels of one axis are computed from its samples. Pixels that read the same samples form a cell.

    Attributes
    ----------
    samples : ndarray of int, shape (C, T)
        The samples that each cell reads, rising along both axes.
    weights : ndarray of float32, shape (R, T, C)
        Weight of each sample for each pixel of a cell. A cell with fewer than ``R`` pixels repeats its last one.
    first : ndarray of int, shape (C + 1,)
        The first pixel of each cell, and the number of pixels of the axis.
    sizes : ndarray of int, shape (C,)
        Number of pixels of each cell.
    """

    samples: NDArray[np.int64]
    weights: NDArray[np.float32]
    first: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def cells_that_read(self, has: NDArray[np.bool_]) -> slice:
        """Return the cells between the first and the last one that read any of the samples in ``has``."""
        where = np.flatnonzero(has)
        if len(where) == 0:
            return slice(0, 0)
        low = int(np.searchsorted(self.samples[:, -1], where[0]))
        return slice(low, max(low, int(np.searchsorted(self.samples[:, 0], where[-1], side="right"))))


@lru_cache(maxsize=64)
def bilinear_axis(count: int, input_size: int, window: int, length: int) -> Axis:
    """Compose the two interpolation steps: ``count`` samples to ``input_size``, padding removed, then to ``length`` pixels.

    Parameters
    ----------
    count : int
        Number of samples over the model's whole input, at most ``input_size``.
    input_size : int
        Side of the model's input, in pixels.
    window : int
        Side of the window that was resized to ``input_size``, in raster pixels.
    length : int
        Number of pixels of the window before the padding.

    Returns
    -------
    Axis
        An axis of ``length`` pixels. If ``window`` equals ``input_size`` there is no second step, as in the reference.
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
    """Return the first sample of each of ``length`` pixels (-1 before the first sample), and the weights of it and the next.

    The arithmetic is that of torch, in float32 with a fused multiply and subtract. Other weights would move outlines.
    """
    if count == length:
        return np.arange(length), np.ones((length, 1), dtype=np.float32)
    scale = np.float32(count) / np.float32(length)
    place = (np.float64(scale) * (np.arange(length) + 0.5) - 0.5).astype(np.float32)
    first = np.floor(place).astype(np.int64)
    fraction = np.where(first < 0, np.float32(0), place - first.astype(np.float32))
    return first, np.stack([1 - fraction, fraction], axis=1)
