"""The rows of followed objects: what is kept of each window, and the table that is put together from all windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.evaluation.boundary import iou
from samgeo.geo.coordinates.overlay import in_pixels
from samgeo.segmentation.masks.vectorize import georeference, polygons
from samgeo.segmentation.tables import area_name, areas
from samgeo.time_series.tracking.dated import label_of
from samgeo.time_series.tracking.memory.following import ABSENT, NO_DATA, SEEN, Followed
from samgeo.time_series.tracking.memory.prompted_objects import PromptedObject

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

__all__ = ["FollowedRows", "kept", "no_rows"]


@dataclass(frozen=True, slots=True, eq=False)
class FollowedRows:
    """The rows of all objects, and what is told of the dates without one.

    Attributes
    ----------
    table : GeoDataFrame
        One row for each object and date at which it is seen, ordered by date and id.
    counts : dict of str to int
        Number of objects that are seen at each date.
    absent : dict of str to dict
        Object score by date, by id of the object, for the dates at which the model says that it is absent.
    """

    table: gpd.GeoDataFrame
    counts: dict[str, int]
    absent: dict[str, dict[str, float]]

    @property
    def missed(self) -> int:
        """Number of dates at which an object is absent, between two at which it is seen."""
        return int(self.table["missed"].sum())

    @property
    def unseen(self) -> int:
        """Number of dates at which the place of an object has no data, between two at which it is seen."""
        return int(self.table["unseen"].sum())

    @classmethod
    def of(
        cls,
        objects: Sequence[PromptedObject],
        told: Mapping[int, tuple[Mapping[str, Any], gpd.GeoDataFrame]],
        dates: Sequence[pd.Timestamp],
        geobox: GeoBox,
    ) -> FollowedRows:
        """Put the rows of all objects together.

        Parameters
        ----------
        objects : sequence of PromptedObject
            The objects, in the order of their ids.
        told : mapping of int to (mapping, GeoDataFrame)
            For each id what `kept` returned of the object, and its outlines.
        dates : sequence of Timestamp
            The dates of the series.
        geobox : GeoBox
            The grid.
        """
        parts, absent = [], {}
        for one in objects:
            history, outlines = told[one.id]
            parts.append(_rows_of(one, history, outlines, geobox))
            gone = {label_of(dates[date]): history["scores"][date] for date in _at(history, ABSENT)}
            if gone:
                absent[str(one.id)] = gone
        rows = pd.concat(parts, ignore_index=True).sort_values(["date", "id"], kind="stable", ignore_index=True)
        seen = rows["date"].value_counts()
        counts = {label_of(date): int(seen.get(number, 0)) for number, date in enumerate(dates)}
        return cls(_to_table(rows, dates, geobox), counts, absent)


def kept(found: Sequence[Followed], geobox: GeoBox) -> tuple[gpd.GeoDataFrame, list[dict[str, Any]]]:
    """Return the outlines of the objects of a window, and what became of each object at each date, as values for JSON."""
    places = [(number, date) for number, one in enumerate(found) for date in sorted(one.masks)]
    outlines = georeference(polygons([found[number].masks[date] for number, date in places]), geobox.affine)
    crs = geobox.crs
    table = gpd.GeoDataFrame(
        {
            "number": np.array([number for number, _ in places], dtype=np.int64),
            "date": np.array([date for _, date in places], dtype=np.int64),
            "complete": np.array([found[number].complete[date] for number, date in places], dtype=bool),
        },
        geometry=outlines,
        crs=None if crs is None else crs.proj,
    )
    return table, [{"states": one.states, "scores": one.scores} for one in found]


def no_rows(geobox: GeoBox) -> gpd.GeoDataFrame:
    """Return a table of results with the right columns and no rows."""
    nothing: dict[str, list[Any]] = {"states": [], "scores": []}
    one = PromptedObject(0, 0, 0, shapely.Point())
    return _to_table(_rows_of(one, nothing, kept([], geobox)[0], geobox), (), geobox)


def _at(history: Mapping[str, Any], state: str) -> list[int]:
    """Return the dates at which an object has a state."""
    return [date for date, one in enumerate(history["states"]) if one == state]


def _rows_of(one: PromptedObject, history: Mapping[str, Any], outlines: gpd.GeoDataFrame, geobox: GeoBox) -> pd.DataFrame:
    """Return the rows of an object in the order of their dates."""
    outlines = outlines.sort_values("date", ignore_index=True)
    seen = _at(history, SEEN)
    gaps: dict[str, list[int]] = {ABSENT: [], NO_DATA: []}
    for place, date in enumerate(seen):
        between = history["states"][seen[place - 1] + 1 : date] if place else []
        for state, numbers in gaps.items():
            numbers.append(between.count(state))
    geometry = outlines.geometry.to_numpy()
    placed = in_pixels(geometry, geobox)[0] if len(geometry) else geometry
    same = np.full(len(seen), np.nan)
    if len(seen) > 1:
        same[1:] = iou(placed[1:], placed[:-1])
    return pd.DataFrame(
        {
            "id": np.full(len(seen), one.id, dtype=np.int64),
            "date": np.array(seen, dtype=np.int64),
            "area": areas(placed, geometry, geobox),
            "object_score": np.array([history["scores"][date] for date in seen], dtype=np.float64),
            "iou": same,
            "missed": np.array(gaps[ABSENT], dtype=np.int64),
            "unseen": np.array(gaps[NO_DATA], dtype=np.int64),
            "complete": outlines["complete"].to_numpy(dtype=bool),
            "object_id": np.full(len(seen), one.object_id, dtype=np.int64),
            "geometry": geometry,
        }
    )


def _to_table(rows: pd.DataFrame, dates: Sequence[pd.Timestamp], geobox: GeoBox) -> gpd.GeoDataFrame:
    """Return rows as a table of results: with dates in place of their numbers, and the name of the area."""
    moments = np.array([date.to_datetime64() for date in dates], dtype="datetime64[ms]")
    moment: NDArray[np.datetime64] = moments[rows["date"].to_numpy()]
    crs = geobox.crs
    table = gpd.GeoDataFrame(
        rows.drop(columns="geometry").assign(date=moment),
        geometry=rows["geometry"].to_numpy(),
        crs=None if crs is None else crs.proj,
    )
    return table.rename(columns={"area": area_name(geobox)})
