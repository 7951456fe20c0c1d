"""Loss functions of training.

They reward masks that overlap the truth, and predicted IoU that is exact and ranks the candidates well.
"""

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
    """Weights of the parts of the loss.

    Attributes
    ----------
    focal, dice : float
        Weights of the two losses of a mask: cross-entropy that counts wrong pixels more, and Dice loss of the overlap.
    others : float
        Weight of the mean over all candidates of an ambiguous prompt, beside the loss of the best candidate. It keeps
        candidates in training that are never the best.
    single : float
        Weight of the single mask for an ambiguous prompt.
    iou : float
        Weight of the squared error of predicted IoU.
    regret : float
        Weight of the IoU that is lost when the candidate is chosen by predicted IoU.
    coverage : float
        Weight of the loss of the coverage that a network predicts for its masks at low resolution. It has no effect for
        networks that do not predict coverage.
    entropy : float
        Weight of the mean cross-entropy of all pixels of the crop, which count alike.

    Examples
    --------
    Predicted IoU is not trained:

    >>> from samgeo.training import LossWeights
    >>> weights = LossWeights(iou=0.0, regret=0.0)
    >>> weights.focal, weights.dice
    (2.0, 1.0)
    """

    focal: float = 2.0
    dice: float = 1.0
    others: float = 0.03
    single: float = 0.5
    iou: float = 5.0
    regret: float = 1.0
    coverage: float = 0.15
    entropy: float = 0.0

    def __post_init__(self) -> None:
        if min(astuple(self)) < 0:
            raise OptionError(f"{self} has a weight below 0; give 0 or more.")


@dataclass(frozen=True, slots=True, eq=False)
class Losses:
    """Losses of ``P`` prompts with ``M`` candidates each.

    Attributes
    ----------
    loss : tensor, shape (P,)
        The value to minimise.
    true_iou : tensor, shape (P, M)
        True IoU of each candidate, without gradient.
    """

    loss: Tensor
    true_iou: Tensor


# Regret is an expectation over a softmax choice by predicted IoU; this is the temperature of the softmax.
CHOICE_TEMPERATURE = 0.08
FOCUS_SHARE = 0.8
FOCUS_MARGIN, FOCUS_MARGIN_PX = 0.35, 12.0


def focus(boxes: Tensor, side: int, stride: int) -> Tensor:
    """Return weights of pixels that sum to 1 for each object.

    Most of the weight lies around the object; the rest is spread evenly over the frame.

    Parameters
    ----------
    boxes : tensor, shape (P, 4)
        x0, y0, x1, y1 in pixels.
    side, stride : int
        Side of the frame, and spacing of the grid of weights, both in pixels.

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
        Weight of the losses of predicted IoU, for each prompt.
    ambiguous : bool
        If true, the candidates are the single mask followed by several others, and only the best of these needs to be right.
        If false, there is one candidate.
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
    entropy = functional.binary_cross_entropy_with_logits(fine, target, reduction="none")
    overlap = (shares * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (shares.sum((2, 3)) + target.sum((2, 3)) + 1)
    masks = of.focal * (entropy * wrong * weights[:, None]).sum((2, 3)) + of.dice * dice
    if of.entropy:
        masks = masks + of.entropy * entropy.mean((2, 3))
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
    # The entropy is divided by the size of the object, so that small objects count as much as large ones.
    return (entropy / (target.sum(2) + 8)).mean(1)
