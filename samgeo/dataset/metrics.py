"""How many of the true objects were found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from samgeo.errors import OptionError

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["Matches", "match"]


@dataclass(frozen=True, slots=True)
class Matches:
    """Found objects paired with true ones, one to one.

    Attributes
    ----------
    matched, found, truth : int
        Pairs, found objects, true objects.
    mean_iou : float
        Over the pairs; NaN when there are none.
    """

    matched: int
    found: int
    truth: int
    mean_iou: float

    @property
    def recall(self) -> float:
        """Share of the true objects that were found; NaN when there are none."""
        return self.matched / self.truth if self.truth else float("nan")

    @property
    def precision(self) -> float:
        """Share of the found objects that are true; NaN when there are none."""
        return self.matched / self.found if self.found else float("nan")


def match(found: gpd.GeoDataFrame, truth: gpd.GeoDataFrame, *, min_iou: float = 0.5) -> Matches:
    """Pair found objects with true ones, the best IoU first, each at most once.

    Parameters
    ----------
    found, truth : GeoDataFrame
        Polygons; ``found`` is reprojected to the CRS of ``truth``.
    min_iou : float, default 0.5
        Pairs below are no match.

    Returns
    -------
    Matches

    Raises
    ------
    OptionError
        If one has a CRS and the other has none.
    """
    import shapely

    if (found.crs is None) != (truth.crs is None):
        raise OptionError("one of the layers has a CRS and the other has none; set the missing one with gdf.set_crs(...).")
    ours = found.geometry if found.crs is None else found.geometry.to_crs(truth.crs)
    a, b = shapely.make_valid(ours.to_numpy()), shapely.make_valid(truth.geometry.to_numpy())
    i, j = shapely.STRtree(b).query(a, predicate="intersects")
    shared = shapely.area(shapely.intersection(a[i], b[j]))
    total = shapely.area(a[i]) + shapely.area(b[j]) - shared
    iou = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    order = np.argsort(-iou, kind="stable")
    taken_a, taken_b, ious = set[int](), set[int](), list[float]()
    for index in order[iou[order] >= min_iou]:
        if int(i[index]) not in taken_a and int(j[index]) not in taken_b:
            taken_a.add(int(i[index]))
            taken_b.add(int(j[index]))
            ious.append(float(iou[index]))
    return Matches(len(ious), len(a), len(b), float(np.mean(ious)) if ious else float("nan"))
