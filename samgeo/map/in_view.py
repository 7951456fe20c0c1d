"""Segment every object in a part of a raster."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

import shapely

from samgeo.errors import StoppedError
from samgeo.geo.coordinates.indexed_area import IndexedArea
from samgeo.geo.levels import Levels
from samgeo.map.ui.messages import Progress
from samgeo.models.registry import default_gates
from samgeo.segmentation.execution.tasks import run_ordered
from samgeo.segmentation.masks.nms import settle
from samgeo.segmentation.masks.piece import MERGE_IOU, Piece
from samgeo.segmentation.merge.merger import merge
from samgeo.segmentation.tables import to_frame, without
from samgeo.segmentation.windows.worker import Plan, segment_window

if TYPE_CHECKING:
    import geopandas as gpd

    from samgeo.map.session import Session
    from samgeo.segmentation.predictor import Predictor

__all__ = ["propose_in_view", "segment_area"]


def propose_in_view(session: Session, area_px: shapely.Geometry, tell: Callable[[Progress], bool]) -> str | None:
    """Segment everything in a part of the raster, and propose the new masks; see `samgeo.map.background.Work`.

    Raises
    ------
    StoppedError
        If ``tell`` returned False.
    """
    found = segment_area(
        session.predictor, area_px, progress=lambda done, total: tell(Progress("segmenting the view", done, total))
    )
    if found is None:
        raise StoppedError("ended before it was done: nothing is put up")
    state = session.state
    new = without(found, [*(one.geometry for one in state.objects), *(one.geometry for one in state.proposals)])
    if not len(new):
        return "nothing new is in view"
    session.propose(new.assign(prompt="search"))
    return None


def segment_area(
    predictor: Predictor, area_px: shapely.Geometry, *, progress: Callable[[int, int], bool] = lambda _done, _total: True
) -> gpd.GeoDataFrame | None:
    """Segment everything under points of an area, as `samgeo.segment` does with an ``aoi``.

    Parameters
    ----------
    predictor : Predictor
        The raster, the model and the windows. As many windows are segmented at the same time as it has threads.
    area_px : Polygon or MultiPolygon
        The area in raster pixels.
    progress : callable, optional
        Called with the number of windows that are done and the number of all windows. It returns False to stop.

    Returns
    -------
    GeoDataFrame or None
        The objects, as `samgeo.segment` returns them; None if ``progress`` stopped the work.

    Raises
    ------
    WindowError
        If a window cannot be read or computed.
    RasterError
        If the raster has changed since it was opened.
    """
    lattice = predictor.lattice
    plan = Plan(Levels.of(lattice), default_gates(predictor.model), IndexedArea(area_px), predictor.store)
    x0, y0, x1, y1 = shapely.bounds(area_px).tolist()
    cores = [(index, lattice.core(*index)) for index in _near(predictor, (x0, y0, x1, y1))]
    wanted = [index for index, core in cores if shapely.intersects(area_px, shapely.box(core.x0, core.y0, core.x1, core.y1))]
    rows: dict[int, dict[int, Sequence[Piece]]] = defaultdict(dict)
    if not progress(0, len(wanted)):
        return None
    shared = predictor.raster, predictor.model, plan
    with closing(run_ordered(segment_window, shared, wanted, scheduler="threads", workers=predictor.threads)) as found:
        for done, (index, pieces) in enumerate(zip(wanted, found, strict=True), start=1):
            rows[index[0]][index[1]] = pieces
            if not progress(done, len(wanted)):
                return None
    closed = merge((rows[row] for row in range(lattice.rows)), Levels.of(lattice), min_iou=MERGE_IOU)
    settled, _ = settle(predictor.clean([one for segments in closed for one in segments]), (), plan.gates.mask_nms)
    predictor.check_same()
    frame = to_frame(settled, predictor.raster.geobox)
    frame.attrs["samgeo"] = predictor.provenance()
    return frame


def _near(predictor: Predictor, bounds_px: tuple[float, float, float, float]) -> list[tuple[int, int]]:
    """Return the windows whose cores may intersect a box."""
    lattice = predictor.lattice
    x0, y0, x1, y1 = (one / lattice.stride for one in bounds_px)

    def span(low: float, high: float, count: int) -> range:
        return range(min(max(int(low) - 1, 0), count - 1), min(max(int(high) + 1, 0), count - 1) + 1)

    return [(row, column) for row in span(y0, y1, lattice.rows) for column in span(x0, x1, lattice.columns)]
