"""Prompts of an outline or a mask: a point inside it, and its drawing as logits that the model takes as a mask prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage

from samgeo.segmentation.masks.mask import Mask

__all__ = ["drawn", "interior_points", "soften", "soften_mask"]

# Logits of a drawn outline rise to SOFT_LOGIT over SOFT_PX low-resolution pixels. With larger logits the model would follow the
# outline exactly, but outlines are rough.
SOFT_PX, SOFT_LOGIT = 8.0, 4.0


def interior_points(shapes: Sequence[shapely.Geometry]) -> NDArray[np.float64]:
    """Return the point of each polygon that is farthest from its outline (the pole of inaccessibility), shape (P, 2)."""
    radii = shapely.maximum_inscribed_circle(np.asarray(shapes, dtype=np.object_), tolerance=0.25)
    return np.asarray(shapely.get_coordinates(shapely.get_point(radii, 0)), dtype=np.float64)


def soften(shape: shapely.Geometry, window: int, side: int) -> NDArray[np.float32]:
    """Draw a polygon as logits: 0 on its outline, positive inside and negative outside, similar to an answer of a model.

    Parameters
    ----------
    shape : geometry
        In pixels of the window.
    window : int
        Side of the window in raster pixels.
    side : int
        Side of the returned array.

    Returns
    -------
    ndarray of float32, shape (side, side)
    """
    return _soft_logits(drawn(shape, window, side))


def drawn(shape: shapely.Geometry, window: int, side: int) -> NDArray[np.bool_]:
    """Return the cells whose centres are in a polygon, shape (side, side); those that it touches if it has no centre.

    Parameters
    ----------
    shape, window, side
        As in `soften`.
    """
    how: dict[str, Any] = {"out_shape": (side, side), "transform": Affine.scale(window / side), "dtype": "uint8"}
    cells = rasterize([(shape, 1)], **how).astype(bool)
    return cells if cells.any() else rasterize([(shape, 1)], **how, all_touched=True).astype(bool)


def soften_mask(mask: Mask, window: int, side: int) -> NDArray[np.float32]:
    """Draw a mask in window pixels as logits, as `soften` draws a polygon.

    Parameters
    ----------
    mask : Mask
        In pixels of the window; not empty.
    window : int
        Side of the window in raster pixels.
    side : int
        Side of the returned array.

    Returns
    -------
    ndarray of float32, shape (side, side)
    """
    centres = ((np.arange(side) + 0.5) * window / side).astype(np.int64)
    y, start, stop = mask.runs.T.astype(np.int64)
    row = np.searchsorted(centres, y)
    at_centre = centres[row.clip(0, side - 1)] == y
    first, last = (np.searchsorted(centres, place[at_centre]) for place in (start, stop))
    cells = _filled(row[at_centre], first, last, side)
    if not cells.any():
        # The mask contains no centre of a cell, so the cells that it touches are used.
        cells = _filled(y * side // window, start * side // window, (stop - 1) * side // window + 1, side)
    return _soft_logits(cells)


def _filled(row: NDArray[np.int64], start: NDArray[np.int64], stop: NDArray[np.int64], side: int) -> NDArray[np.bool_]:
    """Return an array of ``side`` x ``side`` cells in which the cells from ``start`` to ``stop`` of each row are true."""
    steps = np.zeros((side, side + 1), dtype=np.int32)
    np.add.at(steps, (row, start), 1)
    np.add.at(steps, (row, stop), -1)
    filled: NDArray[np.bool_] = np.cumsum(steps, axis=1)[:, :-1] > 0
    return filled


def _soft_logits(cells: NDArray[np.bool_]) -> NDArray[np.float32]:
    inwards, outwards = ndimage.distance_transform_edt(cells), ndimage.distance_transform_edt(~cells)
    distance = np.where(cells, inwards - 0.5, 0.5 - outwards)
    return (np.clip(distance / SOFT_PX, -1, 1) * SOFT_LOGIT).astype(np.float32)
