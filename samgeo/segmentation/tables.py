"""Tables of objects: polygons in the raster's CRS with scores and true areas."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import islice
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.geo.coordinates.area import area_m2
from samgeo.geo.vector.columns import keep_given
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.piece import Segment, place
from samgeo.segmentation.masks.vectorize import georeference, polygons
from samgeo.segmentation.profile import timed

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.geo.coordinates.indexed_area import IndexedArea

__all__ = ["SAME_IOU", "AnswerColumns", "answers_to_frame", "area_name", "areas", "to_frame", "without"]

VECTORIZE_BATCH = 256
# Two objects are the same if their IoU is at least this value.
SAME_IOU = 0.5


@timed("table")
def to_frame(
    segments: Iterable[Segment],
    geobox: GeoBox,
    *,
    min_area: float = 0.0,
    max_area: float = float("inf"),
    within_px: IndexedArea | None = None,
    classes: Sequence[str] = (),
    min_score: float = 0.0,
) -> gpd.GeoDataFrame:
    """Convert objects to polygons, and return them as a table ordered by their position in the raster.

    Parameters
    ----------
    segments : iterable of Segment
        Objects in raster pixels. They are taken a few at a time.
    geobox : GeoBox
        Grid of the raster.
    min_area, max_area : float
        Objects with an area outside these limits are dropped. In square metres, or in pixels if the raster has no CRS.
    within_px : IndexedArea, optional
        An area in raster pixels. Objects are clipped to it, and objects without a part in it are dropped.
    classes : sequence of str
        Names of the classes of objects that a prompt source found. The table then has the columns ``class`` and ``score``.
    min_score : float, default 0.0
        Objects with a lower score are dropped.

    Returns
    -------
    GeoDataFrame
        Columns ``class`` and ``score`` if there are classes, ``predicted_iou``, ``stability_score``, ``area_m2`` (``area_px``
        without a CRS), ``complete`` and ``geometry``.
    """
    records: list[tuple[Any, ...]] = []
    segments = iter(segments)
    while batch := list(islice(segments, VECTORIZE_BATCH)):
        for one, geometry in zip(batch, polygons([one.mask for one in batch]), strict=True):
            records.append((place(one), one.predicted_iou, one.stability_score, one.complete, geometry, one.score, one.kind))
    records.sort(key=itemgetter(0))
    _, predicted_iou, stability_score, complete, geometry_px, scores, kinds = (
        zip(*records, strict=True) if records else ((),) * 7
    )
    in_pixels = np.array(geometry_px, dtype=object)
    if within_px is not None:
        in_pixels = within_px.clip(in_pixels)
    geometry = georeference(in_pixels, geobox.affine)
    crs = geobox.crs
    area = areas(in_pixels, geometry, geobox)
    score = np.array(scores, dtype=np.float64)
    found = {"class": np.array([classes[kind] for kind in kinds], dtype=object), "score": score} if classes else {}
    columns = {
        **found,
        "predicted_iou": np.array(predicted_iou, dtype=np.float64),
        "stability_score": np.array(stability_score, dtype=np.float64),
        area_name(geobox): area,
        "complete": np.array(complete, dtype=bool),
    }
    frame = gpd.GeoDataFrame(columns, geometry=geometry, crs=None if crs is None else crs.proj)
    kept = (area >= min_area) & (area <= max_area) & ~frame.geometry.is_empty
    return frame[kept & (score >= min_score) if classes else kept].reset_index(drop=True)


def answers_to_frame(
    answers: Sequence[Segment | str], table: pd.DataFrame | None, geobox: GeoBox, *, also: tuple[str, ...] = ()
) -> gpd.GeoDataFrame:
    """Convert the answers to prompts to polygons, and return them as a table with one row for each prompt.

    Parameters
    ----------
    answers : sequence of Segment or str
        Objects in raster pixels, or texts that say why nothing was found.
    table : DataFrame or None
        Other columns of the prompts. A column with the name of a result column is renamed; see
        `samgeo.geo.vector.columns.keep_given`.
    geobox : GeoBox
        Grid of the raster.
    also : tuple of str
        Names of columns that the caller adds later. Columns of ``table`` with these names are renamed too.

    Returns
    -------
    GeoDataFrame
        The columns of ``table``, those of `to_frame`, and ``reason``.
    """
    columns = AnswerColumns(len(answers), geobox)
    columns.add(np.arange(len(answers)), answers)
    return columns.frame(table, also=also)


class AnswerColumns:
    """The answers to prompts as columns of a table. Of each mask only the outline is kept, which takes little memory.

    Parameters
    ----------
    count : int
        Number of prompts.
    geobox : GeoBox
        Grid of the raster.

    Attributes
    ----------
    scales : Counter of int
        Number of objects found at each scale.
    """

    def __init__(self, count: int, geobox: GeoBox) -> None:
        self._geobox = geobox
        self.scales: Counter[int] = Counter()
        self._geometry = np.full(count, None, dtype=object)
        self._columns: dict[str, NDArray[Any]] = {
            "predicted_iou": np.full(count, np.nan),
            "stability_score": np.full(count, np.nan),
            area_name(geobox): np.zeros(count),
            "complete": np.zeros(count, dtype=np.bool_),
            "reason": np.full(count, None, dtype=object),
        }

    def add(self, numbers: NDArray[np.int64], answers: Sequence[Segment | str]) -> None:
        """Add the answers to some prompts: objects in raster pixels, or texts that say why nothing was found."""
        nothing = Mask(np.empty((0, 3), dtype=np.int32))
        found = [None if isinstance(one, str) else one for one in answers]
        outlines = polygons([nothing if one is None else one.mask for one in found])
        geometry = georeference(outlines, self._geobox.affine)
        self._geometry[numbers] = geometry
        columns = {
            "predicted_iou": np.array([np.nan if one is None else one.predicted_iou for one in found], dtype=np.float64),
            "stability_score": np.array([np.nan if one is None else one.stability_score for one in found], dtype=np.float64),
            area_name(self._geobox): areas(outlines, geometry, self._geobox),
            "complete": np.array([one is not None and one.complete for one in found], dtype=np.bool_),
            "reason": np.array([one if isinstance(one, str) else None for one in answers], dtype=object),
        }
        for name, values in columns.items():
            self._columns[name][numbers] = values
        self.scales.update(one.scale for one in found if one is not None)

    def frame(self, table: pd.DataFrame | None, *, also: tuple[str, ...] = ()) -> gpd.GeoDataFrame:
        """Return the table; see `answers_to_frame`."""
        if table is None:
            base = pd.DataFrame(index=pd.RangeIndex(len(self._geometry)))
        else:
            base = keep_given(table, (*self._columns, "geometry", *also), "the prompts")
        crs = self._geobox.crs
        return gpd.GeoDataFrame(base.assign(**self._columns), geometry=self._geometry, crs=None if crs is None else crs.proj)


def without(found: gpd.GeoDataFrame, known: Sequence[shapely.Geometry], *, min_iou: float = SAME_IOU) -> gpd.GeoDataFrame:
    """Leave out rows whose IoU with a known geometry, in the same CRS, is ``min_iou`` or more."""
    tree = shapely.STRtree(list(known))
    geometry = found.geometry.to_numpy()
    mine, theirs = tree.query(geometry, predicate="intersects")
    one, other = geometry[mine], tree.geometries[theirs]
    shared = shapely.area(shapely.intersection(one, other))
    same = shared >= min_iou * (shapely.area(one) + shapely.area(other) - shared)
    return found[~np.isin(np.arange(len(found)), mine[same])].reset_index(drop=True)


def area_name(geobox: GeoBox) -> str:
    """Return the name of the area column: ``area_m2``, or ``area_px`` if the raster has no CRS."""
    return "area_px" if geobox.crs is None else "area_m2"


def areas(geometry_px: NDArray[np.object_], geometry: NDArray[np.object_], geobox: GeoBox) -> NDArray[np.float64]:
    """Return the areas of geometries in square metres, or in pixels if the raster has no CRS.

    ``geometry_px`` and ``geometry`` are the same geometries in pixels and in the raster's CRS.
    """
    crs = geobox.crs
    return np.asarray(shapely.area(geometry_px), dtype=np.float64) if crs is None else area_m2(geometry, crs)
