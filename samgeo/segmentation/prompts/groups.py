"""Groups of prompts that are answered together, so that few masks are in memory at a time."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

if TYPE_CHECKING:
    from samgeo.geo.grid import Lattice
    from samgeo.segmentation.prompts.assignment import Prompts

__all__ = ["GROUP", "groups"]

# Number of prompts in a group. A mask takes some kilobytes, its outline a tenth of that.
GROUP = 4096


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
    points = np.where((prompts.labels == 1)[..., None], prompts.points, np.nan)
    boxes = prompts.boxes.reshape(-1, 2, 2)
    outlines = shapely.bounds(prompts.shapes).reshape(-1, 2, 2)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no number
        middle: NDArray[np.float64] = np.nanmean(np.concatenate([points, boxes, outlines], axis=1), axis=1)
    return middle
