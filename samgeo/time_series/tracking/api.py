"""`track`: objects that keep their id over several dates."""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.finding.api import PromptSource
from samgeo.finding.detectors.detection import Detector
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.time_series.alignment import MAX_SHIFT_PX
from samgeo.time_series.tracking.memory.memory_run import run_memory
from samgeo.time_series.tracking.memory.memory_series import check_without_memory
from samgeo.time_series.tracking.rows import TrackSummary
from samgeo.time_series.tracking.track_run import run_track
from samgeo.types import AoiLike, BandsLike, DateLike, FeaturesLike, RasterSeriesLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch
    from distributed import Client

    from samgeo.models.protocols import Segmenter

__all__ = ["track", "track_to_file"]


@check_types
def track(
    rasters: RasterSeriesLike,
    output: str | os.PathLike[str] | None = None,
    *,
    dates: Sequence[DateLike] | None = None,
    objects: FeaturesLike | Sequence[FeaturesLike] | Mapping[DateLike, FeaturesLike] | None = None,
    what: str | Sequence[str] | None = None,
    finder: str | Path | PromptSource | Detector | None = None,
    examples: FeaturesLike | None = None,
    resolution: str | float = "auto",
    zoom: float | None = None,
    min_score: float | str | None = None,
    flips: bool = False,
    min_iou: float = 0.5,
    max_angle: float = 35.0,
    max_gap: int = 1,
    memory: bool = False,
    prompt_date: DateLike | None = None,
    as_boxes: bool = False,
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
    """Follow objects that stay in their place, such as buildings, over several dates.

    All rasters are read on the grid of the first date. The shift of each against the first is measured and corrected. The
    objects of successive dates are matched: first by the IoU of their outlines, then by the angle between the model's features
    inside them. Each time, the pairs with the largest sum are chosen (Hungarian method). A track that is missing at up to
    ``max_gap`` dates goes on when its object is found again.

    With ``memory``, the objects of one layer are followed by the memory of SAM 2 in place of this: the model looks for each
    object at the later dates, and then at the earlier ones.

    With an output or a run folder, finished work is kept on disk. After a kill, an error or a stop, the same call continues the
    run, and the result is the same to the byte.

    Parameters
    ----------
    rasters : sequence of (date, raster), mapping of dates to rasters, xarray.DataArray, or sequence of rasters
        At least two rasters with their dates, in any order; a DataArray has an axis of time. A raster is anything that
        `samgeo.Raster.open` takes. The rasters may have different CRSs, resolutions and extents. Without CRSs they must have
        equal shapes.
    output : path or address, optional
        Where to write the rows: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``.
    dates : sequence of dates, optional
        The date of each raster, if ``rasters`` is a sequence of rasters. A date is ISO text, such as "2019-05-01" or "2019", a
        year as a whole number, or a date of Python, NumPy or pandas.
    objects : path, GeoDataFrame, GeoSeries, sequence of geometries, or a sequence or mapping with one of these for each date
        Outlines of the objects. A sequence of layers has the order of ``rasters``. One layer is taken for all dates: its
        objects are not matched, and each has a row for each date whose raster has data there. Without objects, and without
        any of the following options, everything in all rasters is segmented, as `samgeo.segment` does. With ``memory``, one
        layer of points and polygons. A column ``id`` has the ids of the objects, which are whole numbers; by default they are
        numbered from 1. Several points with one id are one object; a column ``label`` says 1 for points on the object and 0 for
        points beside it. A column ``date`` says on which date each object is shown.
    what, finder, examples, resolution, zoom, min_score, flips
        Objects of which classes to find in all rasters, in place of everything; see `samgeo.find`. Examples are outlines on
        the raster of the first date. ``zoom`` may also be given without a class.
    min_iou : float, default 0.5
        Objects with an IoU above this are matched, whatever the image shows. From 0.1 to below 1.
    max_angle : float, default 35
        Objects without such a partner are matched if their IoU is at least 0.1 and the angle between their features is at most
        this, in degrees. With 0 only equal features are matched.
    max_gap : int, default 1
        Number of dates in a row at which an object may be missing. Dates on which its place has no data do not count.
    memory : bool, default False
        Whether the memory of SAM 2 follows the objects. The model is then a folder in the layout of transformers or
        ``hf://owner/name`` with the weights for videos, such as "hf://facebook/sam2.1-hiera-tiny". It needs
        ``pip install 'samgeo[hf]'``. Each object is followed in a window around it, of the size of the model's input, or with
        coarser pixels if the object is larger than half of this; ``zoom`` shows small objects larger. Options of searching,
        matching and workers are refused.
    prompt_date : date, optional
        With ``memory``, the date on which the objects are shown, if they have no column ``date``. By default the first.
    as_boxes : bool, default False
        With ``memory``, whether the bounding boxes of polygons are the prompts. By default the model takes the outlines as they
        are, and returns them unchanged for their date, except for cleaning and the pixels of the model's input.
    max_shift_px : float, default 5
        The largest shift between the rasters that is corrected, in pixels of the first. A larger shift is an error.
    model, device, dtype, bands, stretch, nodata, alpha, invented
        See `samgeo.segment`. The model must be able to describe objects, as those of `samgeo.objects.describe`. How pixels are
        read is the same for all rasters.
    points_per_side, screen_points, pred_iou, stability, scales, min_part, min_hole, min_area, max_area, aoi, aoi_mode
        See `samgeo.segment`; the first four if everything is segmented, the next two if objects are not given.
    scheduler, workers, run_dir, retry_failed, overwrite, layer, y_up, progress
        See `samgeo.segment`.

    Returns
    -------
    GeoDataFrame
        One row for each object and date, in the CRS of the raster of the first date, ordered by date.

        - ``id``: number of the object, from 1, which is the same at all dates.
        - ``date``: the date.
        - ``class``: class of found objects.
        - ``area_m2``: area of the outline of this date; ``area_px`` without a CRS.
        - ``iou``, ``angle``: IoU, and the angle between the features in degrees, of the object and of its previous row;
          missing in the first row of an object, and the angle also if it cannot be measured.
        - ``missed``, ``unseen``: number of dates since the previous row at which the object was missing although its place has
          data, and at which its place has no data.
        - ``object_id``: number of the object in the layer of its date, from 0.

        With ``memory``, there is a row for each date at which the object score is above 0. ``missed`` counts the dates without
        one. The columns ``class`` and ``angle`` are absent, and there are two more:

        - ``object_score``: the model's estimate of whether the object is there, a logit.
        - ``complete``: whether no edge of the window can have cut the object.

        ``attrs["samgeo"]`` has the provenance. Its entry ``track`` has the dates, the number of tracks and of objects of each
        date, and the measured shifts; with ``memory``, ``absent`` has the object scores of the dates without the object, by id.
        `samgeo.time_series.summarize` makes a table with one row for each object.

    Warns
    -----
    RasterWarning
        If a shift cannot be measured, or differs between parts of the raster; and as `samgeo.Raster.open`.
    HolesWarning
        If windows of a raster could not be searched or read, or objects could not be described because a window failed.

    Raises
    ------
    SamgeoError
        Before the work starts, if an input or an option is invalid, the rasters do not overlap, or a shift is too large.
        Later, as `samgeo.segment`.

    Examples
    --------
    >>> import samgeo
    >>> from samgeo.synthetic import dates
    >>> town = dates((128, 128), 3, seed=1, births=0.3, deaths=0.2)
    >>> images = [(year, scene.save(f"{year}.tif")) for year, scene in zip((2019, 2021, 2023), town.scenes)]
    >>> footprints = [scene.footprints for scene in town.scenes]
    >>> tracks = samgeo.track(images, "tracks.gpkg", objects=footprints, progress=False)
    >>> tracks.id.nunique() == len(town.truth), len(tracks) == sum(map(len, footprints))
    (True, True)
    """
    return _run(locals(), collect=True)[1]


@check_types
def track_to_file(
    rasters: RasterSeriesLike,
    output: str | os.PathLike[str],
    *,
    stop: Callable[[], bool] | None = None,
    **options: object,
) -> TrackSummary:
    """Follow objects over several dates, and write the rows into a file without collecting them in memory.

    Parameters
    ----------
    rasters, output, **options
        As in `samgeo.track`.
    stop : callable, optional
        See `samgeo.segmentation.segment_to_file`.

    Returns
    -------
    TrackSummary
        The number of tracks and of objects of each date, the gaps, and the shifts.

    Raises
    ------
    StoppedError
        If ``stop`` returned true.
    SamgeoError
        As in `samgeo.track`.

    Examples
    --------
    >>> from samgeo.synthetic import dates
    >>> from samgeo.time_series import track_to_file
    >>> town = dates((128, 128), 2, seed=1, births=0, deaths=0)
    >>> images = {year: scene.save(f"{year}.tif") for year, scene in zip((2019, 2021), town.scenes)}
    >>> done = track_to_file(images, "tracks.gpkg", objects=town.scenes[0].footprints, progress=False)
    >>> done.objects == len(town.truth), done.missed
    (True, 0)
    """
    bound = inspect.signature(track).bind(rasters, output, **options)
    bound.apply_defaults()
    return _run(bound.arguments, collect=False, stop=stop)[0]


def _run(arguments: Mapping[str, Any], *, collect: bool, stop: Callable[[], bool] | None = None) -> tuple[TrackSummary, Any]:
    defaults = _defaults()
    if arguments["memory"]:
        return run_memory(arguments, defaults, collect=collect, stop=stop)
    check_without_memory(arguments, defaults)
    return run_track(arguments, defaults, collect=collect, stop=stop)


def _defaults() -> dict[str, Any]:
    return {name: one.default for name, one in inspect.signature(track).parameters.items()}
