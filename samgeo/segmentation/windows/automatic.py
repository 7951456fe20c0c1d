"""Everything in a window: a mask for whatever lies under each point of a grid, gated as SAM's automatic mask generator does."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Rect
from samgeo.models.protocols import Gating, decode, decode_gated
from samgeo.segmentation.masks.cleaning import fill_and_drop
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.nms import box_nms, keep_greedily, nearly_equal
from samgeo.segmentation.masks.upsample import masks_from_logits
from samgeo.segmentation.profile import stage, timed

if TYPE_CHECKING:
    import torch

    from samgeo.models.protocols import Segmenter
    from samgeo.models.registry import Gates

__all__ = ["Found", "automatic_masks", "embed_window", "embed_windows", "turn"]

# Points decoded together: so many bound the memory of their logits, and on a GPU, which waits between batches, as many more
# as its memory has room for.
POINTS_PER_BATCH = 64
MOST_POINTS = 1024
CANDIDATES = 3

# One batch at a time on the device: the other threads read, cut masks and vectorize meanwhile.
_device = threading.Lock()


@dataclass(frozen=True, slots=True)
class Found:
    """One mask of one window.

    Attributes
    ----------
    mask : Mask
        In window pixels.
    predicted_iou : float
        The model's own estimate of the mask's IoU.
    stability_score : float
        Area at a stricter threshold over area at a looser one.
    prompt : int
        Which point of the window's points it answers.
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    prompt: int


def embed_window(model: Segmenter, image: NDArray[np.uint8], size: tuple[int, int]) -> Any:
    """Encode one window of a raster.

    Parameters
    ----------
    model : Segmenter
        The model.
    image : ndarray of uint8, shape (W, W, 3)
        The window, padded with zeros at the right and bottom.
    size : (int, int)
        Height and width of what is really there, in pixels.

    Returns
    -------
    embedding
        One window's embedding, for ``model.decode``.
    """
    return embed_windows(model, {0: (image, size)}, 1)[0]


def embed_windows(
    model: Segmenter, windows: Mapping[int, tuple[NDArray[np.uint8], tuple[int, int]]], places: int
) -> dict[int, Any]:
    """Encode several windows together.

    The model always sees as many as there are places, blank ones where there is no window: how it rounds depends on how many it
    sees, and so the embedding of a window does not depend on the others.

    Parameters
    ----------
    model : Segmenter
        The model.
    windows : mapping of int to (image, size)
        By place: what `embed_window` takes.
    places : int
        How many there may be.

    Returns
    -------
    dict of int to embedding
        By place.
    """
    side = model.input_size
    images = np.zeros((places, side, side, 3), dtype=np.uint8)
    sizes = np.full((places, 2), side, dtype=np.int64)
    for place, (image, size) in windows.items():
        images[place], sizes[place] = (image, size) if len(image) == side else _resize(image, size, side)
    with turn(model), stage("encode", getattr(model, "device", None)):
        embeddings = model.embed(images, sizes)
        return {place: embeddings[place] for place in windows}


