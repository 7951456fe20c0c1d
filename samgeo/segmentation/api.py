"""Public functions that segment everything in a raster: `segment` returns a table, `segment_to_file` writes a file.

Both check their arguments, open the inputs, and start the run that computes windows, merges masks and writes polygons.
"""

from __future__ import annotations

import inspect
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

from samgeo.arguments import check_types
from samgeo.errors import OptionError, SamgeoWarning, warn
from samgeo.geo.raster.hints import tell
from samgeo.models.registry import MASK_NMS
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.masks.piece import MERGE_IOU
from samgeo.segmentation.prompts.raster_prompts import RasterPrompts
from samgeo.segmentation.request import RasterFinding, Request, open_job
from samgeo.segmentation.run.execution import Summary, run, segment_in_memory
from samgeo.segmentation.run.folder import RunFolder
from samgeo.types import AoiLike, BandsLike, RasterLike, StretchLike

if TYPE_CHECKING:
    import geopandas as gpd
    import torch
    from distributed import Client

    from samgeo.models.protocols import Segmenter

__all__ = ["HolesWarning", "NothingFoundWarning", "Summary", "segment", "segment_to_file"]


@check_types
def segment(
    image: RasterLike,
    output: str | os.PathLike[str] | None = None,
    *,
    prompts_from: RasterPrompts | RasterLike | None = None,
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    invented: str | None = None,
    zoom: float = 1.0,
    window: int | None = None,
    overlap: int | None = None,
    scales: Sequence[int] = (1,),
    points_per_side: int | None = None,
    screen_points: bool = True,
    pred_iou: float | None = None,
    stability: float | None = None,
    mask_nms: float | None = MASK_NMS,
    merge_iou: float = MERGE_IOU,
    min_part: float = MIN_PART,
    min_hole: float = MIN_HOLE,
    min_area: float = 0.0,
    max_area: float = math.inf,
    aoi: AoiLike = None,
    aoi_mode: str = "whole",
    scheduler: str | Client | None = None,
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    layer: str | None = None,
    y_up: bool = False,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Segment everything in a raster of any size.

    With an output or a run folder, finished work is kept on disk. After a kill, an error or a stop, the same call continues the
    run, and the result is the same to the byte.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    output : path or address, optional
        Where to write the objects: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``, as a file or as an object in storage such
        as ``s3://bucket/city.parquet``. With ``.tif`` a raster of labels is written, in which the object of row ``i`` of the
        result has the number ``i + 1``; see `samgeo.rasterize`. The output is written completely or not at all.
    prompts_from : path, other raster, pair of these, or RasterPrompts, optional
        Segment the objects that another raster of the same place shows, in place of everything: heights above the ground in
        metres, or a tuple of a surface model and a terrain model. Each region above 2 metres becomes a prompt. With
        `samgeo.segmentation.RasterPrompts` there are other thresholds, for example for radar images and indices. The result has
        the columns ``class`` and ``score``. The options ``scales``, ``points_per_side``, ``screen_points``, ``pred_iou``,
        ``stability`` and ``mask_nms`` cannot be given with it.
    model : str, path or Segmenter, default "tiny"
        A name of `samgeo.list_models`, a checkpoint file, or a model.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default "auto"
        The device that runs the model.
    dtype : {"auto", "float32", "bfloat16"}, default "auto"
        The number type in which the model computes.
    bands : sequence of int or str, optional
        One or three bands by number, starting at 1, or by name. Red, green and blue by default.
    stretch : (float, float) or three such pairs, optional
        Values that become black and white. By default, 8-bit rasters are not changed, and other rasters are stretched from the
        2nd to the 98th percentile of the whole raster.
    nodata : float or "none", optional
        The value of pixels without data, if the file does not declare it. "none" ignores a wrong declaration.
    alpha : int or str, optional
        The transparency band by number or name, if the file does not declare it. "none" ignores a wrong declaration.
    invented : {"nodata", "data"}, optional
        Whether pixels that `samgeo.remove` invented are left out, as pixels without data, or used as if they were measured.
        By default they are left out.
    zoom : float, default 1
        Number of pixels of the model's input for each pixel of the raster, from 1/16 to 16. With 2, windows of half the size
        are shown to the model at twice their size, so that small objects are found; this takes about four times as long. It
        sets ``window`` to the model's input size divided by the zoom, rounded to a multiple of 8.
    window : int, optional
        Side of a window in raster pixels, in place of a zoom. The model's input size by default. Windows of other sizes are
        resampled to the input size.
    overlap : int, optional
        Number of pixels that neighbouring windows share. It must be even and at most half a window. A quarter of a window by
        default. Every object up to this size is completely visible in some window.
    scales : sequence of int, default (1,)
        Window sizes as multiples of ``window``: 1, and optionally other whole numbers up to 64, as in ``(1, 2, 4)``. A window
        of scale 4 is four times as wide, and the model sees the mean of 4 x 4 pixels as one pixel; overviews of the raster are
        used. Objects that are larger than a window then come out complete and only once. Scale 2 adds a quarter to the work,
        scale 4 adds a sixteenth.
    points_per_side : int, optional
        Number of point prompts along a window's side, at every scale.
    screen_points : bool, default True
        Whether points are left out that are unlikely to give a mask above ``pred_iou``, which saves a sixth to a third
        of the time. Only the bundled model can tell; other models decode every point. False decodes every point with it, too.
    pred_iou, stability : float, optional
        Masks with a predicted IoU or a stability score below these values are dropped. The defaults are those of the model; see
        `samgeo.list_models`.
    mask_nms : float or None, default 0.8
        If the masks of two objects have an IoU above this value, only the better object is kept. This is applied within a
        window, and among all objects of the raster after merging. Complete objects are better than cut ones; then a higher
        predicted IoU is better. None keeps nearly identical objects; windows are then segmented by SAM's own procedure, which
        compares only boxes.
    merge_iou : float, default 0.5
        Pieces from neighbouring windows are the same object if their IoU is at least this value.
    min_part, min_hole : float, default 5
        Separate parts of an object with fewer pixels are dropped, except its largest part, and holes with fewer pixels are
        filled. Both are counted in pixels that the model sees. These are raster pixels, unless ``window`` differs from the
        model's input size or a window of a coarser scale found the object. 0 keeps everything.
    min_area, max_area : float
        Objects with an area outside these limits are dropped. In square metres, or in pixels if the raster has no CRS.
    aoi : path, GeoDataFrame or geometry, optional
        Area of interest: only point prompts inside it are used. A geometry is in the raster's CRS.
    aoi_mode : {"whole", "clip"}, default "whole"
        How to treat an object that was found inside the area of interest and crosses its edge: keep it whole, or clip it to the
        area. Areas (``min_area``, ``area_m2``) are computed after clipping.
    scheduler : {"threads", "processes", "synchronous"}, address or distributed.Client, optional
        Where the windows are computed: in threads of this process (the default), in other processes, or on a Dask cluster.
    workers : int, optional
        Number of threads or processes of a local scheduler. By default one for each core, but at most one for each
        2 GiB of memory. On a CPU each worker computes on one core.
    cache : path, optional
        A store of embeddings from `samgeo.encode`. It is created if it does not exist. Windows in the store are not encoded
        again, and new windows are added to it, of all ``scales``. Its lattice is the default for ``window`` and ``overlap``.
    run_dir : path, optional
        The run folder, which keeps finished work so that the run can be continued, and which ``samgeo status`` reads. By
        default it is named like the output with ``.run`` appended, is in the current folder if the output is an address, and is
        removed when the run is complete. A folder that is given here is kept. Without an output and a run folder, everything is
        kept in memory.
    retry_failed : bool, default False
        Whether to try windows again that failed earlier in this run.
    overwrite : bool, default False
        Whether an existing output may be replaced. In a GeoPackage only the layer is replaced; its other layers, tables and
        styles are kept. This option does not restart a run: to do so, remove its folder.
    layer : str, optional
        Name of the output's layer in a GeoPackage. The default is the file name without its suffix. If the file exists and has
        no layer of this name, the layer is added.
    y_up : bool, default False
        Whether y increases upwards in the file, as QGIS draws images without a georeference. Otherwise y increases downwards
        from the upper edge, as in the raster. Only for rasters without a georeference. In the returned table y always increases
        downwards, and `samgeo` changes the sign back when it reads the file.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        One row for each object, in the raster's CRS. Rows are ordered by the row of windows with which the object was settled,
        and within it from top to bottom, then from left to right. The columns are ``geometry``, ``predicted_iou``,
        ``stability_score``, ``area_m2`` (the true area; ``area_px`` if there is no CRS), and ``complete``, which is false if
        the outline follows the edge of a window because the model found no continuation in the next window. ``attrs["samgeo"]``
        holds the provenance: versions, model, raster and options.

    Warns
    -----
    HolesWarning
        If windows failed twice in a run with an output or a run folder, so that the result has holes. The windows are listed in
        ``attrs["samgeo"]["failed_windows"]`` and written as polygons to ``city.holes.gpkg`` beside ``city.gpkg``.
    NothingFoundWarning
        If no object was found.
    RasterWarning
        If the raster may have been read in another way than intended; see `samgeo.Raster.open`.

    Raises
    ------
    SamgeoError
        Before the work starts, if an input or an option is invalid. Later, if a window fails in a call without a run folder, if
        windows failed and no object was found, or if the output cannot be written. Then there is no output. A run can be
        continued.

    See Also
    --------
    segment_to_file : The same for results that are larger than memory.

    Examples
    --------
    The oracle model reads the truth from the pixel values, so that the example needs no weights.

    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[10:30, 10:30] = 1
    >>> labels[40:80, 45:75] = 2
    >>> objects = samgeo.segment(encode_ids(labels), model=Oracle(64), progress=False)
    >>> objects[["area_px", "complete"]].values.tolist()
    [[400.0, True], [1200.0, True]]
    """
    return compute(_request(locals()))


def _request(arguments: dict[str, object]) -> Request:
    """Return the request of the arguments of `segment`, by name."""
    given = arguments["prompts_from"]
    return Request.of(arguments, None if given is None else RasterFinding(prompts=RasterPrompts.of(cast("RasterLike", given))))


def compute(request: Request) -> gpd.GeoDataFrame:
    """Do the work of a request, in memory or in its run folder, and return the objects; see `segment`."""
    folder = request.folder
    if folder is None:
        job = open_job(request)
        result = segment_in_memory(job)
        if not len(result):
            tell([_tell_nothing(job.raster.name, request)], NothingFoundWarning)
        return result
    summary, result = _run(request, folder, collect=True)
    if summary.failures:
        warn(_tell_holes(summary), HolesWarning)
    return result


class HolesWarning(SamgeoWarning):
    """The result has holes because some windows could not be segmented."""


class NothingFoundWarning(SamgeoWarning):
    """The result has no objects."""


@check_types
def segment_to_file(
    image: RasterLike, output: str | os.PathLike[str], *, stop: Callable[[], bool] | None = None, **options: object
) -> Summary:
    """Segment everything in a raster of any size into a file, without collecting the objects in memory.

    Parameters
    ----------
    image, output, **options
        As in `samgeo.segment`.
    stop : callable, optional
        Called from time to time without arguments. When it returns true, windows in progress are finished and kept, and the run
        ends with a `StoppedError`. It must be picklable if the scheduler is "processes".

    Returns
    -------
    Summary
        The number of objects, and the windows that failed. Failed windows do not raise an error here.

    Raises
    ------
    StoppedError
        If ``stop`` returned true.
    SamgeoError
        As in `samgeo.segment`.

    Examples
    --------
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids, write_raster
    >>> labels = np.zeros((96, 96), dtype=np.int32)
    >>> labels[10:30, 10:30] = 1
    >>> image = write_raster(Path("town.tif"), encode_ids(labels))
    >>> summary = samgeo.segmentation.segment_to_file(image, "town.parquet", model=Oracle(64), progress=False)
    >>> summary.objects, summary.windows, summary.failures
    (1, 4, ())
    """
    bound = inspect.signature(segment).bind(image, output, **options)
    bound.apply_defaults()
    return compute_to_file(_request(bound.arguments), stop=stop)


def compute_to_file(request: Request, *, stop: Callable[[], bool] | None = None) -> Summary:
    """Do the work of a request in its run folder, without collecting the objects in memory; see `segment_to_file`."""
    folder = request.folder
    if folder is None:
        raise OptionError("output is missing; give the path of a vector file.")
    return _run(request, folder, collect=False, stop=stop)[0]


def _run(
    request: Request, folder: RunFolder, *, collect: bool, stop: Callable[[], bool] | None = None
) -> tuple[Summary, gpd.GeoDataFrame]:
    job, writing = open_job(request, folder), request.writing
    done = run(
        job,
        folder,
        request.output,
        keep=writing.run_dir is not None,
        overwrite=writing.overwrite,
        layer=writing.layer,
        retry_failed=writing.retry_failed,
        collect=collect,
        stop=stop,
    )
    if not done[0].objects:
        tell([_tell_nothing(job.raster.name, request)], NothingFoundWarning)
    return done


def _tell_nothing(name: str, request: Request) -> str:
    if request.finding is None:
        lower = "With lower values of pred_iou and stability (--pred-iou, --stability), more masks are kept."
    elif isinstance(request.finding, RasterFinding):
        lower = "With a lower threshold of prompts_from (--prompt-threshold), more of that raster is searched."
    else:
        lower = "With a lower min_score (--min-score), more objects are kept."
    return (
        f"nothing was found in {name}. Look at what the model sees (samgeo.show, or samgeo show): if it is too dark or too "
        "bright, give the values that become black and white with stretch (--stretch), and the value without data with nodata "
        f"(--nodata). {lower}"
    )


def _tell_holes(summary: Summary) -> str:
    where = "" if summary.holes is None else f" {summary.holes} has polygons of the missing areas."
    return (
        f"{len(summary.failures)} of {summary.windows} windows could not be segmented; the first one: {summary.failures[0]}."
        f"{where} Remove the cause, and repeat the call or command with retry_failed."
    )
