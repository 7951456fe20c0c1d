"""A raster of any size and kind, read window by window as the 8-bit RGB images that models take."""

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
from samgeo.geo.html_summary import html_summary
from samgeo.geo.raster.bands import choose_bands
from samgeo.geo.raster.coarse import read_squares
from samgeo.geo.raster.hints import coarse_hints, picture_hints, tell
from samgeo.geo.raster.nodata import check_nodata, has_value
from samgeo.geo.raster.sources.base import OverviewSource
from samgeo.geo.raster.sources.mosaic import MosaicSource
from samgeo.geo.raster.sources.opening import open_source
from samgeo.geo.raster.sources.sampling import Sample, fit, flatten
from samgeo.geo.raster.stretch import Stretch, apply_stretch, check_stretch, percentile_stretch
from samgeo.geo.raster.transparency import (
    check_alpha,
    check_invented,
    settle_alpha,
    settle_invented,
    shows_invented,
    transparent_bands,
)
from samgeo.types import BandsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.geo.raster.sources.base import Source

__all__ = ["Raster"]

# The stretch is taken from a decimated read with this longer side; 4 million pixels are enough for a percentile.
SAMPLE_SIDE = 2048

# Without overviews, a decimated read touches all pixels. Where these are more than this number, small windows all over the
# raster are read instead, which costs a small part of the reading.
SAMPLE_LIMIT = 2**28
SAMPLE_WINDOWS, SAMPLE_WINDOW = 16, 128

# Limit of the bytes that are decoded for the sample. Where blocks are large, fewer windows are read, but at least
# LEAST_SAMPLE_WINDOWS along each side.
SAMPLE_BYTES, LEAST_SAMPLE_WINDOWS = 2**31, 4


