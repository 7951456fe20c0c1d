"""Where the pixels of a raster come from: what a file, a URL and an array have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from samgeo.geo.grid import Rect
    from samgeo.geo.raster.bands import Band
    from samgeo.geo.raster.sources.file_source import FileSource

__all__ = ["OverviewSource", "Source"]


class Source(Protocol):
    """An opened raster before bands, stretch and nodata are chosen. Picklable, and safe to read from several threads."""

    @property
    def name(self) -> str:
        """For messages and provenance."""

    @property
    def geobox(self) -> GeoBox:
        """Shape, affine and CRS, which may be None."""

    @property
    def bands(self) -> Sequence[Band]:
        """All of them, alpha too."""

    @property
    def palette(self) -> NDArray[np.uint8] | None:
        """Colour table of the only image band, shape (N, 4), RGBA by value; None without one."""

    @property
    def decimation(self) -> float:
        """The coarsest decimation that can be read without touching every pixel."""

    @property
    def block(self) -> tuple[int, int]:
        """Pixels and bytes of the largest block that is decoded whole, all bands of it, to read any of its pixels."""

    @property
    def files(self) -> tuple[FileSource, ...]:
        """What it is read from; nothing for an array."""

    def read(
        self, numbers: Sequence[int], rect: Rect, out_shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a rectangle that lies within the raster.

        Parameters
        ----------
        numbers : sequence of int
            Bands from 1.
        rect : Rect
            In pixels, not empty, within the raster.
        out_shape : (int, int), optional
            Height and width to decimate to, by the nearest pixel or an overview.

        Returns
        -------
        values : ndarray, shape (n, h, w)
            In the bands' own type.
        mask : ndarray of bool, shape (h, w)
            False where alpha or a mask of the whole raster says that there is nothing; nodata values are not looked at.

        Raises
        ------
        RasterError
            If it cannot be read; the message names the rectangle.
        """


@runtime_checkable
class OverviewSource(Protocol):
    """A source of pixels that can give the means of squares without reading the pixels."""

    def read_squares(self, numbers: Sequence[int], rect: Rect, factor: int) -> NDArray[np.float64] | None:
        """Read the means of squares of pixels; None where the pixels have to be read. See `FileSource.read_squares`."""
