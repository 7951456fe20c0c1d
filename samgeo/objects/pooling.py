"""Pooling of a model's embedding inside polygons and in rings around them, and of the pixels inside polygons."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage

from samgeo.errors import ModelError
from samgeo.geo.grid import Lattice, Rect
from samgeo.models.protocols import Describing
from samgeo.progress import counting, progress_bar
from samgeo.segmentation.prompts.assignment import Index, windows_of
from samgeo.segmentation.windows.embedding import WindowImage, embed, read_window

if TYPE_CHECKING:
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = ["PARTS", "check_describing", "pool", "pool_pixels"]

PARTS = ("mean", "std", "ring")
"""Statistics of each channel: mean and standard deviation inside a polygon, and the mean in a ring around it."""

# Each cell of the feature map is divided into 4 x 4 samples, to measure which fraction of it a polygon covers.
SAMPLES = 4

# The width of the ring is this fraction of the square root of the polygon's area, and at least this many cells.
RING_SHARE, RING_CELLS = 0.3, 2.0

# Variances of 8-bit values that are smaller than this are rounding errors.
LEAST_VARIANCE = 1e-6


def pool(
    raster: Raster,
    polygons_px: NDArray[np.object_],
    model: Segmenter,
    lattice: Lattice,
    *,
    store: EmbeddingStore | None = None,
    progress: bool = False,
) -> NDArray[np.float32]:
    """Pool a model's features inside polygons and in a ring around each polygon.

    A polygon is pooled in the window with the most context around it. A polygon that fits into no window is pooled in all
    windows that are responsible for it. Each cell of the feature map is weighted by the fraction of it that the polygon
    covers, so that objects smaller than a cell are described too. Each window is encoded once, or its embedding is read from
    the store.

    Parameters
    ----------
    raster : Raster
        The image.
    polygons_px : ndarray of shapely geometries, shape (N,)
        Valid polygons in raster pixels.
    model : Segmenter
        A model with the method ``features``; see `samgeo.models.protocols.Describing`.
    lattice : Lattice
        The windows.
    store : EmbeddingStore, optional
        Store from which embeddings are read, and to which new ones are written.
    progress : bool, default False
        Whether to show a progress bar on standard error.

    Returns
    -------
    ndarray of float32, shape (N, 3, C)
        Statistics in the order of ``PARTS``; NaN for polygons that do not touch the raster's data.

    Raises
    ------
    ModelError
        If the model has no ``features``.
    RasterError
        If a window cannot be read.
    """
    check_describing(model)
    sums: _Sums | None = None
    jobs = _jobs(polygons_px, lattice)
    for index in _in_order(jobs, "describing", progress):
        window = read_window(raster, lattice, index)
        if not window.valid.any():
            continue
        cells = np.asarray(model.features(embed(model, window, store)), dtype=np.float32)  # type: ignore[attr-defined]
        if sums is None:
            sums = _Sums.of(len(polygons_px), cells.shape[-1])
        for row in jobs[index]:
            for which, (frame, weight) in enumerate(_weights(polygons_px[row], window, cells.shape[0])):
                sums.add(row, which, cells[frame], weight)
    return np.full((len(polygons_px), len(PARTS), 0), np.nan, dtype=np.float32) if sums is None else sums.result()


def pool_pixels(
    raster: Raster, polygons_px: NDArray[np.object_], lattice: Lattice, *, progress: bool = False
) -> NDArray[np.float64]:
    """Return the mean and the standard deviation of each band inside polygons.

    The pixels are those whose centres lie in the polygon; if there is none, those that the polygon touches.

    Parameters
    ----------
    raster : Raster
        The image, whose values are 8-bit after the stretch.
    polygons_px : ndarray of shapely geometries, shape (N,)
        Valid polygons in raster pixels.
    lattice : Lattice
        The windows in which the raster is read. A polygon that fits into no window is read in several.
    progress : bool, default False
        Whether to show a progress bar on standard error.

    Returns
    -------
    ndarray of float64, shape (N, 2, 3)
        Means and standard deviations, from 0 to 1; NaN for polygons without a pixel with data.

    Raises
    ------
    RasterError
        If a window cannot be read.
    """
    count = np.zeros((len(polygons_px), 1))
    first, second = np.zeros((2, len(polygons_px), 3))
    jobs = _jobs(polygons_px, lattice)
    for index in _in_order(jobs, "reading colours", progress):
        window = read_window(raster, lattice, index)
        if not window.valid.any():
            continue
        for row in jobs[index]:
            frame, drawn = _pixels_in(polygons_px[row], window)
            values = window.image[frame][drawn & window.valid[frame]].astype(np.float64)
            count[row] += len(values)
            first[row] += values.sum(axis=0)
            second[row] += (values**2).sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = first / count
        variance = second / count - mean**2
    # The variance of equal pixels is 0, and not what rounding leaves.
    variance[variance < LEAST_VARIANCE] = 0
    return np.stack([mean, np.sqrt(variance)], axis=1) / 255


def _pixels_in(polygon: shapely.Geometry, window: WindowImage) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
    """Return a frame of a window's pixels, and which pixels of it a polygon covers."""
    side = len(window.image)
    bounds = np.array(shapely.bounds(polygon)) - np.tile((window.rect.x0, window.rect.y0), 2)
    x0, y0 = np.clip(np.floor(bounds[:2]).astype(int), 0, side)
    x1, y1 = np.clip(np.ceil(bounds[2:]).astype(int), 0, side)
    frame = Rect(int(x0), int(y0), int(x1), int(y1))
    if not (frame.height > 0 and frame.width > 0):
        return (slice(0, 0), slice(0, 0)), np.zeros((0, 0), dtype=bool)
    cells = slice(frame.y0, frame.y1), slice(frame.x0, frame.x1)
    return cells, _burnt(polygon, frame.shape, window.rect.x0 + frame.x0, window.rect.y0 + frame.y0, 1.0)


