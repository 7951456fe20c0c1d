"""Masks for the boxes of an image, and the background of its chips.

The model gets one prompt for each annotation. Masks that do not fit their boxes are rejected. If the annotations are complete,
the pixels without objects are background.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from rasterio.features import rasterize

from samgeo.geo.grid import Rect
from samgeo.samrs.planning import ImageJob
from samgeo.segmentation.masks.piece import Segment

if TYPE_CHECKING:
    from samgeo.segmentation.predictor import Predictor

__all__ = ["BoxMask", "ask_boxes", "background_of", "box_iou"]


@dataclass(frozen=True, slots=True)
class BoxMask:
    """Result of the prompt of one annotation.

    Attributes
    ----------
    segment : Segment or None
        The mask in pixels of the image.
    box_iou : float
        IoU of the mask's bounding box with the box of the prompt, within the image; NaN without a mask.
    reason : str
        Reason why the mask is rejected; empty if it is accepted.
    """

    segment: Segment | None
    box_iou: float
    reason: str


def ask_boxes(predictor: Predictor, job: ImageJob, min_box_iou: float) -> dict[int, BoxMask]:
    """Compute a mask for each annotation of an image that is on some chip.

    Parameters
    ----------
    predictor : Predictor
        Predictor of the image.
    job : ImageJob
        The image with its annotations.
    min_box_iou : float
        Masks with a smaller IoU of the boxes are rejected.

    Returns
    -------
    dict of int to BoxMask
        Results by the index of the job's annotations, in their order.
    """
    numbers = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *(chip.rows for chip in job.chips)]))
    if not len(numbers):
        return {}
    boxes = job.boxes_px[numbers]
    masks = None if job.polygons_px is None else list(job.polygons_px[numbers])
    found = predictor.predict_masks(boxes=boxes, masks=masks, crs="pixels", multimask=False)
    return {number: _judge(one, box, min_box_iou) for number, one, box in zip(numbers.tolist(), found, boxes, strict=True)}


def box_iou(segment: Segment, box: NDArray[np.float64]) -> float:
    """Return the IoU of the bounding box of a mask, along pixel edges, with another box."""
    rect = segment.mask.rect
    around = np.array([rect.x0, rect.y0, rect.x1, rect.y1], dtype=np.float64)
    shared = np.clip(np.minimum(around[2:], box[2:]) - np.maximum(around[:2], box[:2]), 0, None).prod()
    return float(shared / ((around[2:] - around[:2]).prod() + (box[2:] - box[:2]).prod() - shared))


def _judge(one: Segment | str, box: NDArray[np.float64], min_box_iou: float) -> BoxMask:
    """Return the result of one prompt, with the reason if the mask is rejected."""
    if isinstance(one, str):
        return BoxMask(None, float("nan"), one)
    iou = box_iou(one, box)
    reason = f"far from its box: IoU of the boxes below {min_box_iou:g}" if iou < min_box_iou else ""
    return BoxMask(one, iou, reason)


def background_of(
    valid: NDArray[np.bool_], rect: Rect, job: ImageJob, others: Sequence[int], answers: Mapping[int, BoxMask]
) -> NDArray[np.bool_]:
    """Return the pixels of a chip that are background unless one of its masks covers them.

    These pixels have data and belong to no annotation without a mask in the chip, because such an annotation is still an
    object. If its mask was accepted and the chip only shows too little of it, the pixels of the mask are not background. If it
    has no accepted mask, all pixels that its box touches are not background.

    Parameters
    ----------
    valid : ndarray of bool, shape (H, W)
        Pixels of the chip that have data.
    rect : Rect
        The chip in pixels of the image.
    job : ImageJob
        The image with its annotations.
    others : sequence of int
        Indices of the job's annotations that have no mask in the chip.
    answers : mapping of int to BoxMask
        Results of the prompts.

    Returns
    -------
    ndarray of bool, shape (H, W)
        The background.
    """
    background = np.array(valid, dtype=np.bool_, copy=True)
    boxes: list[shapely.Geometry] = []
    for number in others:
        answer = answers.get(number)
        if answer is None or answer.segment is None or answer.reason:
            boxes.append(job.outlines_px[number])
            continue
        mask = answer.segment.mask.clip(rect)
        if not mask.is_empty:
            part = mask.shift(-rect.x0, -rect.y0)
            inner = part.rect
            background[inner.y0 : inner.y1, inner.x0 : inner.x1][part.to_array(inner)] = False
    return background & ~_touched(boxes, rect)


def _touched(outlines: Sequence[shapely.Geometry], rect: Rect) -> NDArray[np.bool_]:
    """Return the pixels of a chip that are touched by polygons in pixels of the image."""
    inside = shapely.clip_by_rect(np.array(outlines, dtype=np.object_), rect.x0, rect.y0, rect.x1, rect.y1)
    shapes = [(one, 1) for one in np.atleast_1d(inside) if shapely.area(one) > 0]
    if not shapes:
        return np.zeros(rect.shape, dtype=np.bool_)
    place = Affine.translation(rect.x0, rect.y0)
    drawn = rasterize(shapes, out_shape=rect.shape, transform=place, all_touched=True, dtype="uint8")
    return np.asarray(drawn == 1, dtype=np.bool_)
