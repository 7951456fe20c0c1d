"""MobileSAM as a ``Segmenter``: TinyViT as the image encoder, and the prompt encoder and the mask decoder of SAM 1."""

from __future__ import annotations

from torch import Tensor

from samgeo.models.mobile_sam.architecture import MobileArchitecture
from samgeo.models.mobile_sam.encoder import TinyVit
from samgeo.models.sam1.base import Embedding, SamBase, SamParts
from samgeo.models.sam1.decoder import MaskDecoder
from samgeo.models.sam1.prompt_encoder import PromptEncoder

__all__ = ["MobileSam", "MobileSamNetwork"]


class MobileSamNetwork(SamParts):
    """The three parts of MobileSAM. Parameters have the names of the official checkpoints, without batch normalisations.

    Parameters
    ----------
    architecture : MobileArchitecture
        The sizes.
    """

    architecture: MobileArchitecture
    image_encoder: TinyVit

    def __init__(self, architecture: MobileArchitecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.image_encoder = TinyVit(architecture.encoder, architecture.prompt_width)
        self.prompt_encoder = PromptEncoder(architecture)
        self.mask_decoder = MaskDecoder(architecture)


class MobileSam(SamBase[MobileSamNetwork, Embedding]):
    """MobileSAM as a ``Segmenter``; see `SamBase` for the parameters.

    ``decode`` returns masks 1 to 3 of SAM with ``multimask``, and mask 0 without.
    """

    def encode(self, images: Tensor) -> Embedding:
        """Encode normalised images, ``(B, 3, S, S)`` in the type of the model."""
        return Embedding(self.network.image_encoder(images))

    @property
    def bytes_a_window(self) -> float:
        """The memory that the activations of one window take while it is encoded, in bytes."""
        return self.network.architecture.encoder.numbers_a_window(self.input_size) * self.dtype.itemsize
