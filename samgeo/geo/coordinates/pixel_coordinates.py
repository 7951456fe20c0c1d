"""Transformation of coordinates in any CRS to pixels of a raster, and back.

Pixels are continuous, x right and y down: the outer corner of the first pixel is (0, 0), its centre (0.5, 0.5). Coordinates are
rounded to 1/256 of a pixel, so that a point gives the same prompt whatever its CRS, although transforms differ in their last
bits. Longitudes are shifted to within half a turn of the middle of the raster: -170 is 190 degrees on a raster from 170 to 190.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pyproj
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.geo.coordinates.antimeridian import near_centre, period_of

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from odc.geo.geobox import GeoBox

    from samgeo.types import CRSLike

__all__ = ["PIXELS", "Inward", "crs_of", "from_pixels", "inward_to", "middle_x", "resolve_crs", "same_crs", "transformer"]

PIXELS = "pixels"
"""Value of a CRS option which says that coordinates are pixels of the raster."""

STEPS_PER_PX = 256

Inward = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def from_pixels(xy_px: ArrayLike, geobox: GeoBox, crs: CRSLike = None) -> NDArray[np.float64]:
    """Transform pixels of a raster to coordinates.

    Parameters
    ----------
    xy_px : array-like, shape (..., 2)
        x and y in raster pixels, continuous.
    geobox : GeoBox
        Grid of the raster.
    crs : anything that pyproj takes, or "pixels", optional
        CRS of the result; that of the raster by default.

    Returns
    -------
    ndarray, shape (..., 2)
        x and y (longitude and latitude); infinite outside the domain of the CRS.

    Raises
    ------
    OptionError
        If the CRS is unknown, or the raster has none.
    """
    xy = np.asarray(xy_px, dtype=np.float64)
    if isinstance(crs, str) and crs == PIXELS:
        return xy
    affine = geobox.affine
    x, y = affine.a * xy[..., 0] + affine.b * xy[..., 1] + affine.c, affine.d * xy[..., 0] + affine.e * xy[..., 1] + affine.f
    transform = _between(geobox, crs, outward=True)
    return np.stack((x, y) if transform is None else transform(x, y), axis=-1)


def inward_to(geobox: GeoBox, crs: CRSLike) -> Inward:
    """Return the function from coordinates of shape (..., 2) to rounded pixels.

    The function returns NaN for points that cannot be represented in the CRS of the raster.
    """
    if isinstance(crs, str) and crs == PIXELS:
        return _round
    transform = _between(geobox, crs, outward=False)
    inverse = ~geobox.affine
    middle, period = middle_x(geobox), period_of(crs_of(geobox))

    def inward(xy: NDArray[np.float64]) -> NDArray[np.float64]:
        x, y = xy[..., 0], xy[..., 1]
        if transform is not None:
            x, y = transform(x, y)
        x = near_centre(np.asarray(x), middle, period)
        with np.errstate(invalid="ignore"):
            placed = np.stack([inverse.a * x + inverse.b * y + inverse.c, inverse.d * x + inverse.e * y + inverse.f], axis=-1)
        return _round(placed)

    return inward


def crs_of(geobox: GeoBox) -> pyproj.CRS | None:
    """Return the CRS of a raster as a pyproj CRS, or None."""
    return None if geobox.crs is None else pyproj.CRS.from_user_input(geobox.crs.proj)


def middle_x(geobox: GeoBox) -> float:
    """Return x of the middle of a raster, in its CRS."""
    height, width = geobox.shape
    affine = geobox.affine
    return float(affine.a * width / 2 + affine.b * height / 2 + affine.c)


def resolve_crs(geobox: GeoBox, crs: CRSLike) -> pyproj.CRS | None:
    """Return the given CRS of coordinates as a pyproj CRS, or None if none is given, which means that of the raster.

    Raises
    ------
    OptionError
        If the CRS is unknown, or the raster has none.
    """
    if crs is None:
        return None
    if geobox.crs is None:
        raise OptionError(
            f"the raster has no CRS, so that coordinates in {_name(crs)} cannot be transformed to its pixels; give coordinates "
            f'in pixels, with crs="{PIXELS}" or as features without a CRS.'
        )
    try:
        return pyproj.CRS.from_user_input(crs)
    except pyproj.exceptions.CRSError as error:
        raise OptionError(
            f'crs is {crs!r}, which is not a CRS ({error}); give one such as "EPSG:4326", or "{PIXELS}".'
        ) from None


def same_crs(one: pyproj.CRS, other: pyproj.CRS) -> bool:
    """Return whether coordinates in the order x, y are the same in two CRSs."""
    return bool(one == other or one.equals(other, ignore_axis_order=True))


def _name(crs: object) -> str:
    return crs.to_string() if hasattr(crs, "to_string") else str(crs)


def _round(xy: NDArray[np.float64]) -> NDArray[np.float64]:
    rounded = np.rint(xy * STEPS_PER_PX) / STEPS_PER_PX
    return np.where(np.isfinite(rounded).all(axis=-1, keepdims=True), rounded, np.nan)


def _between(geobox: GeoBox, crs: CRSLike, *, outward: bool) -> Callable[..., tuple[Any, Any]] | None:
    """Return the transform between a CRS and that of the raster, or None if they are the same."""
    theirs, ours = resolve_crs(geobox, crs), crs_of(geobox)
    if theirs is None or ours is None or same_crs(ours, theirs):
        return None
    return transformer(*((ours, theirs) if outward else (theirs, ours)))


@lru_cache(maxsize=16)
def transformer(source: pyproj.CRS, target: pyproj.CRS) -> Callable[..., tuple[Any, Any]]:
    """Return the transform of x and y (longitude and latitude) between two CRSs."""
    transform: Callable[..., tuple[Any, Any]] = pyproj.Transformer.from_crs(source, target, always_xy=True).transform
    return transform
