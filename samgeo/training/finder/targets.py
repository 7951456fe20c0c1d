"""The maps that a finder's head learns to predict, drawn from the outlines of the objects, and the losses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from samgeo.finding.head import STRIDE, Maps

__all__ = ["BOX_WEIGHT", "Targets", "draw_targets", "head_loss"]

# Objects with fewer pixels than this are too small for a mask and are not learned.
LEAST_PX = 30
# A centre's Gaussian has a standard deviation of this share of the object's sides, and at least this share of a cell.
SPREAD, LEAST_SPREAD = 0.1, 0.45
# Boxes are learned where the Gaussian is above this value.
LEAST_HEAT = 0.2
BOX_WEIGHT, BOUNDARY_WEIGHT = 1.5, 0.5


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """What the head must predict for ``B`` windows with ``K`` classes.

    Attributes
    ----------
    heat : tensor, shape (B, K, h, w)
        For each class, the maximum over its objects of a Gaussian about the centroid; 1 in the cell of the centroid.
    distances : tensor, shape (B, 4, h, w)
        Distances of the cell's centre from the sides of the object's box, in cells.
    weight : tensor, shape (B, h, w)
        Weight of the box of a cell.
    share : tensor, shape (B, K, h, w)
        Share of the cell that is covered by objects of each class.
    boundary : tensor, shape (B, 1, h, w)
        Whether the number of the object changes within the cell.
    """

    heat: Tensor
    distances: Tensor
    weight: Tensor
    share: Tensor
    boundary: Tensor

    @classmethod
    def unpack(cls, packed: Tensor, classes: int) -> Targets:
        """Split the maps of `draw_targets`, shape (B, 2 K + 6, h, w)."""
        heat, distances, weight, share, boundary = packed.split((classes, 4, 1, classes, 1), dim=1)
        return cls(heat, distances, weight[:, 0], share, boundary)


def draw_targets(layers: Sequence[NDArray[np.integer]]) -> NDArray[np.float16]:
    """Draw the target maps of one crop.

    Parameters
    ----------
    layers : sequence of ndarray of int, shape (S, S)
        For each of ``K`` classes, the number of the object at each pixel, or 0.

    Returns
    -------
    ndarray of float16, shape (2 K + 6, S / 8, S / 8)
        Heat of each class, four distances, weight, share of each class, boundary; see `Targets`.
    """
    side = layers[0].shape[0]
    cells, count = side // STRIDE, len(layers)
    heat = np.zeros((count, cells, cells), np.float32)
    best = np.full((cells, cells), LEAST_HEAT, np.float32)
    weight = np.zeros((cells, cells), np.float32)
    distances = np.zeros((4, cells, cells), np.float32)
    share = np.zeros((count, cells, cells), np.float32)
    edge = np.zeros((side, side), bool)
    for number, ids in enumerate(layers):
        share[number] = (ids > 0).reshape(cells, STRIDE, cells, STRIDE).mean((1, 3))
        edge[:, 1:] |= ids[:, 1:] != ids[:, :-1]
        edge[1:] |= ids[1:] != ids[:-1]
        for centre, box in _objects(ids):
            rows, columns, gaussian = _gaussian(centre, box, cells)
            part = heat[number, rows, columns]
            np.maximum(part, gaussian, out=part)
            better = gaussian > best[rows, columns]
            best[rows, columns][better] = weight[rows, columns][better] = gaussian[better]
            y, x = ((np.arange(s.start, s.stop) + 0.5) * STRIDE for s in (rows, columns))
            sides = (x[None] - box[0], y[:, None] - box[1], box[2] - x[None], box[3] - y[:, None])
            for channel, values in enumerate(sides):
                wide = np.broadcast_to(values, gaussian.shape)
                distances[channel, rows, columns][better] = np.maximum(wide[better], 1) / STRIDE
    boundary = edge.reshape(cells, STRIDE, cells, STRIDE).any((1, 3))
    return np.concatenate([heat, distances, weight[None], share, boundary[None]]).astype(np.float16)


def _objects(ids: NDArray[np.integer]) -> list[tuple[tuple[float, float], tuple[int, int, int, int]]]:
    """Return the centroid (x, y) and the box (x0, y0, x1, y1) of each object in pixels."""
    from scipy import ndimage

    found = []
    for number, part in enumerate(ndimage.find_objects(ids.astype(np.int32)), 1):
        if part is None:
            continue
        rows, columns = np.nonzero(ids[part] == number)
        if len(rows) < LEAST_PX:
            continue
        top, left = part[0].start, part[1].start
        centre = float(columns.mean()) + left + 0.5, float(rows.mean()) + top + 0.5
        found.append((centre, (left, top, part[1].stop, part[0].stop)))
    return found


def _gaussian(
    centre: tuple[float, float], box: tuple[int, int, int, int], cells: int
) -> tuple[slice, slice, NDArray[np.float32]]:
    """Return the rows and columns around a centre, and the Gaussian there."""
    axes = []
    for middle, low, high in ((centre[1], box[1], box[3]), (centre[0], box[0], box[2])):
        sigma = max((high - low) * SPREAD, STRIDE * LEAST_SPREAD)
        start = max(int((middle - 4 * sigma) // STRIDE), 0)
        stop = min(int((middle + 4 * sigma) // STRIDE) + 2, cells)
        away = (np.arange(start, stop) + 0.5) * STRIDE - middle
        axes.append((start, stop, np.exp(-(away**2) / (2 * sigma**2)).astype(np.float32)))
    (row, last_row, vertical), (column, last_column, horizontal) = axes
    gaussian = vertical[:, None] * horizontal[None]
    own = (min(int(value / STRIDE), cells - 1) for value in (centre[1], centre[0]))
    gaussian[next(own) - row, next(own) - column] = 1
    return slice(row, last_row), slice(column, last_column), gaussian


def head_loss(maps: Maps, targets: Targets) -> tuple[Tensor, dict[str, float]]:
    """Return the loss of a batch and its parts.

    The loss is the focal loss of CenterNet (arXiv:1904.07850, alpha 2, beta 4) over the number of centres, 1.5 times the
    generalised IoU loss of boxes (arXiv:1902.09630), and binary cross-entropies of share and boundary.

    Parameters
    ----------
    maps : Maps
        The prediction.
    targets : Targets
        The truth.

    Returns
    -------
    loss : tensor, shape ()
    parts : dict of str to float
        "loss", and its parts "heat", "box" and "share" before they are weighted.
    """
    probability = maps.heat.sigmoid().clamp(1e-5, 1 - 1e-5)
    centres = targets.heat >= 0.999
    heat = -(
        (centres * (1 - probability) ** 2 * probability.log()).sum()
        + (~centres * (1 - targets.heat) ** 4 * probability**2 * (1 - probability).log()).sum()
    ) / centres.sum().clamp(min=1)
    box = (_box_loss(maps.distances, targets.distances) * targets.weight).sum() / targets.weight.sum().clamp(min=1)
    entropy = functional.binary_cross_entropy_with_logits
    share = entropy(maps.share, targets.share) + BOUNDARY_WEIGHT * entropy(maps.boundary, targets.boundary)
    loss = heat + BOX_WEIGHT * box + share
    parts = {"loss": loss, "heat": heat, "box": box, "share": share}
    return loss, {name: float(value.detach()) for name, value in parts.items()}


def _box_loss(found: Tensor, true: Tensor) -> Tensor:
    """Return 1 - generalised IoU of boxes given by their distances from a common point, shape (B, h, w)."""

    def area(sides: Tensor) -> Tensor:
        return (sides[:, 0] + sides[:, 2]) * (sides[:, 1] + sides[:, 3])

    common, hull = area(torch.minimum(found, true)), area(torch.maximum(found, true))
    union = area(found) + area(true) - common
    return 1 - common / union.clamp(min=1e-6) + (hull - union) / hull.clamp(min=1e-6)
