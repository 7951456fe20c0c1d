"""Linear stretch of the values of a band to 8 bits, the same for the whole raster and never for each window."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError

if TYPE_CHECKING:
    from samgeo.types import StretchLike

__all__ = ["Stretch", "apply_stretch", "check_stretch", "percentile_stretch"]

Stretch = tuple[float, float]
"""The two values of a band that become 0 and 255."""

PERCENTILES = (2.0, 98.0)


def check_stretch(stretch: StretchLike) -> tuple[Stretch, Stretch, Stretch]:
    """Return the stretch that a user gives as one pair for each band.

    Parameters
    ----------
    stretch : (low, high) or three such pairs
        For all bands, or for each.

    Raises
    ------
    OptionError
        If it is anything else, or a high is not above its low.
    """
    try:
        pairs = np.asarray(stretch, dtype=np.float64)
    except (TypeError, ValueError):
        pairs = np.empty(0)
    if pairs.shape == (2,):
        pairs = np.broadcast_to(pairs, (3, 2))
    if pairs.shape == (1, 2):
        pairs = np.broadcast_to(pairs[0], (3, 2))
    if pairs.shape != (3, 2) or not np.isfinite(pairs[:, 1] - pairs[:, 0]).all() or not (pairs[:, 0] < pairs[:, 1]).all():
        raise OptionError(f"stretch is {stretch!r}; give (low, high) with low < high, or one such pair for each of 3 bands.")
    red, green, blue = ((float(low), float(high)) for low, high in pairs)
    return red, green, blue


def percentile_stretch(values: NDArray[Any]) -> Stretch:
    """Return the stretch from the 2nd to the 98th percentile.

    Parameters
    ----------
    values : ndarray
        Valid, finite values of one band, from the whole raster.

    Returns
    -------
    (float, float)
        The two percentiles. If they are equal, the least and the greatest value, which are equal for a constant band. (0, 1) if
        there are no values.
    """
    if values.size == 0:
        return 0.0, 1.0
    numbers = values.astype(np.float64).ravel()
    low, high = np.percentile(numbers, PERCENTILES, overwrite_input=True)
    if low == high:
        low, high = numbers.min(), numbers.max()
    return float(low), float(high)


def apply_stretch(values: NDArray[Any], stretches: Sequence[Stretch]) -> NDArray[np.uint8]:
    """Stretch values to 8 bits.

    Parameters
    ----------
    values : ndarray, shape (n, h, w)
        Of any real type. NaN becomes 0.
    stretches : sequence of n (low, high)
        Values in between are mapped linearly and rounded to the nearest. If low equals high, values up to it become 0, and
        values above it 255.

    Returns
    -------
    ndarray of uint8, shape (n, h, w)
    """
    result = np.empty(values.shape, dtype=np.uint8)
    # float32 takes half the memory of float64, and is used where it holds the values exactly.
    dtype = np.result_type(values.dtype, np.float32)
    limits = np.finfo(dtype)
    for out, band, (low, high) in zip(result, values, stretches, strict=True):
        if low == high:
            out[...] = np.where(band > low, 255, 0)
            continue
        black, white = (dtype.type(min(max(limit, float(limits.min)), float(limits.max))) for limit in (low, high))
        # Values are clipped first, so that nodata values near the largest float cannot overflow.
        scaled = np.clip(band.astype(dtype), black, white)
        scaled -= black
        scaled *= 255 / (white - black)
        out[...] = np.rint(np.nan_to_num(scaled, copy=False, nan=0.0), out=scaled)
    return result
