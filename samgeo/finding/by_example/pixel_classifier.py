"""A logistic regression of feature vectors, which is trained on the cells inside and around outlines of examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import rasterize
from scipy import ndimage
from scipy.special import expit

__all__ = ["COVERED", "PixelClassifier", "WindowCells", "covered_shares", "usable_cells", "valid_cells"]

# A cell belongs to an outline if the outline covers more than this share of it.
COVERED = 0.6
# Width of the ring of cells around an example that are not of its kind.
RING = 5
# Cells near an edge of the window, beyond which the raster continues, have less context.
EDGE = 4
# Inverse of the strength of the L2 penalty; standardised features.
REGULARISATION = 0.01
LEAST_DEVIATION = 1e-3
NEWTON_STEPS, NEWTON_TOLERANCE = 30, 1e-8
# Feature vectors of one class that are used for training at most. More would not change the classifier.
MOST_CELLS = 40_000


@dataclass(frozen=True, slots=True, eq=False)
class PixelClassifier:
    """Logistic regression of the feature vectors of cells.

    Attributes
    ----------
    weights : ndarray of float32, shape (C,)
        Weight of each channel, which is not standardised.
    bias : float
        Logit of a vector of zeros.
    """

    weights: NDArray[np.float32]
    bias: float

    @classmethod
    def fit(cls, positive: NDArray[np.float32], negative: NDArray[np.float32]) -> PixelClassifier:
        """Train a classifier with an L2 penalty and equal total weights of both classes.

        Parameters
        ----------
        positive, negative : ndarray of float32, shape (N, C) and (M, C)
            Feature vectors; at least one of each.

        Returns
        -------
        PixelClassifier
        """
        values = np.concatenate([positive, negative]).astype(np.float64)
        middle, deviation = values.mean(0), values.std(0) + LEAST_DEVIATION
        inputs = np.concatenate([(values - middle) / deviation, np.ones((len(values), 1))], axis=1)
        truth = np.repeat([1.0, 0.0], [len(positive), len(negative)])
        each = np.repeat([len(values) / 2 / len(positive), len(values) / 2 / len(negative)], [len(positive), len(negative)])
        penalty = np.append(np.ones(values.shape[1]), 0.0)
        solved = _newton(inputs, truth, each * REGULARISATION, penalty)
        weights = solved[:-1] / deviation
        return cls(weights.astype(np.float32), float(solved[-1] - middle @ weights))

    @classmethod
    def of_windows(cls, windows: Sequence[WindowCells]) -> PixelClassifier | None:
        """Train a classifier on the examples of some windows; return None if they have no cells of one of the two classes."""
        inside = _thinned([part for window in windows for part in window.inside])
        around = _thinned([part for window in windows for part in (*window.around, window.rejected)])
        return cls.fit(inside, around) if len(inside) and len(around) else None

    def probability(self, features: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probability of each feature vector, shape (...), of features of shape (..., C)."""
        return np.asarray(expit(features @ self.weights + np.float32(self.bias)), dtype=np.float32)


