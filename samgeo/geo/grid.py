"""The lattice of windows over a raster: windows, their cores, and the prompt points in each core.

All coordinates are raster pixels, x to the right and y down. The outer corner of the first pixel is (0, 0), its centre is
(0.5, 0.5).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError

__all__ = ["Lattice", "Rect"]


@dataclass(frozen=True, slots=True)
class Rect:
    """A half-open rectangle of pixels: columns ``x0 <= x < x1``, rows ``y0 <= y < y1``."""

    x0: int
    y0: int
    x1: int
    y1: int

    @property
    def width(self) -> int:
        """Number of columns; 0 when empty."""
        return max(self.x1 - self.x0, 0)

    @property
    def height(self) -> int:
        """Number of rows; 0 when empty."""
        return max(self.y1 - self.y0, 0)

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)``."""
        return self.height, self.width

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.width == 0 or self.height == 0

    def __and__(self, other: Rect) -> Rect:
        return Rect(max(self.x0, other.x0), max(self.y0, other.y0), min(self.x1, other.x1), min(self.y1, other.y1))

    def __contains__(self, other: Rect) -> bool:
        return self.x0 <= other.x0 and self.y0 <= other.y0 and self.x1 >= other.x1 and self.y1 >= other.y1

    def slices_in(self, frame: Rect) -> tuple[slice, slice]:
        """Return the ``(rows, columns)`` slices that cut this rectangle out of an array that covers ``frame``."""
        return slice(self.y0 - frame.y0, self.y1 - frame.y0), slice(self.x0 - frame.x0, self.x1 - frame.x0)


@dataclass(frozen=True, slots=True)
class Lattice:
    """Square windows on a lattice that starts at pixel (0, 0) of a raster.

    Windows have side ``window`` and start every ``window - overlap`` pixels. Windows at the right and the bottom may reach past
    the raster; readers pad them. The *core* of a window is the square of side ``window - overlap`` in its middle. The cores
    tile the raster; the first and the last core of a row or column extend to its edge.

    Parameters
    ----------
    shape : (int, int)
        Height and width of the raster in pixels.
    window : int
        Side of a window in pixels.
    overlap : int
        Pixels that neighbouring windows share; even, and at most half of ``window``, so that only direct neighbours overlap.

    Raises
    ------
    OptionError
        If the sizes cannot make a lattice.
    """

    shape: tuple[int, int]
    window: int
    overlap: int

    def __post_init__(self) -> None:
        if self.window < 2:
            raise OptionError(f"window is {self.window} pixels; give at least 2.")
        if self.overlap < 0 or self.overlap % 2 or 2 * self.overlap > self.window:
            raise OptionError(
                f"overlap is {self.overlap} pixels for windows of {self.window}; "
                f"give an even number from 0 to {self.window // 2}."
            )
        if min(self.shape) < 1:
            raise OptionError(f"the raster has shape {self.shape}, and so no pixels; give a raster with at least one pixel.")

    @property
    def stride(self) -> int:
        """Distance in pixels from the start of a window to that of the next."""
        return self.window - self.overlap

    @property
    def rows(self) -> int:
        """Number of rows of windows."""
        return self._count(self.shape[0])

    @property
    def columns(self) -> int:
        """Number of windows in a row."""
        return self._count(self.shape[1])

    def __len__(self) -> int:
        return self.rows * self.columns

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((row, column) for row in range(self.rows) for column in range(self.columns))

    def rect(self, row: int, column: int) -> Rect:
        """Return the rectangle of a window, which may reach past the right and the bottom of the raster."""
        x0, y0 = column * self.stride, row * self.stride
        return Rect(x0, y0, x0 + self.window, y0 + self.window)

    def core(self, row: int, column: int) -> Rect:
        """Return the core of a window: the part of the raster whose points this window decodes."""
        (y0, y1), (x0, x1) = self._span(row, self.rows, self.shape[0]), self._span(column, self.columns, self.shape[1])
        return Rect(x0, y0, x1, y1)

    def owner(self, x: int, y: int) -> tuple[int, int]:
        """Return the row and column of the window whose core contains a pixel of the raster."""
        half = self.overlap // 2
        row, column = ((at - half) // self.stride for at in (y, x))
        return min(max(row, 0), self.rows - 1), min(max(column, 0), self.columns - 1)

    def points(self, row: int, column: int, per_side: int) -> NDArray[np.float64]:
        """Return those points of the raster's point lattice that lie in the core of a window.

        The lattice has ``per_side`` points along a side of a window: point ``i`` is the centre of pixel ``floor((i + 0.5) *
        window / per_side)``, counted from pixel (0, 0) of the raster. A point therefore does not depend on the window that
        decodes it, and a raster of one window has the points of SAM's automatic mask generator.

        Parameters
        ----------
        row, column : int
            The window.
        per_side : int
            Number of points along a side of a window.

        Returns
        -------
        ndarray, shape (N, 2)
            x and y in raster pixels, row by row.
        """
        core = self.core(row, column)
        spacing = self.window / per_side
        axes = []
        for low, high in ((core.x0, core.x1), (core.y0, core.y1)):
            index = np.arange(int(low / spacing) - 1, int(high / spacing) + 2)
            pixel = np.floor((index + 0.5) * spacing)
            axes.append(pixel[(pixel >= low) & (pixel < high)] + 0.5)
        x, y = np.meshgrid(*axes)
        return np.stack([x.ravel(), y.ravel()], axis=1)

    def _count(self, length: int) -> int:
        return max(-(-(length - self.overlap) // self.stride), 1)

    def _span(self, index: int, count: int, length: int) -> tuple[int, int]:
        low = 0 if index == 0 else index * self.stride + self.overlap // 2
        high = length if index == count - 1 else (index + 1) * self.stride + self.overlap // 2
        return low, high
