"""Layers that the encoder and the decoder of the bundled network share, and the nested order of pixels.

Activations are channel-last, so that a 1 x 1 convolution is a ``Linear`` and a 2 x 2 convolution with stride 2 is a
``Linear`` over the four pixels of a cell.

*Nested order* lists the pixels of a stride-4 grid cell by cell: first by stride-16 cells, row by row, then by the stride-8
cells in each of them, then by the pixels in each of those. In this order, 2 x 2 pixels are merged and split with views, where
the order of rows would need copies.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.compiled import encoder_blocks
from samgeo.models.sam1.attention import Projections, read_tokens

__all__ = [
    "Attention",
    "AttentionBlock",
    "ConvolutionBlock",
    "DepthwiseConv",
    "DepthwiseResidual",
    "nest",
    "perceptron",
    "sample_bilinear",
    "unnest",
    "zeroed",
]

AnyLayer = TypeVar("AnyLayer", bound=nn.Module)


class DepthwiseConv(nn.Conv2d):
    """A convolution of each channel by itself over ``(B, H, W, C)``, with zeros past the edge.

    Parameters
    ----------
    channels, kernel : int
        Number of channels, and side of the kernel.
    residual : bool, default False
        Whether the input is added to the result. A one is added to the middle of the kernel for this, which saves a pass
        through memory.
    """

    bias: nn.Parameter

    def __init__(self, channels: int, kernel: int, *, residual: bool = False) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels)
        self.residual = residual

    @property
    def kernel(self) -> Tensor:
        """The weight, with the input added where the convolution is residual; shape (C, 1, kernel, kernel)."""
        if not self.residual:
            return self.weight
        middle = self.kernel_size[0] // 2
        weight = self.weight.clone()
        weight[:, :, middle, middle] += 1
        return weight

    def forward(self, pixels: Tensor) -> Tensor:
        """Return ``(B, H, W, C)``; the permutations make a channels-last tensor without a copy."""
        rows = pixels.permute(0, 3, 1, 2)
        filtered = functional.conv2d(rows, self.kernel, self.bias, padding=self.kernel_size[0] // 2, groups=self.groups)
        return filtered.permute(0, 2, 3, 1)


class DepthwiseResidual(nn.Module):
    """A block that computes ``x + mix(relu(norm(depthwise(x))))`` over ``(B, H, W, C)``."""

    def __init__(self, channels: int, kernel: int = 5) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(channels, kernel)
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Linear(channels, channels)

    def hidden(self, pixels: Tensor) -> Tensor:
        """Return the input of ``mix``, for callers that fold ``mix`` into a later product."""
        return functional.relu(self.norm(self.depthwise(pixels)), inplace=True)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        layers = (self.depthwise, self.norm, None, self.mix)
        if encoder_blocks.fits_refining(pixels, *layers):
            return encoder_blocks.refine(pixels, *layers)
        mixed: Tensor = pixels + self.mix(self.hidden(pixels))
        return mixed


class ConvolutionBlock(nn.Module):
    """The block of ConvNeXt (arXiv:2201.03545) over ``(B, H, W, C)``: ``x + narrow(gelu(widen(norm(depthwise(x)))))``.

    Its last layer is initialised with zeros, so that it changes nothing until it is trained.

    Parameters
    ----------
    channels : int
        Number of channels.
    kernel : int, default 5
        Side of the depthwise kernel.
    times : int, default 4
        Hidden channels for each channel.
    """

    def __init__(self, channels: int, kernel: int = 5, times: int = 4) -> None:
        super().__init__()
        self.depthwise = DepthwiseConv(channels, kernel)
        self.norm = nn.LayerNorm(channels)
        self.widen, self.narrow = nn.Linear(channels, times * channels), zeroed(nn.Linear(times * channels, channels))

    def forward(self, pixels: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        layers = (self.depthwise, self.norm, self.widen, self.narrow)
        if encoder_blocks.fits_refining(pixels, *layers):
            return encoder_blocks.refine(pixels, *layers)
        deeper: Tensor = pixels + self.narrow(functional.gelu(self.widen(self.norm(self.depthwise(pixels)))))
        return deeper


class AttentionBlock(nn.Module):
    """A transformer block over ``(B, H, W, C)``, in which every pixel attends to all pixels.

    A depthwise convolution takes the place of position encodings. The layers that add to the input are initialised with zeros,
    so that the block changes nothing until it is trained.

    Parameters
    ----------
    channels, heads : int
        Number of channels and of heads.
    times : int, default 4
        Hidden channels of its perceptron for each channel.
    """

    def __init__(self, channels: int, heads: int, times: int = 4) -> None:
        super().__init__()
        self.place = DepthwiseConv(channels, 3, residual=True)
        self.norm, self.norm_perceptron = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = Attention(channels, heads, channels)
        self.widen, self.narrow = nn.Linear(channels, times * channels), zeroed(nn.Linear(times * channels, channels))
        zeroed(self.attention.output)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        placed = self.norm(self.place(pixels)).flatten(1, 2)
        pixels = pixels + read_tokens(self.attention.projections, placed, placed).view(pixels.shape)
        wide = functional.gelu(self.widen(self.norm_perceptron(pixels)))
        read: Tensor = pixels + self.narrow(wide)
        return read


class Attention(nn.Module):
    """The layers of an attention; `samgeo.models.sam1.attention` computes the attention."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.output = nn.Linear(inner, width)

    @property
    def projections(self) -> Projections:
        """The layers, as the functions of `samgeo.models.sam1.attention` take them."""
        return Projections(self.query, self.key, self.value, self.output, self.heads)


