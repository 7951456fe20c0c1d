"""The threshold of a search by examples: the scores of examples that are found without themselves."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
import torch
from numpy.typing import NDArray

from samgeo.finding.example_finder import AreaPrior, ExampleFinder
from samgeo.finding.pixel_classifier import PixelClassifier, WindowCells, covered_shares
from samgeo.segmentation.windows.asking import Answers, ask

if TYPE_CHECKING:
    from samgeo.finding.example_windows import ExampleWindow
    from samgeo.models.protocols import Segmenter

__all__ = ["Gathered", "HeldOut", "held_out_answers", "threshold_of"]

FOLDS = 5
HIT_IOU = 0.5
# The threshold keeps this share of the examples that are found, and is this share of the score of a single example. Few
# examples give it only roughly, so it is limited to the range in which it was best for outlines of buildings.
KEPT_SHARE, SINGLE_SHARE = 0.9, 0.8
LEAST_THRESHOLD, MOST_THRESHOLD, DEFAULT_THRESHOLD = 0.5, 0.6, 0.55
# Feature vectors of one class that are used for training at most. More would not change the classifier.
MOST_CELLS = 40_000


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """What is known of all examples.

    Attributes
    ----------
    cells : sequence of WindowCells
        Feature vectors, by window.
    numbers : sequence of sequences of int
        Numbers of the accepted examples of each window.
    areas : ndarray of float, shape (N,)
        Areas of the accepted examples in square pixels of the model's input.
    """

    cells: Sequence[WindowCells]
    numbers: Sequence[Sequence[int]]
    areas: NDArray[np.float64]

    def classifier(self, used: NDArray[np.bool_] | None = None) -> PixelClassifier | None:
        """Train a classifier on all examples, or on the used ones, shape (N,); return None if they have no usable cells."""
        chosen = np.ones(len(self.areas), dtype=bool) if used is None else used
        inside: list[NDArray[np.float32]] = []
        around: list[NDArray[np.float32]] = []
        for window, mine in zip(self.cells, self.numbers, strict=True):
            inside += [one for number, one in zip(mine, window.inside, strict=True) if chosen[number]]
            around += [one for number, one in zip(mine, window.around, strict=True) if chosen[number]]
        positive, negative = _thinned(inside), _thinned([*around, *(window.rejected for window in self.cells)])
        return PixelClassifier.fit(positive, negative) if len(positive) and len(negative) else None


def _thinned(parts: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Join feature vectors, and leave out some of them evenly if they are many."""
    count = sum(map(len, parts))
    step = -(-count // MOST_CELLS)
    return np.concatenate([part[::step] for part in parts]) if count else np.empty((0, 0), np.float32)


def threshold_of(model: Segmenter, finder: ExampleFinder, windows: Sequence[ExampleWindow], gathered: Gathered) -> float:
    """Return the score before calibration that keeps most of the examples; the parameters are those of `held_out_answers`.

    Each example counts with the best score of those answers that hit it.
    """
    best: dict[int, float] = {}
    for one in held_out_answers(model, finder, windows, gathered):
        if one.iou >= HIT_IOU:
            best[one.number] = max(best.get(one.number, 0.0), one.product)
    if not best:
        return DEFAULT_THRESHOLD
    scores = np.array([best[number] for number in sorted(best)])
    threshold = SINGLE_SHARE * scores[0] if len(gathered.areas) == 1 else np.quantile(scores, 1 - KEPT_SHARE)
    return float(np.clip(threshold, LEAST_THRESHOLD, MOST_THRESHOLD))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The answer of one point in an example that was held out.

    Attributes
    ----------
    number : int
        The example.
    iou : float
        Of the answer and the example.
    product : float
        Score before calibration.
    parts : ndarray, shape (4,)
        Of the score.
    """

    number: int
    iou: float
    product: float
    parts: NDArray[np.float64]


def held_out_answers(
    model: Segmenter, finder: ExampleFinder, windows: Sequence[ExampleWindow], gathered: Gathered
) -> Iterator[HeldOut]:
    """Search each example with a finder of the others.

    Parameters
    ----------
    model : Segmenter
        The model.
    finder : ExampleFinder
        Made from all examples. A single example is searched with it.
    windows : sequence of ExampleWindow
        Windows in which examples are searched.
    gathered : Gathered
        All examples.
    """
    count = len(gathered.areas)
    folds = min(count, FOLDS)
    for fold in range(folds):
        one = finder
        if folds > 1:
            used = np.arange(count) % folds != fold
            classifier = gathered.classifier(used)
            if classifier is None:
                continue
            one = replace(finder, classifier=classifier, prior=AreaPrior.of(gathered.areas[used]))
        for window in windows:
            held = [place for place, number in enumerate(window.numbers) if number % folds == fold]
            if held:
                yield from _search(model, one, window, held)


def _search(model: Segmenter, finder: ExampleFinder, window: ExampleWindow, held: list[int]) -> Iterator[HeldOut]:
    """Search some examples of a window."""
    proposals, evidence = finder.propose(model, window.embedding, window.view)
    for place in held:
        outline = window.outlines[place]
        mine = proposals[shapely.contains_xy(outline, *proposals.points.T.astype(np.float64))]
        if not len(mine):
            continue
        answers = ask(model, window.embedding, mine, finder.choose(evidence))
        products, parts = finder.product(answers, evidence), finder.parts(answers, evidence)
        for iou, product, part in zip(_ious(answers, outline, model.input_size), products, parts, strict=True):
            yield HeldOut(window.numbers[place], float(iou), float(product), part)


def _ious(answers: Answers, outline: shapely.Geometry, side: int) -> NDArray[np.float64]:
    """Return the IoU of answers and an outline, from the shares of the cells of the answers that it covers."""
    masks = (answers.logits > 0).float().cpu()
    grid = masks.shape[-1]
    share = torch.from_numpy(covered_shares(outline, grid, side // grid))
    common = torch.minimum(masks, share).flatten(1).sum(1)
    return (common / torch.maximum(masks, share).flatten(1).sum(1).clamp(min=1e-6)).numpy().astype(np.float64)
