"""The loss of a training step.

Every object of the crops first gets a box or a click as its prompt. Further clicks then correct the answers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from samgeo.errors import OptionError
from samgeo.models.protocols import Answer, Trainable
from samgeo.training.data.examples import Example
from samgeo.training.losses import LossWeights, focus, mask_losses

if TYPE_CHECKING:
    from samgeo.training.data.crop_cache import CropCache
    from samgeo.types import Embedding, PreparedWindow

__all__ = ["Course", "Crops", "Progress", "crops_loss", "example_loss"]

# Masks are compared at half resolution. This is finer than the logits of any network, and takes a quarter of the memory.
STRIDE = 2
SINGLE, FIRST = slice(0, 1), slice(None)


@dataclass(frozen=True, slots=True)
class Course:
    """Shares of the kinds of prompts in training.

    Attributes
    ----------
    boxes : float
        Share of objects that are prompted by a box; the others are prompted by a click.
    box_and_click : float
        Share of examples in which each box comes with a click.
    correct_boxes : float
        Share of examples in which the answers to boxes are corrected; in the others, answers to clicks are corrected.
    corrected : float
        Share of the answers to clicks that are corrected.
    more_clicks : (float, float)
        Probabilities of a second and of a third correcting click.
    forget : float
        Share of corrections that do not get the logits of the previous answer.
    correction : float
        Weight of the loss of corrections. With 0, no answer is corrected.
    grow_px : float
        Largest number of pixels by which the sides of boxes are moved outward, as in MedSAM. With 0, they are moved in and out
        by a share of the size of the object, as in boxes that are drawn by hand.

    Examples
    --------
    Boxes alone, as MedSAM is trained, without corrections:

    >>> from samgeo.training import Course, TrainOptions
    >>> boxes_alone = Course(boxes=1.0, box_and_click=0.0, correction=0.0, grow_px=20.0)
    >>> TrainOptions(steps=100, course=boxes_alone).course.boxes
    1.0
    """

    boxes: float = 0.3
    box_and_click: float = 0.25
    correct_boxes: float = 0.25
    corrected: float = 0.5
    more_clicks: tuple[float, float] = (0.4, 0.15)
    forget: float = 0.2
    correction: float = 0.8
    grow_px: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.boxes, self.box_and_click, self.correct_boxes, self.corrected, *self.more_clicks, self.forget)
        if not all(0 <= share <= 1 for share in shares) or min(self.correction, self.grow_px) < 0:
            raise OptionError(f"{self} is not valid; give shares from 0 to 1, and correction and grow_px of 0 or more.")


@dataclass(frozen=True, slots=True)
class Progress:
    """Measures of one example or step for the log; NaN if there is no such answer.

    Attributes
    ----------
    loss : float
    click, click_best, box, corrected : float
        Mean IoU of answers to clicks (the candidate of highest predicted IoU, and the best one), to boxes, and after
        corrections.
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
class Crops:
    """``B`` square crops of one side and ``P`` objects of each, as tensors on the device of the network.

    The rows of ``masks``, ``clicks``, ``boxes`` and ``trust`` are the objects of the first crop, then of the second, and so on.

    Attributes
    ----------
    images : tensor of float32, shape (B, S, S, 3)
        From 0 to 255.
    masks : tensor of bool, shape (B * P, S, S)
    clicks : tensor of float32, shape (B * P, 2)
        x and y of a point in each mask.
    boxes : tensor of float32, shape (B * P, 4)
        Box around each mask: x0, y0, x1, y1.
    trust : tensor of float32, shape (B * P,)
        Weight of the losses of predicted IoU for each object.
    """

    images: Tensor
    masks: Tensor
    clicks: Tensor
    boxes: Tensor
    trust: Tensor

    @classmethod
    def of(cls, example: Example, device: torch.device) -> Crops:
        """Move one example to a device."""
        image, masks, clicks, boxes, trust = (
            torch.from_numpy(array).to(device)
            for array in (example.image, example.masks, example.clicks, example.boxes, example.trust)
        )
        return cls(image[None].float(), masks, clicks, boxes, trust)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """Prompts of some objects, the same number from each crop, and the logits of the answers.

    ``rows`` are the indices of the objects in `Crops`.
    """

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
    cache: CropCache | None = None,
) -> tuple[Tensor, Progress]:
    """Answer the prompts of an example, and compare the answers with the true masks.

    Parameters
    ----------
    network : Trainable
    example : Example
    window_px : int
        Side of the network's window in pixels. A smaller crop is placed at random in such a window.
    rng : numpy.random.Generator
        Source of all random choices.
    weights : LossWeights
    course : Course
    device : torch.device
    autocast : bool, default False
        Whether to encode in bfloat16. Prompts are always decoded in float32: decoding is limited by memory, and it needs exact
        coordinates.
    cache : CropCache, optional
        Embeddings of crops that were encoded before. By default the crop is encoded.

    Returns
    -------
    loss : tensor, shape ()
        Mean over the objects.
    progress : Progress
    """
    crops = Crops.of(example, device)
    features = None if cache is None else cache.encode(network, crops.images, autocast=autocast)
    return crops_loss(
        network, crops, window_px=window_px, rng=rng, weights=weights, course=course, autocast=autocast, features=features
    )


