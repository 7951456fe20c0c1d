"""The decision whether trained weights are better than those that training started from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from samgeo.training.assessment.click_evaluation import ObjectScores, dice

__all__ = ["PROMPTS", "Decision", "Gain", "bootstrap_means", "decide"]

PROMPTS = {"click": "one click", "three_clicks": "three clicks", "box": "box"}
ERROR = 0.05
TOLERANCE = 0.01
RESAMPLES = 4000


@dataclass(frozen=True, slots=True)
class Gain:
    """Mean IoU of the held-out objects before and after training, for one kind of prompt.

    Attributes
    ----------
    before, after : float
        Mean IoU.
    difference : float
        ``after - before``.
    low, high : float
        Bounds of the difference. Each is exceeded with a probability of 0.05 / 3, because three kinds of prompts are compared.
    before_dice, after_dice : float
        Mean Dice coefficients.
    is_better, is_worse : bool
        See `decide`.
    """

    before: float
    after: float
    difference: float
    low: float
    high: float
    before_dice: float
    after_dice: float
    is_better: bool
    is_worse: bool


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether trained weights are accepted.

    Attributes
    ----------
    accepted : bool
    reason : str
        One sentence.
    gains : dict of str to Gain
        By the kind of prompt: "click", "three_clicks" and "box".
    """

    accepted: bool
    reason: str
    gains: dict[str, Gain]


def bootstrap_means(differences: NDArray[np.float64], seed: int, resamples: int = RESAMPLES) -> NDArray[np.float64]:
    """Draw means of resampled objects (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, sections 6 and 13).

    For each of ``B`` resamples, ``N`` objects are drawn with replacement from the ``N`` objects, and the mean of each row of
    differences over these objects is returned. All rows use the same objects, so that the rows stay paired.

    Parameters
    ----------
    differences : ndarray, shape (K, N)
        Differences of ``K`` measures for each object.
    seed : int
        Seed of the resamples.
    resamples : int, default 4000
        Number ``B`` of resamples.

    Returns
    -------
    ndarray, shape (K, B)
    """
    count = differences.shape[1]
    rng = np.random.default_rng([seed, 2])
    draws = rng.multinomial(count, np.full(count, 1 / count), size=resamples)
    return np.asarray(differences @ draws.T / count, dtype=np.float64)


def decide(before: ObjectScores, after: ObjectScores, seed: int = 0) -> Decision:
    """Decide whether trained weights are accepted, from the scores of the same held-out objects before and after training.

    For each object ``i`` and each of three kinds of prompts, which are one click, three clicks and the box, the difference
    ``d_i`` is the IoU of the answer after training less that before. Its mean over the objects is the gain. The bounds of a
    gain are the quantiles 0.05 / 3 and 1 - 0.05 / 3 of the means of `bootstrap_means` (percentile intervals). The division by 3
    is Bonferroni's: without any true gain, some kind of prompt is called better in at most about 5 % of trainings.

    - A kind of prompt is better if the lower bound of its gain is above 0.
    - It is worse if its mean gain is below -0.01, or the upper bound is below 0.
    - The weights are accepted if at least one kind of prompt is better and none is worse.

    The bounds of the percentile method are slightly too narrow for few objects. Objects of one block are alike, and are drawn
    one by one all the same, which also makes the bounds too narrow where there are few blocks.

    Parameters
    ----------
    before, after : ObjectScores
        Scores on the same pictures.
    seed : int, default 0
        Seed of the bootstrap.

    Returns
    -------
    Decision
    """
    names = list(PROMPTS)
    first, last = (np.stack([getattr(scores, name) for name in names]) for scores in (before, after))
    means = bootstrap_means(last - first, seed)
    share = ERROR / len(names)
    gains = {}
    for number, name in enumerate(names):
        low, high = (float(value) for value in np.quantile(means[number], (share, 1 - share)))
        difference = float((last[number] - first[number]).mean())
        gains[name] = Gain(
            before=float(first[number].mean()),
            after=float(last[number].mean()),
            difference=difference,
            low=low,
            high=high,
            before_dice=float(dice(first[number]).mean()),
            after_dice=float(dice(last[number]).mean()),
            is_better=low > 0,
            is_worse=difference < -TOLERANCE or high < 0,
        )
    better, worse = (
        [PROMPTS[name] for name, gain in gains.items() if getattr(gain, is_so)] for is_so in ("is_better", "is_worse")
    )
    objects = f"{first.shape[1]} held-out objects"
    if worse:
        return Decision(False, f"on {objects}, answers to {_listed(worse)} are worse than before training", gains)
    if not better:
        return Decision(False, f"on {objects}, no kind of prompt is better than before by more than chance explains", gains)
    return Decision(True, f"on {objects}, answers to {_listed(better)} are better, and none are worse", gains)


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def table(gains: Mapping[str, Gain]) -> str:
    """Return gains as lines of text, one for each kind of prompt."""
    return "\n".join(
        f"{PROMPTS[name]}: IoU {gain.before:.3f} before, {gain.after:.3f} after, {gain.difference:+.3f} "
        f"({gain.low:+.3f} to {gain.high:+.3f})"
        for name, gain in gains.items()
    )
