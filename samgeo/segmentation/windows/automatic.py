"""Automatic segmentation of one window: masks for a grid of points, selected as in SAM's automatic mask generator."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from samgeo.geo.grid import Rect
from samgeo.models.batching import fitting
from samgeo.models.device import starting_home
from samgeo.models.protocols import Gating, Screening, decode, decode_gated, screen_points
from samgeo.segmentation.masks.cleaning import fill_and_drop
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.nms import box_nms, keep_greedily, nearly_equal
from samgeo.segmentation.masks.upsample import masks_from_logits
from samgeo.segmentation.profile import stage, timed

if TYPE_CHECKING:
    import torch

    from samgeo.models.protocols import Segmenter
    from samgeo.models.registry import Gates
    from samgeo.types import Embedding

__all__ = ["Found", "automatic_masks", "device_lock", "embed_window", "embed_windows", "resized"]

# Number of points that are decoded together. 64 bound the memory of their logits. A GPU waits between batches, so there up to
# 1024 are decoded if its memory allows.
POINTS_PER_BATCH = 64
MOST_POINTS = 1024
CANDIDATES = 3

# Only one batch at a time is computed on the device. Meanwhile, other threads read windows, upsample masks and vectorize.
_device = threading.Lock()


@dataclass(frozen=True, slots=True)
class Found:
    """One mask of one window.

    Attributes
    ----------
    mask : Mask
        In window pixels.
    predicted_iou : float
        The model's estimate of the mask's IoU.
    stability_score : float
        Area of the mask at a higher threshold divided by its area at a lower threshold.
    prompt : int
        Index of the point or the proposal that gave the mask.
    score : float, optional
        Probability that the mask shows an object of its class, if a prompt source found it.
    kind : int, default 0
        Number of the class, if a prompt source found it.
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    prompt: int
    score: float | None = None
    kind: int = 0


def embed_window(model: Segmenter, image: NDArray[np.uint8], size: tuple[int, int]) -> Embedding:
    """Encode one window of a raster.

    Parameters
    ----------
    model : Segmenter
        The model.
    image : ndarray of uint8, shape (W, W, 3)
        The window, padded with zeros at the right and bottom.
    size : (int, int)
        Height and width of the part without padding, in pixels.

    Returns
    -------
    embedding
        The embedding of the window, for ``model.decode``.
    """
    return embed_windows(model, {0: (image, size)}, 1)[0]


def embed_windows(
    model: Segmenter, windows: Mapping[int, tuple[NDArray[np.uint8], tuple[int, int]]], places: int
) -> dict[int, Embedding]:
    """Encode several windows in one batch.

    The batch always has ``places`` images, which are blank where there is no window. The rounding of a model depends on the
    size of the batch, so with a constant size the embedding of a window does not depend on the other windows.

    Parameters
    ----------
    model : Segmenter
        The model.
    windows : mapping of int to (image, size)
        By position in the batch, the arguments of `embed_window`.
    places : int
        Size of the batch.

    Returns
    -------
    dict of int to embedding
        By position in the batch.
    """
    side = model.input_size
    images = np.zeros((places, side, side, 3), dtype=np.uint8)
    sizes = np.full((places, 2), side, dtype=np.int64)
    for place, (image, size) in windows.items():
        images[place], sizes[place] = (image, size) if len(image) == side else resized(image, size, side)
    with device_lock(model), stage("encode", getattr(model, "device", None)):
        embeddings = model.embed(images, sizes)
        return {place: embeddings[place] for place in windows}


def automatic_masks(
    model: Segmenter,
    embedding: Embedding,
    points: NDArray[np.float64],
    *,
    gates: Gates,
    window: int,
    size: tuple[int, int],
) -> list[Found]:
    """Segment the objects under points.

    The procedure is that of SAM's automatic mask generator on one crop. Each point gives three masks. Masks with a low
    predicted IoU or stability are dropped. Box non-maximum suppression by predicted IoU follows. Optionally, small holes are
    filled and small islands dropped, and suppression runs again and prefers masks that were not changed. One step is added to
    SAM's procedure: masks are dropped if their own IoU with a better mask exceeds ``gates.mask_nms``. With
    ``gates.screen_points``, points that a model of `samgeo.models.protocols.Screening` judges useless are not decoded.

    Parameters
    ----------
    model : Segmenter
        The model.
    embedding
        From `embed_window`.
    points : ndarray, shape (P, 2)
        x and y in window pixels, continuous.
    gates : Gates
        The thresholds.
    window : int
        Side of the window in pixels.
    size : (int, int)
        Height and width of the part without padding, in pixels.

    Returns
    -------
    list of Found
        Ordered by falling predicted IoU, then by point.
    """
    clicks = points.astype(np.float32) * np.float32(model.input_size / window)
    numbers = _worth_decoding(model, embedding, clicks, gates)
    at_once = _points_at_once(model)
    found = [
        one
        for start in range(0, len(numbers), at_once)
        for one in _decode(model, embedding, numbers[start : start + at_once], clicks, gates=gates, window=window, size=size)
    ]
    found = _suppress(found, [one.predicted_iou for one in found], gates.box_nms)
    if gates.min_region_px > 0:
        frame = Rect(0, 0, size[1], size[0])
        with stage("regions"):
            cleaned = [fill_and_drop(one.mask, gates.min_region_px, frame) for one in found]
        found = [
            Found(mask, one.predicted_iou, one.stability_score, one.prompt)
            for one, (mask, _) in zip(found, cleaned, strict=True)
        ]
        found = _suppress(found, [float(not changed) for _, changed in cleaned], gates.box_nms)
    return _distinct(sorted(found, key=lambda one: (-one.predicted_iou, one.prompt)), gates.mask_nms)


