"""The `Job`, which holds opened inputs and checked options, and the loop that merges pieces of windows into objects."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samgeo.geo.vector.axes import describe_axes
from samgeo.segmentation.masks.cleaning import without_specks
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.merge.continuation import ContinuationRequest, Ends
from samgeo.segmentation.merge.merger import Merger
from samgeo.segmentation.merge.waiting import Waiting
from samgeo.segmentation.options import CleaningOptions, ExecutionOptions, ObjectOptions
from samgeo.segmentation.run.parts import Frontier, MergedRow
from samgeo.segmentation.run.score_cut import ChooseCut, ScoreCut
from samgeo.segmentation.tables import to_frame
from samgeo.segmentation.windows.worker import ModelReference, Plan
from samgeo.storage.provenance import made_with

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.geo.levels import Levels
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["Job", "objects_by_row"]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A segmentation whose inputs are opened and whose options are checked.

    Attributes
    ----------
    raster : Raster
        The raster.
    model : Segmenter
        The model.
    reference : Segmenter or ModelReference
        The model, or its name, as it is sent to other processes.
    plan : Plan
        The windows and thresholds that workers need.
    cleaning, objects, execution : OptionGroup
        Groups of options of `samgeo.segment`.
    options : dict
        All options that influence the result, as values that can be written as JSON.
    y_up : bool
        See `samgeo.segment`.
    choose_cut : callable, optional
        Chooses the least score from the scores of all objects, when all of them are found. Only with a prompt source.
    """

    raster: Raster
    model: Segmenter
    reference: Segmenter | ModelReference
    plan: Plan
    cleaning: CleaningOptions
    objects: ObjectOptions
    execution: ExecutionOptions
    options: dict[str, Any]
    y_up: bool = False
    choose_cut: ChooseCut | None = None

    @property
    def levels(self) -> Levels:
        """The windows of all scales."""
        return self.plan.levels

    @property
    def pixel_side(self) -> float:
        """Side of one pixel that the model sees, in raster pixels, at scale 1."""
        return self.levels.lattices[0].window / self.model.input_size

    @property
    def shared(self) -> tuple[Raster, Segmenter | ModelReference, Plan]:
        """The arguments that every task needs."""
        return self.raster, self.model if self.execution.is_here else self.reference, self.plan

    def provenance(self, cut: ScoreCut | None = None) -> dict[str, Any]:
        """Return versions, model, raster and options, which are needed to repeat the job, and the chosen cut, for JSON."""
        axes = describe_axes(self.raster.geobox, y_up=self.y_up)
        chosen = {} if cut is None else {"threshold": cut.about}
        return made_with(self.model, self.raster.provenance()) | {"options": self.options} | chosen | axes

    def no_objects(self) -> gpd.GeoDataFrame:
        """Return a table with the right columns and no rows."""
        return to_frame((), self.raster.geobox, classes=self.classes)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes that a prompt source finds; none in the automatic mode."""
        return () if self.plan.source is None else self.plan.source.classes


def objects_by_row(
    job: Job,
    rows: Iterable[Mapping[int, Sequence[Piece]]],
    frontier: Frontier,
    *,
    ask: Callable[[Sequence[ContinuationRequest]], Sequence[Sequence[Piece | None]]],
    missing: Container[tuple[int, int]] = (),
) -> Iterator[tuple[gpd.GeoDataFrame, MergedRow]]:
    """Merge rows of windows, and give the objects that are settled with each row and what merging it has changed.

    Before a row is finished, objects that the edge of a window cut are continued: if the neighbouring window did not find the
    rest, it is sent a continuation request. Objects that close with the row are cleaned of specks, and nearly equal ones are
    left out as `samgeo.segmentation.masks.nms.settle` does.

    Parameters
    ----------
    job : Job
        The opened inputs and options.
    rows : iterable of mapping
        For each row of windows, starting at ``frontier.row``, the pieces of each column.
    frontier : Frontier
        The state of merging from an earlier call.
    ask : callable
        Sends continuation requests; see `samgeo.segmentation.run.window_stream.WindowStream.ask`.
    missing : container of (int, int)
        Windows that failed, which get no requests. It may grow while rows are read.

    Yields
    ------
    objects : GeoDataFrame
        The settled objects, from top to bottom, then from left to right.
    merged : MergedRow
        What merging this row has changed.
    """
    limits = job.objects
    merger = Merger(
        job.levels,
        min_iou=limits.merge_iou,
        row=frontier.row,
        open_objects=frontier.open_objects,
        numbered=frontier.numbered,
    )
    within = job.plan.aoi_px if limits.clips else None
    waiting = Waiting(job.levels, job.plan.gates.mask_nms, frontier.waiting, frontier.waited)
    for number, pieces in enumerate(rows, frontier.row):
        merger.begin(pieces)
        ends = Ends(merger, job.levels, number, missing=missing)
        while requests := ends.requests():
            for one, answers in zip(requests, ask(requests), strict=True):
                ends.answer(one, answers)
        closed = without_specks(merger.finish(), job.cleaning.min_part, job.cleaning.min_hole, job.pixel_side)
        settled, waits = waiting.settle(closed, merger)
        objects = to_frame(
            settled,
            job.raster.geobox,
            min_area=limits.min_area,
            max_area=limits.max_area,
            within_px=within,
            classes=job.classes,
            min_score=job.plan.min_score,
        )
        yield objects, MergedRow(len(objects), merger.step(), waits)
