"""Regions of high values around peaks: a watershed in which weak peaks belong to the region of a stronger one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["regions_of"]

# The neighbours of a pixel that come after it in reading order: (rows down, columns to the right).
AFTER = ((0, 1), (1, -1), (1, 0), (1, 1))


def regions_of(values: NDArray[np.floating], prominence: float) -> NDArray[np.int32]:
    """Divide the pixels above 0 into regions, one for each prominent peak.

    Every pixel belongs to the peak that is reached from it by steps to the highest of its eight neighbours. Two neighbouring
    regions are joined if the lower of their peaks is less than ``prominence`` above the highest pass between them. Touching
    objects are separated in this way if there is a valley between them that is deep enough.

    Parameters
    ----------
    values : ndarray of float, shape (H, W)
        Values; NaN where they are not known.
    prominence : float
        Least height of a peak above the pass to a higher peak, 0 or more.

    Returns
    -------
    ndarray of int32, shape (H, W)
        Number of the region of each pixel, from 1; 0 where the value is not above 0. Regions are numbered in reading order.
    """
    high = np.where(values > 0, values, -np.inf)
    basins = _basins(high)
    peaks = np.flatnonzero(basins.ravel() == np.arange(basins.size))
    peaks = peaks[np.isfinite(high.ravel()[peaks])]
    number = np.full(high.size, -1, dtype=np.int64)
    number[peaks] = np.arange(len(peaks))
    basins = np.where(np.isfinite(high), number[basins], -1)
    joined = _joined(high, basins, high.ravel()[peaks], prominence)
    regions = np.where(basins >= 0, joined[basins], -1) if len(peaks) else basins
    # The numbers follow the first pixel of each region.
    names, first, back = np.unique(regions, return_index=True, return_inverse=True)
    first[names < 0] = -1
    rank = np.argsort(np.argsort(first, kind="stable"), kind="stable") + (0 if (names < 0).any() else 1)
    return rank[back].reshape(high.shape).astype(np.int32)


def _basins(high: NDArray[np.floating]) -> NDArray[np.int64]:
    """Return the peak to which each pixel leads, as the position of the peak in the flat array.

    Of equal neighbours the later one in reading order counts as higher, so that every path ends.
    """
    height, width = high.shape
    padded = np.pad(high, 1, constant_values=-np.inf)
    best, target = high.copy(), np.arange(high.size).reshape(high.shape)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            near = padded[1 + down : 1 + down + height, 1 + right : 1 + right + width]
            index = np.arange(high.size).reshape(high.shape) + down * width + right
            better = (near > best) | ((near == best) & (index > target) & np.isfinite(near))
            best, target = np.where(better, near, best), np.where(better, index, target)
    flat = target.ravel()
    while True:
        further = flat[flat]
        if np.array_equal(further, flat):
            return flat.reshape(high.shape)
        flat = further


def _joined(
    high: NDArray[np.floating], basins: NDArray[np.int64], peaks: NDArray[np.floating], prominence: float
) -> NDArray[np.int64]:
    """Return the number of the basin to which each basin belongs after weak peaks are joined to stronger ones."""
    leader = list(range(len(peaks)))

    def lead(one: int) -> int:
        while leader[one] != one:
            leader[one] = leader[leader[one]]
            one = leader[one]
        return one

    for one, other, height in _passes(high, basins):
        first, second = lead(one), lead(other)
        if first == second:
            continue
        lower, higher = sorted((first, second), key=lambda basin: (peaks[basin], -basin))
        if peaks[lower] - height < prominence or peaks[lower] == height:
            leader[lower] = higher
    return np.array([lead(one) for one in range(len(peaks))], dtype=np.int64)


def _passes(high: NDArray[np.floating], basins: NDArray[np.int64]) -> list[tuple[int, int, float]]:
    """Return the pairs of neighbouring basins with the height of the highest pass between them, the highest pass first."""
    found = []
    for down, right in AFTER:
        left = max(0, -right)
        here = slice(0, high.shape[0] - down), slice(left, high.shape[1] - max(0, right))
        there = slice(down, high.shape[0]), slice(left + right, high.shape[1] - max(0, right) + right)
        a, b = basins[here], basins[there]
        border = (a != b) & (a >= 0) & (b >= 0)
        pair = np.sort(np.stack([a[border], b[border]], axis=1), axis=1)
        found.append(np.column_stack([pair, np.minimum(high[here][border], high[there][border])]))
    rows = np.concatenate(found)
    # The highest pass of each pair comes first, and the others of the pair are dropped.
    rows = rows[np.lexsort((-rows[:, 2], rows[:, 1], rows[:, 0]))]
    kept = np.ones(len(rows), dtype=bool)
    kept[1:] = (rows[1:, :2] != rows[:-1, :2]).any(axis=1)
    rows = rows[kept]
    rows = rows[np.lexsort((rows[:, 1], rows[:, 0], -rows[:, 2]))]
    return [(int(one), int(other), float(height)) for one, other, height in rows.tolist()]
