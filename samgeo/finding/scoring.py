"""The score of a found object: the probability that its mask has an IoU above .5 with an object of its class."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from samgeo.finding.head import Maps
from samgeo.segmentation.windows.asking import Answers
from samgeo.segmentation.windows.proposals import Proposals

__all__ = ["MEASURES", "Scorer", "measure"]

MEASURES = (
    "heat", "predicted_iou", "share_inside", "box_agreement", "share_around", "boundary_inside", "boundary_around", "sureness",
    "stability", "answers_agreement", "log_area", "fill", "mean_share", "first_iou", "log_count", "mean_heat",
)  # fmt: skip
"""What is measured of each answer, in the order of the columns of `measure`."""

# Measures from 0 to 1 that are close to 1 for good masks. Their logits are compared, limited to this probability.
AS_LOGITS = tuple(MEASURES.index(name) for name in MEASURES if name not in {"log_area", "log_count", "sureness"})
LEAST_PROBABILITY = 0.002
# Width of the ring around a mask, in cells of the mask.
RING = 2


class Scorer(nn.Module):
    """A perceptron with two hidden layers from measures of a mask to the logit of its score.

    Parameters
    ----------
    measures : sequence of int
        Columns of `measure` that are used.
    hidden : int, default 8
        Width of the hidden layers.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, measures: tuple[int, ...], hidden: int = 8) -> None:
        super().__init__()
        self.measures, self.hidden = measures, hidden
        count = len(measures)
        self.layers = nn.Sequential(
            nn.Linear(count, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, 1)
        )
        self.register_buffer("mean", torch.zeros(count))
        self.register_buffer("scale", torch.ones(count))

    def forward(self, measured: Tensor) -> Tensor:
        """Return the logits of the scores, shape (P,), for the columns of `measure`, shape (P, 16)."""
        values = self.tamed(measured)
        logits: Tensor = self.layers((values - self.mean) / self.scale)[:, 0]
        return logits

    def tamed(self, measured: Tensor) -> Tensor:
        """Return the used columns; logits of those that are probabilities."""
        values = measured.clone()
        columns = list(AS_LOGITS)
        values[:, columns] = values[:, columns].clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY).logit()
        return values[:, list(self.measures)]

    def fit_scale(self, measured: Tensor) -> None:
        """Set mean and scale of the inputs to those of the measures of many answers."""
        values = self.tamed(measured)
        self.mean.copy_(values.mean(0))
        self.scale.copy_(values.std(0).clamp(min=0.05))


def measure(maps: Maps, proposals: Proposals, answers: Answers) -> NDArray[np.float32]:
    """Measure the answers to the proposals of one window.

    Parameters
    ----------
    maps : Maps
        Of the window.
    proposals : Proposals
        The proposals, ``P`` of them.
    answers : Answers
        Their masks.

    Returns
    -------
    ndarray of float32, shape (P, 16)
        The columns are `MEASURES`: the heat of the proposal; the predicted IoU; the mean share of the class inside the mask;
        the IoU of the proposed box and the mask's box; the mean share in a ring of two cells around the mask; the mean boundary
        inside and in the ring; how far the probabilities along the edge are from one half; the stability with an offset of 1;
        the IoU of both answers; the logarithm of the area in pixels of the input; the area divided by that of the box; the mean
        share of the window; the predicted IoU of the first answer; the logarithm of the number of proposals; the mean heat.
    """
    inside = answers.logits > 0
    mask = inside.float()
    ring = functional.max_pool2d(mask[:, None], 2 * RING + 1, 1, RING)[:, 0] - mask
    size = mask.shape[1:]
    cell_px = (maps.heat.shape[-1] * 8 / size[1]) ** 2
    kinds = torch.from_numpy(proposals.classes).to(mask.device)
    share, boundary = (
        functional.interpolate(part.sigmoid(), size=size, mode="bilinear", align_corners=False)[0]
        for part in (maps.share, maps.boundary)
    )
    share_inside, share_around = (_mean_in(where, share).gather(1, kinds[:, None])[:, 0] for where in (mask, ring))
    boundary_inside, boundary_around = (_mean_in(where, boundary)[:, 0] for where in (mask, ring))
    boxes = torch.from_numpy(proposals.boxes).to(mask.device)
    own = torch.where(answers.boxes.isnan(), boxes, answers.boxes)
    cells = mask.flatten(1).sum(1)
    edge = functional.max_pool2d(mask[:, None], 3, 1, 1)[:, 0] + functional.max_pool2d(1 - mask[:, None], 3, 1, 1)[:, 0] - 1
    sure = _mean_in_own(edge, (answers.logits.sigmoid() - 0.5).abs() * 2)
    strict, loose = ((answers.logits > level).flatten(1).sum(1) for level in (1, -1))
    first = answers.first > 0
    both, either = ((op(first, inside)).flatten(1).sum(1) for op in (torch.logical_and, torch.logical_or))
    heat = torch.from_numpy(proposals.scores).to(mask.device)
    area = (cells * cell_px).clamp(min=1)
    columns = [
        heat,
        answers.predicted_iou,
        share_inside,
        box_iou(boxes, own),
        share_around,
        boundary_inside,
        boundary_around,
        sure,
        strict / loose.clamp(min=1),
        both / either.clamp(min=1),
        area.log(),
        area / _areas(own).clamp(min=1),
        share.mean().expand(len(mask)),
        answers.first_iou,
        torch.full_like(heat, math.log(len(mask) + 1)),
        heat.mean().expand(len(mask)),
    ]
    return torch.stack([column.float() for column in columns], dim=1).cpu().numpy()


def box_iou(first: Tensor, second: Tensor) -> Tensor:
    """Return the IoU of each box with the box in the same row, shape (P,)."""
    sides = torch.minimum(first[:, 2:], second[:, 2:]) - torch.maximum(first[:, :2], second[:, :2])
    common = sides.clamp(min=0).prod(1)
    return common / (_areas(first) + _areas(second) - common).clamp(min=1e-6)


def _areas(boxes: Tensor) -> Tensor:
    return (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)


def _mean_in(where: Tensor, maps: Tensor) -> Tensor:
    """Return the means of maps (C, h, w) with weights (P, h, w), shape (P, C)."""
    weight = where.flatten(1)
    return weight @ maps.flatten(1).T / weight.sum(1, keepdim=True).clamp(min=1e-6)


def _mean_in_own(where: Tensor, values: Tensor) -> Tensor:
    """Return the mean of each map (P, h, w) with its own weights (P, h, w), shape (P,)."""
    return (where * values).flatten(1).sum(1) / where.flatten(1).sum(1).clamp(min=1e-6)
