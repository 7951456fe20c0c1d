"""SAM 1 as training uses it: image encoder, prompt encoder and mask decoder on tensors and with gradients."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from samgeo.errors import OptionError
from samgeo.models.preprocessing import PIXEL_MEAN, PIXEL_STD
from samgeo.models.protocols import Answer
from samgeo.models.sam1.adapters import adapter_width
from samgeo.models.sam1.architecture import Architecture
from samgeo.models.sam1.base import SamParts
from samgeo.models.sam1.encoder import ImageEncoder
from samgeo.models.sam1.model import SamNetwork
from samgeo.models.sam1.prompt_encoder import EncodedPrompts

__all__ = ["EncodedCrops", "SamTrainable", "SamWindow", "add_adapters"]


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
    """

    features: Tensor
    positions: Tensor
    low: int


class SamTrainable(SamParts):
    """A `samgeo.models.protocols.Trainable` that computes with the modules of a SAM 1 network.

    The parameters have the names of the official checkpoints, and are those of the given network: training changes it. All
    computations are in float32.

    The published models work at one scale and with positions of the whole input. A crop that is smaller than the input is
    therefore padded at the right and below, as windows at the edge of a raster are, and not resized: its embedding is exactly
    that of ``Sam.embed``. Every crop costs as much as a whole window, so that crops of the side of the input use the time best.

    Parameters
    ----------
    network : SamNetwork
        The network.
    """

    # Class of the embeddings, whose fields are tensors.
    encoded_type: ClassVar[type[EncodedCrops]] = EncodedCrops
    architecture: Architecture
    image_encoder: ImageEncoder

    def __init__(self, network: SamNetwork) -> None:
        super().__init__()
        self.architecture = network.architecture
        self.image_encoder = network.image_encoder
        self.prompt_encoder = network.prompt_encoder
        self.mask_decoder = network.mask_decoder

    def encode(self, images: Tensor) -> EncodedCrops:
        """Encode images.

        Parameters
        ----------
        images : tensor of float32, shape (B, S, S, 3)
            From 0 to 255; ``S`` is a multiple of 4 and at most the side of the model's input.

        Returns
        -------
        EncodedCrops
            Without gradients if no parameter of the image encoder is trained.

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
        is_trained = torch.is_grad_enabled() and any(part.requires_grad for part in self.image_encoder.parameters())
        with torch.set_grad_enabled(is_trained):
            features: Tensor = self.image_encoder(padded)
        return EncodedCrops(features, torch.tensor([crop]))

    def window(self, features: EncodedCrops, origin_px: tuple[float, float] = (0.0, 0.0)) -> SamWindow:  # noqa: ARG002
        """Prepare encoded crops for prompts.

        ``origin_px`` has no effect: the crops were encoded in the top left corner of their windows.
        """
        # The embedding of one window and of several must have one order in memory, so that answers are the same bits.
        maps = features.features.float().contiguous(memory_format=torch.channels_last)
        return SamWindow(maps, self.prompt_encoder.grid_positions(), int(features.crop_px) * 4 // self.architecture.patch)

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

        Candidate 0 is the mask that SAM returns without ``multimask``, and 1 to 3 are the masks that it returns with it.
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
        logits = decoder.paint(attended, cells, kept)
        return Answer(logits[..., : window.low, : window.low], decoder.predict_iou(attended)[:, candidates])

    def _padded(self, masks: Tensor | None, low: int) -> Tensor | None:
        """Pad the logits of crops to those of windows: the padding is as surely background as any pixel of the mask."""
        missing = 4 * self.architecture.grid - low
        if masks is None or not missing:
            return masks
        lowest = masks.flatten(1).amin(1)[:, None, None].clamp(max=0)
        return functional.pad(masks - lowest, (0, missing, 0, missing)) + lowest


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
