"""Objects judged against the truth, in every figure that is published for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.arguments import check_types
from samgeo.errors import OptionError, VectorError
from samgeo.evaluation.average_precision import IOU_THRESHOLDS, Side
from samgeo.evaluation.judging import Comparison, Judged, Verdicts
from samgeo.evaluation.layer_pairs import common_crs, read_layer
from samgeo.evaluation.matching import check_min_iou, find_pairs
from samgeo.evaluation.report import Report
from samgeo.geo.coordinates.area_of_interest import Area, read_area
from samgeo.geo.coordinates.metric_planes import Planes
from samgeo.types import AoiLike, FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd
    import pandas as pd

__all__ = ["evaluate"]

SCORE_COLUMNS = ("score", "predicted_iou")

# COCO's areas, 32 and 96 pixels squared; and half the buildings of a dense town are below 50 m2, a few above 200.
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
) -> Report:
    """Judge found objects against true ones.

    The found objects are brought to the CRS of the truth, with edges right to a millimetre, and both are measured in local
    equal-area planes, so that areas are true and lengths are within 2e-5, whatever the CRS; objects should be less than some
    tens of kilometres across. Pairs are found by a spatial index and measured some thousands at a time. Geometries that are not
    valid are repaired; what cannot be judged is left out and counted with the reason.

    Objects match as SpaceNet, ImageNet and COCO have it: in the order of the score, the highest first, each found object
    takes the true object of its class with the best IoU that is still free. Without a score the pairs of best IoU match
    first, and there is no average precision. Average precision and recall equal those of pycocotools for one image without
    crowds and without a limit on objects.

    With an area of interest, objects whose inner point (shapely's ``point_on_surface``) lies outside are ignored as COCO
    ignores areas out of range: true ones are not missed, found ones that match them, or match none, are not false.

    Parameters
    ----------
    found, truth : path, GeoDataFrame or GeoSeries
        Polygons in any CRS, or both without one. One layer of a file with several is ``city.gpkg:roofs``.
    min_iou : float, default 0.5
        Of a match.
    score : str, optional
        The column of ``found`` that says how sure an object is, higher for surer. By default ``score`` or
        ``predicted_iou``, if there is one.
    class_column : str, optional
        A column of both: objects match within their class only. One class by default.
    sizes : (float, float), optional
        The areas from which objects are medium and large: 50 and 200 square metres by default, 1024 and 9216 square pixels
        without a CRS. By average precision, as in COCO, an area at a limit is on both sides.
    boundary_m : float, optional
        The distance of boundary IoU: 1 metre by default, 2 pixels without a CRS.
    aoi : path, GeoDataFrame, GeoSeries or geometry, optional
        Polygons in any CRS, in which their edges are straight, that limit what counts; a bare geometry is in the CRS of the
        truth.

    Returns
    -------
    Report

    Raises
    ------
    VectorError
        If a layer cannot be read or an object has no score.
    OptionError
        If only some of the layers have a CRS, a column is missing, no class is in both, or an option has an impossible value.
    """
    from samgeo.geo.vector.reading import read_vectors

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
    pairs = find_pairs(a.layer, b.layer, planes, min(min_iou, float(IOU_THRESHOLDS[0])), (a.side.classes, b.side.classes))
    verdicts = Verdicts.of(a, b, pairs, planes, min_iou=min_iou, distance=distance)

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
    import shapely

    layer = read_layer(frame, planes, labels)
    classes = np.zeros(len(layer), dtype=np.int64)
    if labels is not None:
        classes = np.searchsorted(np.array(names, dtype=str), labels.to_numpy(dtype=object)[layer.rows].astype(str))
    outside = np.zeros(len(layer), dtype=bool)
    if area is not None:
        outside = ~area.contains(shapely.get_coordinates(shapely.point_on_surface(layer.geometries)), planes.crs)
    return Judged(layer, Side(layer.areas, outside, classes), None)


def _scores_of(frame: gpd.GeoDataFrame, column: str, found: Judged) -> NDArray[np.float64]:
    from pandas.api.types import is_numeric_dtype

    if not is_numeric_dtype(frame[column]):
        raise VectorError(
            f"the column {column!r} of the found objects does not hold numbers; choose another one for the score."
        )
    values: NDArray[np.float64] = frame[column].to_numpy(dtype=np.float64, na_value=np.nan)[found.layer.rows]
    unknown = np.flatnonzero(np.isnan(values))
    if len(unknown):
        raise VectorError(
            f"{len(unknown)} of {len(values)} found objects have no {column}, the first in row {found.layer.rows[unknown[0]]}; "
            "give them one, take them out, or choose another column for the score."
        )
    return values


def _score_column(frame: gpd.GeoDataFrame, column: str | None) -> str | None:
    if column is None:
        return next((name for name in SCORE_COLUMNS if name in frame.columns), None)
    _check_column(frame, column, "found")
    return column


def _labels(frame: gpd.GeoDataFrame, column: str) -> pd.Series:
    """Give the class of each row as text; a whole number is the same as a float."""
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
    if column is None or not len(a.layer) or not len(b.layer) or np.isin(a.side.classes, b.side.classes).any():
        return
    ours, theirs = (", ".join(names[code] for code in np.unique(one.side.classes)[:8]) for one in (a, b))
    raise OptionError(f"no class of {column} is in both layers: found are {ours}; true are {theirs}. Rename them to agree.")


def _check_sizes(sizes: tuple[float, float]) -> tuple[float, float]:
    if len(sizes) != 2 or not 0 < sizes[0] < sizes[1] < np.inf:
        raise OptionError(f"sizes are {sizes}; give two areas above 0, the smaller first.")
    return float(sizes[0]), float(sizes[1])


def _check_distance(distance: float) -> float:
    if not 0 < distance < np.inf:
        raise OptionError(f"boundary_m is {distance}; give a number above 0.")
    return float(distance)


def _read_aoi(aoi: Any, crs: Any) -> Area:
    area = read_area(aoi, crs)
    if (area.crs is None) != (crs is None):
        raise OptionError("one of the area of interest and the layers has a CRS and the other has none; set the missing one.")
    return area
