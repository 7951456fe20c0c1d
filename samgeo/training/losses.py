"""What training minimises: masks that overlap the truth, and predicted IoU that is right and ranks."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import torch
from torch import Tensor
from torch.nn import functional

from samgeo.errors import OptionError
from samgeo.models.protocols import Answer

__all__ = ["LossWeights", "Losses", "focus", "mask_losses"]


@dataclass(frozen=True, slots=True)
class LossWeights:
    """How much each part counts.

    Attributes
    ----------
    focal, dice : float
        Of a mask: cross-entropy with more weight on pixels that are wrong, and overlap.
    others : float
        Of the mean of all candidates beside the best one of an ambiguous prompt, so that none dies.
    single : float
        Of the single mask for an ambiguous prompt.
    iou : float
        Of the squared error of predicted IoU.
    regret : float
        Of the IoU lost by choosing the candidate by predicted IoU.
    coverage : float
        Of what a network says of its own masks at low resolution, if it says it.
    """

    focal: float = 2.0
    dice: float = 1.0
    others: float = 0.03
    single: float = 0.5
    iou: float = 5.0
    regret: float = 1.0
    coverage: float = 0.15

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0:
            raise OptionError(f"{self} has a weight below 0; give 0 or more.")


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Of ``P`` prompts with ``M`` candidates.

    Attributes
    ----------
    loss : tensor, shape (P,)
        To minimise.
    true_iou : tensor, shape (P, M)
        Of each candidate, without gradient.
    """

    loss: Tensor
    true_iou: Tensor


# Regret is the expectation over a choice in which differences of predicted IoU of this size matter.
CHOICE_TEMPERATURE = 0.08
FOCUS_SHARE = 0.8
FOCUS_MARGIN, FOCUS_MARGIN_PX = 0.35, 12.0


def focus(boxes: Tensor, side: int, stride: int) -> Tensor:
    """Return weights of pixels that sum to 1 for each object: most of it around the object, some everywhere.

    Parameters
    ----------
    boxes : tensor, shape (P, 4)
        x0, y0, x1, y1 in pixels.
    side, stride : int
        Of the frame in pixels, and of its grid.

    Returns
    -------
    tensor, shape (P, side / stride, side / stride)
    """
    centres = (torch.arange(side // stride, device=boxes.device) + 0.5) * stride
    margin = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) * FOCUS_MARGIN + FOCUS_MARGIN_PX
    x, y = ((centres > boxes[:, axis, None] - margin) & (centres < boxes[:, axis + 2, None] + margin) for axis in (0, 1))
    near = (y[:, :, None] & x[:, None, :]).float()
    return FOCUS_SHARE * near / near.sum((1, 2), keepdim=True).clamp(min=1) + (1 - FOCUS_SHARE) / near[0].numel()


def mask_losses(answer: Answer, truth: Tensor, weights: Tensor, trust: Tensor, *, ambiguous: bool, of: LossWeights) -> Losses:
    """Compare answers with the truth.

    Parameters
    ----------
    answer : Answer
    truth : tensor, shape (P, H, W)
        Share of each pixel that is the object, from 0 to 1, on a grid at least as fine as the logits'.
    weights : tensor, shape (P, H, W)
        See `focus`.
    trust : tensor, shape (P,)
        Weight of all that concerns predicted IoU.
    ambiguous : bool
        Whether the candidates are the single mask and then several, of which the best is to be right, or one alone.
    of : LossWeights
        The weights of the parts.

    Returns
    -------
    Losses
    """
    fine = functional.interpolate(answer.logits.float(), size=truth.shape[1:], mode="bilinear", align_corners=False)
    predicted_iou = answer.predicted_iou.float()
    target = truth[:, None].expand_as(fine)
    shares = fine.sigmoid()
    wrong = 0.25 + (shares - target).abs().detach()
    entropy = functional.binary_cross_entropy_with_logits(fine, target, reduction="none") * wrong
    overlap = (shares * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (shares.sum((2, 3)) + target.sum((2, 3)) + 1)
    masks = of.focal * (entropy * weights[:, None]).sum((2, 3)) + of.dice * dice
    true_iou = _iou(fine, target)
    errors = (predicted_iou - true_iou).square()
    if ambiguous:
        candidates = masks[:, 1:]
        loss = candidates.amin(1) + of.others * candidates.mean(1) + of.single * masks[:, 0]
        choice = (predicted_iou[:, 1:] / CHOICE_TEMPERATURE).softmax(1)
        regret = (choice * (true_iou[:, 1:].amax(1, keepdim=True) - true_iou[:, 1:])).sum(1)
        loss = loss + trust * (of.iou * errors.mean(1) + of.regret * regret)
    else:
        loss = masks[:, 0] + trust * of.iou * errors[:, 0]
    if answer.coverage is not None:
        loss = loss + of.coverage * _coverage_loss(answer.coverage.float(), shares.detach())
    return Losses(loss, true_iou)


@torch.no_grad()
def _iou(logits: Tensor, target: Tensor) -> Tensor:
    found, true = logits > 0, target > 0.5
    return (found & true).sum((2, 3)).float() / (found | true).sum((2, 3)).clamp(min=1)


def _coverage_loss(coverage: Tensor, shares: Tensor) -> Tensor:
    cells = round(coverage.shape[2] ** 0.5)
    target = functional.adaptive_avg_pool2d(shares, cells).flatten(2)
    entropy = functional.binary_cross_entropy_with_logits(coverage, target, reduction="none").sum(2)
    # Relative to the object's size, so that small objects count as much as large ones.
    return (entropy / (target.sum(2) + 8)).mean(1)
