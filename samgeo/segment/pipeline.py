"""From a raster to objects: windows through Dask, masks, merging, polygons, a GeoDataFrame and a file."""

from __future__ import annotations

import inspect
import math
import os
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from samgeo.errors import OptionError
from samgeo.geo.block_cache import block_cache_bytes
from samgeo.geo.grid import Lattice
from samgeo.geo.prompts import to_pixels
from samgeo.segment.merge import MERGE_IOU
from samgeo.segment.run.folder import RunFolder
from samgeo.segment.run.job import Job
from samgeo.segment.run.streaming import Summary, run, segment_in_memory
from samgeo.segment.window import ModelReference, Plan

if TYPE_CHECKING:
    import geopandas as gpd
    from distributed import Client

    from samgeo.geo.raster import Raster
    from samgeo.sam.registry import Gates
    from samgeo.sam.segmenter import Segmenter
    from samgeo.segment.store import EmbeddingStore

__all__ = ["HolesWarning", "Summary", "segment", "segment_to_file"]


def segment(
    image: Any,
    output: str | os.PathLike[str] | None = None,
    *,
    model: str | Path | Segmenter = "tiny",
    device: str = "auto",
    dtype: str = "auto",
    bands: Any = None,
    stretch: Any = None,
    nodata: float | str | None = None,
    window: int | None = None,
    overlap: int | None = None,
    points_per_side: int | None = None,
    pred_iou: float | None = None,
    stability: float | None = None,
    merge_iou: float = MERGE_IOU,
    min_area: float = 0.0,
    max_area: float = math.inf,
    aoi: Any = None,
    scheduler: str | Client | None = None,
    workers: int | None = None,
    cache: str | os.PathLike[str] | None = None,
    run_dir: str | os.PathLike[str] | None = None,
    retry_failed: bool = False,
    overwrite: bool = False,
    progress: bool = True,
) -> gpd.GeoDataFrame:
    """Segment everything in a raster of any size.

    With an output or a run directory, what is done is kept on disk while it works: after a kill, a fault or a stop, the same
    call goes on, and the result is the same to the byte.

    Parameters
    ----------
    image : path, URL, xarray.DataArray, ndarray or Raster
        The raster; see `samgeo.Raster.open`.
    output : path, optional
        Where to write the objects: ``.parquet``, ``.gpkg``, ``.fgb`` or ``.geojson``. Written whole or not at all.
    model : str, path or Segmenter, default "tiny"
        A name of `samgeo.models`, a checkpoint file, or a model.
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
    window : int, optional
        Side of a window in raster pixels; the model's input size by default. Larger windows are resampled to the input.
    overlap : int, optional
        Pixels that neighbouring windows share: even, at most half a window. A quarter of a window by default. Objects up
        to this size are always whole in some window.
    points_per_side : int, optional
        Prompts along a window's side.
    pred_iou, stability : float, optional
        Masks below either are dropped. The model's own defaults (`samgeo.models`) unless given.
    merge_iou : float, default 0.5
        Pieces from neighbouring windows are one object from this IoU on.
    min_area, max_area : float
        Objects outside are dropped; square metres, or pixels where the raster has no CRS.
    aoi : path, GeoDataFrame or geometry, optional
        Only what lies under points inside it is segmented. A geometry is in the raster's CRS.
    scheduler : {"threads", "processes", "synchronous"}, address or distributed.Client, optional
        Where Dask computes the windows; threads of this process by default.
    workers : int, optional
        Threads or processes of a local scheduler; 2 by default.
    cache : path, optional
        A store of embeddings from `samgeo.encode`, made if it is not there: windows that it has are not encoded again, others
        are added to it. Its lattice is the default for ``window`` and ``overlap``.
    run_dir : path, optional
        Folder of the run: what is done, for going on with it, and for ``samgeo status``. By default the output's name with
        ``.run`` behind it, and taken away when the run is complete; a folder that is named here stays. Without an output and
        a folder everything is in memory.
    retry_failed : bool, default False
        Whether to try windows again that failed before in this run.
    overwrite : bool, default False
        Whether an existing output may be replaced. It does not begin a run anew: remove its folder for that.
    progress : bool, default True
        Whether to show a progress bar on standard error.

    Returns
    -------
    GeoDataFrame
        One row an object in the raster's CRS, in the order in which they close: by the row of windows that saw them last,
        and within it from top to bottom, then left to right. ``geometry``, ``predicted_iou``, ``stability_score``,
        ``area_m2``, the true area (``area_px`` where there is no CRS), and ``complete``: false where the outline is the edge
        of a window because the model saw nothing of it in the next. ``attrs["samgeo"]`` tells what made it.

    Warns
    -----
    HolesWarning
        If windows failed twice in a run with an output or a folder: the result has holes there. They are in
        ``attrs["samgeo"]["failed_windows"]`` and, as polygons, in ``city.holes.gpkg`` beside ``city.gpkg``.

    Raises
    ------
    SamgeoError
        Before work starts, if an input or an option cannot work; later, if windows fail where there is no run or no object
        at all, or the output cannot be written. Then there is no output. A run can be continued.

    See Also
    --------
    segment_to_file : The same for results that are larger than memory.
    """
    request = _Request(
        image=image,
        output=None if output is None else Path(output),
        model=model,
        device=device,
        dtype=dtype,
        bands=bands,
        stretch=stretch,
        nodata=nodata,
        window=window,
        overlap=overlap,
        points_per_side=points_per_side,
        pred_iou=pred_iou,
        stability=stability,
        merge_iou=merge_iou,
        min_area=min_area,
        max_area=max_area,
        aoi=aoi,
        scheduler=scheduler,
        workers=workers,
        cache=cache,
        run_dir=None if run_dir is None else Path(run_dir),
        retry_failed=retry_failed,
        overwrite=overwrite,
        progress=progress,
    )
    folder = request.folder
    if folder is None:
        return segment_in_memory(_job(request))
    summary, result = _run(request, folder, collect=True)
    if summary.failures:
        warnings.warn(_tell_holes(summary), HolesWarning, stacklevel=2)
    return result


