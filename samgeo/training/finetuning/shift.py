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
from samgeo.training.finetuning.split import Split

__all__ = ["Shift", "find_shift"]

# Shifts up to this many pixels are looked for, and smaller ones than this are ignored.
REACH_PX, LEAST_PX = 32, 4
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
        How much the mean edge strength under the held-out outlines grows, in standard deviations of their surroundings.
    """

    x: int
    y: int
    gain: float


def find_shift(raster: Raster, outlines: Outlines, split: Split, seed: int) -> Shift | None:
    """Return the shift of outlines against an image, or None if they are not shifted, or if it cannot be known.

    The strength of edges is the magnitude of the gradient of the grey image, smoothed by a Gaussian of 1 pixel, less its mean,
    and divided by its standard deviation in the surroundings of the object. ``s_i(d)`` is its mean under outline ``i`` that is
    moved by ``d``. The shift ``d`` with the highest mean of ``s_i(d)`` is chosen on the outlines for training. It is reported
    if it is 4 pixels or longer, and if on the held-out outlines ``s_i(d) - s_i(0)`` and ``s_i(d) - s_i(-d)`` both have a mean
    above 0.2, and a lower bound above 0, which is the quantile 0.01 of the means of `bootstrap_means`. The second difference is
    near 0 for outlines that are only drawn too large or too small, because these gain in every direction.
    """
    rng = np.random.default_rng([seed, 1])
    maps = [_edge_maps(raster, outlines, _some(part, rng)) for part in (split.trained, split.held_out)]
    trained, held_out = maps
    if not len(trained) or len(held_out) < 2:
        return None
    row, column = np.unravel_index(int(trained.mean(0).argmax()), trained.shape[1:])
    y, x = int(row) - REACH_PX, int(column) - REACH_PX
    if math.hypot(x, y) < LEAST_PX:
        return None
    moved, kept, opposite = (held_out[:, REACH_PX + sign * y, REACH_PX + sign * x] for sign in (1, 0, -1))
    gains = np.stack([moved - kept, moved - opposite])
    low = np.quantile(bootstrap_means(gains, seed), 1 - CONFIDENCE, axis=1)
    is_shifted = low.min() > 0 and gains.mean(1).min() > LEAST_GAIN
    return Shift(x, y, float(gains[0].mean())) if is_shifted else None


def _some(indices: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    if len(indices) <= MOST_OBJECTS:
        return indices
    return np.sort(rng.choice(indices, MOST_OBJECTS, replace=False))


def _edge_maps(raster: Raster, outlines: Outlines, indices: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean edge strength under each moved outline, shape (N, 2 R + 1, 2 R + 1), with the shift as y, x."""
    found = []
    for index in indices.tolist():
        x0, y0, x1, y1 = outlines.bounds[index].tolist()
        inner = Rect(math.floor(x0) - 1, math.floor(y0) - 1, math.ceil(x1) + 1, math.ceil(y1) + 1)
        if max(inner.shape) > LARGEST_PX:
            continue
        mask = draw_outlines(outlines.polygons[index : index + 1], inner) > 0
        ring = mask & ~ndimage.binary_erosion(mask)
        rect = Rect(inner.x0 - REACH_PX, inner.y0 - REACH_PX, inner.x1 + REACH_PX, inner.y1 + REACH_PX)
        pixels, valid = raster.read(rect)
        edges = ndimage.gaussian_gradient_magnitude(pixels.mean(-1), SIGMA_PX)
        known = ndimage.binary_erosion(valid, iterations=3, border_value=1)
        spread = float(edges[known].std()) if known.any() else 0.0
        if not ring.any() or spread == 0:
            continue
        standard = np.where(known, (edges - edges[known].mean()) / spread, 0.0)
        found.append(signal.correlate(standard, ring.astype(np.float64), mode="valid", method="fft") / ring.sum())
    size = 2 * REACH_PX + 1
    return np.asarray(found, dtype=np.float64).reshape(-1, size, size)
