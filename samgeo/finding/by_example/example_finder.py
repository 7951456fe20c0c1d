"""A prompt source that is made from examples: peaks of the probability of pixels become points, and their masks get scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.special import expit, logit
from torch import Tensor
from torch.nn import functional

from samgeo.errors import ModelError
from samgeo.finding.by_example.pixel_classifier import PixelClassifier, valid_cells
from samgeo.models.protocols import Describing
from samgeo.segmentation.windows.proposals import Proposals

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.asking import Answers, Choose
    from samgeo.segmentation.windows.proposals import WindowView
    from samgeo.types import Embedding

__all__ = ["DEFAULT_SCORE", "AreaPrior", "Evidence", "ExampleFinder", "describing"]

SIGMA = 1.5
# A peak is the highest cell within this many cells.
REACH = 4
AT_MOST = 150
LEAST_PROBABILITY = 0.3
# Width of the ring around a mask, in cells of the mask.
RING = 2
# Least standard deviation of the logarithm of areas, and the one of a single example.
LEAST_SPREAD, SINGLE_SPREAD = 0.5, 0.8
# The score is a logistic regression on the measures of an answer, in the order of `ExampleFinder.measures`. It was trained on
# searches by 1, 3, 5 and 20 examples in seven places and kinds of objects (buildings in photographs, and roofs, cars, trees and
# fields of generated towns), and its probabilities were right in kinds and places that were left out of its training; see
# benchmarks/STUDIES.md.
SCORE_WEIGHTS, SCORE_BIAS = (0.642, 5.811, 2.224, 0.321, -0.324), -7.842
LEAST_PROBABILITY_OF_PARTS, LEAST_AREA_PRIOR = 1e-3, 1e-3
# Least score of an object, unless the caller gives another one: the one with the best mean F1 in these searches.
DEFAULT_SCORE = 0.2


@dataclass(frozen=True, slots=True)
class AreaPrior:
    """How likely an area is, after the areas of examples.

    Attributes
    ----------
    log_area : float
        Mean of the logarithms of the areas, in square pixels of the model's input.
    spread : float
        Standard deviation of the logarithms.
    """

    log_area: float
    spread: float

    @classmethod
    def of(cls, areas: NDArray[np.float64]) -> AreaPrior:
        """Return the prior for the areas of examples."""
        logs = np.log(np.maximum(areas, 1.0))
        return cls(float(logs.mean()), max(float(logs.std()), LEAST_SPREAD) if len(logs) > 1 else SINGLE_SPREAD)

    def __call__(self, areas: Tensor) -> Tensor:
        """Return how likely areas are, from 0 to 1; 1 for the geometric mean."""
        return (-(((areas.clamp(min=1).log() - self.log_area) / self.spread) ** 2) / 2).exp()


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """What the classifier says of one window.

    Attributes
    ----------
    probability : tensor, shape (g, g)
        Probability of each cell; 0 where there is no data.
    side : int
        Side of the model's input in pixels.
    """

    probability: Tensor
    side: int

    def like(self, masks: Tensor) -> Tensor:
        """Return the probability at the resolution and on the device of masks of shape (..., h, w)."""
        size = masks.shape[-2:]
        values = self.probability
        if values.shape != size:
            values = functional.interpolate(values[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
        return values.to(masks.device)


@dataclass(frozen=True, slots=True, eq=False)
class ExampleFinder:
    """A prompt source that is made from examples; see `samgeo.segmentation.windows.proposals.PromptSource`.

    Attributes
    ----------
    classifier : PixelClassifier
        Tells pixels of the examples from those around them.
    prior : AreaPrior
        Areas of the examples.
    what : str
        Name of the class.
    digest : str
        Digest of the model, the examples and the options.
    """

    classifier: PixelClassifier
    prior: AreaPrior
    what: str
    digest: str

    @property
    def name(self) -> str:
        """Name of the source, for provenance."""
        return f"examples of {self.what}"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return (self.what,)

    def propose(self, model: Segmenter, embedding: Embedding, window: WindowView) -> tuple[Proposals, Evidence]:
        """Propose a point for each peak of the smoothed probability; see `PromptSource.propose`."""
        features = describing(model).features(embedding)
        grid = len(features)
        valid = valid_cells(window.valid, grid)
        probability = np.where(valid, self.classifier.probability(features), np.float32(0))
        evidence = Evidence(torch.from_numpy(probability), model.input_size)
        smooth = ndimage.gaussian_filter(probability, SIGMA)
        smooth[~valid] = 0
        peak = (smooth == ndimage.maximum_filter(smooth, 2 * REACH + 1)) & (smooth > LEAST_PROBABILITY)
        row, column = np.nonzero(peak)
        points = ((np.stack([column, row], axis=1) + 0.5) * model.input_size / grid).astype(np.float32)
        # Peaks that other windows use must not take the place of this window's own.
        own = window.responsible(points)
        points, height = points[own], smooth[row, column][own]
        order = np.argsort(-height, kind="stable")[:AT_MOST]
        boxes = np.full((len(order), 4), np.nan, dtype=np.float32)
        return Proposals(boxes, points[order], height[order], np.zeros(len(order), dtype=np.int64)), evidence

    def choose(self, evidence: Evidence) -> Choose:
        """Return what chooses the candidate whose pixels, predicted IoU and area fit the examples best."""

        def best(logits: Tensor, predicted_iou: Tensor) -> Tensor:
            masks = (logits > 0).float()
            value = _mean_in(masks, evidence.like(masks)) * predicted_iou.clamp(0, 1) * self.prior(_areas(masks, evidence.side))
            return value.argmax(1)

        return best

    def score(
        self, _model: Segmenter, _embedding: Embedding, proposals: Proposals, answers: Answers, evidence: Evidence
    ) -> NDArray[np.float32]:
        """Return the probability of each answer that its mask is right, shape (P,); see `PromptSource.score`."""
        measured = self.measures(proposals, answers, evidence)
        inputs = np.array(measured)
        for column in (0, 2, 4):
            inputs[:, column] = logit(np.clip(measured[:, column], LEAST_PROBABILITY_OF_PARTS, 1 - LEAST_PROBABILITY_OF_PARTS))
        inputs[:, 3] = np.log(measured[:, 3] + LEAST_AREA_PRIOR)
        return np.asarray(expit(inputs @ np.array(SCORE_WEIGHTS) + SCORE_BIAS), dtype=np.float32)

    def measures(self, proposals: Proposals, answers: Answers, evidence: Evidence) -> NDArray[np.float64]:
        """Return the measures from which the score follows, shape (P, 5), each from 0 to 1.

        They are the mean probability inside the mask; the contrast, which says how much higher that is than in a ring around
        the mask, and is 0.5 if both are equal; the predicted IoU; how likely the area is; and the probability at the point.
        """
        masks = (answers.logits > 0).float()
        ring = functional.max_pool2d(masks[:, None], 2 * RING + 1, 1, RING)[:, 0] - masks
        probability = evidence.like(masks)
        inside, around = _mean_in(masks, probability), _mean_in(ring, probability)
        area = self.prior(_areas(masks, evidence.side))
        point = torch.from_numpy(proposals.scores).to(masks.device)
        columns = [inside, (inside - around + 1) / 2, answers.predicted_iou.clamp(0, 1), area, point]
        return torch.stack([one.double() for one in columns], dim=1).cpu().numpy()


def describing(model: Segmenter) -> Describing:
    """Return a model that gives feature vectors.

    Raises
    ------
    ModelError
        If it gives none.
    """
    if not isinstance(model, Describing):
        raise ModelError(
            f"the model {model.name} gives no feature vectors (it has no method features), which a search by examples needs; "
            "use one of samgeo.list_models(), for example tiny."
        )
    return model


def _mean_in(masks: Tensor, values: Tensor) -> Tensor:
    """Return the mean of values (h, w) inside each mask (..., h, w); 0 in empty ones."""
    return (masks * values).flatten(-2).sum(-1) / masks.flatten(-2).sum(-1).clamp(min=1)


def _areas(masks: Tensor, side: int) -> Tensor:
    """Return the areas of masks (..., h, w) over an input of a side, in square pixels of the input."""
    return masks.flatten(-2).sum(-1) * (side / masks.shape[-1]) ** 2
