"""The arguments of `samgeo.segment` as one value, and the function that checks them and opens all inputs before any work."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, Self, cast

from samgeo.errors import OptionError, VectorError
from samgeo.geo.coordinates.area_summary import describe_area
from samgeo.geo.coordinates.indexed_area import IndexedArea
from samgeo.geo.coordinates.prompt_geometry import to_pixels
from samgeo.geo.levels import Levels, check_scales
from samgeo.geo.raster.sources.block_cache import block_cache_bytes
from samgeo.models.registry import default_gates
from samgeo.segmentation.options import (
    AutomaticOptions,
    CleaningOptions,
    ExecutionOptions,
    ModelOptions,
    ObjectOptions,
    OutputOptions,
    ReadingOptions,
    WindowOptions,
)
from samgeo.segmentation.output_checks import CheckedOutput
from samgeo.segmentation.profile import refuse_other_processes, timed
from samgeo.segmentation.prompts.raster_prompts import RasterPrompts
from samgeo.segmentation.run.folder import RunFolder
from samgeo.segmentation.run.holes import holes_path
from samgeo.segmentation.run.job import Job
from samgeo.segmentation.run.score_cut import ChooseCut
from samgeo.segmentation.windows.embedding import EmbeddingCache
from samgeo.segmentation.windows.worker import Plan
from samgeo.storage.atomic import check_name
from samgeo.storage.locations import Place, as_place
from samgeo.storage.run_folder import beside

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.proposals import PromptSource

__all__ = ["Finding", "Prepared", "RasterFinding", "Request", "open_job"]

# Memory for embeddings of recent windows, which may be prompted again. In half precision this is enough for two rows of about
# 90 windows of the bundled model or of SAM.
RECENT_BYTES = 512 << 20

# Objects of a prompt source: the least predicted IoU and stability of the rest of an object beyond the edge of its window, and
# the IoU above which the object with the lower score is dropped.
CONTINUED_IOU, FOUND_NMS = 0.5, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """A prompt source that is ready for a raster and a model.

    Attributes
    ----------
    source : PromptSource
        Proposes and scores objects.
    windows : WindowOptions
        The windows that fit the source.
    min_score : float
        Objects with a lower score are dropped.
    options : dict
        What decides the result, as values that can be written as JSON.
    choose_cut : callable, optional
        Chooses a higher least score from the scores of all objects, when all of them are found.
    """

    source: PromptSource
    windows: WindowOptions
    min_score: float
    options: dict[str, Any]
    choose_cut: ChooseCut | None = None


class Finding(Protocol):
    """Options that make a prompt source when the raster and the model are open."""

    def prepare(self, raster: Raster, model: Segmenter, windows: WindowOptions) -> Prepared:
        """Return the source for a raster and a model, and the windows that fit it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RasterFinding:
    """The option ``prompts_from`` of `samgeo.segment`: objects come from another raster, in the windows of the request."""

    prompts: RasterPrompts

    @property
    def inputs(self) -> tuple[object, ...]:
        """The rasters that are read."""
        return self.prompts.inputs

    def prepare(self, raster: Raster, _model: Segmenter, windows: WindowOptions) -> Prepared:
        """Open the other raster for an image."""
        source = self.prompts.source(raster)
        return Prepared(source, windows, 0.0, {"prompts_from": source.options})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Request:
    """The arguments of `samgeo.segment`, in groups."""

    image: Any
    output: Place | None
    model: ModelOptions
    reading: ReadingOptions
    windows: WindowOptions
    automatic: AutomaticOptions
    cleaning: CleaningOptions
    objects: ObjectOptions
    execution: ExecutionOptions
    writing: OutputOptions
    zoom: float = 1.0
    finding: Finding | None = None

    @classmethod
    def of(cls, arguments: Mapping[str, Any], finding: Finding | None = None) -> Self:
        """Return the request with values from the arguments of `samgeo.segment`, by name; ``finding`` makes a prompt source."""
        output = arguments["output"]
        return cls(
            image=arguments["image"],
            output=None if output is None else as_place(output),
            model=ModelOptions.of(arguments),
            reading=ReadingOptions.of(arguments),
            windows=WindowOptions.of(arguments),
            automatic=AutomaticOptions.of(arguments),
            cleaning=CleaningOptions.of(arguments),
            objects=ObjectOptions.of(arguments),
            execution=ExecutionOptions.of(arguments),
            writing=OutputOptions.of(arguments),
            # The zoom of a finder is one of its own options, and may be missing.
            zoom=arguments["zoom"] if finding is None or isinstance(finding, RasterFinding) else 1.0,
            finding=finding,
        )

    @property
    def folder(self) -> RunFolder | None:
        """The run folder, or None if the run is not kept on disk."""
        if self.writing.run_dir is not None:
            return RunFolder(Path(self.writing.run_dir))
        return None if self.output is None else RunFolder(beside(self.output))


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
    _check_options(request)
    scales = check_scales(request.automatic.scales)
    output, writing, objects, cleaning = request.output, request.writing, request.objects, request.cleaning
    # The output of this same run, written before a kill or with holes, may always be replaced.
    overwrite = writing.overwrite or (output is not None and folder is not None and folder.wrote(output) is not None)
    given: tuple[object, ...] = (request.image, objects.aoi, request.model.model, request.windows.cache)
    if isinstance(request.finding, RasterFinding):
        given += request.finding.inputs
    checked = CheckedOutput.check(output, overwrite=overwrite, layer=writing.layer, y_up=writing.y_up, inputs=given)
    if isinstance(output, Path):
        check_name(cast("Path", holes_path(output, writing.layer)), VectorError)  # checked now, not when windows fail
    if folder is not None:
        folder.check()
    raster = request.reading.open(request.image)
    checked.check_raster(raster)
    aoi_px = None if objects.aoi is None else to_pixels(objects.aoi, raster.geobox, name=raster.name)
    segmenter = request.model.load()
    gates = replace(default_gates(segmenter), **request.automatic.thresholds())
    windows = request.windows.at_zoom(request.zoom, segmenter)
    source, min_score, found_by, choose_cut = None, 0.0, {}, None
    if request.finding is not None:
        prepared = request.finding.prepare(raster, segmenter, windows)
        windows, source, min_score, found_by = prepared.windows, prepared.source, prepared.min_score, prepared.options
        choose_cut = prepared.choose_cut
        gates = replace(gates, pred_iou=CONTINUED_IOU, stability=CONTINUED_IOU, mask_nms=FOUND_NMS)
    store = windows.store(raster, segmenter, scales)
    lattice = windows.lattice(raster, segmenter) if store is None else store.lattice
    levels = Levels.of(lattice, scales)
    job = Job(
        raster=raster,
        model=segmenter,
        reference=request.model.reference(segmenter),
        plan=Plan(
            levels,
            gates,
            None if aoi_px is None else IndexedArea(aoi_px),
            store,
            block_cache_bytes(raster, levels.lattices[-1].window),
            objects.merge_iou,
            EmbeddingCache(RECENT_BYTES),
            source,
            min_score,
        ),
        cleaning=cleaning,
        objects=objects,
        execution=request.execution,
        options={
            "window": lattice.window,
            "overlap": lattice.overlap,
            "scales": list(scales),
            **({} if request.zoom == 1 else {"zoom": request.zoom}),
            **(asdict(gates) if source is None else found_by),
            "merge_iou": objects.merge_iou,
            **asdict(cleaning),
            "min_area": objects.min_area,
            "max_area": None if math.isinf(objects.max_area) else objects.max_area,
            "aoi": None if aoi_px is None else describe_area(aoi_px),
            "aoi_mode": objects.aoi_mode,
        },
        y_up=writing.y_up,
        choose_cut=choose_cut,
    )
    checked.check_table(job.no_objects(), job.provenance())
    return job


def _check_options(request: Request) -> None:
    request.automatic.check()
    if isinstance(request.finding, RasterFinding):
        request.automatic.refuse("prompts_from")
    request.windows.check_zoom(request.zoom)
    request.cleaning.check()
    request.objects.check()
    if request.writing.retry_failed and request.folder is None:
        raise OptionError("retry_failed needs a run; give its output or its run_dir.")
    request.execution.check()
    refuse_other_processes(request.execution.scheduler)
