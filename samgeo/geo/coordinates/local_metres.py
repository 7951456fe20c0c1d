"""Conversion of steps in the coordinates of any CRS to metres on the ground, near a point."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyproj
from numpy.typing import NDArray

from samgeo.errors import OptionError

if TYPE_CHECKING:
    from samgeo.types import CRSLike

__all__ = ["metres_at"]

# Conformal map projections preserve angles much better than this; the differences that give the scale are exact to 1e-8.
_CONFORMAL = 1e-6


def metres_at(places: NDArray[np.float64], crs: CRSLike) -> NDArray[np.float64]:
    """Return the matrices that convert a step in the coordinates of a CRS to a step on the ground, in metres, at each point.

    The step is converted to longitude and latitude, and with the radii of curvature of the ellipsoid (N cos(lat) along the
    parallel, M along the meridian) to metres east and north. Where the CRS preserves angles (UTM, Mercator) only the scale is
    used, so that a right angle on the ground is exactly a right angle in the coordinates.

    Parameters
    ----------
    places : ndarray, shape (N, 2)
        x and y (longitude and latitude) in the CRS.
    crs : anything that pyproj takes, or None
        None means pixels: steps stay unchanged. Engineering CRSs are scaled by their unit.

    Returns
    -------
    ndarray, shape (N, 2, 2)
        ``step_m = result[i] @ step_crs``.

    Raises
    ------
    OptionError
        If the CRS has no horizontal axes, or a point lies outside its domain.
    """
    places = np.asarray(places, dtype=np.float64)
    if crs is None:
        return np.tile(np.eye(2), (len(places), 1, 1))
    crs = pyproj.CRS.from_user_input(crs)
    if len(crs.axis_info) < 2 or crs.is_geocentric:
        raise OptionError(f"{crs.name} is not a geographic or projected CRS; reproject to one with two horizontal axes.")
    geodetic = crs.geodetic_crs
    geod = None if geodetic is None else geodetic.get_geod()
    if geodetic is None or geod is None:
        return np.tile(np.eye(2) * crs.axis_info[0].unit_conversion_factor, (len(places), 1, 1))
    # A step of about 10 m is small compared with the earth, and large compared with rounding.
    unit = crs.axis_info[0].unit_conversion_factor
    step = 10 / (unit * geod.a if crs.is_geographic else unit)
    to_degrees = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True)
    around = places[:, None] + step * np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]])
    lon, lat = (np.asarray(axis) for axis in to_degrees.transform(around[..., 0], around[..., 1]))
    if not (np.isfinite(lon).all() and np.isfinite(lat).all()):
        raise OptionError(
            f"some coordinates lie outside the domain of {crs.name}; check that this is the CRS of the coordinates."
        )
    to_radians = geodetic.axis_info[0].unit_conversion_factor
    lon, lat = lon * to_radians, lat * to_radians
    bend = 1 - geod.es * np.sin(lat[:, 0]) ** 2
    east = geod.a / np.sqrt(bend) * np.cos(lat[:, 0])
    north = geod.a * (1 - geod.es) / bend**1.5
    turn = (np.stack([lon[:, 1] - lon[:, 2], lon[:, 3] - lon[:, 4]], axis=1) + np.pi) % (2 * np.pi) - np.pi
    rise = np.stack([lat[:, 1] - lat[:, 2], lat[:, 3] - lat[:, 4]], axis=1)
    result = np.stack([turn * east[:, None], rise * north[:, None]], axis=1) / (2 * step)
    return _plain_where_conformal(result)


def _plain_where_conformal(steps: NDArray[np.float64]) -> NDArray[np.float64]:
    square = np.swapaxes(steps, 1, 2) @ steps
    scale2 = (square[:, 0, 0] + square[:, 1, 1]) / 2
    off = np.abs(square - scale2[:, None, None] * np.eye(2)).max(axis=(1, 2))
    plain = np.sqrt(scale2)[:, None, None] * np.eye(2)
    return np.asarray(np.where((off <= _CONFORMAL * scale2)[:, None, None], plain, steps))