def check_describing(model: Segmenter) -> None:
    """Raise a `ModelError` unless a model has ``features``."""
    if not isinstance(model, Describing):
        raise ModelError(
            f"the model {model.name!r} cannot describe objects: {type(model).__name__} has no method features (see "
            "samgeo.models.protocols.Describing); add it, or use only the shape with embedding=False."
        )


def _in_order(jobs: dict[Index, list[int]], what: str, progress: bool) -> Iterator[Index]:
    """Yield the windows, with a progress bar.

    Neighbouring windows share blocks of files and of the store, so that reading them in order uses the caches.
    """
    with progress_bar(len(jobs), "window", what, progress=progress) as bar:
        yield from counting(sorted(jobs), bar.update)


def _jobs(polygons_px: NDArray[np.object_], lattice: Lattice) -> dict[Index, list[int]]:
    """Return the rows of the polygons that are pooled in each window."""
    height, width = lattice.shape
    bounds = shapely.bounds(polygons_px)
    low, high = np.maximum(bounds[:, :2], 0), np.minimum(bounds[:, 2:], (width, height))
    jobs: dict[Index, list[int]] = defaultdict(list)
    for row in np.flatnonzero((low < high).all(axis=1)):  # Empty geometries have bounds of NaN, which compare as false.
        for index in windows_of(lattice, (*low[row].tolist(), *high[row].tolist())):
            jobs[index].append(int(row))
    return jobs