def device_lock(model: Segmenter) -> AbstractContextManager[object]:
    """Return a context manager that waits until the device is free. Threads that compute on their own core do not wait."""
    import torch

    device = getattr(model, "device", None)
    has_own_core = (device is None or device.type == "cpu") and torch.get_num_threads() == 1
    return nullcontext() if has_own_core else _device


def _points_at_once(model: Segmenter) -> int:
    device = getattr(model, "device", None)
    if device is None:
        return POINTS_PER_BATCH
    side = int(getattr(model, "mask_size", model.input_size // 4))
    bytes_each = 2 * CANDIDATES * 4 * side**2  # float32, and a second copy while batches are concatenated
    return min(max(fitting(device, bytes_each, budget=POINTS_PER_BATCH * bytes_each), POINTS_PER_BATCH), MOST_POINTS)


def _worth_decoding(model: Segmenter, embedding: Embedding, clicks: NDArray[np.float32], gates: Gates) -> NDArray[np.int64]:
    """Return the numbers of the points, in input pixels, that are decoded: all, unless the model screens them."""
    if not (gates.screen_points and isinstance(model, Screening)):
        return np.arange(len(clicks))
    with device_lock(model), stage("decode", getattr(model, "device", None)):
        return np.flatnonzero(screen_points(model, embedding, clicks, min_iou=gates.pred_iou))


def _decode(
    model: Segmenter,
    embedding: Embedding,
    numbers: NDArray[np.int64],
    clicks: NDArray[np.float32],
    *,
    gates: Gates,
    window: int,
    size: tuple[int, int],
) -> list[Found]:
    """Decode one batch of points by their numbers; drop masks by predicted IoU before upsampling, then by stability."""
    points = clicks[numbers][:, None]
    labels = np.ones(points.shape[:2], dtype=np.int64)
    with device_lock(model), stage("decode", getattr(model, "device", None)):
        prompt, logits, predicted = _above(model, embedding, points, labels, gates.pred_iou)
        logits_home = starting_home(logits)
    with stage("masks"):
        upsampled = masks_from_logits(
            logits_home(),
            input_size=model.input_size,
            window=window,
            size=size,
            offset=gates.stability_offset,
            min_stability=gates.stability,
        )
    return [
        Found(mask, float(predicted[index]), float(score), int(numbers[prompt[index]]))
        for index, mask, score in zip(upsampled.index, upsampled.masks, upsampled.stability, strict=True)
    ]


def _above(
    model: Segmenter, embedding: Embedding, points: NDArray[np.float32], labels: NDArray[np.int64], min_iou: float
) -> tuple[NDArray[np.int64], torch.Tensor, NDArray[np.float64]]:
    """Return prompt, logits and predicted IoU of every mask that exceeds the threshold, ordered by prompt, then token."""
    if isinstance(model, Gating):
        prompt, _, passed, iou = decode_gated(model, embedding, points=points, labels=labels, min_iou=min_iou)
        return np.asarray(prompt), passed, np.asarray(iou, dtype=np.float64)
    logits, predicted = decode(model, embedding, points=points, labels=labels)
    scores = predicted.float().cpu().numpy().astype(np.float64)
    prompt, token = np.nonzero(scores > min_iou)
    return prompt, logits[prompt, token], scores[prompt, token]


@timed("suppress")
def _suppress(found: list[Found], scores: list[float], threshold: float) -> list[Found]:
    if not found:
        return found
    rects = [one.mask.rect for one in found]
    # In the reference implementation boxes end at the last pixel, not after it. This is repeated to get equal results.
    boxes = np.array([(rect.x0, rect.y0, rect.x1 - 1, rect.y1 - 1) for rect in rects], dtype=np.float64)
    return [found[index] for index in box_nms(boxes, np.array(scores), threshold)]


@timed("suppress")
def _distinct(found: list[Found], threshold: float | None) -> list[Found]:
    """Return masks, the best first, without those that are nearly equal to a better one."""
    if threshold is None:
        return found
    first, second = nearly_equal([one.mask for one in found], threshold)
    return [found[index] for index in keep_greedily(len(found), first, second).tolist()]


def resized(image: NDArray[np.uint8], size: tuple[int, int], side: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Resample the part of a window without padding so that the window's side becomes ``side``; pad with zeros again."""
    window = image.shape[0]
    height, width = (max(int(length * side / window + 0.5), 1) for length in size)
    real = Image.fromarray(image[: size[0], : size[1]]).resize((width, height), Image.Resampling.BILINEAR)
    padded = np.zeros((side, side, 3), dtype=np.uint8)
    padded[:height, :width] = np.asarray(real)
    return padded, (height, width)
