"""The objects that a user shows to the memory: points, boxes or outlines with ids, each on one date of the series."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.pixel_coordinates import crs_of
from samgeo.geo.coordinates.prompt_geometry import read_boxes, read_points, read_polygons
from samgeo.geo.vector.reading import read_vectors
from samgeo.models.hf.sam2_memory import BOX_LABELS
from samgeo.time_series.tracking.dated import label_of, to_date
from samgeo.types import DateLike, FeaturesLike

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster

__all__ = ["PromptedObject", "digest_of", "read_objects"]

ID, DATE, GROUP = "id", "date", "prompt"
POINTS, POLYGONS = {"Point", "MultiPoint"}, {"Polygon", "MultiPolygon"}


@dataclass(frozen=True, slots=True, eq=False)
class PromptedObject:
    """An object and what shows it, in pixels of the grid of the series.

    Attributes
    ----------
    id : int
        Its id.
    object_id : int
        Position of its first feature in the layer of the user, from 0.
    date : int
        Number of the date on which it is shown.
    region : geometry
        The part of the outline or of the box in the raster; or the pixels of the foreground points.
    points : ndarray, shape (N, 2), or None
        x and y of the points, or of the corners of the box; None if the outline is the prompt.
    labels : ndarray of int64, shape (N,), or None
        1 foreground, 0 background, and `BOX_LABELS`.
    """

    id: int
    object_id: int
    date: int
    region: shapely.Geometry
    points: NDArray[np.float64] | None = None
    labels: NDArray[np.int64] | None = None


def read_objects(
    objects: object,
    raster: Raster,
    dates: Sequence[pd.Timestamp],
    *,
    prompt_date: DateLike | None = None,
    as_boxes: bool = False,
) -> tuple[PromptedObject, ...]:
    """Read the objects that are to be followed, and return them in the order of their ids.

    Parameters
    ----------
    objects : path, GeoDataFrame, GeoSeries or sequence of geometries
        See `samgeo.track`.
    raster : Raster
        The raster of the first date, whose grid is used.
    dates : sequence of Timestamp
        The dates of the series.
    prompt_date, as_boxes
        See `samgeo.track`.

    Raises
    ------
    OptionError
        If there is no object, ids or dates are wrong, or an object lies outside the raster.
    VectorError
        If the objects cannot be read, or are neither points nor polygons.
    """
    frame = _table(objects, raster)
    if not len(frame):
        raise OptionError("the layer of objects has no features; give the objects that are to be followed.")
    ids, given = _ids(frame), _dates(frame, dates, prompt_date)
    kinds = frame.geometry.geom_type.to_numpy()
    are_points = np.isin(kinds, list(POINTS))
    if (other := ~(are_points | np.isin(kinds, list(POLYGONS)))).any():
        row = int(np.argmax(other))
        raise VectorError(f"feature {row} of the objects is a {kinds[row]}; give points or polygons.")
    if as_boxes and are_points.all():
        raise OptionError("as_boxes is given, and the objects are points; leave it out, or give polygons.")
    first = pd.Series(np.arange(len(ids))).groupby(ids).first().to_dict()
    _check_groups(ids, given, are_points, dates)
    found = []
    for number, region, points, labels in [
        *_of_points(frame[are_points], ids[are_points], raster),
        *_of_polygons(frame[~are_points], ids[~are_points], raster, as_boxes=as_boxes),
    ]:
        if shapely.is_empty(region):
            raise OptionError(
                f"object {number} lies outside {raster.name}, or has no foreground point in it; check the CRS of the objects."
            )
        row = int(first[number])
        found.append(PromptedObject(number, row, int(given[row]), region, points, labels))
    return tuple(sorted(found, key=lambda one: one.id))


def digest_of(objects: Sequence[PromptedObject]) -> str:
    """Return a digest of objects and of what shows them."""
    digest = blake2b(digest_size=16)
    for one in objects:
        digest.update(f"{one.id} {one.object_id} {one.date}".encode() + shapely.to_wkb(one.region))
        if one.points is not None and one.labels is not None:
            digest.update(np.ascontiguousarray(one.points).tobytes() + np.ascontiguousarray(one.labels).tobytes())
    return digest.hexdigest()


def _table(objects: object, raster: Raster) -> gpd.GeoDataFrame:
    """Return the objects as a table; bare geometries are in the CRS of the raster."""
    if objects is None:
        raise OptionError("the memory follows given objects; give objects: points, boxes or outlines.")
    if isinstance(objects, Mapping):
        raise OptionError("objects is a mapping of dates; with memory, give one layer, with the dates in a column date.")
    if isinstance(objects, shapely.Geometry):
        objects = [objects]
    if isinstance(objects, list | tuple | np.ndarray):
        geometries = np.array(objects, dtype=object)
        if geometries.ndim != 1 or not shapely.is_geometry(geometries).all():
            raise OptionError(
                "objects is a sequence of other values than geometries; with memory, give one layer for all dates: a path, a "
                "table or geometries."
            )
        return gpd.GeoDataFrame(geometry=geometries, crs=crs_of(raster.geobox))
    layer: Any = objects
    features: FeaturesLike = layer
    return read_vectors(features).reset_index(drop=True)


def _ids(frame: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Return the id of each feature: the column ``id``, or its number from 1."""
    if ID not in frame:
        return np.arange(1, len(frame) + 1, dtype=np.int64)
    given = pd.to_numeric(frame[ID], errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = ~np.isfinite(given) | (given != np.round(given)) | (np.abs(given) > 2**53)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise OptionError(
            f"feature {row} of the objects has the id {frame[ID].iloc[row]!r}; give whole numbers in the column id, or leave "
            "it out: the objects are then numbered from 1. The column object_id of the result has their rows."
        )
    numbers: NDArray[np.int64] = given.astype(np.int64)
    return numbers


def _dates(frame: gpd.GeoDataFrame, dates: Sequence[pd.Timestamp], prompt_date: DateLike | None) -> NDArray[np.int64]:
    """Return the number of the date on which each feature shows its object."""
    numbers = {date: number for number, date in enumerate(dates)}

    def number_of(value: object, what: str) -> int:
        date = to_date(value)
        if date not in numbers:
            told = ", ".join(map(label_of, dates))
            raise OptionError(f"{what} is {label_of(date)}, and the rasters have the dates {told}; give one of these.")
        return numbers[date]

    if DATE not in frame:
        number = 0 if prompt_date is None else number_of(prompt_date, "prompt_date")
        return np.full(len(frame), number, dtype=np.int64)
    if prompt_date is not None:
        raise OptionError("prompt_date is given, and the objects have a column date; give one of them.")
    found = [number_of(value, f"the date of feature {row} of the objects") for row, value in enumerate(frame[DATE])]
    return np.array(found, dtype=np.int64)


def _check_groups(
    ids: NDArray[np.int64], given: NDArray[np.int64], are_points: NDArray[np.bool_], dates: Sequence[pd.Timestamp]
) -> None:
    """Check that the features of each object belong together: one polygon, or points of one date."""
    for number, rows in pd.Series(np.arange(len(ids))).groupby(ids):
        some = rows.to_numpy()
        if len(some) > 1 and not are_points[some].all():
            raise OptionError(
                f"{len(some)} features have the id {number}; give one polygon for each object, or several points."
            )
        if len(shown := np.unique(given[some])) > 1:
            told = " and ".join(label_of(dates[one]) for one in shown[:2])
            raise OptionError(f"the points of object {number} have the dates {told}; give points of one date.")


_Read = tuple[int, shapely.Geometry, NDArray[np.float64] | None, NDArray[np.int64] | None]


def _of_points(frame: gpd.GeoDataFrame, ids: NDArray[np.int64], raster: Raster) -> list[_Read]:
    if not len(frame):
        return []
    points, labels, _ = read_points(frame.assign(**{GROUP: ids}), geobox=raster.geobox)
    height, width = raster.shape
    found: list[_Read] = []
    for number, padded, given in zip(pd.unique(ids).tolist(), points, labels, strict=True):
        with np.errstate(invalid="ignore"):
            inside = (given >= 0) & (padded >= 0).all(axis=1) & (padded < (width, height)).all(axis=1)
        xy, kinds = padded[inside], given[inside]
        pixel = np.floor(xy[kinds == 1])
        region = shapely.union_all(shapely.box(*pixel.T, *(pixel + 1).T)) if len(pixel) else shapely.Polygon()
        found.append((number, region, xy, kinds))
    return found


def _of_polygons(frame: gpd.GeoDataFrame, ids: NDArray[np.int64], raster: Raster, *, as_boxes: bool) -> list[_Read]:
    if not len(frame):
        return []
    height, width = raster.shape
    if as_boxes:
        boxes = np.clip(read_boxes(frame, geobox=raster.geobox)[0], 0, np.tile((width, height), 2))
        there = np.asarray(np.isfinite(boxes).all(axis=1) & (boxes[:, :2] < boxes[:, 2:]).all(axis=1))
        labels = np.array(BOX_LABELS, dtype=np.int64)
        return [
            (number, shapely.box(*box) if is_there else shapely.Polygon(), box.reshape(2, 2), labels)
            for number, box, is_there in zip(ids.tolist(), boxes, there.tolist(), strict=True)
        ]
    outlines = read_polygons(frame, geobox=raster.geobox)[0]
    clipped = shapely.intersection(outlines, shapely.box(0, 0, width, height))
    return [(number, _surface(one), None, None) for number, one in zip(ids.tolist(), clipped, strict=True)]


def _surface(geometry: shapely.Geometry) -> shapely.Geometry:
    """Return the polygons of a geometry, without lines and points that clipping left."""
    parts = shapely.get_parts(geometry)
    surfaces = parts[shapely.get_dimensions(parts) == 2]
    whole: shapely.Geometry = surfaces[0] if len(surfaces) == 1 else shapely.multipolygons(surfaces)
    return whole
