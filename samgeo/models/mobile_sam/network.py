"""The network of MobileSAM: TinyViT as the image encoder, and the prompt encoder and the mask decoder of SAM 1."""

from __future__ import annotations

from torch import nn

from samgeo.models.mobile_sam.architecture import TinyVitSizes
from samgeo.models.mobile_sam.encoder import TinyVit
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.decoder import MaskDecoder
from samgeo.models.sam1.model import SamNetwork
from samgeo.models.sam1.prompt_encoder import PromptEncoder

__all__ = ["MobileSamNetwork"]


class MobileSamNetwork(SamNetwork):
    """The three parts of MobileSAM. Parameters have the names of the official checkpoints, without batch normalisations.

    Parameters
    ----------
    sizes : TinyVitSizes
        The sizes of the image encoder.
    architecture : Architecture
        The sizes of the other parts; see `decoder_architecture`.
    """

    def __init__(self, sizes: TinyVitSizes, architecture: Architecture) -> None:
        nn.Module.__init__(self)
        self.sizes = sizes
        self.architecture = architecture
        self.image_encoder = TinyVit(sizes, architecture.prompt_width)  # type: ignore[assignment]
        self.prompt_encoder = PromptEncoder(architecture)
        self.mask_decoder = MaskDecoder(architecture)
