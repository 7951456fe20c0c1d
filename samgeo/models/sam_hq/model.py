"""SAM-HQ as a ``Segmenter``, with SAM 1's image encoder or that of MobileSAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from samgeo.models.mobile_sam.architecture import MobileArchitecture
from samgeo.models.mobile_sam.encoder import EARLY, TinyVit
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.base import Embedding, SamBase, SamParts
from samgeo.models.sam1.decoder import Details
from samgeo.models.sam1.model import MAPS_A_WINDOW
from samgeo.models.sam1.prompt_encoder import PromptEncoder
from samgeo.models.sam_hq.decoder import HqMaskDecoder
from samgeo.models.sam_hq.encoder import EarlyImageEncoder

__all__ = ["HqEmbedding", "SamHq", "SamHqNetwork"]


class SamHqNetwork(SamParts):
    """The three parts of SAM-HQ. Parameters have the names of the official checkpoints.

    Parameters
    ----------
    architecture : Architecture or MobileArchitecture
        The sizes: of a model with the image encoder of SAM 1, or with that of MobileSAM.
    hq_only : bool, default False
        Whether the mask of high quality is returned alone. By default its logits are added to those of SAM's masks.
    """

    architecture: Architecture | MobileArchitecture
    image_encoder: EarlyImageEncoder | TinyVit
    mask_decoder: HqMaskDecoder

    def __init__(self, architecture: Architecture | MobileArchitecture, *, hq_only: bool = False) -> None:
        super().__init__()
        self.architecture = architecture
        if isinstance(architecture, Architecture):
            self.image_encoder = EarlyImageEncoder(architecture)
            early_width = architecture.width
        else:
            self.image_encoder = TinyVit(architecture.encoder, architecture.prompt_width)
            early_width = architecture.encoder.widths[EARLY + 1]
        self.prompt_encoder = PromptEncoder(architecture)
        self.mask_decoder = HqMaskDecoder(architecture, early_width, hq_only=hq_only)


@dataclass(frozen=True, slots=True, eq=False)
class HqEmbedding(Embedding):
    """Embeddings of some windows, from SAM-HQ's image encoder.

    Attributes
    ----------
    features : tensor, shape (B, C, g, g)
        On the device and in the type of the model that made it.
    hq_features : tensor, shape (B, C / 8, 4 * g, 4 * g)
        High-quality features, which do not depend on the prompts.
    """

    hq_features: Tensor


class SamHq(SamBase[SamHqNetwork, HqEmbedding]):
    """SAM-HQ (arXiv:2306.01567) as a ``Segmenter``, on any device, in float32 or bfloat16.

    A prompt has SAM's masks and one mask of high quality. ``decode`` returns masks 1 to 3 of SAM with ``multimask``, and mask 0
    without; the logits of the mask of high quality are added to those of each of them. The predicted IoU is that of SAM's mask,
    because SAM-HQ predicts no other. The published code does the same, but returns only the mask with the highest predicted IoU
    of the three.

    With ``hq_only`` of the network, ``decode`` returns the mask of high quality alone: one mask for each prompt, also with
    ``multimask``. As in the published code, its predicted IoU is the highest of SAM's masks 1 to 3 with ``multimask``, and that
    of mask 0 without.

    Parameters
    ----------
    network : SamHqNetwork
        The network with its weights, in float32. It is moved and converted in place.
    name : str
        Name of the model, for provenance.
    digest : str
        Digest of the weights. In bfloat16 the name of the type is appended to it, and with ``hq_only`` ``hq-only``, because
        both change the answers.
    device : torch.device, default cpu
        Where to run.
    dtype : torch.dtype, default torch.float32
        Type in which the image encoder and the decoder compute. Coordinates, predicted IoU and logits are always float32.
    """

    embedding_type: ClassVar[type[HqEmbedding]] = HqEmbedding

    def __init__(
        self,
        network: SamHqNetwork,
        *,
        name: str,
        digest: str,
        device: torch.device | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(network, name=name, digest=digest, device=device, dtype=dtype)
        if network.mask_decoder.hq_only:
            self.digest += "-hq-only"

    def encode(self, images: Tensor) -> HqEmbedding:
        """Encode normalised images, ``(B, 3, S, S)`` in the type of the model."""
        embeddings, early = self.network.image_encoder.with_early(images)
        return HqEmbedding(embeddings, self.network.mask_decoder.hq_features(embeddings, early))

    @property
    def bytes_a_window(self) -> float:
        """The memory that the activations of one window take while it is encoded, in bytes."""
        a = self.network.architecture
        if isinstance(a, MobileArchitecture):
            return a.encoder.numbers_a_window(self.input_size) * self.dtype.itemsize
        return MAPS_A_WINDOW * a.grid**2 * a.width * self.dtype.itemsize

    def details(self, embedding: HqEmbedding) -> Details:
        """Return the high-quality features in the order of the pixels of a mask; see `HqMaskDecoder.paint`."""
        features = embedding.hq_features.to(self.device, self.dtype)
        return Details(halves=features.new_empty(0), quarters=features[0].flatten(1).T)
