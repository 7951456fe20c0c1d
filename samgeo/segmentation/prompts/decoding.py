"""Decoding of the prompts of one window to masks in raster pixels."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.geo.grid import Lattice, Rect
from samgeo.models.protocols import decode
from samgeo.models.registry import default_gates
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.outline_prompts import soften
from samgeo.segmentation.masks.piece import Piece
from samgeo.segmentation.masks.upsample import masks_from_logits
from samgeo.segmentation.prompts.assignment import Index, SoftMask, WindowPrompt
from samgeo.segmentation.windows.cut_edges import cut_pixels, edge_px
from samgeo.segmentation.windows.embedding import Encoded

if TYPE_CHECKING:
    import torch

    from samgeo.models.protocols import Segmenter

__all__ = ["Candidate", "best_pieces", "candidates", "on_data"]

# Number of prompts that are decoded together. It bounds the memory of their logits.
BATCH = 64


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One of the masks that a model proposes for a prompt; made by `samgeo.Predictor.candidates`.

    Attributes
    ----------
    mask : Mask
        In raster pixels.
    predicted_iou, stability_score : float
        The model's estimate of the mask's IoU, and the stability of the mask when the threshold changes.
    earlier : SoftMask
        The logits of the mask. Give them as ``masks=[candidate.earlier]`` in the next prompt to refine the mask.
    cut_at : Mask
        Pixels of the mask, in raster pixels, near an edge of the window beyond which the raster has data. The object may
        continue there.

    Examples
    --------
    >>> import numpy as np
    >>> from samgeo.testing import Oracle, encode_ids
    >>> labels = np.zeros((64, 64), dtype=np.int32)
    >>> labels[20:40, 25:50] = 2
    >>> predictor = samgeo.Predictor(encode_ids(labels), model=Oracle(64))
    >>> best = predictor.candidates(points=[[30, 30]])[0]
    >>> best.mask.area, best.predicted_iou, best.complete
    (500, 1.0, True)
    """

    mask: Mask
    predicted_iou: float
    stability_score: float
    earlier: SoftMask
    cut_at: Mask

    @property
    def complete(self) -> bool:
        """Whether no edge of the window can have cut the mask."""
        return self.cut_at.is_empty


def candidates(
    model: Segmenter, lattice: Lattice, index: Index, window: Encoded, asked: WindowPrompt, *, multimask: bool | str
) -> list[Candidate]:
    """Return all masks that a model proposes for the prompt of a window, the best first."""
    logits, predicted = _decode(model, lattice, window, [asked], multimask=_is_multi(asked, multimask), refine=0)
    kept = masks_from_logits(logits[0], **_upsampling(model, lattice, window))
    found = []
    for number, inside, score in zip(kept.index.tolist(), kept.masks, kept.stability.tolist(), strict=True):
        mask = on_data(inside, lattice, window)
        if mask.is_empty:
            continue
        found.append(
            Candidate(
                mask.shift(window.rect.x0, window.rect.y0),
                float(predicted[0, number]),
                score,
                SoftMask(index, logits[0, number].float().cpu().numpy()),
                _cut_at(mask, lattice, window),
            )
        )
    return sorted(found, key=lambda one: -one.predicted_iou)


def best_pieces(
    model: Segmenter,
    lattice: Lattice,
    index: Index,
    window: Encoded,
    requests: Sequence[WindowPrompt],
    *,
    multimask: bool | str,
    refine: int,
) -> Iterator[tuple[int, Piece]]:
    """Decode the prompts of a window, and give the best mask of each prompt that has one.

    Prompts of the same kind are decoded in batches.

    Parameters
    ----------
    model : Segmenter
        The model.
    lattice : Lattice
        The windows.
    index : (int, int)
        Row and column of the window.
    window : Encoded
        The encoded window, which must have data.
    requests : sequence of WindowPrompt
        The prompts of this window.
    multimask, refine
        As in `Predictor.predict`.

    Yields
    ------
    (int, Piece)
        The index of the prompt, and its mask in raster pixels.
    """
    kinds: dict[tuple[int, bool, bool], list[WindowPrompt]] = defaultdict(list)
    for one in requests:
        kinds[one.kind].append(one)
    for alike in kinds.values():
        for start in range(0, len(alike), BATCH):
            batch = alike[start : start + BATCH]
            logits, predicted = _decode(model, lattice, window, batch, multimask=_is_multi(batch[0], multimask), refine=refine)
            best = predicted.argmax(axis=1)
            chosen = logits[np.arange(len(batch)), best]
            kept = masks_from_logits(chosen, **_upsampling(model, lattice, window))
            found: list[tuple[int, Piece]] = []
            for number, inside, score in zip(kept.index.tolist(), kept.masks, kept.stability.tolist(), strict=True):
                mask = on_data(inside, lattice, window)
                if mask.is_empty:
                    continue
                cut_at = _cut_at(mask, lattice, window)
                mask = mask.shift(window.rect.x0, window.rect.y0)
                iou = float(predicted[number, best[number]])
                found.append((batch[number].prompt, Piece(mask, iou, score, index, 0, cut_at)))
            del logits, chosen, kept
            yield from _in_one_block(found)


