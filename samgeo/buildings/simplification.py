"""Simplification of polygons that keeps the borders which neighbours share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.buildings.regularization.cells import largest
from samgeo.buildings.regularization.metric_clusters import Metric, to_metric
from samgeo.buildings.regularization.neighbours import by_first, clusters, neighbours
from samgeo.buildings.regularization.rows import check_tolerance, foreign_areas, measured, rows_of
from samgeo.buildings.regularization.walls import match_corners
from samgeo.geo.vector.columns import keep_given
from samgeo.geo.vector.reading import read_vectors
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["simplify"]

# Neighbours touch if their distance is at most this fraction of the tolerance.
_TOUCH = 0.01


@check_types
def simplify(features: FeaturesLike, tolerance_m: float | None = None, *, keep_topology: bool = True) -> gpd.GeoDataFrame:
    """Simplify polygons, so that they have fewer corners.

    With topology, corners are removed one after another; the corner whose triangle with its two neighbours has the smallest
    area is removed first (M. Visvalingam and J. D. Whyatt, Line generalisation by repeated elimination of points, 1993). A
    wall that two neighbours share is simplified once for both, so that polygons that touched without overlap still do so
    afterwards. A polygon that overlaps a neighbour is simplified alone, and may still overlap it afterwards.

    Without topology, each polygon is simplified alone, by the distance of its corners from the simplified line (Douglas and
    Peucker, 1973), and stays valid.

    Parameters
    ----------
    features : GeoDataFrame, GeoSeries, path or URL
        Polygons and multipolygons. Invalid geometries are repaired first; missing and empty geometries stay as they are.
    tolerance_m : float, optional
        Tolerance in metres on the ground in any CRS, or in pixels if there is no CRS. With topology, corners are removed whose
        triangle has an area below the square of the tolerance. Without topology, no corner moves further than the tolerance.
        The default is 1 m, or 2 pixels if there is no CRS.
    keep_topology : bool, default True
        Whether neighbours keep their shared walls.

    Returns
    -------
    GeoDataFrame
        The same rows and columns with new geometries. Columns ``area_m2`` and ``area_px`` that hold the areas of the features
        are computed again. If such a column holds something else, it is renamed with the suffix ``_given`` and a warning is
        issued.

    Raises
    ------
    OptionError
        If the tolerance is not a positive number.
    VectorError
        If the features cannot be read, or some are not polygons.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import Polygon
    >>> from samgeo.buildings import simplify
    >>> outline = Polygon([(0, 0), (20, 0), (20, 10), (10, 10.5), (0, 10)])
    >>> simple = simplify(gpd.GeoDataFrame(geometry=[outline]), tolerance_m=3)
    >>> len(simple.geometry[0].exterior.coords) - 1
    4
    """
    frame = read_vectors(features)
    frame = keep_given(frame, foreign_areas(frame), "the features")
    tolerance = check_tolerance(tolerance_m, frame.crs)
    metric = to_metric(frame.geometry, frame.crs, tolerance, keep_small=True)
    if keep_topology:
        simple = _together(metric, tolerance)
    else:
        simple = list(shapely.simplify(metric.parts, tolerance, preserve_topology=True))
    return measured(rows_of(frame, metric, simple))


def _together(metric: Metric, tolerance: float) -> list[shapely.Polygon]:
    """Simplify groups of touching polygons, so that shared walls stay shared."""
    polygons = list(metric.parts)
    pairs = neighbours(metric.parts, metric.pairs, _TOUCH * tolerance)
    order = list(range(len(polygons)))
    match_corners(polygons, order, by_first(pairs))
    result = np.array(polygons, dtype=object)
    for members in _coverages(result, pairs):
        simple = shapely.coverage_simplify(result[members], tolerance)
        fits = shapely.is_valid(simple) & ~shapely.is_empty(simple)
        # If one part would vanish or become invalid, its whole group keeps the old outlines: if that part alone kept its
        # outline, it would no longer share its walls with its neighbours.
        if fits.all():
            result[members] = simple
    return [each if each.geom_type == "Polygon" else largest(each) for each in result]


def _coverages(polygons: NDArray[np.object_], pairs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return groups of touching polygons without overlaps. A polygon that overlaps a neighbour is a group of its own."""
    first, second = polygons[pairs[:, 0]], polygons[pairs[:, 1]]
    over = shapely.area(shapely.intersection(first, second)) > 0
    alone = np.unique(pairs[over])
    kept = pairs[~np.isin(pairs, alone).any(axis=1)]
    group = clusters(len(polygons), kept)
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []
