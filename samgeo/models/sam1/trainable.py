"""SAM 1 as training uses it, on tensors and with gradients; and what SAM 1 and SAM 2 share there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import ClassVar, Generic, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from samgeo.errors import OptionError
from samgeo.models.preprocessing import PIXEL_MEAN, PIXEL_STD
from samgeo.models.protocols import Answer
from samgeo.models.sam1.adapters import adapter_width
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.base import SamParts
from samgeo.models.sam1.decoder import Details
from samgeo.models.sam1.encoder import ImageEncoder
from samgeo.models.sam1.model import SamNetwork
from samgeo.models.sam1.prompt_encoder import EncodedPrompts

__all__ = ["EncodedCrops", "SamTrainable", "SamWindow", "TrainableSam", "add_adapters"]


@dataclass(frozen=True, slots=True, eq=False)
class EncodedCrops:
    """Embeddings of ``B`` crops of one side.

    Attributes
    ----------
    features : tensor, shape (B, C, g, g)
        The embeddings of the whole windows, in whose top left corner the crops lie.
    crop_px : tensor of int64, shape (1,)
        Side of the crops in pixels.
    """

    features: Tensor
    crop_px: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class SamWindow:
    """Encoded crops that are ready for prompts.

    Attributes
    ----------
    features : tensor, shape (B, C, g, g)
        The embeddings.
    positions : tensor, shape (g * g, C)
        Encoded centres of the cells.
    low : int
        Side of the crops in pixels of the logits.
    details : tuple of Details or None
        What is added to the pixels of the masks of each crop; one None if nothing is added.
    """

    features: Tensor
    positions: Tensor
    low: int
    details: tuple[Details | None, ...] = (None,)


Encoded = TypeVar("Encoded", bound=EncodedCrops)


class TrainableSam(SamParts, ABC, Generic[Encoded]):
    """What the networks that have SAM's prompt encoder and mask decoder share as `samgeo.models.protocols.Trainable`.

    All computations are in float32. The published models work at one scale and with positions of the whole input. A crop that
    is smaller than the input is therefore padded at the right and below, as windows at the edge of a raster are, and not
    resized: its embedding is exactly that of the model's ``embed``. Every crop costs as much as a whole window, so that crops
    of the side of the input use the time best.
    """

    # Class of the embeddings, whose fields are tensors.
    encoded_type: ClassVar[type[EncodedCrops]] = EncodedCrops
    # Beginnings of the names of the parameters on which the embeddings depend.
    encoder_parts: ClassVar[tuple[str, ...]] = ("image_encoder.",)

    @abstractmethod
    def encoded(self, images: Tensor, crop_px: Tensor) -> Encoded:
        """Encode normalised images, ``(B, 3, S, S)`` of the side of the input, with crops of a side in the top left corner."""

    def details(self, features: Encoded) -> tuple[Details | None, ...]:  # noqa: ARG002 - for classes that override it
        """Return what is added to the pixels of the masks of each crop; nothing, unless a network has it."""
        return (None,)

    def encode(self, images: Tensor) -> Encoded:
        """Encode images.

        Parameters
        ----------
        images : tensor of float32, shape (B, S, S, 3)
            From 0 to 255; ``S`` is a multiple of 4 and at most the side of the model's input.

        Returns
        -------
        EncodedCrops
            Without gradients if no parameter is trained on which the embeddings depend.

        Raises
        ------
        OptionError
            If the images are larger than the input.
        """
        side, crop = self.architecture.input_size, images.shape[1]
        if crop > side or crop % 4 or images.shape[1:] != (crop, crop, 3):
            raise OptionError(
                f"images of shape {tuple(images.shape)} are no crops for a model with an input of {side} pixels; give "
                f"(B, S, S, 3) with a side S that is a multiple of 4 and at most {side}."
            )
        mean, std = (images.new_tensor(values) for values in (PIXEL_MEAN, PIXEL_STD))
        normal = ((images - mean) / std).permute(0, 3, 1, 2)
        padded = functional.pad(normal, (0, side - crop, 0, side - crop))
        encoders = (part for name, part in self.named_parameters() if name.startswith(self.encoder_parts))
        is_trained = torch.is_grad_enabled() and any(part.requires_grad for part in encoders)
        with torch.set_grad_enabled(is_trained):
            return self.encoded(padded, torch.tensor([crop]))

    def window(self, features: Encoded, origin_px: tuple[float, float] = (0.0, 0.0)) -> SamWindow:  # noqa: ARG002
        """Prepare encoded crops for prompts.

        ``origin_px`` has no effect: the crops were encoded in the top left corner of their windows.
        """
        # The embedding of one window and of several must have one order in memory, so that answers are the same bits.
        maps = features.features.float().contiguous(memory_format=torch.channels_last)
        sizes = self.architecture
        low = int(features.crop_px) * 4 * sizes.grid // sizes.input_size
        return SamWindow(maps, self.prompt_encoder.grid_positions(), low, self.details(features))

    def answer(
        self,
        window: SamWindow,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        candidates: slice = slice(None),
    ) -> Answer:
        """Answer prompts with complete masks and with gradients; see ``samgeo.models.protocols.Trainable``.

        Candidate 0 is the mask of the first mask token, and 1 to 3 are the masks that the model returns with ``multimask``.
        """
        prompts = EncodedPrompts(points, labels, boxes, self._padded(masks, window.low))
        tokens = torch.cat(self.prompt_encoder.tokens(prompts), dim=1)
        features = window.features
        if len(features) > 1:
            features = features.repeat_interleave(len(prompts) // len(features), dim=0)
        image = features + self.prompt_encoder.dense(prompts.masks)
        decoder = self.mask_decoder
        attended, cells = decoder.attend(image, window.positions, tokens)
        kept = range(decoder.mask_tokens.num_embeddings)[candidates]
        # Prompts of one crop follow each other.
        count = len(window.details)
        parts = zip(attended.chunk(count), cells.chunk(count), window.details, strict=True)
        logits = torch.cat([decoder.paint(read, own, kept, details) for read, own, details in parts])
        return Answer(logits[..., : window.low, : window.low], decoder.predict_iou(attended)[:, candidates])

    def _padded(self, masks: Tensor | None, low: int) -> Tensor | None:
        """Pad the logits of crops to those of windows: the padding is as surely background as any pixel of the mask."""
        missing = 4 * self.architecture.grid - low
        if masks is None or not missing:
            return masks
        lowest = masks.flatten(1).amin(1)[:, None, None].clamp(max=0)
        return functional.pad(masks - lowest, (0, missing, 0, missing)) + lowest


class SamTrainable(TrainableSam[EncodedCrops]):
    """A `samgeo.models.protocols.Trainable` that computes with the modules of a SAM 1 network; see `TrainableSam`.

    The parameters have the names of the official checkpoints, and are those of the given network: training changes it.

    Parameters
    ----------
    network : SamNetwork
        The network.
    """

    architecture: Architecture
    image_encoder: ImageEncoder

    def __init__(self, network: SamNetwork) -> None:
        super().__init__()
        self.architecture = network.architecture
        self.image_encoder = network.image_encoder
        self.prompt_encoder = network.prompt_encoder
        self.mask_decoder = network.mask_decoder

    def encoded(self, images: Tensor, crop_px: Tensor) -> EncodedCrops:
        """Encode normalised images; see `TrainableSam`."""
        return EncodedCrops(self.image_encoder(images), crop_px)


def add_adapters(network: SamNetwork | SamTrainable, kind: str, *, seed: int = 0) -> None:
    """Add adapters to the image encoder of a network, in place; they change no answer until they are trained.

    Parameters
    ----------
    network : SamNetwork or SamTrainable
        The network. If it already has adapters of this kind, they stay.
    kind : str
        Kind of the adapters: "patches" or "bottlenecks"; see `samgeo.models.sam1.adapters`.
    seed : int, default 0
        Seed of their random weights.

    Raises
    ------
    OptionError
        If there is no such kind, or the network has adapters of another kind.
    """
    sizes = network.architecture
    if sizes.adapter == kind:
        return
    if sizes.adapter:
        raise OptionError(f"this model already has adapters of the kind {sizes.adapter!r}; give a model without adapters.")
    network.architecture = replace(sizes, adapter=kind, adapter_width=adapter_width(kind, sizes.width))
    place = network.image_encoder.pos_embed.device
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network.image_encoder.add_adapters(network.architecture)
    network.image_encoder.to(place)
