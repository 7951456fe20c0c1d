"""Outlines of masks to building footprints: right angles, circles, and walls that neighbours share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
import shapely

from samgeo.arguments import check_types
from samgeo.buildings.regularization.building import Built, Options, build
from samgeo.buildings.regularization.metric_clusters import Metric, to_metric
from samgeo.buildings.regularization.rows import check_tolerance, foreign_areas, measured, rows_of
from samgeo.buildings.shapes import with_note
from samgeo.errors import OptionError
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
) -> gpd.GeoDataFrame:
    """Turn the outlines of masks into building footprints.

    Each building gets the direction that most of its outline runs in; touching buildings of about one direction get one
    together. Straight stretches of the outline, found with Douglas and Peucker's algorithm, give the lines of walls; the
    cells between a building's lines that it covers by half or more become its footprint. Corners have right angles on the
    ground (or 45 or 135 degrees), except where a neighbour of another direction cuts a building, and holes stay. Walls of a
    building that stands alone are about the tolerance long or longer. Where neighbours are fitted to one another, what is
    left is changed as little as possible until no wall of a footprint is shorter than half the tolerance and no corner
    sharper than 30 degrees; where no small change does that, the outline stays and ``kept_because`` says so. Circles and
    outlines that stay are as they are.

    The work is done in metres on the ground around each cluster of buildings, whatever the CRS, and in pixels where there is
    none. Equal input gives equal output to the bit, in any process.

    Parameters
    ----------
    features : GeoDataFrame, GeoSeries, path or URL
        Polygons and multipolygons; invalid ones are mended first, missing and empty ones stay.
    output : path, optional
        Where to write the result: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. Written whole or not at all.
    angles : {"right", "45"}, default "right"
        Whether walls may also run diagonally; they do where that fits the outline better.
    circles : bool, default True
        Whether what is rather a circle becomes one, with the area of its outline.
    shared_walls : bool, default True
        Whether buildings that touch, or are nearer than half the tolerance, share their walls: afterwards they have common
        corners and neither overlap nor gape. Two outlines of which one lies in the other by more than a fifth are
        two tries at one building and are left to overlap. Without it each building is treated as if it stood alone.
    tolerance_m : float, optional
        Metres (pixels where there is no CRS): walls nearer to one another than this are one, and what is smaller is taken for
        noise. At least twice a pixel. 1 m by default, or 2 pixels where there is no CRS.
    min_iou : float, default 0.85
        Where the footprint's IoU with the outline is below this, the outline stays, simplified. What a neighbour took of the
        outline, and specks and pinholes smaller than the tolerance, do not count.
    overwrite : bool, default False
        Whether an existing output may be replaced; of a GeoPackage, the layer, while its other layers, tables and styles stay.
    layer : str, optional
        Name of the output's layer in a GeoPackage; by default the file's name without its suffix. A layer of a new name is
        added to an existing file.

    Returns
    -------
    GeoDataFrame
        The same rows and columns with new geometries, in the same CRS, and the columns ``regularized`` (bool), ``outline``
        ("right", "45" or "circle"; missing where the outline stayed), ``outline_iou`` (that IoU) and
        ``kept_because`` (missing where regularized); of several parts the largest decides. Columns ``area_m2`` and ``area_px``
        that hold the areas of the features are measured anew. Other columns of these names get ``_given`` behind them, with a
        warning.

    Raises
    ------
    OptionError
        If an option has a value that cannot work.
    VectorError
        If the features cannot be read, some are not polygons, or the output cannot be written.
    """
    from samgeo.geo.vector.columns import keep_given
    from samgeo.geo.vector.reading import check_asked, check_fit, check_output, read_vectors, write_vectors

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
    built = build(metric, options)
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
    """Return features with the columns that the result has besides theirs, without values."""
    import pandas as pd

    gaps = pd.Series([None] * len(frame), index=frame.index, dtype=object)
    return frame.assign(regularized=False, outline=gaps, outline_iou=np.nan, kept_because=gaps)


def _table(frame: gpd.GeoDataFrame, metric: Metric, built: Built) -> gpd.GeoDataFrame:
    """Put parts together to rows: the largest says how a row is drawn, and the IoU is their mean by area."""
    import pandas as pd

    result = rows_of(frame, metric, built.polygons)
    count = np.bincount(metric.row, minlength=len(frame))
    size = shapely.area(metric.parts)
    total = np.bincount(metric.row, size, minlength=len(frame))
    iou = np.full(len(frame), np.nan)
    iou[count > 0] = np.bincount(metric.row, size * built.iou, minlength=len(frame))[count > 0] / total[count > 0]
    outline: list[str | None] = [None] * len(frame)
    reason: list[str | None] = ["no polygon" if number == 0 else None for number in count]
    for part in np.lexsort([size, metric.row]).tolist():  # the largest part of a row comes last
        outline[metric.row[part]] = built.outline[part] or None
        reason[metric.row[part]] = built.reason[part] or None
    result["regularized"] = np.array([why is None for why in reason], dtype=np.bool_)
    result["outline"] = pd.Series(outline, index=result.index, dtype=object)
    result["outline_iou"] = iou
    result["kept_because"] = pd.Series(reason, index=result.index, dtype=object)
    return measured(result)
