"""What training knows of a network: the same halves as ``Segmenter``, on tensors and with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Answer", "Trainable"]


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What a network answers to ``P`` prompts, with ``M`` candidates each.

    Attributes
    ----------
    logits : tensor, shape (P, M, h, w)
        Over the whole window, at the network's own resolution.
    predicted_iou : tensor, shape (P, M)
    coverage : tensor, shape (P, M, cells), or None
        Logits of the share of each cell of a square grid that a candidate covers, if the network foresees it.
    """

    logits: Tensor
    predicted_iou: Tensor
    coverage: Tensor | None = None


class Trainable(Protocol):
    """A promptable ``torch.nn.Module`` as training sees it.

    Candidate 0 is the single mask, the others those of an ambiguous prompt. Coordinates are as for ``Segmenter``.
    """

    def encode(self, images: Tensor) -> Any:
        """Encode float images of 0 to 255, shape (B, S, S, 3); ``S`` may be smaller than at use."""

    def window(self, features: Any, origin_px: tuple[float, float] = (0.0, 0.0)) -> Any:
        """Prepare encoded images for prompts, placed at ``origin_px`` of a window as large as at use.

        Of several images, each gets equally many prompts: the first prompts of an answer are those of the first image.
        """

    def answer(
        self,
        window: Any,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        candidates: slice = slice(None),
    ) -> Answer:
        """Answer prompts that all have the same parts: points (P, N, 2), labels (P, N), boxes (P, 4), logits (P, h, w)."""
