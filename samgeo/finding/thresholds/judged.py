"""The rows of a result that a user has judged, from labels of its index or from polygons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.prompt_geometry import is_features
from samgeo.geo.coordinates.reprojection import reproject_frame
from samgeo.geo.vector.reading import read_vectors

if TYPE_CHECKING:
    from samgeo.types import FeaturesLike

__all__ = ["MATCH_IOU", "judged_rows"]

MATCH_IOU = 0.5


def judged_rows(found: gpd.GeoDataFrame, judged: FeaturesLike | Sequence[int] | pd.Index, what: str) -> NDArray[np.int64]:
    """Return the numbers of the rows that are judged, rising; at least one.

    Parameters
    ----------
    found : GeoDataFrame
        The result.
    judged : labels of its index, or polygons
        See `samgeo.finding.calibrate`.
    what : {"accepted", "rejected"}
        For messages.

    Raises
    ------
    OptionError
        If no object is judged, or a label is not in the index.
    VectorError
        If features cannot be read or located.
    """
    if is_features(judged):
        frame = read_vectors(cast("FeaturesLike", judged))
    elif isinstance(judged, shapely.Geometry):
        frame = gpd.GeoDataFrame(geometry=[judged], crs=found.crs)
    else:
        if not isinstance(judged, list | tuple | np.ndarray | pd.Index | pd.Series):
            raise OptionError(
                f"{what} is a {type(judged).__name__}; give features, geometries, or a list of labels of the index."
            )
        listed = list(cast("Iterable[Any]", judged))
        if not listed:
            raise OptionError(f"no object is {what}; give some objects that are {what}, to which the scores can be fitted.")
        if not all(isinstance(one, shapely.Geometry) for one in listed):
            return _rows_of(found, listed, what)
        frame = gpd.GeoDataFrame(geometry=listed, crs=found.crs)
    rows = _matched(found, _located(frame, found, what))
    if not len(rows):
        raise OptionError(
            f"none of the {len(frame)} {what} features has an IoU of {MATCH_IOU} or more with a found object; give polygons of "
            "found objects, or labels of the index of the result."
        )
    return rows


def _rows_of(found: gpd.GeoDataFrame, labels: list[Any], what: str) -> NDArray[np.int64]:
    if not found.index.is_unique:
        raise OptionError("the index of the result has a label twice; call reset_index(drop=True) first.")
    if all(isinstance(one, bool | np.bool_) for one in labels):
        raise OptionError(f"{what} is a mask; give the labels of the index, as in found.index[mask].")
    rows = found.index.get_indexer(pd.Index(labels))
    if (rows < 0).any():
        missing = labels[int(np.argmax(rows < 0))]
        raise OptionError(
            f"there is no object {missing!r} in the index of the result, which {what} names; give labels of the index."
        )
    return np.unique(rows).astype(np.int64)


def _located(frame: gpd.GeoDataFrame, found: gpd.GeoDataFrame, what: str) -> gpd.GeoDataFrame:
    """Return features in the CRS of the result."""
    name = f"the layer of {what} features"
    if (frame.crs is None) != (found.crs is None):
        without, other = (name, "the result") if frame.crs is None else ("the result", name)
        raise VectorError(f"{without} has no CRS and {other} has one; set it with .set_crs(...).")
    return frame if frame.crs is None or frame.crs == found.crs else reproject_frame(frame, found.crs, name=name)


def _matched(found: gpd.GeoDataFrame, frame: gpd.GeoDataFrame) -> NDArray[np.int64]:
    """Return the rows of the objects with which the features have their highest IoU, if that is high enough."""
    outlines, given = (shapely.make_valid(one.geometry.to_numpy()) for one in (found, frame))
    feature, row = shapely.STRtree(outlines).query(given, predicate="intersects")
    shared = shapely.area(shapely.intersection(given[feature], outlines[row]))
    total = shapely.area(given)[feature] + shapely.area(outlines)[row] - shared
    iou = np.divide(shared, total, out=np.zeros(len(shared)), where=total > 0)
    order = np.lexsort([row, -iou, feature])
    feature, row, iou = feature[order], row[order], iou[order]
    best = np.concatenate([[True], feature[1:] != feature[:-1]]) if len(feature) else np.empty(0, dtype=np.bool_)
    return np.unique(row[best & (iou >= MATCH_IOU)]).astype(np.int64)
