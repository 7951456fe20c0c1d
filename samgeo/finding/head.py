"""The network of a finder: from the feature maps of a frozen image encoder to maps of the objects of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["STRIDE", "FinderHead", "HeadConfig", "Maps"]

# Distance between the cells of the output in pixels of the model's input.
STRIDE = 8
# Distances from a centre to the sides of its box are exponentials, limited to these powers of e, in units of STRIDE.
LEAST_LOG, MOST_LOG = -3.0, 5.0


@dataclass(frozen=True, slots=True)
class HeadConfig:
    """The sizes of a `FinderHead`.

    Attributes
    ----------
    strides, channels : tuple of int
        Of each feature map of the encoder, the coarsest first.
    classes : int, default 1
        Number of classes of objects.
    width : int, default 64
        Channels of the blocks.
    depth : int, default 2
        Number of blocks.
    """

    strides: tuple[int, ...]
    channels: tuple[int, ...]
    classes: int = 1
    width: int = 64
    depth: int = 2

    @property
    def outputs(self) -> int:
        """Number of output channels: heat of each class, four distances, share of each class, boundary."""
        return 2 * self.classes + 5


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """The output of a `FinderHead` for ``B`` windows, in cells of `STRIDE` pixels.

    Attributes
    ----------
    heat : tensor, shape (B, K, h, w)
        Logits of the centres of the objects of each of ``K`` classes.
    distances : tensor, shape (B, 4, h, w)
        Distances from the cell's centre to the left, top, right and bottom side of the object's box, in units of `STRIDE`.
    share : tensor, shape (B, K, h, w)
        Logits of the share of the cell that objects of each class cover.
    boundary : tensor, shape (B, 1, h, w)
        Logits of whether the cell has an edge of an object.
    """

    heat: Tensor
    distances: Tensor
    share: Tensor
    boundary: Tensor


class _Block(nn.Module):
    """A ConvNeXt block (arXiv:2201.03545): 7 x 7 depthwise convolution, layer norm, two linear layers, and a residual sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(width, width, 7, padding=3, groups=width)
        self.norm = nn.LayerNorm(width)
        self.widen, self.narrow = nn.Linear(width, 3 * width), nn.Linear(3 * width, width)

    def forward(self, maps: Tensor) -> Tensor:
        near = self.depthwise(maps.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        changed: Tensor = self.narrow(functional.gelu(self.widen(self.norm(near))))
        return maps + changed


class FinderHead(nn.Module):
    """A small network that predicts centres and boxes of objects, as CenterNet (arXiv:1904.07850) and FCOS (arXiv:1904.01355).

    Parameters
    ----------
    config : HeadConfig
        The sizes.

    Examples
    --------
    >>> import torch
    >>> from samgeo.finding.head import FinderHead, HeadConfig
    >>> head = FinderHead(HeadConfig(strides=(16, 4), channels=(8, 2)))
    >>> maps = head([torch.zeros(1, 32, 32, 8), torch.zeros(1, 128, 128, 2)])
    >>> tuple(maps.heat.shape), tuple(maps.distances.shape)
    ((1, 1, 64, 64), (1, 4, 64, 64))
    """

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width = config.width
        inputs = sum(
            count * max(STRIDE // stride, 1) ** 2 for stride, count in zip(config.strides, config.channels, strict=True)
        )
        self.enter = nn.Linear(inputs, width)
        self.blocks = nn.Sequential(*(_Block(width) for _ in range(config.depth)))
        last = nn.Linear(width, config.outputs)
        self.leave = nn.Sequential(nn.Linear(width, width), nn.GELU(), last)
        with torch.no_grad():
            last.weight.mul_(0.1)
            last.bias.zero_()
            # Few cells are centres, and a box is some e cells wide at first.
            last.bias[: config.classes] = -3.5
            last.bias[config.classes : config.classes + 4] = 1.0

    def forward(self, pyramid: Sequence[Tensor]) -> Maps:
        """Predict the maps of windows.

        Parameters
        ----------
        pyramid : sequence of tensor, shape (B, h, w, C)
            Feature maps of the encoder, the coarsest first.

        Returns
        -------
        Maps
        """
        aligned = [_aligned(maps, stride) for maps, stride in zip(pyramid, self.config.strides, strict=True)]
        out = self.leave(self.blocks(self.enter(torch.cat(aligned, dim=-1)))).permute(0, 3, 1, 2)
        classes = self.config.classes
        heat, logs, share, boundary = out.split((classes, 4, classes, 1), dim=1)
        return Maps(heat, logs.clamp(LEAST_LOG, MOST_LOG).exp(), share, boundary)


def _aligned(maps: Tensor, stride: int) -> Tensor:
    """Bring a feature map to the output's cells: coarser maps are interpolated, the cells of finer maps become channels."""
    if stride > STRIDE:
        channels_first = maps.permute(0, 3, 1, 2)
        finer = functional.interpolate(channels_first, scale_factor=stride / STRIDE, mode="bilinear", align_corners=False)
        return finer.permute(0, 2, 3, 1)
    count, height, width, channels = maps.shape
    step = STRIDE // stride
    cells = maps.reshape(count, height // step, step, width // step, step, channels).permute(0, 1, 3, 2, 4, 5)
    return cells.reshape(count, height // step, width // step, step * step * channels)
