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
from samgeo.finding.scoring import Scorer, measure
from samgeo.segmentation.windows.asking import ask
from samgeo.training.data.examples import Source
from samgeo.training.finder.bank import SCORE_STREAM, crop_of
from samgeo.training.finder.options import FinderTraining

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter

__all__ = ["Answered", "answer_crops", "best_threshold", "fit_scorer"]

STEPS, ANSWERS_A_STEP = 1500, 512
RATE, WEIGHT_DECAY, LEAST_RATE = 4e-3, 0.5, 0.02
# The target is a soft step at an IoU of .5: a mask with an IoU of .6 counts as .83, with .4 as .17.
STEEPNESS = 16.0
LEAST_OBJECT_PX = 40


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """Answers to the proposals in crops with known objects.

    Attributes
    ----------
    measures : ndarray of float32, shape (P, 16)
        See `samgeo.finding.scoring.measure`.
    iou : ndarray of float32, shape (P,)
        The highest IoU of the mask with an object of its class.
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
        layers = [torch.from_numpy(ids.astype(np.int64)) for ids in crop.layers]
        sizes = [torch.bincount(ids.flatten()) for ids in layers]
        objects[source] = objects.get(source, 0) + sum(int((each[1:] >= LEAST_OBJECT_PX).sum()) for each in sizes)
        embedding = model.embed(crop.image[None])[0]
        maps = head([one.float().cpu() for one in pyramid_of(model, embedding)])
        proposals = peaks(maps, model.input_size)
        if len(proposals):
            answers = ask(model, embedding, proposals)
            side = (model.input_size, model.input_size)
            drawn = functional.interpolate(answers.logits[:, None], size=side, mode="bilinear", align_corners=False)[:, 0] > 0
            drawn = drawn.cpu() & torch.from_numpy(crop.image.any(2))
            found = [
                _best(mask, layers[kind], sizes[kind]) for mask, kind in zip(drawn, proposals.classes.tolist(), strict=True)
            ]
            offsets = np.cumsum([0, *(len(each) for each in sizes)])[proposals.classes] + first
            hit = np.array([number for _, number in found]) + offsets
            iou = np.array([value for value, _ in found], dtype=np.float32)
            rows.append((measure(maps, proposals, answers), iou, hit, source, number))
        first += sum(len(each) for each in sizes)
        if report is not None and (number + 1) % 50 == 0:
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
    """Return the score with the highest mean F1 over the sources, when objects with lower scores are left out.

    An object counts as found by the highest score that hits it with an IoU of .5 or more; further hits are false.

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
    order = np.argsort(-scores, kind="stable")
    hits = np.where(answered.iou >= 0.5, answered.hit, -1)[order]
    _, firsts = np.unique(hits, return_index=True)
    true = np.zeros(len(hits), dtype=bool)
    true[firsts] = True
    true &= hits >= 0
    ordered, source = scores[order], answered.source[order]
    steps = np.arange(0.05, 0.96, 0.01)
    means = []
    for least in steps:
        kept = ordered >= least
        each = [
            2 * true[kept & (source == one)].sum() / max((kept & (source == one)).sum() + count, 1)
            for one, count in answered.objects.items()
            if count
        ]
        means.append(float(np.mean(each)) if each else 0.0)
    return round(float(steps[int(np.argmax(means))]), 2)


def _best(mask: torch.Tensor, ids: torch.Tensor, sizes: torch.Tensor) -> tuple[float, int]:
    """Return the highest IoU of a mask with an object, and the number of the object."""
    common = torch.bincount(ids[mask], minlength=len(sizes)).float()
    iou = common / (sizes + mask.sum() - common).clamp(min=1)
    iou[0] = 0
    number = int(iou.argmax())
    return float(iou[number]), number
