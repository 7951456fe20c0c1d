"""Evaluation of a promptable model: mean IoU of its answers to clicks and boxes, and calibration of its predicted IoU."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samgeo.errors import OptionError
from samgeo.models.protocols import Segmenter, decode
from samgeo.training.assessment.scores import BoxScores, Reliability, Scores
from samgeo.training.data.pictures import Picture
from samgeo.training.data.pseudo_labels import LEVELS, regions
from samgeo.training.data.simulated_prompts import box_of, centre_click, correct

__all__ = ["ObjectScores", "answers_to_boxes", "dice", "evaluate", "evaluate_boxes", "score_objects"]

# Number of prompts that are decoded at once. Their masks at full size take about 20 MB.
AT_ONCE = 16


def evaluate(
    model: Segmenter,
    pictures: Iterable[Picture],
    *,
    layer: str = "building",
    tile_px: int | None = None,
    min_area_px: int = 60,
    max_objects: int | None = None,
    seed: int = 0,
    regions: bool = False,
) -> Scores:
    """Prompt a model for every object of some pictures, and score its answers.

    Parameters
    ----------
    model : Segmenter
    pictures : iterable of Picture
        The pictures. They are cut into tiles.
    layer : str, default "building"
        The layer of objects. Pictures without this layer are skipped.
    tile_px : int, optional
        Side of a tile in pixels. Tiles are scaled to the model's input size, so that models with different input sizes are
        compared on the same tiles. The default is the model's input size, without scaling.
    min_area_px : int, default 60
        Objects with fewer pixels in their tile are left out.
    max_objects : int, optional
        Largest number of objects of each tile, chosen at random.
    seed : int, default 0
        Seed of this choice.
    regions : bool, default False
        Whether to score the region of even colour under each click as a baseline. This needs scikit-image.

    Returns
    -------
    Scores

    Raises
    ------
    OptionError
        If there is no object, or if scikit-image is needed and not installed.
    """
    return score_objects(
        model,
        pictures,
        layer=layer,
        tile_px=tile_px,
        min_area_px=min_area_px,
        max_objects=max_objects,
        seed=seed,
        regions=regions,
    ).means()


@dataclass(frozen=True, slots=True, eq=False)
class ObjectScores:
    """IoU of the answers for each of ``N`` objects, in the order of the pictures.

    The order depends only on the pictures, so that the scores of two models on the same pictures can be compared in pairs.

    Attributes
    ----------
    click, click_best, three_clicks, box, filled_box : ndarray, shape (N,)
        IoU of each object; `Scores` has their means.
    region : float
        See `Scores`.
    predicted, true : ndarray, shape (K,)
        Predicted and true IoU of every answer to a click or a box.
    """

    click: NDArray[np.float64]
    click_best: NDArray[np.float64]
    three_clicks: NDArray[np.float64]
    box: NDArray[np.float64]
    filled_box: NDArray[np.float64]
    region: float
    predicted: NDArray[np.float64]
    true: NDArray[np.float64]

    def means(self) -> Scores:
        """Return the means over the objects."""
        spread = self.predicted.std() > 0 and self.true.std() > 0
        return Scores(
            objects=len(self.click),
            click=float(self.click.mean()),
            click_best=float(self.click_best.mean()),
            three_clicks=float(self.three_clicks.mean()),
            box=float(self.box.mean()),
            filled_box=float(self.filled_box.mean()),
            region=self.region,
            iou_error=float(np.abs(self.predicted - self.true).mean()),
            iou_correlation=float(np.corrcoef(self.predicted, self.true)[0, 1]) if spread else float("nan"),
            reliability=Reliability.of(self.predicted, self.true),
            click_dice=float(dice(self.click).mean()),
            three_clicks_dice=float(dice(self.three_clicks).mean()),
            box_dice=float(dice(self.box).mean()),
        )


def dice(iou: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Dice coefficients that belong to values of IoU."""
    return 2 * iou / (1 + iou)


