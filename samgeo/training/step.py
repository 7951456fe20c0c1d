"""The loss of one example: a first prompt for every object, then clicks that correct what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from samgeo.errors import OptionError
from samgeo.models.protocols import Answer, Trainable
from samgeo.training.data.examples import Example
from samgeo.training.losses import LossWeights, focus, mask_losses

__all__ = ["Course", "Progress", "example_loss"]

# Truth is compared at half resolution: finer than any logits, a quarter of the memory.
STRIDE = 2
SINGLE, FIRST = slice(0, 1), slice(None)


@dataclass(frozen=True, slots=True)
class Course:
    """Which prompts training asks.

    Attributes
    ----------
    boxes : float
        Share of objects that are shown by a box, the others by a click.
    box_and_click : float
        How often the boxes of an example come with a click each.
    correct_boxes : float
        How often the answers to boxes are corrected, instead of those to clicks.
    corrected : float
        Share of the answers to clicks that are corrected.
    more_clicks : (float, float)
        How often there is a second correcting click, and then a third.
    forget : float
        How often corrections come without the logits before.
    correction : float
        Weight of the loss of corrections.
    """

    boxes: float = 0.3
    box_and_click: float = 0.25
    correct_boxes: float = 0.25
    corrected: float = 0.5
    more_clicks: tuple[float, float] = (0.4, 0.15)
    forget: float = 0.2
    correction: float = 0.8

    def __post_init__(self) -> None:
        shares = (self.boxes, self.box_and_click, self.correct_boxes, self.corrected, *self.more_clicks, self.forget)
        if not all(0 <= share <= 1 for share in shares) or self.correction < 0:
            raise OptionError(f"{self} has a share outside 0 to 1, or a correction below 0.")


@dataclass(frozen=True, slots=True)
class Progress:
    """What an example tells of how training goes: mean IoU of its answers; NaN where there are none.

    Attributes
    ----------
    loss : float
    click, click_best, box, corrected : float
    iou_error : float
        Mean absolute error of predicted IoU.
    """

    loss: float
    click: float
    click_best: float
    box: float
    corrected: float
    iou_error: float


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Prompts of some rows of an example, and the logits they got."""

    rows: Tensor
    points: Tensor | None
    labels: Tensor | None
    boxes: Tensor | None
    logits: Tensor


def example_loss(
    network: Trainable,
    example: Example,
    *,
    window_px: int,
    rng: np.random.Generator,
    weights: LossWeights,
    course: Course,
    device: torch.device,
    autocast: bool = False,
) -> tuple[Tensor, Progress]:
    """Answer an example and compare.

    Parameters
    ----------
    network : Trainable
    example : Example
    window_px : int
        Side of a window at use; a smaller crop lies anywhere in such a window.
    rng : numpy.random.Generator
        For everything that chance decides.
    weights : LossWeights
    course : Course
    device : torch.device
    autocast : bool, default False
        Encode in bfloat16. Prompts are always answered in float32: that half is limited by memory, and exact in coordinates.

    Returns
    -------
    loss : tensor, shape ()
        Mean over the objects.
    progress : Progress
    """
    side = example.image.shape[0]
    image = torch.from_numpy(example.image).to(device)[None].float()
    room = max(window_px - side, 0)
    origin = float(rng.uniform(0, room)), float(rng.uniform(0, room))
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        features = network.encode(image)
    window = network.window(features, origin)
    masks = torch.from_numpy(example.masks).to(device).float()
    truth = functional.avg_pool2d(masks[:, None], STRIDE)[:, 0]
    boxes, clicks = (torch.from_numpy(array).to(device) for array in (example.boxes, example.clicks))
    trust, near = torch.from_numpy(example.trust).to(device), focus(boxes, side, STRIDE)
    count = len(masks)
    order = torch.from_numpy(rng.permutation(count)).to(device)
    with_box = round(count * course.boxes)
    boxed, clicked = order[:with_box], order[with_box:]
    asked: list[_Asked] = []
    total = truth.new_zeros(())
    click = click_best = box = corrected = error = float("nan")
    if len(clicked):
        points, labels = clicks[clicked, None], torch.ones(len(clicked), 1, dtype=torch.long, device=device)
        answer = network.answer(window, points, labels, candidates=FIRST)
        losses = mask_losses(answer, truth[clicked], near[clicked], trust[clicked], ambiguous=True, of=weights)
        total = total + losses.loss.sum()
        pick = answer.predicted_iou[:, 1:].argmax(1, keepdim=True) + 1
        click = float(losses.true_iou.gather(1, pick).mean())
        click_best = float(losses.true_iou[:, 1:].amax(1).mean())
        error = float((answer.predicted_iou.detach() - losses.true_iou).abs().mean())
        asked.append(_Asked(clicked, points, labels, None, _take(answer, pick)))
    if len(boxed):
        with_click = bool(rng.random() < course.box_and_click)
        inside = clicks[boxed, None] if with_click else None
        is_object = torch.ones(len(boxed), 1, dtype=torch.long, device=device) if with_click else None
        answer = network.answer(window, inside, is_object, boxes[boxed], candidates=SINGLE)
        losses = mask_losses(answer, truth[boxed], near[boxed], trust[boxed], ambiguous=False, of=weights)
        total, box = total + losses.loss.sum(), float(losses.true_iou.mean())
        asked.append(_Asked(boxed, inside, is_object, boxes[boxed], answer.logits[:, 0].detach()))
    chosen = asked[-1] if rng.random() < course.correct_boxes else _half(asked[0], course.corrected, rng)
    answer = _corrections(network, window, chosen, truth, course=course, rng=rng)
    rows = chosen.rows
    losses = mask_losses(answer, truth[rows], near[rows], trust[rows], ambiguous=False, of=weights)
    total, corrected = total + course.correction * losses.loss.sum(), float(losses.true_iou.mean())
    loss = total / count
    return loss, Progress(float(loss.detach()), click, click_best, box, corrected, error)


