"""Raster files for tests, with any data type, nodata value, CRS and transform.

There are also images whose pixels encode their own coordinates.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.errors import NotGeoreferencedWarning

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.types import CRSLike

__all__ = ["COORDINATES_SIDE", "TRANSFORMS", "coordinate_pixels", "pixel_coordinates", "transform", "write_raster"]

COORDINATES_SIDE = 4096
"""Largest height and width of rasters whose pixels encode their own coordinates."""

TRANSFORMS: dict[str, tuple[float, float, float, float, float, float]] = {
    "north-up": (0.5, 0.0, 500_000.0, 0.0, -0.5, 5_400_000.0),
    "south-up": (0.5, 0.0, 500_000.0, 0.0, 0.5, 5_400_000.0),
    "non-square": (0.5, 0.0, 500_000.0, 0.0, -0.8, 5_400_000.0),
    "rotated": (0.3, -0.4, 500_000.0, -0.4, -0.3, 5_400_000.0),
    "sheared": (0.5, 0.2, 500_000.0, 0.0, -0.5, 5_400_000.0),
    "none": (1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
}
"""Names of transforms, and the six coefficients of each in the order of rasterio, in metres of a UTM zone."""


def transform(name: str = "north-up") -> Affine:
    """Return one of `TRANSFORMS` as an ``Affine``."""
    return Affine(*TRANSFORMS[name])


def coordinate_pixels(shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Make an image whose pixels encode their coordinates, so that a test can prove where a read pixel came from.

    Parameters
    ----------
    shape : (int, int)
        Height and width, at most `COORDINATES_SIDE`.

    Returns
    -------
    ndarray of uint8, shape (H, W, 3)
        Red is ``x % 256``, green is ``y % 256``, and blue is ``x // 256 + 16 * (y // 256)``.

    Raises
    ------
    OptionError
        If the image is too large for coordinates in 24 bits.
    """
    if max(shape) > COORDINATES_SIDE:
        raise OptionError(f"shape is {shape}; give at most {COORDINATES_SIDE} pixels a side.")
    y, x = np.indices(shape)
    return np.stack([x % 256, y % 256, x // 256 + 16 * (y // 256)], axis=2).astype(np.uint8)


def pixel_coordinates(pixels: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the columns and the rows that pixels of `coordinate_pixels` encode.

    Pixels of shape (..., 3) give two arrays of shape (...).
    """
    red, green, blue = np.moveaxis(pixels.astype(np.int64), -1, 0)
    return red + 256 * (blue % 16), green + 256 * (blue // 16)


@check_types
def write_raster(
    path: Path,
    values: NDArray[Any],
    *,
    crs: CRSLike = "EPSG:32633",
    transform: Affine | Sequence[float] = TRANSFORMS["north-up"],
    nodata: float | None = None,
    colors: Sequence[str] | None = None,
    descriptions: Sequence[str] | None = None,
    palette: Mapping[int, tuple[int, ...]] | None = None,
    mask: NDArray[np.bool_] | None = None,
    mask_inside: bool = True,
    overviews: Sequence[int] = (),
    overview_method: str = "nearest",
    **profile: object,
) -> Path:
    """Write a raster file.

    Parameters
    ----------
    path : Path
        The file to write.
    values : ndarray, shape (H, W) or (H, W, C)
        Pixels of any data type that the format supports.
    crs : anything that rasterio accepts, optional
        Coordinate reference system; None for no CRS.
    transform : Affine or its six coefficients
        Transform from pixels to the CRS; see `TRANSFORMS`. With the identity, the file has no georeference and no CRS.
    nodata : float, optional
        The nodata value.
    colors : sequence of str, optional
        Colour interpretation of each band, such as "red" or "alpha".
    descriptions : sequence of str, optional
        Name of each band.
    palette : mapping, optional
        Colour table of a raster with one band: value to RGB or RGBA.
    mask : ndarray of bool, shape (H, W), optional
        Mask of the whole raster: false where there are no data.
    mask_inside : bool, default True
        Whether the mask is stored in the TIFF, or in a file beside it.
    overviews : sequence of int
        Decimation factors of the overviews.
    overview_method : str
        Resampling method of the overviews by rasterio's name, such as "average".
    **profile
        Other options of the driver, such as ``compress``, ``photometric`` or ``tiled``, and ``driver`` itself ("GTiff" by
        default).

    Returns
    -------
    Path
        The given path.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> import rasterio
    >>> from samgeo.testing import TRANSFORMS, write_raster
    >>> path = write_raster(Path("image.tif"), np.zeros((20, 30, 3), dtype="uint8"), transform=TRANSFORMS["south-up"])
    >>> with rasterio.open(path) as file:
    ...     print(file.count, file.shape, file.res)
    3 (20, 30) (0.5, 0.5)
    """
    layers = np.moveaxis(np.atleast_3d(values), 2, 0)
    affine = Affine(*tuple(transform)[:6])
    options = {"driver": "GTiff", "crs": crs, "nodata": nodata} | profile
    options |= {"crs": None} if affine == Affine.identity() else {"transform": affine}
    count, height, width = layers.shape
    with warnings.catch_warnings(), rasterio.Env(GDAL_TIFF_INTERNAL_MASK=mask_inside):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", height=height, width=width, count=count, dtype=layers.dtype, **options) as file:
            if colors is not None:
                file.colorinterp = [ColorInterp[color] for color in colors]
            if descriptions is not None:
                file.descriptions = tuple(descriptions)
            if palette is not None:
                file.write_colormap(1, dict(palette))
            file.write(layers)
            if mask is not None:
                file.write_mask(mask)
        if overviews:
            with rasterio.open(path, "r+") as file:
                file.build_overviews(list(overviews), Resampling[overview_method])
    return path
