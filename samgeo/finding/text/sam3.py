"""SAM 3: masks for each phrase by itself, and for exemplar boxes in the image."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from types import FunctionType, MethodType, SimpleNamespace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from samgeo.errors import OptionError, warn
from samgeo.finding.detectors.detection import Detections
from samgeo.finding.text.images import HALF, Preprocessing, bilinear, check_square
from samgeo.finding.text.roi_align import roi_align
from samgeo.finding.text.text_model import TextModel, tokens_of

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PretrainedConfig, PreTrainedTokenizerBase
    from transformers.models.sam3.modeling_sam3 import Sam3GeometryEncoder

__all__ = ["Exemplars", "Sam3"]

# The network gives at most 200 objects for each phrase. So many in one window mean that there may be more.
MANY = 180
# Phrases that are computed together. Each needs 66 MB for its masks, and a copy of the attention to the image.
AT_ONCE = 8
# Label of a place without an exemplar.
PADDING = -10


@dataclass(frozen=True, slots=True, eq=False)
class Exemplars:
    """Boxes in one image that show what phrases mean, or do not mean.

    Attributes
    ----------
    boxes : ndarray of float32, shape (N, 4)
        x0, y0, x1, y1 in pixels of the image.
    positive : ndarray of bool, shape (N,)
        Whether a box shows an object of its phrase, or something else.
    classes : ndarray of int64, shape (N,)
        Number of the phrase of each box.
    """

    boxes: NDArray[np.float32]
    positive: NDArray[np.bool_]
    classes: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.boxes)


class Sam3(TextModel):
    """SAM 3 with its phrases. Each phrase is computed by itself from the same features of the image.

    Its parameters are those of `samgeo.finding.text.text_model.TextModel`.

    Raises
    ------
    OptionError
        If a phrase has too many tokens: the published model reads 32.
    """

    MIN_SCORE = 0.5
    DRAWS_MASKS = True

    @classmethod
    def tokens(
        cls, phrases: tuple[str, ...], tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig, name: str
    ) -> dict[str, Tensor]:
        """Return the tokens of each phrase; see `TextModel.tokens`."""
        return tokens_of(tokenizer, phrases, int(_detector(config).text_config.max_position_embeddings), name)

    @torch.inference_mode()
    def read(self, tokenizer: PreTrainedTokenizerBase) -> None:
        """Encode the phrases."""
        tokens = self.tokens(self.phrases, tokenizer, self.network.config, self.name)
        self._mask = tokens["attention_mask"].to(self.device)
        # The network takes the whole answer again, of which it reads this part alone.
        answer = self.network.get_text_features(input_ids=tokens["input_ids"].to(self.device), attention_mask=self._mask)
        self._text = answer.pooler_output
        _pool_without_torchvision(self.network.geometry_encoder)

    @classmethod
    def preprocessing_of(cls, folder: Path, config: PretrainedConfig) -> Preprocessing:
        """Return how the model of a folder wants its images."""
        return Preprocessing.of(folder, Preprocessing(int(_detector(config).image_size), HALF, HALF), fixed_side=True)

    def detect(self, image: NDArray[np.uint8], exemplars: Exemplars | None = None) -> Detections:
        """Return the objects of all phrases in an image, with their masks; see `TextModel.detect`.

        Parameters
        ----------
        image : ndarray of uint8, shape (W, W, 3)
            The image of a window.
        exemplars : Exemplars, optional
            Boxes in this image that show objects of a phrase, or what is no such object.

        Warns
        -----
        SamgeoWarning
            If a phrase has more than 180 objects in the image.
        """
        parts, counts = [], []
        for start, boxes, scores, masks in self._in_parts(image, exemplars):
            reached = scores >= self.min_score
            kind, row = torch.nonzero(reached, as_tuple=True)
            counts += reached.sum(1).tolist()
            parts.append((boxes[kind, row].cpu(), scores[kind, row].cpu(), kind.cpu() + start, masks[kind, row].cpu()))
        if max(counts) > MANY:
            warn(
                f"{self.name} found more than {MANY} objects of {self.phrases[int(np.argmax(counts))]!r} in a window. It gives "
                f"at most {scores.shape[1]}, so that some may be missing; use smaller windows, with a higher zoom."
            )
        boxes, scores, kind, masks = (torch.cat(part) for part in zip(*parts, strict=True))
        order = torch.argsort(scores, descending=True, stable=True)
        return Detections(
            (boxes[order].double() * len(image)).float().numpy(),
            scores[order].numpy(),
            kind[order].numpy(),
            masks[order].numpy(),
        )

    def scored(self, image: NDArray[np.uint8], exemplars: Exemplars | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Return all objects of each phrase.

        Returns
        -------
        boxes : tensor, shape (P, Q, 4)
            x0, y0, x1, y1 as shares of the image.
        scores : tensor, shape (P, Q)
            The probability of the object times that of the presence of the phrase in the image.
        logits : tensor, shape (P, Q, h, w)
            Of the masks, over the whole image.
        """
        parts = [part[1:] for part in self._in_parts(image, exemplars)]
        boxes, scores, masks = (torch.cat(part) for part in zip(*parts, strict=True))
        return boxes, scores, masks

    def _in_parts(self, image: NDArray[np.uint8], exemplars: Exemplars | None) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
        """Yield the number of the first phrase, and the results of `scored`, of a few phrases at a time.

        The image is encoded once. Its features are repeated for each phrase, because the network does not repeat them itself.
        """
        check_square(image, self.name)
        pixels = self.preprocessing.normalized(bilinear(image, self.preprocessing.side)).to(self.device)
        with torch.inference_mode():
            seen = self.network.get_vision_features(pixel_values=pixels)
        for start in range(0, len(self.phrases), AT_ONCE):
            rows = slice(start, min(start + AT_ONCE, len(self.phrases)))
            count = rows.stop - rows.start
            given = {} if exemplars is None else self._exemplars(exemplars, rows, len(image))
            with torch.inference_mode():
                answer = self.network(
                    vision_embeds=type(seen)(
                        fpn_hidden_states=tuple(maps.expand(count, -1, -1, -1) for maps in seen.fpn_hidden_states),
                        fpn_position_encoding=tuple(maps.expand(count, -1, -1, -1) for maps in seen.fpn_position_encoding),
                    ),
                    text_embeds=SimpleNamespace(pooler_output=self._text[rows]),
                    attention_mask=self._mask[rows],
                    **given,
                )
                scores = answer.pred_logits.sigmoid() * answer.presence_logits.sigmoid()
            yield start, answer.pred_boxes, scores, answer.pred_masks

    def _exemplars(self, exemplars: Exemplars, rows: slice, side: int) -> dict[str, Tensor]:
        """Return the exemplars of some phrases as arguments of the network; none if no phrase of these has any."""
        of_each = [np.flatnonzero(exemplars.classes == kind) for kind in range(rows.start, rows.stop)]
        most = max(len(one) for one in of_each)
        if not most:
            return {}
        if (exemplars.classes < 0).any() or (exemplars.classes >= len(self.phrases)).any():
            raise OptionError(f"an exemplar is of class {exemplars.classes.max()}; there are {len(self.phrases)} phrases.")
        boxes = np.full((len(of_each), most, 4), 0.5, dtype=np.float32)
        labels = np.full((len(of_each), most), PADDING, dtype=np.int64)
        for row, one in enumerate(of_each):
            low, high = exemplars.boxes[one, :2] / side, exemplars.boxes[one, 2:] / side
            boxes[row, : len(one)] = np.concatenate([(low + high) / 2, high - low], axis=1)
            labels[row, : len(one)] = exemplars.positive[one]
        return {
            "input_boxes": torch.from_numpy(boxes).to(self.device),
            "input_boxes_labels": torch.from_numpy(labels).to(self.device),
        }


def _detector(config: PretrainedConfig) -> PretrainedConfig:
    """Return the configuration of the detector, which is a part of that of the published files with a tracker for videos."""
    return getattr(config, "detector_config", None) or config


def _pool_without_torchvision(encoder: Sam3GeometryEncoder) -> None:
    """Let the encoder of exemplars use `roi_align`.

    Its method asks torchvision for it, which samgeo does not need otherwise. The method of this one encoder gets
    another meaning of that name; the module of transformers stays as it is.
    """
    method = type(encoder)._encode_boxes  # noqa: SLF001 - there is no public method
    names = {**method.__globals__, "torchvision": SimpleNamespace(ops=SimpleNamespace(roi_align=roi_align))}
    own = FunctionType(method.__code__, names, method.__name__, method.__defaults__, method.__closure__)
    encoder._encode_boxes = MethodType(own, encoder)  # noqa: SLF001
