"""The public function that regularizes building outlines: right angles, circles, and shared walls."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from samgeo.arguments import check_types
from samgeo.buildings.regularization.building import Built, Options, build
from samgeo.buildings.regularization.metric_clusters import Metric, to_metric
from samgeo.buildings.regularization.rows import check_tolerance, foreign_areas, measured, rows_of
from samgeo.errors import OptionError
from samgeo.geo.vector.columns import keep_given
from samgeo.geo.vector.reading import check_asked, check_fit, check_output, read_vectors, write_vectors
from samgeo.objects.shapes import with_note
from samgeo.types import FeaturesLike

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = ["ANGLES", "RESULT_COLUMNS", "regularize", "with_result_columns"]

ANGLES = ("right", "45")
RESULT_COLUMNS = ("regularized", "outline", "outline_iou", "kept_because")


@check_types
def regularize(
    features: FeaturesLike,
    output: str | os.PathLike[str] | None = None,
    *,
    angles: str = "right",
    circles: bool = True,
    shared_walls: bool = True,
    tolerance_m: float | None = None,
    min_iou: float = 0.85,
    overwrite: bool = False,
    layer: str | None = None,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Regularize the outlines of buildings.

    The main direction of each building is the direction of most of its outline. Touching buildings with similar directions
    form a block and get one common direction. Douglas and Peucker's algorithm finds the straight parts of the outlines, and
    these define the lines of the walls. The lines of a building divide the plane into cells; the footprint is the union of the
    cells that the building covers by half or more.

    Corners have right angles on the ground (or also 45 or 135 degrees, see ``angles``), except where a neighbour with another
    direction cuts the building. Holes are kept. Walls of a building without neighbours are not much shorter than the
    tolerance. Where neighbours are fitted to each other, each footprint is changed as little as possible until no wall is
    shorter than half the tolerance and no corner is sharper than 30 degrees. If no small change achieves this, the outline is
    kept, and ``kept_because`` gives the reason. These two limits do not apply to circles and to outlines that are kept.

    All computations are in metres on the ground around each cluster of buildings, in any CRS, or in pixels if there is no CRS.
    The result is the same to the bit for the same input, in any process.

    Parameters
    ----------
    features : GeoDataFrame, GeoSeries, path or URL
        Polygons and multipolygons. Invalid geometries are repaired first; missing and empty geometries stay as they are.
    output : path, optional
        File for the result: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. The file is written completely or not at all.
    angles : {"right", "45"}, default "right"
        With "45", walls may also run diagonally, where this fits the outline better.
    circles : bool, default True
        Whether outlines that are nearly circles become circles of the same area.
    shared_walls : bool, default True
        Whether buildings that touch, or whose distance is at most half the tolerance, get shared walls. Such buildings then
        have common corners, and there are neither overlaps nor gaps between them. If more than a fifth of the smaller of two
        outlines lies in the other, they are taken for two results for one building, and may still overlap. If false, each
        building is regularized as if it had no neighbours.
    tolerance_m : float, optional
        Tolerance in metres, or in pixels if there is no CRS. Parallel walls nearer to each other than this become one wall,
        and smaller details are treated as noise. It should be at least two pixels. The default is 1 m, or 2 pixels if there is
        no CRS.
    min_iou : float, default 0.85
        If the IoU of the footprint with the outline is lower than this, the outline is kept and only simplified. Parts of the
        outline that went to a neighbour, and specks and holes smaller than the tolerance, are not counted.
    overwrite : bool, default False
        Whether an existing output may be replaced. In a GeoPackage only the layer is replaced; other layers, tables and styles
        stay.
    layer : str, optional
        Name of the output's layer in a GeoPackage. By default it is the file's name without its suffix. A layer with a new
        name is added to an existing file.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        The same rows and columns with new geometries in the same CRS, and these columns:

        - ``regularized``: bool, whether the outline was regularized.
        - ``outline``: "right", "45" or "circle"; missing if the outline was kept.
        - ``outline_iou``: IoU of the new polygon with the outline, as described for ``min_iou``.
        - ``kept_because``: reason why the outline was kept; missing if it was regularized.

        For a multipolygon, the largest part determines ``outline`` and ``kept_because``. Columns ``area_m2`` and ``area_px``
        that hold the areas of the features are computed again. Other columns with one of these names are renamed with the
        suffix ``_given`` and a warning is issued.

    Raises
    ------
    OptionError
        If an option has an invalid value.
    VectorError
        If the features cannot be read, some are not polygons, or the output cannot be written.

    Examples
    --------
    >>> import geopandas as gpd
    >>> from shapely.geometry import Polygon
    >>> from samgeo.buildings import regularize
    >>> outline = Polygon([(0, 0), (15, 0.3), (30, 0), (30.4, 20), (15, 19.8), (0, 20)])
    >>> result = regularize(gpd.GeoDataFrame(geometry=[outline]), progress=False)
    >>> result["outline"].tolist(), len(result.geometry[0].exterior.coords) - 1
    (['right'], 4)
    """
    check_asked(output, overwrite=overwrite, layer=layer, inputs=(features,))
    frame = read_vectors(features)
    made = frame.attrs
    frame = keep_given(frame, (*RESULT_COLUMNS, *foreign_areas(frame)), "the features")
    place = None if output is None else check_output(output, overwrite, crs=frame.crs, layer=layer)
    if place is not None:
        check_fit(with_result_columns(frame), place, layer=layer, provenance=made.get("samgeo"))
    if angles not in ANGLES:
        raise OptionError(f'angles is {angles!r}; give one of "right" and "45".')
    if not (isinstance(min_iou, int | float) and 0 <= min_iou <= 1):
        raise OptionError(f"min_iou is {min_iou!r}; give a number from 0 to 1.")
    tolerance = check_tolerance(tolerance_m, frame.crs)
    options = Options(angles == "45", circles, shared_walls, tolerance, float(min_iou))
    metric = to_metric(frame.geometry, frame.crs, tolerance)
    built = build(metric, options, progress=progress)
    result = _table(frame, metric, built)
    said = {
        "angles": angles,
        "circles": circles,
        "shared_walls": shared_walls,
        "tolerance": tolerance,
        "min_iou": options.min_iou,
    }
    result.attrs = with_note(frame, "regularize", {"regularized": int(result["regularized"].sum()), **said})
    if output is not None:
        write_vectors(result, output, overwrite=overwrite, layer=layer, provenance=result.attrs["samgeo"])
    return result


