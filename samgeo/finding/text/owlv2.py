"""OWLv2: boxes for each phrase by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from samgeo.finding.text.images import CLIP_MEAN, CLIP_STD, Preprocessing, check_square, smooth_bilinear
from samgeo.finding.text.text_model import TextModel, corners, tokens_of

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from samgeo.finding.detectors.detection import Detections

__all__ = ["Owlv2"]


class Owlv2(TextModel):
    """OWLv2 with its phrases. Each phrase is scored by itself, and a box has the class of its highest score.

    Its parameters are those of `samgeo.finding.text.text_model.TextModel`.

    Raises
    ------
    OptionError
        If a phrase has too many tokens: the published models read 16.
    """

    MIN_SCORE = 0.1

    @classmethod
    def tokens(
        cls, phrases: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str
    ) -> dict[str, Tensor]:
        """Return the tokens of each phrase; see `TextModel.tokens`."""
        return tokens_of(tokenizer, phrases, int(config.text_config.max_position_embeddings), name)

    def read(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Encode the phrases."""
        self._queries = self._encoded(self.tokens(self.phrases, tokenizer, self.network.config, self.name))

    @classmethod
    def preprocessing_of(cls, folder: Path, config: PretrainedConfig) -> Preprocessing:
        """Return how the model of a folder wants its images."""
        side = int(config.vision_config.image_size)
        return Preprocessing.of(folder, Preprocessing(side, CLIP_MEAN, CLIP_STD), fixed_side=True)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Return the boxes of all phrases in an image; see `TextModel.detect`. Boxes may reach beyond the image."""
        boxes, scores = self.scored(image)
        return self.kept(boxes, scores, side=len(image))

    @torch.inference_mode()
    def scored(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return the box of each patch, shape (K, 4), as shares of the image, and its scores, shape (K, P)."""
        check_square(image, self.name)
        pixels = self.preprocessing.normalized(smooth_bilinear(image, self.preprocessing.side)).to(self.device)
        network = self.network
        grid = network.image_embedder(pixel_values=pixels)[0]
        patches = grid.flatten(1, 2)
        mask = torch.ones((1, len(self.phrases)), dtype=torch.bool, device=self.device)
        logits = network.class_predictor(patches, self._queries[None], mask)[0]
        return corners(network.box_predictor(patches, grid)[0]), logits[0].sigmoid()

    @torch.inference_mode()
    def _encoded(self, tokens: dict[str, Tensor]) -> Tensor:
        """Return the embeddings of the phrases, shape (P, C). They are the same for all windows."""
        answer = self.network.owlv2.get_text_features(
            input_ids=tokens["input_ids"].to(self.device), attention_mask=tokens["attention_mask"].to(self.device)
        )
        embeddings: Tensor = getattr(answer, "pooler_output", answer)
        normalized: Tensor = embeddings / embeddings.norm(dim=-1, keepdim=True)
        return normalized