class HolesWarning(UserWarning):
    """A result has holes: windows that could not be segmented."""


def segment_to_file(
    image: Any, output: str | os.PathLike[str], *, stop: Callable[[], bool] | None = None, **options: Any
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
    bound = inspect.signature(segment).bind(image, Path(output), **options)
    bound.apply_defaults()
    request = _Request(**bound.arguments)
    run_dir = request.run_dir
    request = replace(request, run_dir=None if run_dir is None else Path(run_dir))
    folder = request.folder
    if folder is None:
        raise OptionError("there is no output; give the path of a vector file.")
    return _run(request, folder, collect=False, stop=stop)[0]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Request:
    """The arguments of `segment`."""

    image: Any
    output: Path | None
    model: str | Path | Segmenter
    device: str
    dtype: str
    bands: Any
    stretch: Any
    nodata: float | str | None
    window: int | None
    overlap: int | None
    points_per_side: int | None
    pred_iou: float | None
    stability: float | None
    merge_iou: float
    min_area: float
    max_area: float
    aoi: Any
    scheduler: str | Client | None
    workers: int | None
    cache: str | os.PathLike[str] | None
    run_dir: Path | None
    retry_failed: bool
    overwrite: bool
    progress: bool

    @property
    def folder(self) -> RunFolder | None:
        """Of the run, if there is one."""
        if self.run_dir is not None:
            return RunFolder(self.run_dir)
        return None if self.output is None else RunFolder(self.output.with_name(f"{self.output.name}.run"))


def _run(
    request: _Request, folder: RunFolder, *, collect: bool, stop: Callable[[], bool] | None = None
) -> tuple[Summary, gpd.GeoDataFrame]:
    job = _job(request, folder)
    return run(
        job,
        folder,
        request.output,
        keep=request.run_dir is not None,
        overwrite=request.overwrite,
        retry_failed=request.retry_failed,
        collect=collect,
        stop=stop,
    )


def _tell_holes(summary: Summary) -> str:
    where = "" if summary.holes is None else f" The ground that is missing is in {summary.holes}."
    return (
        f"{len(summary.failures)} of {summary.windows} windows could not be segmented; the first: {summary.failures[0]}."
        f"{where} Repair the cause, and give the same again with retry_failed."
    )


def _job(request: _Request, folder: RunFolder | None = None) -> Job:
    """Open and check everything, before any work."""
    import shapely

    from samgeo.geo.raster import Raster
    from samgeo.geo.vectors import check_output
    from samgeo.sam.registry import default_gates, load_model

    _check_options(request)
    output = request.output
    # What this very run wrote before it was killed, or had holes, is no other's.
    overwrite = request.overwrite or (output is not None and folder is not None and folder.wrote(output) is not None)
    if output is not None:
        check_output(output, overwrite=overwrite)
    if folder is not None:
        folder.check()
    raster = Raster.open(request.image, bands=request.bands, stretch=request.stretch, nodata=request.nodata)
    if output is not None:
        check_output(output, overwrite=overwrite, crs=raster.geobox.crs)
    aoi_px = None if request.aoi is None else to_pixels(request.aoi, raster.geobox, name=raster.name)
    model = request.model
    segmenter = load_model(model, device=request.device, dtype=request.dtype)
    gates = _gates(default_gates(segmenter), request.points_per_side, request.pred_iou, request.stability)
    window, overlap = request.window, request.overlap
    store = None if request.cache is None else _store(request.cache, raster, segmenter, window, overlap)
    side = segmenter.input_size if window is None else window
    lattice = Lattice(raster.shape, side, side // 8 * 2 if overlap is None else overlap) if store is None else store.lattice
    return Job(
        raster=raster,
        model=segmenter,
        reference=ModelReference(str(model), request.device, request.dtype) if isinstance(model, str | Path) else segmenter,
        plan=Plan(lattice, gates, aoi_px, store, block_cache_bytes(raster, lattice.window)),
        merge_iou=request.merge_iou,
        min_area=request.min_area,
        max_area=request.max_area,
        options={
            "window": lattice.window,
            "overlap": lattice.overlap,
            **asdict(gates),
            "merge_iou": request.merge_iou,
            "min_area": request.min_area,
            "max_area": None if math.isinf(request.max_area) else request.max_area,
            "aoi": None if aoi_px is None else shapely.to_wkt(aoi_px),
        },
        scheduler=request.scheduler,
        workers=request.workers,
        progress=request.progress,
    )


def _store(
    path: str | os.PathLike[str], raster: Raster, model: Segmenter, window: int | None, overlap: int | None
) -> EmbeddingStore:
    from samgeo.segment.embeddings import check_fresh
    from samgeo.segment.store import EmbeddingStore

    store = EmbeddingStore.open_or_create(path, raster, model, window=window, overlap=overlap)
    check_fresh(raster, store)
    return store


def _gates(gates: Gates, points_per_side: int | None, pred_iou: float | None, stability: float | None) -> Gates:
    return replace(
        gates,
        points_per_side=gates.points_per_side if points_per_side is None else points_per_side,
        pred_iou=gates.pred_iou if pred_iou is None else pred_iou,
        stability=gates.stability if stability is None else stability,
    )


def _check_options(request: _Request) -> None:
    for name in ("points_per_side", "workers"):
        count = getattr(request, name)
        if count is not None and count < 1:
            raise OptionError(f"{name} is {count}; give 1 or more.")
    for name in ("pred_iou", "stability"):
        share = getattr(request, name)
        if share is not None and not 0 <= share <= 1:
            raise OptionError(f"{name} is {share}; give a number from 0 to 1.")
    if not 0 < request.merge_iou <= 1:
        raise OptionError(f"merge_iou is {request.merge_iou}; give a number above 0, up to 1.")
    if not 0 <= request.min_area <= request.max_area:
        raise OptionError(f"min_area is {request.min_area} and max_area {request.max_area}; give 0 <= min_area <= max_area.")
    if request.retry_failed and request.output is None and request.run_dir is None:
        raise OptionError("retry_failed is of a run; give its output or its run_dir.")
