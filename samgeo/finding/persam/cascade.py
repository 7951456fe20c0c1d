"""The passes of PerSAM and PerSAM-F: clicks to first masks, which are given back to the model with their boxes twice.

The procedures are those of the published code of PerSAM (Zhang et al., arXiv:2305.03048). All clicks of an image go through a
pass together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from samgeo.errors import OptionError
from samgeo.finding.persam.mask_weights import mix
from samgeo.finding.persam.similarity import Clicks, EncodedImage
from samgeo.models.protocols import Guiding, Segmenter, decode
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.upsample import masks_from_logits

__all__ = ["Pass", "attention_bias", "first_candidates", "follow_persam", "follow_persam_f", "masks_of", "to_input"]


@dataclass(frozen=True, slots=True, eq=False)
class Pass:
    """Masks of some clicks after a pass.

    Attributes
    ----------
    click : ndarray of int64, shape (N,)
        Index of the click of each mask, rising. Clicks whose mask became empty are left out.
    logits : tensor, shape (N, h, w)
        Logits of the chosen candidate of each click, over the model's whole input.
    predicted_iou : ndarray of float32, shape (N,)
        Predicted IoU of the chosen candidate.
    """

    click: NDArray[np.int64]
    logits: Tensor
    predicted_iou: NDArray[np.float32]


def attention_bias(similarity: NDArray[np.float32], grid: int) -> NDArray[np.float32]:
    """Return the number that target-guided attention adds for each cell: the sigmoid of the standardised similarity.

    As in the published code, the similarity of the image is standardised over its pixels, with the unbiased standard deviation,
    and resized to the cells of the whole input. So the cells fit the image only if it is square.

    Parameters
    ----------
    similarity : ndarray of float32, shape (H, W)
        Similarity of each pixel of the image.
    grid : int
        Number of cells along a side of the model's input.

    Returns
    -------
    ndarray of float32, shape (grid, grid)
        From 0 to 1. All are 0.5 if the similarity is the same everywhere.
    """
    values = torch.from_numpy(similarity)
    spread = values.std() if values.numel() > 1 else torch.zeros(())
    standard = (values - values.mean()) / spread if spread > 0 else torch.zeros_like(values)
    cells = functional.interpolate(standard[None, None], size=(grid, grid), mode="bilinear")
    return cells[0, 0].sigmoid().numpy()


def follow_persam(
    model: Segmenter,
    encoded: EncodedImage,
    clicks: Clicks,
    *,
    similarity: NDArray[np.float32],
    target: NDArray[np.float32] | None,
) -> list[Pass]:
    """Segment clicks as PerSAM does, and return its three passes.

    The first pass gives one mask, with target-guided attention and target-semantic prompting. The second is given the logits of
    the first, the third those of the second and the box of its mask; both choose one of several candidates by predicted IoU.

    Parameters
    ----------
    model : Segmenter
        With ``decode_guided`` if ``target`` is given.
    encoded : EncodedImage
        The image.
    clicks : Clicks
        Each point is a prompt of its own; the background point goes with all of them.
    similarity : ndarray of float32, shape (H, W)
        Similarity of each pixel, from which the attention is guided.
    target : ndarray of float32, shape (C,), or None
        Feature of the target. With None the first pass is not guided.

    Returns
    -------
    list of Pass
    """
    prompts = _prompts(encoded, clicks, with_background=True)
    if target is None:
        logits, scores = decode(model, encoded.embedding, **prompts, multimask=False)
    elif isinstance(model, Guiding):
        bias = attention_bias(similarity, encoded.features.shape[0])
        logits, scores = model.decode_guided(encoded.embedding, **prompts, bias=bias, target=target, multimask=False)
    else:
        raise OptionError(
            f"the attention of the model {model.name} cannot be guided; take a SAM 1 model, or give learn_weights=True "
            "(PerSAM-F) or guided=False to personalize."
        )
    first = Pass(np.arange(len(logits)), logits[:, 0], _array(scores[:, 0]))
    second = _refine(model, encoded, prompts, first)
    return [first, second, _refine_in_boxes(model, encoded, prompts, second)]


def follow_persam_f(model: Segmenter, encoded: EncodedImage, clicks: Clicks, weights: NDArray[np.float32]) -> list[Pass]:
    """Segment clicks as PerSAM-F does, and return its three passes.

    The first pass is the weighted sum of the candidates of each click. The second and the third are given the logits of the
    pass before, and the box of its mask; both choose one of several candidates by predicted IoU.

    Parameters
    ----------
    model : Segmenter
    encoded : EncodedImage
        The image.
    clicks : Clicks
        Each point is a prompt of its own. The background point is not used.
    weights : ndarray of float32, shape (M,)
        Weights of the model's candidates.

    Returns
    -------
    list of Pass
        The score of the first pass is the weighted sum of the predicted IoU.
    """
    prompts = _prompts(encoded, clicks, with_background=False)
    logits, scores = decode(model, encoded.embedding, **prompts, multimask=True)
    first = Pass(np.arange(len(logits)), mix(logits, weights), _array(scores) @ weights)
    second = _refine_in_boxes(model, encoded, prompts, first)
    return [first, second, _refine_in_boxes(model, encoded, prompts, second)]


def first_candidates(model: Segmenter, encoded: EncodedImage, clicks: Clicks) -> Tensor:
    """Return the candidates of each click without its background point, from which PerSAM-F learns: ``(K, M, h, w)``."""
    return decode(model, encoded.embedding, **_prompts(encoded, clicks, with_background=False), multimask=True)[0]


def masks_of(logits: Tensor, encoded: EncodedImage) -> tuple[NDArray[np.int64], tuple[Mask, ...]]:
    """Return the masks of the logits ``(N, h, w)`` in pixels of the image, without the empty ones, and their indices."""
    side = max(encoded.shape)
    found = masks_from_logits(logits, input_size=encoded.input_size, window=side, size=encoded.shape)
    return found.index, found.masks


def to_input(pixels: NDArray[Any], encoded: EncodedImage) -> NDArray[np.float32]:
    """Convert indices of pixels ``(..., 2)``, x and y, to continuous coordinates of the model's input, as SAM does.

    SAM scales the index of a pixel and adds half a pixel of the input.
    """
    (height, width), (fitted_height, fitted_width) = encoded.shape, encoded.fitted
    scaled: NDArray[np.float64] = np.asarray(pixels, np.float64) * np.array([fitted_width / width, fitted_height / height])
    return (scaled + 0.5).astype(np.float32)


def _prompts(encoded: EncodedImage, clicks: Clicks, *, with_background: bool) -> dict[str, NDArray[Any]]:
    """Return a prompt for each click: its point, and the background point where that is wanted."""
    points, labels = clicks.points_px[:, None], np.ones((len(clicks.points_px), 1), np.int64)
    if with_background:
        points = np.concatenate([points, np.broadcast_to(clicks.background_px, points.shape)], axis=1)
        labels = np.concatenate([labels, np.zeros_like(labels)], axis=1)
    return {"points": to_input(points - 0.5, encoded), "labels": labels}


def _refine_in_boxes(model: Segmenter, encoded: EncodedImage, prompts: dict[str, NDArray[Any]], before: Pass) -> Pass:
    """Give each mask that is not empty, its logits and its tight box back to the model."""
    index, masks = masks_of(before.logits, encoded)
    rects = [mask.rect for mask in masks]
    # The published boxes run from the first to the last pixel of a mask, not to its outer edge.
    corners = np.array([(rect.x0, rect.y0, rect.x1 - 1, rect.y1 - 1) for rect in rects], np.int64).reshape(-1, 2, 2)
    kept = Pass(before.click[index], before.logits[torch.from_numpy(index)], before.predicted_iou[index])
    return _refine(model, encoded, prompts, kept, boxes=to_input(corners, encoded).reshape(-1, 4))


def _refine(
    model: Segmenter, encoded: EncodedImage, prompts: dict[str, NDArray[Any]], before: Pass, **given: NDArray[Any]
) -> Pass:
    """Give the logits of a pass back to the model, with the clicks, and choose a candidate by predicted IoU."""
    if not len(before.click):
        return before
    same = {name: value[before.click] for name, value in prompts.items()}
    logits, scores = decode(model, encoded.embedding, **same, **given, masks=_array(before.logits), multimask=True)
    predicted = _array(scores)
    best = predicted.argmax(axis=1)
    every = np.arange(len(best))
    return Pass(before.click, logits[torch.from_numpy(every), torch.from_numpy(best)], predicted[every, best])


def _array(values: Tensor) -> NDArray[np.float32]:
    return values.detach().float().cpu().numpy()
