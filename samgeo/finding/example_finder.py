"""A prompt source that is made from examples: peaks of the probability of pixels become points, and their masks get scores."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional

from samgeo.errors import ModelError
from samgeo.finding.pixel_classifier import PixelClassifier, valid_cells
from samgeo.models.protocols import Describing
from samgeo.segmentation.windows.proposals import Proposals

if TYPE_CHECKING:
    from samgeo.models.protocols import Segmenter
    from samgeo.segmentation.windows.asking import Answers, Choose
    from samgeo.segmentation.windows.proposals import WindowView
    from samgeo.types import Embedding

__all__ = ["MIDDLE", "AreaPrior", "Evidence", "ExampleFinder", "describing"]

SIGMA = 1.5
# A peak is the highest cell within this many cells.
REACH = 4
AT_MOST = 150
LEAST_PROBABILITY = 0.3
# Width of the ring around a mask, in cells of the mask.
RING = 2
# Least standard deviation of the logarithm of areas, and the one of a single example.
LEAST_SPREAD, SINGLE_SPREAD = 0.5, 0.8
# Score of the threshold.
MIDDLE = 0.5
LEAST_SCORE = 1e-6


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
    threshold : float, default 0.5
        Product of the parts of a score that becomes a score of one half; see `score`.
    """

    classifier: PixelClassifier
    prior: AreaPrior
    what: str
    digest: str
    threshold: float = MIDDLE

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
        self, _model: Segmenter, _embedding: Embedding, _proposals: Proposals, answers: Answers, evidence: Evidence
    ) -> NDArray[np.float32]:
        """Return the scores of the answers; see `PromptSource.score`.

        The score is one half where the product of the parts (see `product`) equals the threshold that was learned from the
        examples. The logit of the score is the logit of the product, less that of the threshold.
        """
        product = np.clip(self.product(answers, evidence), LEAST_SCORE, 1 - LEAST_SCORE)
        logit = np.log(product / (1 - product)) - math.log(self.threshold / (1 - self.threshold))
        return (1 / (1 + np.exp(-logit))).astype(np.float32)

    def product(self, answers: Answers, evidence: Evidence) -> NDArray[np.float64]:
        """Return the score of answers before calibration, shape (P,)."""
        parts = self.parts(answers, evidence)
        return (parts[:, 0] * parts[:, 1] * parts[:, 2] * parts[:, 3]) ** 0.25

    def parts(self, answers: Answers, evidence: Evidence) -> NDArray[np.float64]:
        """Return the parts of the scores of answers, shape (P, 4), each from 0 to 1.

        They are the mean probability inside the mask, the contrast (how much higher that is than in a ring around the mask),
        the predicted IoU, and how likely the area is.
        """
        masks = (answers.logits > 0).float()
        ring = functional.max_pool2d(masks[:, None], 2 * RING + 1, 1, RING)[:, 0] - masks
        probability = evidence.like(masks)
        inside, around = _mean_in(masks, probability), _mean_in(ring, probability)
        area = self.prior(_areas(masks, evidence.side))
        columns = [inside, (inside - around + 1) / 2, answers.predicted_iou.clamp(0, 1), area]
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