def score_objects(
    model: Segmenter,
    pictures: Iterable[Picture],
    *,
    layer: str = "building",
    tile_px: int | None = None,
    min_area_px: int = 60,
    max_objects: int | None = None,
    seed: int = 0,
    regions: bool = False,
) -> ObjectScores:
    """Prompt a model for every object of some pictures, and return the scores of each; see `evaluate`."""
    side = model.input_size if tile_px is None else tile_px
    rows: list[NDArray[np.float64]] = []
    pairs: list[NDArray[np.float64]] = []
    under: list[NDArray[np.float64]] = []
    rng = np.random.default_rng(seed)
    for picture in pictures:
        if layer not in picture.layers:
            continue
        for tile in picture.tiles(side):
            ids = tile.layers[layer]
            numbers = _objects(ids, min_area_px, max_objects, rng)
            if not len(numbers):
                continue
            view = _View.of(model, tile.image, side)
            levels = region_levels(tile.image) if regions else []
            for start in range(0, len(numbers), AT_ONCE):
                truths = np.zeros((len(part := numbers[start : start + AT_ONCE]), side, side), dtype=bool)
                truths[:, : ids.shape[0], : ids.shape[1]] = ids == part[:, None, None]
                row, pair, points = _prompt(view, truths)
                rows.append(row)
                pairs.append(pair)
                found = [[_region(level, point, side) for point in points] for level in levels]
                under.append(np.array([[_iou(*two) for two in zip(one, truths, strict=True)] for one in found]))
    if not rows:
        raise OptionError(f"there is no object of at least {min_area_px} px in layer {layer!r} of these pictures; give others.")
    click, click_best, three_clicks, box, filled_box = np.concatenate(rows, axis=1)
    predicted, true = np.concatenate(pairs, axis=1)
    return ObjectScores(click, click_best, three_clicks, box, filled_box, _best_level(under), predicted, true)


