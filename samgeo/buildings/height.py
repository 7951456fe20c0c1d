"""Heights of objects above the ground, and a filter by height."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.errors import RasterioError
from rasterio.features import rasterize
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window

from samgeo.arguments import check_types
from samgeo.errors import OptionError, RasterError, VectorError
from samgeo.geo.coordinates.overlay import in_raster_crs
from samgeo.geo.raster.bands import marker_of
from samgeo.geo.vector.reading import read_vectors
from samgeo.objects.shapes import with_note
from samgeo.progress import counting, progress_bar
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd
    import rasterio

__all__ = ["STATISTICS", "filter_by_height"]

STATISTICS = ("median", "mean", "min", "max", "p10", "p25", "p75", "p90")

# A polygon that covers more pixels than this is not a building, and its pixels might not fit into memory.
MOST_PIXELS = 100_000_000

Statistic = Callable[[NDArray[np.float64]], float]


@check_types
def filter_by_height(
    gdf: FeaturesLike,
    dsm: str | os.PathLike[str],
    dtm: str | os.PathLike[str] | None = None,
    *,
    min_height_m: float = 2.0,
    max_height_m: float | None = None,
    statistic: str = "median",
    unknown: str = "keep",
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Keep objects that rise above the ground.

    The height of an object is a statistic of the surface heights minus the terrain heights, over the pixels of the surface
    model whose centres lie in the object. If the object contains no pixel centre, all pixels that it touches are used. The
    terrain model may have another CRS and another resolution: it is interpolated (bilinear) at the pixels of the surface
    model. Pixels that are nodata, not a number or invented (`samgeo.remove`) in one of the models are left out. Of an object
    that lies partly outside the models, only the part inside is used.

    Parameters
    ----------
    gdf : path, GeoDataFrame or GeoSeries
        Polygons in any CRS.
    dsm : path or URL
        Raster of surface heights in metres, or of heights above the ground if there is no ``dtm``. The first band is used.
    dtm : path or URL, optional
        Raster of terrain heights in metres, above the same datum.
    min_height_m : float, default 2
        Objects that are lower are dropped.
    max_height_m : float, optional
        Objects that are higher are dropped.
    statistic : {"median", "mean", "min", "max", "p10", "p25", "p75", "p90"}, default "median"
        Statistic of the pixels of an object. The median gives the height of the roof even if the outline is slightly wrong;
        "p90" suits objects of which only a part is high.
    unknown : {"keep", "drop"}, default "keep"
        Whether objects without any pixel of known height are kept or dropped.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        The kept rows with the additional column ``height_m``, which is NaN where the height is not known.
        ``attrs["samgeo"]["filter_by_height"]`` has the counts ``kept``, ``too_low``, ``too_high`` and ``unknown``.

    Raises
    ------
    OptionError
        If an option is invalid, or no object lies on the models.
    VectorError
        If the objects have no CRS.
    RasterError
        If a model cannot be read or has no CRS.

    Examples
    --------
    >>> from pathlib import Path
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> from shapely.geometry import box
    >>> from samgeo.buildings import filter_by_height
    >>> from samgeo.testing import write_raster
    >>> heights = np.zeros((40, 40), dtype="float32")
    >>> heights[:20, :20] = 6.5
    >>> dsm = write_raster(Path("dsm.tif"), heights)  # pixels of 0.5 m from (500000, 5400000)
    >>> squares = [box(500_000, 5_399_990, 500_010, 5_400_000), box(500_010, 5_399_980, 500_020, 5_399_990)]
    >>> objects = gpd.GeoDataFrame(geometry=squares, crs="EPSG:32633")
    >>> filter_by_height(objects, dsm, progress=False)["height_m"].tolist()
    [6.5]
    """
    take = _check(statistic, unknown, min_height_m, max_height_m)
    gdf = read_vectors(gdf)
    if gdf.crs is None:
        raise VectorError(
            "the objects have no CRS, so that their heights cannot be read; set their CRS with .set_crs(...) first."
        )
    with progress_bar(len(gdf), "object", "heights", progress=progress) as bar:
        heights = _heights(gdf, dsm, dtm, take, done=bar.update)
    missing = np.isnan(heights)
    if len(gdf) and missing.all():
        raise OptionError(
            f"no object lies on a pixel with a known height in {os.fspath(dsm)}; check that both show the same place."
        )
    low = heights < min_height_m
    high = np.zeros(len(gdf), dtype=bool) if max_height_m is None else heights > max_height_m
    kept = ~(low | high) & ~(missing & (unknown == "drop"))
    result = gdf.assign(height_m=heights)[kept]
    note = {"kept": int(kept.sum()), "too_low": int(low.sum()), "too_high": int(high.sum()), "unknown": int(missing.sum())}
    options = {"min_height_m": min_height_m, "max_height_m": max_height_m, "statistic": statistic, "unknown_are": unknown}
    result.attrs = with_note(gdf, "filter_by_height", note | options)
    return result


