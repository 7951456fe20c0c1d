"""`change`: what appeared, vanished or changed between two rasters of one place."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from samgeo.arguments import check_types
from samgeo.finding.api import PromptSource
from samgeo.finding.detectors.detection import Detector
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.time_series.alignment import MAX_SHIFT_PX
from samgeo.time_series.comparison import ChangeSummary
from samgeo.time_series.kinds import MIN_ANGLE
from samgeo.time_series.run import run_change
from samgeo.types import AoiLike, BandsLike, FeaturesLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch
    from distributed import Client

    from samgeo.models.protocols import Segmenter

__all__ = ["change", "change_to_file"]


@check_types
def change(
    before: RasterLike,
    after: RasterLike,
    output: str | os.PathLike[str] | None = None,
    *,
    objects: FeaturesLike | Sequence[FeaturesLike] | None = None,
    what: str | Sequence[str] | None = None,
    finder: str | Path | PromptSource | Detector | None = None,
    examples: FeaturesLike | None = None,
    resolution: str | float = "auto",
    zoom: float | None = None,
    min_score: float | str | None = None,
    flips: bool = False,
    min_angle: float = MIN_ANGLE,
    max_shift_px: float = MAX_SHIFT_PX,
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    invented: str | None = None,
    points_per_side: int | None = None,
    screen_points: bool = True,
    pred_iou: float | None = None,
    stability: float | None = None,
    scales: Sequence[int] = (1,),
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    min_area: float = 0.0,
    max_area: float = math.inf,
    aoi: AoiLike = None,
    aoi_mode: str = "whole",
    scheduler: str | Client | None = None,
    workers: int | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    layer: str | None = None,
    y_up: bool = False,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Find what appeared, vanished or changed between two rasters of one place.

    The second raster is read on the grid of the first. The shift between both is measured and corrected. Objects of both dates
    are matched by their outlines, and the model's features inside each outline are compared between the dates.

    With an output or a run folder, finished work is kept on disk. After a kill, an error or a stop, the same call continues the
    run, and the result is the same to the byte.

    Parameters
    ----------
    before, after : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The rasters of the first and of the second date; see `samgeo.Raster.open`. They may have different CRSs, resolutions and
        extents. Without CRSs they must have equal shapes.
    output : path or address, optional
        Where to write the result: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``.
    objects : path, GeoDataFrame, GeoSeries, sequence of geometries, or two of these, optional
        Outlines of the objects; bare geometries are in the CRS of the first raster. One layer is compared as it is at both
        dates: its objects are "changed" or "same". Two, in a list or a tuple, are the complete objects of the first and of the
        second date: an object without a partner in the other layer has vanished or appeared. Without objects, and without any
        of the following options, everything in both rasters is segmented, as `samgeo.segment` does.
    what, finder, examples, resolution, zoom, min_score, flips
        Objects of which classes to find in both rasters, in place of everything; see `samgeo.find`. Examples are outlines on
        the first raster. ``zoom`` may also be given without a class: the objects are then segmented and compared with it.
    min_angle : float, default 45
        Angle between the features of both dates from which the image of an object has changed, in degrees from 0 to 180.
    max_shift_px : float, default 5
        The largest shift between the rasters that is corrected, in pixels of the first. A larger shift is an error.
    model, device, dtype, bands, stretch, nodata, alpha, invented
        See `samgeo.segment`. The model must be able to describe objects, as those of `samgeo.objects.describe`. How pixels are
        read is the same for both rasters.
    points_per_side, screen_points, pred_iou, stability, scales, min_part, min_hole, min_area, max_area, aoi, aoi_mode
        See `samgeo.segment`; the first four if everything is segmented, the next two if objects are not given.
    scheduler, workers, run_dir, retry_failed, overwrite, layer, y_up, progress
        See `samgeo.segment`.

    Returns
    -------
    GeoDataFrame
        One row for each object, in the CRS of the first raster. Partners are one row, with the outline of the second date.

        - ``kind``: "appeared", "vanished", "changed", "same", or "unknown" if the object cannot be compared.
        - ``score``: how clearly the image changed, from 0 to 1; 0.5 at ``min_angle``, and 1 from twice as much.
        - ``angle``: the angle between the features of both dates, in degrees.
        - ``iou``: IoU of the outlines of partners.
        - ``before_id``, ``after_id``: number of the object in the layer of each date, from 0; missing if it has none there.
        - ``before_area_m2``, ``after_area_m2``: areas of the outlines; ``before_area_px``, ``after_area_px`` without a CRS.
        - ``reason``: why an object is "unknown"; missing otherwise.
        - ``class``: class of found objects.

        ``attrs["samgeo"]`` has the provenance. Its entry ``change`` has the measured shift, the number of objects of each kind,
        the area that changed, and ``above_angle``, the share of all compared objects whose angle is at least ``min_angle``.

    Warns
    -----
    RasterWarning
        If the shift cannot be measured, or differs between parts of the raster; and as `samgeo.Raster.open`.
    HolesWarning
        If windows of a raster could not be searched, or objects could not be compared because a window failed.

    Raises
    ------
    SamgeoError
        Before the work starts, if an input or an option is invalid, the rasters do not overlap, or the shift is too large.
        Later, as `samgeo.segment`.

    Examples
    --------
    >>> import geopandas as gpd
    >>> import numpy as np
    >>> import samgeo
    >>> from samgeo.synthetic import two_dates
    >>> town = two_dates((128, 128), seed=1, vanished=0.2, appeared=0.2)
    >>> footprints = [scene.footprints for scene in (town.before, town.after)]
    >>> images = [scene.save(f"{name}.tif") for name, scene in (("2019", town.before), ("2024", town.after))]
    >>> changes = samgeo.change(*images, "changes.gpkg", objects=footprints, progress=False)
    >>> changes.attrs["samgeo"]["change"]["shift_px"]
    [0.0, 0.0]
    >>> bool((changes.kind == "vanished").sum() == (town.truth.kind == "vanished").sum())
    True
    """
    return cast("gpd.GeoDataFrame", run_change(locals(), _defaults(), collect=True)[1])


@check_types
def change_to_file(
    before: RasterLike,
    after: RasterLike,
    output: str | os.PathLike[str],
    *,
    stop: Callable[[], bool] | None = None,
    **options: object,
) -> ChangeSummary:
    """Find what changed between two rasters of one place, into a file, without collecting the objects in memory.

    Parameters
    ----------
    before, after, output, **options
        As in `samgeo.change`.
    stop : callable, optional
        See `samgeo.segmentation.segment_to_file`.

    Returns
    -------
    ChangeSummary
        The number of objects of each kind, the area that changed, and the shift.

    Raises
    ------
    StoppedError
        If ``stop`` returned true.
    SamgeoError
        As in `samgeo.change`.

    Examples
    --------
    >>> from samgeo.synthetic import two_dates
    >>> from samgeo.time_series import change_to_file
    >>> town = two_dates((128, 128), seed=1, vanished=0, appeared=0)
    >>> images = [scene.save(f"{name}.tif") for name, scene in (("2019", town.before), ("2024", town.after))]
    >>> done = change_to_file(*images, "changes.gpkg", objects=town.before.footprints, progress=False)
    >>> done.counts["changed"], done.changed_area
    (0, 0.0)
    """
    bound = inspect.signature(change).bind(before, after, output, **options)
    bound.apply_defaults()
    return run_change(bound.arguments, _defaults(), collect=False, stop=stop)[0]


def _defaults() -> dict[str, Any]:
    return {name: one.default for name, one in inspect.signature(change).parameters.items()}
