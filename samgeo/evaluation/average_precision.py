"""Average precision and average recall, equal to those of COCO's own code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.evaluation.matching import Pairs, pair_up

__all__ = ["IOU_THRESHOLDS", "Averages", "Side", "averages", "curves"]

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)


@dataclass(frozen=True, slots=True, eq=False)
class Side:
    """Attributes of the objects of one layer that average precision needs.

    Attributes
    ----------
    areas : ndarray of float, shape (N,)
        Areas, for the area ranges.
    outside : ndarray of bool, shape (N,)
        Objects that are ignored: they are neither found nor missed.
    classes : ndarray of int, shape (N,)
        Number of the class; zeros if there are no classes.
    """

    areas: NDArray[np.float64]
    outside: NDArray[np.bool_]
    classes: NDArray[np.int64]

    def __getitem__(self, which: NDArray[np.bool_]) -> Side:
        return Side(self.areas[which], self.outside[which], self.classes[which])


@dataclass(frozen=True, slots=True)
class Averages:
    """COCO's figures: means over the classes that have true objects; NaN if no class has any.

    Attributes
    ----------
    ap, ap50, ap75 : float
        Average precision over the IoUs 0.5, 0.55, ..., 0.95, at 0.5, and at 0.75.
    ar : float
        Average recall over the same IoUs.
    """

    ap: float
    ap50: float
    ap75: float
    ar: float

    @classmethod
    def unknown(cls) -> Averages:
        """Return figures that are all NaN."""
        return cls(*[float("nan")] * 4)


def averages(
    pairs: Pairs, scores: NDArray[np.float64], found: Side, truth: Side, area_range: tuple[float, float] = (0.0, np.inf)
) -> Averages:
    """Compute average precision and recall over classes.

    The definition is that of T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, 2014, as pycocotools computes it: the
    precision at 101 recalls, made monotone. Objects with equal scores keep their order. The layer is treated as one image. COCO
    usually evaluates at most 100 objects in an image; here there is no limit, because a layer has more.

    Parameters
    ----------
    pairs : Pairs
        All pairs of objects of the same class with an IoU of 0.5 or more.
    scores : ndarray of float, shape (found,)
        Confidence, where higher is better.
    found, truth : Side
        The two layers.
    area_range : (float, float)
        Smallest and largest area, both included. True objects with other areas are ignored. Found objects are ignored if they
        match one of these, or if they match none and have another area themselves.

    Returns
    -------
    Averages
        The figures.
    """
    parts = []
    for code in np.unique(truth.classes):
        in_a, in_b = found.classes == code, truth.classes == code
        place_a, place_b = np.cumsum(in_a) - 1, np.cumsum(in_b) - 1
        inside = pairs[in_a[pairs.found] & in_b[pairs.truth]]
        inside = Pairs(place_a[inside.found], place_b[inside.truth], inside.iou)
        part = curves(inside, scores[in_a], found[in_a], truth[in_b], area_range)
        if part is not None:
            parts.append(part)
    if not parts:
        return Averages.unknown()
    precision, recall = (np.stack(some) for some in zip(*parts, strict=True))
    means = precision.mean(), precision[:, 0].mean(), precision[:, 5].mean(), recall.mean()
    return Averages(*(float(mean) for mean in means))


def curves(
    pairs: Pairs, scores: NDArray[np.float64], found: Side, truth: Side, area_range: tuple[float, float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Compute the precision, shape (thresholds, recalls), and the recall, shape (thresholds,), of one class.

    The result is None if all true objects are ignored.
    """
    ignored = truth.outside | (truth.areas < area_range[0]) | (truth.areas > area_range[1])
    elsewhere = found.outside | (found.areas < area_range[0]) | (found.areas > area_range[1])
    positives = int((~ignored).sum())
    if positives == 0:
        return None
    order = np.argsort(-scores, kind="stable")
    rank = np.empty(len(order), dtype=np.intp)
    rank[order] = np.arange(len(order))
    precision, recall = np.zeros((len(IOU_THRESHOLDS), len(RECALLS))), np.zeros(len(IOU_THRESHOLDS))
    for number, threshold in enumerate(IOU_THRESHOLDS):
        chosen = pairs[pair_up(pairs, float(threshold), rank=rank, ignored=ignored)]
        hit, hit_ignored = np.zeros(len(scores), dtype=bool), np.zeros(len(scores), dtype=bool)
        hit[chosen.found] = True
        hit_ignored[chosen.found] = ignored[chosen.truth]
        set_aside = hit_ignored | (~hit & elsewhere)
        precision[number], recall[number] = _curve((hit & ~set_aside)[order], (~hit & ~set_aside)[order], positives)
    return precision, recall


def _curve(right: NDArray[np.bool_], wrong: NDArray[np.bool_], positives: int) -> tuple[NDArray[np.float64], float]:
    """Return the precision at each of `RECALLS` and the final recall, for objects in the order of falling scores."""
    if len(right) == 0:
        return np.zeros(len(RECALLS)), 0.0
    hits, misses = np.cumsum(right).astype(np.float64), np.cumsum(wrong).astype(np.float64)
    recall = hits / positives
    precision = hits / (misses + hits + np.spacing(1))
    precision = np.append(np.maximum.accumulate(precision[::-1])[::-1], 0.0)
    return precision[np.searchsorted(recall, RECALLS, side="left")], float(recall[-1])
