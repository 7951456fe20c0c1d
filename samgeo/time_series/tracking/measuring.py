"""What the images of a series show: a vector for each object of a date, and whether places have data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import shapely
from numpy.typing import NDArray

from samgeo.errors import StoppedError
from samgeo.geo.coordinates.overlay import in_pixels
from samgeo.geo.raster.sources.block_cache import limit_worker_block_cache, limited_block_cache
from samgeo.progress import progress_bar
from samgeo.segmentation.execution.tasks import run_ordered
from samgeo.segmentation.windows.failures import ATTEMPTS, FAULTS, describe_fault, release_gpu_memory
from samgeo.segmentation.windows.worker import load_referenced
from samgeo.time_series.comparison import LEAST_KNOWN, LEAST_PX, VIEW_PX, homes_of, known_shares
from samgeo.time_series.features import object_vectors

if TYPE_CHECKING:
    from distributed import Client

    from samgeo.geo.grid import Lattice
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.store import EmbeddingStore
    from samgeo.segmentation.windows.worker import ModelReference
    from samgeo.time_series.candidates import Candidates

__all__ = ["Description", "describe_objects", "have_data"]


@dataclass(frozen=True, slots=True, eq=False)
class Description:
    """How the objects of a date are described.

    Attributes
    ----------
    model : Segmenter or ModelReference
        The model as it is sent to workers.
    lattice : Lattice
        The windows in which features are pooled.
    store : EmbeddingStore or None
        Embeddings of the date.
    cache_bytes : int
        Memory in which GDAL may keep blocks of the raster.
    scheduler, workers, progress
        See `samgeo.segment`.
    """

    model: Segmenter | ModelReference
    lattice: Lattice
    store: EmbeddingStore | None
    cache_bytes: int
    scheduler: str | Client | None = None
    workers: int | None = None
    progress: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class _Shared:
    """What a worker needs besides the raster and the model."""

    lattice: Lattice
    store: EmbeddingStore | None
    cache_bytes: int


def describe_objects(
    raster: Raster, objects: Candidates, how: Description, path: Path, *, title: str, stop: Callable[[], bool] | None = None
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Describe the objects of a date by what the raster shows in them, window by window.

    Parameters
    ----------
    raster : Raster
        The raster of the date.
    objects : Candidates
        The objects.
    how : Description
        The model and its windows.
    path : Path
        A ``.npy`` file for the vectors, which are not kept in memory.
    title : str
        Name of the date, for messages.
    stop : callable, optional
        See `samgeo.segmentation.execution.tasks.run_ordered`.

    Returns
    -------
    vectors : ndarray of float32, shape (N, D)
        In the file. NaN for objects that the raster does not show, that are too small, or whose window failed.
    failures : tuple of str
        Windows that failed: which, and why.

    Raises
    ------
    StoppedError
        If ``stop`` returned true.
    """
    if not len(objects):
        nothing = np.empty((0, 1), dtype=np.float32)
        np.save(path, nothing)
        return nothing, ()
    homes = homes_of(objects, how.lattice)
    windows, number = np.unique(homes, axis=0, return_inverse=True)
    order = np.argsort(number.ravel(), kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(number.ravel(), minlength=len(windows)))[:-1])

    def tasks() -> Iterator[NDArray[np.object_]]:
        for rows in groups:
            yield in_pixels(objects.geometries(rows.astype(np.int64)), objects.geobox)[0]

    vectors: np.memmap[tuple[int, int], np.dtype[np.float32]] | None = None
    failures: list[str] = []
    finished = 0
    shared = (raster, how.model, _Shared(how.lattice, how.store, how.cache_bytes))
    with (
        progress_bar(len(groups), "window", title, progress=how.progress) as bar,
        limited_block_cache(how.cache_bytes),
    ):
        for found in run_ordered(_measure, shared, tasks(), scheduler=how.scheduler, workers=how.workers, stop=stop):
            if isinstance(found, str):
                row, column = windows[finished].tolist()
                failures.append(f"window at row {row}, column {column}: {found}")
            elif found.shape[1] > 0:
                if vectors is None:
                    vectors = _new_file(path, (len(objects), found.shape[1]))
                vectors[groups[finished]] = found
            finished += 1
            bar.update()
    if finished < len(groups):
        raise StoppedError("the run was asked to stop; finished dates are kept. Run the same call again to continue.")
    if vectors is None:
        vectors = _new_file(path, (len(objects), 1))
    vectors.flush()
    return vectors, tuple(failures)


def _new_file(path: Path, shape: tuple[int, int]) -> np.memmap[tuple[int, int], np.dtype[np.float32]]:
    """Return an array of NaN in a file."""
    vectors = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=shape)
    vectors[:] = np.nan
    return vectors


def _measure(
    raster: Raster, model: Segmenter | ModelReference, shared: _Shared, polygons_px: NDArray[np.object_]
) -> NDArray[np.float32] | str:
    """Return the vectors of some polygons, with no columns if the raster shows none of them; or why this failed."""
    limit_worker_block_cache(shared.cache_bytes)
    fault = ""
    for _ in range(ATTEMPTS):
        try:
            loaded = load_referenced(model)
            vectors = object_vectors(raster, polygons_px, loaded, shared.lattice, shared.store)
            if np.isnan(vectors).all():
                return np.empty((len(polygons_px), 0), dtype=np.float32)
            zoom = loaded.input_size / shared.lattice.window
            vectors[shapely.area(polygons_px) * zoom**2 < LEAST_PX] = np.nan
            vectors[known_shares(raster, polygons_px) < LEAST_KNOWN] = np.nan
            return vectors.astype(np.float32)
        except FAULTS as error:
            fault = describe_fault(error)
            release_gpu_memory()
    return f"failed {ATTEMPTS} times: {fault}"


def have_data(raster: Raster, polygons_px: Sequence[shapely.Geometry] | NDArray[np.object_]) -> NDArray[np.bool_]:
    """Return whether a raster has data in at least half of each polygon.

    Neighbouring polygons are looked at together, so that the cost does not depend on where they lie.
    """
    polygons = np.asarray(polygons_px, dtype=object)
    result = np.zeros(len(polygons), dtype=bool)
    if not len(polygons):
        return result
    height, width = raster.shape
    bounds = shapely.bounds(polygons)
    centre = np.clip((bounds[:, :2] + bounds[:, 2:]) / 2, 0, (width - 1, height - 1)) // VIEW_PX
    _, group = np.unique(centre, axis=0, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(group.ravel()[order])) + 1):
        result[rows] = known_shares(raster, polygons[rows]) >= LEAST_KNOWN
    return result
