"""Classes of objects from a user's examples: a column of the objects, or polygons that lie on them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.evaluation.layer_pairs import common_crs, read_layer
from samgeo.evaluation.matching import find_pairs, pair_up
from samgeo.geo.coordinates.metric_planes import Planes
from samgeo.geo.vector.reading import read_vectors
from samgeo.objects.examples import MATCH_IOU

if TYPE_CHECKING:
    from samgeo.evaluation.layer_pairs import Layer
    from samgeo.types import FeaturesLike

__all__ = ["JOINS", "LEAST_COVER", "ExampleClasses", "read_example_classes"]

JOINS = ("cover", "iou")

# An object has the class of the polygons that cover more than this share of it.
LEAST_COVER = 0.5


@dataclass(frozen=True, slots=True, eq=False)
class ExampleClasses:
    """The classes of the objects that are examples.

    Attributes
    ----------
    classes : ndarray of str or None, shape (N,)
        Class of each object, None for objects that are no examples.
    unmatched : int
        Number of examples that lie on no object. 0 if the examples are a column.
    """

    classes: NDArray[np.object_]
    unmatched: int


def read_example_classes(objects: gpd.GeoDataFrame, examples: FeaturesLike, class_column: str, join: str) -> ExampleClasses:
    """Find the objects that are examples, and their classes; see `samgeo.classify`.

    Parameters
    ----------
    objects : GeoDataFrame
        The objects.
    examples : str, path, GeoDataFrame or GeoSeries
        The name of a column of the objects, or polygons with a column of classes.
    class_column : str
        Name of the column of the polygons.
    join : {"cover", "iou"}
        How the polygons are assigned to objects.

    Raises
    ------
    OptionError
        If there is no such column, ``join`` has another value, or no polygon lies on an object.
    VectorError
        If the examples cannot be read.
    """
    if join not in JOINS:
        raise OptionError(f"join is {join!r}; give one of {', '.join(JOINS)}.")
    if isinstance(examples, str) and examples in objects:
        return ExampleClasses(class_names(objects[examples]), 0)
    frame = read_vectors(examples)
    if class_column not in frame:
        raise OptionError(
            f"the examples have no column {class_column!r}; give the column of their classes as class_column, one of "
            f"{', '.join(str(name) for name in frame.columns if name != frame.geometry.name) or 'none'}."
        )
    names = class_names(frame[class_column])
    frame, names = frame[names != None], names[names != None]  # noqa: E711 - compares the elements of an array
    common_crs(frame, objects)
    planes = Planes.around(objects)
    a, b = read_layer(frame, planes), read_layer(objects, planes)
    result = np.full(len(objects), None, dtype=object)
    if join == "iou":
        pairs = find_pairs(a, b, planes, MATCH_IOU)
        pairs = pairs[pair_up(pairs, MATCH_IOU)]
        result[b.rows[pairs.truth]] = names[a.rows[pairs.found]]
        used = len(pairs)
    else:
        result[b.rows], used = _covering(a, b, names[a.rows])
    found = ExampleClasses(result, len(frame) - used)
    if not used:
        how = "covers more than half of an object" if join == "cover" else f"has an IoU of {MATCH_IOU} with an object"
        raise OptionError(f"none of the {len(frame)} examples {how}; give polygons that lie on objects of the layer.")
    return found


def class_names(column: pd.Series) -> NDArray[np.object_]:
    """Return a column of classes as text; None where the class is missing or empty.

    Whole numbers that became floating-point numbers because others are missing are written without a fraction.
    """
    names = [
        None if missing else str(int(value)) if isinstance(value, float) and value.is_integer() else str(value).strip() or None
        for value, missing in zip(column.tolist(), column.isna().tolist(), strict=True)
    ]
    result = np.full(len(column), None, dtype=object)
    result[:] = names
    return result


def _covering(polygons: Layer, objects: Layer, names: NDArray[np.object_]) -> tuple[NDArray[np.object_], int]:
    """Return the class of each object, None where no class covers enough of it, and the number of polygons that gave one.

    Shares of the area of one object are the same in any CRS, up to differences of scale within the object.
    """
    classes, numbers = np.unique(names.astype(str), return_inverse=True)
    tree = shapely.STRtree(objects.geometries)
    i, j = tree.query(polygons.geometries, predicate="intersects")
    large, small = polygons.geometries[i], objects.geometries[j]
    shapely.prepare(polygons.geometries)
    total = shapely.area(small)
    shared = total.copy()
    # Most objects lie inside a polygon, for which no intersection must be computed.
    crossing = ~shapely.covers(large, small)
    shared[crossing] = shapely.area(shapely.intersection(large[crossing], small[crossing]))
    share = np.zeros((len(objects), max(len(classes), 1)))
    np.add.at(share, (j, numbers[i]), shared / total)
    best = share.argmax(axis=1)
    covered = share[np.arange(len(objects)), best] > LEAST_COVER
    result = np.full(len(objects), None, dtype=object)
    if len(classes):
        result[covered] = classes[best[covered]].astype(object)
    given = covered[j] & (best[j] == numbers[i])
    return result, len(np.unique(i[given]))
