"""How good a promptable model is: mean IoU of what it answers to clicks and boxes, and whether it knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.learn.pictures import Picture
from samgeo.learn.prompts import box_of, centre_click, correct
from samgeo.sam.segmenter import Segmenter

if TYPE_CHECKING:
    import torch

__all__ = ["Reliability", "Scores", "evaluate", "evaluate_boxes", "markdown"]

# Prompts at once: their masks at full size are 20 MB.
AT_ONCE = 16
BINS = 10


@dataclass(frozen=True, slots=True)
class Reliability:
    """Predicted against true IoU, in bins of the predicted one.

    Attributes
    ----------
    predicted, true : tuple of float
        Means in each bin that is not empty.
    count : tuple of int
    """

    predicted: tuple[float, ...]
    true: tuple[float, ...]
    count: tuple[int, ...]

    @property
    def error(self) -> float:
        """Mean difference between predicted and true IoU over bins, weighted by count: the expected calibration error."""
        gaps = np.abs(np.array(self.predicted) - np.array(self.true))
        return float(np.average(gaps, weights=self.count)) if self.count else float("nan")


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean IoU over objects, by prompt; all prompts are derived from the truth alone, so that models compare.

    Attributes
    ----------
    objects : int
    click : float
        One click in the middle, the candidate of the highest predicted IoU.
    click_best : float
        The candidate of the highest true IoU.
    three_clicks : float
        Two more clicks, each in the middle of the deepest error, with the logits before.
    box : float
        The exact bounding box.
    filled_box : float
        The box itself as the answer: what no model at all reaches.
    iou_error : float
        Mean absolute difference of predicted and true IoU, over all candidates of the click and the answers to boxes.
    iou_correlation : float
        Their Pearson correlation.
    reliability : Reliability
    """

    objects: int
    click: float
    click_best: float
    three_clicks: float
    box: float
    filled_box: float
    iou_error: float
    iou_correlation: float
    reliability: Reliability


def evaluate(
    model: Segmenter,
    pictures: Iterable[Picture],
    *,
    layer: str = "building",
    min_area_px: int = 60,
    max_objects: int | None = None,
    seed: int = 0,
) -> Scores:
    """Prompt a model for every object of some pictures.

    Parameters
    ----------
    model : Segmenter
    pictures : iterable of Picture
        Cut into tiles of the model's input size, without scaling.
    layer : str, default "building"
        Which objects; pictures without it are passed over.
    min_area_px : int, default 60
        Objects with fewer pixels in their tile are left out.
    max_objects : int, optional
        At most so many of each tile, chosen at random.
    seed : int, default 0
        Of that choice.

    Returns
    -------
    Scores

    Raises
    ------
    OptionError
        If there is no object.
    """
    rows: list[NDArray[np.float64]] = []
    pairs: list[NDArray[np.float64]] = []
    rng = np.random.default_rng(seed)
    for picture in pictures:
        if layer not in picture.layers:
            continue
        for tile in picture.tiles(model.input_size):
            truths = _objects(tile.layers[layer], min_area_px, max_objects, rng)
            if not truths:
                continue
            embedding = _embed(model, tile)
            for start in range(0, len(truths), AT_ONCE):
                row, pair = _prompt(model, embedding, np.stack(truths[start : start + AT_ONCE]))
                rows.append(row)
                pairs.append(pair)
    if not rows:
        raise OptionError(f"there is no object of at least {min_area_px} px in layer {layer!r} of these pictures.")
    scores, (predicted, true) = np.concatenate(rows, axis=1), np.concatenate(pairs, axis=1)
    click, click_best, three_clicks, box, filled_box = (float(value) for value in scores.mean(1))
    spread = predicted.std() > 0 and true.std() > 0
    return Scores(
        objects=scores.shape[1],
        click=click,
        click_best=click_best,
        three_clicks=three_clicks,
        box=box,
        filled_box=filled_box,
        iou_error=float(np.abs(predicted - true).mean()),
        iou_correlation=float(np.corrcoef(predicted, true)[0, 1]) if spread else float("nan"),
        reliability=_reliability(predicted, true),
    )


def evaluate_boxes(model: Segmenter, image: NDArray[np.uint8], boxes: NDArray[np.float64]) -> tuple[float, float]:
    """Score a model where only boxes are true: IoU of the box of its mask with the true one, after a click in its middle.

    Parameters
    ----------
    model : Segmenter
    image : ndarray of uint8, shape (H, W, 3)
        At most the model's input size.
    boxes : ndarray, shape (N, 4)
        x0, y0, x1, y1.

    Returns
    -------
    pick, best : float
        Means for the candidate of the highest predicted IoU, and of the highest true one.
    """
    embedding = _embed(model, Picture("boxes", image, {}))
    pick, best = [], []
    for start in range(0, len(boxes), AT_ONCE):
        part = boxes[start : start + AT_ONCE]
        points = ((part[:, :2] + part[:, 2:]) / 2)[:, None].astype(np.float32)
        labels = np.ones((len(part), 1), dtype=np.int64)
        logits, predicted = model.decode(embedding, points=points, labels=labels)
        masks = _full(logits, model.input_size)
        overlaps = np.array([[_box_iou(mask, box) for mask in row] for row, box in zip(masks, part, strict=True)])
        chosen = predicted.cpu().numpy().argmax(1)
        pick.extend(overlaps[np.arange(len(part)), chosen].tolist())
        best.extend(overlaps.max(1).tolist())
    return float(np.mean(pick)), float(np.mean(best))


