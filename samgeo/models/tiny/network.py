"""The bundled network, built from its encoder, prompt encoder, decoder and upscaler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from samgeo.errors import OptionError
from samgeo.models.compiled import mask_drawing
from samgeo.models.protocols import Answer
from samgeo.models.tiny.decoder import Decoded, Decoder
from samgeo.models.tiny.encoder import Features, ImageEncoder
from samgeo.models.tiny.mask_regions import CellRegions
from samgeo.models.tiny.prompt_encoder import Prompted, PromptEncoder, Window
from samgeo.models.tiny.upscaler import Upscaler

__all__ = ["TinyConfig", "TinyNetwork"]


@dataclass(frozen=True, slots=True)
class TinyConfig:
    """The sizes of a network, which a weights file stores in its header.

    Attributes
    ----------
    channels : (int, int, int)
        Channels of the feature pyramid at strides 16, 8 and 4. The first is also the width of a token.
    similarity : (int, int, int)
        Channels of the unit vectors at strides 16, 8 and 4.
    maps : (int, int)
        Channels of the prompt maps at strides 4 and 8.
    heads, depth, hidden : int
        Heads, layers and hidden channels of the two-way attention.
    masks : int
        Number of candidates for each prompt: the single mask, then the candidates for an ambiguous click.
    input_size : int
        Side of a window in pixels, a multiple of 32.
    quality : int
        Hidden channels of the head that estimates the quality of each candidate by itself; 0 for no such head, as in the
        first version of the weights.
    attend : (int, int)
        Number of attention blocks of the image encoder at strides 32 and 16; 0 in weights before version 6.
    deepen : (int, int, int)
        Number of convolution blocks of the image encoder at strides 16, 8 and 4; 0 in weights before version 6.
    blanks : int
        1 if a prompt without clicks or without a box gets zero tokens in their place, as in weights before version 6; else 0.

    Raises
    ------
    OptionError
        If the sizes are invalid.
    """

    channels: tuple[int, int, int] = (128, 64, 32)
    similarity: tuple[int, int, int] = (32, 24, 16)
    maps: tuple[int, int] = (16, 32)
    heads: int = 4
    depth: int = 2
    hidden: int = 256
    masks: int = 4
    input_size: int = 512
    quality: int = 0
    attend: tuple[int, int] = (0, 0)
    deepen: tuple[int, int, int] = (0, 0, 0)
    blanks: int = 1

    def __post_init__(self) -> None:
        lengths = {"channels": 3, "similarity": 3, "maps": 2, "attend": 2, "deepen": 3}
        if wrong := [name for name, length in lengths.items() if len(getattr(self, name)) != length]:
            raise OptionError(f"{self} has a wrong number of sizes; give {lengths[wrong[0]]} for {wrong[0]}.")
        sizes = (*self.channels, *self.similarity, *self.maps, self.heads, self.depth, self.hidden, self.masks - 1)
        if min(sizes) < 1 or min(self.quality, *self.attend, *self.deepen) < 0:
            raise OptionError(f"{self} has sizes that are too small; give 1 or more of each, and 2 masks or more.")
        if self.channels[0] % (2 * self.heads):
            raise OptionError(
                f"{self.channels[0]} channels are not a multiple of twice the {self.heads} heads; change one of them."
            )
        if self.input_size < 32 or self.input_size % 32:
            raise OptionError(f"input_size is {self.input_size}; give a multiple of 32.")


class TinyNetwork(nn.Module):
    """A promptable network for overhead imagery on small machines.

    Parameters
    ----------
    config : TinyConfig
        The sizes.
    """

    # Class of the embeddings, whose fields are tensors.
    encoded_type: ClassVar[type[Features]] = Features
    # Beginnings of the names of the parameters on which the embeddings depend.
    encoder_parts: ClassVar[tuple[str, ...]] = ("encoder.",)

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        width = config.channels[0]
        self.config = config
        self.encoder = ImageEncoder(
            config.channels, config.similarity, attend=config.attend, deepen=config.deepen, heads=config.heads
        )
        self.prompts = PromptEncoder(width, sum(config.channels), config.maps, blanks=bool(config.blanks))
        self.decoder = Decoder(
            width,
            heads=config.heads,
            depth=config.depth,
            hidden=config.hidden,
            masks=config.masks,
            drawn=config.channels[-1],
            quality=config.quality,
        )
        self.upscaler = Upscaler(config.channels, config.maps)

    def encode(self, images: Tensor) -> Features:
        """Encode ``(B, S, S, 3)`` images of 0 to 255, padded with zeros at the right and below."""
        features: Features = self.encoder(images)
        return features

    def window(self, features: Features, origin_px: tuple[float, float] = (0.0, 0.0)) -> Window:
        """Prepare one window for any number of prompts, or several windows for the same number of prompts each.

        In training, crops are smaller than a window. ``origin_px`` is their position in the window, the same for all crops.
        """
        return self.prompts.window(features, self.upscaler.skips(features), origin_px)

    def answer(
        self,
        window: Window,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        *,
        candidates: slice = slice(None),
    ) -> Answer:
        """Answer prompts with complete masks and with gradients; see ``samgeo.models.protocols.Trainable``."""
        prompted, decoded = self.decode(window, points, labels, boxes, masks)
        logits = self.draw(window, prompted, decoded, candidates, slice(None))
        coverage = None if decoded.coverage is None else decoded.coverage[:, candidates]
        return Answer(logits, decoded.predicted_iou[:, candidates], coverage)

    def decode(
        self,
        window: Window,
        points: Tensor | None = None,
        labels: Tensor | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
    ) -> tuple[Prompted, Decoded]:
        """Decode prompts up to the predicted IoU, without masks; see `PromptEncoder.forward`."""
        prompted = self.prompts(window, points, labels, boxes, masks)
        return prompted, self.decoder(window, prompted)

    def draw(self, window: Window, prompted: Prompted, decoded: Decoded, masks: slice, rows: Tensor | slice) -> Tensor:
        """Compute the candidates ``masks`` of the prompts ``rows``: logits of shape (rows, masks, S / 4, S / 4)."""
        cells = round(decoded.image.shape[1] ** 0.5)
        if self._is_compiled(window, prompted, decoded, cells):
            windows = CellRegions.of_windows(torch.arange(len(decoded.image))[rows], cells)
            return self._draw_compiled(window, prompted, decoded, masks, windows)
        maps4, maps8 = self.prompts.merged(prompted.maps[:, rows], prompted.weight4)
        skips = window.skips
        if len(window.features) > 1:
            skip8, skip4 = (window.for_prompts(skip, len(decoded.image))[rows] for skip in skips)
            skips = (skip8, skip4)
        logits: Tensor = self.upscaler(decoded.image[rows], decoded.weights[rows, masks], skips, (maps8, maps4))
        return logits

    def draw_regions(self, window: Window, prompted: Prompted, decoded: Decoded, masks: slice, regions: CellRegions) -> Tensor:
        """Compute the candidates ``masks`` in squares of the window: logits of shape (regions, masks, 4 side, 4 side)."""
        if self._is_compiled(window, prompted, decoded, regions.side):
            return self._draw_compiled(window, prompted, decoded, masks, regions)
        cells = regions.indices()
        at = (regions.rows[:, None] * regions.cells**2 + cells).flatten()

        def shared(skip: Tensor) -> Tensor:
            chosen = skip.view(regions.cells**2, -1).index_select(0, cells.flatten())
            return chosen.view(len(regions), -1, skip.shape[1])

        own = decoded.image.flatten(0, 1).index_select(0, at).view(len(regions), -1, decoded.image.shape[2])
        values = prompted.maps.view(len(prompted.maps), -1, 16).index_select(1, at).view(len(prompted.maps), len(regions), -1)
        maps4, maps8 = self.prompts.merged(values, prompted.weight4)
        skips = (shared(window.skips[0]), shared(window.skips[1]))
        logits: Tensor = self.upscaler(own, decoded.weights[regions.rows, masks], skips, (maps8, maps4))
        return logits

    def _is_compiled(self, window: Window, prompted: Prompted, decoded: Decoded, side: int) -> bool:
        # The layers have the type of the skips.
        config, tensors = self.config, (prompted.maps, decoded.image, *window.skips)
        return len(window.features) == 1 and mask_drawing.fits(config.channels, config.maps, config.masks, side, *tensors)

    def _draw_compiled(
        self, window: Window, prompted: Prompted, decoded: Decoded, masks: slice, regions: CellRegions
    ) -> Tensor:
        layers = [self.prompts.merge8.weight, self.prompts.merge8.bias, *self.upscaler.drawing_layers()]
        of_prompts = (prompted.maps, prompted.weight4, decoded.image, decoded.weights[regions.rows, masks])
        return mask_drawing.draw(*of_prompts, skips=window.skips, layers=layers, regions=regions)
