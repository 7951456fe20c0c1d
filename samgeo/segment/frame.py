"""Objects as a table: polygons in the raster's CRS, scores, true areas."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np

from samgeo.segment.merge import Segment, place

if TYPE_CHECKING:
    import geopandas as gpd
    from odc.geo.geobox import GeoBox

__all__ = ["to_frame"]

VECTORIZE_BATCH = 256


def to_frame(
    segments: Iterable[Segment], geobox: GeoBox, *, min_area: float = 0.0, max_area: float = float("inf")
) -> gpd.GeoDataFrame:
    """Vectorize objects as they come; put them in the order of their places.

    Parameters
    ----------
    segments : iterable of Segment
        In raster pixels; taken a few at a time.
    geobox : GeoBox
        Of the raster.
    min_area, max_area : float
        Objects outside are dropped; square metres, or pixels where the raster has no CRS.

    Returns
    -------
    GeoDataFrame
        ``predicted_iou``, ``stability_score``, ``area_m2`` (``area_px`` without a CRS), ``complete``, ``geometry``.
    """
    import geopandas as gpd
    import shapely

    from samgeo.geo.area import area_m2
    from samgeo.segment.vectorize import georeference, polygons

    records: list[tuple[Any, ...]] = []
    segments = iter(segments)
    while batch := list(islice(segments, VECTORIZE_BATCH)):
        for one, geometry in zip(batch, polygons([one.mask for one in batch]), strict=True):
            records.append((place(one), one.predicted_iou, one.stability_score, one.complete, geometry))
    records.sort(key=itemgetter(0))
    _, predicted_iou, stability_score, complete, geometry_px = zip(*records, strict=True) if records else ((),) * 5
    in_pixels = np.array(geometry_px, dtype=object)
    geometry = georeference(in_pixels, geobox.affine)
    crs = geobox.crs
    area = shapely.area(in_pixels) if crs is None else area_m2(geometry, crs)
    columns = {
        "predicted_iou": np.array(predicted_iou, dtype=np.float64),
        "stability_score": np.array(stability_score, dtype=np.float64),
        "area_px" if crs is None else "area_m2": area,
        "complete": np.array(complete, dtype=bool),
    }
    frame = gpd.GeoDataFrame(columns, geometry=geometry, crs=None if crs is None else crs.proj)
    return frame[(area >= min_area) & (area <= max_area)].reset_index(drop=True)