def _thinned(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join feature vectors, and leave out some of them evenly if they are many."""
    count = sum(map(len, parts))
    step = -(-count // MOST_CELLS)
    return np.concatenate([part[::step] for part in parts]) if count else np.empty((0, 0), np.float32)


def _newton(
    inputs: NDArray[np.float64], truth: NDArray[np.float64], each: NDArray[np.float64], penalty: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Minimise the weighted logistic loss plus half of the penalised squares, by Newton's method with halved steps."""

    def loss(at: NDArray[np.float64]) -> float:
        logits = inputs @ at
        return float(each @ (np.logaddexp(0, logits) - truth * logits) + (penalty * at * at).sum() / 2)

    at = np.zeros(inputs.shape[1])
    now = loss(at)
    for _ in range(NEWTON_STEPS):
        chance = expit(inputs @ at)
        gradient = inputs.T @ (each * (chance - truth)) + penalty * at
        curvature = (inputs * (each * chance * (1 - chance))[:, None]).T @ inputs + np.diag(penalty + 1e-10)
        step = np.linalg.solve(curvature, gradient)
        share = 1.0
        while (after := loss(at - share * step)) > now and share > 1 / 64:
            share /= 2
        if after > now:
            break
        at, before, now = at - share * step, now, after
        if before - now < NEWTON_TOLERANCE * max(abs(now), 1.0):
            break
    return at


@dataclass(frozen=True, slots=True, eq=False)
class WindowCells:
    """The feature vectors of one window that examples use.

    Attributes
    ----------
    inside : list of ndarray of float32, shape (n, C)
        Feature vectors inside each accepted example.
    around : list of ndarray of float32, shape (m, C)
        Feature vectors in the ring around each accepted example.
    rejected : ndarray of float32, shape (r, C)
        Feature vectors inside rejected examples.
    """

    inside: list[NDArray[np.float32]]
    around: list[NDArray[np.float32]]
    rejected: NDArray[np.float32]

    @classmethod
    def of(
        cls,
        features: NDArray[np.float32],
        usable: NDArray[np.bool_],
        accepted: Sequence[NDArray[np.float32]],
        others: Sequence[NDArray[np.float32]],
        rejected: Sequence[NDArray[np.float32]],
    ) -> WindowCells:
        """Select the feature vectors of a window.

        Parameters
        ----------
        features : ndarray of float32, shape (g, g, C)
            Of the window.
        usable : ndarray of bool, shape (g, g)
            Cells that have data and are not at an edge of the window.
        accepted : sequence of ndarray, shape (g, g)
            Covered shares of the cells by the accepted examples that are read in this window.
        others : sequence of ndarray, shape (g, g)
            Covered shares by accepted examples that reach into the window, and are read in another one.
        rejected : sequence of ndarray, shape (g, g)
            Covered shares by rejected examples that are read in this window.
        """
        taken = np.zeros(usable.shape, dtype=bool)
        for share in (*accepted, *others):
            taken |= share > 0
        inside, around = [], []
        for share in accepted:
            own = _own_cells(share, usable)
            ring = ndimage.binary_dilation(share > 0, iterations=RING) & ~taken & usable
            inside.append(features[own])
            around.append(features[ring])
        refused = np.zeros(usable.shape, dtype=bool)
        for share in rejected:
            refused |= _own_cells(share, usable)
        return cls(inside, around, features[refused & ~taken])


def _own_cells(share: NDArray[np.float32], usable: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells that belong to an outline; for an outline that is smaller than a cell, the one it covers most."""
    own = (share > COVERED) & usable
    if own.any() or not (share > 0).any():
        return own
    return np.asarray((share >= share.max()) & usable)


def covered_shares(outline_px: shapely.Geometry, grid: int, stride: int) -> NDArray[np.float32]:
    """Return the share of each cell that an outline covers, in pixels of the model's input, shape (grid, grid)."""
    side = grid * stride
    drawn = rasterize([(outline_px, 1)], out_shape=(side, side), dtype=np.uint8)
    return np.asarray(drawn.reshape(grid, stride, grid, stride).mean((1, 3)), dtype=np.float32)


def valid_cells(valid: NDArray[np.bool_], grid: int) -> NDArray[np.bool_]:
    """Return the cells of a window whose centres have data, shape (grid, grid)."""
    at = ((np.arange(grid) + 0.5) * len(valid) / grid).astype(np.int64)
    return valid[np.ix_(at, at)]


def usable_cells(valid: NDArray[np.bool_], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the cells with data whose neighbours have data, without those near an edge beyond which the raster continues.

    Parameters
    ----------
    valid : ndarray of bool, shape (g, g)
        Cells with data.
    known : ndarray of bool, shape (4,)
        Whether the raster continues beyond the top, bottom, left and right edge of the window.
    """
    usable = np.asarray(ndimage.binary_erosion(valid, border_value=1))
    for beyond, part in zip(known, (usable[:EDGE], usable[-EDGE:], usable[:, :EDGE], usable[:, -EDGE:]), strict=True):
        part[:] &= not beyond
    return usable