def with_result_columns(frame: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Return features with the additional columns of the result, without values."""
    gaps = pd.Series([None] * len(frame), index=frame.index, dtype=object)
    return frame.assign(regularized=False, outline=gaps, outline_iou=np.nan, kept_because=gaps)


def _table(frame: gpd.GeoDataFrame, metric: Metric, built: Built) -> gpd.GeoDataFrame:
    """Combine the parts of each row.

    The largest part determines ``outline`` and ``kept_because``; the IoUs of the parts are averaged by area.
    """
    result = rows_of(frame, metric, built.polygons)
    count = np.bincount(metric.row, minlength=len(frame))
    size = shapely.area(metric.parts)
    total = np.bincount(metric.row, size, minlength=len(frame))
    iou = np.full(len(frame), np.nan)
    iou[count > 0] = np.bincount(metric.row, size * built.iou, minlength=len(frame))[count > 0] / total[count > 0]
    outline: list[str | None] = [None] * len(frame)
    reason: list[str | None] = ["no polygon" if number == 0 else None for number in count]
    for part in np.lexsort([size, metric.row]).tolist():  # The largest part of a row comes last, and overwrites the others.
        outline[metric.row[part]] = built.outline[part] or None
        reason[metric.row[part]] = built.reason[part] or None
    result["regularized"] = np.array([why is None for why in reason], dtype=np.bool_)
    result["outline"] = pd.Series(outline, index=result.index, dtype=object)
    result["outline_iou"] = iou
    result["kept_because"] = pd.Series(reason, index=result.index, dtype=object)
    return measured(result)
