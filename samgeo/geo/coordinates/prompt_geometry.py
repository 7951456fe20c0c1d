"""Reading of prompts (points, boxes and polygons) in any CRS, and their transformation to pixels of a raster."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.antimeridian import period_of
from samgeo.geo.coordinates.area_of_interest import to_pixels
from samgeo.geo.coordinates.overlay import bounds_in_pixels, check_same_kind, in_pixels
from samgeo.geo.coordinates.pixel_coordinates import PIXELS, crs_of, from_pixels, inward_to, resolve_crs
from samgeo.geo.vector.axes import refuse_mirrored
from samgeo.geo.vector.reading import read_vectors

if TYPE_CHECKING:
    from odc.geo.geobox import GeoBox

    from samgeo.types import CRSLike, FeaturesLike, LabelsLike

__all__ = ["PIXELS", "from_pixels", "is_features", "read_boxes", "read_points", "read_polygons", "to_pixels"]

GROUP, LABEL = "prompt", "label"


def read_points(
    points: FeaturesLike, labels: LabelsLike = None, *, geobox: GeoBox, crs: CRSLike = None
) -> tuple[NDArray[np.float64], NDArray[np.int64], pd.DataFrame | None]:
    """Read prompts that consist of one or several points.

    Parameters
    ----------
    points : array-like of shape (P, 2) or (P, N, 2), path, GeoDataFrame or GeoSeries
        x and y, with N points a prompt. Each feature is a prompt: a point, or a multipoint for several points. If there is a
        column ``prompt``, all features with the same value in it are one prompt; prompts are in the order of their first
        features.
    labels : array-like of shape (P,) or (P, N), optional
        1 foreground, 0 background, -1 padding. By default the column ``label`` of the features, else 1.
    geobox : GeoBox
        Grid of the raster.
    crs : anything that pyproj takes, or "pixels", optional
        CRS of arrays, and of features that have none. That of the raster by default.

    Returns
    -------
    points_px : ndarray, shape (P, N, 2)
        In raster pixels; NaN for padding, and for points that cannot be represented in the CRS of the raster.
    labels : ndarray of int64, shape (P, N)
        Labels of the points, with -1 for padding.
    table : DataFrame or None
        The other columns of the features, with a row for each prompt.

    Raises
    ------
    OptionError
        If shapes or labels do not fit, a number is not finite, or the CRS is unknown.
    VectorError
        If features cannot be read, are not points, have no CRS where one is needed, have a coordinate that is not finite, or
        some have no value in the column ``prompt``.
    """
    if not is_features(points):
        xy = _array("points", points)
        shape = xy.shape
        xy = xy[:, None] if xy.ndim == 2 else xy
        if xy.ndim != 3 or xy.shape[2] != 2:
            raise OptionError(f"points have shape {shape}; give (P, 2), or (P, N, 2) for N points a prompt.")
        signs = np.ones(xy.shape[:2], dtype=np.int64) if labels is None else _labels(labels, xy.shape[:2])
        used = signs != -1
        if not np.isfinite(xy[used]).all():
            raise OptionError(
                f"points of prompt {_first(~np.isfinite(xy).all(axis=2) & used)} are not finite numbers; give finite ones."
            )
        placed = np.where(used[..., None], inward_to(geobox, crs)(xy), np.nan)
        return placed, signs, None
    frame, crs = _features(points, geobox, crs)
    inward = inward_to(geobox, crs)
    geometries = _of_type(frame, {"Point", "MultiPoint"}, "points")
    prompt = _groups(frame)
    given = frame[LABEL].to_numpy() if labels is None and LABEL in frame else labels
    each = np.ones(len(frame), dtype=np.int64) if given is None else _labels(given, (len(frame), 1))[:, 0]
    xy, feature = shapely.get_coordinates(geometries, return_index=True)
    owner = prompt[feature]
    order = np.argsort(owner, kind="stable")
    xy, owner, label = inward(xy)[order], owner[order], each[feature][order]
    count = int(prompt.max()) + 1 if len(prompt) else 0
    sizes = np.bincount(owner, minlength=count)
    column = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    placed = np.full((count, max(int(sizes.max(initial=0)), 1), 2), np.nan)
    padded = np.full(placed.shape[:2], -1, dtype=np.int64)
    placed[owner, column], padded[owner, column] = xy, label
    first = np.unique(prompt, return_index=True)[1]
    return placed, padded, _table(frame, {LABEL}).iloc[first]


def read_boxes(boxes: FeaturesLike, *, geobox: GeoBox, crs: CRSLike = None) -> tuple[NDArray[np.float64], pd.DataFrame | None]:
    """Read boxes.

    A box is a rectangle in its own CRS, so its edges are curves on a raster in another CRS (the parallels of a box in longitude
    and latitude bulge in UTM). The result is the bounding box, in raster pixels, of the region with these edges.

    Parameters
    ----------
    boxes : array-like of shape (P, 4), path, GeoDataFrame or GeoSeries
        x0, y0, x1, y1 with ``x0 <= x1`` and ``y0 <= y1``; or features, whose bounding boxes are taken. In longitude and
        latitude a box with ``x0 > x1`` crosses the antimeridian, as in RFC 7946, if it is narrower than half a turn around the
        earth.
    geobox : GeoBox
        Grid of the raster.
    crs : anything that pyproj takes, or "pixels", optional
        CRS of arrays, and of features that have none. That of the raster by default.

    Returns
    -------
    boxes_px : ndarray, shape (P, 4)
        x0, y0, x1, y1 in raster pixels; NaN for a box with a part that cannot be represented in the CRS of the raster.
    table : DataFrame or None
        The other columns of the features.

    Raises
    ------
    OptionError
        If the shape does not fit, a box is inside out, a number is not finite, or the CRS is unknown.
    VectorError
        If features cannot be read, have no CRS where one is needed, or have a coordinate that is not finite.
    """
    if not is_features(boxes):
        sides = _array("boxes", boxes)
        if sides.ndim != 2 or sides.shape[1] != 4:
            raise OptionError(f"boxes have shape {sides.shape}; give (P, 4): x0, y0, x1, y1.")
        sides = _eastward(sides, geobox, crs)
        bad = np.asarray(~(np.isfinite(sides).all(axis=1) & (sides[:, :2] <= sides[:, 2:]).all(axis=1)))
        if bad.any():
            raise OptionError(f"box {_first(bad)} is {sides[bad][0].tolist()}; give finite x0 <= x1 and y0 <= y1.")
        return bounds_in_pixels(np.asarray(shapely.box(*sides.T), dtype=object).reshape(-1), geobox, crs), None
    frame, crs = _features(boxes, geobox, crs)
    geometries = _of_type(frame, {"Polygon", "MultiPolygon", "LineString", "MultiPoint"}, "boxes")
    return bounds_in_pixels(geometries, geobox, crs), _table(frame)


def _eastward(sides: NDArray[np.float64], geobox: GeoBox, crs: CRSLike) -> NDArray[np.float64]:
    """Add one turn to the eastern side of boxes that cross the antimeridian, so that it is greater than the western side."""
    if isinstance(crs, str) and crs == PIXELS:
        return sides
    given = crs_of(geobox) if crs is None else resolve_crs(geobox, crs)
    period = period_of(given)
    if given is None or period is None or not given.is_geographic:
        return sides
    crosses = (sides[:, 0] > sides[:, 2]) & (sides[:, 2] + period - sides[:, 0] < period / 2)
    result: NDArray[np.float64] = sides + np.where(crosses, period, 0)[:, None] * np.array([0, 0, 1, 0])
    return result


def read_polygons(
    polygons: FeaturesLike, *, geobox: GeoBox, crs: CRSLike = None
) -> tuple[NDArray[np.object_], pd.DataFrame | None]:
    """Read polygons.

    Parameters
    ----------
    polygons : path, GeoDataFrame, GeoSeries, or sequence of shapely geometries
        Polygons and multipolygons.
    geobox : GeoBox
        Grid of the raster.
    crs : anything that pyproj takes, or "pixels", optional
        CRS of bare geometries, and of features that have none. That of the raster by default.

    Returns
    -------
    polygons_px : ndarray of shapely geometries, shape (P,)
        Valid, in raster pixels. Corners are added so that straight edges of another CRS are correct to 1/16 of a pixel. Empty
        for missing geometries, and for those with a part that cannot be represented in the CRS of the raster.
    table : DataFrame or None
        The other columns of the features.

    Raises
    ------
    OptionError
        If the CRS is unknown.
    VectorError
        If features cannot be read, are not polygons, have no CRS where one is needed, or have a coordinate that is not finite.
    """
    if is_features(polygons):
        frame, crs = _features(polygons, geobox, crs)
        table = _table(frame)
    else:
        frame = gpd.GeoDataFrame(geometry=bare_geometries(polygons))
        table = None
    geometries = _of_type(frame, {"Polygon", "MultiPolygon"}, "polygons")
    placed, lost = in_pixels(geometries, geobox, crs)
    placed[lost] = shapely.Polygon()
    return np.asarray(shapely.make_valid(placed, method="structure"), dtype=np.object_), table


def bare_geometries(given: object) -> NDArray[np.object_]:
    """Return geometries without a table as an array.

    Raises
    ------
    VectorError
        If something else is given.
    """
    listed = [given] if isinstance(given, shapely.Geometry) else given
    if isinstance(listed, list | tuple | np.ndarray):
        found = np.empty(len(listed), dtype=np.object_)
        found[:] = listed
        if all(one is None or isinstance(one, shapely.Geometry) for one in found):
            return found
    raise VectorError(
        f"features cannot be read from a {type(given).__name__} without geometries; give a path, a GeoDataFrame, a GeoSeries, "
        "a geometry or a list of geometries."
    )


def is_features(given: object) -> bool:
    """Return whether prompts are a path, a GeoDataFrame or a GeoSeries, rather than an array or bare geometries."""
    return isinstance(given, str | os.PathLike | gpd.GeoDataFrame | gpd.GeoSeries)


def _features(given: FeaturesLike, geobox: GeoBox, crs: CRSLike) -> tuple[gpd.GeoDataFrame, CRSLike]:
    """Read features, and return them with their CRS; None means that of the raster."""
    frame = read_vectors(given)
    refuse_mirrored(frame, geobox, "the prompts")
    if frame.crs is None:
        if crs is None:
            check_same_kind(None, geobox, what="the layer of prompts")
        else:
            resolve_crs(geobox, None if crs == PIXELS else crs)
        return frame, crs
    check_same_kind(frame.crs, geobox, what="the layer of prompts")
    if crs is not None and (crs == PIXELS or frame.crs != crs):
        raise OptionError(f"crs is {crs}, but the prompts are in {frame.crs.to_string()}; omit crs for features.")
    return frame, frame.crs


def _groups(frame: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Return the number of the prompt of each feature."""
    if GROUP not in frame:
        return np.arange(len(frame))
    missing = frame[GROUP].isna().to_numpy()
    if missing.any():
        raise VectorError(
            f"{int(missing.sum())} of {len(frame)} points have no value in the column {GROUP}, the first is feature "
            f"{_first(missing)}. Points with the same value are one prompt: give each point a value, or remove the column."
        )
    return np.asarray(frame[GROUP].factorize()[0], dtype=np.int64)


