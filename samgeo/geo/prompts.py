"""What a person points at, in any CRS, to pixels of a raster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError

if TYPE_CHECKING:
    import shapely
    from odc.geo.geobox import GeoBox

__all__ = ["to_pixels"]


def to_pixels(area: Any, geobox: GeoBox, *, name: str = "the raster") -> shapely.Geometry:
    """Bring an area of interest into the pixels of a raster.

    Parameters
    ----------
    area : path, GeoDataFrame, GeoSeries or geometry
        Polygons; their union counts. A bare geometry is in the raster's CRS.
    geobox : GeoBox
        Of the raster.
    name : str
        Of the raster, for messages.

    Returns
    -------
    geometry
        In raster pixels, continuous, prepared for point queries.

    Raises
    ------
    VectorError
        If the file cannot be read or has no CRS where one is needed.
    OptionError
        If the area does not meet the raster.
    """
    import shapely
    from shapely.affinity import affine_transform

    from samgeo.geo.vectors import read_vectors

    if isinstance(area, shapely.Geometry):
        area_crs = area
    else:
        crs = geobox.crs
        area_crs = shapely.union_all(read_vectors(area, crs=None if crs is None else crs.proj).geometry.to_numpy())
    area_px = affine_transform(area_crs, (~geobox.affine).to_shapely())
    height, width = geobox.shape
    if not shapely.intersection(area_px, shapely.box(0, 0, width, height)).area > 0:
        raise OptionError(
            f"the area of interest does not meet {name}: it covers {_bounds(area_crs)}, the raster "
            f"{_bounds(geobox.extent.geom)} in the raster's CRS. Check its CRS, and that it is polygons of the same place."
        )
    shapely.prepare(area_px)
    return area_px


def _bounds(geometry: shapely.Geometry) -> str:
    import shapely

    return "nothing" if shapely.is_empty(geometry) else "({:.6g}, {:.6g}, {:.6g}, {:.6g})".format(*shapely.bounds(geometry))
