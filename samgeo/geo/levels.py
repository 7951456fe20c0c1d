"""Windows of several scales over one raster, row by row in the order in which they are read.

A window of scale ``k`` has ``k`` times the side of a window of scale 1, and shows ``k * k`` raster pixels as one pixel. Each
scale has its own lattice, which starts at pixel (0, 0) of the raster.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Lattice, Rect

__all__ = ["MOST_SCALE", "Levels", "check_scales"]

# With larger scales, a pixel of a window shows too little of the ground that it covers.
MOST_SCALE = 64

# No real raster has so many rows of windows, but a damaged manifest may claim more, which would fill the memory.
MOST_ROWS = 10**6


def check_scales(scales: int | Iterable[int]) -> tuple[int, ...]:
    """Check scales, and return them in ascending order.

    Raises
    ------
    OptionError
        If they are not different whole numbers from 1 to `MOST_SCALE`, or 1 is missing.
    """
    given = [scales] if isinstance(scales, int | str) or not isinstance(scales, Iterable) else list(scales)
    if any(isinstance(scale, bool) or not hasattr(scale, "__index__") for scale in given):
        raise OptionError(f"scales are {scales!r}; give whole numbers such as (1, 2, 4).")
    numbers = sorted(operator.index(scale) for scale in given)
    if not numbers or numbers[0] < 1 or numbers[-1] > MOST_SCALE or len(set(numbers)) < len(numbers):
        raise OptionError(f"scales are {scales!r}; give different whole numbers from 1 to {MOST_SCALE}, such as (1, 2, 4).")
    if numbers[0] != 1:
        raise OptionError(
            f"scales are {scales!r}; add scale 1, which finds small objects and draws the edges. To use only coarser windows, "
            "give a larger window."
        )
    return tuple(numbers)


@dataclass(frozen=True, slots=True)
class Levels:
    """The windows of all scales; make them with `Levels.of`.

    Rows of windows are numbered through all scales by their upper edge; of equal upper edges the coarsest comes first.
    Therefore no window of a later row reaches above the next row. A window is identified by this row number and its column.
    With one scale, these are the row and the column in its lattice.

    Attributes
    ----------
    scales : tuple of int
        In ascending order, beginning with 1.
    lattices : tuple of Lattice
        The lattice of each scale.
    """

    scales: tuple[int, ...]
    lattices: tuple[Lattice, ...]
    _order: tuple[tuple[int, int], ...]
    _numbers: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, lattice: Lattice, scales: Sequence[int] = (1,)) -> Levels:
        """Make the windows of some scales.

        Parameters
        ----------
        lattice : Lattice
            Lattice of scale 1.
        scales : sequence of int, default (1,)
            As `check_scales` returns them. If a single window of a scale covers the whole raster, larger scales are dropped.

        Raises
        ------
        OptionError
            If there are too many rows of windows.
        """
        if lattice.rows > MOST_ROWS:
            raise OptionError(f"there are {lattice.rows:,} rows of windows, more than {MOST_ROWS:,}; give a larger window.")
        lattices = [lattice]
        for scale in scales[1:]:
            if len(lattices[-1]) == 1:
                break
            lattices.append(Lattice(lattice.shape, lattice.window * scale, lattice.overlap * scale))
        rows = [(level, row) for level, one in enumerate(lattices) for row in range(one.rows)]
        rows.sort(key=lambda place: (place[1] * lattices[place[0]].stride, -place[0]))
        numbers = [[0] * one.rows for one in lattices]
        for number, (level, row) in enumerate(rows):
            numbers[level][row] = number
        return cls(tuple(scales[: len(lattices)]), tuple(lattices), tuple(rows), tuple(map(tuple, numbers)))

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the raster in pixels."""
        return self.lattices[0].shape

    @property
    def rows(self) -> int:
        """Number of rows of windows, of all scales."""
        return len(self._order)

    @property
    def columns(self) -> tuple[int, ...]:
        """Number of windows in each row."""
        return tuple(self.lattices[level].columns for level, _ in self._order)

    def __len__(self) -> int:
        return sum(map(len, self.lattices))

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((row, column) for row, count in enumerate(self.columns) for column in range(count))

    def level(self, row: int) -> int:
        """Return the index of the scale of a row of windows."""
        return self._order[row][0]

    def number(self, level: int, own: int) -> int:
        """Return the number of a row, given the index of its scale and its number in the lattice of that scale."""
        return self._numbers[level][own]

    def locate(self, row: int) -> tuple[int, Lattice, int]:
        """Return the scale of a row, its lattice, and the number of the row in that lattice."""
        level, own = self._order[row]
        return self.scales[level], self.lattices[level], own

    def overlap(self, row: int) -> int:
        """Return the number of pixels that neighbouring windows of a row share."""
        return self.locate(row)[1].overlap

    def rect(self, row: int, column: int) -> Rect:
        """Return the rectangle of a window, which may reach past the right and the bottom of the raster."""
        _, lattice, own = self.locate(row)
        return lattice.rect(own, column)

    def core(self, row: int, column: int) -> Rect:
        """Return the core of a window in the lattice of its scale."""
        _, lattice, own = self.locate(row)
        return lattice.core(own, column)

    def points(self, row: int, column: int, per_side: int) -> NDArray[np.float64]:
        """Return the points in the core of a window, shape (N, 2); each scale has its own lattice of points."""
        _, lattice, own = self.locate(row)
        return lattice.points(own, column, per_side)

    def next_top(self, row: int) -> int | None:
        """Return the upper edge of the next row, above which no later window reaches; None after the last row."""
        return self.rect(row + 1, 0).y0 if row + 1 < self.rows else None

    def rows_at(self, y: int) -> set[int]:
        """Return the rows of windows that contain a line of pixels."""
        return {
            self._numbers[level][own]
            for level, lattice in enumerate(self.lattices)
            for own in _meeting(y, y + 1, lattice, lattice.rows)
        }

    def row_above(self, row: int) -> int | None:
        """Return the row of the same scale above this row; None for the first."""
        level, own = self._order[row]
        return self._numbers[level][own - 1] if own else None

    def row_below(self, row: int) -> int | None:
        """Return the row of the same scale below this row; None for the last."""
        level, own = self._order[row]
        return self._numbers[level][own + 1] if own + 1 < len(self._numbers[level]) else None

    def beside(self, row: int, column: int) -> Iterator[tuple[int, int]]:
        """Yield the up to eight neighbours of a window in the lattice of its scale."""
        columns = self.columns_of(row)
        for other in (self.row_above(row), row, self.row_below(row)):
            if other is not None:
                for place in range(max(column - 1, 0), min(column + 2, columns)):
                    if (other, place) != (row, column):
                        yield other, place

    def columns_of(self, row: int) -> int:
        """Return the number of windows in a row."""
        return self.locate(row)[1].columns

    def owner(self, row: int, x: int, y: int) -> tuple[int, int]:
        """Return the window whose core contains a pixel, in the scale of the given row."""
        level = self.level(row)
        own, column = self.lattices[level].owner(x, y)
        return self._numbers[level][own], column

    def meeting(self, rect: Rect) -> Iterator[tuple[int, int]]:
        """Yield the windows of all scales that share pixels with a rectangle of raster pixels."""
        for level, lattice in enumerate(self.lattices):
            columns = _meeting(rect.x0, rect.x1, lattice, lattice.columns)
            for row in _meeting(rect.y0, rect.y1, lattice, lattice.rows):
                yield from ((self._numbers[level][row], place) for place in columns)

    def across(self, row: int, column: int) -> Iterator[tuple[int, int]]:
        """Yield the windows of other scales that share pixels with this window."""
        own = self.level(row)
        yield from (window for window in self.meeting(self.rect(row, column)) if self.level(window[0]) != own)


def _meeting(low: int, high: int, lattice: Lattice, count: int) -> range:
    """Return the indices of the windows along an axis that share pixels with a span."""
    first = (low - lattice.window) // lattice.stride + 1
    return range(max(first, 0), min(-(-high // lattice.stride), count))
