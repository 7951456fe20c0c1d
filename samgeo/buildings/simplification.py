"""Fewer corners, with neighbours still sharing every one of those that they shared."""

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
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["simplify"]

# Neighbours nearer than this many tolerances touch.
_TOUCH = 0.01


@check_types
def simplify(features: FeaturesLike, tolerance_m: float | None = None, *, keep_topology: bool = True) -> gpd.GeoDataFrame:
    """Simplify polygons.

    With topology, corners go one after another, those first that carry the smallest triangle (M. Visvalingam and J. D. Whyatt,
    Line generalisation by repeated elimination of points, 1993), and a wall that two neighbours share is simplified once, for
    both: where polygons touched without overlap, they do so afterwards. Polygons that overlap are left to overlap, each
    simplified with those that it does not overlap. Without topology each polygon is simplified by itself, by the
    distance of its corners (Douglas and Peucker, 1973), and stays valid.

    Parameters
    ----------
    features : GeoDataFrame, GeoSeries, path or URL
        Polygons and multipolygons; invalid ones are mended first, missing and empty ones stay.
    tolerance_m : float, optional
        Metres on the ground whatever the CRS; pixels where there is none. With topology, triangles smaller than its square
        go; without, no corner moves further. 1 m by default, or 2 pixels where there is no CRS.
    keep_topology : bool, default True
        Whether neighbours keep what they share.

    Returns
    -------
    GeoDataFrame
        The same rows and columns with new geometries. Columns ``area_m2`` and ``area_px`` that hold the areas of the features
        are measured anew; if they hold something else, they get ``_given`` behind their names, with a warning.

    Raises
    ------
    OptionError
        If the tolerance is not a positive number.
    VectorError
        If the features cannot be read, or some are not polygons.
    """
    from samgeo.geo.vector.columns import keep_given
    from samgeo.geo.vector.reading import read_vectors

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
    polygons = list(metric.parts)
    pairs = neighbours(metric.parts, metric.pairs, _TOUCH * tolerance)
    order = list(range(len(polygons)))
    match_corners(polygons, order, by_first(pairs))
    result = np.array(polygons, dtype=object)
    for members in _coverages(result, pairs):
        simple = shapely.coverage_simplify(result[members], tolerance)
        fits = shapely.is_valid(simple) & ~shapely.is_empty(simple)
        # A part that would vanish, or cross itself, takes its whole coverage back: alone it would leave its neighbours.
        if fits.all():
            result[members] = simple
    return [each if each.geom_type == "Polygon" else largest(each) for each in result]


def _coverages(polygons: NDArray[np.object_], pairs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Return groups of polygons that touch, none of which overlap; those that overlap a neighbour are alone."""
    first, second = polygons[pairs[:, 0]], polygons[pairs[:, 1]]
    over = shapely.area(shapely.intersection(first, second)) > 0
    alone = np.unique(pairs[over])
    kept = pairs[~np.isin(pairs, alone).any(axis=1)]
    group = clusters(len(polygons), kept)
    order = np.argsort(group, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(group[order])) + 1) if len(order) else []