def automatic_masks(
    model: Segmenter,
    embedding: Any,
    points: NDArray[np.float64],
    *,
    gates: Gates,
    window: int,
    size: tuple[int, int],
) -> list[Found]:
    """Segment whatever lies under each point.

    The procedure is that of SAM's automatic mask generator on one crop: three masks a point; those whose predicted IoU or
    stability is too low go; box non-maximum suppression by predicted IoU; optionally small holes are filled and small islands
    dropped, and suppression runs again, preferring masks that this did not change. Then, which SAM does not do, masks go whose
    own IoU with a better one exceeds ``gates.mask_nms``.

    Parameters
    ----------
    model : Segmenter
        The model.
    embedding
        What `embed_window` gave.
    points : ndarray, shape (P, 2)
        x and y in window pixels, continuous.
    gates : Gates
        The thresholds.
    window : int
        Side of the window in pixels.
    size : (int, int)
        Height and width of what is really there.

    Returns
    -------
    list of Found
        By falling predicted IoU; equal ones in the order of their points.
    """
    found = [
        one
        for start, batch in _batches(points, _points_at_once(model))
        for one in _decode(model, embedding, start=start, points=batch, gates=gates, window=window, size=size)
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


def turn(model: Segmenter) -> AbstractContextManager[object]:
    """Wait until the device is free; threads that compute on a core of their own need not."""
    import torch

    device = getattr(model, "device", None)
    has_own_core = (device is None or device.type == "cpu") and torch.get_num_threads() == 1
    return nullcontext() if has_own_core else _device


def _points_at_once(model: Segmenter) -> int:
    device = getattr(model, "device", None)
    if device is None:
        return POINTS_PER_BATCH
    from samgeo.models.batching import fitting

    side = int(getattr(model, "mask_size", model.input_size // 4))
    bytes_each = 2 * CANDIDATES * 4 * side**2  # in float32, and once more while they are put together
    return min(max(fitting(device, bytes_each, budget=POINTS_PER_BATCH * bytes_each), POINTS_PER_BATCH), MOST_POINTS)


def _batches(points: NDArray[np.float64], at_once: int) -> Iterator[tuple[int, NDArray[np.float32]]]:
    for start in range(0, len(points), at_once):
        yield start, points[start : start + at_once].astype(np.float32)


def _decode(
    model: Segmenter,
    embedding: Any,
    *,
    start: int,
    points: NDArray[np.float32],
    gates: Gates,
    window: int,
    size: tuple[int, int],
) -> list[Found]:
    """Decode one batch of points, gate by predicted IoU before anything is upsampled, then by stability."""
    from samgeo.models.device import starting_home

    scaled = points[:, None] * np.float32(model.input_size / window)
    labels = np.ones(scaled.shape[:2], dtype=np.int64)
    with turn(model), stage("decode", getattr(model, "device", None)):
        prompt, logits, predicted = _above(model, embedding, scaled, labels, gates.pred_iou)
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
        Found(mask, float(predicted[index]), float(score), start + int(prompt[index]))
        for index, mask, score in zip(upsampled.index, upsampled.masks, upsampled.stability, strict=True)
    ]


def _above(
    model: Segmenter, embedding: Any, points: NDArray[np.float32], labels: NDArray[np.int64], min_iou: float
) -> tuple[NDArray[np.int64], torch.Tensor, NDArray[np.float64]]:
    """Return prompt, logits and predicted IoU of every candidate that passes, by prompt then token."""
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
    # The reference's boxes end at the last pixel, not past it; its suppression is repeated to the letter.
    boxes = np.array([(rect.x0, rect.y0, rect.x1 - 1, rect.y1 - 1) for rect in rects], dtype=np.float64)
    return [found[index] for index in box_nms(boxes, np.array(scores), threshold)]


@timed("suppress")
def _distinct(found: list[Found], threshold: float | None) -> list[Found]:
    """Return masks, the best first, without those that are nearly equal to a better one."""
    if threshold is None:
        return found
    first, second = nearly_equal([one.mask for one in found], threshold)
    return [found[index] for index in keep_greedily(len(found), first, second).tolist()]


def _resize(image: NDArray[np.uint8], size: tuple[int, int], side: int) -> tuple[NDArray[np.uint8], tuple[int, int]]:
    """Resample the real part of a window so that the window's side becomes ``side``; pad with zeros again."""
    from PIL import Image

    window = image.shape[0]
    height, width = (max(int(length * side / window + 0.5), 1) for length in size)
    real = Image.fromarray(image[: size[0], : size[1]]).resize((width, height), Image.Resampling.BILINEAR)
    padded = np.zeros((side, side, 3), dtype=np.uint8)
    padded[:height, :width] = np.asarray(real)
    return padded, (height, width)