def answers_to_boxes(model: Segmenter, image: NDArray[np.uint8], truths: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Prompt a model with the boxes of some objects as `evaluate` does, and return its answers.

    Parameters
    ----------
    model : Segmenter
    image : ndarray of uint8, shape (H, W, 3)
        At most as large as the model's input.
    truths : ndarray of bool, shape (P, H, W)
        The objects.

    Returns
    -------
    ndarray of bool, shape (P, H, W)
    """
    view = _View.of(model, image, model.input_size)
    answers = view.ask(boxes=np.stack([box_of(mask) for mask in truths]), multimask=False)
    return answers.masks[:, 0, : image.shape[0], : image.shape[1]]


def evaluate_boxes(
    model: Segmenter,
    images: Iterable[tuple[NDArray[np.uint8], NDArray[np.float64]]],
    *,
    tile_px: int | None = None,
    regions: bool = False,
) -> BoxScores:
    """Score a model on images that have true boxes but no true masks.

    The model gets a click in the middle of each box. The score is the IoU of the bounding box of its mask with the true box.

    Parameters
    ----------
    model : Segmenter
    images : iterable of (image, boxes)
        Images of uint8, shape (H, W, 3), that fit a tile; boxes of shape (N, 4): x0, y0, x1, y1.
    tile_px, regions : optional
        See `evaluate`.

    Returns
    -------
    BoxScores

    Raises
    ------
    OptionError
        If there is no box, if an image is too large, or if scikit-image is needed and not installed.
    """
    side = model.input_size if tile_px is None else tile_px
    pick: list[float] = []
    best: list[float] = []
    under: list[NDArray[np.float64]] = []
    for image, boxes in images:
        view = _View.of(model, image, side)
        levels = region_levels(image) if regions else []
        for start in range(0, len(boxes), AT_ONCE):
            part = boxes[start : start + AT_ONCE]
            points = ((part[:, :2] + part[:, 2:]) / 2)[:, None]
            answers = view.ask(points, np.ones((len(part), 1), dtype=np.int64))
            overlaps = np.array([[_box_iou(mask, box) for mask in row] for row, box in zip(answers.masks, part, strict=True)])
            pick.extend(overlaps[np.arange(len(part)), answers.predicted.argmax(1)].tolist())
            best.extend(overlaps.max(1).tolist())
            found = [[_region(level, point, side) for point in points[:, 0]] for level in levels]
            under.append(np.array([[_box_iou(*two) for two in zip(one, part, strict=True)] for one in found]))
    if not pick:
        raise OptionError("there is no box to score; give at least one.")
    return BoxScores(len(pick), float(np.mean(pick)), float(np.mean(best)), _best_level(under))


@dataclass(frozen=True, slots=True, eq=False)
class _Answers:
    """Masks (P, M, S, S) and logits of the tile, and predicted IoU (P, M)."""

    masks: NDArray[np.bool_]
    logits: NDArray[np.float32]
    predicted: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _View:
    """An encoded tile. Coordinates of prompts and masks are pixels of the tile, whatever the input size of the model."""

    model: Segmenter
    embedding: Any
    side: int

    @classmethod
    def of(cls, model: Segmenter, image: NDArray[np.uint8], side: int) -> _View:
        height, width = image.shape[:2]
        if max(height, width) > side:
            raise OptionError(
                f"an image has {height} x {width} pixels, but tiles have {side} x {side}; give images of this size."
            )
        factor = model.input_size / side
        size = np.array([[round(height * factor), round(width * factor)]])
        if factor != 1:
            image = np.asarray(Image.fromarray(image).resize((size[0, 1], size[0, 0]), Image.Resampling.BILINEAR))
        padded = np.zeros((1, model.input_size, model.input_size, 3), dtype=np.uint8)
        padded[0, : size[0, 0], : size[0, 1]] = image
        return cls(model, model.embed(padded, size)[0], side)

    def ask(
        self,
        points: NDArray[np.float64] | None = None,
        labels: NDArray[np.int64] | None = None,
        boxes: NDArray[np.float64] | None = None,
        earlier: NDArray[np.float32] | None = None,
        *,
        multimask: bool = True,
    ) -> _Answers:
        from torch.nn import functional

        factor = self.model.input_size / self.side
        logits, predicted = decode(
            self.model,
            self.embedding,
            points=None if points is None else (points * factor).astype(np.float32),
            labels=labels,
            boxes=None if boxes is None else (boxes * factor).astype(np.float32),
            masks=earlier,
            multimask=multimask,
        )
        logits = logits.float()
        masks = functional.interpolate(logits, size=(self.side, self.side), mode="bilinear", align_corners=False) > 0
        return _Answers(masks.cpu().numpy(), logits.cpu().numpy(), predicted.float().cpu().numpy())


def _objects(ids: NDArray[np.uint16], min_area_px: int, limit: int | None, rng: np.random.Generator) -> NDArray[np.int64]:
    sizes = np.bincount(ids.ravel())
    sizes[0] = 0
    kept = np.flatnonzero(sizes >= min_area_px)
    if limit is not None and len(kept) > limit:
        kept = np.sort(rng.choice(kept, limit, replace=False))
    return kept


def _prompt(view: _View, truth: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores of each object, predicted and true IoU of every answer, and the first clicks.

    The rows of the scores are click, best candidate, three clicks, box and filled box.
    """
    count = len(truth)
    every = np.arange(count)
    first = np.stack([centre_click(mask)[0] for mask in truth])
    points, labels = first[:, None], np.ones((count, 1), dtype=np.int64)
    clicked = view.ask(points, labels)
    candidates = _iou(clicked.masks, truth[:, None])
    chosen = clicked.predicted.argmax(1)
    earlier, answer = clicked.logits[every, chosen], clicked.masks[every, chosen]
    for _ in range(2):
        clicks = [correct(mask, true) for mask, true in zip(answer, truth, strict=True)]
        points = np.concatenate([points, np.stack([point for point, _ in clicks])[:, None]], axis=1)
        labels = np.concatenate([labels, np.array([[label] for _, label in clicks])], axis=1)
        again = view.ask(points, labels, earlier=earlier, multimask=False)
        earlier, answer = again.logits[:, 0], again.masks[:, 0]
    boxes = np.stack([box_of(mask) for mask in truth])
    boxed = view.ask(boxes=boxes, multimask=False)
    box = _iou(boxed.masks[:, 0], truth)
    filled = truth.sum((1, 2)) / ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    rows = np.stack([candidates[every, chosen], candidates.max(1), _iou(answer, truth), box, filled])
    predicted = np.append(clicked.predicted.ravel(), boxed.predicted[:, 0])
    return rows, np.stack([predicted, np.append(candidates.ravel(), box)]), first


def region_levels(image: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
    """Return the regions of an image at each scale."""
    return [regions(image, level) for level in LEVELS.values()]


def _region(level: NDArray[np.int64], point: NDArray[np.float64], side: int) -> NDArray[np.bool_]:
    """Return the region under a point as a mask of a tile."""
    mask = np.zeros((side, side), dtype=bool)
    mask[: level.shape[0], : level.shape[1]] = level == level[int(point[1]), int(point[0])]
    return mask


def _best_level(under: list[NDArray[np.float64]]) -> float:
    """Return the highest mean over objects of all scales, from arrays of shape (levels, P)."""
    every = np.concatenate(under, axis=-1)
    return float(every.mean(1).max()) if every.size else float("nan")


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
