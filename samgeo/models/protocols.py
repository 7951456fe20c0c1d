"""The one door between samgeo and a promptable model.

What training knows of a network: the same halves as ``Segmenter``, on tensors and with gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from samgeo.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["Answer", "Describing", "Gating", "Segmenter", "Trainable", "decode", "decode_gated"]


@runtime_checkable
class Segmenter(Protocol):
    """A promptable model: heavy ``embed`` once for a window, light ``decode`` for every prompt.

    Coordinates are continuous pixels of the model's square input: the outer corner of the first pixel is (0, 0), its centre
    (0.5, 0.5). Implementations may be called from several threads at once.
    """

    @property
    def name(self) -> str:
        """The model's name, for provenance."""

    @property
    def digest(self) -> str:
        """A digest of the weights: part of every cache key."""

    @property
    def input_size(self) -> int:
        """Side ``S`` of the square input, in pixels."""

    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> Any:
        """Encode a batch of windows.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, S, S, 3)
            RGB.
        sizes : ndarray of int, shape (B, 2), optional
            True height and width of each image in its top left corner; what is right of it and below is padding.
            All of it is image by default.

        Returns
        -------
        embedding
            Opaque; ``embedding[i]`` is the embedding of window ``i``, and ``len(embedding)`` is ``B``.
        """

    def decode(
        self,
        embedding: Any,
        *,
        points: NDArray[np.float32] | None = None,
        labels: NDArray[np.int64] | None = None,
        boxes: NDArray[np.float32] | None = None,
        masks: NDArray[np.float32] | None = None,
        multimask: bool = True,
    ) -> tuple[torch.Tensor | NDArray[Any], torch.Tensor | NDArray[Any]]:
        """Segment the prompts of one window.

        Parameters
        ----------
        embedding
            One window's: ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2), optional
            x and y in input pixels, continuous.
        labels : ndarray, shape (P, N), optional
            1 foreground, 0 background, -1 padding. Needed with ``points``.
        boxes : ndarray, shape (P, 4), optional
            x0, y0, x1, y1 in input pixels, continuous.
        masks : ndarray, shape (P, h, w), optional
            Logits of an earlier answer, at this model's own low resolution.
        multimask : bool, default True
            Several candidates a prompt (part, object, group), or one.

        Returns
        -------
        logits : tensor or ndarray, shape (P, M, h, w)
            Above 0 is foreground; ``h, w <= S``, and the frame covers the whole input.
        predicted_iou : tensor or ndarray, shape (P, M)
            The model's own estimate of each mask's IoU.
        """


@runtime_checkable
class Describing(Protocol):
    """What a ``Segmenter`` has besides, if what its embeddings know of objects can be pooled."""

    def features(self, embedding: Any) -> NDArray[np.float32]:
        """Return what one window's embedding knows of each place.

        Parameters
        ----------
        embedding
            One window's: ``embed(images)[i]``.

        Returns
        -------
        ndarray of float32, shape (g, g, C)
            A vector for each cell of a grid over the whole input. Vectors of the same model can be compared,
            whatever the window.
        """


@runtime_checkable
class Gating(Protocol):
    """What a ``Segmenter`` has besides, if it knows the predicted IoU of a mask before it draws it.

    Drawing is from a third to more than half of the work of decoding, and automatic segmentation throws most masks away.
    """

    def decode_gated(
        self,
        embedding: Any,
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        min_iou: float,
        multimask: bool = True,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], torch.Tensor, NDArray[np.float32]]:
        """Segment points, drawing only candidates whose predicted IoU is above a threshold.

        The answers equal those of ``Segmenter.decode``.

        Parameters
        ----------
        embedding
            One window's: ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2)
            x and y in input pixels, continuous.
        labels : ndarray, shape (P, N)
            1 foreground, 0 background, -1 padding.
        min_iou : float
            Candidates of a predicted IoU up to this one are left out.
        multimask : bool, default True
            Three candidates a prompt, or one.

        Returns
        -------
        prompt : ndarray of int64, shape (K,)
            The prompt of each candidate that passes, ascending.
        token : ndarray of int64, shape (K,)
            Which of the prompt's candidates, as in the second axis of what ``decode`` returns; ascending in a prompt.
        logits : tensor of float32, shape (K, h, w)
        predicted_iou : ndarray of float32, shape (K,)

        Raises
        ------
        OptionError
            If the prompts do not fit each other or the model.
        """


def decode(model: Segmenter, embedding: Any, **prompts: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Segment the prompts of one window, and check the form of the answer.

    Parameters
    ----------
    model : Segmenter
        It may return arrays of NumPy, which become tensors that share their memory.
    embedding
        One window's: ``model.embed(images)[i]``.
    **prompts
        Of `Segmenter.decode`.

    Returns
    -------
    logits : tensor, shape (P, M, h, w)
    predicted_iou : tensor, shape (P, M)

    Raises
    ------
    ModelError
        If the answer has other shapes.
    """
    import torch

    answer = model.decode(embedding, **prompts)
    try:
        logits, predicted = (torch.as_tensor(one) for one in answer)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(
            f"decode of the model {model.name} returned {type(answer).__name__}, which is not two tensors or arrays ({error}); "
            "it must return the logits and the predicted IoU, as samgeo.models.protocols.Segmenter says."
        ) from None
    given = next(value for value in (prompts.get(name) for name in ("points", "boxes", "masks")) if value is not None)
    fits = logits.ndim == 4 and predicted.shape == logits.shape[:2] and len(logits) == len(given) and logits.shape[1] > 0
    if not fits:
        raise ModelError(
            f"decode of the model {model.name} returned logits of shape {tuple(logits.shape)} and predicted IoU of shape "
            f"{tuple(predicted.shape)} for {len(given)} prompts; they must be (P, M, h, w) and (P, M)."
        )
    return _as_floats(logits), predicted


def decode_gated(
    model: Gating, embedding: Any, **prompts: Any
) -> tuple[NDArray[np.int64], NDArray[np.int64], torch.Tensor, NDArray[np.float32]]:
    """Do `Gating.decode_gated`; logits of NumPy become a tensor that shares their memory."""
    import torch

    prompt, token, logits, predicted = model.decode_gated(embedding, **prompts)
    return prompt, token, _as_floats(torch.as_tensor(logits)), predicted


def _as_floats(logits: torch.Tensor) -> torch.Tensor:
    """Return logits of a kind that can be drawn: NumPy's default is more exact than needed, and masks may be truth values."""
    import torch

    if logits.dtype == torch.bool:
        return logits.float() * 2 - 1
    return logits.float() if logits.dtype == torch.float64 or not logits.is_floating_point() else logits


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
