"""Areas of interest: polygons that limit where objects are segmented or counted.

An area may be in any CRS, be invalid, have a third dimension, and reach around the earth. Polygons that cross themselves are
repaired by the rule for all inputs. Points, lines, coordinates that are not finite numbers, and areas without any polygon are
refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.affinity import affine_transform

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.antimeridian import period_of
from samgeo.geo.coordinates.indexed_area import IndexedArea
from samgeo.geo.coordinates.overlay import around_raster, check_same_kind, in_raster_crs, repaired_polygons
from samgeo.geo.coordinates.pixel_coordinates import crs_of, same_crs, transformer
from samgeo.geo.vector.axes import refuse_mirrored
from samgeo.geo.vector.reading import read_vectors

if TYPE_CHECKING:
    import pyproj
    from odc.geo.geobox import GeoBox

    from samgeo.types import FeaturesLike

__all__ = ["Area", "read_area", "to_pixels"]

WHAT = "the area of interest"

# The order of the parts of a union of so many polygons, which the description of a run holds, is that of all versions of GEOS.
FEW = 1000


@dataclass(frozen=True, slots=True, eq=False)
class Area:
    """An area of interest in its own CRS.

    Attributes
    ----------
    geometry : Polygon or MultiPolygon
        Valid and two-dimensional, with an area above 0.
    crs : pyproj.CRS or None
        CRS of the geometry.
    """

    geometry: shapely.Geometry
    crs: pyproj.CRS | None

    def contains(self, xy: NDArray[np.float64], crs: pyproj.CRS | None) -> NDArray[np.bool_]:
        """Return which points lie in the area or on its edge.

        The points are transformed to the CRS of the area, in which its edges are straight.

        Parameters
        ----------
        xy : ndarray, shape (N, 2)
            x and y (longitude and latitude).
        crs : pyproj.CRS or None
            CRS of the points.
        """
        x, y = xy[:, 0], xy[:, 1]
        if crs is not None and self.crs is not None and not same_crs(crs, self.crs):
            x, y = (np.asarray(axis) for axis in transformer(crs, self.crs)(x, y))
        xy, area = np.stack([x, y], axis=1), IndexedArea(self.geometry)
        known = np.isfinite(xy).all(axis=1)
        inside = np.zeros(len(xy), dtype=bool)
        x0, _, x1, _ = shapely.bounds(self.geometry).tolist()
        period = period_of(self.crs)
        if period is None:
            inside[known] = area.contains_xy(xy[known], on_edge=True)
            return inside
        # Each point is tested once for each turn around the earth on which the area may lie.
        low = np.floor((x0 - x[known].max(initial=x0)) / period)
        high = np.ceil((x1 - x[known].min(initial=x1)) / period)
        for turn in np.arange(low, high + 1):
            inside[known] |= area.contains_xy(xy[known] + (turn * period, 0), on_edge=True)
        return inside


def read_area(area: FeaturesLike, crs: pyproj.CRS | None = None) -> Area:
    """Read an area of interest.

    Parameters
    ----------
    area : path, URL, GeoDataFrame, GeoSeries or geometry
        Polygons and multipolygons, which are united.
    crs : pyproj.CRS, optional
        CRS of a bare geometry.

    Returns
    -------
    Area

    Raises
    ------
    VectorError
        If the area cannot be read.
    OptionError
        If it holds other geometries than polygons, a coordinate that is not finite, or no area at all.
    """
    if isinstance(area, shapely.Geometry):
        geometries: list[shapely.Geometry] | NDArray[np.object_] = [area]
    else:
        frame = read_vectors(area)
        geometries, crs = frame.geometry.to_numpy(), frame.crs
    try:
        joined = _united(repaired_polygons(geometries, WHAT))
    except VectorError as error:
        raise OptionError(str(error)) from None
    if not shapely.area(joined) > 0:
        raise OptionError(f"{WHAT} contains no polygon with an area (it has {len(geometries)} features); give at least one.")
    return Area(joined, crs)


def _united(polygons: NDArray[np.object_]) -> shapely.Geometry:
    """Unite polygons. Of many, those that touch no other, such as fields, are only collected, which is linear."""
    if len(polygons) > FEW and shapely.geos_version >= (3, 12):
        return shapely.disjoint_subset_union_all(polygons)
    return shapely.union_all(polygons)


def to_pixels(area: FeaturesLike, geobox: GeoBox, *, name: str = "the raster") -> shapely.Geometry:
    """Transform an area of interest to the pixels of a raster.

    Edges that are straight in the CRS of the area are followed to 1/16 of a pixel. If the area reaches beyond the raster, only
    the part near the raster is transformed, because the rest may not exist in the CRS of the raster.

    Parameters
    ----------
    area : path, GeoDataFrame, GeoSeries or geometry
        Polygons, which are united. A bare geometry is in the CRS of the raster.
    geobox : GeoBox
        Grid of the raster.
    name : str
        Name of the raster, for messages.

    Returns
    -------
    Polygon or MultiPolygon
        In continuous raster pixels, valid.

    Raises
    ------
    VectorError
        If the area cannot be read, only one of the two has a CRS, or a part of the area near the raster cannot be represented
        in the CRS of the raster.
    OptionError
        If it is not an area (see `read_area`), or does not intersect the raster.
    """
    ours = crs_of(geobox)
    read = read_area(area, ours)
    check_same_kind(read.crs, geobox, what=WHAT, raster=name)
    refuse_mirrored(gpd.GeoDataFrame(geometry=[read.geometry], crs=read.crs), geobox, WHAT)
    near, whole = read.geometry, read.geometry
    if read.crs is not None and ours is not None and not same_crs(read.crs, ours):
        around = around_raster(geobox, read.crs)
        if around is not None and not shapely.covers(around, near):
            near = shapely.intersection(near, around)
    (placed,), (lost,) = in_raster_crs(np.array([near], dtype=object), geobox, read.crs)
    if lost:
        raise VectorError(
            f"{WHAT} cannot be transformed to the CRS of {name}, because a part of it lies outside the domain of that CRS. "
            "Clip it to the area that you need, or give it in the raster's CRS."
        )
    (valid,) = repaired_polygons([placed], WHAT)
    area_px: shapely.Geometry = affine_transform(valid, (~geobox.affine).to_shapely())
    if not shapely.is_valid(area_px):
        (area_px,) = repaired_polygons([area_px], WHAT)
    height, width = geobox.shape
    if not shapely.intersection(area_px, shapely.box(0, 0, width, height)).area > 0:
        where = "" if read.crs is None else f" in {read.crs.to_string()}"
        raise OptionError(
            f"{WHAT} does not intersect {name}: it covers {_bounds(whole)}{where}, the raster {_bounds(geobox.extent.geom)} "
            "in the raster's CRS. Check its CRS, and that its polygons are in the area of the raster."
        )
    return area_px


def _bounds(geometry: shapely.Geometry) -> str:
    return "({:.6g}, {:.6g}, {:.6g}, {:.6g})".format(*shapely.bounds(geometry))
