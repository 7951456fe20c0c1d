"""Upscaler of the bundled network, its most expensive part: masks at stride 4 from the decoder's image at stride 16."""

from __future__ import annotations

from itertools import chain

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.tiny.encoder import Features
from samgeo.models.tiny.layers import DepthwiseResidual, nest, unnest

__all__ = ["Upscaler"]


class Upscaler(nn.Module):
    """Upscaling from stride 16 to stride 4 with the pyramid and the prompt maps, then a product with the weights of each mask.

    Parameters
    ----------
    channels : (int, int, int)
        Channels at strides 16, 8 and 4.
    maps : (int, int)
        Channels of the prompt maps at strides 4 and 8.
    """

    def __init__(self, channels: tuple[int, int, int], maps: tuple[int, int]) -> None:
        super().__init__()
        d16, d8, d4 = channels
        self.split8, self.split4 = nn.Linear(d16, 4 * d8), nn.Linear(d8, 4 * d4)
        self.maps8, self.maps4 = nn.Linear(maps[1], d8), nn.Linear(maps[0], d4)
        self.norm8, self.norm4 = nn.LayerNorm(d8), nn.LayerNorm(d4)
        self.refine8, self.refine4 = DepthwiseResidual(d8), DepthwiseResidual(d4, 3)

    def skips(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return the addends that all prompts of a window share at strides 8 and 4: the pyramid and the biases of the sum.

        Shapes (cells, 4 C), with a leading dimension where there are several windows: the four pixels of each cell side by
        side, cells in nested order.
        """
        dtype = self.split8.weight.dtype
        at8, at4 = nest(features.stride8.to(dtype), 1), nest(features.stride4.to(dtype), 2)
        if len(features) == 1:
            at8, at4 = at8[0], at4[0]
        return _skip(at8, self.split8, self.maps8), _skip(at4, self.split4, self.maps4)

    def drawing_layers(self) -> list[Tensor]:
        """Return what draw_masks.cpp calls ``DrawingLayers``: the parameters in that order, without the biases in the skips."""
        blocks = (layer for block in (self.refine8, self.refine4) for layer in (block.depthwise, block.norm, block.mix))
        complete = (layer.parameters(recurse=False) for layer in (self.norm8, self.norm4, *blocks))
        products = (self.split8, self.split4, self.maps8, self.maps4)
        return [*(layer.weight for layer in products), *chain.from_iterable(complete)]

    def forward(self, image: Tensor, weights: Tensor, skips: tuple[Tensor, Tensor], maps: tuple[Tensor, Tensor]) -> Tensor:
        """Draw masks.

        Parameters
        ----------
        image : tensor, shape (P, pixels, C)
            At stride 16.
        weights : tensor of float32, shape (P, M, c)
            Weights of the stride-4 channels for each mask.
        skips : (tensor, tensor)
            Addends of the window; or, with a leading dimension of prompts, those of one square of cells for each prompt.
        maps : (tensor, tensor), shapes (P, pixels, C)
            The prompt maps at strides 8 and 4, in nested order.

        Returns
        -------
        tensor of float32, shape (P, M, S / 4, S / 4)
            Logits of the window, or of the squares if the arguments are those of squares.
        """
        pixels8 = _split(image, self.split8, skips[0], self.maps8, maps[0])
        rows8 = unnest(functional.relu(self.norm8(pixels8), inplace=True), 1)
        pixels4 = _split(nest(self.refine8(rows8), 1), self.split4, skips[1], self.maps4, maps[1])
        rows4 = unnest(functional.relu(self.norm4(pixels4), inplace=True), 2)
        hidden = self.refine4.hidden(rows4)
        # The mixing layer of the last residual block is linear, so it is applied to the few weights instead of the pixels.
        mix = self.refine4.mix
        bias = weights @ mix.bias.float()[:, None]
        logits = torch.baddbmm(bias, weights, rows4.flatten(1, 2).float().transpose(1, 2))
        logits = logits + (weights @ mix.weight.float()) @ hidden.flatten(1, 2).float().transpose(1, 2)
        return logits.view(*logits.shape[:2], *rows4.shape[1:3])


def _skip(pixels: Tensor, split: nn.Linear, maps: nn.Linear) -> Tensor:
    """Lay ``(..., 4 cells, C)`` pixels out as ``split`` lays out its result, with the biases of ``split`` and ``maps``."""
    return pixels.view(*pixels.shape[:-2], -1, split.out_features) + split.bias + maps.bias.repeat(4)


def _split(cells: Tensor, split: nn.Linear, skip: Tensor, maps_layer: nn.Linear, maps: Tensor) -> Tensor:
    """Split each cell of ``(P, cells, C)`` into its four pixels, and add the skip and the maps: (P, 4 cells, c)."""
    prompts, finer = len(cells), split.out_features // 4
    # These products add to an existing tensor, because a separate sum would need another pass through memory.
    pixels = torch.baddbmm(skip.expand(prompts, *skip.shape[-2:]), cells, split.weight.T.expand(prompts, -1, -1))
    return pixels.view(-1, finer).addmm_(maps.flatten(0, 1), maps_layer.weight.T).view(prompts, -1, finer)
