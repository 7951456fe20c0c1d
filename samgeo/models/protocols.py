"""Protocols of promptable models, for segmentation and for training, and checks of what a model returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NotRequired, Protocol, TypedDict, Unpack, runtime_checkable

from samgeo.errors import ModelError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

    from samgeo.types import Embedding, PreparedWindow

__all__ = [
    "Answer",
    "Describing",
    "Gating",
    "Guiding",
    "Pyramidal",
    "Screening",
    "Segmenter",
    "Strided",
    "Trainable",
    "decode",
    "decode_gated",
    "embedding_digest",
    "screen_points",
]


@runtime_checkable
class Segmenter(Protocol):
    """A promptable model, with an expensive ``embed`` that is called once for a window, and a cheap ``decode`` for prompts.

    Coordinates are continuous pixels of the model's square input: the outer corner of the first pixel is (0, 0), its centre
    (0.5, 0.5). Implementations may be called from several threads at once.
    """

    @property
    def name(self) -> str:
        """The name of the model, for provenance."""

    @property
    def digest(self) -> str:
        """A digest of the weights, which is part of every cache key."""

    @property
    def input_size(self) -> int:
        """Side ``S`` of the square input, in pixels."""

    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> Embedding:
        """Encode a batch of windows.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, S, S, 3)
            RGB.
        sizes : ndarray of int, shape (B, 2), optional
            True height and width of each image, which lies in the top left corner of its square; the rest is padding. By
            default there is no padding.

        Returns
        -------
        embedding
            Opaque; ``embedding[i]`` is the embedding of window ``i``, and ``len(embedding)`` is ``B``.
        """

    def decode(
        self,
        embedding: Embedding,
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
            Embedding of one window: ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2), optional
            x and y in input pixels, continuous.
        labels : ndarray, shape (P, N), optional
            1 foreground, 0 background, -1 padding. Required with ``points``.
        boxes : ndarray, shape (P, 4), optional
            x0, y0, x1, y1 in input pixels, continuous.
        masks : ndarray, shape (P, h, w), optional
            Logits that an earlier call returned, at this model's own low resolution.
        multimask : bool, default True
            Whether to return several candidates for each prompt (part, object, group), or one.

        Returns
        -------
        logits : tensor or ndarray, shape (P, M, h, w)
            Values above 0 are foreground; ``h, w <= S``, and the array covers the whole input.
        predicted_iou : tensor or ndarray, shape (P, M)
            The model's own estimate of the IoU of each mask.
        """


@runtime_checkable
class Describing(Protocol):
    """A ``Segmenter`` that also gives a feature vector for each place of a window, which can be pooled over objects."""

    def features(self, embedding: Embedding) -> NDArray[np.float32]:
        """Return the feature vectors of one window's embedding.

        Parameters
        ----------
        embedding
            Embedding of one window: ``embed(images)[i]``.

        Returns
        -------
        ndarray of float32, shape (g, g, C)
            One vector for each cell of a grid over the whole input. Vectors of the same model can be compared between windows.
        """


@runtime_checkable
class Strided(Protocol):
    """A `Describing` model whose features are those of several strides, one after the other."""

    @property
    def channels_by_stride(self) -> dict[int, slice]:
        """The channels of ``features`` that were computed at each stride, in pixels of the input."""


@runtime_checkable
class Pyramidal(Protocol):
    """A ``Segmenter`` that also gives the feature maps of its image encoder, on which the head of a finder computes."""

    def pyramid(self, embedding: Embedding) -> list[torch.Tensor]:
        """Return the feature maps of the embeddings of ``B`` windows, the coarsest first.

        Returns
        -------
        list of tensor, shape (B, h, w, C)
            On the device of the model. A map with ``h`` cells has a stride of ``input_size / h`` pixels.
        """