def _check(statistic: str, unknown: str, low: float, high: float | None) -> Statistic:
    """Check the options and return the function that computes the statistic."""
    if statistic not in STATISTICS:
        raise OptionError(f"statistic is {statistic!r}; give one of {', '.join(STATISTICS)}.")
    if unknown not in ("keep", "drop"):
        raise OptionError(f"unknown is {unknown!r}; give keep or drop.")
    if not np.isfinite(low) or (high is not None and not high >= low):
        raise OptionError(f"min_height_m is {low} and max_height_m {high}; give min_height_m <= max_height_m.")
    if statistic.startswith("p"):
        return lambda values: float(np.percentile(values, int(statistic[1:])))
    plain: Statistic = getattr(np, statistic)
    return lambda values: float(plain(values))


def _heights(
    gdf: gpd.GeoDataFrame,
    dsm: str | os.PathLike[str],
    dtm: str | os.PathLike[str] | None,
    take: Statistic,
    *,
    done: Callable[[int], object],
) -> NDArray[np.float64]:
    """Return the height of each object, shape (N,); NaN where it is not known."""
    result = np.full(len(gdf), np.nan)
    with ExitStack() as stack:
        surface = stack.enter_context(_opened(dsm))
        terrain = None
        if dtm is not None:
            ground = stack.enter_context(_opened(dtm))
            grid = {"crs": surface.crs, "transform": surface.transform, "width": surface.width, "height": surface.height}
            terrain = stack.enter_context(
                WarpedVRT(ground, **grid, resampling=Resampling.bilinear, nodata=np.nan, dtype="float64")
            )
        pixels = GeoBox((surface.height, surface.width), surface.transform, surface.crs)
        # Geometries that cannot be transformed to the CRS of the heights are None here: they lie on none of the pixels.
        geometries, _ = in_raster_crs(np.asarray(shapely.force_2d(gdf.geometry.to_numpy()), dtype=object), pixels, gdf.crs)
        placed = shapely.make_valid(geometries)
        for row, polygon in enumerate(counting(placed, done)):
            values = _values(polygon, surface, terrain)
            if len(values):
                result[row] = take(values)
    return result


def _values(
    polygon: shapely.Geometry | None, surface: rasterio.DatasetReader, terrain: rasterio.DatasetReader | None
) -> NDArray[np.float64]:
    """Return the known heights of the pixels in a polygon, which may be missing or empty."""
    if polygon is None or shapely.is_empty(polygon):
        return np.empty(0)
    inverse = ~surface.transform
    corners = shapely.get_coordinates(shapely.box(*shapely.bounds(polygon)))
    columns, rows = inverse * (corners[:, 0], corners[:, 1])
    x0, x1 = np.clip([np.floor(np.min(columns)), np.ceil(np.max(columns))], 0, surface.width).astype(int)
    y0, y1 = np.clip([np.floor(np.min(rows)), np.ceil(np.max(rows))], 0, surface.height).astype(int)
    if x0 >= x1 or y0 >= y1:
        return np.empty(0)
    if (x1 - x0) * (y1 - y0) > MOST_PIXELS:
        raise OptionError(f"an object covers {x1 - x0} x {y1 - y0} pixels, too many for a building; remove the object.")
    window = Window(x0, y0, x1 - x0, y1 - y0)
    height = _read(surface, window)
    if terrain is not None:
        height = height - _read(terrain, window)
    shape, transform = height.shape, surface.window_transform(window)
    inside = rasterize([(polygon, 1)], out_shape=shape, transform=transform, dtype="uint8") == 1
    if not inside.any():
        inside = rasterize([(polygon, 1)], out_shape=shape, transform=transform, dtype="uint8", all_touched=True) == 1
    values = height[inside]
    return np.asarray(values[np.isfinite(values)], dtype=np.float64)


def _read(dataset: rasterio.DatasetReader, window: Window) -> NDArray[np.float64]:
    marker = marker_of(dataset.descriptions)
    with _errors(dataset.name):
        values = np.ma.filled(dataset.read(1, window=window, masked=True).astype(np.float64), np.nan)
        if marker is not None:
            # Invented heights are not measurements. After interpolation, any part of an invented pixel counts.
            values[dataset.read(marker, window=window) != 0] = np.nan
    return np.asarray(values)


@contextmanager
def _opened(path: str | os.PathLike[str]) -> Iterator[rasterio.DatasetReader]:
    """Open a raster of heights that has a CRS."""
    from samgeo.geo.drivers import open_raster

    with _errors(os.fspath(path)):
        dataset = open_raster(os.fspath(path), os.fspath(path))
    with dataset:
        if dataset.crs is None:
            raise RasterError(
                f"{os.fspath(path)} has no CRS, so that objects cannot be located in it; assign its CRS (gdal_edit.py -a_srs)."
            )
        yield dataset


@contextmanager
def _errors(name: str) -> Iterator[None]:
    """Replace errors of rasterio by a `RasterError` with the name of the file."""
    try:
        yield
    except (OSError, RasterioError) as error:
        raise RasterError(f"{name} cannot be read ({error}); check that it is a complete raster of heights.") from None
