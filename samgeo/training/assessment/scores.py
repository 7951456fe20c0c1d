"""Scores of the evaluation of a model, and their Markdown table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BoxScores", "Reliability", "Scores", "markdown"]

BINS = 10
MIN_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Reliability:
    """Predicted against true IoU, in ten bins of predicted IoU.

    Attributes
    ----------
    predicted, true : tuple of float
        Mean predicted and mean true IoU of each bin that is not empty.
    count : tuple of int
        Number of answers in each of these bins.
    """

    predicted: tuple[float, ...]
    true: tuple[float, ...]
    count: tuple[int, ...]

    @classmethod
    def of(cls, predicted: NDArray[np.floating], true: NDArray[np.floating]) -> Reliability:
        """Put pairs of predicted and true IoU into ten bins of the predicted one."""
        bins = np.clip((predicted * BINS).astype(int), 0, BINS - 1)
        filled = [bins == number for number in range(BINS) if (bins == number).any()]
        return cls(
            tuple(float(predicted[part].mean()) for part in filled),
            tuple(float(true[part].mean()) for part in filled),
            tuple(int(part.sum()) for part in filled),
        )

    @property
    def error(self) -> float:
        """Mean difference between predicted and true IoU over bins, weighted by count: the expected calibration error."""
        gaps = np.abs(np.array(self.predicted) - np.array(self.true))
        return float(np.average(gaps, weights=self.count)) if self.count else float("nan")

    @property
    def largest_gap(self) -> float:
        """Largest difference between predicted and true IoU in a bin that holds at least a hundredth of the answers."""
        shares = np.array(self.count) / max(sum(self.count), 1)
        gaps = np.abs(np.array(self.predicted) - np.array(self.true))[shares >= MIN_SHARE]
        return float(gaps.max()) if len(gaps) else float("nan")


@dataclass(frozen=True, slots=True)
class Scores:
    """Mean IoU over objects for each kind of prompt.

    All prompts are derived from the truth alone, so that the scores of different models are comparable.

    Attributes
    ----------
    objects : int
    click : float
        After one click in the middle: the candidate with the highest predicted IoU.
    click_best : float
        After the same click: the candidate with the highest true IoU.
    three_clicks : float
        After two more clicks, each in the middle of the deepest error and with the logits of the previous answer.
    box : float
        After the exact bounding box as the prompt.
    filled_box : float
        Of the filled bounding box itself, as a baseline without any model.
    region : float
        Of the region of even colour under the click, as a baseline. One of three scales is used for all objects, the best one.
        NaN if it was not requested. See `samgeo.training.data.pseudo_labels`.
    iou_error : float
        Mean absolute difference of predicted and true IoU, over all candidates of the click and the answers to boxes.
    iou_correlation : float
        Pearson correlation of predicted and true IoU.
    reliability : Reliability
    click_dice, three_clicks_dice, box_dice : float
        Mean Dice coefficients of the answers whose mean IoU is ``click``, ``three_clicks`` and ``box``. The Dice coefficient of
        an answer is ``2 IoU / (1 + IoU)``.
    """

    objects: int
    click: float
    click_best: float
    three_clicks: float
    box: float
    filled_box: float
    region: float
    iou_error: float
    iou_correlation: float
    reliability: Reliability
    click_dice: float
    three_clicks_dice: float
    box_dice: float


@dataclass(frozen=True, slots=True)
class BoxScores:
    """Mean IoU of bounding boxes, for sets that have true boxes but no true masks.

    Attributes
    ----------
    objects : int
    click, click_best : float
        After a click in the middle: of the candidate with the highest predicted IoU, and of the candidate with the highest
        true IoU.
    region : float
        Baseline of the region of even colour, as in `Scores`.
    """

    objects: int
    click: float
    click_best: float
    region: float


def markdown(scores: Mapping[str, Scores]) -> str:
    """Return the scores as a Markdown table."""
    columns = ("mean IoU", "objects", "one click, own pick", "best of three", "three clicks", "box", "filled box", "region")
    head = "| " + " | ".join((*columns, "IoU error", "correlation")) + " |"
    lines = [head, "|---" * 10 + "|"]
    for name, one in scores.items():
        means = (one.click, one.click_best, one.three_clicks, one.box, one.filled_box, one.region)
        told = " | ".join(number(value) for value in (*means, one.iou_error, one.iou_correlation))
        lines.append(f"| {name} | {one.objects} | {told} |")
    lines += ["", "| mean Dice | one click, own pick | three clicks | box |", "|---" * 4 + "|"]
    for name, one in scores.items():
        told = " | ".join(number(value) for value in (one.click_dice, one.three_clicks_dice, one.box_dice))
        lines.append(f"| {name} | {told} |")
    return "\n".join(lines)


def number(value: float) -> str:
    """Format a mean with three decimals; NaN gives an empty string."""
    return "" if np.isnan(value) else f"{value:.3f}"
