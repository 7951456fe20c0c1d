"""SAM 2's mask decoder: that of SAM 1 with an object token, finer features of the image, and a choice of the single mask."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samgeo.models.sam1.architecture import DecoderSizes
from samgeo.models.sam1.decoder import Details, Head, MaskDecoder

__all__ = ["Sam2MaskDecoder"]

# A single mask is stable if the area above +STABILITY_OFFSET is at least this share of the area above -STABILITY_OFFSET.
STABILITY_OFFSET = 0.05
MIN_STABILITY = 0.98


class Sam2MaskDecoder(MaskDecoder):
    """Decoder from the image embedding, finer features and prompt tokens to masks, their predicted IoU and an object score.

    Parameters
    ----------
    architecture : DecoderSizes
        The sizes.
    """

    # The object token stands before it.
    IOU_TOKEN = 1

    def __init__(self, architecture: DecoderSizes) -> None:
        super().__init__(architecture)
        width = architecture.prompt_width
        self.obj_score_token = nn.Embedding(1, width)
        self.pred_obj_score_head = Head([width, width, width, 1])
        self.conv_s0 = nn.Conv2d(width, width // 8, 1)
        self.conv_s1 = nn.Conv2d(width, width // 4, 1)

    def own_tokens(self) -> Tensor:
        """Return the tokens that stand before the prompts, ``(T, C)``: the object token, the IoU token, the mask tokens."""
        return torch.cat([self.obj_score_token.weight, super().own_tokens()])

    def keep_heads_exact(self) -> None:
        """Convert the heads back to float32, after the model was converted to another type."""
        super().keep_heads_exact()
        self.pred_obj_score_head.float()

    def predict_iou(self, tokens: Tensor) -> Tensor:
        """Return the predicted IoU of every mask token, ``(P, mask tokens)`` of float32, from 0 to 1."""
        return super().predict_iou(tokens).sigmoid()

    def object_score(self, tokens: Tensor) -> Tensor:
        """Return the logit of the presence of an object for each prompt, ``(P, 1)`` of float32."""
        score: Tensor = self.pred_obj_score_head(tokens[:, 0])
        return score

    def may_pass(self, predicted: Tensor, min_iou: float, *, multimask: bool) -> Tensor:
        """Return which prompts may have a mask whose predicted IoU is above a threshold; see ``MaskDecoder.may_pass``."""
        if multimask:
            return super().may_pass(predicted, min_iou, multimask=True)
        # Which mask is the single mask is not known before mask 0 is painted.
        return (predicted > min_iou).any(dim=1)

    def answer(
        self, tokens: Tensor, cells: Tensor, predicted: Tensor, details: Details | None = None, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Paint the masks that the prompts of a window are answered with; see ``MaskDecoder.answer``.

        The single mask is mask 0 if it is stable, and otherwise the one of the other masks with the highest predicted IoU.
        """
        if multimask:
            return super().answer(tokens, cells, predicted, details, multimask=True)
        # The pixels are the same for all mask tokens, so painting all of them takes little longer than painting mask 0.
        logits = self.paint(tokens, cells, range(predicted.shape[1]), details)
        best = 1 + predicted[:, 1:].argmax(dim=1)
        chosen = torch.where(_is_stable(logits[:, 0]), 0, best)
        rows = torch.arange(len(logits), device=logits.device)
        return logits[rows, chosen][:, None], predicted[rows, chosen][:, None]


def _is_stable(logits: Tensor) -> Tensor:
    """Return which of the masks ``(P, h, w)`` are stable; a mask without any pixel above the lower offset is."""
    inner = (logits > STABILITY_OFFSET).flatten(1).sum(dim=1)
    outer = (logits > -STABILITY_OFFSET).flatten(1).sum(dim=1)
    return (inner.float() / outer >= MIN_STABILITY) | (outer == 0)
