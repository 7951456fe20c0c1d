"""SAM 2 for images as training uses it: image encoder, prompt encoder and mask decoder on tensors and with gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from samgeo.models.sam1.decoder import Details
from samgeo.models.sam1.trainable import EncodedCrops, TrainableSam
from samgeo.models.sam2.model import Sam2Network, Sam2Parts

__all__ = ["EncodedSam2Crops", "Sam2Trainable"]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedSam2Crops(EncodedCrops):
    """Embeddings of ``B`` crops of one side, from the image encoder of SAM 2.

    Attributes
    ----------
    s1 : tensor, shape (B, C / 4, 2 * g, 2 * g)
        Features at a stride of 8 pixels, as the mask decoder adds them.
    s0 : tensor, shape (B, C / 8, 4 * g, 4 * g)
        Features at a stride of 4 pixels.
    """

    s1: Tensor
    s0: Tensor


class Sam2Trainable(Sam2Parts, TrainableSam[EncodedSam2Crops]):
    """A `samgeo.models.protocols.Trainable` that computes with the modules of a SAM 2 network; see `TrainableSam`.

    The parameters have the names of `Sam2Network`, and are those of the given network: training changes it. Candidate 0 is
    the mask of the first mask token. In use, the model returns the best of the others in its place if that mask is not stable.
    The head of the object score, which images do not use, is not part of any answer.

    Parameters
    ----------
    network : Sam2Network
        The network.
    """

    encoded_type: ClassVar[type[EncodedCrops]] = EncodedSam2Crops
    # Embeddings have the finer features as the mask decoder adds them, so that they depend on two of its convolutions.
    encoder_parts: ClassVar[tuple[str, ...]] = (
        *("image_encoder.", "no_mem_embed", "mask_decoder.conv_s0.", "mask_decoder.conv_s1."),
    )

    def __init__(self, network: Sam2Network) -> None:
        super().__init__()
        self.architecture = network.architecture
        self.image_encoder = network.image_encoder
        self.no_mem_embed = network.no_mem_embed
        self.prompt_encoder = network.prompt_encoder
        self.mask_decoder = network.mask_decoder

    def encoded(self, images: Tensor, crop_px: Tensor) -> EncodedSam2Crops:
        """Encode normalised images; see `TrainableSam`."""
        features, s1, s0 = self.maps(images, self.image_encoder.positions())
        return EncodedSam2Crops(features, crop_px, s1, s0)

    def details(self, features: EncodedSam2Crops) -> tuple[Details | None, ...]:
        """Return the features at strides of 8 and 4 pixels of each crop."""
        finer = zip(features.s1.float(), features.s0.float(), strict=True)
        return tuple(Details.of(s1, s0) for s1, s0 in finer)
