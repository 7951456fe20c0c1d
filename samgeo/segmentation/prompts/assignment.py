"""Assignment of prompts to windows, groups of prompts that are answered together, and one object from several answers."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.levels import Levels
from samgeo.segmentation.masks.outline_prompts import interior_points
from samgeo.segmentation.masks.piece import Piece, Segment, place
from samgeo.segmentation.merge.merger import Merger
from samgeo.segmentation.merge.union import to_segment

__all__ = [
    "GROUP",
    "Index",
    "Prompts",
    "SoftMask",
    "WindowPrompt",
    "ask",
    "groups",
    "join",
    "windows_of",
]

Index = tuple[int, int]

# Number of prompts in a group. A mask takes some kilobytes, its outline a tenth of that.
GROUP = 4096


@dataclass(frozen=True, slots=True, eq=False)
class SoftMask:
    """Logits of an earlier answer, from which the next answer starts.

    Attributes
    ----------
    window : (int, int)
        Row and column of the window that gave the answer.
    logits : ndarray of float32, shape (h, w)
        Logits over the whole window, at the model's low resolution.
    level : int, default 0
        Which windows of the predictor: 0 for its own ones, higher numbers for the finer ones of ``zoom="auto"``, and lower
        numbers for those of coarser scales.
    """

    window: Index
    logits: NDArray[np.float32]
    level: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Prompts:
    """Prompts in raster pixels; row i of every attribute belongs to prompt i.

    Attributes
    ----------
    points : ndarray, shape (P, N, 2)
        x and y; NaN is padding.
    labels : ndarray of int64, shape (P, N)
        1 foreground, 0 background, -1 padding.
    boxes : ndarray, shape (P, 4)
        x0, y0, x1, y1; NaN if the prompt has no box.
    shapes : ndarray of shapely geometries or None, shape (P,)
        Rough outlines of the objects.
    outlined : bool
        Whether the box and an interior point of each shape are prompts too.
    earlier : tuple of SoftMask or None, length P
        Earlier answers.
    """

    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    boxes: NDArray[np.float64]
    shapes: NDArray[np.object_]
    outlined: bool
    earlier: tuple[SoftMask | None, ...]

    def __len__(self) -> int:
        return len(self.points)

    @classmethod
    def of_point(cls, point: NDArray[np.float64]) -> Prompts:
        """Return one prompt of one foreground point, shape (1, 2)."""
        nothing = np.full(1, None, dtype=np.object_)
        return cls(point[None], np.ones((1, 1), dtype=np.int64), np.full((1, 4), np.nan), nothing, False, (None,))

    def one(self, prompt: int) -> Prompts:
        """Return one of the prompts alone."""
        return self.some(np.array([prompt]))

    def some(self, numbers: NDArray[np.int64]) -> Prompts:
        """Return some of the prompts, which are numbered anew in the given order."""
        earlier = tuple(self.earlier[number] for number in numbers.tolist())
        return Prompts(
            self.points[numbers], self.labels[numbers], self.boxes[numbers], self.shapes[numbers], self.outlined, earlier
        )

    def moved_to(self, point: NDArray[np.float64]) -> Prompts:
        """Return the first prompt, which consists of points, with one point more, or instead of its only point, shape (2,)."""
        real = self.labels[0] >= 0
        points, labels = self.points[0][real], self.labels[0][real]
        if len(points) > 1:
            points, labels = np.concatenate([points, point[None]]), np.append(labels, 1)
        else:
            points, labels = point[None], np.ones(1, dtype=np.int64)
        return Prompts(points[None], labels[None], self.boxes[:1], self.shapes[:1], self.outlined, self.earlier[:1])

    def only_points(self, prompt: int) -> bool:
        """Whether a prompt consists only of points."""
        alone = self.shapes[prompt] is None and self.earlier[prompt] is None
        return alone and not np.isfinite(self.boxes[prompt]).any()

    def extent(self, prompt: int, frame: Rect) -> tuple[float, float, float, float] | str:
        """Return the bounding box of a prompt within the raster, or a text that says why there is none."""
        foreground = self.points[prompt][(self.labels[prompt] == 1) & np.isfinite(self.points[prompt]).all(axis=1)]
        around = [np.concatenate([foreground, foreground], axis=1), self.boxes[prompt][None]]
        if self.shapes[prompt] is not None:
            around.append(np.array(shapely.bounds(self.shapes[prompt]))[None])
        parts = np.concatenate(around)
        parts = parts[np.isfinite(parts).all(axis=1)]
        if self.earlier[prompt] is not None and not len(parts):
            return float(frame.x0), float(frame.y0), float(frame.x1), float(frame.y1)
        if not len(parts):
            return "no foreground point" if (self.labels[prompt] == 0).any() else "no geometry"
        limits = np.array([frame.x0, frame.y0, frame.x1, frame.y1])
        flat = (parts[:, :2] == parts[:, 2:]).all(axis=1)  # A point belongs to one pixel, a box has an area.
        clipped = np.concatenate([np.maximum(parts[:, :2], limits[:2]), np.minimum(parts[:, 2:], limits[2:])], axis=1)
        inside = (clipped[:, :2] < clipped[:, 2:]).all(axis=1)
        inside |= flat & (parts[:, :2] >= limits[:2]).all(axis=1) & (parts[:, :2] < limits[2:]).all(axis=1)
        if not inside.any():
            return "outside the raster"
        low, high = clipped[inside, :2].min(axis=0), clipped[inside, 2:].max(axis=0)
        return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def windows_of(lattice: Lattice, extent: tuple[float, float, float, float]) -> list[Index]:
    """Return the windows that answer a prompt with a given extent.

    If a window contains the extent, it is the window with the most context: the one in which the distance from the extent to
    the nearest window edge is largest, where edges of the raster do not count. Along an axis on which the extent is too large
    for any window, all windows are chosen whose cores it touches.

    Parameters
    ----------
    lattice : Lattice
        The windows.
    extent : (float, float, float, float)
        x0, y0, x1, y1 in raster pixels, within the raster.

    Examples
    --------
    >>> from samgeo.geo.grid import Lattice
    >>> from samgeo.segmentation.prompts.assignment import windows_of
    >>> lattice = Lattice((64, 160), window=64, overlap=32)
    >>> windows_of(lattice, (60, 30, 70, 40))  # fits into a window
    [(0, 1)]
    >>> windows_of(lattice, (10, 30, 150, 40))  # wider than a window
    [(0, 0), (0, 1), (0, 2), (0, 3)]
    """
    x0, y0, x1, y1 = extent
    rows = _along(lattice, y0, y1, lattice.rows, lattice.shape[0])
    columns = _along(lattice, x0, x1, lattice.columns, lattice.shape[1])
    return [(row, column) for row in rows for column in columns]


def _along(lattice: Lattice, low: float, high: float, count: int, length: int) -> list[int]:
    window, stride = lattice.window, lattice.stride
    first, last = max(int((low - window) // stride), 0), min(int(high // stride), count - 1)
    best, most = first, -np.inf
    for index in range(first, last + 1):
        start, stop = index * stride, index * stride + window
        margin = min(low - start if index else np.inf, stop - high if stop < length else np.inf)
        if margin > most:
            best, most = index, margin
    if most >= 0:
        return [best]
    half = lattice.overlap / 2
    return [
        index
        for index in range(first, last + 1)
        if (index == 0 or index * stride + half < high) and (index == count - 1 or (index + 1) * stride + half > low)
    ]


@dataclass(frozen=True, slots=True, eq=False)
class WindowPrompt:
    """The part of a prompt that one window answers, in pixels of the window.

    Attributes
    ----------
    prompt : int
        Index of the prompt.
    points : ndarray, shape (N, 2)
        The points in the window, without padding.
    labels : ndarray of int64, shape (N,)
        1 foreground, 0 background.
    box : ndarray, shape (4,), or None
        Clipped to the window.
    shape : geometry or None
        Clipped to the window.
    earlier : ndarray, shape (h, w), or None
        Logits of an earlier answer of this window.
    """

    prompt: int
    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    box: NDArray[np.float64] | None
    shape: shapely.Geometry | None
    earlier: NDArray[np.float32] | None

    @property
    def kind(self) -> tuple[int, bool, bool]:
        """Number of points, has a box, has a mask. Prompts of the same kind can be decoded together."""
        return len(self.points), self.box is not None, self.shape is not None or self.earlier is not None


def ask(
    prompts: Prompts, prompt: int, index: Index, rect: Rect, valid: NDArray[np.bool_], *, scale: int = 1
) -> WindowPrompt | None:
    """Clip a prompt to a window. Return None if no part of it that could be an object is on data.

    Parameters
    ----------
    prompts : Prompts
        All prompts.
    prompt : int
        Index of the prompt.
    index : (int, int)
        Row and column of the window.
    rect : Rect
        The part of the window that is in the raster, in raster pixels.
    valid : ndarray of bool, shape (W, W)
        Where the window has data.
    scale : int, default 1
        Side of a pixel of ``valid`` in raster pixels.
    """
    origin = np.array([rect.x0, rect.y0])
    points, labels = prompts.points[prompt] - origin, prompts.labels[prompt]
    with np.errstate(invalid="ignore"):
        inside = (labels >= 0) & (points >= 0).all(axis=1) & (points < (rect.width, rect.height)).all(axis=1)
    points, labels = points[inside], labels[inside]
    column, row = points.astype(np.int64).T // scale
    on_data = valid[row, column] | (labels == 0)
    points, labels = points[on_data], labels[on_data]
    sides = np.array([0, 0, rect.width, rect.height], dtype=np.float64)
    shape = _clip(prompts.shapes[prompt], rect)
    box = _within(prompts.boxes[prompt] - np.tile(origin, 2), sides)
    if prompts.outlined and shape is not None:
        box = _within(_bounds(shape), sides)
        if not (labels == 1).any():
            points, labels = np.concatenate([points, interior_points([shape])]), np.append(labels, 1)
    earlier = prompts.earlier[prompt]
    logits = earlier.logits if earlier is not None and earlier.window == index else None
    region = box if box is not None else None if shape is None else _bounds(shape)
    meant = logits is not None if region is None else _any_valid(valid, region / scale)
    if not meant and not (labels == 1).any():
        return None
    if region is not None and not meant:
        return None
    return WindowPrompt(prompt, points, labels, box, shape, logits)


def _within(box: NDArray[np.float64], sides: NDArray[np.float64]) -> NDArray[np.float64] | None:
    low, high = np.maximum(box[:2], sides[:2]), np.minimum(box[2:], sides[2:])
    return np.concatenate([low, high]) if (low < high).all() else None


def _clip(shape: shapely.Geometry | None, rect: Rect) -> shapely.Geometry | None:
    if shape is None:
        return None
    parts = shapely.get_parts(shapely.intersection(shape, shapely.box(rect.x0, rect.y0, rect.x1, rect.y1)))
    # If the shape touches the edge of the window, the intersection may also contain points and lines.
    surfaces = shapely.multipolygons(parts[shapely.get_dimensions(parts) == 2])
    if shapely.is_empty(surfaces):
        return None
    moved: shapely.Geometry = shapely.transform(surfaces, lambda xy: xy - (rect.x0, rect.y0))
    return moved


def _bounds(shape: shapely.Geometry) -> NDArray[np.float64]:
    return np.asarray(shapely.bounds(shape), dtype=np.float64)


def _any_valid(valid: NDArray[np.bool_], box: NDArray[np.float64]) -> bool:
    x0, y0 = np.floor(box[:2]).astype(int)
    x1, y1 = np.ceil(box[2:]).astype(int)
    return bool(valid[y0:y1, x0:x1].any())


def join(pieces: Sequence[Piece], lattice: Lattice, extent: tuple[float, float, float, float]) -> Segment:
    """Make one object of the answers of several windows to one prompt.

    Pieces are joined as in automatic segmentation, by their agreement where two windows see the same place. If several objects
    result, the one with the most pixels inside the prompt's extent is returned.

    Parameters
    ----------
    pieces : sequence of Piece
        At least one; at most one for each window.
    lattice : Lattice
        The windows.
    extent : (float, float, float, float)
        Bounding box of the prompt, in raster pixels.
    """
    levels = _levels(lattice)
    if len(pieces) == 1:
        return to_segment(pieces, levels)
    region = Rect(int(extent[0]), int(extent[1]), int(np.ceil(extent[2])), int(np.ceil(extent[3])))
    rows = [piece.window[0] for piece in pieces]
    # The merger begins at the first row with a piece, so that the work does not depend on where the prompt is.
    merger = Merger(levels, row=min(rows))
    objects = []
    for row in range(min(rows), max(rows) + 1):
        objects += merger.add({piece.window[1]: [piece] for piece in pieces if piece.window[0] == row})
    objects += merger.close()
    return min(objects, key=lambda one: (-one.mask.clip(region).area, place(one)))


@lru_cache(maxsize=16)
def _levels(lattice: Lattice) -> Levels:
    """Return the windows of one scale; they are kept, because a raster has many rows of windows and many prompts."""
    return Levels.of(lattice)


def groups(prompts: Prompts, lattice: Lattice) -> Iterator[NDArray[np.int64]]:
    """Divide prompts into groups of neighbours.

    The prompts are ordered by the window of ``lattice`` in whose part of the raster their middle lies, row by row, so that
    neighbouring groups have few windows in common. Up to `GROUP` prompts are one group.

    Parameters
    ----------
    prompts : Prompts
        The prompts.
    lattice : Lattice
        Windows.

    Yields
    ------
    ndarray of int64
        The numbers of the prompts of a group, in rising order.
    """
    if len(prompts) <= GROUP:
        yield np.arange(len(prompts))
        return
    x, y = middles(prompts).T
    ends = lattice.rows - 1, lattice.columns - 1
    row, column = (
        np.clip(np.nan_to_num(at) // lattice.stride, 0, end).astype(np.int64) for at, end in zip((y, x), ends, strict=True)
    )
    order = np.lexsort((np.arange(len(prompts)), column, row))
    for start in range(0, len(order), GROUP):
        yield np.sort(order[start : start + GROUP])


def middles(prompts: Prompts) -> NDArray[np.float64]:
    """Return the middle of each prompt, shape (P, 2), in raster pixels; NaN for prompts without a place."""
    found = np.empty((len(prompts), 2))
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no number
        # A few at a time, because the copies take much more memory than the prompts.
        for begin in range(0, len(prompts), GROUP):
            some = slice(begin, begin + GROUP)
            points = np.where((prompts.labels[some] == 1)[..., None], prompts.points[some], np.nan)
            boxes = prompts.boxes[some].reshape(-1, 2, 2)
            outlines = shapely.bounds(prompts.shapes[some]).reshape(-1, 2, 2)
            found[some] = np.nanmean(np.concatenate([points, boxes, outlines], axis=1), axis=1)
    return found
