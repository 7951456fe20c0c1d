"""Series of rasters as users give them, with the date of each."""

from __future__ import annotations

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from samgeo.errors import OptionError
from samgeo.types import DateLike, FeaturesLike, RasterLike, RasterSeriesLike

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["DatedRaster", "dated_objects", "dated_rasters", "label_of", "to_date"]

_HOW = (
    "give pairs of date and raster, a mapping of dates to rasters, an xarray.DataArray with an axis of time, or rasters "
    "together with dates"
)


@dataclass(frozen=True, slots=True, eq=False)
class DatedRaster:
    """A raster and its date.

    Attributes
    ----------
    date : pandas.Timestamp
        The date, without a time zone, in UTC if it had one.
    raster : RasterLike
        The raster as it was given.
    place : int
        Position in the series as it was given, from 0.
    """

    date: pd.Timestamp
    raster: RasterLike
    place: int


def to_date(value: object) -> pd.Timestamp:
    """Return a date as a timestamp without a time zone.

    Parameters
    ----------
    value : str, int, datetime.date, datetime64 or Timestamp
        ISO text, such as "2019", "2019-05" or "2019-05-01T10:30"; a whole number from 1000 to 9999 is a year.

    Raises
    ------
    OptionError
        If it is no date.
    """
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and 1000 <= value <= 9999:
        value = f"{value}"
    is_text = isinstance(value, str) and value[:4].isdigit()
    date: object = None
    if is_text or isinstance(value, datetime.date | np.datetime64):
        try:
            date = pd.Timestamp(value)  # type: ignore[arg-type]
        except (ValueError, OverflowError):
            date = None
    if not isinstance(date, pd.Timestamp):
        raise OptionError(f'{value!r} is not a date; give ISO text, such as "2019-05-01", or a date of Python.')
    return (date if date.tzinfo is None else date.tz_convert(None)).as_unit("ms")


def label_of(date: pd.Timestamp) -> str:
    """Return a date as ISO text; the time of the day only if it is not midnight."""
    return date.strftime("%Y-%m-%d") if date == date.normalize() else date.isoformat(timespec="seconds")


def dated_rasters(rasters: RasterSeriesLike, dates: Sequence[DateLike] | None = None) -> list[DatedRaster]:
    """Return a series of rasters in the order of their dates.

    Parameters
    ----------
    rasters : sequence, mapping or xarray.DataArray
        See `samgeo.track`.
    dates : sequence of dates, optional
        The date of each raster, if the series has none.

    Raises
    ------
    OptionError
        If the dates are missing or equal, or there are fewer than two.
    """
    pairs = _pairs(rasters) if dates is None else _with_dates(rasters, dates)
    if len(pairs) < 2:
        raise OptionError(f"the series has {len(pairs)} dates; give at least two.")
    series = [DatedRaster(to_date(date), raster, place) for place, (date, raster) in enumerate(pairs)]
    series.sort(key=lambda one: one.date)
    for first, second in pairwise(series):
        if first.date == second.date:
            raise OptionError(
                f"two rasters have the date {label_of(first.date)}; give one raster for each date (several files of one "
                "date are a list of paths, in place of one path)."
            )
    return series


def _with_dates(rasters: RasterSeriesLike, dates: Sequence[DateLike]) -> list[tuple[object, RasterLike]]:
    if isinstance(dates, str) or not hasattr(dates, "__len__"):
        raise OptionError(f"dates is {dates!r}; give a list with the date of each raster.")
    if isinstance(rasters, Mapping):
        raise OptionError("the rasters are a mapping of dates; leave out dates.")
    if _is_array(rasters) or not isinstance(rasters, list | tuple):
        raise OptionError("dates are given; give the rasters as a list in the same order.")
    if len(rasters) != len(dates):
        raise OptionError(f"{len(rasters)} rasters and {len(dates)} dates are given; give one date for each raster.")
    return list(zip(dates, rasters, strict=True))


def _pairs(rasters: RasterSeriesLike) -> list[tuple[object, RasterLike]]:
    if isinstance(rasters, Mapping):
        return list(rasters.items())
    if _is_array(rasters):
        return _slices(rasters)  # type: ignore[arg-type]
    if not isinstance(rasters, list | tuple):
        raise OptionError(f"rasters is {type(rasters).__name__}; {_HOW}.")
    pairs: list[tuple[object, RasterLike]] = []
    for place, one in enumerate(rasters):
        if not isinstance(one, list | tuple) or len(one) != 2:
            raise OptionError(f"raster {place} of the series has no date; {_HOW}.")
        pairs.append((one[0], one[1]))
    return pairs


def _is_array(rasters: object) -> bool:
    return hasattr(rasters, "dims") and hasattr(rasters, "isel")


def _slices(array: xr.DataArray) -> list[tuple[object, RasterLike]]:
    """Return an array for each date of an array with an axis of time."""
    times = [name for name in array.dims if name in array.coords and np.issubdtype(array.coords[name].dtype, np.datetime64)]
    if len(times) != 1:
        raise OptionError(f"the array has dimensions {tuple(array.dims)}, and {len(times)} of them have dates; {_HOW}.")
    dates = array.coords[times[0]].to_numpy()
    # The name tells in messages which date is meant.
    name = array.name or "array"
    return [
        (date, array.isel({times[0]: place}, drop=True).rename(f"{name} of {str(date)[:10]}"))
        for place, date in enumerate(dates)
    ]


def dated_objects(
    objects: FeaturesLike | Sequence[FeaturesLike] | Mapping[Any, FeaturesLike] | None, series: Sequence[DatedRaster]
) -> tuple[FeaturesLike, ...]:
    """Return the layers that a user gave as ``objects`` in the order of the series: none, one for all dates, or one for each.

    Raises
    ------
    OptionError
        If there are layers for other dates than those of the series.
    """
    if objects is None:
        return ()
    if isinstance(objects, Mapping):
        by_date = {to_date(date): layer for date, layer in objects.items()}
        wrong = sorted({one.date for one in series} ^ set(by_date))
        if wrong or len(by_date) != len(objects):
            told = ", ".join(map(label_of, wrong[:4]))
            raise OptionError(
                f"objects and rasters have different dates ({told}); give one layer for each date of the rasters."
            )
        return tuple(by_date[one.date] for one in series)
    layers = list | tuple | gpd.GeoDataFrame | gpd.GeoSeries | os.PathLike | str
    if isinstance(objects, list | tuple) and objects and not any(isinstance(one, shapely.Geometry) for one in objects):
        if all(isinstance(one, layers) for one in objects) and len(objects) not in {1, len(series)}:
            raise OptionError(
                f"{len(objects)} layers of objects are given for {len(series)} dates; give one layer, or one for each date."
            )
        if len(objects) == len(series):
            return tuple(objects[one.place] for one in series)
        if len(objects) == 1:
            return (objects[0],)
    return (objects,)
