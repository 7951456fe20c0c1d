"""Masks as runs: a mask stores the ranges of foreground pixels in each row, and never a full image.

For set operations every pixel gets a position on one line: pixel ``(y, x)`` has the position ``y * 2**32 + (x + 2**31)``. A row
of the line is longer than any range of int32, so runs of different rows never touch, and positions fit into int64.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect

__all__ = ["Mask", "intersection_area", "intersection_areas", "iou", "union"]

_ROW_BITS = 32
_ROW = 1 << _ROW_BITS
_HALF = 1 << (_ROW_BITS - 1)
_INT32 = np.iinfo(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """A set of pixels, stored as runs along rows.

    Two masks are equal if they hold the same pixels. ``a & b`` holds the pixels that are in both masks, ``a - b`` those that
    are only in ``a``.

    Attributes
    ----------
    runs : ndarray of int32, shape (N, 3)
        ``(y, x_start, x_stop)`` with ``x_stop`` exclusive, sorted by ``y``, then ``x_start``. Runs of a row neither overlap nor
        touch, so that equal sets of pixels have equal runs. Coordinates are raster pixels and may be any int32.

    Raises
    ------
    OptionError
        If ``runs`` has another dtype or shape. The order of the runs is not checked; the caller must ensure it.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation.masks.mask import Mask
    >>> mask = Mask.from_array(np.array([[0, 1, 1], [1, 0, 1]], dtype=bool))
    >>> mask.runs.tolist()
    [[0, 1, 3], [1, 0, 1], [1, 2, 3]]
    >>> mask.area
    4
    """

    runs: NDArray[np.int32]

    def __post_init__(self) -> None:
        if self.runs.dtype != np.int32 or self.runs.ndim != 2 or self.runs.shape[1] != 3:
            raise OptionError(
                f"runs of a mask are {self.runs.dtype} of shape {self.runs.shape}; "
                "give int32 of shape (N, 3), or use Mask.from_array."
            )

    @classmethod
    def from_array(cls, array: NDArray[np.bool_], x0: int = 0, y0: int = 0) -> Mask:
        """Make a mask from a boolean array.

        Parameters
        ----------
        array : ndarray of bool, shape (h, w)
            True is foreground.
        x0, y0 : int, default 0
            Position of the array's first pixel in the raster, in pixels.

        Returns
        -------
        Mask

        Raises
        ------
        OptionError
            If ``array`` is not boolean or not two-dimensional.
        """
        if array.dtype != np.bool_ or array.ndim != 2:
            raise OptionError(f"a mask's array is {array.dtype} of shape {array.shape}; give bool of shape (height, width).")
        height, width = array.shape
        # A background column on either side makes every run end in its own row, so that starts and stops alternate.
        padded = np.zeros((height, width + 2), dtype=np.bool_)
        padded[:, 1:-1] = array
        flat = padded.ravel()
        changes = np.flatnonzero(flat[1:] != flat[:-1])
        y, x_start = np.divmod(changes[0::2], width + 2)
        runs = np.empty((len(y), 3), dtype=np.int32)
        runs[:, 0] = y + y0
        runs[:, 1] = x_start + x0
        runs[:, 2] = x_start + (changes[1::2] - changes[0::2]) + x0
        return cls(runs)

    def to_array(self, rect: Rect) -> NDArray[np.bool_]:
        """Return the part of the mask in a rectangle as a boolean array.

        Parameters
        ----------
        rect : Rect
            The rectangle, in raster pixels.

        Returns
        -------
        ndarray of bool, shape ``rect.shape``
            True is foreground.
        """
        height, width = rect.shape
        runs = self.clip(rect).runs.astype(np.int64)
        bounds = ((runs[:, :1] - rect.y0) * width + runs[:, 1:] - rect.x0).ravel()
        lengths = np.diff(bounds, prepend=0, append=height * width)
        values = np.zeros(len(lengths), dtype=np.bool_)
        values[1::2] = True
        return np.repeat(values, lengths).reshape(height, width)

    @property
    def rect(self) -> Rect:
        """The smallest rectangle that contains the mask; ``Rect(0, 0, 0, 0)`` if the mask is empty."""
        if self.is_empty:
            return Rect(0, 0, 0, 0)
        y, start, stop = self.runs.T
        return Rect(int(start.min()), int(y[0]), int(stop.max()), int(y[-1]) + 1)

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return int(np.subtract(self.runs[:, 2], self.runs[:, 1], dtype=np.int64).sum())

    @property
    def is_empty(self) -> bool:
        """Whether the mask has no pixel."""
        return len(self.runs) == 0

    def clip(self, rect: Rect) -> Mask:
        """Return the part of the mask in ``rect``, which is in raster pixels."""
        low, high = np.searchsorted(self.runs[:, 0], (rect.y0, rect.y1))
        runs = self.runs[low : max(low, high)]
        start, stop = np.maximum(runs[:, 1], rect.x0), np.minimum(runs[:, 2], rect.x1)
        inside = start < stop
        return Mask(np.stack([runs[inside, 0], start[inside], stop[inside]], axis=1).astype(np.int32, copy=False))

    def shift(self, dx: int, dy: int) -> Mask:
        """Return the mask moved ``dx`` pixels to the right and ``dy`` pixels down.

        Raises
        ------
        OptionError
            If a coordinate would leave the range of int32.
        """
        rect = self.rect
        if min(rect.x0 + dx, rect.y0 + dy) < _INT32.min or max(rect.x1 + dx, rect.y1 + dy) > _INT32.max:
            raise OptionError(
                f"moving a mask at {rect} by ({dx}, {dy}) exceeds the int32 range of pixel coordinates; move it less."
            )
        return self if self.is_empty else Mask((self.runs + np.array([dy, dx, dx])).astype(np.int32))

    def scaled(self, factor: int) -> Mask:
        """Return the mask with every pixel replaced by a square of ``factor`` x ``factor`` pixels, from pixel (0, 0) on."""
        runs = np.repeat(self.runs * np.int32(factor), factor, axis=0)
        order = np.arange(len(runs))
        if factor > 1 and len(runs):
            # Repeating gives the rows of each run one after the other. They are sorted by row, then by start.
            runs[:, 0] += np.tile(np.arange(factor, dtype=np.int32), len(self.runs))
            order = np.lexsort([runs[:, 1], runs[:, 0]])
        return Mask(runs[order])

    def __and__(self, other: Mask) -> Mask:
        return _covered((self, other), times=2)

    def __sub__(self, other: Mask) -> Mask:
        if self.is_empty or other.is_empty:
            return self
        return _swept([(self.runs, 1), (other.runs, -1)], depth=1)

    def __eq__(self, other: object) -> bool:
        return np.array_equal(self.runs, other.runs) if isinstance(other, Mask) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.runs.tobytes())


def intersection_area(a: Mask, b: Mask) -> int:
    """Return the number of pixels that two masks share.

    A cumulative sum gives the length of ``a`` up to a position on the line. The pixels that a run of ``b`` shares with ``a``
    are the difference of this sum between its start and its stop.

    Parameters
    ----------
    a, b : Mask
        In the same raster pixels.

    Returns
    -------
    int
        Number of pixels in both masks.
    """
    if a.is_empty or b.is_empty:
        return 0
    return int(_covered_lengths(*_line(a.runs), np.stack(_line(b.runs))).sum())


def _covered_lengths(start: NDArray[np.int64], stop: NDArray[np.int64], places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the length that sorted runs cover in each span from ``places[0]`` to ``places[1]`` on a line."""
    length = stop - start
    before = np.cumsum(length) - length
    index = np.searchsorted(start, places, side="right") - 1
    run = np.maximum(index, 0)
    covered = np.where(index < 0, 0, before[run] + np.minimum(places - start[run], length[run]))
    result: NDArray[np.int64] = covered[1] - covered[0]
    return result


