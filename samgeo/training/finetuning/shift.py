"""A check whether all outlines are shifted against the image in the same way.

Held-out outlines that are shifted like the others cannot show that the outlines are wrong: a model that learned to repeat the
error would agree with them. The image itself can: outlines follow edges.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

from samgeo.geo.grid import Rect
from samgeo.geo.raster.raster import Raster
from samgeo.training.finetuning.gate import bootstrap_means
from samgeo.training.finetuning.outlines import Outlines, draw_outlines

__all__ = ["Shift", "find_shift"]

# Shifts up to this many pixels are looked for, and smaller ones than this are ignored.
REACH_PX, LEAST_PX = 32, 4
# Outlines that are drawn larger by these numbers of pixels are tried too.
GROWN_PX = range(-4, 5)
# The shifts of the two halves are the same if they differ by up to this. Real outlines have errors of their own.
SAME_PX = 4
MOST_OBJECTS = 200
LARGEST_PX = 1024
SIGMA_PX = 1.0
CONFIDENCE = 0.99
# Least gain in edge strength, in standard deviations of the edge strength of the surroundings.
LEAST_GAIN = 0.2


@dataclass(frozen=True, slots=True)
class Shift:
    """The shift at which outlines follow the edges of an image best.

    Attributes
    ----------
    x, y : int
        How far the outlines must be moved to the right and down, in pixels.
    gain : float
        How much the mean edge strength under the outlines grows by this, in standard deviations of the surroundings.
    """

    x: int
    y: int
    gain: float


def find_shift(raster: Raster, outlines: Outlines, seed: int) -> Shift | None:
    """Return the shift of outlines against an image, or None if they are not shifted, or if it cannot be known.

    The strength of edges is the magnitude of the gradient of the grey image, smoothed by a Gaussian of 1 pixel, less its mean,
    and divided by its standard deviation in the surroundings of the object. ``s_i(d)`` is its mean under outline ``i`` that is
    moved by ``d``, and ``k_i(r)`` its mean under an outline that is not moved but drawn larger by ``r`` pixels, from -4 to 4.
    The outlines are divided at random into two halves. For each half, the ``d`` and the ``r`` with the highest means are
    chosen, and ``s_i(d) - k_i(r)`` is computed for the outlines of the other half, so that no outline is judged by a shift that
    it helped to choose. If both halves choose the same shift (to 4 pixels), the one with the highest mean of all outlines is
    reported, provided that it is 4 pixels or longer, and the differences have a mean above 0.2, and a lower bound above 0. This
    bound is the quantile 0.01 of the means of `bootstrap_means`. So outlines that are only drawn a little too large or too
    small are not taken for shifted ones.
    """
    order = np.random.default_rng([seed, 1]).permutation(len(outlines.polygons))[:MOST_OBJECTS]
    halves = [_edges(raster, outlines, np.sort(part)) for part in (order[::2], order[1::2])]
    if min(len(half.moved) for half in halves) < 2:
        return None
    chosen, gains = [], []
    for half, other in (halves, halves[::-1]):
        row, column = np.unravel_index(int(half.moved.mean(0).argmax()), half.moved.shape[1:])
        grown = int(half.grown.mean(0).argmax())
        chosen.append((int(column) - REACH_PX, int(row) - REACH_PX))
        gains.append(other.moved[:, row, column] - other.grown[:, grown])
    together = halves[0].moved.sum(0) + halves[1].moved.sum(0)
    row, column = np.unravel_index(int(together.argmax()), together.shape)
    x, y = int(column) - REACH_PX, int(row) - REACH_PX
    every = np.concatenate(gains)
    if math.hypot(x, y) < LEAST_PX or math.dist(*chosen) > SAME_PX:
        return None
    low = float(np.quantile(bootstrap_means(every[None], seed), 1 - CONFIDENCE))
    return Shift(x, y, float(every.mean())) if low > 0 and every.mean() > LEAST_GAIN else None


@dataclass(frozen=True, slots=True, eq=False)
class _Edges:
    """Mean edge strength under the outlines of ``N`` objects.

    ``moved`` has the shape (N, 2 R + 1, 2 R + 1), with the shift as y, x; ``grown`` has the shape (N, len(GROWN_PX)).
    """

    moved: NDArray[np.float64]
    grown: NDArray[np.float64]


def _edges(raster: Raster, outlines: Outlines, indices: NDArray[np.int64]) -> _Edges:
    moved, grown = [], []
    for index in indices.tolist():
        x0, y0, x1, y1 = outlines.bounds[index].tolist()
        inner = Rect(math.floor(x0) - 1, math.floor(y0) - 1, math.ceil(x1) + 1, math.ceil(y1) + 1)
        if max(inner.shape) > LARGEST_PX:
            continue
        rect = Rect(inner.x0 - REACH_PX, inner.y0 - REACH_PX, inner.x1 + REACH_PX, inner.y1 + REACH_PX)
        pixels, valid = raster.read(rect)
        edges = ndimage.gaussian_gradient_magnitude(pixels.mean(-1), SIGMA_PX)
        known = ndimage.binary_erosion(valid, iterations=3, border_value=1)
        spread = float(edges[known].std()) if known.any() else 0.0
        mask = draw_outlines(outlines.polygons[index : index + 1], rect) > 0
        ring = mask & ~ndimage.binary_erosion(mask)
        if not ring.any() or spread == 0:
            continue
        standard = np.where(known, (edges - edges[known].mean()) / spread, 0.0)
        part = ring[inner.slices_in(rect)].astype(np.float64)
        moved.append(signal.correlate(standard, part, mode="valid", method="fft") / part.sum())
        # The distance of pixels outside is positive and begins at 1; that of pixels inside is negative and begins at 0.
        away = ndimage.distance_transform_edt(~mask) - np.maximum(ndimage.distance_transform_edt(mask) - 1, 0)
        bands = [(away > px - 1) & (away <= px) for px in GROWN_PX]
        grown.append([float(standard[band].mean()) if band.any() else float(standard[ring].mean()) for band in bands])
    size = 2 * REACH_PX + 1
    return _Edges(
        np.asarray(moved, dtype=np.float64).reshape(-1, size, size),
        np.asarray(grown, dtype=np.float64).reshape(-1, len(GROWN_PX)),
    )
