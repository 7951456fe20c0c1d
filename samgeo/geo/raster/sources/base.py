"""Protocols of raster sources: the common interface of files, addresses, arrays and mosaics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from samgeo.geo.grid import Rect
    from samgeo.geo.raster.bands import Band
    from samgeo.geo.raster.sources.file_source import FileSource

__all__ = ["OverviewSource", "Source"]


class Source(Protocol):
    """An open raster, before bands, stretch and nodata are chosen. It is picklable, and several threads may read it at once."""

    # Every source is a dataclass, so that `dataclasses.replace` makes changed copies of it.
    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def name(self) -> str:
        """The name that messages and provenance use."""

    @property
    def geobox(self) -> GeoBox:
        """Shape, affine and CRS, which may be None."""

    @property
    def bands(self) -> Sequence[Band]:
        """All bands, including alpha."""

    @property
    def palette(self) -> NDArray[np.uint8] | None:
        """Colour table of the only image band, shape (N, 4): RGBA by value. None if there is no colour table."""

    @property
    def decimation(self) -> float:
        """The coarsest decimation that can be read without touching every pixel."""

    @property
    def block(self) -> tuple[int, int]:
        """Pixels and bytes, over all bands, of the largest block that must be decoded as a whole to read any of its pixels."""

    @property
    def files(self) -> tuple[FileSource, ...]:
        """The files that the raster is read from; empty for an array."""

    def read(
        self, numbers: Sequence[int], rect: Rect, out_shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a rectangle that lies within the raster.

        Parameters
        ----------
        numbers : sequence of int
            Numbers of the bands, from 1.
        rect : Rect
            In pixels, not empty, within the raster.
        out_shape : (int, int), optional
            Height and width of the result, at a lower resolution: the nearest pixel, or an overview, is read.

        Returns
        -------
        values : ndarray, shape (n, h, w)
            In the data type of the bands.
        mask : ndarray of bool, shape (h, w)
            False where alpha, a mask of the whole raster or a mark of invented pixels hides a pixel. Nodata values are not
            considered.

        Raises
        ------
        RasterError
            If the rectangle cannot be read. The message names it.
        """


@runtime_checkable
class OverviewSource(Protocol):
    """A source that can return the means of squares of pixels without reading the pixels."""

    def read_squares(self, numbers: Sequence[int], rect: Rect, factor: int) -> NDArray[np.float64] | None:
        """Read the means of squares of pixels, or return None where the pixels must be read. See `FileSource.read_squares`."""
