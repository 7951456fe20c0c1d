"""What is to be done of a raster, and how pieces of windows become tables of objects, a row of windows at a time."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from samgeo.geo.vector.axes import describe_axes
from samgeo.segmentation.masks.cleaning import without_specks
from samgeo.segmentation.masks.nms import settle
from samgeo.segmentation.merge.continuation import ContinuationRequest, Ends
from samgeo.segmentation.merge.merger import Merger, Piece
from samgeo.segmentation.run.parts import Frontier
from samgeo.segmentation.tables import to_frame
from samgeo.segmentation.windows.worker import ModelReference, Plan

if TYPE_CHECKING:
    import geopandas as gpd
    from distributed import Client

    from samgeo.geo.levels import Levels
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter

__all__ = ["Job", "objects_by_row"]


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A segmentation with its inputs opened and its options settled.

    Attributes
    ----------
    raster : Raster
    model : Segmenter
    reference : Segmenter or ModelReference
        What travels to other processes in place of the model.
    plan : Plan
    merge_iou, min_part, min_hole, min_area, max_area : float
        See `samgeo.segment`.
    options : dict
        All options that the result depends on, for JSON.
    scheduler, workers, progress, y_up
        See `samgeo.segment`.
    """

    raster: Raster
    model: Segmenter
    reference: Segmenter | ModelReference
    plan: Plan
    merge_iou: float
    min_part: float
    min_hole: float
    min_area: float
    max_area: float
    options: dict[str, Any]
    scheduler: str | Client | None
    workers: int | None
    progress: bool
    clips: bool = False
    y_up: bool = False

    @property
    def levels(self) -> Levels:
        """The windows."""
        return self.plan.levels

    @property
    def pixel_side(self) -> float:
        """Side of what the model sees as one pixel, in pixels of the raster, at scale 1."""
        return self.levels.lattices[0].window / self.model.input_size

    @property
    def is_here(self) -> bool:
        """Whether windows are computed in this process."""
        return self.scheduler in (None, "threads", "synchronous")

    @property
    def shared(self) -> tuple[Raster, Segmenter | ModelReference, Plan]:
        """What every window needs."""
        return self.raster, self.model if self.is_here else self.reference, self.plan

    def provenance(self) -> dict[str, Any]:
        """Return what is needed to repeat it, for JSON."""
        from samgeo import __version__

        return {
            "samgeo": __version__,
            "model": {"name": self.model.name, "digest": self.model.digest},
            "raster": self.raster.provenance(),
            "options": self.options,
            **describe_axes(self.raster.geobox, y_up=self.y_up),
        }

    def no_objects(self) -> gpd.GeoDataFrame:
        """Return a table of the right columns, without rows."""
        return to_frame((), self.raster.geobox)


def objects_by_row(
    job: Job,
    rows: Iterable[Mapping[int, Sequence[Piece]]],
    frontier: Frontier,
    *,
    ask: Callable[[Sequence[ContinuationRequest]], Sequence[Sequence[Piece | None]]],
    missing: Container[tuple[int, int]] = (),
) -> Iterator[tuple[gpd.GeoDataFrame, Frontier]]:
    """Merge rows of windows, and give the objects that are settled with each, with where merging has come to.

    What closes with a row is cleaned of specks, and settled as `samgeo.segmentation.masks.nms.settle` says.

    What the edge of a window cut, and its neighbour did not find, is asked of the neighbour before a row is closed.

    Parameters
    ----------
    job : Job
    rows : iterable of mapping
        The pieces of each column of windows, from row ``frontier.row`` on.
    frontier : Frontier
        From here before.
    ask : callable
        Asks windows again; see `samgeo.segmentation.run.window_stream.WindowStream.ask`.
    missing : container of (int, int)
        Windows that failed; they are not asked. It may grow with the rows.

    Yields
    ------
    objects : GeoDataFrame
        From top to bottom, then left to right.
    frontier : Frontier
        Behind this row.
    """
    merger = Merger(job.levels, min_iou=job.merge_iou, row=frontier.row, components=frontier.components)
    within = job.plan.aoi_px if job.clips else None
    counts, waiting = frontier.counts, list(frontier.waiting)
    for number, pieces in enumerate(rows, frontier.row):
        merger.begin(pieces)
        ends = Ends(merger, job.levels, number, missing=missing)
        while asks := ends.asks():
            for one, answers in zip(asks, ask(asks), strict=True):
                ends.answer(one, answers)
        closed = without_specks(merger.finish(), job.min_part, job.min_hole, job.pixel_side)
        open_pieces = [piece for members in merger.components for piece in members]
        settled, waiting = settle([*waiting, *closed], open_pieces, job.plan.gates.mask_nms)
        objects = to_frame(settled, job.raster.geobox, min_area=job.min_area, max_area=job.max_area, within_px=within)
        counts = (*counts, len(objects))
        yield objects, Frontier(counts, tuple(tuple(members) for members in merger.components), tuple(waiting))
