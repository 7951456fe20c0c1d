"""Masks as runs: rows of foreground in raster pixels, never a full frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Mask"]


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A set of pixels as runs along rows.

    Attributes
    ----------
    runs : ndarray of int32, shape (N, 3)
        ``(y, x_start, x_stop)`` with ``x_stop`` exclusive, sorted by ``y`` then ``x_start``; runs of a row neither overlap
        nor touch, so that equal sets of pixels have equal runs. Coordinates are raster pixels and may be any int32.
    """

    runs: NDArray[np.int32]
