"""SAM 1 of any size as a ``Segmenter``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samgeo.errors import OptionError
from samgeo.models.batching import explain_no_memory, fitting, for_parts, in_parts, joined
from samgeo.models.device import sent
from samgeo.models.embedding_packing import from_halves, to_halves
from samgeo.models.preprocessing import normalise, squares
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.decoder import Guidance, MaskDecoder
from samgeo.models.sam1.encoder import ImageEncoder
from samgeo.models.sam1.prompt_encoder import EncodedPrompts, PromptEncoder

__all__ = ["Embedding", "EncodedPrompts", "Sam", "SamNetwork"]

# Decoding holds at most about this many bytes of activations (on CUDA a share of the free memory). Each prompt needs about
# MAPS_A_PROMPT maps of the size of the embedding.
DECODE_BYTES = 1 << 30
MAPS_A_PROMPT = 8.3

# The same for encoding, where each window needs about MAPS_A_WINDOW maps of the encoder's width.
ENCODE_BYTES = 1 << 30
MAPS_A_WINDOW = 32


class SamNetwork(nn.Module):
    """The three parts of SAM 1, with the parameter names of the official checkpoints.

    Parameters
    ----------
    architecture : Architecture
        The sizes.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.image_encoder = ImageEncoder(architecture)
        self.prompt_encoder = PromptEncoder(architecture)
        self.mask_decoder = MaskDecoder(architecture)


@dataclass(frozen=True, slots=True, eq=False)
class Embedding:
    """Embeddings of some windows, from SAM's image encoder.

    Attributes
    ----------
    features : tensor, shape (B, C, g, g)
        On the device and in the type of the model that made it.
    """

    features: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, index: int) -> Embedding:
        if not -len(self) <= index < len(self):
            raise IndexError(f"window {index} of an embedding of {len(self)}")
        return Embedding(self.features[index][None])


