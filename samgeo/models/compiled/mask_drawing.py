"""The compiled drawing of masks, from the image at stride 16 to logits at stride 4.

``fits`` tells whether it can draw; of torch: ``TinyNetwork.draw`` and ``draw_regions``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from samgeo.models.compiled.library import call, over_prompts, usable

if TYPE_CHECKING:
    from samgeo.models.tiny.mask_regions import CellRegions

__all__ = ["draw", "fits"]

# The sizes for which draw_masks.cpp is compiled.
CHANNELS, MAPS = (128, 64, 32), (16, 32)
SIDES = range(4, 33)
MASKS = 4


def fits(channels: tuple[int, ...], maps: tuple[int, ...], masks: int, side: int, *tensors: Tensor) -> bool:
    """Return whether masks of squares of ``side`` cells can be drawn with these sizes of a network and these tensors."""
    return (channels, maps) == (CHANNELS, MAPS) and masks <= MASKS and side in SIDES and usable(*tensors)


def draw(
    maps: Tensor,
    weight4: Tensor,
    image: Tensor,
    weights: Tensor,
    *,
    skips: tuple[Tensor, Tensor],
    layers: Sequence[Tensor],
    regions: CellRegions,
) -> Tensor:
    """Draw masks in squares of a window.

    Parameters
    ----------
    maps : tensor, shape (K, P, 16 N)
        The dense maps at stride 4 in nested order, the last of which is one everywhere.
    weight4 : tensor, shape (K, 16)
        Their weights.
    image : tensor, shape (P, N, C)
        At stride 16.
    weights : tensor, shape (R, M, c)
        Weights of the stride-4 channels for each mask of each square.
    skips : (tensor, tensor)
        Addends of the window at strides 8 and 4, which ``Upscaler.skips`` describes.
    layers : sequence of tensor
        Parameters, in the order of ``DrawingLayers`` in draw_masks.cpp.
    regions : CellRegions
        The ``R`` squares.

    Returns
    -------
    tensor, shape (R, M, 4 side, 4 side)
        Logits.
    """
    side, masks = regions.side, weights.shape[1]
    logits = torch.empty(len(regions), masks, 4 * side, 4 * side)
    weight4, weights = weight4.contiguous(), weights.contiguous()
    squares = [each.contiguous() for each in (regions.rows, regions.top, regions.left)]
    addresses = torch.tensor([layer.data_ptr() for layer in layers])
    stacked = (len(maps), maps[0].numel(), maps)

    def draw_part(part: slice) -> None:
        own, to = (each[part] for each in squares), logits[part]
        sizes = (len(to), side, regions.cells, masks)
        call("draw_masks", *sizes, *own, *stacked, weight4, image, weights[part], *skips, addresses, to)

    over_prompts(draw_part, len(regions))
    return logits
