"""Measures of the size and shape of polygons, and a filter by these measures."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.coordinates.metric_planes import NOWHERE, Planes, batches
from samgeo.geo.vector.reading import read_vectors
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["MEASURES", "filter_by_shape", "measure_shapes", "to_planes"]

MEASURES = ("area", "compactness", "rectangularity", "solidity", "elongation")

BATCH = 4096


def measure_shapes(frame: FeaturesLike) -> pd.DataFrame:
    """Measure the size and the shape of polygons.

    Lengths are in metres in any CRS, or in the units of the coordinates if there is no CRS.

    Parameters
    ----------
    frame : path, GeoDataFrame or GeoSeries
        Polygons.

    Returns
    -------
    DataFrame
        One row for each polygon, with the index of ``frame``. Rows of geometries without an area are NaN.

        - ``area``: area in square metres.
        - ``compactness``: 4 pi area / perimeter squared (D. D. Polsby and R. D. Popper, The Third Criterion, 1991). It is 1
          for a disk and 0.79 for a square. It is smaller for outlines along pixel edges, because these are longer than smooth
          outlines.
        - ``rectangularity``: area divided by the area of the smallest enclosing rectangle at any angle.
        - ``solidity``: area divided by the area of the convex hull.
        - ``elongation``: long side of the smallest enclosing rectangle divided by its short side.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import box
    >>> from samgeo.objects import measure_shapes
    >>> measure_shapes(gpd.GeoDataFrame(geometry=[box(0, 0, 40, 10)])).round(2).loc[0].to_dict()
    {'area': 400.0, 'compactness': 0.5, 'rectangularity': 1.0, 'solidity': 1.0, 'elongation': 4.0}
    """
    frame = read_vectors(frame)
    planes = Planes(frame.crs)
    result = np.full((len(frame), len(MEASURES)), np.nan)
    for _, rows, placed in to_planes(frame, planes):
        area, perimeter = shapely.area(placed), shapely.length(placed)
        corners = shapely.minimum_rotated_rectangle(placed)
        sides = _sides(corners)
        with np.errstate(invalid="ignore", divide="ignore"):
            measures = np.stack(
                [
                    area,
                    4 * math.pi * area / perimeter**2,
                    area / sides.prod(axis=1),
                    area / shapely.area(shapely.convex_hull(placed)),
                    sides.max(axis=1) / sides.min(axis=1),
                ],
                axis=1,
            )
        measures[~(area > 0)] = np.nan
        result[rows] = measures
    return pd.DataFrame(result, index=frame.index, columns=list(MEASURES))


def to_planes(frame: gpd.GeoDataFrame, planes: Planes) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.object_]]]:
    """Yield polygons in local planes of true metres, in batches: the cell of the plane, the rows, and the polygons.

    Polygons without a plane, such as empty ones, are left out.
    """
    geometries = np.array(frame.geometry.array, dtype=object)
    cells = planes.cells_of(geometries)
    somewhere = np.flatnonzero(cells != NOWHERE)
    for cell, some in batches(cells[somewhere], BATCH):
        rows = somewhere[some]
        yield cell, rows, planes.place(geometries[rows], cell)


@check_types
def filter_by_shape(
    gdf: FeaturesLike,
    *,
    min_area_m2: float | None = None,
    max_area_m2: float | None = None,
    min_compactness: float | None = None,
    min_rectangularity: float | None = None,
    min_solidity: float | None = None,
    max_elongation: float | None = None,
) -> gpd.GeoDataFrame:
    """Keep the polygons whose size and shape are within limits.

    Parameters
    ----------
    gdf : path, GeoDataFrame or GeoSeries
        Polygons.
    min_area_m2, max_area_m2 : float, optional
        Limits of the true area in square metres in any CRS, or in square pixels if there is no CRS.
    min_compactness : float, optional
        Smallest 4 pi area / perimeter squared, from 0 to 1. A square has 0.79. Outlines along pixel edges have a smaller value
        than smooth outlines.
    min_rectangularity : float, optional
        Smallest ratio of the area to that of the smallest enclosing rectangle, from 0 to 1.
    min_solidity : float, optional
        Smallest ratio of the area to that of the convex hull, from 0 to 1.
    max_elongation : float, optional
        Largest ratio of the longer to the shorter side of the smallest enclosing rectangle, 1 or more.

    Returns
    -------
    GeoDataFrame
        The unchanged rows that are within all given limits. ``attrs["samgeo"]["filter_by_shape"]`` has the counts: ``kept``,
        and the number of rows dropped by each limit (one row may fail several limits).

    Raises
    ------
    OptionError
        If a limit is invalid.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import box
    >>> from samgeo.objects import filter_by_shape
    >>> x, y = 500_000, 5_400_000
    >>> house, fence = box(x, y, x + 10, y + 8), box(x + 20, y, x + 60, y + 1)
    >>> objects = gpd.GeoDataFrame({"name": ["house", "fence"]}, geometry=[house, fence], crs="EPSG:32633")
    >>> filter_by_shape(objects, min_area_m2=30, max_elongation=5)["name"].tolist()
    ['house']
    """
    gdf = read_vectors(gdf)
    limits = _check(
        min_area_m2=min_area_m2,
        max_area_m2=max_area_m2,
        min_compactness=min_compactness,
        min_rectangularity=min_rectangularity,
        min_solidity=min_solidity,
        max_elongation=max_elongation,
    )
    measured = measure_shapes(gdf)
    passing = np.ones(len(gdf), dtype=bool)
    dropped = {}
    for name, limit in limits.items():
        values = measured[name[4:].removesuffix("_m2")].to_numpy()
        good = values >= limit if name.startswith("min") else values <= limit  # Comparisons with NaN are false.
        passing &= good
        dropped[name] = int((~good).sum())
    result = gdf[passing]
    result.attrs = with_note(gdf, "filter_by_shape", {"kept": int(passing.sum()), "dropped": dropped, "limits": limits})
    return result


def with_note(gdf: gpd.GeoDataFrame, step: str, note: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a table, with the record of one more step in ``attrs["samgeo"]``."""
    return {**gdf.attrs, "samgeo": {**gdf.attrs.get("samgeo", {}), step: note}}