def _weights(
    polygon: shapely.Geometry, window: WindowImage, side: int
) -> Iterator[tuple[tuple[slice, slice], NDArray[np.float32]]]:
    """Yield the cells and their weights for the inside of a polygon, and then for the ring around it."""
    cell = window.rect.width / side
    ring = max(RING_SHARE * float(np.sqrt(shapely.area(polygon))), RING_CELLS * cell)
    bounds = np.array(shapely.bounds(polygon)) - np.tile((window.rect.x0, window.rect.y0), 2)
    x0, y0 = np.clip(np.floor((bounds[:2] - ring) / cell).astype(int), 0, side)
    x1, y1 = np.clip(np.ceil((bounds[2:] + ring) / cell).astype(int), 0, side)
    if x0 >= x1 or y0 >= y1:
        return
    frame = Rect(int(x0), int(y0), int(x1), int(y1))
    known = _known(window, frame, cell)
    inside = _drawn(polygon, window, frame, cell)
    # A distance transform finds the ring, because buffering an outline along pixel edges would take a hundred times as long.
    around = ndimage.distance_transform_edt(~inside) <= ring / cell * SAMPLES if inside.any() else inside
    cells = slice(frame.y0, frame.y1), slice(frame.x0, frame.x1)
    for part in (inside & known, around & ~inside & known):
        yield cells, part.reshape(frame.height, SAMPLES, frame.width, SAMPLES).mean(axis=(1, 3), dtype=np.float32)


def _drawn(polygon: shapely.Geometry, window: WindowImage, frame: Rect, cell: float) -> NDArray[np.bool_]:
    """Draw a polygon at the samples of some cells. If it contains no sample, draw all samples that it touches."""
    shape = (frame.height * SAMPLES, frame.width * SAMPLES)
    return _burnt(polygon, shape, window.rect.x0 + frame.x0 * cell, window.rect.y0 + frame.y0 * cell, cell / SAMPLES)


def _burnt(polygon: shapely.Geometry, shape: tuple[int, int], x: float, y: float, step: float) -> NDArray[np.bool_]:
    """Return which samples a polygon covers; those that it touches if it covers none."""
    transform = Affine(step, 0, x, 0, step, y)
    if transform.is_identity:  # rasterio warns of it, so that all is drawn one pixel further to the right
        transform, polygon = Affine.translation(1, 0), shapely.transform(polygon, lambda xy: xy + np.array([1.0, 0.0]))
    drawn = rasterize([(polygon, 1)], out_shape=shape, transform=transform, dtype="uint8")
    if not drawn.any():
        drawn = rasterize([(polygon, 1)], out_shape=shape, transform=transform, dtype="uint8", all_touched=True)
    return np.asarray(drawn, dtype=bool)


def _known(window: WindowImage, frame: Rect, cell: float) -> NDArray[np.bool_]:
    """Return which samples of some cells have data."""
    rows, columns = (
        ((np.arange(low * SAMPLES, high * SAMPLES) + 0.5) * cell / SAMPLES).astype(int)
        for low, high in ((frame.y0, frame.y1), (frame.x0, frame.x1))
    )
    return np.asarray(window.valid[np.ix_(rows, columns)])


@dataclass(frozen=True, slots=True, eq=False)
class _Sums:
    """Weighted sums of the features of N polygons over their windows. The first axis has the inside at 0 and the ring at 1."""

    weight: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]

    @classmethod
    def of(cls, count: int, channels: int) -> _Sums:
        shape = (2, count, channels)
        return cls(np.zeros(shape[:2]), np.zeros(shape), np.zeros(shape[1:]))

    def add(self, row: int, which: int, cells: NDArray[np.float32], weight: NDArray[np.float32]) -> None:
        taken = weight > 0
        values, weights = cells[taken], weight[taken]
        if not len(values):
            return
        self.weight[which, row] += weights.sum(dtype=np.float64)
        self.first[which, row] += weights @ values
        if which == 0:
            self.second[row] += weights @ values**2

    def result(self) -> NDArray[np.float32]:
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, ring = self.first / self.weight[..., None]
            std = np.sqrt(np.maximum(self.second / self.weight[0][:, None] - mean**2, 0))
        # A polygon that fills the whole raster has no ring; its ring then gets the mean of the inside.
        ring = np.where(np.isnan(ring), mean, ring)
        return np.stack([mean, std, ring], axis=1).astype(np.float32)
