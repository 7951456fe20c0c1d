"""Other dates of a raster, read at single pixels of its grid."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError, RasterError
from samgeo.geo.coordinates.pixel_coordinates import crs_of, same_crs, transformer
from samgeo.geo.grid import Rect
from samgeo.geo.raster.nodata import has_value
from samgeo.geo.raster.raster import Raster
from samgeo.geo.raster.sources.mosaic import offset_px
from samgeo.geo.raster.sources.opening import open_source
from samgeo.geo.raster.transparency import settle_alpha, settle_invented

if TYPE_CHECKING:
    from samgeo.editing.edited_image import EditedImage
    from samgeo.geo.raster.sources.base import Source
    from samgeo.types import RasterLike

__all__ = ["OtherDate", "median_of"]

# A finer date is read at a lower resolution where a part of it would have more than this number of times as many pixels a side.
MOST_FINER = 4

# Number of values whose median is computed at a time.
VALUES_AT_ONCE = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class OtherDate:
    """A raster of another date.

    Attributes
    ----------
    source : Source
        The raster; its mask leaves out invented pixels.
    numbers : tuple of int
        Numbers of the bands with values.
    offset : (int, int) or None
        x and y of its corner in pixels of the image, if the two have one grid.
    to_pixels : callable
        Converts x and y in continuous pixels of the image to those of the raster.
    """

    source: Source
    numbers: tuple[int, ...]
    offset: tuple[int, int] | None
    to_pixels: Callable[[NDArray[np.float64], NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]]

    @classmethod
    def open(cls, raster: RasterLike, image: EditedImage) -> OtherDate:
        """Open a raster of another date.

        Raises
        ------
        RasterError
            If it cannot be opened, or its bands do not fit those of the image.
        OptionError
            If it cannot be placed on the image.
        """
        opened, _ = settle_alpha(raster.source if isinstance(raster, Raster) else open_source(raster), None, None)
        source = settle_invented(opened, shows=False)
        numbers = tuple(number for number, band in enumerate(source.bands, 1) if not (band.is_alpha or band.is_marker))
        own = [source.bands[number - 1].dtype for number in numbers]
        wanted = [image.bands[place].dtype for place in image.values]
        if own != wanted or source.palette is not None:
            raise RasterError(
                f"{source.name} has {_count(own)}, and {image.name} has {_count(wanted)}; give dates with the same bands."
            )
        ours, theirs = crs_of(image.source.geobox), crs_of(source.geobox)
        if (ours is None) != (theirs is None):
            with_crs, without = (image.name, source.name) if theirs is None else (source.name, image.name)
            raise OptionError(
                f"{with_crs} has a CRS and {without} has none; assign the CRS of the latter (gdal_edit.py -a_srs)."
            )
        inward, outward = ~source.geobox.affine, image.source.geobox.affine
        transform = None if ours is None or theirs is None or same_crs(ours, theirs) else transformer(ours, theirs)
        offset = None
        if ours is None and outward.is_identity:
            if not inward.is_identity or tuple(source.geobox.shape) != tuple(image.source.geobox.shape):
                raise OptionError(
                    f"{image.name} has no georeference, and {source.name} does not have the same shape, so that it cannot be "
                    "placed; georeference both."
                )
            offset = (0, 0)
        elif transform is None:
            try:
                offset = offset_px(image.source, source)
            except RasterError:
                offset = None

        def to_pixels(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
            x, y = outward.a * x + outward.b * y + outward.c, outward.d * x + outward.e * y + outward.f
            if transform is not None:
                x, y = (np.asarray(axis, dtype=np.float64) for axis in transform(x, y))
            return inward.a * x + inward.b * y + inward.c, inward.d * x + inward.e * y + inward.f

        return cls(source, numbers, offset, to_pixels)

    def at(self, columns: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return the values at pixels of the image.

        Parameters
        ----------
        columns, rows : ndarray of int, shape (P,)
            Pixels of the image.

        Returns
        -------
        values : ndarray, shape (C, P)
            In the type of the bands on the same grid, otherwise float64 from linear interpolation.
        valid : ndarray of bool, shape (P,)
            Where all bands have values that are measured.
        """
        height, width = (int(length) for length in self.source.geobox.shape)
        if self.offset is not None:
            x, y = columns - self.offset[0], rows - self.offset[1]
            valid = (x >= 0) & (y >= 0) & (x < width) & (y < height)
            found = np.zeros((len(self.numbers), len(columns)), dtype=self.source.bands[self.numbers[0] - 1].dtype)
            if valid.any():
                rect = Rect(int(x[valid].min()), int(y[valid].min()), int(x[valid].max()) + 1, int(y[valid].max()) + 1)
                values, exists = self._read(rect, None)
                found[:, valid] = values[:, y[valid] - rect.y0, x[valid] - rect.x0]
                valid[valid] = exists[y[valid] - rect.y0, x[valid] - rect.x0]
            return found, valid
        across, down = self.to_pixels(columns.astype(np.float64) + 0.5, rows.astype(np.float64) + 0.5)
        valid = np.isfinite(across) & np.isfinite(down)
        valid[valid] = (across[valid] >= 0) & (down[valid] >= 0) & (across[valid] < width) & (down[valid] < height)
        found = np.zeros((len(self.numbers), len(columns)))
        if valid.any():
            found[:, valid], valid[valid] = self._interpolated(across[valid], down[valid], columns[valid], rows[valid])
        return found, valid

    def _interpolated(
        self, x: NDArray[np.float64], y: NDArray[np.float64], columns: NDArray[np.int64], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        height, width = (int(length) for length in self.source.geobox.shape)
        low, high = (np.array([edge(x), edge(y)]) for edge in (np.min, np.max))
        left, top = np.maximum(np.floor(low).astype(int) - 2, 0).tolist()
        right, bottom = np.minimum(np.floor(high).astype(int) + 3, (width, height)).tolist()
        rect = Rect(left, top, right, bottom)
        wanted = MOST_FINER * np.array([np.ptp(rows) + 5, np.ptp(columns) + 5])
        shape = tuple(np.minimum(rect.shape, wanted).astype(int).tolist())
        values, exists = self._read(rect, None if shape == rect.shape else (shape[0], shape[1]))
        x, y = (x - left) * shape[1] / rect.width - 0.5, (y - top) * shape[0] / rect.height - 0.5
        total, weights = np.zeros((len(values), len(x))), np.zeros(len(x))
        for step_y in (0, 1):
            for step_x in (0, 1):
                column, row = np.floor(x).astype(int) + step_x, np.floor(y).astype(int) + step_y
                weight = np.abs(1 - step_x - (x - np.floor(x))) * np.abs(1 - step_y - (y - np.floor(y)))
                # Half a pixel past the edge of the raster, its outermost pixels hold.
                column, row = np.clip(column, 0, shape[1] - 1), np.clip(row, 0, shape[0] - 1)
                is_used = exists[row, column] & (weight > 0)
                total[:, is_used] += weight[is_used] * values[:, row[is_used], column[is_used]]
                weights[is_used] += weight[is_used]
        # A value to which a pixel without data contributes is not used.
        valid = weights > 1 - 1e-6
        return total / np.where(valid, weights, 1.0), valid

    def _read(self, rect: Rect, shape: tuple[int, int] | None) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        values, shown = self.source.read(self.numbers, rect, shape)
        return values, has_value(values, [self.source.bands[number - 1].nodata for number in self.numbers]).all(axis=0) & shown


def median_of(
    dates: Sequence[OtherDate], columns: NDArray[np.int64], rows: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the median of dates at pixels of the image, and where at least one date has measured values.

    Parameters
    ----------
    dates : sequence of OtherDate
        At least one.
    columns, rows : ndarray of int, shape (P,)
        Pixels of the image.

    Returns
    -------
    values : ndarray of float64, shape (C, P)
        The mean of the two middle values for an even number of dates; 0 where there is none.
    valid : ndarray of bool, shape (P,)
        Where there is a value.
    """
    read = [date.at(columns, rows) for date in dates]
    found = np.zeros((len(read[0][0]), len(columns)))
    valid = np.logical_or.reduce([one for _, one in read])
    there = np.flatnonzero(valid)
    step = max(VALUES_AT_ONCE // (len(found) * len(read)), 1)
    for start in range(0, len(there), step):
        chosen = there[start : start + step]
        stacked = np.stack([np.where(one[chosen], values[:, chosen].astype(np.float64), np.nan) for values, one in read])
        found[:, chosen] = np.nanmedian(stacked, axis=0)
    return found, valid


def _count(types: Sequence[str]) -> str:
    return f"{len(types)} band{'' if len(types) == 1 else 's'} of the type {', '.join(sorted(set(types)))}"
