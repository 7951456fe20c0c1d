"""The arguments of `samgeo.segment` as one value, and the function that checks them and opens all inputs before any work."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.area_summary import describe_area
from samgeo.geo.coordinates.prompt_geometry import to_pixels
from samgeo.geo.grid import Lattice
from samgeo.geo.levels import Levels, check_scales
from samgeo.geo.raster.sources.block_cache import block_cache_bytes
from samgeo.geo.vector.axes import check_y_up
from samgeo.segmentation.execution.tasks import check_scheduler
from samgeo.segmentation.masks.cleaning import check_region_sizes
from samgeo.segmentation.masks.nms import check_mask_nms
from samgeo.segmentation.profile import refuse_other_processes, timed
from samgeo.segmentation.run.folder import RunFolder
from samgeo.segmentation.run.holes import holes_path
from samgeo.segmentation.run.job import Job
from samgeo.segmentation.windows.embedding import EmbeddingCache
from samgeo.segmentation.windows.worker import Plan, reference_to
from samgeo.storage.atomic import check_name
from samgeo.storage.locations import Place

if TYPE_CHECKING:
    import torch
    from distributed import Client

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.models.registry import Gates
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = ["Request", "open_job"]

# How to treat objects that cross the edge of the area of interest.
AOI_MODES = ("whole", "clip")

# Memory for embeddings of recent windows, which may be prompted again. In half precision this is enough for two rows of about
# 90 windows of the bundled model or of SAM.
RECENT_BYTES = 512 << 20


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """The arguments of `samgeo.segment`."""

    image: Any
    output: Place | None
    model: str | Path | Segmenter
    device: str | torch.device
    dtype: str
    bands: Any
    stretch: Any
    nodata: float | str | None
    alpha: int | str | None
    window: int | None
    overlap: int | None
    scales: Sequence[int]
    points_per_side: int | None
    pred_iou: float | None
    stability: float | None
    mask_nms: float | None
    merge_iou: float
    min_part: float
    min_hole: float
    min_area: float
    max_area: float
    aoi: Any
    aoi_mode: str
    scheduler: str | Client | None
    workers: int | None
    cache: str | os.PathLike[str] | None
    run_dir: Path | None
    retry_failed: bool
    overwrite: bool
    layer: str | None
    y_up: bool
    progress: bool

    @property
    def folder(self) -> RunFolder | None:
        """The run folder, or None if the run is not kept on disk."""
        if self.run_dir is not None:
            return RunFolder(self.run_dir)
        if self.output is None:
            return None
        # A run folder is always local. If the output is an object in storage, the folder is in the current folder.
        beside = self.output if isinstance(self.output, Path) else Path(self.output.name)
        return RunFolder(beside.parent / f"{beside.name}.run")


@timed("open")
def open_job(request: Request, folder: RunFolder | None = None) -> Job:
    """Check the options, open the inputs and the model, and return the job.

    Parameters
    ----------
    request : Request
        The arguments of `samgeo.segment`.
    folder : RunFolder, optional
        The run folder, if the run is kept on disk.

    Raises
    ------
    SamgeoError
        If an input or an option is invalid.
    """
    from samgeo.geo.label_raster import check_labels_options, check_result, is_label_raster
    from samgeo.geo.raster.raster import Raster
    from samgeo.geo.vector.reading import check_asked, check_fit
    from samgeo.models.registry import default_gates, load_model

    _check_options(request)
    scales = check_scales(request.scales)
    output = request.output
    # The output of this same run, written before a kill or with holes, may always be replaced.
    overwrite = request.overwrite or (output is not None and folder is not None and folder.wrote(output) is not None)
    given = (request.image, request.aoi, request.model, request.cache)
    is_labels = output is not None and is_label_raster(output)
    if output is None:
        check_asked(output, overwrite=overwrite, layer=request.layer, inputs=given)
    else:
        check_result(output, overwrite=overwrite, layer=request.layer, inputs=given)
    if is_labels:
        check_labels_options(layer=request.layer, y_up=request.y_up)
    if isinstance(output, Path):
        check_name(cast("Path", holes_path(output, request.layer)), VectorError)  # checked now, not when windows fail
    if folder is not None:
        folder.check()
    raster = Raster.open(
        request.image, bands=request.bands, stretch=request.stretch, nodata=request.nodata, alpha=request.alpha
    )
    check_y_up(raster.geobox, request.y_up, output)
    if output is not None:
        check_result(output, overwrite=overwrite, crs=raster.geobox.crs, layer=request.layer, inputs=(*given, raster))
    aoi_px = None if request.aoi is None else to_pixels(request.aoi, raster.geobox, name=raster.name)
    model = request.model
    segmenter = load_model(model, device=request.device, dtype=request.dtype)
    gates = replace(
        _gates(default_gates(segmenter), request.points_per_side, request.pred_iou, request.stability),
        mask_nms=request.mask_nms,
    )
    window, overlap = request.window, request.overlap
    store = None if request.cache is None else _store(request.cache, raster, segmenter, window, overlap)
    side = segmenter.input_size if window is None else window
    lattice = Lattice(raster.shape, side, side // 8 * 2 if overlap is None else overlap) if store is None else store.lattice
    levels = Levels.of(lattice, scales)
    job = Job(
        raster=raster,
        model=segmenter,
        reference=reference_to(model, segmenter, request.device, request.dtype),
        plan=Plan(
            levels,
            gates,
            aoi_px,
            store,
            block_cache_bytes(raster, levels.lattices[-1].window),
            request.merge_iou,
            EmbeddingCache(RECENT_BYTES),
        ),
        merge_iou=request.merge_iou,
        min_part=request.min_part,
        min_hole=request.min_hole,
        min_area=request.min_area,
        max_area=request.max_area,
        options={
            "window": lattice.window,
            "overlap": lattice.overlap,
            "scales": list(scales),
            **asdict(gates),
            "merge_iou": request.merge_iou,
            "min_part": request.min_part,
            "min_hole": request.min_hole,
            "min_area": request.min_area,
            "max_area": None if math.isinf(request.max_area) else request.max_area,
            "aoi": None if aoi_px is None else describe_area(aoi_px),
            "aoi_mode": request.aoi_mode,
        },
        scheduler=request.scheduler,
        workers=request.workers,
        progress=request.progress,
        y_up=request.y_up,
        clips=request.aoi_mode == "clip" and aoi_px is not None,
    )
    if output is not None and not is_labels:
        check_fit(job.no_objects(), output, layer=request.layer, provenance=job.provenance())
    return job


def _store(
    path: str | os.PathLike[str], raster: Raster, model: Segmenter, window: int | None, overlap: int | None
) -> EmbeddingStore:
    from samgeo.segmentation.windows.embedding import check_fresh
    from samgeo.segmentation.windows.store import EmbeddingStore

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


def _check_options(request: Request) -> None:
    for name in ("points_per_side", "workers"):
        count = getattr(request, name)
        if count is not None and count < 1:
            raise OptionError(f"{name} is {count}; give 1 or more.")
    for name in ("pred_iou", "stability"):
        share = getattr(request, name)
        if share is not None and not 0 <= share <= 1:
            raise OptionError(f"{name} is {share}; give a number from 0 to 1.")
    check_mask_nms(request.mask_nms)
    check_region_sizes(request.min_part, request.min_hole)
    if not 0 < request.merge_iou <= 1:
        raise OptionError(f"merge_iou is {request.merge_iou}; give a number above 0, up to 1.")
    if not 0 <= request.min_area <= request.max_area:
        raise OptionError(f"min_area is {request.min_area} and max_area {request.max_area}; give 0 <= min_area <= max_area.")
    if request.retry_failed and request.output is None and request.run_dir is None:
        raise OptionError("retry_failed needs a run; give its output or its run_dir.")
    if request.aoi_mode not in AOI_MODES:
        raise OptionError(f"aoi_mode is {request.aoi_mode!r}; give one of {', '.join(AOI_MODES)}.")
    if request.aoi_mode != AOI_MODES[0] and request.aoi is None:
        raise OptionError(f"aoi_mode is {request.aoi_mode!r}, but there is no area of interest; give aoi, or omit aoi_mode.")
    check_scheduler(request.scheduler)
    refuse_other_processes(request.scheduler)
