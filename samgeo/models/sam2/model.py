"""SAM 2 and SAM 2.1 as a ``Segmenter`` for images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from samgeo.models.batching import explain_no_memory
from samgeo.models.registry import Gates
from samgeo.models.sam1.base import Embedding, SamBase, SamParts
from samgeo.models.sam1.decoder import Details
from samgeo.models.sam1.prompt_encoder import EncodedPrompts, PromptEncoder
from samgeo.models.sam2.architecture import PATCH, PUBLISHED_INPUT, Architecture
from samgeo.models.sam2.decoder import Sam2MaskDecoder
from samgeo.models.sam2.encoder import ImageEncoder

__all__ = ["Sam2", "Sam2Embedding", "Sam2Network", "Sam2Parts"]

# While a window is encoded, its activations take about this many maps of the width and the resolution of the first stage.
MAPS_A_WINDOW = 24

# The official image predictor clamps the logits that it returns for use as mask prompts. Here the mask prompts are clamped, so
# that masks are drawn from the logits as they are, which the official predictor also does.
MASK_LIMIT = 32.0


class Sam2Parts(SamParts):
    """The parts of a network that has the image encoder and the mask decoder of SAM 2."""

    architecture: Architecture
    image_encoder: ImageEncoder
    mask_decoder: Sam2MaskDecoder
    no_mem_embed: nn.Parameter

    def maps(self, images: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode normalised images.

        Parameters
        ----------
        images : tensor, shape (B, 3, S, S)
            Normalised; the padding is zero.
        positions : tensor, shape (1, S / 4, S / 4, C)
            From ``ImageEncoder.positions``.

        Returns
        -------
        tuple of tensor
            The maps of `Sam2Embedding`: ``features``, ``s1`` and ``s0``.
        """
        features, halves, quarters = self.image_encoder(images, positions)
        no_memory = self.no_mem_embed.view(1, -1, 1, 1).to(features.dtype)
        return features + no_memory, self.mask_decoder.conv_s1(halves), self.mask_decoder.conv_s0(quarters)


class Sam2Network(Sam2Parts):
    """The parts of SAM 2 that segment an image.

    Parameters have the names of the official checkpoints, without the prefix ``sam_`` of the prompt encoder and the mask
    decoder, and with the names of SAM 1 for the layers of an MLP.

    Parameters
    ----------
    architecture : Architecture
        The sizes.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.image_encoder = ImageEncoder(architecture)
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, architecture.prompt_width))
        self.prompt_encoder = PromptEncoder(architecture, pad_boxes=True, mask_limit=MASK_LIMIT)
        self.mask_decoder = Sam2MaskDecoder(architecture)


@dataclass(frozen=True, slots=True, eq=False)
class Sam2Embedding(Embedding):
    """Embeddings of some windows, from the image encoder of SAM 2.

    Attributes
    ----------
    features : tensor, shape (B, C, g, g)
        On the device and in the type of the model that made it. A cell has a side of 16 pixels.
    s1 : tensor, shape (B, C / 4, 2 * g, 2 * g)
        Features at a stride of 8 pixels, as the mask decoder adds them.
    s0 : tensor, shape (B, C / 8, 4 * g, 4 * g)
        Features at a stride of 4 pixels.
    """

    s1: Tensor
    s0: Tensor


class Sam2(SamBase[Sam2Network, Sam2Embedding]):
    """SAM 2 or SAM 2.1 of any size as a ``Segmenter`` for images, on any device, in float32 or bfloat16.

    With ``multimask``, ``decode`` returns the three candidates of SAM 2. Without, it returns the mask of the first mask token
    if that is stable, and otherwise the candidate with the highest predicted IoU, as the official image predictor does.

    Parameters
    ----------
    network : Sam2Network
        The network with its weights, in float32. It is moved and converted in place.
    name : str
        Name of the model, for provenance.
    digest : str
        Digest of the weights. The side of the input is appended to it unless it is 1024 pixels, and in bfloat16 the name of the
        type, because both change the results.
    device : torch.device, default cpu
        Where to run.
    dtype : torch.dtype, default torch.float32
        Type in which the image encoder and the transformer of the decoder compute. Coordinates, predicted IoU and logits are
        always float32.
    """

    embedding_type: ClassVar[type[Embedding]] = Sam2Embedding

    def __init__(
        self,
        network: Sam2Network,
        *,
        name: str,
        digest: str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        side = network.architecture.input_size
        digest = digest if side == PUBLISHED_INPUT else f"{digest}-{side}px"
        # The positions are resized before the network is converted to a coarser type.
        with torch.inference_mode():
            positions = network.image_encoder.positions()
        super().__init__(network, name=name, digest=digest, device=device, dtype=dtype)
        self._patch_positions = positions.to(self.device, dtype)

    @property
    def architecture(self) -> Architecture:
        """The sizes."""
        return self.network.architecture

    @property
    def gates(self) -> Gates:
        """Defaults for automatic masks: those of SAM 2's own generator, which differ from SAM 1's in one threshold."""
        return Gates(pred_iou=0.8)

    def encode(self, images: Tensor) -> Sam2Embedding:
        """Encode normalised images, ``(B, 3, S, S)`` in the type of the model."""
        return Sam2Embedding(*self.network.maps(images, self._patch_positions))

    @property
    def bytes_a_window(self) -> float:
        """The memory that the activations of one window take while it is encoded, in bytes."""
        a = self.network.architecture
        return MAPS_A_WINDOW * (a.input_size // PATCH) ** 2 * a.widths[0] * self.dtype.itemsize

    def details(self, embedding: Sam2Embedding) -> Details:
        """Return the features at strides of 8 and 4 pixels, which are added to the pixels of the masks."""
        return Details.of(*(one[0].to(self.device, self.dtype) for one in (embedding.s1, embedding.s0)))

    @explain_no_memory
    @torch.inference_mode()
    def object_scores(
        self,
        embedding: Sam2Embedding,
        *,
        points: NDArray[np.float32] | None = None,
        labels: NDArray[np.int64] | None = None,
        boxes: NDArray[np.float32] | None = None,
        masks: NDArray[np.float32] | None = None,
    ) -> NDArray[np.float32]:
        """Return the model's own estimate of whether there is an object at each prompt of one window.

        SAM 2 uses it in videos, where an object can leave the picture.

        Parameters
        ----------
        embedding, points, labels, boxes, masks
            As in ``decode``.

        Returns
        -------
        ndarray of float32, shape (P,)
            Logits: above 0 an object is more probable than none.

        Raises
        ------
        OptionError
            If there is no prompt, or the prompts do not fit each other or the model.
        """
        features = self._features(embedding)
        prompts = EncodedPrompts.of(points, labels, boxes, masks, low=self._low, device=self.device)
        scores = torch.empty(len(prompts), device=self.device)

        def answer(part: slice) -> None:
            tokens, _ = self._attend(features, prompts[part])
            scores[part] = self.network.mask_decoder.object_score(tokens)[:, 0]

        self._for_parts(len(prompts), answer)
        return scores.cpu().numpy()