def zeroed(layer: AnyLayer) -> AnyLayer:
    """Set the parameters of a layer to zero and return the layer; its output changes nothing until it is trained."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return a network of two hidden layers."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.GELU(), nn.Linear(hidden, hidden), nn.GELU(), nn.Linear(hidden, outputs))


def nest(pixels: Tensor, levels: int) -> Tensor:
    """Reorder the pixels of a grid from rows to nested order.

    Parameters
    ----------
    pixels : tensor, shape (B, H, W, ...)
        In rows; ``H`` and ``W`` are multiples of ``2 ** levels``.
    levels : int
        Number of times that a cell is divided into 2 x 2: 2 for the stride-4 grid, 1 for the stride-8 grid.

    Returns
    -------
    tensor, shape (B, H * W, ...)
    """
    batch, height, width, *rest = pixels.shape
    side = 2**levels
    split = pixels.reshape(batch, height // side, *[2] * levels, width // side, *[2] * levels, *rest)
    axes = [axis for level in range(levels + 1) for axis in (1 + level, 2 + levels + level)]
    tail = range(3 + 2 * levels, split.ndim)
    return split.permute(0, *axes, *tail).reshape(batch, height * width, *rest)


def unnest(pixels: Tensor, levels: int) -> Tensor:
    """Reorder the pixels of a square grid from nested order to rows: ``(B, S * S, ...)`` to ``(B, S, S, ...)``."""
    batch, count, *rest = pixels.shape
    size = round(count**0.5)
    cells = size // 2**levels
    split = pixels.reshape(batch, cells, cells, *[2] * 2 * levels, *rest)
    rows, columns = range(1, 2 + 2 * levels, 2), range(2, 3 + 2 * levels, 2)
    tail = range(3 + 2 * levels, split.ndim)
    return split.permute(0, *rows, *columns, *tail).reshape(batch, size, size, *rest)


def sample_bilinear(pixels: Tensor, xy: Tensor, stride: int) -> Tensor:
    """Interpolate feature maps at points, with the border repeated outside.

    Parameters
    ----------
    pixels : tensor, shape (B, H, W, C)
        Of one window or of several.
    xy : tensor, shape (P, N, 2)
        Continuous pixels of the window. The first ``P / B`` prompts are those of the first window.
    stride : int
        Window pixels along a side of a feature pixel.

    Returns
    -------
    tensor, shape (P, N, C)
    """
    windows, height, width, channels = pixels.shape
    limit = torch.tensor([width - 1, height - 1], device=xy.device, dtype=xy.dtype)
    at = torch.minimum((xy / stride - 0.5).clamp(min=0), limit)
    low = at.floor()
    high = torch.minimum(low + 1, limit).long()
    right, below = (at - low).unbind(-1)
    (x0, y0), (x1, y1) = low.long().unbind(-1), high.unbind(-1)
    flat = pixels.reshape(-1, channels)
    if windows > 1:
        # The rows of all windows lie one after the other.
        first = height * torch.arange(windows, device=xy.device).repeat_interleave(len(xy) // windows)[:, None]
        y0, y1 = y0 + first, y1 + first
    top = torch.lerp(flat[y0 * width + x0], flat[y0 * width + x1], right[..., None])
    bottom = torch.lerp(flat[y1 * width + x0], flat[y1 * width + x1], right[..., None])
    return torch.lerp(top, bottom, below[..., None])