def intersection_areas(
    masks: Sequence[Mask], others: Sequence[Mask], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the number of pixels that each of many pairs of masks share, in one pass over the runs of all pairs.

    Parameters
    ----------
    masks, others : sequence of Mask
        In the same raster pixels. Masks that are named in a pair must not be empty.
    first, second : ndarray of int64, shape (P,)
        The pairs: pair ``p`` is ``masks[first[p]]`` and ``others[second[p]]``.

    Returns
    -------
    ndarray of int64, shape (P,)
        Number of pixels in both masks of each pair.
    """
    if not len(first):
        return np.zeros(0, dtype=np.int64)
    a, of_a = _gathered(masks, first)
    b, of_b = _gathered(others, second)
    left = min(int(a[:, 1].min()), int(b[:, 1].min()))
    width = max(int(a[:, 2].max()), int(b[:, 2].max())) - left + 1
    # Each pair gets its own band of rows, so that one sorted line of positions holds all pairs.
    heads_a, heads_b = _heads(of_a), _heads(of_b)
    top = np.minimum(a[heads_a, 0], b[heads_b, 0])
    tails_a, tails_b = np.append(heads_a[1:], len(a)) - 1, np.append(heads_b[1:], len(b)) - 1
    height = np.maximum(a[tails_a, 0], b[tails_b, 0]) - top + 1
    band = np.cumsum(height) - height - top
    start, stop = (band[of_a] + a[:, 0]) * width - left + a[:, 1:].T
    places = (band[of_b] + b[:, 0]) * width - left + b[:, 1:].T
    return np.add.reduceat(_covered_lengths(start, stop, places), heads_b)


def _gathered(masks: Sequence[Mask], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the runs of the chosen masks, one mask after the other, and for each run the index in ``chosen``."""
    runs = [masks[index].runs for index in chosen.tolist()]
    return np.concatenate(runs).astype(np.int64), np.repeat(np.arange(len(runs)), [len(one) for one in runs])


def _heads(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the index of the first occurrence of each number in a rising sequence."""
    return np.flatnonzero(np.diff(numbers, prepend=-1))


def iou(a: Mask, b: Mask) -> float:
    """Return the intersection over union of two masks; 0.0 if both are empty.

    Parameters
    ----------
    a, b : Mask
        In the same raster pixels.

    Returns
    -------
    float
        From 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.segmentation.masks.mask import Mask, iou
    >>> square = Mask.from_array(np.ones((2, 2), dtype=bool))
    >>> round(iou(square, square.shift(1, 0)), 3)
    0.333
    """
    shared = intersection_area(a, b)
    total = a.area + b.area - shared
    return shared / total if total else 0.0


def union(masks: Iterable[Mask]) -> Mask:
    """Return the pixels that are in any of the masks.

    Parameters
    ----------
    masks : iterable of Mask
        In the same raster pixels. Without masks the result is empty.

    Returns
    -------
    Mask
    """
    return _covered(masks, times=1)


def _covered(masks: Iterable[Mask], times: int) -> Mask:
    """Return the pixels that are in at least ``times`` of the masks."""
    runs = [mask.runs for mask in masks if not mask.is_empty]
    if len(runs) < times:
        return Mask(np.empty((0, 3), dtype=np.int32))
    if len(runs) == 1:
        return Mask(runs[0])
    return _swept([(one, 1) for one in runs], depth=times)


def _swept(runs: Sequence[tuple[NDArray[np.int32], int]], depth: int) -> Mask:
    """Return the pixels at which the sum of the weights of the runs that contain them is at least ``depth``."""
    start, stop = _line(np.concatenate([one for one, _ in runs]))
    weight = np.repeat([weight for _, weight in runs], [len(one) for one, _ in runs])
    places, steps = np.concatenate([start, stop]), np.concatenate([weight, -weight])
    order = np.argsort(places, kind="stable")
    places = places[order]
    reached = np.cumsum(steps[order])
    # The depth after a position counts all runs that start or stop there. So runs that touch are joined, and none has length 0.
    last = np.append(places[1:] != places[:-1], True)
    places, inside = places[last], reached[last] >= depth
    changes = places[np.diff(inside, prepend=False)]
    y, x_start = np.divmod(changes[0::2], _ROW)
    x_stop = changes[1::2] - y * _ROW
    return Mask(np.stack([y, x_start - _HALF, x_stop - _HALF], axis=1).astype(np.int32))


def _line(runs: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    row = runs[:, 0].astype(np.int64) * _ROW + _HALF
    return row + runs[:, 1], row + runs[:, 2]