# Thousands of file names would make up most of a result with few objects.
MOST_FILES_TOLD = 1000


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Raster:
    """A raster with fixed bands, stretch and nodata values. It is immutable, and any thread and process can read it.

    Make one with `Raster.open`. Each thread and process opens its own file handles when it first reads.

    A pixel is valid where at least one of the chosen bands has a value, as in GDAL's mask of a dataset, and neither an alpha
    band, a mask nor a mark of invented pixels hides it. A band has no value where it holds its nodata value, NaN or infinity.

    Attributes
    ----------
    source : Source
        Where the pixels are read from.
    bands : (int, int, int)
        Numbers of the bands for red, green and blue, counted from 1.
    nodata : tuple of 3 float or None
        The nodata value of each of these bands, or None.
    stretch : tuple of 3 (low, high) or None
        For each band the values that become 0 and 255, the same for the whole raster. None where values are used unchanged.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo import Raster
    >>> from samgeo.geo.grid import Rect
    >>> from samgeo.testing import write_raster
    >>> path = write_raster("city.tif", np.full((40, 60, 3), 200, np.uint8), crs="EPSG:32633")
    >>> raster = Raster.open(path, check=False)
    >>> raster.shape, raster.bands
    ((40, 60), (1, 2, 3))
    >>> pixels, valid = raster.read(Rect(50, 0, 70, 10))  # reaches past the right edge
    >>> pixels.shape, int(valid.sum())
    ((10, 20, 3), 100)
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
        invented: str | None = None,
        check: bool = True,
    ) -> Raster:
        """Open a raster, or many files on one grid as one raster.

        Parameters
        ----------
        source : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
            - A file or an address that rasterio can open.
            - A STAC Item or ItemCollection: a path or address that ends in ``.json``, an address of a STAC API, a dict, or an
              object of pystac.
            - Several files, addresses or Items, in a list, a tuple or a text file ``.txt`` with one a line. They must have
              the same CRS, resolution and bands, and lie on one grid to a hundredth of a pixel. Each pixel is taken from the
              first of them that has data there.
            - A DataArray with the dimensions y and x, and optionally one for bands, georeferenced as odc-geo reads it.
            - An array of shape (H, W) or (H, W, C), which has no CRS.
            - A `Raster`. Its bands and nodata are kept where no others are given; its stretch is computed anew.
        bands : sequence of 1 or 3 int or str, optional
            Numbers from 1, or names: descriptions or colour interpretations such as "red", in any case. By default red, green
            and blue by colour interpretation, else by description, else the first three bands, else the first band three
            times. Bands of transparency are not chosen by default. A band that is named here is not taken for transparency.
        stretch : (low, high) or three such pairs, optional
            Values that become 0 and 255. By default uint8 and paletted rasters stay unchanged. Other types are stretched from
            the 2nd to the 98th percentile of the valid pixels of each band, taken from at most about 4 million pixels all over
            the raster.
        nodata : float or "none", optional
            The nodata value, instead of the one of the source; "none" if no value means nodata, whatever the source says.
        assets : str or sequence of str, optional
            For STAC Items: the key of the raster asset, or the keys of several assets whose bands are stacked. By default the
            visual asset, else the only asset with the role "data", else the only raster.
        alpha : int or str, optional
            The band of transparency by number, from 1, or by name: pixels where it is 0 have no data. "none" if no band is
            transparency. By default the bands that are tagged as alpha, except a tagged band most of whose values lie between
            transparent and opaque; many files tag near infrared as alpha.
        invented : {"nodata", "data"}, optional
            Whether invented pixels are left out, as pixels without data, or used as if they were measured. They are those where
            the band with the description "invented", which `samgeo.remove` writes, is not 0. By default they are left out, so
            that they are not found, measured or trained on; for a `Raster`, what it was opened with.
        check : bool, default True
            Whether to look at a sample of some 500 pixels a side, and warn where the image may not be what the user expects. A
            lazy array is sampled only where its values are needed anyway, for a stretch.

        Returns
        -------
        Raster

        Warns
        -----
        RasterWarning
            If nearly all of the image has one value, a value far from all others may mean nodata, black or white without a
            nodata tag reaches the edge, a band is tagged as transparency and is not taken for it, or the pixels outside the
            objects of `samgeo.compress` are coarser. The message names the option that changes it.

        Raises
        ------
        RasterError
            If the source cannot be opened, has no such bands, or holds something other than real numbers, or several files do
            not lie on one grid, or a file says that it has invented pixels and the band that marks them is missing.
        OptionError
            If ``stretch``, ``nodata``, ``alpha`` or ``invented`` is malformed, or an Item has no such asset, or has several and
            none is chosen.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo import Raster
        >>> image = np.arange(0, 4000, dtype=np.uint16).reshape(40, 50, 2)
        >>> raster = Raster.open(image, bands=[2], stretch=(0, 3999), check=False)
        >>> raster.bands, raster.stretch[0]
        ((2, 2, 2), (0.0, 3999.0))
        """
        explicit = None if stretch is None else check_stretch(stretch)
        override = check_nodata(nodata)
        alpha, shows = check_alpha(alpha), check_invented(invented)
        if isinstance(source, Raster):
            if assets is not None:
                raise OptionError(
                    "assets choose files of a STAC Item, but this raster is open already; give them when it is opened."
                )
            if bands is None and explicit is None and override is None and alpha is None and shows is None:
                return source
            opened, hints = settle_alpha(source.source, bands, alpha)
            bands = source.bands if bands is None else bands
            override = source.nodata if override is None and bands == source.bands else override
        else:
            opened, hints = settle_alpha(open_source(source, assets), bands, alpha)
        opened = settle_invented(opened, shows)
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
            tell([*hints, *coarse_hints(opened), *picture_hints(raster, samples, given)])
        return raster

    @property
    def name(self) -> str:
        """Path or address as it was given, or the name of the array; used in messages and provenance."""
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

    def _repr_html_(self) -> str:
        height, width = self.shape
        crs = self.geobox.crs
        stretch = self.stretch
        rows = {"size": f"{width:,} x {height:,} pixels", "bands": self.bands, "CRS": "none" if crs is None else str(crs)}
        if crs is not None:
            unit = "degrees" if crs.geographic else "units of the CRS"
            rows["resolution"] = f"{abs(self.geobox.resolution.x):g} x {abs(self.geobox.resolution.y):g} {unit}"
        return html_summary(f"Raster {self.name}", rows | {"stretch": "none" if stretch is None else stretch})

    def read(self, rect: Rect) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read a rectangle, which may reach past the raster.

        Parameters
        ----------
        rect : Rect
            In pixels.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB; 0 where a pixel is not valid.
        valid : ndarray of bool, shape (h, w)
            False outside the raster and where there is no data.

        Raises
        ------
        RasterError
            If the rectangle cannot be read. The message names it.
        """
        pixels, valid = np.zeros((*rect.shape, 3), dtype=np.uint8), np.zeros(rect.shape, dtype=bool)
        inside = rect & self._frame
        if not inside.is_empty:
            where = inside.slices_in(rect)
            pixels[where], valid[where] = self.picture(*self.source.read(self.numbers, inside))
        return pixels, valid

    def view(self, size: int | tuple[int, int] = 1024, rect: Rect | None = None) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Read the whole raster or a rectangle of it at a lower resolution, from overviews where there are any.

        Parameters
        ----------
        size : int or (int, int), default 1024
            The longer side of the result in pixels, if the rectangle is longer; or height and width of the result.
        rect : Rect, optional
            In pixels, within the raster. The whole raster by default.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB; 0 where a pixel is not valid.
        valid : ndarray of bool, shape (h, w)
            False where there is no data.

        Raises
        ------
        OptionError
            If the size is below 1, or the rectangle is empty or reaches past the raster.
        RasterError
            If the raster cannot be read.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo import Raster
        >>> raster = Raster.open(np.zeros((300, 600, 3), np.uint8), check=False)
        >>> raster.view(100)[0].shape
        (50, 100, 3)
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
        """Read a rectangle at a lower resolution: each result pixel is the mean of the valid pixels of one square.

        The rectangle may reach past the raster. Where every pixel is known to have data, means are taken from overviews that
        hold such means (`samgeo.geo.raster.overviews`); elsewhere they are computed from the pixels. Validity is the same with
        and without overviews.

        Parameters
        ----------
        rect : Rect
            In pixels. Its start and its sides must be multiples of ``factor``.
        factor : int
            Side of a square in pixels.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB; 0 where a square is not valid.
        valid : ndarray of bool, shape (h, w)
            True where at least half of those pixels of a square that lie in the raster are valid.

        Raises
        ------
        OptionError
            If the rectangle does not consist of such squares.
        RasterError
            If the rectangle cannot be read.

        Examples
        --------
        >>> import numpy as np
        >>> from samgeo import Raster
        >>> from samgeo.geo.grid import Rect
        >>> image = np.zeros((4, 4, 3), np.uint8)
        >>> image[:, 1::2] = 100
        >>> pixels, valid = Raster.open(image, check=False).read_coarse(Rect(0, 0, 4, 4), 2)
        >>> pixels[..., 0].tolist()
        [[50, 50], [50, 50]]
        """
        return read_squares(
            self._pixels_within,
            rect,
            factor,
            from_overviews=partial(self._squares, factor) if isinstance(self.source, OverviewSource) else None,
            split=partial(self._squares_within, factor),
        )

    def _pixels_within(self, rect: Rect) -> tuple[NDArray[np.uint8], NDArray[np.bool_], NDArray[np.bool_]]:
        """Read a rectangle: its RGB pixels, where they are valid, and which of them lie in the raster."""
        within = np.zeros(rect.shape, dtype=bool)
        inside = rect & self._frame
        if not inside.is_empty:
            within[inside.slices_in(rect)] = True
        return *self.read(rect), within

    def _squares_within(self, factor: int, rect: Rect) -> list[Rect]:
        """Return the part of a rectangle of squares that lies in the raster, split as a mosaic requires."""
        height, width = (-(-length // factor) * factor for length in self.shape)
        inside = rect & Rect(0, 0, width, height)
        if inside.is_empty:
            return []
        return self.source.split(inside, factor) if isinstance(self.source, MosaicSource) else [inside]

    def _squares(self, factor: int, rect: Rect) -> NDArray[np.uint8] | None:
        """Return the RGB means of squares from overviews, or None where the pixels must be read."""
        if factor == 1 or any(value is not None for value in self.nodata) or not isinstance(self.source, OverviewSource):
            return None
        values = self.source.read_squares(self.numbers, rect, factor)
        if values is None:
            return None
        if self.stretch is None:
            values = np.floor(values + 0.5)
        return self.picture(values, np.ones(values.shape[1:], dtype=bool))[0]

    def pixels_touched(self, rect: Rect, shape: tuple[int, int]) -> float:
        """Return about how many pixels must be read for a rectangle at a lower resolution; more without overviews."""
        decimation = min(rect.height / shape[0], rect.width / shape[1], self.source.decimation)
        return rect.height * rect.width / max(decimation, 1.0) ** 2

    def provenance(self) -> dict[str, Any]:
        """Return a JSON-serializable dict from which the same pixels can be read again; NaN becomes the string "nan"."""
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
            # Only where it is not the default, so that the provenance of other rasters stays the same.
            **({"invented": "data"} if shows_invented(self.source) else {}),
        }

    @property
    def _frame(self) -> Rect:
        return Rect(0, 0, self.shape[1], self.shape[0])

    @property
    def numbers(self) -> tuple[int, ...]:
        """Numbers of the bands to read; a band that is used for red, green and blue is read once."""
        return self.bands[:1] if len(set(self.bands)) == 1 else self.bands

    def picture(self, values: NDArray[Any], mask: NDArray[np.bool_]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Convert values of the chosen bands to the RGB image that a model takes.

        Parameters
        ----------
        values : ndarray, shape (n, h, w)
            Values of the three bands, or of the one band that is used for all three.
        mask : ndarray of bool, shape (h, w)
            False where an alpha band, a mask or a mark of invented pixels hides a pixel.

        Returns
        -------
        pixels : ndarray of uint8, shape (h, w, 3)
            RGB; 0 where a pixel is not valid.
        valid : ndarray of bool, shape (h, w)
            Where pixels have data.
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
