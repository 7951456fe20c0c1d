"""Vectors that describe what an image shows inside polygons, and the angles between those of two dates."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from samgeo.models.protocols import Strided
from samgeo.objects.pooling import PARTS, pool

if TYPE_CHECKING:
    from samgeo.geo.grid import Lattice
    from samgeo.geo.raster.raster import Raster
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.store import EmbeddingStore

__all__ = ["angles_between", "compared_channels", "object_vectors", "vectors_of"]

# Features with this stride are compared, if the model says which of its features have it: of the strides of the bundled model,
# they change least with light and season.
STRIDE = 8
# What is subtracted from the mean inside a polygon: this share of the mean around it. So light and haze, which change both,
# matter less, and a change around an unchanged object still matters little.
RING_SHARE = 0.5


def compared_channels(model: Segmenter) -> slice:
    """Return the channels of a model's features that are compared: those of stride 8 if it has them, else all."""
    return model.channels_by_stride.get(STRIDE, slice(None)) if isinstance(model, Strided) else slice(None)


def vectors_of(pooled: NDArray[np.float32], model: Segmenter) -> NDArray[np.float64]:
    """Return vectors of shape (N, D) from the statistics of `samgeo.objects.pooling.pool`, of shape (N, 3, C).

    A vector is the mean inside the polygon minus half the mean in the ring around it.
    """
    chosen = pooled[:, :, compared_channels(model)].astype(np.float64)
    return np.asarray(chosen[:, PARTS.index("mean")] - RING_SHARE * chosen[:, PARTS.index("ring")])


def object_vectors(
    raster: Raster,
    polygons_px: NDArray[np.object_],
    model: Segmenter,
    lattice: Lattice,
    store: EmbeddingStore | None = None,
) -> NDArray[np.float64]:
    """Return a vector for each polygon that says what a raster shows in it; rows of NaN where it has no data.

    See `samgeo.objects.pooling.pool` for the parameters and errors.
    """
    pooled = pool(raster, polygons_px, model, lattice, store=store)
    if pooled.shape[2] == 0:  # no polygon touches data
        return np.full((len(polygons_px), 1), np.nan)
    return vectors_of(pooled, model)


def angles_between(first: NDArray[np.float64], second: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the angle between each pair of vectors, in degrees from 0 to 180.

    Parameters
    ----------
    first, second : ndarray, shape (N, D)
        Vectors of the same polygons at two dates. If the second dimensions differ, nothing is known of one of the dates.

    Returns
    -------
    ndarray of float64, shape (N,)
        NaN where a vector is not known. Equal vectors have an angle of 0, also if they are zero.
    """
    if first.shape != second.shape:
        return np.full(len(first), np.nan)
    unit = []
    for vectors in (first, second):
        length = np.linalg.norm(vectors, axis=1, keepdims=True)
        unit.append(np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0))
    # The chord has all digits of small angles, of which the cosine has only half.
    half = np.linalg.norm(unit[0] - unit[1], axis=1) / 2
    angle = np.degrees(2 * np.arcsin(np.clip(half, 0, 1)))
    return np.where(np.isfinite(first).all(axis=1) & np.isfinite(second).all(axis=1), angle, np.nan)