@runtime_checkable
class Gating(Protocol):
    """A ``Segmenter`` that also knows the predicted IoU of a mask before it draws the mask.

    Drawing is from a third to more than half of the work of decoding, and automatic segmentation discards most masks.
    """

    def decode_gated(
        self,
        embedding: Embedding,
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        min_iou: float,
        multimask: bool = True,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], torch.Tensor, NDArray[np.float32]]:
        """Segment points, and draw only the candidates whose predicted IoU is above a threshold.

        The results equal those of ``Segmenter.decode``.

        Parameters
        ----------
        embedding
            Embedding of one window: ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2)
            x and y in input pixels, continuous.
        labels : ndarray, shape (P, N)
            1 foreground, 0 background, -1 padding.
        min_iou : float
            Candidates whose predicted IoU is not above this value are dropped.
        multimask : bool, default True
            Whether to consider three candidates for each prompt, or one.

        Returns
        -------
        prompt : ndarray of int64, shape (K,)
            Number of the prompt of each candidate that passes, ascending.
        token : ndarray of int64, shape (K,)
            Number of the candidate within its prompt, as in the second axis of the arrays that ``decode`` returns; ascending
            within a prompt.
        logits : tensor of float32, shape (K, h, w)
            Logits of the candidates.
        predicted_iou : ndarray of float32, shape (K,)
            Predicted IoU of the candidates.

        Raises
        ------
        OptionError
            If the prompts do not fit each other or the model.
        """


@runtime_checkable
class Screening(Protocol):
    """A ``Segmenter`` that also knows, before it decodes points, which of them are unlikely to give a good mask.

    Decoding is most of the work of automatic segmentation, and many points of its lattice give no mask that is kept.
    """

    def screen_points(self, embedding: Embedding, points: NDArray[np.float32], *, min_iou: float) -> NDArray[np.bool_]:
        """Return which points are to be decoded.

        The answer for a point does not depend on the other points.

        Parameters
        ----------
        embedding
            Embedding of one window: ``embed(images)[i]``.
        points : ndarray, shape (P, 2)
            x and y in input pixels, continuous.
        min_iou : float
            Candidates whose predicted IoU is not above this value will be dropped.

        Returns
        -------
        ndarray of bool, shape (P,)
            False for a point that is unlikely to give a candidate above ``min_iou``.
        """


class DecodePrompts(TypedDict, total=False):
    """The keyword arguments of `Segmenter.decode`."""

    points: NDArray[np.float32] | None
    labels: NDArray[np.int64] | None
    boxes: NDArray[np.float32] | None
    masks: NDArray[np.float32] | None
    multimask: bool


class GatedPrompts(TypedDict):
    """The keyword arguments of `Gating.decode_gated`."""

    points: NDArray[np.float32]
    labels: NDArray[np.int64]
    min_iou: float
    multimask: NotRequired[bool]


