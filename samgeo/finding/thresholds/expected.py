"""What is expected of a threshold, if the scores are probabilities; and the threshold with the best expected F1."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from samgeo.errors import OptionError
from samgeo.segmentation.run.score_cut import ChooseCut, ScoreCut, kept_objects

if TYPE_CHECKING:
    import geopandas as gpd

__all__ = [
    "FOUND_SHARE",
    "LEAST_SCORE",
    "Expected",
    "LeastScore",
    "best_cut",
    "check_found_share",
    "expected_at",
    "least_score",
    "with_chosen_threshold",
]

# Share of all objects that are found with any score. It was measured for buildings, and differs between places; see
# benchmarks/STUDIES.md.
FOUND_SHARE = 0.75
# Least score with which objects are found when the threshold is chosen afterwards. A least score of 0.01 gave nearly the same
# thresholds.
LEAST_SCORE = 0.05
# What the options of a run say of such a threshold.
AUTOMATIC = {"min_score": "auto", "least_score": LEAST_SCORE, "found_share": FOUND_SHARE}


@dataclass(frozen=True, slots=True)
class Expected:
    """What is expected of some thresholds; each array has one number for each of them.

    Attributes
    ----------
    kept : ndarray of int
        Number of objects with at least this score.
    precision, recall, f1 : ndarray of float
        See `samgeo.finding.threshold_curve`.
    """

    kept: NDArray[np.int64]
    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]


def check_found_share(found_share: float) -> None:
    """Raise an `OptionError` unless the share is above 0 and at most 1."""
    if not 0 < found_share <= 1:
        raise OptionError(
            f"found_share is {found_share}; give a number above 0 and at most 1: the share of all objects that have any score."
        )


def expected_at(scores: NDArray[np.float64], thresholds: Sequence[float], found_share: float = FOUND_SHARE) -> Expected:
    """Return what is expected of thresholds; see `samgeo.finding.threshold_curve`.

    Parameters
    ----------
    scores : ndarray, shape (N,)
        Scores of all objects of a result, in any order.
    thresholds : sequence of float
        Least scores, in any order.
    found_share : float, default 0.75
        Share of all objects that are in the result.
    """
    rising = np.sort(scores)
    sums = np.concatenate([[0.0], np.cumsum(rising[::-1])])
    kept = len(rising) - np.searchsorted(rising, np.asarray(thresholds, dtype=np.float64), side="left")
    right, objects = sums[kept], sums[-1] / found_share
    precision = np.divide(right, kept, out=np.full(len(kept), np.nan), where=kept > 0)
    recall = np.divide(right, objects, out=np.full(len(kept), np.nan), where=objects > 0)
    f1 = np.divide(2 * right, kept + objects, out=np.full(len(kept), np.nan), where=kept + objects > 0)
    return Expected(kept.astype(np.int64), precision, recall, f1)


def best_cut(scores: NDArray[np.float64], found_share: float = FOUND_SHARE, *, least: float = 0.0) -> ScoreCut:
    """Return the cut with the highest expected F1, at one of the scores; at ``least`` if there are no scores.

    Of equal values of F1 the higher threshold is taken, which keeps fewer objects.
    """
    levels = np.unique(scores)[::-1]
    if not len(levels):
        return ScoreCut(least, 0, _about(least, 0, 0, found_share, least))
    expected = expected_at(scores, levels.tolist(), found_share)
    place = int(np.argmax(expected.f1))
    score, kept = float(levels[place]), int(expected.kept[place])
    figures = {
        name: round(float(getattr(expected, name)[place]), 6)
        for name in ("precision", "recall", "f1")
        if math.isfinite(getattr(expected, name)[place])
    }
    return ScoreCut(score, kept, _about(score, kept, len(scores), found_share, least) | {"expected": figures})


@dataclass(frozen=True, slots=True)
class LeastScore:
    """The least score of a run.

    Attributes
    ----------
    value : float
        Objects with a lower score are dropped when their row of windows is finished.
    options : dict
        For the provenance and the manifest of the run.
    choose_cut : callable or None
        Chooses a higher least score when all objects are found.
    """

    value: float
    options: dict[str, Any]
    choose_cut: ChooseCut | None


def least_score(min_score: float | str) -> LeastScore:
    """Return the least score for ``min_score``, a number or "auto"; see `samgeo.find`."""
    if isinstance(min_score, str):
        return LeastScore(LEAST_SCORE, dict(AUTOMATIC), partial(best_cut, least=LEAST_SCORE))
    return LeastScore(min_score, {"min_score": min_score}, None)


def with_chosen_threshold(found: gpd.GeoDataFrame, min_score: float | str | None) -> gpd.GeoDataFrame:
    """Return a complete result as it is; for "auto", the objects that are kept, with the threshold in the provenance."""
    if not isinstance(min_score, str):
        return found
    cut = best_cut(found["score"].to_numpy(dtype=np.float64), least=LEAST_SCORE)
    result = kept_objects(found, cut)
    made = found.attrs["samgeo"]
    result.attrs = {**found.attrs, "samgeo": made | {"options": made["options"] | AUTOMATIC, "threshold": cut.about}}
    return result


def _about(score: float, kept: int, candidates: int, found_share: float, least: float) -> dict[str, Any]:
    return {
        "min_score": score,
        "kept": kept,
        "candidates": candidates,
        "least_score": least,
        "found_share": found_share,
    }
