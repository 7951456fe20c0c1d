"""From a raster to objects: windows through Dask, masks, merging, polygons, a GeoDataFrame and a file."""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.arguments import check_types
from samgeo.errors import OptionError, SamgeoWarning
from samgeo.geo.raster.hints import tell
from samgeo.models.registry import MASK_NMS
from samgeo.segmentation.masks.cleaning import MIN_HOLE, MIN_PART
from samgeo.segmentation.merge.merger import MERGE_IOU
from samgeo.segmentation.request import Request, open_job
from samgeo.segmentation.run.execution import Summary, run, segment_in_memory
from samgeo.segmentation.run.folder import RunFolder
from samgeo.storage.locations import as_place
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
    model: str | Path | Segmenter = "tiny",
    device: str | torch.device = "auto",
    dtype: str = "auto",
    bands: BandsLike = None,
    stretch: StretchLike = None,
    nodata: float | str | None = None,
    alpha: int | str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    scales: Sequence[int] = (1,),
    points_per_side: int | None = None,
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

    With an output or a run directory, what is done is kept on disk while it works: after a kill, a fault or a stop, the same
    call goes on, and the result is the same to the byte.

    Parameters
    ----------
    image : path, URL, STAC Item, sequence of these, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    output : path or address, optional
        Where to write the objects: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``, a file or an object in storage such as
        ``s3://bucket/city.parquet``; or ``.tif`` for a raster of labels, in which the object of row ``i`` of the result has
        the number ``i + 1``; see `samgeo.rasterize`. Written whole or not at all.
    model : str, path or Segmenter, default "tiny"
        A name of `samgeo.list_models`, a checkpoint file, or a model.
    device : {"auto", "cpu", "cuda", "cuda:N", "mps"}, default "auto"
        Where the model runs.
    dtype : {"auto", "float32", "bfloat16"}, default "auto"
        What it computes in.
    bands : sequence of int or str, optional
        One or three bands by number, from 1, or by name. Red, green and blue by default.
    stretch : (float, float) or three such pairs, optional
        Values that become black and white. 8-bit rasters stay as they are by default; others go by the 2nd and 98th
        percentile of the whole raster.
    nodata : float or "none", optional
        The value without data, where the file does not say it; "none" where it says it wrongly.
    alpha : int or str, optional
        The band of transparency by number or name, where the file does not say it; "none" where it says it wrongly.
    window : int, optional
        Side of a window in raster pixels; the model's input size by default. Larger windows are resampled to the input.
    overlap : int, optional
        Pixels that neighbouring windows share: even, at most half a window. A quarter of a window by default. Objects up
        to this size are always whole in some window.
    scales : sequence of int, default (1,)
        Windows of several sizes: 1, and besides whole numbers up to 64, as in ``(1, 2, 4)``. A window of scale 4 is four times
        as wide, and the model sees the mean of 4 x 4 pixels as one; overviews of the raster are used. Objects larger than a
        window come out whole, and once. Scale 2 adds a quarter to the work, scale 4 a sixteenth.
    points_per_side : int, optional
        Prompts along a window's side, whatever its scale.
    pred_iou, stability : float, optional
        Masks below either are dropped. The model's own defaults (`samgeo.list_models`) unless given.
    mask_nms : float or None, default 0.8
        Of two objects whose masks have an IoU above this, only the better one stays: within a window, and among all objects of
        the raster after merging. Complete objects go before cut ones, then those of higher predicted IoU. None keeps
        near-identical objects; windows are then segmented by SAM's own procedure, which compares boxes alone.
    merge_iou : float, default 0.5
        Pieces from neighbouring windows are one object from this IoU on.
    min_part, min_hole : float, default 5
        Separate parts of an object with fewer pixels are dropped, but for its largest part, and holes with fewer pixels are
        filled. Both are counted in pixels that the model sees: those of the raster, unless ``window`` differs from the model's
        input size or coarser ``scales`` saw the object. 0 keeps everything.
    min_area, max_area : float
        Objects outside are dropped; square metres, or pixels where the raster has no CRS.
    aoi : path, GeoDataFrame or geometry, optional
        Only what lies under points inside it is segmented. A geometry is in the raster's CRS.
    aoi_mode : {"whole", "clip"}, default "whole"
        What is done with an object that crosses the edge of the area: a point inside found it, and it is kept whole, or it is
        clipped to the area. Areas (``min_area``, ``area_m2``) are those of what is kept.
    scheduler : {"threads", "processes", "synchronous"}, address or distributed.Client, optional
        Where the windows are computed; threads of this process by default, and other processes or a Dask cluster if asked.
    workers : int, optional
        Threads or processes of a local scheduler; by default one for each core, as far as there are 2 GiB of memory for each.
        On a CPU each computes on one core.
    cache : path, optional
        A store of embeddings from `samgeo.encode`, made if it is not there: windows that it has are not encoded again, others
        are added to it. Its lattice is the default for ``window`` and ``overlap``. It keeps windows of scale 1.
    run_dir : path, optional
        Folder of the run: what is done, for going on with it, and for ``samgeo status``. By default the output's name with
        ``.run`` behind it, in the current folder if the output is an address, and taken away when the run is complete; a folder
        that is named here stays. Without an output and a folder everything is in memory.
    retry_failed : bool, default False
        Whether to try windows again that failed before in this run.
    overwrite : bool, default False
        Whether an existing output may be replaced; of a GeoPackage, the layer, while its other layers, tables and styles stay.
        It does not begin a run anew: remove its folder for that.
    layer : str, optional
        Name of the output's layer in a GeoPackage; by default the file's name without its suffix. A layer of a new name is
        added to an existing file.
    y_up : bool, default False
        Whether the file has y running up, as QGIS draws images without a georeference; otherwise y runs down from the upper
        edge, as in the raster. Only for rasters without one. In the returned table y runs down in any case, and
        `samgeo` turns the sign back when it reads the file.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        One row an object in the raster's CRS, in the order in which they are settled: by the row of windows that saw them, or
        one that may be nearly equal, last, and within it from top to bottom, then left to right. ``geometry``,
        ``predicted_iou``, ``stability_score``, ``area_m2``, the true area (``area_px`` where there is no CRS), and
        ``complete``: false where the outline is the edge of a window because the model saw nothing of it in the next.
        ``attrs["samgeo"]`` tells what made it.

    Warns
    -----
    HolesWarning
        If windows failed twice in a run with an output or a folder: the result has holes there. They are in
        ``attrs["samgeo"]["failed_windows"]`` and, as polygons, in ``city.holes.gpkg`` beside ``city.gpkg``.
    NothingFoundWarning
        If there are no objects at all.
    RasterWarning
        If the picture is perhaps not the one that is meant; see `samgeo.Raster.open`.

    Raises
    ------
    SamgeoError
        Before work starts, if an input or an option cannot work; later, if windows fail where there is no run or no object
        at all, or the output cannot be written. Then there is no output. A run can be continued.

    See Also
    --------
    segment_to_file : The same for results that are larger than memory.
    """
    request = Request(
        image=image,
        output=None if output is None else as_place(output),
        model=model,
        device=device,
        dtype=dtype,
        bands=bands,
        stretch=stretch,
        nodata=nodata,
        alpha=alpha,
        window=window,
        overlap=overlap,
        scales=scales,
        points_per_side=points_per_side,
        pred_iou=pred_iou,
        stability=stability,
        mask_nms=mask_nms,
        merge_iou=merge_iou,
        min_part=min_part,
        min_hole=min_hole,
        min_area=min_area,
        max_area=max_area,
        aoi=aoi,
        aoi_mode=aoi_mode,
        scheduler=scheduler,
        workers=workers,
        cache=cache,
        run_dir=None if run_dir is None else Path(run_dir),
        retry_failed=retry_failed,
        overwrite=overwrite,
        layer=layer,
        y_up=y_up,
        progress=progress,
    )
    folder = request.folder
    if folder is None:
        job = open_job(request)
        result = segment_in_memory(job)
        if not len(result):
            tell([_tell_nothing(job.raster.name)], NothingFoundWarning)
        return result
    summary, result = _run(request, folder, collect=True)
    if summary.failures:
        warnings.warn(_tell_holes(summary), HolesWarning, stacklevel=2)
    return result


class HolesWarning(SamgeoWarning):
    """A result has holes: windows that could not be segmented."""


class NothingFoundWarning(SamgeoWarning):
    """A result has no objects at all."""


@check_types
def segment_to_file(
    image: RasterLike, output: str | os.PathLike[str], *, stop: Callable[[], bool] | None = None, **options: Any
) -> Summary:
    """Segment everything in a raster of any size into a file; nothing of it is collected in memory.

    Parameters
    ----------
    image, output, **options
        Those of `samgeo.segment`.
    stop : callable, optional
        Asked now and then: when it returns true, windows in work are finished and kept, and the run ends with a
        `StoppedError`. Picklable with the scheduler "processes".

    Returns
    -------
    Summary
        How many objects there are, and which windows failed; these do not raise here.

    Raises
    ------
    StoppedError
        If ``stop`` said so.
    SamgeoError
        As `samgeo.segment`.
    """
    bound = inspect.signature(segment).bind(image, as_place(output), **options)
    bound.apply_defaults()
    request = Request(**bound.arguments)
    run_dir = request.run_dir
    request = replace(request, run_dir=None if run_dir is None else Path(run_dir))
    folder = request.folder
    if folder is None:
        raise OptionError("there is no output; give the path of a vector file.")
    return _run(request, folder, collect=False, stop=stop)[0]


def _run(
    request: Request, folder: RunFolder, *, collect: bool, stop: Callable[[], bool] | None = None
) -> tuple[Summary, gpd.GeoDataFrame]:
    job = open_job(request, folder)
    done = run(
        job,
        folder,
        request.output,
        keep=request.run_dir is not None,
        overwrite=request.overwrite,
        layer=request.layer,
        retry_failed=request.retry_failed,
        collect=collect,
        stop=stop,
    )
    if not done[0].objects:
        tell([_tell_nothing(job.raster.name)], NothingFoundWarning)
    return done


def _tell_nothing(name: str) -> str:
    return (
        f"nothing was found in {name}. Look at what the model sees (samgeo.show, or samgeo show): if it is too dark or too "
        "bright, give the values that become black and white with stretch (--stretch), and the value without data with nodata "
        "(--nodata). Fewer masks are dropped with lower values of pred_iou and stability (--pred-iou, --stability)."
    )


def _tell_holes(summary: Summary) -> str:
    where = "" if summary.holes is None else f" The ground that is missing is in {summary.holes}."
    return (
        f"{len(summary.failures)} of {summary.windows} windows could not be segmented; the first: {summary.failures[0]}."
        f"{where} Repair the cause, and give the same again with retry_failed."
    )
