"""Of objects that lie over one another, the best."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.buildings.shapes import with_note
from samgeo.errors import OptionError

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["MAX_OVERLAP", "keep_best"]

MAX_OVERLAP = 0.3


@check_types
def keep_best(gdf: gpd.GeoDataFrame, *, score: str = "score", max_overlap: float = MAX_OVERLAP) -> gpd.GeoDataFrame:
    """Keep a set of objects that hardly overlap: of a whole and its parts, what has the highest score.

    Objects are taken in the order of their score, the highest first, of equal ones the first row. One goes if more than
    ``max_overlap`` of it lies in one that is kept, or the other way round: so parts go when their whole is kept, and a whole
    goes when a part of it is. Suppression by IoU, as in automatic segmentation, keeps both.

    Parameters
    ----------
    gdf : GeoDataFrame
        Polygons with a column of scores; rows with a missing score or without area go.
    score : str, default "score"
        The column.
    max_overlap : float, default 0.3
        The largest share of the smaller of two objects that the larger may cover, from 0 to 1; with 1 all stay.

    Returns
    -------
    GeoDataFrame
        The rows that stay, in their order, as they were.

    Raises
    ------
    OptionError
        If there is no such column, or ``max_overlap`` cannot be.
    """
    if score not in gdf:
        raise OptionError(f"the objects have no column {score!r}; give one of {', '.join(map(str, gdf.columns))}.")
    if not 0 <= max_overlap <= 1:
        raise OptionError(f"max_overlap is {max_overlap}; give a number from 0 to 1.")
    values = gdf[score].to_numpy(dtype=np.float64)
    geometries = np.array(gdf.geometry.array, dtype=object)
    kept = _best(geometries, values, max_overlap)
    result = gdf[kept]
    result.attrs = with_note(
        gdf, "keep_best", {"kept": int(kept.sum()), "dropped": int((~kept).sum()), "max_overlap": max_overlap}
    )
    return result


def _best(geometries: NDArray[np.object_], values: NDArray[np.float64], max_overlap: float) -> NDArray[np.bool_]:
    import shapely

    # Shares of areas of objects side by side are those of the plane of any CRS.
    area = shapely.area(geometries)
    alive = np.isfinite(values) & (area > 0)
    rows = np.flatnonzero(alive)
    valid = shapely.make_valid(geometries[rows])
    i, j = shapely.STRtree(valid).query(valid, predicate="intersects")
    i, j = i[i < j], j[i < j]
    shared = shapely.area(shapely.intersection(valid[i], valid[j]))
    clash = shared > max_overlap * np.minimum(area[rows[i]], area[rows[j]])
    i, j = rows[i[clash]], rows[j[clash]]
    rivals: dict[int, list[int]] = {}
    for one, other in [*zip(i.tolist(), j.tolist(), strict=True), *zip(j.tolist(), i.tolist(), strict=True)]:
        rivals.setdefault(one, []).append(other)
    kept = np.zeros(len(values), dtype=bool)
    for row in rows[np.argsort(-values[rows], kind="stable")].tolist():
        if alive[row]:
            kept[row] = True
            alive[rivals.get(row, [])] = False
    return kept
