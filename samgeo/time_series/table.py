"""The results of a comparison as a table: one row for each object, with the kind of its change."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.geo.coordinates.overlay import in_pixels
from samgeo.segmentation.tables import area_name, areas
from samgeo.time_series.kinds import APPEARED, CHANGED, KINDS, VANISHED, kinds_of, score_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from odc.geo.geobox import GeoBox

__all__ = ["FAILED", "TOO_SMALL", "Measured", "Row", "RowCounts", "no_objects", "to_table", "total"]


FAILED = "failed"
"""Start of the reason of an object whose window failed."""

TOO_SMALL = "too small"
"""Why nothing was measured of an object that the images show."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What was measured of N objects.

    Attributes
    ----------
    angle : ndarray, shape (N,)
        Angle between the vectors of both dates in degrees; NaN if unknown.
    reason : ndarray of str or None, shape (N,)
        Why an angle is unknown.
    """

    angle: NDArray[np.float64]
    reason: NDArray[np.object_]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """The N objects of a row of windows, of which P have a partner; those of the first date come first.

    Attributes
    ----------
    geobox : GeoBox
        The grid.
    geometry, geometry_px : ndarray of shapely polygons, shape (N,)
        Outlines in the CRS and in pixels of the grid.
    is_first : ndarray of bool, shape (N,)
        Whether an object is from the first date.
    ids : ndarray of int64, shape (N,)
        Number of each object in the layer of its date.
    partner_ids : ndarray of int64, shape (N,)
        Number of the partner in the layer of the first date; -1 for none.
    partner : ndarray of shapely polygons, shape (P,)
        Outlines of the partners.
    iou : ndarray, shape (N,)
        IoU with the partner; NaN for none.
    classes : ndarray of str, shape (N,), or None
        Classes, if the objects have them.
    """

    geobox: GeoBox
    geometry: NDArray[np.object_]
    geometry_px: NDArray[np.object_]
    is_first: NDArray[np.bool_]
    ids: NDArray[np.int64]
    partner_ids: NDArray[np.int64]
    partner: NDArray[np.object_]
    iou: NDArray[np.float64]
    classes: NDArray[np.object_] | None


@dataclass(frozen=True, slots=True)
class RowCounts:
    """Counts of a row of windows, or of all rows.

    Attributes
    ----------
    counts, areas : dict
        Number and area of the objects of each kind.
    compared : int
        Number of objects whose angle is known.
    above : int
        Number of those whose angle is at least the limit.
    failed : int
        Number of objects whose window failed.
    """

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    areas: dict[str, float] = field(default_factory=lambda: dict.fromkeys(KINDS, 0.0))
    compared: int = 0
    above: int = 0
    failed: int = 0

    @property
    def changed_area(self) -> float:
        """Area of the objects that appeared, vanished or changed."""
        return sum(self.areas[kind] for kind in (APPEARED, VANISHED, CHANGED))

    @property
    def above_share(self) -> float:
        """Share of the compared objects whose angle is at least the limit; NaN if none was compared."""
        return self.above / self.compared if self.compared else float("nan")

    def as_json(self) -> dict[str, Any]:
        """Return the counts as values for JSON, from which `total` adds them up."""
        return asdict(self)


def total(rows: Iterable[Mapping[str, Any]]) -> RowCounts:
    """Add up the counts of rows."""
    counts, areas_ = dict.fromkeys(KINDS, 0), dict.fromkeys(KINDS, 0.0)
    compared = above = failed = 0
    for row in rows:
        for kind in KINDS:
            counts[kind] += int(row["counts"][kind])
            areas_[kind] += float(row["areas"][kind])
        compared += int(row["compared"])
        above += int(row["above"])
        failed += int(row["failed"])
    return RowCounts(counts, areas_, compared, above, failed)


def to_table(row: Row, measured: Measured, *, min_angle: float, trusted: bool) -> tuple[gpd.GeoDataFrame, RowCounts]:
    """Return the table of a row of windows from top to bottom, then from left to right, and its counts.

    Parameters
    ----------
    row : Row
        The objects.
    measured : Measured
        What was measured of them.
    min_angle, trusted
        See `samgeo.time_series.kinds.kinds_of`.
    """
    is_paired, angle = row.partner_ids >= 0, measured.angle
    known = ~np.isnan(angle)
    kind = kinds_of(
        angle,
        is_hidden=~known & (measured.reason != TOO_SMALL),
        is_paired=is_paired,
        is_first=row.is_first,
        min_angle=min_angle,
        trusted=trusted,
    )
    own = areas(row.geometry_px, row.geometry, row.geobox)
    of_partner = np.full(len(own), np.nan)
    if len(row.partner):
        of_partner[is_paired] = areas(in_pixels(row.partner, row.geobox)[0], row.partner, row.geobox)
    name = area_name(row.geobox)
    first_id = np.where(row.is_first, row.ids, row.partner_ids)
    columns: dict[str, Any] = {} if row.classes is None else {"class": pd.array(row.classes, dtype="string")}
    columns |= {
        "kind": pd.array(kind.astype(object), dtype="string"),
        "score": score_of(angle, min_angle),
        "angle": angle,
        "iou": row.iou,
        "before_id": _whole(first_id, first_id >= 0),
        "after_id": _whole(row.ids, ~row.is_first),
        f"before_{name}": np.where(row.is_first, own, of_partner),
        f"after_{name}": np.where(row.is_first, np.nan, own),
        "reason": pd.array(measured.reason, dtype="string"),
    }
    crs = row.geobox.crs
    table = gpd.GeoDataFrame(columns, geometry=row.geometry, crs=None if crs is None else crs.proj)
    left, top, _, _ = shapely.bounds(row.geometry_px).reshape(-1, 4).T
    order = np.lexsort((row.ids, ~row.is_first, left, top))
    counts = RowCounts(
        {one: int((kind == one).sum()) for one in KINDS},
        {one: float(own[kind == one].sum()) for one in KINDS},
        int(known.sum()),
        int((angle[known] >= min_angle).sum()),
        sum(str(one).startswith(FAILED) for one in measured.reason),
    )
    return table.iloc[order].reset_index(drop=True), counts


def no_objects(geobox: GeoBox, *, classes: bool) -> gpd.GeoDataFrame:
    """Return a table with the right columns and no rows."""
    nothing, none = np.empty(0), np.empty(0, dtype=object)
    whole = np.empty(0, dtype=np.int64)
    row = Row(
        geobox, none, none, np.empty(0, dtype=bool), whole, whole, none, nothing, np.empty(0, dtype=object) if classes else None
    )
    return to_table(row, Measured(nothing, none), min_angle=1.0, trusted=False)[0]


def _whole(values: NDArray[np.int64], known: NDArray[np.bool_]) -> pd.arrays.IntegerArray:
    return pd.arrays.IntegerArray(np.where(known, values, 0).astype(np.int64), ~known)