def _in_one_block(found: Sequence[tuple[int, Piece]]) -> list[tuple[int, Piece]]:
    """Return the same pieces, with the runs of all their masks in one block of memory.

    Hundreds of small arrays that are kept, allocated among the large arrays of each batch, would split the freed memory into
    parts that are too small for the next batch. The process then grew by 100 kB for each prompt.
    """
    masks = [mask for _, piece in found for mask in (piece.mask, piece.cut_at)]
    if not masks:
        return []
    ends = np.cumsum([len(mask.runs) for mask in masks])[:-1]
    packed = [Mask(runs) for runs in np.split(np.concatenate([mask.runs for mask in masks]), ends)]
    return [
        (prompt, replace(piece, mask=mask, cut_at=cut_at))
        for (prompt, piece), mask, cut_at in zip(found, packed[::2], packed[1::2], strict=True)
    ]


def _decode(
    model: Segmenter, lattice: Lattice, window: Encoded, batch: Sequence[WindowPrompt], *, multimask: bool, refine: int
) -> tuple[torch.Tensor, NDArray[np.float64]]:
    """Return logits (P, M, h, w) and predicted IoU (P, M) of prompts of one kind."""
    scale = model.input_size / lattice.window
    given: dict[str, Any] = {}
    count, has_box, has_mask = batch[0].kind
    if count:
        given["points"] = (np.stack([one.points for one in batch]) * scale).astype(np.float32)
        given["labels"] = np.stack([one.labels for one in batch])
    if has_box:
        given["boxes"] = (np.stack([one.box for one in batch if one.box is not None]) * scale).astype(np.float32)
    if has_mask:
        given["masks"] = np.stack([_earlier(model, lattice, one) for one in batch])
    logits, predicted = decode(model, window.embedding, multimask=multimask, **given)
    for _ in range(refine):
        scores = predicted.float().cpu().numpy()
        best = logits[np.arange(len(batch)), scores.argmax(axis=1)].float().cpu().numpy()
        logits, predicted = decode(model, window.embedding, multimask=False, **(given | {"masks": best}))
    return logits, predicted.float().cpu().numpy().astype(np.float64)


def _earlier(model: Segmenter, lattice: Lattice, one: WindowPrompt) -> NDArray[np.float32]:
    if one.earlier is not None:
        return one.earlier
    if one.shape is None:
        raise AssertionError("an ask of this kind has an earlier mask or a shape")
    side = int(getattr(model, "mask_size", model.input_size // 4))
    return soften(one.shape, lattice.window, side)


def _upsampling(model: Segmenter, lattice: Lattice, window: Encoded) -> dict[str, Any]:
    height, width = window.size
    return {
        "input_size": model.input_size,
        "window": lattice.window,
        "size": (height * window.scale, width * window.scale),
        "offset": default_gates(model).stability_offset,
    }


def _is_multi(one: WindowPrompt, multimask: bool | str) -> bool:
    """Whether to ask for three masks. With "auto" only for a single point, which may mean a part, an object or a group."""
    return one.kind == (1, False, False) if multimask == "auto" else bool(multimask)


def on_data(mask: Mask, lattice: Lattice, window: Encoded) -> Mask:
    """Return the part of a mask, in window pixels, where the raster has data."""
    height, width = window.size
    if window.scale > 1:
        # The last pixels of a coarse window may reach past the raster.
        mask = mask.clip(Rect(0, 0, lattice.shape[1] - window.rect.x0, lattice.shape[0] - window.rect.y0))
    if window.valid[:height, :width].all():
        return mask
    return mask & Mask.from_array(np.ascontiguousarray(window.valid)).scaled(window.scale)


def _cut_at(mask: Mask, lattice: Lattice, window: Encoded) -> Mask:
    """Return the cut pixels, in raster pixels, of a mask that is given in window pixels."""
    (found,) = cut_pixels([mask], window.known, edge_px(lattice.overlap // window.scale), window.scale)
    return found.shift(window.rect.x0, window.rect.y0)
