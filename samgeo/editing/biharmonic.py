"""Smooth interpolation of unknown pixels from their neighbours, in memory.

Small holes are filled with the biharmonic function that continues the values and the slopes of the pixels around them, as in
S. B. Damelin and N. S. Hoang, "On surface completion and image inpainting by biharmonic functions: numerical aspects" (2018),
after the work of C. K. Chui and H. N. Mhaskar, "MRA contextual-recovery extension of smooth functions on manifolds" (2010).
Of all values of the unknown pixels, these have the least sum of squares of the discrete Laplacian. Inside an image this is the
system of `skimage.restoration.inpaint_biharmonic`; at the edge of the data, differences to pixels without data are left out,
so that their values have no influence. All bands share one factorization.

A large hole is filled from coarse to fine: the image is halved until the hole is small, filled there, and doubled again. At
each step the rim of the hole is interpolated anew, between the known pixels and the inner part from the coarser step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import splu

__all__ = ["MOST_AT_ONCE", "RIM", "double", "fill", "halve", "near_known", "solve"]

Values = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Holes with more unknown pixels are filled from coarse to fine. Across a large hole, the slopes of single pixels at its edge
# would lead far from all values around it; those of a coarse image are means over many pixels, and the hole is small there.
MOST_AT_ONCE, MOST_COARSE = 1024, 256

# Width in pixels of the rim of a large hole that is interpolated anew at each step.
RIM = 4

# Pixels up to this distance from a hole determine the biharmonic function in it.
REACH = 2

_CROSS = ndimage.generate_binary_structure(2, 1)
_STEPS = ((0, 1), (0, -1), (1, 0), (-1, 0))


def fill(values: Values, known: Bools, domain: Bools, *, most: int = MOST_AT_ONCE) -> bool:
    """Fill the pixels of a domain that are not known, in place.

    Parameters
    ----------
    values : ndarray of float64, shape (C, H, W)
        The bands. Only known pixels are read.
    known, domain : ndarray of bool, shape (H, W)
        Pixels whose values are known, and pixels that have values at all; the known ones are among these.
    most : int
        Holes with more pixels are filled from coarse to fine.

    Returns
    -------
    bool
        False if no pixel is known, so that nothing could be filled.
    """
    unknown = domain & ~known
    if not unknown.any():
        return True
    if not known.any():
        return False
    parts, count = ndimage.label(unknown)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    sizes[0] = 0
    is_large = (sizes > most)[parts]
    solve(values, unknown & ~is_large, known, known | (unknown & ~is_large))
    if is_large.any():
        coarse, coarse_known, coarse_domain = halve(values, known, domain)
        fill(coarse, coarse_known, coarse_domain, most=MOST_COARSE)
        values[:, is_large] = double(coarse, coarse_domain, unknown.shape)[:, is_large]
        rim = is_large & near_known(known)
        solve(values, rim, (known | is_large) & ~rim, known | is_large, is_rim=True)
    return True


def near_known(known: Bools) -> Bools:
    """Return the pixels that are at most `RIM` steps away from a known one."""
    return np.asarray(ndimage.binary_dilation(known, _CROSS, iterations=RIM))


def halve(values: Values, known: Bools, domain: Bools) -> tuple[Values, Bools, Bools]:
    """Return an image of half the size: the mean of the known pixels of each square of 2 x 2 pixels.

    A square is known if one of its pixels is, and it is in the domain if one of its pixels is. Odd sides are rounded up.
    """
    height, width = known.shape
    odd = ((0, height % 2), (0, width % 2))
    whole = np.pad(np.where(known, values, 0.0), ((0, 0), *odd))
    count = _sums(np.pad(known, odd).astype(np.float64)[np.newaxis])
    mean = _sums(whole) / np.maximum(count, 1.0)
    return mean, count[0] > 0, _sums(np.pad(domain, odd).astype(np.float64)[np.newaxis])[0] > 0


def double(values: Values, domain: Bools, shape: tuple[int, int]) -> Values:
    """Return an image of twice the size by linear interpolation of the pixels of the domain; 0 where none is near.

    Parameters
    ----------
    values : ndarray of float64, shape (C, h, w)
        The coarse image.
    domain : ndarray of bool, shape (h, w)
        Its pixels that have values.
    shape : (int, int)
        Height and width of the result.
    """
    weight = domain.astype(np.float64)[np.newaxis]
    total = np.concatenate([np.where(domain, values, 0.0), weight])
    for axis in (1, 2):
        total = _doubled(total, axis)
    total = total[:, : shape[0], : shape[1]]
    result: Values = total[:-1] / np.where(total[-1:] > 0, total[-1:], 1.0)
    return result


def solve(values: Values, unknown: Bools, fixed: Bools, domain: Bools, *, is_rim: bool = False) -> None:
    """Interpolate unknown pixels by the biharmonic function of the fixed pixels around them, in place.

    The values are limited to the range of the fixed pixels within two pixels of each hole; in a rim, to that of the fixed
    pixels near each pixel, which does not depend on how much of the rim is in the image. A hole that touches no fixed pixel
    gets the value of the nearest one.

    Parameters
    ----------
    values : ndarray of float64, shape (C, H, W)
        The bands.
    unknown, fixed, domain : ndarray of bool, shape (H, W)
        Pixels to compute, pixels whose values are used, and both together.
    is_rim : bool
        Whether no pixel to compute is more than `RIM` steps away from a fixed one.
    """
    if not unknown.any():
        return
    touched = ndimage.binary_dilation(fixed, _CROSS) & unknown
    parts, count = ndimage.label(unknown)
    has_fixed = np.zeros(count + 1, dtype=bool)
    has_fixed[parts[touched]] = True
    has_fixed[0] = True
    alone = ~has_fixed[parts]
    if alone.any():
        # The distance of each pixel to the nearest fixed one, and where it is.
        rows, columns = ndimage.distance_transform_edt(~fixed, return_distances=False, return_indices=True)
        values[:, alone] = values[:, rows[alone], columns[alone]]
        fixed, unknown = fixed | alone, unknown & ~alone
        if not unknown.any():
            return
    _solve_touching(values, unknown, domain)
    if is_rim:
        _limit_rim(values, unknown, fixed)
    else:
        _limit(values, np.where(unknown, parts, 0), fixed)


def _solve_touching(values: Values, unknown: Bools, domain: Bools) -> None:
    height, width = unknown.shape
    # The Laplacian is computed at each pixel whose neighbour, or which itself, is unknown.
    centres = np.flatnonzero(ndimage.binary_dilation(unknown, _CROSS) & domain)
    y, x = np.divmod(centres, width)
    rows, columns, weights = [], [], []
    degree = np.zeros(len(centres))
    for step_y, step_x in _STEPS:
        to_y, to_x = y + step_y, x + step_x
        inside = np.flatnonzero((to_y >= 0) & (to_y < height) & (to_x >= 0) & (to_x < width))
        inside = inside[domain[to_y[inside], to_x[inside]]]
        rows.append(inside)
        columns.append(to_y[inside] * width + to_x[inside])
        weights.append(np.ones(len(inside)))
        degree[inside] += 1
    rows.append(np.arange(len(centres)))
    columns.append(centres)
    weights.append(-degree)
    row, column, weight = np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)
    is_free = unknown.ravel()[column]
    free = np.flatnonzero(unknown)
    place = np.zeros(height * width, dtype=np.int64)
    place[free] = np.arange(len(free))
    laplacian = sparse.csr_matrix((weight[is_free], (row[is_free], place[column[is_free]])), shape=(len(centres), len(free)))
    flat = values.reshape(len(values), -1)
    known = np.stack(
        [np.bincount(row[~is_free], weight[~is_free] * band[column[~is_free]], minlength=len(centres)) for band in flat], axis=1
    )
    system = (laplacian.T @ laplacian).tocsc()
    found = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(-(laplacian.T @ known))
    values[:, unknown] = found.T


def _limit(values: Values, parts: NDArray[np.integer[Any]], fixed: Bools) -> None:
    """Limit each hole to the range of the fixed pixels around it."""
    places: Sequence[tuple[slice, ...] | None] = ndimage.find_objects(parts)
    for number, place in enumerate(places, start=1):
        if place is None:
            continue
        around = tuple(slice(max(axis.start - REACH, 0), axis.stop + REACH) for axis in place)
        hole = parts[around] == number
        ring = ndimage.binary_dilation(hole, _CROSS, iterations=REACH) & fixed[around]
        if ring.any():
            part = values[(slice(None), *around)]
            low, high = (edge(part[:, ring], axis=1)[:, np.newaxis] for edge in (np.min, np.max))
            part[:, hole] = np.clip(part[:, hole], low, high)


def _limit_rim(values: Values, rim: Bools, fixed: Bools) -> None:
    """Limit each pixel of a rim to the range of the fixed pixels near it."""
    reach = RIM + REACH
    ((rows, columns),) = ndimage.find_objects(rim.astype(np.int8))
    around = slice(max(rows.start - reach, 0), rows.stop + reach), slice(max(columns.start - reach, 0), columns.stop + reach)
    inside, is_fixed = rim[around], fixed[around]
    for band in values:
        part = band[around]
        low = ndimage.minimum_filter(np.where(is_fixed, part, np.inf), 2 * reach + 1, mode="nearest")
        high = ndimage.maximum_filter(np.where(is_fixed, part, -np.inf), 2 * reach + 1, mode="nearest")
        part[inside] = np.clip(part[inside], low[inside], high[inside])


def _sums(values: Values) -> Values:
    bands, height, width = values.shape
    sums: Values = values.reshape(bands, height // 2, 2, width // 2, 2).sum(axis=(2, 4))
    return sums


def _doubled(values: Values, axis: int) -> Values:
    """Double an axis: the centres of the fine pixels lie a quarter of a coarse pixel beside those of the coarse ones."""
    moved = np.moveaxis(values, axis, 0)
    before, after = np.concatenate([moved[:1], moved[:-1]]), np.concatenate([moved[1:], moved[-1:]])
    fine = np.stack([0.75 * moved + 0.25 * before, 0.75 * moved + 0.25 * after], axis=1)
    return np.moveaxis(fine.reshape(-1, *moved.shape[1:]), 0, axis)