def crops_loss(
    network: Trainable,
    crops: Crops,
    *,
    window_px: int,
    rng: np.random.Generator,
    weights: LossWeights,
    course: Course,
    autocast: bool = False,
    features: Embedding | None = None,
) -> tuple[Tensor, Progress]:
    """Answer the prompts of several crops at once, and compare the answers with the true masks.

    The order of objects is random for each crop. All other random choices apply to all crops together.

    Parameters
    ----------
    network : Trainable
        On the device of the crops.
    crops : Crops
    window_px, rng, weights, course, autocast
        See `example_loss`.
    features : embedding, optional
        What ``network.encode`` returned for the images. By default they are encoded.

    Returns
    -------
    loss : tensor, shape ()
        Mean over the objects.
    progress : Progress
    """
    device, side, count = crops.images.device, crops.images.shape[1], len(crops.images)
    room = max(window_px - side, 0)
    origin = float(rng.uniform(0, room)), float(rng.uniform(0, room))
    if features is None:
        with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
            features = network.encode(crops.images)
    window = network.window(features, origin)
    truth = functional.avg_pool2d(crops.masks[:, None].float(), STRIDE)[:, 0]
    boxes, clicks, trust = crops.boxes, crops.clicks, crops.trust
    if course.grow_px:
        boxes = _grown(crops.masks, course.grow_px, rng)
    near, each = focus(boxes, side, STRIDE), len(crops.masks) // count
    with_box = round(each * course.boxes)
    orders = [first + rng.permutation(each) for first in range(0, len(crops.masks), each)]
    boxed, clicked = (
        torch.from_numpy(np.concatenate([order[part] for order in orders])).to(device)
        for part in (slice(None, with_box), slice(with_box, None))
    )
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
    if course.correction:
        chosen = asked[-1] if rng.random() < course.correct_boxes else _some(asked[0], course.corrected, count, rng)
        answer = _corrections(network, window, chosen, truth, course=course, rng=rng)
        rows = chosen.rows
        losses = mask_losses(answer, truth[rows], near[rows], trust[rows], ambiguous=False, of=weights)
        total, corrected = total + course.correction * losses.loss.sum(), float(losses.true_iou.mean())
    loss = total / len(crops.masks)
    return loss, Progress(float(loss.detach()), click, click_best, box, corrected, error)


def _grown(masks: Tensor, most_px: float, rng: np.random.Generator) -> Tensor:
    """Return the boxes around masks ``(P, S, S)``, with each side moved outward by up to a number of pixels."""
    side = masks.shape[-1]
    edges = []
    for along in (masks.any(1), masks.any(2)):
        first = along.int().argmax(1)
        edges += [first, side - along.flip(1).int().argmax(1)]
    left, right, top, bottom = edges
    boxes = torch.stack([left, top, right, bottom], dim=1).float()
    outward = torch.from_numpy(rng.uniform(0, most_px, boxes.shape)).to(boxes) * boxes.new_tensor([-1, -1, 1, 1])
    return (boxes + outward).clamp(0, side)


def _corrections(
    network: Trainable, window: PreparedWindow, asked: _Asked, truth: Tensor, *, course: Course, rng: np.random.Generator
) -> Answer:
    """Add one to three clicks where the answer is wrong, one after the other; only the last answer has a gradient."""
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
    """Draw a pixel of each error, more often where the error is thick: points (P, 1, 2) and labels (P, 1)."""
    count, height, width = target.shape
    enlarged = functional.interpolate(logits[:, None].float(), size=(height, width), mode="bilinear", align_corners=False)
    wrong = ((enlarged[:, 0] > 0) != target).float()
    # If an answer has no error, the click is another one on the object.
    wrong = torch.where(wrong.sum((1, 2), keepdim=True) > 0, wrong, target.float())
    thick = functional.avg_pool2d(wrong[:, None], 7, 1, 3)[:, 0]
    odds = (wrong * thick.square() + 1e-9).flatten(1).cumsum(1)
    at = torch.from_numpy(rng.random((count, 1))).to(odds) * odds[:, -1:]
    cell = torch.searchsorted(odds, at).clamp(max=height * width - 1)
    points = torch.stack([cell % width, cell // width], dim=-1).float() * STRIDE + STRIDE / 2
    return points, target.flatten(1).gather(1, cell).long()


def _some(asked: _Asked, share: float, crops: int, rng: np.random.Generator) -> _Asked:
    """Keep a share of the prompts of each crop."""
    each = len(asked.rows) // crops
    wanted = max(round(each * share), 1)
    rows = np.concatenate([first + rng.permutation(each)[:wanted] for first in range(0, len(asked.rows), each)])
    kept = torch.from_numpy(rows).to(asked.rows.device)
    points, labels, boxes = (None if part is None else part[kept] for part in (asked.points, asked.labels, asked.boxes))
    return _Asked(asked.rows[kept], points, labels, boxes, asked.logits[kept])


def _take(answer: Answer, pick: Tensor) -> Tensor:
    return answer.logits.detach().take_along_dim(pick[..., None, None], 1)[:, 0]
