"""Choice between rough polygons and the answers of the model to them, for `Predictor.snap`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.geo.coordinates.overlay import in_raster_crs
from samgeo.geo.coordinates.prompt_geometry import PIXELS, is_features
from samgeo.geo.vector.reading import read_vectors
from samgeo.segmentation.masks.vectorize import georeference
from samgeo.segmentation.tables import area_name, areas

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.types import CRSLike, FeaturesLike

__all__ = ["as_given", "keep_or_snap"]


def as_given(polygons: FeaturesLike, crs: CRSLike, geobox: GeoBox) -> NDArray[np.object_]:
    """Return the polygons given to `Predictor.snap` in the raster's CRS, with coordinates in full precision."""
    if is_features(polygons):
        series = read_vectors(polygons).geometry
        geometries, crs = np.asarray(series.to_numpy(), dtype=np.object_), series.crs or crs
    else:
        geometries = np.asarray([polygons] if isinstance(polygons, shapely.Geometry) else polygons, dtype=np.object_)
    if isinstance(crs, str) and crs == PIXELS:
        return georeference(geometries, geobox.affine)
    placed, lost = in_raster_crs(np.asarray(shapely.force_2d(geometries), dtype=np.object_), geobox, crs)
    # A polygon that cannot be transformed to the raster's CRS has no answer either, and ``reason`` says so.
    placed[lost] = shapely.Polygon()
    return placed


def keep_or_snap(
    found: gpd.GeoDataFrame, rough: NDArray[np.object_], rough_px: NDArray[np.object_], geobox: GeoBox, min_iou: float
) -> gpd.GeoDataFrame:
    """Keep a rough polygon if its answer is missing or has too small an IoU with it; otherwise use the answer.

    Parameters
    ----------
    found : GeoDataFrame
        The answers, in the raster's CRS.
    rough, rough_px : ndarray of geometries
        The rough polygons, in the raster's CRS and in pixels.
    geobox : GeoBox
        Grid of the raster.
    min_iou : float
        Smallest IoU of an answer with its polygon.

    Returns
    -------
    GeoDataFrame
        With columns ``snapped`` and ``snap_iou``, and ``reason`` if a polygon was kept.
    """
    answer = found.geometry.to_numpy()
    shared = shapely.area(shapely.intersection(shapely.make_valid(rough), answer))
    total = shapely.area(rough) + shapely.area(answer) - shared
    missing = shapely.is_empty(answer)
    iou = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    kept = missing | (iou < min_iou)
    reason = [
        reason if lost else f"IoU {value:.2f} is below {min_iou:g}" if stays else None
        for reason, lost, stays, value in zip(found.reason, missing, kept, iou, strict=True)
    ]
    geometry = np.where(kept, rough, answer)
    columns = {"snapped": ~kept, "snap_iou": np.where(missing, np.nan, iou), "reason": np.array(reason, dtype=object)}
    result = found.assign(**columns).set_geometry(gpd.GeoSeries(geometry, index=found.index, crs=found.crs))
    name = area_name(geobox)
    result[name] = np.where(kept, areas(rough_px, rough, geobox), found[name])
    result.attrs = found.attrs
    return result
