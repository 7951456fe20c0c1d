"""Removal of small holes and small parts of masks.

`fill_and_drop` works on masks of a window as SAM does it. `drop_specks` works on whole objects and agrees with their polygons.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import Segment

__all__ = [
    "MIN_HOLE",
    "MIN_PART",
    "check_region_sizes",
    "components",
    "connected_runs",
    "drop_specks",
    "fill_and_drop",
    "without_specks",
]

Ints = NDArray[np.int64]

MIN_PART = 5
"""Default area of the smallest separate part of an object that is kept, in pixels that the model sees."""

MIN_HOLE = 5
"""Default area of the smallest hole of an object that is kept, in pixels that the model sees."""


def fill_and_drop(mask: Mask, min_pixels: int, frame: Rect | None = None) -> tuple[Mask, bool]:
    """Fill the holes of a mask, then drop its islands, if they are smaller than ``min_pixels``.

    The procedure is ``remove_small_regions`` of segment_anything's ``utils/amg.py``, first for holes, then for islands. Pixels
    that touch at a corner are connected, in holes and in islands. If every island is too small, the largest is kept (among
    equal ones, the first in reading order).

    Parameters
    ----------
    mask : Mask
        In any pixels.
    min_pixels : int
        Regions with fewer pixels are removed; 0 and 1 change nothing.
    frame : Rect, optional
        The image, in the mask's pixels. Background that is enclosed by the mask and the edge of the image is then a hole too,
        as in the reference. By default only background that the mask alone encloses is a hole.

    Returns
    -------
    mask : Mask
        The cleaned mask.
    changed : bool
        Whether any region was too small. Like the flag of the reference, it is also true if a single small island is kept.

    Raises
    ------
    OptionError
        If the mask reaches beyond ``frame``.
    """
    if mask.is_empty or min_pixels <= 1:
        return mask, False
    rect = mask.rect
    if frame is not None and rect not in frame:
        raise OptionError(f"a mask at {rect} extends beyond its frame {frame}; clip the mask to the frame first.")
    # One row or column of background on each side represents all rows or columns up to the frame, and its pixels are weighted
    # by their number. Without a frame, the weight makes the outside larger than any small region.
    top, bottom, left, right = (
        (min_pixels,) * 4 if frame is None else (rect.y0 - frame.y0, frame.y1 - rect.y1, rect.x0 - frame.x0, frame.x1 - rect.x1)
    )
    grown = Rect(rect.x0 - (left > 0), rect.y0 - (top > 0), rect.x1 + (right > 0), rect.y1 + (bottom > 0))
    rows, columns = _counts(rect.height, top, bottom), _counts(rect.width, left, right)
    array = mask.to_array(grown)
    holes, small_holes, _ = _regions(~array, np.outer(rows, columns), min_pixels)
    array |= small_holes[holes]
    islands, small_islands, largest = _regions(array, np.outer(rows, columns), min_pixels)
    if not (small_holes.any() or small_islands.any()):
        return mask, False
    keep = ~small_islands
    keep[0] = False
    if not keep.any():
        keep[largest] = True
    array = keep[islands]
    if frame is not None and np.count_nonzero(array) > np.count_nonzero(array[rect.slices_in(grown)]):
        array, grown = np.repeat(np.repeat(array, rows, axis=0), columns, axis=1), frame
    return Mask.from_array(array, grown.x0, grown.y0), True


def components(mask: Mask) -> list[Mask]:
    """Return the 8-connected regions of a mask, in reading order."""
    rect = mask.rect
    regions, count = ndimage.label(mask.to_array(rect), structure=np.ones((3, 3), dtype=np.bool_))
    if count < 2:
        return [mask] * count
    boxes = ndimage.find_objects(regions)
    return [
        Mask.from_array(regions[box] == number, rect.x0 + box[1].start, rect.y0 + box[0].start)
        for number, box in enumerate(boxes, 1)
    ]


def drop_specks(masks: Sequence[Mask], min_parts: Sequence[float], min_holes: Sequence[float]) -> list[Mask]:
    """Fill the small holes of whole objects, then drop their small parts.

    Parts and holes are those of the polygons that `vectorize.polygons` draws: pixels that touch only at a corner are not
    connected, in parts and in holes. A filled hole may join two parts, and its pixels count. A dropped part leaves no new hole.
    A second call changes nothing.

    Parameters
    ----------
    masks : sequence of Mask
        In any pixels.
    min_parts : sequence of float
        For each mask: parts with fewer pixels are dropped, except the largest one (among equal ones, the first in reading
        order).
    min_holes : sequence of float
        For each mask: holes with fewer pixels are filled.

    Returns
    -------
    list of Mask
        Masks that do not change are returned as the same objects.
    """
    result = list(masks)
    chosen = [
        index
        for index, (mask, part, hole) in enumerate(zip(masks, min_parts, min_holes, strict=True))
        if not mask.is_empty and max(part, hole) > 1
    ]
    if not chosen:
        return result
    lines = _Lines.of([masks[index] for index in chosen])
    start, stop = lines.filled(np.array([min_holes[index] for index in chosen], dtype=np.float64))
    start, stop = lines.without_parts(start, stop, np.array([min_parts[index] for index in chosen], dtype=np.float64))
    if len(start) == len(lines.start) and np.array_equal(start, lines.start) and np.array_equal(stop, lines.stop):
        return result
    owner, before = lines.owner(start), lines.owner(lines.start)
    count, count_before = np.bincount(owner, minlength=len(chosen)), np.bincount(before, minlength=len(chosen))
    end, end_before = np.cumsum(count), np.cumsum(count_before)
    for number, index in enumerate(chosen):
        now = slice(end[number] - count[number], end[number])
        old = slice(end_before[number] - count_before[number], end_before[number])
        if not (np.array_equal(start[now], lines.start[old]) and np.array_equal(stop[now], lines.stop[old])):
            result[index] = lines.mask(number, start[now], stop[now])
    return result


def without_specks(segments: Sequence[Segment], min_part: float, min_hole: float, pixel_side: float = 1.0) -> list[Segment]:
    """Apply `drop_specks` to objects.

    Parameters
    ----------
    segments : sequence of Segment
        Whole objects, after merging.
    min_part, min_hole : float
        In pixels that the model sees; 0 keeps everything.
    pixel_side : float, default 1
        Side of such a pixel in raster pixels, at scale 1. It is multiplied by the scale of each object.

    Returns
    -------
    list of Segment
    """
    pixel = [(pixel_side * one.scale) ** 2 for one in segments]
    parts, holes = ([least * area for area in pixel] for least in (min_part, min_hole))
    masks = drop_specks([one.mask for one in segments], parts, holes)
    return [one if one.mask is mask else replace(one, mask=mask) for one, mask in zip(segments, masks, strict=True)]


def check_region_sizes(min_part: object, min_hole: object) -> None:
    """Check the smallest sizes of parts and holes.

    Raises
    ------
    OptionError
        If one is not a finite number of at least 0.
    """
    for name, value in (("min_part", min_part), ("min_hole", min_hole)):
        if isinstance(value, bool) or not isinstance(value, Real) or not 0 <= float(value) < float("inf"):
            raise OptionError(f"{name} is {value!r}; give a number of pixels, or 0 to keep everything.")


def connected_runs(start: Ints, stop: Ints, width: int) -> Ints:
    """Return the 4-connected component of each run.

    Parameters
    ----------
    start, stop : ndarray of int64, shape (N,)
        Runs as positions on a line, ``row * width + x``, sorted and not touching. If runs at the end of a row and at the start
        of the next row are not to be connected, at least one position of each row must be outside all runs.
    width : int
        Number of positions in a row.

    Returns
    -------
    ndarray of int64, shape (N,)
        Number of the component of each run, starting at 0.
    """
    first = np.searchsorted(stop, start + width, side="right")
    count = np.maximum(np.searchsorted(start, stop + width, side="left") - first, 0)
    upper = np.repeat(np.arange(len(count)), count)
    lower = np.arange(len(upper)) + np.repeat(first - (np.cumsum(count) - count), count)
    links = coo_array((np.ones(len(upper), dtype=np.bool_), (upper, lower)), shape=(len(count), len(count)))
    return np.asarray(connected_components(links, directed=False)[1], dtype=np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class _Lines:
    """Runs of many masks on one line of positions. Each mask has its own band of rows, with background all around it.

    Attributes
    ----------
    start, stop : ndarray of int64, shape (N,)
        Positions of all runs.
    width : int
        Number of positions in a row: the width of the widest mask, and one of background, which separates a row from the next.
    band : ndarray of int64, shape (M,)
        The first row of each mask's band, which is background.
    left, top : ndarray of int64, shape (M,)
        Corner of each mask, in its pixels.
    end : int
        The position after the last band.
    """

    start: Ints
    stop: Ints
    width: int
    band: Ints
    left: Ints
    top: Ints
    end: int

    @classmethod
    def of(cls, masks: Sequence[Mask]) -> _Lines:
        rects = [mask.rect for mask in masks]
        width = max(rect.width for rect in rects) + 1
        heights = np.array([rect.height for rect in rects], dtype=np.int64) + 1
        band = np.cumsum(heights) - heights
        left, top = (np.array([getattr(rect, name) for rect in rects], dtype=np.int64) for name in ("x0", "y0"))
        owner = np.repeat(np.arange(len(masks)), [len(mask.runs) for mask in masks])
        runs = np.concatenate([mask.runs for mask in masks]).astype(np.int64)
        line = (band[owner] + 1 + runs[:, 0] - top[owner]) * width + 1 - left[owner]
        return cls(line + runs[:, 1], line + runs[:, 2], width, band, left, top, int(heights.sum() + 1) * width)

    def owner(self, places: Ints) -> Ints:
        """Return the index of the mask in whose band each position is."""
        return np.searchsorted(self.band, places // self.width, side="right") - 1

    def mask(self, number: int, start: Ints, stop: Ints) -> Mask:
        """Return runs of one mask as a mask in its own pixels."""
        row, x = np.divmod(start, self.width)
        x += self.left[number] - 1
        y = row - self.band[number] - 1 + self.top[number]
        return Mask(np.stack([y, x, x + stop - start], axis=1).astype(np.int32))

    def filled(self, min_holes: NDArray[np.float64]) -> tuple[Ints, Ints]:
        """Return the runs after filling holes that are smaller than the limit of their mask."""
        gap_start, gap_stop = np.append(0, self.stop), np.append(self.start, self.end)
        hole = connected_runs(gap_start, gap_stop, self.width)
        size = np.bincount(hole, weights=gap_stop - gap_start)
        # A gap within a row is in the band of its mask. A gap that continues in the next row is connected to the outside.
        small = (hole != hole[0]) & (size[hole] < min_holes[self.owner(gap_start)])
        return self.start[~small[:-1]], self.stop[~small[1:]]

    def without_parts(self, start: Ints, stop: Ints, min_parts: NDArray[np.float64]) -> tuple[Ints, Ints]:
        """Return runs without the parts that are smaller than the limit of their mask; the largest part is kept."""
        part = connected_runs(start, stop, self.width)
        _, first = np.unique(part, return_index=True)
        owner = self.owner(start[first])
        size = np.bincount(part, weights=stop - start)
        keep = size >= min_parts[owner]
        order = np.lexsort([first, -size, owner])
        keep[order[np.flatnonzero(np.diff(owner[order], prepend=-1))]] = True
        return start[keep[part]], stop[keep[part]]


def _counts(length: int, before: int, after: int) -> NDArray[np.int64]:
    """Return how many rows (or columns) of the image each row (or column) of the array represents."""
    counts = np.ones(length, dtype=np.int64)
    return np.concatenate([[before] * (before > 0), counts, [after] * (after > 0)]).astype(np.int64)


def _regions(
    array: NDArray[np.bool_], weights: NDArray[np.int64], min_pixels: int
) -> tuple[NDArray[np.integer], NDArray[np.bool_], int]:
    """Return 8-connected regions numbered from 1, which numbers are small, and the number of the largest region."""
    regions, _ = ndimage.label(array, structure=np.ones((3, 3), dtype=np.bool_))
    sizes = np.bincount(regions.ravel(), weights=weights.ravel())
    small = sizes < min_pixels
    small[0] = False
    sizes[0] = -1
    return regions, small, int(np.argmax(sizes))
