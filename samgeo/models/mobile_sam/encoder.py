"""TinyViT, the image encoder of MobileSAM: convolutions at a stride of 4 pixels, then attention within windows.

In the published network a batch normalisation follows each convolution. Here its weights are part of those of the convolution;
see `samgeo.models.mobile_sam.checkpoint`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.mobile_sam.architecture import TinyVitSizes
from samgeo.models.sam1.encoder import ChannelNorm

__all__ = ["EARLY", "TinyVit"]

# Number of the stage whose output SAM-HQ uses as early features.
EARLY = 1


class TinyVit(nn.Module):
    """Encoder from normalised images to embeddings at a stride of 16 pixels.

    It has no positions that are tied to the size of the image, so that images of any side that 16 divides can be encoded.

    Parameters
    ----------
    sizes : TinyVitSizes
        The sizes. Parameters have the names of the official checkpoints, without those of the batch normalisations.
    channels : int
        Channels of the embedding.
    """

    def __init__(self, sizes: TinyVitSizes, channels: int) -> None:
        super().__init__()
        s = sizes
        first, second = _convolution(3, s.stem, 3, stride=2), _convolution(s.stem, s.widths[0], 3, stride=2)
        self.patch_embed = nn.ModuleDict({"seq": nn.Sequential(first, nn.GELU(), second)})
        self.layers = nn.ModuleList(Stage(sizes, stage) for stage in range(len(s.widths)))
        self.neck = nn.Sequential(
            nn.Conv2d(s.widths[-1], channels, 1, bias=False),
            ChannelNorm(channels),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            ChannelNorm(channels),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        images : tensor, shape (B, 3, S, S)
            Normalised; the padding is zero.

        Returns
        -------
        tensor, shape (B, C, S / 16, S / 16)
        """
        return self.with_early(images)[0]

    def with_early(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Encode images, and return early features too.

        Parameters
        ----------
        images : tensor, shape (B, 3, S, S)
            Normalised; the padding is zero.

        Returns
        -------
        embeddings : tensor, shape (B, C, S / 16, S / 16)
        early : tensor, shape (B, channels of the third stage, S / 16, S / 16)
            The output of the second stage.
        """
        # With the channels last in memory, nothing is copied between convolutions and attention.
        x = self.patch_embed["seq"](images.contiguous(memory_format=torch.channels_last))
        outputs = []
        for stage in self.layers:
            x = stage(x)
            outputs.append(x)
        return self.neck(x).contiguous(), outputs[EARLY]


class Stage(nn.Module):
    """Blocks at one stride over ``(B, C, H, W)``, and, but for the last stage, a convolution to the next."""

    def __init__(self, sizes: TinyVitSizes, stage: int) -> None:
        super().__init__()
        width, hidden, window = sizes.widths[stage], sizes.hidden[stage], sizes.windows[stage]
        self.blocks = nn.ModuleList(
            AttentionBlock(width, hidden, sizes.heads[stage], window) if window else ConvolutionBlock(width, hidden)
            for _ in range(sizes.depths[stage])
        )
        last = stage == len(sizes.widths) - 1
        self.downsample = None if last else Downsampling(width, sizes.widths[stage + 1], sizes.strides[stage])

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, C', H / stride, W / stride)``."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class ConvolutionBlock(nn.Module):
    """An inverted residual block: expansion, depth-wise convolution, projection, and an activation after the sum."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = _convolution(width, hidden, 1)
        self.conv2 = _convolution(hidden, hidden, 3, groups=hidden)
        self.conv3 = _convolution(hidden, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        y = functional.gelu(self.conv2(functional.gelu(self.conv1(x))))
        return functional.gelu(x + self.conv3(y))


class Downsampling(nn.Module):
    """A change of the number of channels with a depth-wise convolution, which may have a stride of 2."""

    def __init__(self, width: int, following: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _convolution(width, following, 1)
        self.conv2 = _convolution(following, following, 3, stride=stride, groups=following)
        self.conv3 = _convolution(following, following, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(B, following, H / stride, W / stride)``."""
        y: Tensor = self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x)))))
        return y


class AttentionBlock(nn.Module):
    """Attention within windows, a depth-wise convolution and an MLP."""

    def __init__(self, width: int, hidden: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = Attention(width, heads, window)
        self.local_conv = _convolution(width, width, 3, groups=width)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        cells = x.permute(0, 2, 3, 1)
        x = self.local_conv((cells + self._in_windows(cells)).permute(0, 3, 1, 2))
        cells = x.permute(0, 2, 3, 1)
        y: Tensor = (cells + self.mlp(cells)).permute(0, 3, 1, 2)
        return y

    def _in_windows(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        side = self.window
        # As in the published network, zeros past the edge take part in attention: after the normalisation they are its bias.
        x = functional.pad(x, (0, 0, 0, -W % side, 0, -H % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = x.reshape(B, rows, side, columns, side, C).transpose(2, 3).reshape(-1, side * side, C)
        x = self.attn(windows).view(B, rows, columns, side, side, C).transpose(2, 3)
        return x.reshape(B, rows * side, columns * side, C)[:, :H, :W]


class Attention(nn.Module):
    """Self-attention over the cells of a window, with a learned bias for each head and each distance in rows and columns."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape ``(B, window * window, C)``."""
        B, N, C = x.shape
        # The queries, keys and values of a head lie side by side.
        projected = self.qkv(self.norm(x)).view(B, N, self.heads, 3, C // self.heads)
        q, k, v = projected.permute(3, 0, 2, 1, 4).unbind(0)
        read = functional.scaled_dot_product_attention(q, k, v, attn_mask=self._bias()[None])
        y: Tensor = self.proj(read.transpose(1, 2).reshape(B, N, C))
        return y

    def _bias(self) -> Tensor:
        """Return the bias for each pair of cells, ``(heads, N, N)``."""
        along = torch.arange(self.window, device=self.attention_biases.device)
        apart = (along[:, None] - along).abs()
        # Cell (y, x) has the number y * window + x, and so has the distance of y rows and x columns.
        distance = apart[:, None, :, None] * self.window + apart[None, :, None, :]
        return self.attention_biases[:, distance.flatten(0, 1).flatten(1)]


class Mlp(nn.Module):
    """A normalisation and two linear layers with an activation between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        y: Tensor = self.fc2(functional.gelu(self.fc1(self.norm(x))))
        return y


def _convolution(given: int, made: int, side: int, *, stride: int = 1, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(given, made, side, stride=stride, padding=side // 2, groups=groups)
