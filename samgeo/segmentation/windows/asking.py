"""Masks for the proposals of one window: the model is asked with each box or point, and again with the first mask."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from samgeo.models.protocols import Segmenter, decode
from samgeo.segmentation.windows.proposals import Proposals

if TYPE_CHECKING:
    from samgeo.types import Embedding

__all__ = ["Answers", "Choose", "ask", "boxes_of"]

# Gets logits (P, M, h, w) and predicted IoU (P, M) of the candidates of P points; returns the chosen candidates (P,).
Choose = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """The masks of ``P`` proposals.

    Attributes
    ----------
    first, logits : tensor, shape (P, h, w)
        Logits of the first and of the second answer, over the whole input.
    first_iou, predicted_iou : tensor, shape (P,)
        The model's estimates of the IoU of the first and of the second mask.
    boxes : tensor, shape (P, 4)
        Boxes of the second masks, in pixels of the model's input; NaN where a mask is empty.
    """

    first: Tensor
    logits: Tensor
    first_iou: Tensor
    predicted_iou: Tensor
    boxes: Tensor


def best_predicted(_: Tensor, predicted_iou: Tensor) -> Tensor:
    """Choose the candidate with the highest predicted IoU."""
    return predicted_iou.argmax(1)


def ask(model: Segmenter, embedding: Embedding, proposals: Proposals, choose: Choose = best_predicted) -> Answers:
    """Ask a model for the mask of each proposal, twice.

    The first prompt is the box; for a proposal without a box it is the point, and one of the candidates is chosen. The second
    prompt is the box of the first mask, the point, and the logits of the first mask, as in the last step of PerSAM
    (arXiv:2305.03048).

    If the proposals have masks, the model is not asked: the masks are both answers, and the score of each proposal is its
    predicted IoU. If they have mask prompts, the model is asked once, with the box, the point and the mask prompt of each.

    Parameters
    ----------
    model : Segmenter
        The model.
    embedding
        Embedding of one window.
    proposals : Proposals
        At least one.
    choose : callable, optional
        Chooses one of the candidates of each point; the one with the highest predicted IoU by default.

    Returns
    -------
    Answers
    """
    if proposals.logits is not None:
        given, sure = torch.from_numpy(proposals.logits).float(), torch.from_numpy(proposals.scores).float()
        return Answers(given, given, sure, sure, boxes_of(given > 0, model.input_size))
    if proposals.mask_prompts is not None:
        labels = np.ones((len(proposals), 1), dtype=np.int64)
        prompts = {"boxes": proposals.boxes, "points": proposals.points[:, None], "masks": proposals.mask_prompts}
        found, predicted = decode(model, embedding, labels=labels, multimask=False, **prompts)
        drawn, sure = found[:, 0].float(), predicted[:, 0].float()
        return Answers(drawn, drawn, sure, sure, boxes_of(drawn > 0, model.input_size))
    first, first_iou = _first(model, embedding, proposals, choose)
    seen = boxes_of(first > 0, model.input_size).cpu().numpy()
    boxes = np.where(np.isnan(seen), proposals.boxes, seen).astype(np.float32)
    # An empty first mask of a point has no box. Its prompt is a box of one pixel about the point.
    about = np.concatenate([proposals.points - 0.5, proposals.points + 0.5], axis=1)
    boxes = np.where(np.isnan(boxes), about, boxes).astype(np.float32)
    again, predicted = decode(
        model,
        embedding,
        boxes=boxes,
        points=proposals.points[:, None],
        labels=np.ones((len(proposals), 1), dtype=np.int64),
        masks=first.cpu().numpy(),
        multimask=False,
    )
    second = again[:, 0].float()
    return Answers(first, second, first_iou, predicted[:, 0].float(), boxes_of(second > 0, model.input_size))


def _first(model: Segmenter, embedding: Embedding, proposals: Proposals, choose: Choose) -> tuple[Tensor, Tensor]:
    """Return the logits (P, h, w) and the predicted IoU (P,) of the answers to boxes, and to points where there is no box."""
    boxed = ~np.isnan(proposals.boxes).any(1)
    logits: list[Tensor] = []
    scores: list[Tensor] = []
    if boxed.any():
        found, predicted = decode(model, embedding, boxes=proposals.boxes[boxed], multimask=False)
        logits.append(found[:, 0].float())
        scores.append(predicted[:, 0].float())
    if not boxed.all():
        points = proposals.points[~boxed][:, None]
        labels = np.ones(points.shape[:2], dtype=np.int64)
        found, predicted = decode(model, embedding, points=points, labels=labels)
        rows = torch.arange(len(found), device=found.device)
        chosen = choose(found.float(), predicted.float()).to(found.device)
        logits.append(found[rows, chosen].float())
        scores.append(predicted[rows, chosen].float())
    order = np.argsort(np.concatenate([np.flatnonzero(boxed), np.flatnonzero(~boxed)]), kind="stable")
    return torch.cat(logits)[order], torch.cat(scores)[order]


def boxes_of(masks: Tensor, side: int) -> Tensor:
    """Return the boxes x0, y0, x1, y1 of masks (P, h, w), in pixels of an input of ``side`` pixels; NaN where one is empty."""
    height, width = masks.shape[1:]
    columns, rows = masks.any(1), masks.any(2)
    edges = []
    for line, scale in ((columns, side / width), (rows, side / height)):
        whole = line.to(torch.uint8)
        low, high = whole.argmax(1), line.shape[1] - whole.flip(1).argmax(1)
        edges += [low * scale, high * scale]
    boxes = torch.stack([edges[0], edges[2], edges[1], edges[3]], dim=1).float()
    boxes[~rows.any(1)] = torch.nan
    return boxes
