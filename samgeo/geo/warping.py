"""Values of a raster on the grid of another one, read and resampled a rectangle at a time."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.warp import reproject

from samgeo.errors import RasterError
from samgeo.geo.coordinates.pixel_coordinates import crs_of, from_pixels, inward_to
from samgeo.geo.grid import Rect
from samgeo.geo.raster.identity import identify
from samgeo.geo.raster.nodata import has_value
from samgeo.geo.raster.raster import Raster

if TYPE_CHECKING:
    from samgeo.types import RasterLike

__all__ = ["WarpedBand"]

# Pixels around the wanted ones that are read too, so that they can be interpolated to.
MARGIN = 2

# Number of places along each side of a rectangle whose positions in the other raster bound what is read of it.
PLACES = 9

# More pixels than this are not read for one rectangle; the raster is then read at a lower resolution.
MOST_PIXELS = 1 << 24

SAMPLE = 512

# A CRS for two rasters that have none and the same grid. Only its being equal for both matters.
ANY_CRS = "EPSG:32631"


@dataclass(frozen=True, slots=True, eq=False)
class WarpedBand:
    """One band of a raster, whose values are read on any grid.

    Attributes
    ----------
    raster : Raster
        The raster; its first band is read.
    """

    raster: Raster

    @classmethod
    def open(cls, source: RasterLike) -> WarpedBand:
        """Open a raster of which the values are needed, and no picture. Of a `Raster`, the first of its bands is used."""
        # A given stretch keeps the raster from being sampled for one.
        return cls(source if isinstance(source, Raster) else Raster.open(source, stretch=(0, 1), check=False))

    @property
    def name(self) -> str:
        """Path or address of the raster, or the name of the array."""
        return self.raster.name

    @property
    def geobox(self) -> GeoBox:
        """Shape, affine and CRS of the raster."""
        return self.raster.geobox

    @property
    def digest(self) -> str:
        """A digest of a sample of the raster's content."""
        height, width = self.raster.shape
        values = self._values(Rect(0, 0, width, height), (min(height, SAMPLE), min(width, SAMPLE)))
        total = hashlib.sha256(str(identify(self.raster)["content"]).encode())
        total.update(repr((self.raster.shape, self.raster.bands[0], self.raster.geobox.affine)).encode())
        total.update(np.ascontiguousarray(values).tobytes())
        return total.hexdigest()[:16]

    def check_grid(self, grid: GeoBox, name: str) -> None:
        """Raise a `RasterError` unless the band can be located on the grid of the raster ``name``."""
        own = self.geobox
        if (own.crs is None) != (grid.crs is None):
            without = self.name if own.crs is None else name
            raise RasterError(f"{without} has no CRS, and the other raster has one; assign its CRS (gdal_edit.py -a_srs).")
        if own.crs is None and own != grid:
            raise RasterError(
                f"{self.name} and {name} have no CRS and not the same shape and transform, so that they cannot be overlaid; "
                "assign their CRS (gdal_edit.py -a_srs)."
            )

    def pixel_size(self, grid: GeoBox) -> float:
        """Return the side of a pixel of the raster in pixels of a grid; NaN if the grid cannot be located in the raster."""
        places = self._places(grid)
        places = places[np.isfinite(places).all(axis=1)]
        height, width = map(int, grid.shape)
        if not len(places):
            return float("nan")
        low, high = places.min(axis=0), places.max(axis=0)
        return float(np.sqrt(width * height / (high - low).prod()))

    def read(self, grid: GeoBox) -> NDArray[np.float32]:
        """Return the values on a grid.

        Values are interpolated (bilinear) where the raster is coarser than the grid, and averaged where it is finer. No more of
        the raster is read than the grid needs.

        Parameters
        ----------
        grid : GeoBox
            Shape, affine and CRS of the result.

        Returns
        -------
        ndarray of float32, shape (H, W)
            NaN where the raster has no data.

        Raises
        ------
        RasterError
            If the raster cannot be read.
        """
        height, width = map(int, grid.shape)
        result = np.full((height, width), np.nan, dtype=np.float32)
        places = self._places(grid)
        known = np.isfinite(places).all(axis=1)
        if not known.any():
            return result
        low, high = np.floor(places[known].min(axis=0)), np.ceil(places[known].max(axis=0))
        # Pixels of the raster for each pixel of the result, along the finer direction.
        finer = max(1.0, float(((high - low) / (width, height)).min()))
        step = max(1, int(np.ceil(np.sqrt((high - low).prod() / MOST_PIXELS))))
        margin = MARGIN * step
        frame = Rect(0, 0, *reversed(self.raster.shape))
        rect = Rect(*(low - margin).astype(int).tolist(), *(high + margin).astype(int).tolist()) & frame
        if rect.is_empty:
            return result
        shape = (max(1, rect.height // step), max(1, rect.width // step))
        values = self._values(rect, shape)
        affine = self.geobox.affine * self.geobox.affine.translation(rect.x0, rect.y0)
        affine *= affine.scale(rect.width / shape[1], rect.height / shape[0])
        crs = ANY_CRS if self.geobox.crs is None else str(self.geobox.crs)
        try:
            reproject(
                values,
                result,
                src_transform=affine,
                src_crs=crs,
                src_nodata=np.nan,
                dst_transform=grid.affine,
                dst_crs=ANY_CRS if grid.crs is None else str(grid.crs),
                dst_nodata=np.nan,
                resampling=Resampling.average if finer / step > 1.5 else Resampling.bilinear,
            )
        except RasterioError as error:
            raise RasterError(f"{self.name} cannot be resampled to the grid of the image ({error}); check its CRS.") from None
        return result

    def _places(self, grid: GeoBox) -> NDArray[np.float64]:
        """Return places on and inside a grid in pixels of the raster, shape (P, 2)."""
        height, width = map(int, grid.shape)
        x, y = np.meshgrid(np.linspace(0, width, PLACES), np.linspace(0, height, PLACES))
        places = np.stack([x.ravel(), y.ravel()], axis=1)
        if grid.crs is None or self.geobox.crs is None:
            affine = ~self.geobox.affine * grid.affine
            return np.stack(affine * (places[:, 0], places[:, 1]), axis=1)
        inward = inward_to(self.geobox, crs_of(grid))
        return np.asarray(inward(from_pixels(places, grid)), dtype=np.float64)

    def _values(self, rect: Rect, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return the values of a rectangle at a resolution, with NaN where there is no data."""
        number, nodata = self.raster.bands[0], self.raster.nodata[:1]
        values, mask = self.raster.source.read([number], rect, None if shape == rect.shape else shape)
        known = has_value(values, nodata)[0] & mask
        return np.where(known, values[0], np.nan).astype(np.float32)