def markdown(scores: Mapping[str, Scores]) -> str:
    """Write scores as a table."""
    columns = ("mean IoU", "objects", "one click, own pick", "best of three", "three clicks", "box", "filled box")
    head = "| " + " | ".join((*columns, "IoU error", "correlation")) + " |"
    lines = [head, "|---" * 9 + "|"]
    for name, one in scores.items():
        means = (one.click, one.click_best, one.three_clicks, one.box, one.filled_box, one.iou_error, one.iou_correlation)
        lines.append(f"| {name} | {one.objects} | " + " | ".join(f"{value:.3f}" for value in means) + " |")
    return "\n".join(lines)


def _objects(ids: NDArray[np.uint16], min_area_px: int, limit: int | None, rng: np.random.Generator) -> list[NDArray[np.bool_]]:
    sizes = np.bincount(ids.ravel())
    sizes[0] = 0
    kept = np.flatnonzero(sizes >= min_area_px)
    if limit is not None and len(kept) > limit:
        kept = np.sort(rng.choice(kept, limit, replace=False))
    return [ids == number for number in kept]


def _embed(model: Segmenter, picture: Picture) -> Any:
    side = model.input_size
    height, width = picture.shape
    if max(height, width) > side:
        raise OptionError(f"{picture.name} is {height} x {width} pixels; the model takes at most {side} x {side}.")
    padded = np.zeros((1, side, side, 3), dtype=np.uint8)
    padded[0, :height, :width] = picture.image
    return model.embed(padded, np.array([[height, width]]))[0]


def _prompt(model: Segmenter, embedding: Any, truths: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return rows click, best, three clicks, box, filled box; and predicted and true IoU of every answer."""
    side = model.input_size
    count, height, width = truths.shape
    truth = np.zeros((count, side, side), dtype=bool)
    truth[:, :height, :width] = truths
    every = np.arange(count)
    points = np.stack([centre_click(mask)[0] for mask in truth])[:, None].astype(np.float32)
    labels = np.ones((count, 1), dtype=np.int64)
    logits, predicted = model.decode(embedding, points=points, labels=labels)
    masks, guess = _full(logits, side), predicted.cpu().numpy()
    candidates = _iou(masks, truth[:, None])
    chosen = guess.argmax(1)
    earlier, answer = logits.cpu().numpy()[every, chosen], masks[every, chosen]
    for _ in range(2):
        clicks = [correct(mask, true) for mask, true in zip(answer, truth, strict=True)]
        points = np.concatenate([points, np.stack([point for point, _ in clicks])[:, None].astype(np.float32)], axis=1)
        labels = np.concatenate([labels, np.array([[label] for _, label in clicks])], axis=1)
        again, _ = model.decode(embedding, points=points, labels=labels, masks=earlier, multimask=False)
        earlier, answer = again.cpu().numpy()[:, 0], _full(again, side)[:, 0]
    boxes = np.stack([box_of(mask) for mask in truth])
    boxed, boxed_guess = model.decode(embedding, boxes=boxes.astype(np.float32), multimask=False)
    box = _iou(_full(boxed, side)[:, 0], truth)
    filled = truth.sum((1, 2)) / ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    rows = np.stack([candidates[every, chosen], candidates.max(1), _iou(answer, truth), box, filled])
    return rows, np.stack([np.append(guess.ravel(), boxed_guess.cpu().numpy()[:, 0]), np.append(candidates.ravel(), box)])


def _full(logits: torch.Tensor, side: int) -> NDArray[np.bool_]:
    from torch.nn import functional

    enlarged = functional.interpolate(logits.float(), size=(side, side), mode="bilinear", align_corners=False)
    return np.asarray((enlarged > 0).cpu().numpy())


def _iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    union = (found | truth).sum((-1, -2))
    return np.asarray((found & truth).sum((-1, -2)) / np.maximum(union, 1), dtype=np.float64)


def _box_iou(mask: NDArray[np.bool_], box: NDArray[np.float64]) -> float:
    if not mask.any():
        return 0.0
    found = box_of(mask)
    low, high = np.maximum(found[:2], box[:2]), np.minimum(found[2:], box[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    areas = float(np.prod(found[2:] - found[:2]) + np.prod(box[2:] - box[:2]))
    return shared / (areas - shared)


def _reliability(predicted: NDArray[np.float64], true: NDArray[np.float64]) -> Reliability:
    bins = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
    filled = [bins == number for number in range(BINS) if (bins == number).any()]
    return Reliability(
        tuple(float(predicted[part].mean()) for part in filled),
        tuple(float(true[part].mean()) for part in filled),
        tuple(int(part.sum()) for part in filled),
    )
