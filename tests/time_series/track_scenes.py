"""How well tracks fit the truth about a generated town of several dates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.synthetic import Dates

__all__ = ["area_errors", "right_ids", "with_truth"]


def with_truth(tracks: gpd.GeoDataFrame, town: Dates) -> pd.DataFrame:
    """Return the rows with the id of the building in ``truth``, and the area of its footprint of the date in square metres."""
    from samgeo.geo.coordinates.area import area_m2

    moments = pd.to_datetime(tracks["date"], utc=True)
    date = moments.rank(method="dense").astype(int) - 1
    number = tracks["object_id"].to_numpy()
    true = [int(town.ids[one][row]) for one, row in zip(date, number, strict=True)]
    areas = [area_m2(scene.footprints.geometry.to_numpy(), scene.footprints.crs) for scene in town.scenes]
    area = [float(areas[one][row]) for one, row in zip(date, number, strict=True)]
    return pd.DataFrame(
        {"id": tracks["id"].to_numpy(), "date": date, "area": tracks["area_m2"], "true": true, "true_area": area}
    )


def right_ids(tracks: gpd.GeoDataFrame, town: Dates) -> float:
    """Return the share of the buildings whose rows over all dates carry one id that no other building carries."""
    rows = with_truth(tracks, town)
    ids = rows.groupby("true")["id"].agg(lambda one: tuple(sorted(set(one))))
    owners = rows.groupby("id")["true"].nunique()
    seen = rows.groupby("true").size()
    shown = pd.Series(np.concatenate(town.ids)).value_counts()
    right = [len(one) == 1 and owners[one[0]] == 1 and seen[true] == shown[true] for true, one in ids.items()]
    return sum(right) / len(shown)


def area_errors(tracks: gpd.GeoDataFrame, town: Dates) -> NDArray[np.float64]:
    """Return the relative error of the area of each row."""
    rows = with_truth(tracks, town)
    return np.abs(rows["area"].to_numpy() / rows["true_area"].to_numpy() - 1)
