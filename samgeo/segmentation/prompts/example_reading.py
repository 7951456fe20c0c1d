"""Reading of a user's examples: features that are accepted, or rejected by their column ``label``."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    from samgeo.types import CRSLike, FeaturesLike

__all__ = ["read_labelled_features", "read_labels"]

LABEL = "label"


def read_labelled_features(examples: FeaturesLike, crs: CRSLike) -> tuple[gpd.GeoDataFrame, NDArray[np.float64]]:
    """Read examples.

    Parameters
    ----------
    examples : path, GeoDataFrame, GeoSeries, sequence of geometries, or a pair of those
        Features with a column ``label``; see `read_labels`. Features without the column are all accepted. A pair has the
        accepted features first and the rejected ones second.
    crs : anything that pyproj takes, or None
        CRS of geometries without a table.

    Returns
    -------
    features : GeoDataFrame
        One row for each example.
    labels : ndarray of float, shape (N,)
        1 for accepted, 0 for rejected, NaN for not judged.

    Raises
    ------
    OptionError
        If a label has another value.
    VectorError
        If the examples cannot be read.
    """
    if isinstance(examples, tuple) and len(examples) == 2:
        parts = [_features(one, crs) for one in examples]
        if parts[1].crs is not None and parts[0].crs is not None:
            parts[1] = reproject_frame(parts[1], parts[0].crs, name="the layer of rejected examples")
        geometries = np.concatenate([one.geometry.to_numpy() for one in parts])
        labels = np.repeat([1.0, 0.0], [len(one) for one in parts])
        return gpd.GeoDataFrame(geometry=geometries, crs=parts[0].crs), labels
    frame = _features(examples, crs)
    if LABEL not in frame:
        return frame, np.ones(len(frame))
    return frame, read_labels(frame[LABEL], f"column {LABEL!r} of the examples")


def read_labels(column: pd.Series, what: str) -> NDArray[np.float64]:
    """Return a column of labels as numbers: 1 for accepted (1 or true), 0 for rejected (0 or false), NaN for not judged.

    Raises
    ------
    OptionError
        If a label has another value. ``what`` names the column in the message.
    """
    given = pd.to_numeric(column.astype(object), errors="coerce").to_numpy(dtype=np.float64)
    wrong = ~(np.isin(given, (0, 1)) | column.isna().to_numpy())
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise OptionError(f"{what} is {column.iloc[row]!r} in row {row}; give 1 for accepted, 0 for rejected, or nothing.")
    return np.asarray(given, dtype=np.float64)


def _features(examples: FeaturesLike, crs: CRSLike) -> gpd.GeoDataFrame:
    """Return examples of one kind as a table."""
    if is_features(examples):
        return read_vectors(examples)
    given: object = [examples] if isinstance(examples, shapely.Geometry) else examples
    geometries = list(given) if isinstance(given, list | tuple | np.ndarray) else [None]
    if not all(isinstance(one, shapely.Geometry) for one in geometries):
        raise VectorError("the examples are not geometries; give a file, a GeoDataFrame, polygons, or the name of a column.")
    return gpd.GeoDataFrame(geometry=geometries, crs=crs)
