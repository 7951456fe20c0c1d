"""Filters for masks of coarser scales.

They decide which objects are left to finer scales, and which parts of a mask are thick enough for coarse pixels.
"""

from __future__ import annotations

import numpy as np

from samgeo.segmentation.masks.mask import Mask, union

__all__ = ["is_thick", "leave_to_finer", "thick_part"]

# The position of an edge within its coarse pixels is unknown. A mask that consists mostly of edge pixels is unreliable.
LEAST_INNER_SHARE = 0.5

_NOTHING = Mask(np.empty((0, 3), dtype=np.int32))


def leave_to_finer(mask: Mask, scale: int, overlap: int) -> Mask:
    """Return a mask of a coarser scale, or an empty mask if the object is left to the next finer scale.

    Parameters
    ----------
    mask : Mask
        In raster pixels.
    scale : int
        Side of one pixel that the model sees, in raster pixels.
    overlap : int
        Overlap of the windows of the next finer scale, in raster pixels. An object that is not larger is completely visible in
        one of these windows, and their result is used. This is also right for a small piece that the edge of its window cuts:
        either its object is small too, or the neighbouring window shows more of it.
    """
    return mask if max(mask.rect.shape) > overlap and is_thick(mask, scale) else _NOTHING


def is_thick(mask: Mask, scale: int) -> bool:
    """Whether at least half of a mask remains without its outermost pixels, ``scale`` raster pixels on each side."""
    inner = mask
    for step in ((scale, 0), (-scale, 0), (0, scale), (0, -scale)):
        inner = inner & mask.shift(*step)
    return inner.area >= LEAST_INNER_SHARE * mask.area


def thick_part(mask: Mask, side: int) -> Mask:
    """Return the pixels of a mask that are in any square of ``side`` x ``side`` pixels within it (morphological opening)."""
    corners = mask
    for axis in ((-1, 0), (0, -1)):
        for step in _doubling(side):
            corners = corners & corners.shift(axis[0] * step, axis[1] * step)
    squares = corners
    for axis in ((1, 0), (0, 1)):
        for step in _doubling(side):
            squares = union([squares, squares.shift(axis[0] * step, axis[1] * step)])
    return squares


def _doubling(side: int) -> list[int]:
    """Return shifts that together extend a pixel to a line of ``side`` pixels, or shrink such a line to a pixel."""
    steps, reached = [], 1
    while reached < side:
        steps.append(min(reached, side - reached))
        reached += steps[-1]
    return steps