def _of_type(frame: gpd.GeoDataFrame, wanted: set[str], what: str) -> NDArray[np.object_]:
    """Check the types of geometries, and return them two-dimensional, with an empty geometry for None."""
    geometries = frame.geometry.to_numpy().copy()
    geometries[shapely.is_missing(geometries)] = shapely.GeometryCollection()
    other = ~(frame.geometry.geom_type.isin(wanted).to_numpy() | shapely.is_empty(geometries))
    if other.any():
        raise VectorError(
            f"feature {_first(other)} is a {geometries[other][0].geom_type}, which cannot be used for {what}; remove it."
        )
    flat = np.asarray(shapely.force_2d(geometries), dtype=np.object_)
    xy, owner = shapely.get_coordinates(flat, return_index=True)
    lost = owner[~np.isfinite(xy).all(axis=1)]
    if len(lost):
        raise VectorError(
            f"feature {int(lost[0])} of the {what} has a coordinate that is not a finite number; repair or remove it."
        )
    return flat


def _table(frame: gpd.GeoDataFrame, without: set[str] | None = None) -> pd.DataFrame:
    dropped = {frame.active_geometry_name, *(without or ())} & set(frame.columns)
    return pd.DataFrame(frame.drop(columns=list(dropped)))


def _array(name: str, value: object) -> NDArray[np.float64]:
    try:
        array = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise OptionError(f"{name} are not numbers ({error}); give an array, a GeoDataFrame or a vector file.") from None
    return array


def _labels(labels: LabelsLike, shape: tuple[int, ...]) -> NDArray[np.int64]:
    given = _array("labels", labels)
    if given.size != shape[0] * shape[1] or given.shape[:1] != shape[:1]:
        raise OptionError(f"labels have shape {given.shape} and points {shape}; give a label for each point.")
    if not np.isin(given, (-1, 0, 1)).all():
        raise OptionError("labels must be 1 (foreground), 0 (background) or -1 (padding).")
    return given.reshape(shape).astype(np.int64)


def _first(bad: NDArray[np.bool_]) -> int:
    return int(np.argmax(bad.reshape(len(bad), -1).any(axis=1)))
