"""Rasters from arrays: NumPy arrays and xarray.DataArray, also lazy ones of dask."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from samgeo.errors import RasterError
from samgeo.geo.grid import Rect
from samgeo.geo.raster.array_georeference import odc_warnings_off, place_of
from samgeo.geo.raster.bands import ALPHA, Band
from samgeo.geo.raster.sources.file_source import FileSource

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["ArraySource"]

# If the last axis is longer than this and the first is not, the array is refused, because its bands are probably first.
BANDS_LIMIT = 16


@dataclass(frozen=True, slots=True, eq=False)
class ArraySource:
    """An array as a raster. The array is not copied, so it must not be changed while it is in use.

    Attributes
    ----------
    array : xarray.DataArray
        Dimensions (band, y, x), whatever their names.
    masked : xarray.DataArray or None
        Dimensions (y, x), true where a masked array has no data.
    name, geobox, bands, palette, decimation, block
        See `Source`.
    """

    name: str
    array: xr.DataArray
    masked: xr.DataArray | None
    geobox: GeoBox
    bands: tuple[Band, ...]
    decimation: float
    palette: None = None
    block: tuple[int, int] = (1, 8)

    @classmethod
    def from_numpy(cls, array: NDArray[Any]) -> ArraySource:
        """Return the source of an array of shape (H, W) or (H, W, C), masked or not. It has no CRS.

        Raises
        ------
        RasterError
            If the shape or the type cannot be that of a raster.
        """
        import xarray as xr

        name = "<array>"
        if array.ndim not in (2, 3):
            raise RasterError(f"{name} has shape {array.shape}; give (height, width) or (height, width, bands).")
        if array.ndim == 3 and array.shape[0] <= BANDS_LIMIT < array.shape[2]:
            raise RasterError(
                f"{name} has shape {array.shape}, which looks like (bands, height, width); "
                "give (height, width, bands): numpy.moveaxis(array, 0, -1)."
            )
        layers = np.atleast_3d(array) if array.ndim == 2 else array
        masked = np.ma.getmaskarray(layers).all(axis=2) if np.ma.isMaskedArray(array) else None
        lazy = xr.DataArray(np.moveaxis(np.ma.getdata(layers), 2, 0), dims=("band", "y", "x"))
        return cls(
            name=name,
            array=lazy,
            masked=None if masked is None else xr.DataArray(masked, dims=("y", "x")),
            geobox=GeoBox(array.shape[:2], Affine.identity(), None),
            bands=(Band(_check(lazy, name)),) * lazy.shape[0],
            decimation=math.inf,
        )

    @classmethod
    def from_xarray(cls, array: xr.DataArray) -> ArraySource:
        """Return the source of an array with dimensions y and x, and optionally one for bands, in any order.

        Shape, affine and CRS are those of odc-geo's ``.odc.geobox``, checked against the coordinates (`place_of`). The names of
        bands are the coordinate of their dimension or the attribute ``long_name``. A band with the name "alpha" is
        transparency, and so is a band that is tagged as alpha in the local file that the array was read from.

        Raises
        ------
        RasterError
            If there are other dimensions, or the type or the georeference cannot be that of a raster.
        """
        name = str(array.name or array.encoding.get("source") or "<array>")
        geobox, (y, x) = place_of(array, name)
        array = array.squeeze([dim for dim in array.dims if dim not in (y, x) and array.sizes[dim] == 1], drop=False)
        others = [dim for dim in array.dims if dim not in (y, x)]
        if len(others) > 1:
            raise RasterError(
                f"{name} has dimensions {tuple(array.dims)}, but may only have {y}, {x} and one dimension of bands; "
                "choose one time or variable with .isel() or .sel()."
            )
        names = _band_names(array, others[0] if others else None)
        colors = _band_colors(array, others[0] if others else None, names)
        array = (array if others else array.expand_dims("band")).transpose(..., y, x)
        with odc_warnings_off():
            nodata = array.odc.nodata
        dtype = _check(array, name)
        return cls(
            name=name,
            array=array,
            masked=None,
            geobox=geobox,
            bands=tuple(Band(dtype, nodata, description, color) for description, color in zip(names, colors, strict=True)),
            decimation=math.inf if isinstance(array.variable._data, np.ndarray) else 1,  # noqa: SLF001
        )

    @property
    def files(self) -> tuple[()]:
        """See `Source`."""
        return ()

    def read(
        self, numbers: Sequence[int], rect: Rect, out_shape: tuple[int, int] | None = None
    ) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Read a rectangle that lies within the raster; see `Source.read`."""
        axes = ((rect.y0, rect.y1), (rect.x0, rect.x1))
        rows, columns = (
            slice(*axis) if out_shape is None else _nearest(*axis, out_shape[number]) for number, axis in enumerate(axes)
        )
        bands = [number - 1 for number in numbers]
        try:
            values = _load(self.array[bands, rows, columns])
            mask = np.ones(values.shape[1:], dtype=bool) if self.masked is None else ~_load(self.masked[rows, columns])
            for index, band in enumerate(self.bands):
                if band.hides:
                    mask &= band.shown(_load(self.array[index, rows, columns]))
        except (OSError, RuntimeError, ValueError, KeyError) as error:
            raise RasterError(
                f"pixels {rect.x0}:{rect.x1}, {rect.y0}:{rect.y1} of {self.name} cannot be read ({error}); "
                "check the data that the array is computed from."
            ) from None
        return values, mask


def _nearest(start: int, stop: int, count: int) -> NDArray[np.int64]:
    return start + ((np.arange(count) + 0.5) * (stop - start) / count).astype(np.int64)


def _load(part: xr.DataArray) -> NDArray[Any]:
    data = part.data
    # Windows are already read in parallel. A pool of threads for each of them would only add threads, and a worker of a cluster
    # would wait for itself.
    return np.asarray(data.compute(scheduler="synchronous") if hasattr(data, "dask") else data)


def _band_names(array: xr.DataArray, dim: Hashable | None) -> list[str]:
    if dim is None:
        return [str(array.attrs.get("long_name", ""))]
    count = array.sizes[dim]
    described = array.attrs.get("long_name", ())
    if dim in array.coords and array.coords[dim].dtype.kind in "UOT":
        return [str(value) for value in array.coords[dim].to_numpy()]
    return [str(value) for value in described] if not isinstance(described, str) and len(described) == count else [""] * count


def _band_colors(array: xr.DataArray, dim: Hashable | None, names: Sequence[str]) -> list[str]:
    """Return the colour interpretation "alpha" for bands that are transparency, and an empty text for others."""
    colors = [ALPHA if name.strip().lower() == ALPHA else "" for name in names]
    path = array.encoding.get("source")
    numbered = dim is not None and dim in array.coords and array.coords[dim].dtype.kind in "ui"
    if any(colors) or not numbered or not isinstance(path, str) or not Path(path).is_file():
        return colors
    try:
        own = FileSource.open(path).bands
    except RasterError:
        return colors
    # rioxarray numbers the bands of an array like those of its file, and keeps these numbers when bands are selected.
    numbers = array.coords[dim].to_numpy().tolist()
    return [ALPHA if 1 <= number <= len(own) and own[number - 1].is_alpha else "" for number in numbers]


def _check(array: xr.DataArray, name: str) -> str:
    if min(array.shape) < 1:
        raise RasterError(f"{name} has shape {array.shape}, and so no values; give an array with at least one pixel.")
    if array.dtype.kind not in "buif":
        raise RasterError(f"{name} holds values of type {array.dtype}; give real numbers.")
    return str(array.dtype)
