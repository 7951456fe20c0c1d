"""Training of a finder's scorer on the answers to its own proposals, and the choice of its threshold."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from samgeo.errors import OptionError
from samgeo.finding.finder import USED_MEASURES, pyramid_of
from samgeo.finding.head import FinderHead
from samgeo.finding.peaks import peaks
from samgeo.finding.scoring import MEASURES, Scorer, measure
from samgeo.segmentation.masks.mask import Mask
from samgeo.segmentation.masks.nms import keep_greedily, overlapping
from samgeo.segmentation.masks.upsample import masks_from_logits
from samgeo.segmentation.windows.asking import ask
from samgeo.segmentation.windows.proposed import MASK_NMS, MOST_COVERED
from samgeo.training.data.examples import Source
from samgeo.training.finder.bank import SCORE_STREAM, crop_of
from samgeo.training.finder.options import FinderTraining

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter

__all__ = ["Answered", "answer_crops", "best_threshold", "f1_of_sources", "fit_scorer"]

STEPS, ANSWERS_A_STEP = 1500, 512
RATE, WEIGHT_DECAY, LEAST_RATE = 4e-3, 0.5, 0.02
# The target is a soft step at an IoU of .5: a mask with an IoU of .6 counts as .83, with .4 as .17.
STEEPNESS = 16.0
LEAST_OBJECT_PX = 40
# The first columns of `measure`, whose product orders masks before there is a scorer.
PRODUCT = 4


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """Answers to the proposals in crops with known objects.

    Attributes
    ----------
    measures : ndarray of float32, shape (P, 16)
        See `samgeo.finding.scoring.measure`.
    iou : ndarray of float32, shape (P,)
        The highest IoU of the mask with an object of its class; 0 if another mask has a higher IoU with this object, because an
        object is found only once.
    hit : ndarray of int64, shape (P,)
        Number of that object in all crops.
    source, crop : ndarray of int64, shape (P,)
        Numbers of the source and of the crop.
    objects : dict of int to int
        Number of objects in the crops of each source.
    """

    measures: NDArray[np.float32]
    iou: NDArray[np.float32]
    hit: NDArray[np.int64]
    source: NDArray[np.int64]
    crop: NDArray[np.int64]
    objects: dict[int, int]


@torch.inference_mode()
def answer_crops(
    model: Segmenter,
    head: FinderHead,
    sources: Sequence[Source],
    options: FinderTraining,
    *,
    report: Callable[[str], None] | None = None,
) -> Answered:
    """Ask a model for the proposals of a head in fresh crops, and compare the masks with the objects.

    Masks that overlap a better mask are left out, as in use. In use, the better mask is the one with the higher score. Here is
    no scorer yet, and the product of heat, predicted IoU, share inside and agreement of the boxes decides.

    Parameters
    ----------
    model : Segmenter
        A model that gives feature maps.
    head : FinderHead
        The trained head.
    sources : sequence of Source
        The pictures.
    options : FinderTraining
        Classes, number of crops and seed.
    report : callable, optional
        Called with lines of text that tell the progress.

    Returns
    -------
    Answered

    Raises
    ------
    OptionError
        If the head proposes nothing in any crop.
    """
    names = [source.name for source in sources]
    rows: list[tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64], int, int]] = []
    objects: dict[int, int] = {}
    first = 0
    for number in range(options.scored):
        crop = crop_of(sources, options.classes, model.input_size, (options.seed, SCORE_STREAM, number))
        source = names.index(crop.source)
        sizes = [np.bincount(ids.ravel()) for ids in crop.layers]
        objects[source] = objects.get(source, 0) + sum(int((each[1:] >= LEAST_OBJECT_PX).sum()) for each in sizes)
        measures, masks, kinds = _answers(model, head, crop.image)
        if masks:
            first_of_class = np.cumsum([0, *(len(each) for each in sizes)])
            best = [_best(mask, crop.layers[kind], sizes[kind]) for mask, kind in zip(masks, kinds, strict=True)]
            hit = np.array([place for _, place in best], dtype=np.int64) + first_of_class[kinds] + first
            rows.append((measures, _once(np.array([value for value, _ in best], np.float32), hit), hit, source, number))
        first += sum(len(each) for each in sizes)
        if report is not None and ((number + 1) % 50 == 0 or number + 1 == options.scored):
            report(f"asked in {number + 1:,} of {options.scored:,} crops for the scorer")
    if not rows:
        raise OptionError("the head proposes nothing in its own training crops; train it for more steps, or check the labels.")
    counts = [len(each[1]) for each in rows]
    return Answered(
        np.concatenate([each[0] for each in rows]),
        np.concatenate([each[1] for each in rows]),
        np.concatenate([each[2] for each in rows]),
        np.repeat([each[3] for each in rows], counts),
        np.repeat([each[4] for each in rows], counts),
        objects,
    )


def fit_scorer(answered: Answered, *, seed: int = 0) -> Scorer:
    """Train a scorer to predict whether the IoU of a mask is above .5. Each source has a weight by the root of its answers.

    Parameters
    ----------
    answered : Answered
        Of crops that the head was not trained on.
    seed : int, default 0
        Seed of the first weights and of the order.

    Returns
    -------
    Scorer
    """
    counts = np.bincount(answered.source)
    weight = torch.from_numpy((counts[answered.source] ** -0.5).astype(np.float32))
    weight /= weight.mean()
    measures, iou = torch.from_numpy(answered.measures), torch.from_numpy(answered.iou)
    target = torch.sigmoid((iou - 0.5) * STEEPNESS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        scorer = Scorer(USED_MEASURES)
        scorer.fit_scale(measures)
        optimizer = torch.optim.AdamW(scorer.parameters(), lr=RATE, weight_decay=WEIGHT_DECAY)
        for step in range(STEPS):
            rows = torch.randint(len(measures), (ANSWERS_A_STEP,))
            share = LEAST_RATE + (1 - LEAST_RATE) * 0.5 * (1 + math.cos(math.pi * step / STEPS))
            for group in optimizer.param_groups:
                group["lr"] = RATE * share
            losses = functional.binary_cross_entropy_with_logits(scorer(measures[rows]), target[rows], reduction="none")
            optimizer.zero_grad()
            (losses * weight[rows]).mean().backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return scorer.eval()


def best_threshold(scores: NDArray[np.floating], answered: Answered) -> float:
    """Return the score with the highest mean F1 over the sources, when masks with lower scores are left out.

    A mask is true if its IoU is .5 or more.

    Parameters
    ----------
    scores : ndarray, shape (P,)
        Of the answers.
    answered : Answered
        The answers.

    Returns
    -------
    float
        In steps of .01.
    """
    steps = np.arange(0.05, 0.96, 0.01)
    means = [float(np.mean(list(f1_of_sources(scores, answered, least).values() or [0.0]))) for least in steps]
    return round(float(steps[int(np.argmax(means))]), 2)


def f1_of_sources(scores: NDArray[np.floating], answered: Answered, least: float) -> dict[int, float]:
    """Return F1 at an IoU of .5 for each source with objects, when masks with scores below ``least`` are left out."""
    kept, true = scores >= least, answered.iou >= 0.5
    found = {}
    for source, count in answered.objects.items():
        own = kept & (answered.source == source)
        if count:
            found[source] = float(2 * (own & true).sum() / max(own.sum() + count, 1))
    return found


def _answers(
    model: Segmenter, head: FinderHead, image: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], list[Mask], NDArray[np.int64]]:
    """Return the measures, the masks and the classes of the answers in a crop, without those that overlap a better one."""
    side = model.input_size
    embedding = model.embed(image[None])[0]
    pyramid = [maps.float() for maps in pyramid_of(model, embedding)]
    maps = head.to(pyramid[0].device)(pyramid)
    proposals = peaks(maps, side)
    inside = np.floor(proposals.points).astype(np.int64).clip(0, side - 1)
    proposals = proposals[image.any(2)[inside[:, 1], inside[:, 0]]]
    if not len(proposals):
        return np.empty((0, len(MEASURES)), np.float32), [], proposals.classes
    answers = ask(model, embedding, proposals)
    measures = measure(maps, proposals, answers)
    drawn = masks_from_logits(answers.logits, input_size=side, window=side, size=(side, side))
    order = np.argsort(-measures[drawn.index][:, :PRODUCT].prod(1), kind="stable")
    masks, kinds = [drawn.masks[place] for place in order], proposals.classes[drawn.index][order]
    kept = keep_greedily(len(masks), *overlapping(masks, MASK_NMS, MOST_COVERED, kinds.tolist()))
    return measures[drawn.index][order][kept], [masks[place] for place in kept.tolist()], kinds[kept]


def _best(mask: Mask, ids: NDArray[np.uint16], sizes: NDArray[np.int64]) -> tuple[float, int]:
    """Return the highest IoU of a mask with an object, and the number of the object."""
    rect = mask.rect
    under = ids[rect.y0 : rect.y1, rect.x0 : rect.x1][mask.to_array(rect)]
    common = np.bincount(under, minlength=len(sizes))
    iou = common / np.maximum(sizes + mask.area - common, 1)
    iou[0] = 0
    number = int(iou.argmax())
    return float(iou[number]), number


def _once(iou: NDArray[np.float32], hit: NDArray[np.int64]) -> NDArray[np.float32]:
    """Set the IoU to 0 except for the best mask of each object."""
    order = np.argsort(-iou, kind="stable")
    _, firsts = np.unique(hit[order], return_index=True)
    best = order[firsts]
    once = np.zeros_like(iou)
    once[best] = iou[best]
    return once
