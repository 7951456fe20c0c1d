"""A raster that is read on the grid of another raster, which has another CRS or resolution, or is shifted against it.

The positions of pixels are transformed exactly at every 32nd pixel of the target grid and interpolated between these. Values
are interpolated bilinearly; where the raster is finer than the grid, these are the means of squares of its pixels. All of this
depends on the position in the grid alone, so that a pixel has the same value whichever rectangle is read.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import ndimage

from samgeo.geo.coordinates.antimeridian import near_centre, period_of
from samgeo.geo.coordinates.pixel_coordinates import crs_of, middle_x, same_crs, transformer
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import Band

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.geo.raster.sources.file_source import FileSource

__all__ = ["WarpedSource"]

# Positions are transformed exactly at each so many pixels along both axes.
NODE_PX = 32
# Pixels around the needed part that bilinear interpolation may touch.
MARGIN_PX = 2
# A pixel is valid if at least this share of the weights of its neighbours belongs to valid pixels.
LEAST_VALID = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class WarpedSource:
    """An opened raster on another grid, as the source of a raster of three bands of bytes.

    Attributes
    ----------
    raster : Raster
        The raster, with its bands, stretch and nodata values, which are applied before the pixels are interpolated.
    geobox : GeoBox
        The grid on which the raster is read. If one of the two has no CRS, pixels of the grid are pixels of the raster.
    shift_px : (float, float)
        How far the content of the raster lies to the right and down of where it should be, in pixels of the grid. It is moved
        back by this.
    """

    raster: Raster
    geobox: GeoBox
    shift_px: tuple[float, float] = (0.0, 0.0)
    bands: tuple[Band, ...] = field(default=(Band("uint8"),) * 3, init=False)
    palette: None = field(default=None, init=False)

    @property
    def name(self) -> str:
        """See `Source`."""
        return self.raster.name

    @property
    def decimation(self) -> float:
        """See `Source`."""
        return max(self.raster.source.decimation / self._factor, 1.0)

    @property
    def block(self) -> tuple[int, int]:
        """See `Source`."""
        return self.raster.source.block

    @property
    def files(self) -> tuple[FileSource, ...]:
        """See `Source`."""
        return self.raster.source.files

    @property
    def _factor(self) -> int:
        """Side of the squares of pixels whose means are interpolated; 1 unless the raster is finer than the grid."""
        return max(math.floor(self._pixels_per_pixel + 1e-6), 1)

    @property
    def _pixels_per_pixel(self) -> float:
        """Number of pixels of the raster along a side of a pixel in the middle of the grid."""
        height, width = self.geobox.shape
        x, y = width / 2, height / 2
        places = self._exactly(np.array([[x, y], [x + 1, y], [x, y + 1]]))
        steps = places[1:] - places[0]
        size = math.sqrt(abs(float(np.linalg.det(steps))))
        return size if math.isfinite(size) and size > 0 else 1.0

    def overlaps(self) -> bool:
        """Return whether a part of the grid lies in the raster, by the places of 33 x 33 pixels all over the grid."""
        height, width = self.geobox.shape
        places = self._places(Rect(0, 0, int(width), int(height)), (33, 33))
        rows, columns = self.raster.shape
        return bool(((places > 0) & (places < (columns, rows))).all(axis=-1).any())

    def read(
        self, numbers: Sequence[int], rect: Rect, out_shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a rectangle that lies within the grid; see `Source.read`."""
        shape = rect.shape if out_shape is None else out_shape
        factor = self._factor
        places = self._places(rect, shape)
        pixels, valid = np.zeros((*shape, 3), dtype=np.uint8), np.zeros(shape, dtype=bool)
        needed = self._needed(places, factor)
        if not needed.is_empty:
            step = math.floor(min(rect.height / shape[0], rect.width / shape[1]))
            if step > 1:
                needed = needed & Rect(0, 0, self.raster.shape[1], self.raster.shape[0])
                small = (max(needed.height // (factor * step), 1), max(needed.width // (factor * step), 1))
                taken, known = self.raster.view(small, needed)
            else:
                taken, known = self.raster.read_coarse(needed, factor)
            scale = np.array([needed.width / taken.shape[1], needed.height / taken.shape[0]])
            at = (places - (needed.x0, needed.y0)) / scale - 0.5
            pixels, valid = _interpolated(taken, known, at)
        return np.moveaxis(pixels, -1, 0)[[number - 1 for number in numbers]], valid

    def _needed(self, places: NDArray[np.float64], factor: int) -> Rect:
        """Return the part of the raster that the pixels of a rectangle need, as whole squares; empty if there is none."""
        height, width = self.raster.shape
        known = places[np.isfinite(places).all(axis=-1)]
        if not len(known):
            return Rect(0, 0, 0, 0)
        low, high = known.min(axis=0) - MARGIN_PX * factor, known.max(axis=0) + MARGIN_PX * factor
        low = np.floor(np.maximum(low, 0) / factor) * factor
        high = np.ceil(np.minimum(high, (width, height)) / factor) * factor
        if (high <= low).any():
            return Rect(0, 0, 0, 0)
        return Rect(int(low[0]), int(low[1]), int(high[0]), int(high[1]))

    def _places(self, rect: Rect, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return where the centres of the pixels of a rectangle lie in the raster, shape (h, w, 2), in pixels of the raster."""
        height, width = shape
        x = rect.x0 + (np.arange(width) + 0.5) * rect.width / width
        y = rect.y0 + (np.arange(height) + 0.5) * rect.height / height
        nodes_x, nodes_y = (
            np.arange(math.floor(values[0] / NODE_PX), math.floor(values[-1] / NODE_PX) + 2) * NODE_PX for values in (x, y)
        )
        if len(nodes_x) > width and len(nodes_y) > height:  # so coarse that pixels are farther apart than nodes
            return self._exactly(np.stack(np.meshgrid(x, y), axis=-1))
        nodes = self._exactly(np.stack(np.meshgrid(nodes_x, nodes_y), axis=-1).astype(np.float64))
        column, row = ((values / NODE_PX).astype(np.int64) - int(first) // NODE_PX for values, first in
                       ((x, nodes_x[0]), (y, nodes_y[0])))  # fmt: skip
        right = ((x - nodes_x[column]) / NODE_PX)[None, :, None]
        down = ((y - nodes_y[row]) / NODE_PX)[:, None, None]
        upper, lower = (nodes[below][:, column] * (1 - right) + nodes[below][:, column + 1] * right for below in (row, row + 1))
        result: NDArray[np.float64] = np.asarray(upper * (1 - down) + lower * down, dtype=np.float64)
        return result

    def _exactly(self, xy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform places in the grid, shape (..., 2), to pixels of the raster; infinite where they are not defined."""
        moved = xy + np.array(self.shift_px)
        own, other = crs_of(self.geobox), crs_of(self.raster.geobox)
        if own is None or other is None:
            return np.asarray(moved, dtype=np.float64)
        x, y = _applied(self.geobox.affine, moved[..., 0], moved[..., 1])
        if not same_crs(own, other):
            x, y = transformer(own, other)(x, y)
        x = near_centre(np.asarray(x), middle_x(self.raster.geobox), period_of(other))
        with np.errstate(invalid="ignore"):
            return np.stack(_applied(~self.raster.geobox.affine, x, np.asarray(y)), axis=-1)


def _applied(affine: Affine, x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return affine.a * x + affine.b * y + affine.c, affine.d * x + affine.e * y + affine.f


def _interpolated(
    pixels: NDArray[np.uint8], valid: NDArray[np.bool_], at: NDArray[np.float64]
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Interpolate the valid pixels of an image bilinearly at places (x, y); the centre of the first pixel is (0, 0)."""
    at = np.where(np.isfinite(at), at, -1e6)
    # Rounding makes places that are equal up to the last bits of a transform equal.
    places = np.round(np.moveaxis(at[..., ::-1], -1, 0), 6)
    inside = valid.astype(np.float32)
    weight = ndimage.map_coordinates(inside, places, order=1, mode="grid-constant")
    # The outer half of a pixel at the edge has no second neighbour, and counts as much as the inner half.
    edge = ndimage.map_coordinates(np.ones_like(inside), places, order=1, mode="grid-constant")
    known = (weight > 0) & (weight >= LEAST_VALID * edge) & (edge >= 1 / 4)
    result = np.zeros((*known.shape, 3), dtype=np.uint8)
    for band in range(3):
        sums = ndimage.map_coordinates(pixels[..., band] * inside, places, order=1, mode="grid-constant")
        result[known, band] = np.clip(np.floor(sums[known] / weight[known] + 0.5), 0, 255)
    return result, known
