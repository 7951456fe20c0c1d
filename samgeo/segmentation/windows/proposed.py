"""Masks of one window from a prompt source: propose, ask, score, and leave out what overlaps a better mask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from samgeo.segmentation.masks.nms import keep_greedily, overlapping
from samgeo.segmentation.masks.upsample import masks_from_logits
from samgeo.segmentation.profile import stage
from samgeo.segmentation.windows.asking import ask, best_predicted
from samgeo.segmentation.windows.automatic import Found, device_lock

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.proposals import PromptSource, WindowView
    from samgeo.types import Embedding

__all__ = ["proposed_masks"]

# Of two masks that overlap by more than this IoU, or of which one is covered by more than this share, the better one is kept.
MASK_NMS, MOST_COVERED = 0.5, 0.7


def proposed_masks(
    model: Segmenter, embedding: Embedding, source: PromptSource, window: WindowView, *, least_score: float, offset: float = 1.0
) -> list[Found]:
    """Segment the objects that a source proposes in one window.

    Parameters
    ----------
    model : Segmenter
        The model.
    embedding
        Embedding of the window.
    source : PromptSource
        Proposes and scores.
    window : WindowView
        The window. Proposals whose point is not in its core, or has no data, are left out.
    least_score : float
        Masks with a lower score are left out.
    offset : float, default 1.0
        Distance of the two logits of the stability score from the threshold.

    Returns
    -------
    list of Found
        Ordered by falling score, then by proposal.
    """
    with device_lock(model), stage("decode", getattr(model, "device", None)):
        proposals, evidence = source.propose(model, embedding, window)
        proposals = proposals[window.responsible(proposals.points)]
        if not len(proposals):
            return []
        answers = ask(model, embedding, proposals, getattr(source, "choose", lambda _: best_predicted)(evidence))
        scores = np.asarray(source.score(model, embedding, proposals, answers, evidence), dtype=np.float64)
        predicted = answers.predicted_iou.cpu().numpy().astype(np.float64)
    rows = np.flatnonzero(scores >= least_score)
    with stage("masks"):
        drawn = masks_from_logits(
            answers.logits[rows],
            input_size=model.input_size,
            window=len(window.valid) * window.scale,
            size=window.size,
            offset=offset,
        )
    found = [
        Found(mask, float(predicted[row]), float(stability), int(row), float(scores[row]), int(proposals.classes[row]))
        for row, mask, stability in zip(rows[drawn.index].tolist(), drawn.masks, drawn.stability.tolist(), strict=True)
    ]
    found.sort(key=lambda one: (-(one.score or 0.0), one.prompt))
    with stage("suppress"):
        first, second = overlapping([one.mask for one in found], MASK_NMS, MOST_COVERED, [one.kind for one in found])
        return [found[index] for index in keep_greedily(len(found), first, second).tolist()]
