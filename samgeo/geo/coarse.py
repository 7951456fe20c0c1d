"""Pictures of several pixels in one: the mean of squares, exactly where they lie, from overviews where there are any."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect

__all__ = ["Overviewed", "best_overview", "read_squares"]

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]

# So many are averaged at a time, which bounds memory however much ground a rectangle covers.
PIXELS_AT_ONCE = 1 << 22


@runtime_checkable
class Overviewed(Protocol):
    """A source of pixels that also has them decimated."""

    @property
    def overviews(self) -> tuple[int, ...]:
        """How many pixels, along a side, are one in each overview."""


def best_overview(source: object, factor: int) -> int:
    """Return the coarsest overview of a source whose pixels make up squares of ``factor``; 1 where there is none."""
    overviews = source.overviews if isinstance(source, Overviewed) else ()
    return max((one for one in overviews if one > 0 and factor % one == 0), default=1)


def read_squares(
    read: Callable[[Rect, int], tuple[Pixels, Bools, Bools]], rect: Rect, factor: int, step: int
) -> tuple[Pixels, Bools]:
    """Read a rectangle with squares of pixels as one: the mean of what is valid in each.

    Parameters
    ----------
    read : callable
        Gets a rectangle and a step, and gives every such pixel of it: uint8 of shape (h, w, 3), 0 where not valid; where they
        are valid; and where they are in the raster at all.
    rect : Rect
        In pixels of the raster.
    factor : int
        Side of a square in pixels.
    step : int
        A divisor of it.

    Returns
    -------
    pixels : ndarray of uint8, shape (h, w, 3)
        Rounded; 0 where not valid.
    valid : ndarray of bool, shape (h, w)
        Where at least half of what lies in the raster is valid.

    Raises
    ------
    OptionError
        If the rectangle does not consist of such squares.
    """
    if factor < 1 or any(side % factor for side in (rect.x0, rect.y0, *rect.shape)):
        raise OptionError(f"{rect} does not consist of squares of {factor} x {factor} pixels; give multiples of these.")
    height, width = (length // factor for length in rect.shape)
    pixels, valid = np.zeros((height, width, 3), dtype=np.uint8), np.zeros((height, width), dtype=bool)
    rows_at_once = max(PIXELS_AT_ONCE * step**2 // (max(rect.width, 1) * factor), 1)
    for first in range(0, height, rows_at_once):
        rows = slice(first, min(first + rows_at_once, height))
        strip = Rect(rect.x0, rect.y0 + rows.start * factor, rect.x1, rect.y0 + rows.stop * factor)
        pixels[rows], valid[rows] = _means(*read(strip, step), factor // step)
    return pixels, valid


def _means(pixels: Pixels, valid: Bools, inside: Bools, side: int) -> tuple[Pixels, Bools]:
    if side == 1:
        return pixels, valid
    count = _sums(valid[..., None], side)
    mean = (_sums(pixels, side) + count // 2) // np.maximum(count, 1)
    enough = ((count > 0) & (2 * count >= _sums(inside[..., None], side)))[..., 0]
    return np.where(enough[..., None], mean, 0).astype(np.uint8), enough


def _sums(values: Pixels | Bools, side: int) -> NDArray[np.uint32]:
    height, width, bands = values.shape
    tall = values.reshape(height // side, side, width * bands).sum(axis=1, dtype=np.uint32)
    sums: NDArray[np.uint32] = tall.reshape(height // side, width // side, side, bands).sum(axis=2, dtype=np.uint32)
    return sums
