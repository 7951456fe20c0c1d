"""The peaks of a finder's maps: the boxes that it proposes in one window."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from samgeo.finding.head import STRIDE, Maps
from samgeo.segmentation.masks.nms import box_nms as suppress_boxes
from samgeo.segmentation.windows.proposals import Proposals

__all__ = ["flipped_back", "mean_of", "peaks"]

LEAST_SCORE = 0.1
AT_MOST = 200
# Boxes of one class that overlap more than this are the same object.
BOX_NMS = 0.6
# Narrower boxes, in pixels of the model's input, give no usable mask.
LEAST_SIDE = 4.0


def peaks(maps: Maps, side: int, *, least: float = LEAST_SCORE, at_most: int = AT_MOST, box_nms: float = BOX_NMS) -> Proposals:
    """Return the peaks of the heat of one window: cells of each class that are not lower than their eight neighbours.

    Parameters
    ----------
    maps : Maps
        Of one window.
    side : int
        Side of the model's input in pixels. Boxes are clipped to it.
    least : float, default 0.1
        Lower peaks are left out.
    at_most : int, default 200
        Number of peaks that are kept, the highest first.
    box_nms : float, default 0.6
        A peak is left out if its box overlaps the box of a higher peak of the same class by more than this IoU.

    Returns
    -------
    Proposals
    """
    heat = maps.heat[0].sigmoid()
    highest = functional.max_pool2d(heat[None], 3, 1, 1)[0]
    kind, row, column = ((heat == highest) & (heat > least)).nonzero(as_tuple=True)
    score = heat[kind, row, column]
    order = torch.argsort(score, descending=True, stable=True)[:at_most]
    kind, row, column, score = kind[order], row[order], column[order], score[order]
    x, y = (column + 0.5) * STRIDE, (row + 0.5) * STRIDE
    left, top, right, bottom = (maps.distances[0, :, row, column] * STRIDE).unbind(0)
    boxes = torch.stack([x - left, y - top, x + right, y + bottom], dim=1).clamp(0, side)
    corners, points, scores = (part.float().cpu().numpy() for part in (boxes, torch.stack([x, y], dim=1), score))
    found = Proposals(corners, points, scores, kind.cpu().numpy())
    wide = np.asarray((corners[:, 2:] - corners[:, :2] > LEAST_SIDE).all(1))
    return _without_twins(found[wide], box_nms)


def _without_twins(found: Proposals, box_nms: float) -> Proposals:
    """Leave out boxes that overlap an earlier box of the same class."""
    rows = [np.flatnonzero(found.classes == kind) for kind in np.unique(found.classes)]
    boxes, scores = found.boxes.astype(np.float64), found.scores.astype(np.float64)
    kept = [own[suppress_boxes(boxes[own], scores[own], box_nms)] for own in rows]
    return found[np.sort(np.concatenate([np.empty(0, dtype=np.int64), *kept]))]


def flipped_back(maps: Maps, axes: Sequence[int]) -> Maps:
    """Return the maps of a window that was flipped along axes (0: upside down, 1: left to right), as if it had not been."""
    dims = [axis + 2 for axis in axes]
    order = [0, 1, 2, 3]
    if 1 in axes:
        order = [order[2], order[1], order[0], order[3]]
    if 0 in axes:
        order = [order[0], order[3], order[2], order[1]]
    heat, distances, share, boundary = (
        torch.flip(part, dims) if dims else part for part in (maps.heat, maps.distances, maps.share, maps.boundary)
    )
    return Maps(heat, distances[:, order], share, boundary)


def mean_of(several: Sequence[Maps]) -> Maps:
    """Return the mean of maps of one window: of probabilities for the heat, and of logits and distances for the rest."""
    heat = torch.stack([maps.heat.sigmoid() for maps in several]).mean(0).clamp(1e-6, 1 - 1e-6).logit()
    distances, share, boundary = (
        torch.stack([getattr(maps, name) for maps in several]).mean(0) for name in ("distances", "share", "boundary")
    )
    return Maps(heat, distances, share, boundary)
