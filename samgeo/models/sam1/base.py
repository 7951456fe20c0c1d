"""What all models that have SAM's prompt encoder and mask decoder share: the ``Segmenter`` around an image encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samgeo.errors import OptionError
from samgeo.models.batching import explain_no_memory, fitting, for_parts, in_parts, joined
from samgeo.models.device import sent, typed_digest
from samgeo.models.embedding_packing import from_halves, to_halves
from samgeo.models.preprocessing import normalise, squares
from samgeo.models.sam1.architecture import DecoderSizes
from samgeo.models.sam1.decoder import Details, Guidance, MaskDecoder
from samgeo.models.sam1.prompt_encoder import EncodedPrompts, PromptEncoder

__all__ = ["Embedding", "SamBase", "SamParts"]

# Decoding holds at most about this many bytes of activations (on CUDA a share of the free memory). Each prompt needs about
# MAPS_A_PROMPT maps of the size of the embedding.
DECODE_BYTES = 1 << 30
MAPS_A_PROMPT = 8.3

# The same for encoding; a model says how much a window needs.
ENCODE_BYTES = 1 << 30


class SamParts(nn.Module):
    """The parts of a network that has SAM's prompt encoder and mask decoder."""

    architecture: DecoderSizes
    image_encoder: nn.Module
    prompt_encoder: PromptEncoder
    mask_decoder: MaskDecoder


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Embeddings of some windows, from an image encoder.

    Attributes
    ----------
    features : tensor, shape (B, C, g, g)
        On the device and in the type of the model that made it.
    """

    features: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> Self:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of an embedding of {len(self)}")
        return type(self)(*(getattr(self, field.name)[index][None] for field in fields(self)))


Network = TypeVar("Network", bound=SamParts)
Embedded = TypeVar("Embedded", bound=Embedding)


class SamBase(ABC, Generic[Network, Embedded]):
    """A network with SAM's prompt encoder and mask decoder as a ``Segmenter``, on any device, in float32 or bfloat16.

    It holds no state between calls and may be called from several threads at once.

    Parameters
    ----------
    network : SamParts
        The network with its weights, in float32. It is moved and converted in place.
    name : str
        Name of the model, for provenance.
    digest : str
        Digest of the weights. In bfloat16 the name of the type is appended to it, because rounding changes the weights.
    device : torch.device, default cpu
        Where to run.
    dtype : torch.dtype, default torch.float32
        Type in which the image encoder and the transformer of the decoder compute. Coordinates, predicted IoU and logits are
        always float32.
    """

    # Class of the embeddings. Its fields are maps, the coarsest first.
    embedding_type: ClassVar[type[Embedding]] = Embedding

    def __init__(
        self,
        network: Network,
        *,
        name: str,
        digest: str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self.digest = typed_digest(digest, dtype)
        self.input_size = network.architecture.input_size
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self.network = network.to(self.device).eval()
        self.network.image_encoder.to(dtype)
        self.network.mask_decoder.to(dtype)
        self.network.mask_decoder.keep_heads_exact()
        with torch.inference_mode():
            self._positions = self.network.prompt_encoder.grid_positions().to(dtype)

    @abstractmethod
    def encode(self, images: Tensor) -> Embedded:
        """Encode normalised images, ``(B, 3, S, S)`` in the type of the model."""

    @property
    @abstractmethod
    def bytes_a_window(self) -> float:
        """The memory that the activations of one window take while it is encoded, in bytes."""

    @explain_no_memory
    @torch.inference_mode()
    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> Embedded:
        """Encode a batch of windows.

        Parameters
        ----------
        images : ndarray of uint8, shape (B, S, S, 3)
            RGB.
        sizes : ndarray of int, shape (B, 2), optional
            True height and width of each image, which lies in the top left corner of its square; the rest is padding, and its
            values are ignored. By default there is no padding.

        Returns
        -------
        Embedding

        Raises
        ------
        OptionError
            If the arrays have another type or shape.
        """
        pixels, true = squares(images, sizes, side=self.input_size, model=self.name)
        true = None if true is None else true.to(self.device)

        def encode(part: slice) -> Embedded:
            normal = normalise(sent(pixels[part], self.device), None if true is None else true[part])
            return self.encode(normal.to(self.dtype))

        at_once = fitting(self.device, self.bytes_a_window, budget=ENCODE_BYTES)
        return joined(in_parts(encode, len(pixels), at_once))

    @explain_no_memory
    @torch.inference_mode()
    def decode(
        self,
        embedding: Embedded,
        *,
        points: NDArray[np.float32] | None = None,
        labels: NDArray[np.int64] | None = None,
        boxes: NDArray[np.float32] | None = None,
        masks: NDArray[np.float32] | None = None,
        multimask: bool = True,
    ) -> tuple[Tensor, Tensor]:
        """Segment the prompts of one window; see ``Segmenter.decode``.

        Returns
        -------
        logits : tensor of float32, shape (P, 3 or 1, S / 4, S / 4)
            The side is that of four cells of the embedding for each cell: a quarter of the input for cells of 16 pixels.
        predicted_iou : tensor of float32, shape (P, 3 or 1)
            Predicted IoU of each mask.

        Raises
        ------
        OptionError
            If there is no prompt, or the prompts do not fit each other or the model.
        """
        prompts = EncodedPrompts.of(points, labels, boxes, masks, low=self._low, device=self.device)
        return self._answer(embedding, prompts, multimask, None)

    @explain_no_memory
    @torch.inference_mode()
    def decode_guided(
        self,
        embedding: Embedded,
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        bias: NDArray[np.float32],
        target: NDArray[np.float32],
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Segment points with guided attention; see ``samgeo.models.protocols.Guiding``."""
        a = self.network.architecture
        given = np.asarray(bias, np.float32), np.asarray(target, np.float32)
        for name, array, shape in zip(("bias", "target"), given, ((a.grid, a.grid), (a.prompt_width,)), strict=True):
            if array.shape != shape or not np.isfinite(array).all():
                raise OptionError(f"{name} of shape {array.shape} must be finite numbers of shape {shape} for {self.name}.")
        added, feature = (torch.tensor(array).flatten().to(self.device, self.dtype) for array in given)
        prompts = EncodedPrompts.of(points, labels, None, None, low=self._low, device=self.device)
        return self._answer(embedding, prompts, multimask, Guidance(added, feature))

    @explain_no_memory
    @torch.inference_mode()
    def decode_gated(
        self,
        embedding: Embedded,
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        min_iou: float,
        multimask: bool = True,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Tensor, NDArray[np.float32]]:
        """Segment points, and draw only the candidates that pass; see ``samgeo.models.protocols.Gating``."""
        features, details = self._features(embedding), self.details(embedding)
        prompts = EncodedPrompts.of(points, labels, None, None, low=self._low, device=self.device)
        decoder = self.network.mask_decoder
        logits = [torch.empty(0, self._low, self._low, device=self.device)]
        # What is not drawn has no predicted IoU that passes.
        predicted_iou = torch.full((len(prompts), decoder.candidates(multimask=multimask)), -torch.inf, device=self.device)

        def answer(part: slice) -> None:
            tokens, cells = self._attend(features, prompts[part])
            predicted = decoder.predict_iou(tokens)
            rows = decoder.may_pass(predicted, min_iou, multimask=multimask)
            if rows.any():
                drawn, scores = decoder.answer(tokens[rows], cells[rows], predicted[rows], details, multimask=multimask)
                predicted_iou[part][rows] = scores
                logits.append(drawn[scores > min_iou])

        self._for_parts(len(prompts), answer)
        passing = predicted_iou > min_iou
        prompt, token = passing.nonzero(as_tuple=True)
        return prompt.cpu().numpy(), token.cpu().numpy(), torch.cat(logits), predicted_iou[passing].cpu().numpy()

    def pack(self, embedding: Embedded) -> dict[str, NDArray[Any]]:
        """Convert the embedding of one window to arrays that can be stored; see ``samgeo.models.embedding_packing``."""
        return to_halves(embedding)

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        """Convert arrays from ``pack`` to an embedding."""
        return from_halves(self.embedding_type, arrays, device=self.device, dtype=self.dtype)

    def rounded(self, embedding: Embedded) -> Embedded:
        """Return the embedding that ``unpack(pack(embedding))`` returns, without leaving the device."""
        maps = (getattr(embedding, field.name) for field in fields(embedding))
        # The order in memory decides in which order a processor adds, so it must be that of a stored embedding.
        return type(embedding)(*(one.to(torch.float16).to(self.dtype).contiguous() for one in maps))

    @torch.inference_mode()
    def features(self, embedding: Embedded) -> NDArray[np.float32]:
        """Return one window's image embedding; see ``samgeo.models.protocols.Describing``.

        Returns
        -------
        ndarray of float32, shape (g, g, C)
            ``g`` is 64 and ``C`` 256 for the published models with an input of 1024 pixels.
        """
        return self._features(embedding)[0].permute(1, 2, 0).float().cpu().numpy()

    @torch.inference_mode()
    def pyramid(self, embedding: Embedded) -> list[Tensor]:
        """Return the maps of the embedding, the coarsest first; see ``samgeo.models.protocols.Pyramidal``."""
        return [getattr(embedding, field.name).permute(0, 2, 3, 1) for field in fields(embedding)]

    def details(self, embedding: Embedded) -> Details | None:  # noqa: ARG002 - for classes that override it
        """Return what is added to the pixels of the masks; nothing, unless a model has it."""
        return None

    @property
    def _low(self) -> int:
        return 4 * self.network.architecture.grid

    def _features(self, embedding: Embedded) -> Tensor:
        if len(embedding) != 1:
            raise OptionError(f"decode takes one window's embedding, not {len(embedding)}; give embedding[i].")
        a = self.network.architecture
        fits = isinstance(embedding, self.embedding_type) and embedding.features.shape == (1, a.prompt_width, a.grid, a.grid)
        if not fits:
            raise OptionError(f"this embedding was made by another model than {self.name}.")
        # An embedding from a store has another order in memory than a new one. In one order both give the same bits.
        return embedding.features.to(self.device, self.dtype).contiguous(memory_format=torch.channels_last)

    def _answer(
        self, embedding: Embedded, prompts: EncodedPrompts, multimask: bool, guidance: Guidance | None
    ) -> tuple[Tensor, Tensor]:
        features, details = self._features(embedding), self.details(embedding)
        decoder = self.network.mask_decoder
        shape = len(prompts), decoder.candidates(multimask=multimask)
        logits = torch.empty(*shape, self._low, self._low, device=self.device)
        predicted_iou = torch.empty(shape, device=self.device)

        def answer(part: slice) -> None:
            tokens, cells = self._attend(features, prompts[part], guidance)
            predicted = decoder.predict_iou(tokens)
            logits[part], predicted_iou[part] = decoder.answer(tokens, cells, predicted, details, multimask=multimask)

        self._for_parts(len(prompts), answer)
        return logits, predicted_iou

    def _attend(self, features: Tensor, prompts: EncodedPrompts, guidance: Guidance | None = None) -> tuple[Tensor, Tensor]:
        encoder = self.network.prompt_encoder
        none = torch.empty(len(prompts), 0, self.network.architecture.prompt_width, device=self.device)
        tokens = torch.cat([none, *encoder.tokens(prompts)], dim=1).to(self.dtype)
        image = features + encoder.dense(prompts.masks).to(self.dtype)
        return self.network.mask_decoder.attend(image, self._positions, tokens, guidance)

    def _for_parts(self, count: int, work: Callable[[slice], None]) -> None:
        a = self.network.architecture
        bytes_each = MAPS_A_PROMPT * a.grid**2 * a.prompt_width * self.dtype.itemsize
        for_parts(work, count, fitting(self.device, bytes_each, budget=DECODE_BYTES))
