"""Stacks of files, each with some of the bands of one raster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.bands import Band
from samgeo.geo.raster.sources.mosaic import offset_px

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.geo.raster.sources.file_source import FileSource

__all__ = ["StackSource"]


@dataclass(frozen=True, slots=True, eq=False)
class StackSource:
    """Files on the same grid whose bands together are one raster.

    Attributes
    ----------
    files : tuple of FileSource
        The files.
    keys : tuple of str
        Name of each file, such as the key of an asset.
    places : tuple of (int, int)
        For each band, the index of its file, from 0, and its number there, from 1. Alpha bands of files, and bands that mark
        invented pixels, are not bands of the stack; they mask what is read from their file. An alpha band of the stack masks
        everything.
    name, geobox, bands, palette, decimation, block
        See `Source`.
    """

    name: str
    files: tuple[FileSource, ...]
    keys: tuple[str, ...]
    places: tuple[tuple[int, int], ...]
    geobox: GeoBox
    bands: tuple[Band, ...]
    decimation: float
    block: tuple[int, int]
    palette: None = None

    @classmethod
    def of(cls, name: str, layers: Mapping[str, FileSource]) -> StackSource:
        """Stack the bands of files.

        Parameters
        ----------
        name : str
            Name of the stack.
        layers : mapping of str to FileSource
            At least one. The description of the only band of a file is its key.

        Raises
        ------
        RasterError
            If the files differ in grid or CRS.
        """
        files = tuple(layers.values())
        for other in files[1:]:
            _check_same_grid(files[0], other)
        bands, places = [], []
        for index, (key, file) in enumerate(layers.items()):
            own = [number for number, band in enumerate(file.bands, start=1) if not (band.is_alpha or band.is_marker)]
            places += [(index, number) for number in own]
            bands += [
                replace(file.bands[number - 1], description=key if len(own) == 1 else file.bands[number - 1].description)
                for number in own
            ]
        return cls(
            name=name,
            files=files,
            keys=tuple(layers),
            places=tuple(places),
            geobox=files[0].geobox,
            bands=tuple(bands),
            decimation=min(file.decimation for file in files),
            block=max((file.block for file in files), key=lambda block: block[1]),
        )

    def read(
        self, numbers: Sequence[int], rect: Rect, out_shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a rectangle that lies within the raster; see `Source.read`."""
        dtype = np.result_type(*(self.bands[number - 1].dtype for number in numbers))
        shape = rect.shape if out_shape is None else out_shape
        values = np.empty((len(numbers), *shape), dtype=dtype)
        mask = np.ones(shape, dtype=bool)
        wanted = [self.places[number - 1] for number in numbers]
        for index in sorted({index for index, _ in wanted}):
            layers = [layer for layer, (owner, _) in enumerate(wanted) if owner == index]
            values[layers], own = self.files[index].read([wanted[layer][1] for layer in layers], rect, out_shape)
            mask &= own
        for (index, number), band in zip(self.places, self.bands, strict=True):
            if band.hides:
                mask &= band.shown(self.files[index].read([number], rect, out_shape)[0][0])
        return values, mask

    def read_squares(self, numbers: Sequence[int], rect: Rect, factor: int) -> NDArray[np.float64] | None:
        """Read as `FileSource.read_squares`, each band from its own file; None if a band must be read by pixels."""
        squares = []
        for number in numbers:
            index, own = self.places[number - 1]
            one = self.files[index].read_squares([own], rect, factor)
            if one is None:
                return None
            squares.append(one[0])
        return np.stack(squares)


def _check_same_grid(first: FileSource, other: FileSource) -> None:
    if first.geobox.shape != other.geobox.shape or first.geobox.crs != other.geobox.crs or offset_px(first, other) != (0, 0):
        raise RasterError(
            f"{first.name} and {other.name} do not have the same grid of pixels, so that they cannot be bands of one raster; "
            "resample them to one grid first, for example with gdalbuildvrt -separate bands.vrt ... ."
        )