def _corrections(
    network: Trainable, window: Any, asked: _Asked, truth: Tensor, *, course: Course, rng: np.random.Generator
) -> Answer:
    """Add clicks where the answer is wrong, one after the other; only the last has a gradient."""
    second, third = course.more_clicks
    clicks = 1 + int(rng.random() < second) + int(rng.random() < third)
    target = truth[asked.rows] > 0.5
    points, labels, logits = asked.points, asked.labels, asked.logits
    for left in range(clicks - 1, -1, -1):
        point, label = _correcting_click(logits, target, rng)
        points = point if points is None else torch.cat([points, point], dim=1)
        labels = label if labels is None else torch.cat([labels, label], dim=1)
        if left:
            with torch.no_grad():
                logits = network.answer(window, points, labels, asked.boxes, logits, candidates=SINGLE).logits[:, 0]
    masks = None if rng.random() < course.forget else logits
    return network.answer(window, points, labels, asked.boxes, masks, candidates=SINGLE)


@torch.no_grad()
def _correcting_click(logits: Tensor, target: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Return a pixel of the error, more likely where the error is thick: points (P, 1, 2) and labels (P, 1)."""
    count, height, width = target.shape
    enlarged = functional.interpolate(logits[:, None].float(), size=(height, width), mode="bilinear", align_corners=False)
    wrong = ((enlarged[:, 0] > 0) != target).float()
    # An answer without error is confirmed by another click on the object.
    wrong = torch.where(wrong.sum((1, 2), keepdim=True) > 0, wrong, target.float())
    thick = functional.avg_pool2d(wrong[:, None], 7, 1, 3)[:, 0]
    odds = (wrong * thick.square() + 1e-9).flatten(1).cumsum(1)
    at = torch.from_numpy(rng.random((count, 1))).to(odds) * odds[:, -1:]
    cell = torch.searchsorted(odds, at).clamp(max=height * width - 1)
    points = torch.stack([cell % width, cell // width], dim=-1).float() * STRIDE + STRIDE / 2
    return points, target.flatten(1).gather(1, cell).long()


def _half(asked: _Asked, share: float, rng: np.random.Generator) -> _Asked:
    count = len(asked.rows)
    kept = torch.from_numpy(rng.permutation(count)[: max(round(count * share), 1)]).to(asked.rows.device)
    points, labels, boxes = (None if part is None else part[kept] for part in (asked.points, asked.labels, asked.boxes))
    return _Asked(asked.rows[kept], points, labels, boxes, asked.logits[kept])


def _take(answer: Answer, pick: Tensor) -> Tensor:
    return answer.logits.detach().take_along_dim(pick[..., None, None], 1)[:, 0]