def _sides(rectangles: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the two side lengths of rectangles, shape (N, 2); zeros for geometries that are not polygons."""
    result = np.zeros((len(rectangles), 2))
    whole = (shapely.get_type_id(rectangles) == 3) & ~shapely.is_empty(rectangles)
    corners = shapely.get_coordinates(rectangles[whole]).reshape(-1, 5, 2)
    result[whole] = np.linalg.norm(np.diff(corners[:, :3], axis=1), axis=2)
    return result


def _check(**limits: float | None) -> dict[str, float]:
    """Return the limits that are given, after checking their values."""
    given = {name: value for name, value in limits.items() if value is not None}
    highest = {"min_compactness": 1.0, "min_rectangularity": 1.0, "min_solidity": 1.0}
    for name, value in given.items():
        lowest = 1.0 if name == "max_elongation" else 0.0
        most = highest.get(name, math.inf)
        if not lowest <= value <= most:
            between = f"{lowest:g} or more" if math.isinf(most) else f"a number from {lowest:g} to {most:g}"
            raise OptionError(f"{name} is {value}; give {between}.")
    if given.get("min_area_m2", 0.0) > given.get("max_area_m2", math.inf):
        raise OptionError(f"min_area_m2 is {min_max(given)}; give a smaller one, or a larger max_area_m2.")
    return given


def min_max(given: dict[str, float]) -> str:
    """Return the part of an error message that names two area limits which exclude each other."""
    return f"{given['min_area_m2']:g} and max_area_m2 {given['max_area_m2']:g}"
