"""The public function that evaluates found objects against true objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray
from pandas.api.types import is_numeric_dtype

from samgeo.arguments import check_types
from samgeo.errors import OptionError, VectorError
from samgeo.evaluation.average_precision import IOU_THRESHOLDS, Side
from samgeo.evaluation.judging import Comparison, Judged, Verdicts
from samgeo.evaluation.layer_pairs import common_crs, read_layer
from samgeo.evaluation.matching import check_min_iou, find_pairs
from samgeo.evaluation.report import Report
from samgeo.geo.coordinates.area_of_interest import Area, read_area
from samgeo.geo.coordinates.metric_planes import Planes
from samgeo.geo.vector.reading import read_vectors
from samgeo.types import AoiLike, FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd
    import pyproj

__all__ = ["evaluate"]

SCORE_COLUMNS = ("score", "predicted_iou")

# Without a CRS the limits are those of COCO: 32 and 96 pixels squared. With a CRS they suit buildings: in a dense town half of
# them are smaller than 50 m2, and a few are larger than 200 m2.
SIZES_PX = (32.0**2, 96.0**2)
SIZES_M2 = (50.0, 200.0)
SIZE_NAMES = ("small", "medium", "large")

BOUNDARY_M = 1.0
BOUNDARY_PX = 2.0


@check_types
def evaluate(
    found: FeaturesLike,
    truth: FeaturesLike,
    *,
    min_iou: float = 0.5,
    score: str | None = None,
    class_column: str | None = None,
    sizes: tuple[float, float] | None = None,
    boundary_m: float | None = None,
    aoi: AoiLike = None,
    progress: bool = True,
) -> Report:
    """Evaluate found objects against true objects.

    The found objects are transformed to the CRS of the truth; their edges are correct to a millimetre. Both layers are
    measured in local equal-area planes, so that areas are true and the error of lengths is below 2e-5 in any CRS. Objects
    should be smaller than some tens of kilometres. Pairs are found with a spatial index and measured in batches of some
    thousands. Invalid geometries are repaired. Objects that cannot be evaluated are left out, and counted with the reason.

    With a score, objects are matched by the rule of SpaceNet, ImageNet and COCO: found objects are visited in the order of
    falling scores, and each takes the true object with the best IoU that has the same class and is not taken yet. Without a
    score, the pairs with the best IoU are matched first, and there is no average precision. Average precision and recall are
    equal to those of pycocotools for one image without crowds and without a limit of the number of objects.

    With an area of interest, an object outside is ignored, as COCO ignores areas out of range. An object is outside if its
    inner point (shapely's ``point_on_surface``) is. True objects outside are not missed. Found objects that match one of them,
    or that are outside and match none, are not false.

    Parameters
    ----------
    found, truth : path, GeoDataFrame or GeoSeries
        Polygons. Either both have a CRS, which may differ, or none has one. A layer of a file with several layers is given as
        ``city.gpkg:roofs``.
    min_iou : float, default 0.5
        Smallest IoU of a match.
    score : str, optional
        Column of ``found`` with the confidence of each object, where higher is better. The default is ``score`` or
        ``predicted_iou``, if there is such a column.
    class_column : str, optional
        Column of both layers with the class of each object. Only objects of the same class match. By default there is one
        class.
    sizes : (float, float), optional
        Smallest areas of medium and of large objects. The default is 50 and 200 square metres, or 1024 and 9216 square pixels
        without a CRS. For average precision, an object whose area is equal to a limit belongs to both sizes, as in COCO.
    boundary_m : float, optional
        Distance of the boundary IoU. The default is 1 metre, or 2 pixels without a CRS.
    aoi : path, GeoDataFrame, GeoSeries or geometry, optional
        Area of interest: polygons in any CRS, whose edges are straight in that CRS. A geometry without a table is in the CRS of
        the truth.
    progress : bool, default True
        Whether to show progress bars on standard error: of the search for pairs, and of the measurements of the matched ones.

    Returns
    -------
    Report
        All figures, and a table of all objects.

    Raises
    ------
    VectorError
        If a layer cannot be read or an object has no score.
    OptionError
        If only some of the layers have a CRS, a column is missing, the layers have no class in common, or an option is invalid.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import box
    >>> from samgeo.evaluation import evaluate
    >>> truth = gpd.GeoDataFrame(geometry=[box(0, 0, 10, 10), box(20, 0, 30, 10)])
    >>> found = gpd.GeoDataFrame({"score": [0.9, 0.4]}, geometry=[box(0, 0, 10, 9), box(50, 0, 60, 10)])
    >>> report = evaluate(found, truth, progress=False)
    >>> report.overall.precision, report.overall.recall, report.overall.mean_iou
    (0.5, 0.5, 0.9)
    >>> report.worst("missed")["row"].tolist()
    [1]
    """
    check_min_iou(min_iou)
    frames = read_vectors(found), read_vectors(truth)
    common_crs(*frames)
    planes = Planes.around(frames[1])
    plain = planes.crs is None
    limits = _check_sizes(sizes or (SIZES_PX if plain else SIZES_M2))
    distance = _check_distance((BOUNDARY_PX if plain else BOUNDARY_M) if boundary_m is None else boundary_m)
    score = _score_column(frames[0], score)
    labels = [None if class_column is None else _labels(frame, class_column) for frame in frames]
    area = None if aoi is None else _read_aoi(aoi, planes.crs)

    names = sorted(set[str]().union(*(one.dropna() for one in labels if one is not None)))
    a, b = (_judge(frame, planes, label, names, area) for frame, label in zip(frames, labels, strict=True))
    a = Judged(a.layer, a.side, None if score is None else _scores_of(frames[0], score, a))
    _check_shared(a, b, names, class_column)
    least, classes = min(min_iou, float(IOU_THRESHOLDS[0])), (a.side.classes, b.side.classes)
    pairs = find_pairs(a.layer, b.layer, planes, least, classes, progress=progress)
    verdicts = Verdicts.of(a, b, pairs, planes, min_iou=min_iou, distance=distance, progress=progress)

    def of_class(code: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return a.side.classes == code, b.side.classes == code

    def of_size(number: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        return np.digitize(a.layer.areas, limits) == number, np.digitize(b.layer.areas, limits) == number

    compared = Comparison(a, b, pairs, verdicts)
    everything = np.ones(len(a.layer), dtype=bool), np.ones(len(b.layer), dtype=bool)
    ranges = zip((0.0, *limits), (*limits, np.inf), strict=True)
    return Report(
        overall=compared.scores(*everything),
        by_class={name: compared.scores(*of_class(code)) for code, name in enumerate(names)},
        by_size={
            name: compared.scores(*of_size(number), between)
            for number, (name, between) in enumerate(zip(SIZE_NAMES, ranges, strict=True))
        },
        left_out=compared.left_out(),
        repaired={"found": a.layer.repaired, "truth": b.layer.repaired},
        settings={
            "min_iou": min_iou,
            "score": score,
            "class_column": class_column,
            "sizes": list(limits),
            "boundary_m": distance,
            "aoi": area is not None,
            "unit": planes.unit,
            "crs": None if planes.crs is None else planes.crs.to_string(),
        },
        objects=compared.objects(names, planes.crs),
    )


def _judge(frame: gpd.GeoDataFrame, planes: Planes, labels: pd.Series | None, names: list[str], area: Area | None) -> Judged:
    """Read a layer, with the class of each object and whether it lies outside the area of interest."""
    layer = read_layer(frame, planes, labels)
    classes = np.zeros(len(layer), dtype=np.int64)
    if labels is not None:
        classes = np.searchsorted(np.array(names, dtype=str), labels.to_numpy(dtype=object)[layer.rows].astype(str))
    outside = np.zeros(len(layer), dtype=bool)
    if area is not None:
        outside = ~area.contains(shapely.get_coordinates(shapely.point_on_surface(layer.geometries)), planes.crs)
    return Judged(layer, Side(layer.areas, outside, classes), None)


def _scores_of(frame: gpd.GeoDataFrame, column: str, found: Judged) -> NDArray[np.float64]:
    """Return the scores of the found objects that can be evaluated."""
    if not is_numeric_dtype(frame[column]):
        raise VectorError(
            f"the column {column!r} of the found objects does not hold numbers; choose another one for the score."
        )
    values: NDArray[np.float64] = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)[found.layer.rows]
    unknown = np.flatnonzero(np.isnan(values))
    if len(unknown):
        raise VectorError(
            f"{len(unknown)} of {len(values)} found objects have no {column}, the first in row {found.layer.rows[unknown[0]]}; "
            "give them a value, remove them, or choose another column for the score."
        )
    return values


def _score_column(frame: gpd.GeoDataFrame, column: str | None) -> str | None:
    """Return the name of the column of scores, or None if there is none."""
    if column is None:
        return next((name for name in SCORE_COLUMNS if name in frame.columns), None)
    _check_column(frame, column, "found")
    return column


def _labels(frame: gpd.GeoDataFrame, column: str) -> pd.Series:
    """Return the class of each row as text. A whole number stored as a float gives the same text as an integer."""
    _check_column(frame, column, "found or the true")
    values = frame[column]
    text = values.map(lambda value: str(int(value)) if isinstance(value, float) and value.is_integer() else str(value))
    labels: pd.Series = text.astype(object).where(values.notna(), None)
    return labels


def _check_column(frame: gpd.GeoDataFrame, column: str, whose: str) -> None:
    if column not in frame.columns or column == frame.geometry.name:
        there = ", ".join(str(name) for name in frame.columns if name != frame.geometry.name) or "none"
        raise OptionError(f"the {whose} objects have no column {column!r}; they have: {there}.")


def _check_shared(a: Judged, b: Judged, names: list[str], column: str | None) -> None:
    """Raise an `OptionError` if no class is in both layers."""
    if column is None or not len(a.layer) or not len(b.layer) or np.isin(a.side.classes, b.side.classes).any():
        return
    ours, theirs = (", ".join(names[code] for code in np.unique(one.side.classes)[:8]) for one in (a, b))
    raise OptionError(
        f"no class of {column} is in both layers: the found classes are {ours}, the true classes are {theirs}. Rename them so "
        "that they agree."
    )


def _check_sizes(sizes: tuple[float, float]) -> tuple[float, float]:
    if len(sizes) != 2 or not 0 < sizes[0] < sizes[1] < np.inf:
        raise OptionError(f"sizes are {sizes}; give two areas above 0, the smaller first.")
    return float(sizes[0]), float(sizes[1])


def _check_distance(distance: float) -> float:
    if not 0 < distance < np.inf:
        raise OptionError(f"boundary_m is {distance}; give a number above 0.")
    return float(distance)


def _read_aoi(aoi: FeaturesLike, crs: pyproj.CRS | None) -> Area:
    """Read the area of interest, and check that it has a CRS if the layers have one."""
    area = read_area(aoi, crs)
    if (area.crs is None) != (crs is None):
        raise OptionError(
            "only one of the area of interest and the layers has a CRS; set the CRS of the other with gdf.set_crs(...)."
        )
    return area
