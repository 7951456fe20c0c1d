"""The last and dearest part of the bundled network: masks at stride 4 from what the decoder saw at stride 16."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.sam.tiny.layers import DepthwiseResidual, nest, perceptron, unnest

__all__ = ["Upscaler"]


class Upscaler(nn.Module):
    """Stride 16 to stride 4 with the pyramid and the prompt maps beside it, then a product with each mask's token.

    Parameters
    ----------
    channels : (int, int, int)
        At strides 16, 8 and 4.
    maps : (int, int)
        Channels of the prompt maps at strides 4 and 8.
    masks : int
        Candidates a prompt, the single mask included.
    """

    def __init__(self, channels: tuple[int, int, int], maps: tuple[int, int], masks: int) -> None:
        super().__init__()
        d16, d8, d4 = channels
        self.split8, self.split4 = nn.Linear(d16, 4 * d8), nn.Linear(d8, 4 * d4)
        self.maps8, self.maps4 = nn.Linear(maps[1], d8), nn.Linear(maps[0], d4)
        self.norm8, self.norm4 = nn.LayerNorm(d8), nn.LayerNorm(d4)
        self.refine8, self.refine4 = DepthwiseResidual(d8), DepthwiseResidual(d4, 3)
        self.weights = nn.ModuleList(perceptron(d16, d16, d4) for _ in range(masks))

    def forward(
        self, image: Tensor, tokens: Tensor, masks: range, *, pyramid: tuple[Tensor, Tensor], maps: tuple[Tensor, Tensor]
    ) -> Tensor:
        """Draw masks.

        Parameters
        ----------
        image : tensor, shape (P, pixels, C)
            At stride 16.
        tokens : tensor, shape (P, M, C)
            Of every candidate.
        masks : range
            The candidates to draw.
        pyramid : (tensor, tensor), shapes (pixels, C)
            The window's features at strides 8 and 4, in nested order.
        maps : (tensor, tensor), shapes (P, pixels, C)
            The prompt maps at strides 8 and 4, in nested order.

        Returns
        -------
        tensor of float32, shape (P, len(masks), S / 4, S / 4)
            Logits.
        """
        pixels8 = _split(image, self.split8, pyramid[0], self.maps8, maps[0])
        rows8 = unnest(functional.relu(self.norm8(pixels8)), 1)
        pixels4 = _split(nest(self.refine8(rows8), 1), self.split4, pyramid[1], self.maps4, maps[1])
        rows4 = unnest(functional.relu(self.norm4(pixels4)), 2)
        hidden = self.refine4.hidden(rows4)
        weights = torch.stack([self.weights[mask](tokens[:, mask]) for mask in masks], dim=1).float()
        # The last residual block's mixing is linear: the masks' weights go through it, not the pixels.
        mix = self.refine4.mix
        logits = weights @ rows4.flatten(1, 2).float().transpose(1, 2)
        logits = logits + (weights @ mix.weight.float()) @ hidden.flatten(1, 2).float().transpose(1, 2)
        logits = logits + weights @ mix.bias.float()[:, None]
        return logits.view(*logits.shape[:2], *rows4.shape[1:3])


def _split(cells: Tensor, split: nn.Linear, skip: Tensor, maps_layer: nn.Linear, maps: Tensor) -> Tensor:
    """Divide each of ``(P, cells, C)`` into its four pixels, with the pyramid and the maps added: (P, 4 * cells, c)."""
    batch, count, _ = cells.shape
    finer = split.out_features // 4
    # Summed in place of the products' own results: each sum over again would be another pass through memory.
    base = (skip + split.bias.view(4, finer).repeat(count, 1) + maps_layer.bias).view(count, 4 * finer)
    pixels = torch.baddbmm(base.expand(batch, -1, -1), cells, split.weight.T.expand(batch, -1, -1)).view(-1, finer)
    return pixels.addmm_(maps.flatten(0, 1), maps_layer.weight.T).view(batch, 4 * count, finer)
