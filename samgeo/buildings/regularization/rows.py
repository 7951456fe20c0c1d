"""Functions that regularization and simplification share: checks of options, rows made of parts, and areas."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely

from samgeo.buildings.regularization.cells import largest
from samgeo.errors import OptionError
from samgeo.geo.coordinates.area import area_m2

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.buildings.regularization.metric_clusters import Metric
    from samgeo.types import CRSLike

__all__ = ["check_tolerance", "foreign_areas", "measured", "rows_of"]

DEFAULT_M, DEFAULT_PX = 1.0, 2.0


def check_tolerance(tolerance_m: float | None, crs: CRSLike) -> float:
    """Return the tolerance in metres, or in pixels if there is no CRS.

    Raises
    ------
    OptionError
        If it is not a positive number.
    """
    if tolerance_m is None:
        return DEFAULT_PX if crs is None else DEFAULT_M
    good = isinstance(tolerance_m, int | float) and not isinstance(tolerance_m, bool)
    if not good or not math.isfinite(tolerance_m) or tolerance_m <= 0:
        raise OptionError(f"tolerance_m is {tolerance_m!r}; give a number of metres above 0 (of pixels without a CRS).")
    return float(tolerance_m)


def rows_of(frame: gpd.GeoDataFrame, metric: Metric, polygons: list[shapely.Polygon]) -> gpd.GeoDataFrame:
    """Return the table with new geometries, made of the polygons of its parts in metres. Rows without parts are not changed."""
    back = metric.back(polygons)
    # Coordinates far from the origin of a CRS are rounded, which may make a polygon invalid.
    broken = ~shapely.is_valid(back)
    back[broken] = [largest(shapely.make_valid(each)) for each in back[broken]]
    geometries = np.asarray(frame.geometry, dtype=object).copy()
    for row, start, stop in _runs(metric.row):
        parts = back[start:stop]
        geometries[row] = parts[0] if len(parts) == 1 else shapely.union_all(parts)
    result = frame.copy()
    return result.set_geometry(frame.geometry.set_axis(frame.index).__class__(geometries, index=frame.index, crs=frame.crs))


def _runs(row: np.ndarray[Any, np.dtype[np.int64]]) -> list[tuple[int, int, int]]:
    """Return the row, start and stop of each run of parts of the same row."""
    edges = [0, *(np.flatnonzero(row[1:] != row[:-1]) + 1).tolist(), len(row)]
    return [(int(row[start]), start, stop) for start, stop in pairwise(edges) if stop > start]


def foreign_areas(frame: gpd.GeoDataFrame) -> list[str]:
    """Return those of the columns ``area_m2`` and ``area_px`` that do not hold the areas of the features.

    The values are compared with the areas, within a thousandth of the area. Missing values are ignored.
    """
    found = []
    for name in ("area_m2", "area_px"):
        if name not in frame.columns or (frame.crs is None) == (name == "area_m2"):
            continue
        true = (
            area_m2(frame.geometry, frame.crs) if name == "area_m2" else shapely.area(np.asarray(frame.geometry, dtype=object))
        )
        given = pd.to_numeric(frame[name], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
        has_text = bool((np.isnan(given) & frame[name].notna().to_numpy()).any())
        known = ~np.isnan(given)
        if has_text or not np.allclose(given[known], np.nan_to_num(true)[known], rtol=1e-3, atol=1e-9):
            found.append(name)
    return found


def measured(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return the table with its columns ``area_m2`` and ``area_px``, if it has them, computed again."""
    if "area_m2" in frame.columns and frame.crs is not None:
        frame["area_m2"] = area_m2(frame.geometry, frame.crs)
    if "area_px" in frame.columns and frame.crs is None:
        frame["area_px"] = np.nan_to_num(shapely.area(np.asarray(frame.geometry, dtype=object)))
    return frame
