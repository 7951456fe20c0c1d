"""The size and shape of polygons in metres, and filtering by them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.coordinates.metric_planes import NOWHERE, Planes, batches

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

__all__ = ["MEASURES", "filter_by_shape", "measure_shapes", "to_planes"]

MEASURES = ("area", "compactness", "rectangularity", "solidity", "elongation")

BATCH = 4096


def measure_shapes(frame: gpd.GeoDataFrame) -> pd.DataFrame:
    """Measure the size and the shape of polygons, in metres whatever the CRS (in its units where there is none).

    Parameters
    ----------
    frame : GeoDataFrame or GeoSeries
        Polygons.

    Returns
    -------
    DataFrame
        With the index of ``frame``; NaN for what has no area.

        - ``area``: in square metres.
        - ``compactness``: 4 pi area / perimeter squared (D. D. Polsby and R. D. Popper, The Third Criterion, 1991): 1 for a
          disk, 0.79 for a square. Outlines along pixel edges are longer than what they outline, which makes it smaller.
        - ``rectangularity``: area over that of the smallest rectangle around, at any angle.
        - ``solidity``: area over that of the convex hull.
        - ``elongation``: the long side of the smallest rectangle over its short side.
    """
    import pandas as pd
    import shapely

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


def to_planes(frame: gpd.GeoDataFrame, planes: Planes) -> Any:
    """Give polygons in planes of true metres: the cell, the rows, and the polygons; what is nowhere is left out."""
    geometries = np.array(frame.geometry.array, dtype=object)
    cells = planes.cells_of(geometries)
    somewhere = np.flatnonzero(cells != NOWHERE)
    for cell, some in batches(cells[somewhere], BATCH):
        rows = somewhere[some]
        yield cell, rows, planes.place(geometries[rows], cell)


@check_types
def filter_by_shape(
    gdf: gpd.GeoDataFrame,
    *,
    min_area_m2: float | None = None,
    max_area_m2: float | None = None,
    min_compactness: float | None = None,
    min_rectangularity: float | None = None,
    min_solidity: float | None = None,
    max_elongation: float | None = None,
) -> gpd.GeoDataFrame:
    """Keep the polygons whose size and shape are those of a building.

    Parameters
    ----------
    gdf : GeoDataFrame
        Polygons.
    min_area_m2, max_area_m2 : float, optional
        True area whatever the CRS, in square metres; square pixels where there is no CRS.
    min_compactness : float, optional
        4 pi area / perimeter squared, from 0 to 1: a square has 0.79. Outlines along pixel edges have less than smooth ones.
    min_rectangularity : float, optional
        Area over that of the smallest rectangle around, from 0 to 1.
    min_solidity : float, optional
        Area over that of the convex hull, from 0 to 1.
    max_elongation : float, optional
        Longer over shorter side of the smallest rectangle around, 1 or more.

    Returns
    -------
    GeoDataFrame
        The rows that pass all that is given, as they were. ``attrs["samgeo"]["filter_by_shape"]`` has the counts: ``kept``,
        and those dropped by each limit (a row may fail several).

    Raises
    ------
    OptionError
        If a limit cannot be.
    """
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
        good = values >= limit if name.startswith("min") else values <= limit  # False for NaN
        passing &= good
        dropped[name] = int((~good).sum())
    result = gdf[passing]
    result.attrs = with_note(gdf, "filter_by_shape", {"kept": int(passing.sum()), "dropped": dropped, "limits": limits})
    return result


def with_note(gdf: gpd.GeoDataFrame, step: str, note: dict[str, Any]) -> dict[str, Any]:
    """Return the provenance of a table with what a step says of itself."""
    return {**gdf.attrs, "samgeo": {**gdf.attrs.get("samgeo", {}), step: note}}


def _sides(rectangles: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return the two sides of rectangles, shape (N, 2); zeros for what is no polygon."""
    import shapely

    result = np.zeros((len(rectangles), 2))
    whole = (shapely.get_type_id(rectangles) == 3) & ~shapely.is_empty(rectangles)
    corners = shapely.get_coordinates(rectangles[whole]).reshape(-1, 5, 2)
    result[whole] = np.linalg.norm(np.diff(corners[:, :3], axis=1), axis=2)
    return result


def _check(**limits: float | None) -> dict[str, float]:
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
    """Say two limits that exclude each other."""
    return f"{given['min_area_m2']:g} and max_area_m2 {given['max_area_m2']:g}"
