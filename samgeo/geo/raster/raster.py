"""A raster of any size and kind as the 8-bit RGB pictures that models see, read window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import choose_bands
from samgeo.geo.raster.coarse import read_squares
from samgeo.geo.raster.hints import picture_hints, tell
from samgeo.geo.raster.nodata import check_nodata, has_value
from samgeo.geo.raster.sources.base import OverviewSource
from samgeo.geo.raster.sources.mosaic import MosaicSource
from samgeo.geo.raster.sources.opening import open_source
from samgeo.geo.raster.sources.sampling import Sample, fit, flatten
from samgeo.geo.raster.stretch import Stretch, apply_stretch, check_stretch, percentile_stretch
from samgeo.geo.raster.transparency import check_alpha, settle_alpha, transparent_bands
from samgeo.types import BandsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.geo.raster.sources.base import Source

__all__ = ["Raster"]

# The stretch is taken from a decimated read with this longer side: 4 million pixels settle a percentile.
SAMPLE_SIDE = 2048

# Where decimating would touch more pixels than this, because there are no overviews, windows all over the raster are read
# instead: as many pixels, for a share of the reading.
SAMPLE_LIMIT = 2**28
SAMPLE_WINDOWS, SAMPLE_WINDOW = 16, 128

# What is decoded for it: where blocks are large, fewer windows are read, at least so many to a side.
SAMPLE_BYTES, LEAST_SAMPLE_WINDOWS = 2**31, 4


# Thousands of names would be most of a result of a few objects.
MOST_FILES_TOLD = 1000


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Raster:
    """A raster with its bands, stretch and nodata settled: an immutable value that any thread and process can read.

    It is made with `Raster.open`. Handles to files are opened by each thread and process for itself, when it first reads.

    A pixel is valid where at least one of the chosen bands has a value, as in GDAL's mask of a dataset, and neither an alpha
    band nor a mask hides it. A band has no value where it holds its nodata value, NaN or infinity.

    Attributes
    ----------
    source : Source
        Where pixels come from.
    bands : (int, int, int)
        The bands for red, green and blue, from 1.
    nodata : tuple of 3 float or None
        The value without data in each of them.
    stretch : tuple of 3 (low, high) or None
        The values of each that become 0 and 255, the same for the whole raster; None where values are used as they are.
    """

    source: Source
    bands: tuple[int, int, int]
    nodata: tuple[float | None, ...]
    stretch: tuple[Stretch, Stretch, Stretch] | None

    @classmethod
    @check_types
    def open(
        cls,
        source: RasterLike,
        *,
        bands: BandsLike = None,
        stretch: StretchLike = None,
        nodata: float | str | None = None,
        assets: str | Sequence[str] | None = None,
        alpha: int | str | None = None,
        check: bool = True,
    ) -> Raster:
        """Open a raster, or many on one grid as one.

        Parameters
        ----------
        source : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
            A file or address as rasterio takes it. A STAC Item or ItemCollection: a path or address that ends in ``.json``, one
            of a STAC API, a dict, or an object of pystac. Several of these, in a list, a tuple or a text file ``.txt`` with one
            a line: they share CRS, resolution, grid to a hundredth of a pixel, and bands; a pixel is that of the first one
            with data there. A DataArray with dimensions y and x, and perhaps one for bands, georeferenced as odc-geo reads it;
            an array of shape (H, W) or (H, W, C) without CRS; a raster, whose bands and nodata hold where no others are given,
            with its stretch taken anew.
        bands : sequence of 1 or 3 int or str, optional
            Numbers from 1, or names: descriptions or colour interpretations such as "red", in any case. By default red, green
            and blue by colour interpretation, else by description, else the first three bands, else the first one three
            times. Transparency is not chosen by default, and a band that is named here is none.
        stretch : (low, high) or three such pairs, optional
            Values that become 0 and 255. By default uint8 and paletted rasters stay as they are; others go by the 2nd and
            98th percentile of the valid pixels of each band, taken from at most some 4 million pixels all over the raster.
        nodata : float or "none", optional
            The value without data, instead of what the source says; "none" if there is none in spite of what it says.
        assets : str or sequence of str, optional
            Of STAC Items: the key of the raster, or keys of several whose bands together are one. By default the visual
            asset, else the only one with the role "data", else the only raster.
        alpha : int or str, optional
            The band of transparency by number, from 1, or by name: pixels where it is 0 have no data. "none" if no band is
            transparency. By default those that are tagged as alpha; but not a tagged band most of whose values lie between
            transparent and opaque, as those of near infrared do, which many files tag so.
        check : bool, default True
            Whether to look at a sample of some 500 pixels a side, and warn where the picture may not be what is meant. A lazy
            array is looked at only where its values are needed anyway, for a stretch.

        Warns
        -----
        RasterWarning
            If nearly all of the picture has one value, a value far from all others stands perhaps for no data, black or white
            without a nodata tag reaches the edge, or a band is tagged as transparency and is not taken for it. The message
            says which option changes it.

        Raises
        ------
        RasterError
            If the source cannot be opened, has no such bands, or holds something other than real numbers, or several files do
            not lie on one grid.
        OptionError
            If ``stretch``, ``nodata`` or ``alpha`` is malformed, or an Item has no such asset, or several and none is chosen.
        """
        explicit = None if stretch is None else check_stretch(stretch)
        override = check_nodata(nodata)
        alpha = check_alpha(alpha)
        if isinstance(source, Raster):
            if assets is not None:
                raise OptionError("assets are of STAC Items, and this raster is open already; give them when it is opened.")
            if bands is None and explicit is None and override is None and alpha is None:
                return source
            opened, hints = settle_alpha(source.source, bands, alpha)
            bands = source.bands if bands is None else bands
            override = source.nodata if override is None and bands == source.bands else override
        else:
            opened, hints = settle_alpha(open_source(source, assets), bands, alpha)
        chosen = choose_bands(opened.bands, bands, opened.name)
        if isinstance(opened, MosaicSource):
            opened = opened.seen_as(bands, chosen, override)
        values = override or tuple(opened.bands[number - 1].nodata for number in chosen)
        plain = cls(opened, chosen, values, explicit)
        is_bytes = all(opened.bands[number - 1].dtype == "uint8" for number in chosen)
        is_plain = explicit is not None or is_bytes or opened.palette is not None
        samples = None if is_plain else plain._samples()
        raster = plain if samples is None else replace(plain, stretch=plain._percentiles(samples))
        if check:
            given = {name for name, value in (("stretch", stretch), ("nodata", nodata), ("alpha", alpha)) if value is not None}
            tell([*hints, *picture_hints(raster, samples, given)])
        return raster

    @property
    def name(self) -> str:
        """Path or address as given, or the array's name; for messages and provenance."""
        return self.source.name

    @property
    def geobox(self) -> GeoBox:
        """Shape, affine and CRS; the CRS is None, and the affine the identity, where there is no georeference."""
        return self.source.geobox

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.source.geobox.shape
        return int(height), int(width)

    def __repr__(self) -> str:
        return f"Raster({self.name!r}, shape={self.shape}, bands={self.bands}, stretch={self.stretch})"

    def read(self, rect: Rect) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read a rectangle, which may reach past the raster.

        Parameters
        ----------
        rect : Rect
            In pixels.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB; 0 where not valid.
        valid : ndarray of bool, shape (h, w)
            False outside the raster and where there are no data.

        Raises
        ------
        RasterError
            If it cannot be read; the message names the rectangle.
        """
        pixels, valid = np.zeros((*rect.shape, 3), dtype=np.uint8), np.zeros(rect.shape, dtype=bool)
        inside = rect & self._frame
        if not inside.is_empty:
            where = inside.slices_in(rect)
            pixels[where], valid[where] = self.picture(*self.source.read(self.numbers, inside))
        return pixels, valid

    def view(self, size: int | tuple[int, int] = 1024, rect: Rect | None = None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read the whole raster, or a rectangle of it, decimated: from overviews where there are any.

        Parameters
        ----------
        size : int or (int, int), default 1024
            The longer side in pixels, if what is read is longer; or height and width.
        rect : Rect, optional
            In pixels, within the raster. All of it by default.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB; 0 where not valid.
        valid : ndarray of bool, shape (h, w)
            False where there are no data.

        Raises
        ------
        OptionError
            If the size is below 1, or the rectangle is empty or reaches past the raster.
        RasterError
            If it cannot be read.
        """
        part = self._frame if rect is None else rect
        if part.is_empty or part not in self._frame:
            raise OptionError(f"{part} is empty or reaches past the raster of shape {self.shape}; give pixels within it.")
        shape = fit(part.shape, size) if isinstance(size, int) else size
        if min(shape) < 1 or (isinstance(size, int) and size < 1):
            raise OptionError(f"size is {size}; give 1 pixel or more.")
        return self.picture(*self.source.read(self.numbers, part, shape))

    @check_types
    def read_coarse(self, rect: Rect, factor: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read a rectangle, which may reach past the raster, with squares of pixels as one: the mean of what is valid in each.

        Where every pixel has data for certain, values come from overviews that hold such means (`overviews`); all
        else is read from the pixels. What is valid is the same with and without overviews.

        Parameters
        ----------
        rect : Rect
            In pixels; its sides are multiples of ``factor``, and so is where it starts.
        factor : int
            Side of a square in pixels.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB; 0 where not valid.
        valid : ndarray of bool, shape (h, w)
            Where at least half of a square is valid, of what lies in the raster.

        Raises
        ------
        OptionError
            If the rectangle does not consist of such squares.
        RasterError
            If it cannot be read.
        """
        return read_squares(
            self._pixels_within,
            rect,
            factor,
            from_overviews=partial(self._squares, factor) if isinstance(self.source, OverviewSource) else None,
            split=partial(self._squares_within, factor),
        )

    def _pixels_within(self, rect: Rect) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
        """Read a rectangle: what it looks like, where it is valid, and where in the raster."""
        within = np.zeros(rect.shape, dtype=bool)
        inside = rect & self._frame
        if not inside.is_empty:
            within[inside.slices_in(rect)] = True
        return *self.read(rect), within

    def _squares_within(self, factor: int, rect: Rect) -> list[Rect]:
        """Return the part of a rectangle of squares that has pixels in the raster, split where a mosaic is to be split."""
        height, width = (-(-length // factor) * factor for length in self.shape)
        inside = rect & Rect(0, 0, width, height)
        if inside.is_empty:
            return []
        return self.source.split(inside, factor) if isinstance(self.source, MosaicSource) else [inside]

    def _squares(self, factor: int, rect: Rect) -> NDArray[np.uint8] | None:
        """Return the picture of squares as overviews have it; None where the pixels have to be read."""
        if factor == 1 or any(value is not None for value in self.nodata) or not isinstance(self.source, OverviewSource):
            return None
        values = self.source.read_squares(self.numbers, rect, factor)
        if values is None:
            return None
        if self.stretch is None:
            values = np.floor(values + 0.5)
        return self.picture(values, np.ones(values.shape[1:], dtype=bool))[0]

    def pixels_touched(self, rect: Rect, shape: tuple[int, int]) -> float:
        """Return about how many pixels have to be read for a rectangle decimated to a shape: more without overviews."""
        decimation = min(rect.height / shape[0], rect.width / shape[1], self.source.decimation)
        return rect.height * rect.width / max(decimation, 1.0) ** 2

    def provenance(self) -> dict[str, Any]:
        """Return what is needed to read the same pixels again, for JSON: NaN is the string "nan"."""
        crs = self.geobox.crs
        files = [file.name for file in self.source.files]
        if len(files) > MOST_FILES_TOLD:
            files[MOST_FILES_TOLD:] = [f"and {len(files) - MOST_FILES_TOLD} more"]
        return {
            "path": self.name,
            **({"files": files} if len(files) > 1 else {}),
            "shape": list(self.shape),
            "crs": None if crs is None else crs.proj.to_string(),
            "transform": [float(value) for value in self.geobox.affine[:6]],
            "bands": list(self.bands),
            "stretch": None if self.stretch is None else [list(pair) for pair in self.stretch],
            "nodata": [value if value is None or math.isfinite(value) else str(value) for value in self.nodata],
            "alpha": transparent_bands(self.source),
        }

    @property
    def _frame(self) -> Rect:
        return Rect(0, 0, self.shape[1], self.shape[0])

    @property
    def numbers(self) -> tuple[int, ...]:
        """The bands to read: one that stands for all three is read once."""
        return self.bands[:1] if len(set(self.bands)) == 1 else self.bands

    def picture(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Turn values of the chosen bands into what a model sees.

        Parameters
        ----------
        values : ndarray, shape (n, h, w)
            Of the three bands, or of one that stands for all.
        mask : ndarray of bool, shape (h, w)
            Where nothing hides them.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
        valid : ndarray of bool, shape (h, w)
        """
        valid = has_value(values, self.nodata).any(axis=0) & mask
        palette = self.source.palette
        if palette is not None:
            colors = palette[np.clip(values[0], 0, len(palette) - 1)]
            valid &= colors[..., 3] > 0
            values = np.moveaxis(colors[..., :3], 2, 0)
        if self.stretch is not None:
            values = apply_stretch(values, self.stretch[: len(values)])
        pixels = np.empty((*valid.shape, 3), dtype=np.uint8)
        pixels[...] = np.moveaxis(values, 0, 2)
        pixels[~valid] = 0
        return pixels, valid

    def _samples(self) -> list[Sample]:
        return [(rect, *self.source.read(self.numbers, rect, shape)) for rect, shape in self._sample_rects()]

    def _percentiles(self, samples: list[Sample]) -> tuple[Stretch, Stretch, Stretch]:
        flat, mask = flatten(samples)
        known = has_value(flat, self.nodata) & mask
        stretches = [percentile_stretch(band[valid]) for band, valid in zip(flat, known, strict=True)]
        red, green, blue = stretches * 3 if len(stretches) == 1 else stretches
        return red, green, blue

    def _sample_rects(self) -> list[tuple[Rect, tuple[int, int] | None]]:
        height, width = self.shape
        block_pixels, block_bytes = self.source.block
        touched = height * width / self.source.decimation**2
        if touched <= SAMPLE_LIMIT and touched * block_bytes <= 4 * SAMPLE_BYTES * block_pixels:
            return [(self._frame, fit(self.shape, SAMPLE_SIDE))]
        count = min(max(math.isqrt(SAMPLE_BYTES // block_bytes), LEAST_SAMPLE_WINDOWS), SAMPLE_WINDOWS)
        starts = [
            ((np.arange(count) + 0.5) * length / count - SAMPLE_WINDOW / 2).astype(int).tolist() for length in (height, width)
        ]
        rects = (Rect(x, y, x + SAMPLE_WINDOW, y + SAMPLE_WINDOW) & self._frame for y in starts[0] for x in starts[1])
        return [(rect, None) for rect in rects if not rect.is_empty]