@runtime_checkable
class Guiding(Protocol):
    """A `Describing` model whose decoder can be guided to places and to a target, as in PerSAM (arXiv:2305.03048)."""

    def decode_guided(
        self,
        embedding: Embedding,
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        bias: NDArray[np.float32],
        target: NDArray[np.float32],
        multimask: bool = False,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Segment points, with tokens that attend more to some cells of the image and are shifted towards a target's feature.

        Parameters
        ----------
        embedding
            Embedding of one window: ``embed(images)[i]``.
        points : ndarray, shape (P, N, 2)
            x and y in input pixels, continuous.
        labels : ndarray, shape (P, N)
            1 foreground, 0 background, -1 padding.
        bias : ndarray, shape (g, g)
            Number that is added to the attention to each cell of `Describing.features`, for all prompts. Attentions are from 0
            to 1 before it is added.
        target : ndarray, shape (C,)
            Feature vector that is added to the tokens.
        multimask : bool, default False
            Whether to return several candidates for each prompt, or one.

        Returns
        -------
        logits, predicted_iou : tensor
            As `Segmenter.decode` returns them.

        Raises
        ------
        OptionError
            If the prompts, the bias or the target do not fit each other or the model.
        """


def embedding_digest(model: Segmenter) -> str:
    """Return the digest of what the embeddings of a model depend on: its ``embedding_digest``, or else its ``digest``.

    A model of which only the decoder computes in bfloat16 has the embeddings of the same model in float32.
    """
    return str(getattr(model, "embedding_digest", model.digest))


def decode(model: Segmenter, embedding: Embedding, **prompts: Unpack[DecodePrompts]) -> tuple[torch.Tensor, torch.Tensor]:
    """Segment the prompts of one window, and check the types and shapes that the model returns.

    Parameters
    ----------
    model : Segmenter
        It may return NumPy arrays, which are converted to tensors that share their memory.
    embedding
        Embedding of one window: ``model.embed(images)[i]``.
    **prompts
        Keyword arguments of `Segmenter.decode`.

    Returns
    -------
    logits : tensor, shape (P, M, h, w)
    predicted_iou : tensor, shape (P, M)

    Raises
    ------
    ModelError
        If the model returns other types or shapes.
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
    given = next(one for one in (prompts.get("points"), prompts.get("boxes"), prompts.get("masks")) if one is not None)
    fits = logits.ndim == 4 and predicted.shape == logits.shape[:2] and len(logits) == len(given) and logits.shape[1] > 0
    if not fits:
        raise ModelError(
            f"decode of the model {model.name} returned logits of shape {tuple(logits.shape)} and predicted IoU of shape "
            f"{tuple(predicted.shape)} for {len(given)} prompts; they must be (P, M, h, w) and (P, M)."
        )
    return _as_floats(logits), predicted


def decode_gated(
    model: Gating, embedding: Embedding, **prompts: Unpack[GatedPrompts]
) -> tuple[NDArray[np.int64], NDArray[np.int64], torch.Tensor, NDArray[np.float32]]:
    """Call `Gating.decode_gated` of a model; logits in NumPy arrays are converted to a tensor that shares their memory."""
    import torch

    prompt, token, logits, predicted = model.decode_gated(embedding, **prompts)
    return prompt, token, _as_floats(torch.as_tensor(logits)), predicted


def screen_points(model: Screening, embedding: Embedding, points: NDArray[np.float32], *, min_iou: float) -> NDArray[np.bool_]:
    """Call `Screening.screen_points` of a model, and check the type and the shape that it returns.

    Raises
    ------
    ModelError
        If the model returns anything but a truth value for each point.
    """
    import numpy as np

    kept = np.asarray(model.screen_points(embedding, points, min_iou=min_iou))
    if kept.dtype != np.bool_ or kept.shape != (len(points),):
        raise ModelError(
            f"screen_points of the model {model.name} returned an array of {kept.dtype} with shape {kept.shape} for "  # type: ignore[attr-defined]
            f"{len(points)} points; it must return one truth value for each, as samgeo.models.protocols.Screening says."
        )
    return kept


def _as_floats(logits: torch.Tensor) -> torch.Tensor:
    """Return logits in a type from which masks can be drawn.

    NumPy's default float64 is more exact than needed, and a model may return masks of booleans as logits.
    """
    import torch

    if logits.dtype == torch.bool:
        return logits.float() * 2 - 1
    return logits.float() if logits.dtype == torch.float64 or not logits.is_floating_point() else logits


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """Results of a network for ``P`` prompts, with ``M`` candidates each.

    Attributes
    ----------
    logits : tensor, shape (P, M, h, w)
        Over the whole window, at the network's own resolution.
    predicted_iou : tensor, shape (P, M)
        Predicted IoU of each candidate.
    coverage : tensor, shape (P, M, cells), or None
        Logits of the share of each cell of a square grid that a candidate covers, if the network predicts it.
    """

    logits: Tensor
    predicted_iou: Tensor
    coverage: Tensor | None = None


class Trainable(Protocol):
    """A promptable ``torch.nn.Module``, as training uses it: the two halves of a ``Segmenter``, on tensors and with gradients.

    Candidate 0 is the single mask, the others are the candidates of an ambiguous prompt. Coordinates are those of
    ``Segmenter``.
    """

    def encode(self, images: Tensor) -> Embedding:
        """Encode float images of 0 to 255, shape (B, S, S, 3); ``S`` may be smaller than in use."""

    def window(self, features: Embedding, origin_px: tuple[float, float] = (0.0, 0.0)) -> PreparedWindow:
        """Prepare encoded images for prompts, placed at ``origin_px`` of a window as large as at use.

        Of several images, each gets equally many prompts: the first prompts of an answer are those of the first image.
        """

    def answer(
        self,
        window: PreparedWindow,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        candidates: slice = slice(None),
    ) -> Answer:
        """Decode prompts that all have the same parts: points (P, N, 2), labels (P, N), boxes (P, 4), logits (P, h, w)."""
