"""Small holes filled and small islands dropped."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.segment.masks import Mask

__all__ = ["components", "fill_and_drop"]


def fill_and_drop(mask: Mask, min_pixels: int, frame: Rect | None = None) -> tuple[Mask, bool]:
    """Fill the holes of a mask, then drop its islands, where they are smaller than ``min_pixels``.

    The procedure is ``remove_small_regions`` of segment_anything's ``utils/amg.py``, holes before islands. Pixels that touch
    at a corner belong together, in holes as in islands. If every island is too small, the largest stays (of equals, the
    first in reading order).

    Parameters
    ----------
    mask : Mask
        In any pixels.
    min_pixels : int
        Regions of fewer pixels go; 0 and 1 change nothing.
    frame : Rect, optional
        The image, in the mask's pixels. A pocket of background that the image's edge closes is then a hole too, as in the
        reference. By default only what the mask alone encloses is.

    Returns
    -------
    mask : Mask
        The cleaned mask.
    changed : bool
        Whether any region was too small: the reference's flag, which is also true of a single small island that stays.

    Raises
    ------
    OptionError
        If the mask reaches out of ``frame``.
    """
    if mask.is_empty or min_pixels <= 1:
        return mask, False
    rect = mask.rect
    if frame is not None and rect not in frame:
        raise OptionError(f"a mask at {rect} reaches out of its frame {frame}; clip the mask to the frame first.")
    # Beyond the mask one row or column of background stands for all of them: its pixels count for as many as it stands for.
    # Without a frame, what is outside is never small.
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
    """Return the regions of a mask that hang together, pixels that touch at a corner too, in reading order of their numbers."""
    from scipy import ndimage

    rect = mask.rect
    regions, count = ndimage.label(mask.to_array(rect), structure=np.ones((3, 3), dtype=np.bool_))
    if count < 2:
        return [mask] * count
    boxes = ndimage.find_objects(regions)
    return [
        Mask.from_array(regions[box] == number, rect.x0 + box[1].start, rect.y0 + box[0].start)
        for number, box in enumerate(boxes, 1)
    ]


def _counts(length: int, before: int, after: int) -> NDArray[np.int64]:
    """Return how many rows (columns) of the image each row (column) of the array stands for."""
    counts = np.ones(length, dtype=np.int64)
    return np.concatenate([[before] * (before > 0), counts, [after] * (after > 0)]).astype(np.int64)


def _regions(
    array: NDArray[np.bool_], weights: NDArray[np.int64], min_pixels: int
) -> tuple[NDArray[np.integer], NDArray[np.bool_], int]:
    """Return 8-connected regions numbered from 1, which of the numbers are small, and the number of the largest."""
    from scipy import ndimage

    regions, _ = ndimage.label(array, structure=np.ones((3, 3), dtype=np.bool_))
    sizes = np.bincount(regions.ravel(), weights=weights.ravel())
    small = sizes < min_pixels
    small[0] = False
    sizes[0] = -1
    return regions, small, int(np.argmax(sizes))
