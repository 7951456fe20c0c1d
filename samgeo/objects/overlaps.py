"""Removal of overlapping objects, which keeps those with the highest scores."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.vector.reading import read_vectors
from samgeo.objects.shapes import with_note
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["MAX_OVERLAP", "keep_best"]

MAX_OVERLAP = 0.3


@check_types
def keep_best(gdf: FeaturesLike, *, score: str = "score", max_overlap: float = MAX_OVERLAP) -> gpd.GeoDataFrame:
    """Keep objects that overlap little, and drop those that overlap an object with a higher score.

    Objects are visited in the order of falling scores; objects with equal scores, in the order of rows. An object is dropped
    if more than ``max_overlap`` of it lies in a kept object, or more than ``max_overlap`` of a kept object lies in it. So
    parts are dropped if the whole object is kept, and the whole object is dropped if one of its parts is kept. Suppression by
    IoU, as in automatic segmentation, would keep both.

    Parameters
    ----------
    gdf : path or GeoDataFrame
        Polygons with a column of scores. Rows without a score or without an area are dropped.
    score : str, default "score"
        Name of the column of scores.
    max_overlap : float, default 0.3
        Largest fraction of the smaller of two kept objects that the larger one may cover, from 0 to 1. With 1, all are kept.

    Returns
    -------
    GeoDataFrame
        The kept rows, unchanged and in their order.

    Raises
    ------
    OptionError
        If there is no such column, or ``max_overlap`` is not from 0 to 1.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import box
    >>> from samgeo.objects import keep_best
    >>> whole, part, other = box(0, 0, 10, 10), box(0, 0, 5, 5), box(20, 0, 30, 10)
    >>> objects = gpd.GeoDataFrame({"score": [0.9, 0.6, 0.7]}, geometry=[whole, part, other])
    >>> keep_best(objects).index.tolist()
    [0, 2]
    """
    gdf = read_vectors(gdf)
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
    """Return which objects are kept."""
    # Areas are only compared between objects at the same place, so that the coordinates of any CRS can be used as they are.
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