class Sam:
    """SAM 1 of any width and depth as a ``Segmenter``, on any device, in float32 or bfloat16.

    It holds no state between calls and may be called from several threads at once.

    Parameters
    ----------
    network : SamNetwork
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

    def __init__(
        self,
        network: SamNetwork,
        *,
        name: str,
        digest: str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.name = name
        self.digest = digest if dtype is torch.float32 else f"{digest}-{str(dtype).removeprefix('torch.')}"
        self.architecture = network.architecture
        self.input_size = network.architecture.input_size
        self.device = device or torch.device("cpu")
        self.dtype = dtype
        self.network = network.to(self.device).eval()
        self.network.image_encoder.to(dtype)
        self.network.mask_decoder.to(dtype)
        self.network.mask_decoder.keep_heads_exact()
        with torch.inference_mode():
            self._positions = self.network.prompt_encoder.grid_positions().to(dtype)

    @explain_no_memory
    @torch.inference_mode()
    def embed(self, images: NDArray[np.uint8], sizes: NDArray[np.int64] | None = None) -> Embedding:
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

        def encode(part: slice) -> Embedding:
            normal = normalise(sent(pixels[part], self.device), None if true is None else true[part])
            return Embedding(self.network.image_encoder(normal.to(self.dtype)))

        a = self.architecture
        bytes_each = MAPS_A_WINDOW * a.grid**2 * a.width * self.dtype.itemsize
        at_once = fitting(self.device, bytes_each, budget=ENCODE_BYTES)
        return joined(in_parts(encode, len(pixels), at_once))

    @explain_no_memory
    @torch.inference_mode()
    def decode(
        self,
        embedding: Embedding,
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
            Masks 1 to 3 of SAM with ``multimask``, mask 0 without (for the usual patch of 16 pixels).
        predicted_iou : tensor of float32, shape (P, 3 or 1)
            Predicted IoU of each mask.

        Raises
        ------
        OptionError
            If there is no prompt, or the prompts do not fit each other or the model.
        """
        features = self._features(embedding)
        prompts = EncodedPrompts.of(points, labels, boxes, masks, low=self._low, device=self.device)
        return self._answer(features, prompts, multimask, None)

    @explain_no_memory
    @torch.inference_mode()
    def decode_guided(
        self,
        embedding: Embedding,
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        bias: NDArray[np.float32],
        target: NDArray[np.float32],
        multimask: bool = False,
    ) -> tuple[Tensor, Tensor]:
        """Segment points with guided attention; see ``samgeo.models.protocols.Guiding``."""
        features = self._features(embedding)
        a = self.architecture
        given = np.asarray(bias, np.float32), np.asarray(target, np.float32)
        for name, array, shape in zip(("bias", "target"), given, ((a.grid, a.grid), (a.prompt_width,)), strict=True):
            if array.shape != shape or not np.isfinite(array).all():
                raise OptionError(f"{name} of shape {array.shape} must be finite numbers of shape {shape} for {self.name}.")
        added, feature = (torch.tensor(array).flatten().to(self.device, self.dtype) for array in given)
        prompts = EncodedPrompts.of(points, labels, None, None, low=self._low, device=self.device)
        return self._answer(features, prompts, multimask, Guidance(added, feature))

    @explain_no_memory
    @torch.inference_mode()
    def decode_gated(
        self,
        embedding: Embedding,
        *,
        points: NDArray[np.float32],
        labels: NDArray[np.int64],
        min_iou: float,
        multimask: bool = True,
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Tensor, NDArray[np.float32]]:
        """Segment points, and draw only the candidates that pass; see ``samgeo.models.protocols.Gating``."""
        features = self._features(embedding)
        prompts = EncodedPrompts.of(points, labels, None, None, low=self._low, device=self.device)
        kept = self._kept(multimask)
        decoder = self.network.mask_decoder
        logits = [torch.empty(0, self._low, self._low, device=self.device)]
        predicted_iou = torch.empty(len(prompts), len(kept), device=self.device)

        def answer(part: slice) -> None:
            tokens, cells = self._attend(features, prompts[part])
            predicted_iou[part] = decoder.predict_iou(tokens)[:, kept]
            passing = predicted_iou[part] > min_iou
            rows = passing.any(dim=1)
            if rows.any():
                logits.append(decoder.paint(tokens[rows], cells[rows], kept)[passing[rows]])

        self._for_parts(len(prompts), answer)
        passing = predicted_iou > min_iou
        prompt, token = passing.nonzero(as_tuple=True)
        return prompt.cpu().numpy(), token.cpu().numpy(), torch.cat(logits), predicted_iou[passing].cpu().numpy()

    def pack(self, embedding: Embedding) -> dict[str, NDArray[Any]]:
        """Convert the embedding of one window to arrays that can be stored; see ``samgeo.models.embedding_packing``."""
        return to_halves(embedding)

    def unpack(self, arrays: Mapping[str, NDArray[Any]]) -> Embedding:
        """Convert arrays from ``pack`` to an embedding."""
        return from_halves(Embedding, arrays, device=self.device, dtype=self.dtype)

    def rounded(self, embedding: Embedding) -> Embedding:
        """Return the embedding that ``unpack(pack(embedding))`` returns, without leaving the device."""
        return Embedding(embedding.features.to(torch.float16).to(self.dtype))

    @torch.inference_mode()
    def features(self, embedding: Embedding) -> NDArray[np.float32]:
        """Return one window's image embedding; see ``samgeo.models.protocols.Describing``.

        Returns
        -------
        ndarray of float32, shape (g, g, C)
            ``g`` is 64 and ``C`` 256 for the published models.
        """
        return self._features(embedding)[0].permute(1, 2, 0).float().cpu().numpy()

    @torch.inference_mode()
    def pyramid(self, embedding: Embedding) -> list[Tensor]:
        """Return the one feature map, at stride 16; see ``samgeo.models.protocols.Pyramidal``."""
        return [embedding.features.permute(0, 2, 3, 1)]

    @property
    def _low(self) -> int:
        return 4 * self.architecture.grid

    def _kept(self, multimask: bool) -> range:
        return range(1, self.architecture.mask_tokens) if multimask else range(1)

    def _features(self, embedding: Embedding) -> Tensor:
        if len(embedding) != 1:
            raise OptionError(f"decode takes one window's embedding, not {len(embedding)}; give embedding[i].")
        a = self.architecture
        if tuple(embedding.features.shape) != (1, a.prompt_width, a.grid, a.grid):
            raise OptionError(f"this embedding was made by another model than {self.name}.")
        return embedding.features.to(self.device, self.dtype)

    def _answer(
        self, features: Tensor, prompts: EncodedPrompts, multimask: bool, guidance: Guidance | None
    ) -> tuple[Tensor, Tensor]:
        kept = self._kept(multimask)
        decoder = self.network.mask_decoder
        logits = torch.empty(len(prompts), len(kept), self._low, self._low, device=self.device)
        predicted_iou = torch.empty(len(prompts), len(kept), device=self.device)

        def answer(part: slice) -> None:
            tokens, cells = self._attend(features, prompts[part], guidance)
            predicted_iou[part] = decoder.predict_iou(tokens)[:, kept]
            logits[part] = decoder.paint(tokens, cells, kept)

        self._for_parts(len(prompts), answer)
        return logits, predicted_iou

    def _attend(self, features: Tensor, prompts: EncodedPrompts, guidance: Guidance | None = None) -> tuple[Tensor, Tensor]:
        encoder = self.network.prompt_encoder
        none = torch.empty(len(prompts), 0, self.architecture.prompt_width, device=self.device)
        tokens = torch.cat([none, *encoder.tokens(prompts)], dim=1).to(self.dtype)
        image = features + encoder.dense(prompts.masks).to(self.dtype)
        return self.network.mask_decoder.attend(image, self._positions, tokens, guidance)

    def _for_parts(self, count: int, work: Callable[[slice], None]) -> None:
        a = self.architecture
        bytes_each = MAPS_A_PROMPT * a.grid**2 * a.prompt_width * self.dtype.itemsize
        for_parts(work, count, fitting(self.device, bytes_each, budget=DECODE_BYTES))
