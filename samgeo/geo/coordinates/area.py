"""Areas of polygons on the ellipsoid, for coordinates in any CRS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError

if TYPE_CHECKING:
    from samgeo.types import CRSLike, GeometriesLike

__all__ = ["area_m2"]

# Up to this size a polygon is measured as a plane one: a cap of radius r on a sphere of radius R has (r / 2R)^2 more area than
# its disk, 1.5e-7 for 10 km across. Larger polygons are measured with geodesics. Their areas have a rounding error of about
# 1e-4 m2 whatever the size, which is too much for a tree and negligible for a lake.
PLANE_SIDE_M = 10_000.0


def area_m2(geometries: GeometriesLike, crs: CRSLike) -> NDArray[np.float64]:
    """Measure the areas of polygons on the ellipsoid of their CRS, whatever the distortion of its map projection.

    Corners are placed on the ellipsoid. Rings up to 10 km across are measured as plane polygons in space (half the length of
    the sum of the cross products of successive corners, relative to the middle of their bounds), larger rings by geodesics (C.
    F. F. Karney, Algorithms for geodesics, 2013). Holes are subtracted. Where the CRS has no relation to the earth (an
    engineering CRS), the area is the plane area times the square of the unit.

    Parameters
    ----------
    geometries : array-like of shapely geometries, length N
        GeoSeries, ndarray or list. Empty and missing geometries, and those that are not polygons, have area 0.
    crs : anything that pyproj takes
        The CRS of the coordinates, in the order x, y (longitude, latitude).

    Returns
    -------
    ndarray, shape (N,)
        Square metres; NaN where a corner is outside the CRS's domain.

    Raises
    ------
    OptionError
        If there is no CRS, or it has no horizontal axes.
    """
    if crs is None:
        raise OptionError("areas in square metres need a CRS; set a CRS, or measure in pixels.")
    crs = pyproj.CRS.from_user_input(crs)
    geometries = np.asarray(geometries, dtype=object)
    if len(crs.axis_info) < 2 or crs.is_geocentric:
        raise OptionError(f"{crs.name} is not a geographic or projected CRS; reproject to one with two horizontal axes.")
    geodetic = crs.geodetic_crs
    geod = None if geodetic is None else geodetic.get_geod()
    if geodetic is None or geod is None:
        unit_m = crs.axis_info[0].unit_conversion_factor
        return np.asarray(np.nan_to_num(shapely.area(geometries)) * unit_m**2, dtype=np.float64)

    parts, owner = shapely.get_parts(geometries, return_index=True)
    polygons, part = shapely.get_parts(parts, return_index=True)  # Collections may contain multipolygons.
    owner = owner[part]
    rings, polygon_of_ring = shapely.get_rings(polygons, return_index=True)
    if len(rings) == 0:
        return np.zeros(len(geometries))
    is_hole = np.r_[False, polygon_of_ring[1:] == polygon_of_ring[:-1]]
    xy, ring_of_corner = shapely.get_coordinates(rings, return_index=True)
    degrees = pyproj.Transformer.from_crs(crs, geodetic, always_xy=True).transform(xy[:, 0], xy[:, 1])
    lon, lat = (np.asarray(axis) * geodetic.axis_info[0].unit_conversion_factor for axis in degrees)
    areas = _ring_areas(lon, lat, np.searchsorted(ring_of_corner, np.arange(len(rings))), geod)
    total = np.bincount(owner[polygon_of_ring], np.where(is_hole, -areas, areas), minlength=len(geometries))
    return total.astype(np.float64)


def _ring_areas(
    lon: NDArray[np.float64], lat: NDArray[np.float64], starts: NDArray[np.int64], geod: pyproj.Geod
) -> NDArray[np.float64]:
    """Measure closed rings, whose corners follow each other in radians and whose first corners are at ``starts``."""
    lengths = np.diff(np.append(starts, len(lon)))
    with np.errstate(invalid="ignore"):
        xyz = _on_ellipsoid(lon, lat, geod)
        low, high = (np.stack([op.reduceat(axis, starts) for axis in xyz.T], axis=1) for op in (np.minimum, np.maximum))
        # Coordinates are taken relative to a nearby point, so that the products are not rounded at the scale of the earth.
        offset = xyz - np.repeat((low + high) / 2, lengths, axis=0)
        # Rings are closed, so the product of the last corner of a ring with the first corner of the next must not count.
        cross = np.cross(offset, np.roll(offset, -1, axis=0))
        cross[starts + lengths - 1] = 0
        areas = np.linalg.norm(np.add.reduceat(cross, starts, axis=0), axis=1) / 2
        large = np.linalg.norm(high - low, axis=1) > PLANE_SIDE_M
    for ring in np.flatnonzero(large):
        corners = slice(starts[ring], starts[ring] + lengths[ring])
        area, _ = geod.polygon_area_perimeter(lon[corners], lat[corners], radians=True)
        areas[ring] = abs(area)
    return np.asarray(areas, dtype=np.float64)


def _on_ellipsoid(lon: NDArray[np.float64], lat: NDArray[np.float64], geod: pyproj.Geod) -> NDArray[np.float64]:
    """Return geocentric x, y, z in metres, shape (N, 3), of longitudes and latitudes in radians."""
    normal = geod.a / np.sqrt(1 - geod.es * np.sin(lat) ** 2)
    return np.stack(
        [normal * np.cos(lat) * np.cos(lon), normal * np.cos(lat) * np.sin(lon), normal * (1 - geod.es) * np.sin(lat)], axis=1
    )
