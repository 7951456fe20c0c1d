"""Nodata values: reading of the option, and the test of which values have data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError

__all__ = ["as_dtype", "check_nodata", "has_value"]


def check_nodata(nodata: float | str | None) -> tuple[float | None, ...] | None:
    """Return the nodata values of the three bands for an option: a number for all bands, or "none". None if nothing is given.

    Raises
    ------
    OptionError
        If it is neither a number nor "none".
    """
    if nodata is None:
        return None
    if nodata == "none":
        return None, None, None
    try:
        value = float(nodata)
    except (TypeError, ValueError):
        raise OptionError(f'nodata is {nodata!r}; give a number, or "none".') from None
    return value, value, value


def has_value(values: NDArray[Any], nodata: Sequence[float | None]) -> NDArray[np.bool_]:
    """Return where bands have a value: where it is finite and not the nodata value.

    Parameters
    ----------
    values : ndarray, shape (n, ...)
        Values of n bands.
    nodata : sequence of float or None
        The nodata value of each band; further ones are ignored.

    Returns
    -------
    ndarray of bool, shape (n, ...)
    """
    found = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, dtype=bool)
    for index, empty in enumerate(nodata[: len(values)]):
        if empty is not None and math.isfinite(empty):
            found[index] &= values[index] != as_dtype(empty, values.dtype)
    return found


def as_dtype(nodata: float, dtype: np.dtype[Any]) -> np.generic | float:
    """Return a nodata value in the type of the pixels; NaN, which equals no pixel, if the type cannot hold it."""
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            value: np.generic = dtype.type(nodata)
            return value
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return dtype.type(int(nodata)) if nodata.is_integer() and limits[0] <= nodata <= limits[1] else math.nan
