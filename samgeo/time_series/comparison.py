"""The comparison of the objects of two dates, row of windows by row of windows, on the workers of a run."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.errors import StoppedError
from samgeo.geo.coordinates.overlay import in_pixels
from samgeo.geo.grid import Lattice, Rect
from samgeo.geo.raster.sources.block_cache import limit_worker_block_cache, limited_block_cache
from samgeo.progress import progress_bar
from samgeo.segmentation.execution.tasks import run_ordered
from samgeo.segmentation.prompts.assignment import windows_of
from samgeo.segmentation.windows.failures import ATTEMPTS, FAULTS, describe_fault, release_gpu_memory
from samgeo.segmentation.windows.worker import load_referenced
from samgeo.time_series.candidates import Candidates
from samgeo.time_series.features import angles_between, object_vectors
from samgeo.time_series.matching import match
from samgeo.time_series.table import FAILED, TOO_SMALL, Measured, Row, RowCounts, to_table

if TYPE_CHECKING:
    import geopandas as gpd
    from distributed import Client

    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.store import EmbeddingStore
    from samgeo.segmentation.windows.worker import ModelReference
    from samgeo.storage.locations import Place
    from samgeo.time_series.shift import Shift

__all__ = ["LEAST_KNOWN", "LEAST_PX", "VIEW_PX", "ChangeSummary", "Comparison", "compare", "homes_of", "known_shares"]

MIN_IOU = 0.5
# Objects of which less than this share has data at a date are not compared.
LEAST_KNOWN = 0.5
# Objects with fewer pixels of the model's input are too small to be compared: half a cell of the features with stride 8.
LEAST_PX = 32
# The longer side of the view in which it is seen whether objects have data.
VIEW_PX = 1024


@dataclass(frozen=True, slots=True)
class ChangeSummary:
    """Result of a comparison of two dates.

    Attributes
    ----------
    counts : dict of str to int
        Number of objects of each kind: "appeared", "vanished", "changed", "same" and "unknown".
    changed_area : float
        Area of the objects that appeared, vanished or changed, in square metres; in pixels without a CRS.
    above_angle : float
        Share of the compared objects whose angle is at least ``min_angle``, whatever their kind. NaN if none was compared.
    shift : Shift or None
        The measured shift of the second raster against the first; None if it could not be measured.
    is_corrected : bool
        Whether the shift was corrected.
    has_crs : bool
        Whether the rasters have a CRS.
    failures : tuple of str
        Windows that could not be searched for objects: which, where, and why.
    output : Path, RemotePlace or None
        Where the objects were written.
    folder : Path or None
        The run folder, if it was kept.
    """

    counts: dict[str, int]
    changed_area: float
    above_angle: float
    shift: Shift | None
    is_corrected: bool
    has_crs: bool
    failures: tuple[str, ...]
    output: Place | None
    folder: Path | None


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """All that a comparison needs, opened and checked.

    Attributes
    ----------
    before, after : Raster
        On one grid.
    model : Segmenter or ModelReference
        The model as it is sent to workers.
    lattice : Lattice
        The windows in which features are pooled.
    stores : (EmbeddingStore or None, EmbeddingStore or None)
        Embeddings of both dates.
    cache_bytes : int
        Memory in which GDAL may keep blocks of the rasters.
    objects : (Candidates, Candidates)
        The objects of both dates; the same value twice if one layer was given for both.
    min_angle : float
        See `samgeo.change`.
    trusted : bool
        Whether objects without a partner are absent at the other date whatever the image shows.
    scheduler, workers, progress
        See `samgeo.segment`.
    """

    before: Raster
    after: Raster
    model: Segmenter | ModelReference
    lattice: Lattice
    stores: tuple[EmbeddingStore | None, EmbeddingStore | None]
    cache_bytes: int
    objects: tuple[Candidates, Candidates]
    min_angle: float
    trusted: bool
    scheduler: str | Client | None = None
    workers: int | None = None
    progress: bool = True

    @property
    def is_one_layer(self) -> bool:
        """Whether one layer was given for both dates."""
        return self.objects[0] is self.objects[1]


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """What a worker needs besides the rasters and the model."""

    lattice: Lattice
    stores: tuple[EmbeddingStore | None, EmbeddingStore | None]
    cache_bytes: int


@dataclass(frozen=True, slots=True, eq=False)
class _Strip:
    """The objects of a row of windows, and how many tasks they are divided into."""

    number: int
    row: Row
    tasks: tuple[NDArray[np.int64], ...]


def compare(
    job: Comparison,
    is_done: Callable[[int], bool],
    write: Callable[[int, gpd.GeoDataFrame, RowCounts], None],
    stop: Callable[[], bool] | None = None,
) -> None:
    """Compare the objects of both dates, and write the results of each row of windows in order.

    An object belongs to the row of the window that shows the most context around it. Partners are written with the object of
    the second date.

    Parameters
    ----------
    job : Comparison
        The inputs.
    is_done : callable
        Returns whether the results of a row were written before.
    write : callable
        Gets the number of a row, its results and its counts.
    stop : callable, optional
        See `samgeo.segmentation.execution.tasks.run_ordered`.

    Raises
    ------
    StoppedError
        If ``stop`` returned true.
    """
    homes = [homes_of(one, job.lattice) for one in job.objects[:1] if job.is_one_layer] or [
        homes_of(one, job.lattice) for one in job.objects
    ]
    homes = homes * 2 if len(homes) == 1 else homes
    pending: deque[_Strip] = deque()

    def tasks() -> Iterator[NDArray[np.object_]]:
        for number in range(job.lattice.rows):
            if is_done(number):
                bar.update()
                continue
            strip = _strip(job, number, homes)
            pending.append(strip)
            for rows in strip.tasks:
                yield strip.row.geometry_px[rows]

    found: deque[Measured] = deque()

    def finish() -> None:
        while pending and len(found) >= len(pending[0].tasks):
            strip = pending.popleft()
            angle = np.full(len(strip.row.geometry_px), np.nan)
            reason = np.full(len(angle), None, dtype=object)
            for rows in strip.tasks:
                measured = found.popleft()
                angle[rows], reason[rows] = measured.angle, measured.reason
            write(strip.number, *to_table(strip.row, Measured(angle, reason), min_angle=job.min_angle, trusted=job.trusted))
            bar.update()

    shared = (job.before, job.after, job.model, _Shared(job.lattice, job.stores, job.cache_bytes))
    with (
        progress_bar(job.lattice.rows, "row", "comparing", progress=job.progress) as bar,
        limited_block_cache(job.cache_bytes),
    ):
        for measured in run_ordered(measure, shared, tasks(), scheduler=job.scheduler, workers=job.workers, stop=stop):
            found.append(measured)
            finish()
        finish()
    if pending or (stop is not None and stop() and not all(map(is_done, range(job.lattice.rows)))):
        raise StoppedError("the comparison was asked to stop; finished rows are kept. Run the same call again to continue.")


def homes_of(objects: Candidates, lattice: Lattice) -> NDArray[np.int64]:
    """Return the row and column of the window that shows the most context around each object, shape (N, 2)."""
    height, width = lattice.shape
    boxes = np.clip(objects.bounds_px, 0, (width, height, width, height))
    return np.array([windows_of(lattice, tuple(box))[0] for box in boxes.tolist()], dtype=np.int64).reshape(-1, 2)


def _strip(job: Comparison, number: int, homes: list[NDArray[np.int64]]) -> _Strip:
    """Return the objects of a row of windows: those of the second date, and those of the first that have no partner."""
    first, second = job.objects
    mine = [np.flatnonzero(home[:, 0] == number) for home in homes]
    if job.is_one_layer:
        rows_of = (mine[0][:0], mine[0])
        partner, iou = mine[0], np.ones(len(mine[0]))
    else:
        rows_of, partner, iou = _matched(job, mine)
    geometry = np.concatenate([first.geometries(rows_of[0]), second.geometries(rows_of[1])])
    geometry_px, _ = in_pixels(geometry, first.geobox)
    count = len(rows_of[0])
    partners = np.full(len(geometry), -1, dtype=np.int64)
    partners[count:] = partner
    columns = np.concatenate([homes[0][rows_of[0], 1], homes[1][rows_of[1], 1]])
    row = Row(
        geobox=first.geobox,
        geometry=geometry,
        geometry_px=geometry_px,
        is_first=np.arange(len(geometry)) < count,
        ids=np.concatenate([first.ids[rows_of[0]], second.ids[rows_of[1]]]),
        partner_ids=np.where(partners >= 0, first.ids[partners] if len(first) else -1, -1),
        partner=first.geometries(partners[partners >= 0]),
        iou=np.concatenate([np.full(count, np.nan), iou]),
        classes=None
        if first.classes is None or second.classes is None
        else np.concatenate([first.classes[rows_of[0]], second.classes[rows_of[1]]]),
    )
    tasks = tuple(np.flatnonzero(columns == column) for column in np.unique(columns))
    return _Strip(number, row, tasks)


def _matched(
    job: Comparison, mine: list[NDArray[np.int64]]
) -> tuple[tuple[NDArray[np.int64], NDArray[np.int64]], NDArray[np.int64], NDArray[np.float64]]:
    """Match the objects of a row of windows with those of the other date, wherever these are.

    Returns
    -------
    rows : (ndarray, ndarray)
        Objects of the first date without a partner, and all of the second.
    partner : ndarray
        The row of the partner, in the first date, of each of the second; -1 for none.
    iou : ndarray
        IoU with the partner.
    """
    first, second = job.objects
    # Whether two objects are partners depends on all objects that touch one of them.
    near_second = np.union1d(mine[1], second.near(first.bounds_px[mine[0]]))
    near_first = np.union1d(mine[0], first.near(second.bounds_px[near_second]))
    near_second = np.union1d(near_second, second.near(first.bounds_px[near_first]))
    shapes = [in_pixels(one.geometries(rows), one.geobox)[0] for one, rows in ((first, near_first), (second, near_second))]
    found = match(shapes[0], shapes[1], min_iou=MIN_IOU)
    lonely = mine[0][found.of_first[np.searchsorted(near_first, mine[0])] < 0]
    places = np.searchsorted(near_second, mine[1])
    of_second = found.of_second[places]
    partner = np.where(of_second >= 0, near_first[of_second] if len(near_first) else -1, -1)
    return (lonely, mine[1]), partner, found.iou[places]


def measure(
    before: Raster, after: Raster, model: Segmenter | ModelReference, shared: _Shared, polygons_px: NDArray[np.object_]
) -> Measured:
    """Measure how much two dates differ inside polygons; the work of one task."""
    limit_worker_block_cache(shared.cache_bytes)
    fault = ""
    for _ in range(ATTEMPTS):
        try:
            return _measure((before, after), load_referenced(model), shared, polygons_px)
        except FAULTS as error:
            fault = describe_fault(error)
            release_gpu_memory()
    count = len(polygons_px)
    return Measured(np.full(count, np.nan), np.full(count, f"{FAILED} {ATTEMPTS} times: {fault}", dtype=object))


def _measure(rasters: tuple[Raster, Raster], model: Segmenter, shared: _Shared, polygons_px: NDArray[np.object_]) -> Measured:
    reason = np.full(len(polygons_px), None, dtype=object)
    zoom = model.input_size / shared.lattice.window
    reason[shapely.area(polygons_px) * zoom**2 < LEAST_PX] = TOO_SMALL
    vectors = []
    for name, raster, store in zip(("before", "after"), rasters, shared.stores, strict=True):
        vectors.append(object_vectors(raster, polygons_px, model, shared.lattice, store))
        reason[known_shares(raster, polygons_px) < LEAST_KNOWN] = f"no data {name}"
    angle = angles_between(*vectors)
    has_reason = np.array([one is not None for one in reason], dtype=bool)
    reason[np.isnan(angle) & ~has_reason] = "no features"
    angle[has_reason] = np.nan
    return Measured(angle, reason)


def known_shares(raster: Raster, polygons_px: NDArray[np.object_]) -> NDArray[np.float64]:
    """Return which share of each polygon has data, from a view of the raster around all of them."""
    height, width = raster.shape
    bounds = shapely.bounds(polygons_px)
    low, high = np.floor(bounds[:, :2].min(axis=0)).astype(int), np.ceil(bounds[:, 2:].max(axis=0)).astype(int)
    rect = Rect(int(low[0]), int(low[1]), int(high[0]), int(high[1])) & Rect(0, 0, width, height)
    if rect.is_empty:
        return np.zeros(len(polygons_px))
    _, valid = raster.view(VIEW_PX, rect)
    if valid.all():
        return np.ones(len(polygons_px))
    side = np.array([rect.width / valid.shape[1], rect.height / valid.shape[0]])
    shares = np.zeros(len(polygons_px))
    for number, polygon in enumerate(polygons_px):
        # The centres of the pixels of the view in the polygon; of a polygon without any, the pixel under a point of it.
        corners = (np.array(shapely.bounds(polygon)).reshape(2, 2) - (rect.x0, rect.y0)) / side
        first = np.clip(np.floor(corners[0]).astype(int), 0, np.array(valid.shape[::-1]) - 1)
        last = np.clip(np.ceil(corners[1]).astype(int), first + 1, valid.shape[::-1])
        x, y = np.meshgrid(np.arange(first[0], last[0]), np.arange(first[1], last[1]))
        inside = shapely.contains_xy(polygon, (x + 0.5) * side[0] + rect.x0, (y + 0.5) * side[1] + rect.y0)
        if not inside.any():
            inside[inside.shape[0] // 2, inside.shape[1] // 2] = True
        shares[number] = valid[y[inside], x[inside]].mean()
    return shares
