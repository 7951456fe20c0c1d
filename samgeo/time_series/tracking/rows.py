"""The rows of tracks, and the summary of each object over all dates."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError
from samgeo.geo.coordinates.overlay import in_pixels
from samgeo.segmentation.tables import area_name, areas
from samgeo.time_series.tracking.dated import label_of, to_date

if TYPE_CHECKING:
    from collections.abc import Sequence

    from odc.geo.geobox import GeoBox

    from samgeo.storage.locations import Place
    from samgeo.time_series.shift import Shift
    from samgeo.types import DateLike

__all__ = ["AREAS", "Rows", "TrackSummary", "area_column", "summarize", "to_table"]

AREAS = ("area_m2", "area_px")


@dataclass(frozen=True, slots=True)
class TrackSummary:
    """Result of tracking.

    Attributes
    ----------
    objects : int
        Number of tracks, which are the objects of all dates.
    counts : dict of str to int
        Number of objects that are seen at each date.
    missed, unseen : int
        Number of gaps of one date that were bridged: at which an object is missing although its place has data, and at which
        its place has no data.
    shifts : tuple of Shift or None
        The measured shift of each date after the first; None if it could not be measured.
    has_crs : bool
        Whether the rasters have a CRS.
    failures : tuple of str
        Windows that could not be searched, or in which objects could not be described: which, and why.
    output : Path, RemotePlace or None
        Where the rows were written.
    folder : Path or None
        The run folder, if it was kept.
    """

    objects: int
    counts: dict[str, int]
    missed: int
    unseen: int
    shifts: tuple[Shift | None, ...]
    has_crs: bool
    failures: tuple[str, ...]
    output: Place | None
    folder: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """N objects of a date, with what is known of their tracks.

    Attributes
    ----------
    date : pandas.Timestamp
        The date.
    id, object_id : ndarray of int64, shape (N,)
        Ids of the tracks, and numbers of the objects in the layer of the date.
    iou, angle : ndarray of float64, shape (N,)
        Of the object and of its track's earlier one; NaN if there is none.
    missed, unseen : ndarray of int64, shape (N,)
        Number of dates between the two.
    classes : ndarray of str, shape (N,), or None
        Classes, if the objects have them.
    """

    date: pd.Timestamp
    id: NDArray[np.int64]
    object_id: NDArray[np.int64]
    iou: NDArray[np.float64]
    angle: NDArray[np.float64]
    missed: NDArray[np.int64]
    unseen: NDArray[np.int64]
    classes: NDArray[np.object_] | None

    def __len__(self) -> int:
        return len(self.id)

    def part(self, chosen: slice) -> Rows:
        """Return some of the objects."""
        return Rows(
            self.date,
            self.id[chosen],
            self.object_id[chosen],
            self.iou[chosen],
            self.angle[chosen],
            self.missed[chosen],
            self.unseen[chosen],
            None if self.classes is None else self.classes[chosen],
        )

    @classmethod
    def none(cls, date: pd.Timestamp, *, classes: bool) -> Rows:
        """Return no objects."""
        whole, nothing = np.empty(0, dtype=np.int64), np.empty(0)
        return cls(date, whole, whole, nothing, nothing, whole, whole, np.empty(0, dtype=object) if classes else None)


def to_table(rows: Rows, geometry: NDArray[np.object_], geobox: GeoBox) -> gpd.GeoDataFrame:
    """Return rows as a table with the outlines and their areas."""
    placed = in_pixels(geometry, geobox)[0] if len(geometry) else geometry
    columns: dict[str, Any] = {
        "id": rows.id,
        "date": np.full(len(rows), rows.date.to_datetime64(), dtype="datetime64[ms]"),
    }
    if rows.classes is not None:
        columns["class"] = pd.array(rows.classes, dtype="string")
    columns |= {
        area_name(geobox): areas(placed, geometry, geobox),
        "iou": rows.iou,
        "angle": rows.angle,
        "missed": rows.missed,
        "unseen": rows.unseen,
        "object_id": rows.object_id,
    }
    crs = geobox.crs
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=None if crs is None else crs.proj)


def area_column(tracks: pd.DataFrame) -> str:
    """Return the name of the column with areas, after a check of the other columns.

    Raises
    ------
    OptionError
        If it is not a table of `samgeo.track`.
    """
    if not isinstance(tracks, pd.DataFrame):
        raise OptionError(
            f"tracks is a {type(tracks).__name__}; give the table of samgeo.track, or the file that it wrote, read with "
            "geopandas."
        )
    name = next((one for one in AREAS if one in tracks), None)
    missing = [one for one in ("id", "date", "missed", "unseen") if one not in tracks]
    if name is None or missing:
        raise OptionError(
            f"the table has no column {', '.join(missing or AREAS[:1])}; give the result of samgeo.track, or the file that it "
            "wrote, read with geopandas."
        )
    return name


@check_types
def summarize(tracks: pd.DataFrame, *, dates: Sequence[DateLike] | None = None) -> pd.DataFrame:
    """Return one row for each tracked object: when it was seen, and its area at each date.

    Parameters
    ----------
    tracks : GeoDataFrame
        The result of `samgeo.track`, or the file that it wrote, read with geopandas.
    dates : sequence of dates, optional
        All dates of the series. By default those in the provenance of the result; of a file that was read, those at which
        any object was seen.

    Returns
    -------
    DataFrame
        Indexed by ``id``.

        - ``class``: class of found objects, if there is one.
        - ``first_seen``, ``last_seen``: the first and the last date with the object.
        - ``seen``: number of dates with the object.
        - ``gaps``: number of times that the object was missing and was found again; ``missed``: number of dates of these
          gaps. Dates on which its place has no data do not count.
        - ``unseen``: number of dates between the first and the last on which its place has no data.
        - one column for each date, such as ``area_m2 2019-05-01``: the area; NaN if it was not seen.

    Raises
    ------
    OptionError
        If the table is not one of `samgeo.track`, or an object has two rows of one date.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.synthetic import dates
    >>> from samgeo.time_series import summarize
    >>> town = dates((128, 128), 3, seed=1, births=0.3, deaths=0.2)
    >>> images = {year: scene.save(f"{year}.tif") for year, scene in zip((2019, 2021, 2023), town.scenes)}
    >>> tracks = samgeo.track(images, objects=[scene.footprints for scene in town.scenes], progress=False)
    >>> table = summarize(tracks)
    >>> len(table) == len(town.truth), bool((table.seen <= 3).all())
    (True, True)
    """
    area = area_column(tracks)
    # Formats other than Parquet may give times with a zone, or as text.
    date = pd.Series(pd.to_datetime(tracks["date"], utc=True).dt.tz_localize(None).astype("datetime64[ms]").array)
    rows = pd.DataFrame({name: tracks[name].array for name in ("id", "missed", "unseen", area)}).assign(date=date)
    if rows.duplicated(["id", "date"]).any():
        raise OptionError("an object has two rows of one date; give the result of one call of samgeo.track.")
    told = tracks.attrs.get("samgeo", {}).get("track", {}).get("dates", ()) if dates is None else dates
    columns = sorted({*map(to_date, told), *rows["date"].unique()})
    rows["gap"] = rows["missed"] > 0
    groups = rows.groupby("id", sort=True)
    result = groups.agg(
        first_seen=("date", "min"),
        last_seen=("date", "max"),
        seen=("date", "size"),
        gaps=("gap", "sum"),
        missed=("missed", "sum"),
        unseen=("unseen", "sum"),
    )
    if "class" in tracks:
        kinds = pd.Series(tracks["class"].array, index=rows["id"].to_numpy())
        result.insert(0, "class", kinds[~kinds.index.duplicated()].reindex(result.index))
    wide = rows.pivot_table(index="id", columns="date", values=area, dropna=False) if len(rows) else pd.DataFrame()
    wide = wide.reindex(index=result.index, columns=columns)
    wide.columns = [f"{area} {label_of(pd.Timestamp(one))}" for one in columns]
    return pd.concat([result, wide], axis=1)
