"""What windows of coarser scales answer for: what finer ones do not see whole, as far as coarse pixels show it."""

from __future__ import annotations

import numpy as np

from samgeo.segmentation.masks.mask import Mask, union

__all__ = ["leave_to_finer", "thick_part"]

# An edge may lie anywhere in the pixels that it runs through: of a mask that is mostly edge, nothing can be said.
LEAST_INNER_SHARE = 0.5

_NOTHING = Mask(np.empty((0, 3), dtype=np.int32))


def leave_to_finer(mask: Mask, scale: int, overlap: int) -> Mask:
    """Return a mask of a coarser scale, or an empty one where the object is left to the next finer scale.

    Parameters
    ----------
    mask : Mask
        In raster pixels.
    scale : int
        Raster pixels along the side of one that the model saw.
    overlap : int
        Of the windows of the next finer scale, in raster pixels: what is no larger is always whole in one of these, and what
        they made of it counts. So it is for a small piece that the edge of its own window cuts: what it is part of is small
        too, or the neighbour sees more of it.
    """
    if max(mask.rect.shape) <= overlap:
        return _NOTHING
    inner = mask
    for step in ((scale, 0), (-scale, 0), (0, scale), (0, -scale)):
        inner = inner & mask.shift(*step)
    return mask if inner.area >= LEAST_INNER_SHARE * mask.area else _NOTHING


def thick_part(mask: Mask, side: int) -> Mask:
    """Return the pixels of a mask that lie in any square of ``side`` x ``side`` pixels within it: its morphological opening."""
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
    """Return the steps by which a pixel grows to a line of ``side`` pixels, or a line shrinks to one."""
    steps, reached = [], 1
    while reached < side:
        steps.append(min(reached, side - reached))
        reached += steps[-1]
    return steps
