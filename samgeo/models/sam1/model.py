"""SAM 1 of any size as a ``Segmenter``."""

from __future__ import annotations

from torch import Tensor

from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.base import Embedding, SamBase, SamParts
from samgeo.models.sam1.decoder import MaskDecoder
from samgeo.models.sam1.encoder import ImageEncoder
from samgeo.models.sam1.prompt_encoder import EncodedPrompts, PromptEncoder

__all__ = ["Embedding", "EncodedPrompts", "Sam", "SamNetwork"]

# While a window is encoded, its activations take about this many maps of the encoder's width.
MAPS_A_WINDOW = 32


class SamNetwork(SamParts):
    """The three parts of SAM 1, with the parameter names of the official checkpoints.

    Parameters
    ----------
    architecture : Architecture
        The sizes.
    """

    architecture: Architecture
    image_encoder: ImageEncoder

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        self.image_encoder = ImageEncoder(architecture)
        self.prompt_encoder = PromptEncoder(architecture)
        self.mask_decoder = MaskDecoder(architecture)


class Sam(SamBase[SamNetwork, Embedding]):
    """SAM 1 of any width and depth as a ``Segmenter``; see `SamBase` for the parameters.

    ``decode`` returns masks 1 to 3 of SAM with ``multimask``, and mask 0 without.
    """

    @property
    def architecture(self) -> Architecture:
        """The sizes."""
        return self.network.architecture

    def encode(self, images: Tensor) -> Embedding:
        """Encode normalised images, ``(B, 3, S, S)`` in the type of the model."""
        return Embedding(self.network.image_encoder(images))

    @property
    def bytes_a_window(self) -> float:
        """The memory that the activations of one window take while it is encoded, in bytes."""
        a = self.network.architecture
        return MAPS_A_WINDOW * a.grid**2 * a.width * self.dtype.itemsize
