"""Reading of a raster in which squares of k x k pixels become one pixel: the mean of the valid pixels of each square.

The validity of a square is always computed from the pixels, so that it does not depend on whether there are overviews or how
they were made. Values come from overviews only where every pixel is known to be valid without reading it, and only from
overviews that a sample shows to be means of the pixels (`samgeo.geo.raster.overviews`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.sources.file_source import FileSource

__all__ = ["best_overview", "read_squares"]

Pixels = NDArray[np.uint8]
Bools = NDArray[np.bool_]

# Number of raster pixels that are averaged at a time. It bounds the memory, however large a rectangle is.
PIXELS_AT_ONCE = 1 << 22


def best_overview(source: object, factor: int) -> int:
    """Return the decimation of the overview from which squares of ``factor`` pixels a side are read; 1 without one."""
    if not isinstance(source, FileSource):
        return 1
    numbers = [number for number, band in enumerate(source.bands, start=1) if not (band.is_alpha or band.is_marker)]
    overview = source.overview_for(numbers, (0, 0), factor)
    return 1 if overview is None else source.overviews[overview.level]


def read_squares(
    read: Callable[[Rect], tuple[Pixels, Bools, Bools]],
    rect: Rect,
    factor: int,
    *,
    from_overviews: Callable[[Rect], Pixels | None] | None = None,
    split: Callable[[Rect], Iterable[Rect]] | None = None,
) -> tuple[Pixels, Bools]:
    """Read a rectangle with squares of pixels as one pixel: the mean of the valid pixels of each square.

    Parameters
    ----------
    read : callable
        Takes a rectangle, and returns its pixels as uint8 of shape (h, w, 3), 0 where not valid; where they are valid; and
        where they lie in the raster.
    rect : Rect
        In pixels of the raster.
    factor : int
        Side of a square in pixels.
    from_overviews : callable, optional
        Takes a rectangle of squares, each of which has a pixel in the raster. Returns the squares as uint8 of shape (h, w, 3),
        if all of their pixels are valid and overviews hold their means; None if the pixels must be read.
    split : callable, optional
        Takes a rectangle of squares, and returns the parts of it that are read one by one. Together these contain all squares
        that have a pixel in the raster.

    Returns
    -------
    pixels : ndarray of uint8, shape (h, w, 3)
        Rounded means; 0 where not valid.
    valid : ndarray of bool, shape (h, w)
        True where at least half of those pixels of a square that lie in the raster are valid.

    Raises
    ------
    OptionError
        If the rectangle does not consist of such squares.
    """
    if factor < 1 or any(side % factor for side in (rect.x0, rect.y0, *rect.shape)):
        raise OptionError(f"{rect} does not consist of squares of {factor} x {factor} pixels; give multiples of {factor}.")
    height, width = (length // factor for length in rect.shape)
    pixels, valid = np.zeros((height, width, 3), dtype=np.uint8), np.zeros((height, width), dtype=bool)
    for strip in _strips(rect, factor):
        for part in (strip,) if split is None else split(strip):
            left, top = (part.x0 - rect.x0) // factor, (part.y0 - rect.y0) // factor
            where = slice(top, top + part.height // factor), slice(left, left + part.width // factor)
            means = None if from_overviews is None else from_overviews(part)
            if means is None:
                pixels[where], valid[where] = _means(*read(part), factor)
            else:
                pixels[where], valid[where] = means, True
    return pixels, valid


def _strips(rect: Rect, factor: int) -> Iterator[Rect]:
    rows = max(PIXELS_AT_ONCE // (max(rect.width, 1) * factor), 1) * factor
    for top in range(rect.y0, rect.y1, rows):
        yield Rect(rect.x0, top, rect.x1, min(top + rows, rect.y1))


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
