"""Objects of a raster of unknown ground resolution: large ones as one zoom shows them, small ones from a finer zoom."""

from __future__ import annotations

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from samgeo.segmentation.masks.nms import keep_greedily
from samgeo.segmentation.windows.proposed import MASK_NMS, MOST_COVERED

__all__ = ["SMALL_PX", "combined"]

# Objects whose area is less than that of a square with this side, in raster pixels, are taken from the finer zoom.
SMALL_PX = 24


def combined(coarse: gpd.GeoDataFrame, fine: gpd.GeoDataFrame, area: str) -> gpd.GeoDataFrame:
    """Return the large objects of one table and the small objects of another one, without those that overlap a better one.

    Parameters
    ----------
    coarse, fine : GeoDataFrame
        Objects found at two zooms, with columns ``score``, ``class`` and the area.
    area : str
        Name of the column of areas, in pixels.

    Returns
    -------
    GeoDataFrame
        Ordered from top to bottom, then from left to right. ``attrs`` are those of ``coarse``.
    """
    parts = [coarse[coarse[area] >= SMALL_PX**2], fine[fine[area] < SMALL_PX**2]]
    parts = [part for part in parts if len(part)] or [coarse.iloc[:0]]
    both = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=coarse.crs)
    both = both.iloc[np.argsort(-both["score"].to_numpy(), kind="stable")].reset_index(drop=True)
    outlines = both.geometry.to_numpy()
    first, second = shapely.STRtree(outlines).query(outlines)
    ahead = (first < second) & (both["class"].to_numpy()[first] == both["class"].to_numpy()[second])
    first, second = first[ahead], second[ahead]
    shared = shapely.area(shapely.intersection(outlines[first], outlines[second]))
    size = shapely.area(outlines)
    total, smaller = size[first] + size[second] - shared, np.minimum(size[first], size[second])
    over = (shared > MASK_NMS * total) | (shared > MOST_COVERED * smaller)
    both = both.iloc[keep_greedily(len(both), first[over], second[over])]
    bounds = both.bounds
    both = both.iloc[np.lexsort([bounds["minx"], bounds["miny"]])].reset_index(drop=True)
    both.attrs = dict(coarse.attrs)
    return both
