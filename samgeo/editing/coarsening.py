"""Parts of a raster that keep their pixels inside objects and are coarser elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from samgeo.editing.edited_image import EditedImage
from samgeo.editing.objects_px import Holes
from samgeo.geo.grid import Rect

__all__ = ["Coarsener", "Mixed"]

# Number of coarse pixels on each side that determine an interpolated value, with one to spare.
REACH = 3

# Keys' cubic convolution with a = -1/2 (1981), as Pillow and GDAL have it.
SHARPNESS = -0.5


@dataclass(frozen=True, slots=True, eq=False)
class Mixed:
    """A part of a raster.

    Attributes
    ----------
    original : ndarray, shape (carried bands, h, w)
        The bands of the image.
    shown, invented : ndarray of bool, shape (h, w)
        Pixels that transparency and masks show, and pixels that the image marks as invented.
    exists : ndarray of bool, shape (C, h, w)
        Where a band with values has one.
    values : ndarray of float64, shape (C, h, w)
        The bands with values, coarser outside the objects, also where they have none.
    exact : ndarray of bool, shape (h, w)
        Where the values are those of the image.
    """

    original: NDArray[Any]
    shown: NDArray[np.bool_]
    invented: NDArray[np.bool_]
    exists: NDArray[np.bool_]
    values: NDArray[np.float64]
    exact: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Coarsener:
    """Replaces the pixels outside objects by the interpolated means of squares of pixels.

    Attributes
    ----------
    image : EditedImage
        The raster.
    objects : Holes
        The objects whose pixels are kept.
    factor : int
        Side of a square in pixels; the squares begin in the corner of the raster.
    feather_px : float
        Width in pixels of the transition around the objects.
    smooth : bool
        Whether the means are interpolated; otherwise all pixels of a square have its mean.
    """

    image: EditedImage
    objects: Holes
    factor: int
    feather_px: float
    smooth: bool

    def part(self, core: Rect) -> Mixed:
        """Return a rectangle within the raster; the result does not depend on how the raster is divided."""
        side = self.factor
        margin = max(REACH * side, int(np.ceil(self.feather_px)) + 2)
        x0, y0 = (max(start - margin, 0) // side * side for start in (core.x0, core.y0))
        rect = Rect(x0, y0, *(-(-(stop + margin) // side) * side for stop in (core.x1, core.y1))) & self.image.frame
        original, shown = self.image.read(rect)
        exists, invented = self.image.measured(original, shown)
        values = np.where(exists, original[list(self.image.values)], 0).astype(np.float64)
        means = (_means(*band, side) for band in zip(values, exists, strict=True))
        coarse = np.stack([_interpolated(*of_band, side, rect.shape, smooth=self.smooth) for of_band in means])
        inside = self.objects.draw(rect) > 0
        inner = core.slices_in(rect)
        if inside.any():
            distance = ndimage.distance_transform_edt(~inside)
            weight = np.clip((self.feather_px + 1 - distance) / (self.feather_px + 1), 0, 1)
        else:
            weight = np.zeros(rect.shape)
        mixed = np.where(exists, weight * values + (1 - weight) * coarse, coarse)
        mixed = np.where(inside & exists, values, mixed)
        bands = (slice(None), *inner)
        return Mixed(original[bands], shown[inner], invented[inner], exists[bands], mixed[bands], inside[inner])


def _means(values: NDArray[np.float64], exists: NDArray[np.bool_], side: int) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the means of the values in squares, and which squares have any."""
    edges = [np.arange(0, length, side) for length in values.shape]
    count = np.add.reduceat(np.add.reduceat(exists.astype(np.float64), edges[0], axis=0), edges[1], axis=1)
    sums = np.add.reduceat(np.add.reduceat(values, edges[0], axis=0), edges[1], axis=1)
    return sums / np.maximum(count, 1), count > 0


def _interpolated(
    means: NDArray[np.float64], there: NDArray[np.bool_], side: int, shape: tuple[int, int], *, smooth: bool
) -> NDArray[np.float64]:
    """Return the means of squares at all pixels; a square without values has those of the nearest one."""
    if not there.any():
        return np.zeros(shape)
    if not there.all():
        rows, columns = ndimage.distance_transform_edt(~there, return_distances=False, return_indices=True)
        means = means[rows, columns]
    if not smooth:
        return means.repeat(side, axis=0).repeat(side, axis=1)[: shape[0], : shape[1]]
    down, across = (_weights(length, count, side) for length, count in zip(shape, means.shape, strict=True))
    result: NDArray[np.float64] = _along(_along(means, *down).T, *across).T
    return result


def _along(values: NDArray[np.float64], places: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(sum(values[place] * weight[:, np.newaxis] for place, weight in zip(places, weights, strict=True)))


def _weights(length: int, count: int, side: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the four coarse pixels, and their weights, that determine each pixel along an axis, each of shape (4, length)."""
    position = (np.arange(length) + 0.5) / side - 0.5
    first = np.floor(position).astype(np.int64) - 1
    places = first + np.arange(4)[:, np.newaxis]
    distance = np.abs(position - places)
    near = ((SHARPNESS + 2) * distance - (SHARPNESS + 3)) * distance**2 + 1
    far = SHARPNESS * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0))
    return np.clip(places, 0, count - 1), weights
