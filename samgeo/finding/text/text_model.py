"""What the wrappers of all text models share."""

from __future__ import annotations

import hashlib
import json
from copy import copy
from typing import TYPE_CHECKING, ClassVar, Self

import torch

from samgeo.finding.detectors.detection import Detections
from samgeo.finding.text.phrases import check_lengths

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from samgeo.finding.text.images import Preprocessing

__all__ = ["TextModel", "corners", "tokens_of"]

# Part of all digests. It changes when the same weights and phrases give other results.
VERSION = 1


class TextModel:
    """A `Detector` whose classes are phrases, which are all asked together in every image.

    Parameters
    ----------
    network : PreTrainedModel
        The network of transformers, with its weights.
    tokenizer : PreTrainedTokenizerBase
        The tokenizer of the network.
    phrases : tuple of str
        What is looked for.
    name : str
        Name of the model, for provenance and messages.
    digest : str
        Digest of the weights, and of the files that say how texts and images are prepared.
    preprocessing : Preprocessing
        How images are prepared.
    min_score : float, optional
        Detections with a lower score are left out. `MIN_SCORE` by default.
    device : torch.device, optional
        Where the network computes, in float32. The CPU by default.

    Attributes
    ----------
    MIN_SCORE : float
        The score from which the published post-processing of the model keeps objects.
    DRAWS_MASKS : bool
        Whether it gives masks as well as boxes.

    Raises
    ------
    OptionError
        If the phrases do not fit the model.
    """

    MIN_SCORE: ClassVar[float]
    DRAWS_MASKS: ClassVar[bool] = False

    def __init__(
        self,
        network: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        phrases: tuple[str, ...],
        *,
        name: str,
        digest: str,
        preprocessing: Preprocessing,
        min_score: float | None = None,
        device: torch.device | None = None,
    ) -> None:
        self.phrases, self.name, self.preprocessing = phrases, name, preprocessing
        self.digest = hashlib.sha256(json.dumps([VERSION, digest, list(phrases)]).encode()).hexdigest()[:16]
        self.min_score = self.MIN_SCORE if min_score is None else min_score
        self.device = torch.device("cpu") if device is None else device
        self.network = network.to(device=self.device, dtype=torch.float32).eval().requires_grad_(requires_grad=False)
        self.read(tokenizer)

    @classmethod
    def tokens(
        cls, phrases: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str
    ) -> object:
        """Return the tokens of phrases as the network reads them.

        Raises
        ------
        OptionError
            If the phrases do not fit the model.
        """
        raise NotImplementedError

    def read(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Keep what is the same for all images."""
        raise NotImplementedError

    @classmethod
    def preprocessing_of(cls, folder: Path, config: PretrainedConfig) -> Preprocessing:
        """Return how the model of a folder wants its images."""
        raise NotImplementedError

    def for_score(self, min_score: float) -> Self:
        """Return this detector with another threshold; both share their weights."""
        other = copy(self)
        other.min_score = min_score
        return other

    @property
    def classes(self) -> tuple[str, ...]:
        """The phrases."""
        return self.phrases

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Return what is found in a square image of uint8, shape (W, W, 3); boxes are in pixels of the image."""
        raise NotImplementedError

    def kept(self, boxes: Tensor, scores: Tensor, *, side: int) -> Detections:
        """Return the detections that reach the least score, each with the class of its highest score.

        Parameters
        ----------
        boxes : tensor, shape (K, 4)
            x0, y0, x1, y1 as shares of the image.
        scores : tensor, shape (K, P)
            Of each phrase.
        side : int
            Side of the image in pixels.
        """
        best, kind = scores.max(1)
        rows = torch.nonzero(best >= self.min_score)[:, 0]
        rows = rows[torch.argsort(best[rows], descending=True, stable=True)]
        return Detections(
            (boxes[rows].cpu().double() * side).float().numpy(), best[rows].float().cpu().numpy(), kind[rows].cpu().numpy()
        )


def corners(boxes: Tensor) -> Tensor:
    """Return boxes of centre x, centre y, width and height, shape (K, 4), as x0, y0, x1, y1."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], dim=-1)


def tokens_of(tokenizer: PreTrainedTokenizerBase, phrases: tuple[str, ...], most: int, name: str) -> dict[str, Tensor]:
    """Return the tokens of phrases that a model reads one by one, and which of them are no padding, each of shape (P, most).

    Raises
    ------
    OptionError
        If a phrase has more tokens than the model reads.
    """
    given = [phrase.lower() for phrase in phrases]
    check_lengths(phrases, [len(ids) for ids in tokenizer(given)["input_ids"]], most, name)
    padded = tokenizer(given, padding="max_length", max_length=most, return_tensors="pt")
    return {part: padded[part] for part in ("input_ids", "attention_mask")}
