"""Types of what users give: rasters, features, prompts, coordinate reference systems, bands and stretches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    import collections.abc
    import datetime
    import os

    import geopandas
    import numpy.typing
    import odc.geo.crs
    import pandas as pd
    import pyproj
    import rasterio.crs
    import shapely
    import xarray

    import samgeo.geo.raster.raster
    import samgeo.geo.raster.sources.base

__all__ = [
    "AoiLike",
    "BandsLike",
    "BoxesLike",
    "CRSLike",
    "DateLike",
    "Embedding",
    "FeaturesLike",
    "GeometriesLike",
    "Json",
    "LabelsLike",
    "MasksLike",
    "PointsLike",
    "PreparedWindow",
    "PromptArguments",
    "RasterLike",
    "RasterSeriesLike",
    "StacItem",
    "StretchLike",
]


class StacItem(Protocol):
    """An Item of a STAC catalogue, such as ``pystac.Item``."""

    def to_dict(self) -> dict[str, Any]:
        """Return the Item as JSON."""


# The aliases are texts, so that no library is imported for them.

#: A path, an address, a list file, a STAC Item, an array, an opened raster, or several paths or Items of one grid.
RasterLike: TypeAlias = (
    "str | os.PathLike[str] | samgeo.geo.raster.raster.Raster | samgeo.geo.raster.sources.base.Source | xarray.DataArray "
    "| numpy.typing.NDArray[Any] | dict[str, Any] | StacItem | list[Any] | tuple[Any, ...]"
)
#: A date: ISO text such as "2019-05-01" or "2019", a year as a whole number, or a date of Python, NumPy or pandas.
DateLike: TypeAlias = "str | int | datetime.date | numpy.datetime64"
#: Rasters with dates: pairs of date and raster, a mapping of dates to rasters, or an array with an axis of time; or rasters
#: without their dates.
RasterSeriesLike: TypeAlias = (
    "collections.abc.Sequence[tuple[DateLike, RasterLike]] | collections.abc.Mapping[Any, RasterLike] | xarray.DataArray "
    "| collections.abc.Sequence[RasterLike]"
)
#: A coordinate reference system: an EPSG code, WKT or a PROJ string, an object of pyproj, rasterio or odc-geo, or "pixels"
#: where prompts may be in pixels; None to use the CRS of the features or of the raster.
CRSLike: TypeAlias = "str | int | dict[str, Any] | pyproj.CRS | rasterio.crs.CRS | odc.geo.crs.CRS | None"
#: One or three bands by number (from 1) or name; None for the raster's own colours.
BandsLike: TypeAlias = "int | str | list[int | str] | list[int] | list[str] | tuple[int | str, ...] | None"
#: The values that become black and white, one pair for all bands or one for each band; None for percentiles.
StretchLike: TypeAlias = (
    "str | tuple[float, float] | list[float] | list[tuple[float, float]] | tuple[tuple[float, float], ...] | None"
)
#: Features with geometries: a path (``city.gpkg:roofs`` names a layer), a table, or geometries.
FeaturesLike: TypeAlias = (
    "str | os.PathLike[str] | geopandas.GeoDataFrame | geopandas.GeoSeries | shapely.Geometry | list[Any] | tuple[Any, ...] "
    "| numpy.typing.NDArray[Any]"
)
#: Geometries without other columns.
GeometriesLike: TypeAlias = "geopandas.GeoSeries | shapely.Geometry | list[Any] | tuple[Any, ...] | numpy.typing.NDArray[Any]"
#: Points: features, or coordinates of shape (P, 2) or (P, N, 2).
PointsLike: TypeAlias = "FeaturesLike | None"
#: Labels of points: 1 for foreground and 0 for background.
LabelsLike: TypeAlias = "list[Any] | tuple[Any, ...] | numpy.typing.NDArray[Any] | pd.Series | None"
#: Boxes: features, or coordinates of shape (P, 4), x0, y0, x1, y1.
BoxesLike: TypeAlias = "FeaturesLike | None"
#: Low-resolution masks of earlier answers.
MasksLike: TypeAlias = "list[Any] | tuple[Any, ...] | None"
#: An area of interest: a polygon, features, or a box of four numbers.
AoiLike: TypeAlias = "FeaturesLike | None"
#: What a model's ``embed`` returns for one window or for several. Each model has a type of its own, which only this model
#: reads, so that no type fits all of them.
Embedding: TypeAlias = Any
#: What a network's ``window`` returns for training: encoded images that are ready for prompts, in a type of the network's own.
PreparedWindow: TypeAlias = Any
#: A value that was read from JSON, YAML or TOML. The file decides about its type, so that the code which reads the value checks
#: it.
Json: TypeAlias = Any


class PromptArguments(TypedDict, total=False):
    """The keyword arguments that are prompts; see `samgeo.Predictor.predict`."""

    points: PointsLike
    labels: LabelsLike
    boxes: BoxesLike
    masks: MasksLike
    polygons: FeaturesLike | None
    crs: CRSLike
