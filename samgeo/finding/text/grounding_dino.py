"""Grounding DINO and MM-Grounding-DINO, to which LLMDet belongs: boxes for all phrases of one text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from samgeo.errors import CheckpointError, OptionError
from samgeo.finding.text.images import IMAGENET_MEAN, IMAGENET_STD, Preprocessing, bilinear, check_square
from samgeo.finding.text.text_model import TextModel, corners

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from samgeo.finding.detectors.detection import Detections

__all__ = ["GroundingDino", "Prompt"]

PREPROCESSING = Preprocessing(800, IMAGENET_MEAN, IMAGENET_STD)
# Numbers of the tokens [CLS], [SEP], "." and "?" of BERT, which the network uses to tell phrases apart.
START, END, STOP, QUESTION = 101, 102, 1012, 1029


class Prompt:
    """The tokens of several phrases, and which of them belong to which phrase.

    Parameters
    ----------
    tokenizer : PreTrainedTokenizerBase
        The tokenizer of BERT.
    phrases : sequence of str
        The phrases.
    most : int
        Most tokens that the model reads.
    name : str
        Name of the model, for messages.

    Raises
    ------
    OptionError
        If there are too many tokens, or a phrase contains a full stop or a question mark, which end a phrase, or nothing that
        the tokenizer knows.
    CheckpointError
        If the tokenizer is not BERT's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, phrases: Sequence[str], most: int, name: str) -> None:
        special = tokenizer.convert_tokens_to_ids(["[CLS]", "[SEP]", ".", "?"])
        if special != [START, END, STOP, QUESTION]:
            raise CheckpointError(f"the tokenizer of {name} is not that of Grounding DINO: its special tokens are {special}.")
        ids, spans = [START], []
        for phrase in phrases:
            tokens = tokenizer(phrase.lower(), add_special_tokens=False)["input_ids"]
            if {STOP, QUESTION} & set(tokens):
                raise OptionError(f"the phrase {phrase!r} has a full stop or a question mark, which end phrases; leave it out.")
            if not tokens:
                raise OptionError(f"the phrase {phrase!r} has nothing that the model reads; give words.")
            spans.append(slice(len(ids), len(ids) + len(tokens)))
            ids += [*tokens, STOP]
        ids.append(END)
        if len(ids) > most:
            raise OptionError(
                f"the {len(phrases)} phrases have {len(ids)} tokens together, and {name} reads at most {most}; give fewer "
                "or shorter phrases, and find the others in another run."
            )
        self.ids, self.spans = tuple(ids), tuple(spans)

    def scores(self, logits: Tensor) -> Tensor:
        """Return the score of each phrase, the highest of its tokens, shape (K, P), for logits (K, T) of the tokens."""
        chances = logits.sigmoid()
        return torch.stack([chances[:, span].amax(1) for span in self.spans], dim=1)


class GroundingDino(TextModel):
    """Grounding DINO or MM-Grounding-DINO with its phrases.

    The phrases take part in how the network reads the image, so that scores depend on which phrases are asked together. All are
    asked in every window.

    Its parameters are those of `samgeo.finding.text.text_model.TextModel`.
    """

    MIN_SCORE = 0.25

    @classmethod
    def tokens(
        cls, phrases: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str
    ) -> Prompt:
        """Return the one text of all phrases; see `TextModel.tokens`."""
        return Prompt(tokenizer, phrases, int(config.max_text_len), name)

    def read(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Make the one text of all phrases."""
        self.prompt = self.tokens(self.phrases, tokenizer, self.network.config, self.name)
        self._ids = torch.tensor([self.prompt.ids], device=self.device)

    @classmethod
    def preprocessing_of(cls, folder: Path, _config: PretrainedConfig) -> Preprocessing:
        """Return how the model of a folder wants its images."""
        return Preprocessing.of(folder, PREPROCESSING)

    def detect(self, image: NDArray[np.uint8]) -> Detections:
        """Return the boxes of all phrases in an image; see `TextModel.detect`."""
        boxes, scores = self.scored(image)
        return self.kept(boxes, scores, side=len(image))

    @torch.inference_mode()
    def scored(self, image: NDArray[np.uint8]) -> tuple[Tensor, Tensor]:
        """Return all boxes, shape (K, 4), as shares of the image, and their scores, shape (K, P)."""
        check_square(image, self.name)
        pixels = self.preprocessing.normalized(bilinear(image, self.preprocessing.side)).to(self.device)
        answer = self.network(
            pixel_values=pixels,
            input_ids=self._ids,
            token_type_ids=torch.zeros_like(self._ids),
            attention_mask=torch.ones_like(self._ids),
        )
        return corners(answer.pred_boxes[0]), self.prompt.scores(answer.logits[0])
