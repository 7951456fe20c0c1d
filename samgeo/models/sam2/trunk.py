"""Hiera, the trunk of SAM 2's image encoder: four stages of transformer blocks, each at half the resolution of the last."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.sam1.encoder import Mlp
from samgeo.models.sam2.architecture import PATCH, Architecture

__all__ = ["Hiera"]


class Hiera(nn.Module):
    """Encoder from normalised images to four maps (arXiv:2306.00989).

    Parameters
    ----------
    architecture : Architecture
        The sizes.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, a.widths[0], 7, stride=PATCH, padding=3)})
        self.pos_embed = nn.Parameter(torch.zeros(1, a.widths[0], *a.position_grid))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, a.widths[0], a.trunk.windows[0], a.trunk.windows[0]))
        self.blocks = nn.ModuleList(_blocks(architecture))
        self.ends = [sum(a.blocks[: stage + 1]) - 1 for stage in range(len(a.blocks))]

    def positions(self, grid: int) -> Tensor:
        """Return the positions of a grid of patches, ``(1, grid, grid, C)``.

        They are the sum of a small table, resized to the grid, and the positions within a window, which are repeated. The side
        of the windows must divide the grid.
        """
        table = functional.interpolate(self.pos_embed, size=(grid, grid), mode="bicubic")
        times = grid // self.pos_embed_window.shape[-1]
        return (table + self.pos_embed_window.tile(1, 1, times, times)).permute(0, 2, 3, 1).contiguous()

    def forward(self, images: Tensor, positions: Tensor) -> list[Tensor]:
        """Encode images.

        Parameters
        ----------
        images : tensor, shape (B, 3, S, S)
            Normalised; the padding is zero.
        positions : tensor, shape (1, S / 4, S / 4, C)
            From ``positions``.

        Returns
        -------
        list of tensor, shape (B, h, w, C)
            The map of each stage, the finest first.
        """
        x = self.patch_embed["proj"](images).permute(0, 2, 3, 1) + positions
        maps = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self.ends:
                maps.append(x)
        return maps


def _blocks(a: Architecture) -> Iterator[Block]:
    index = 0
    for stage, count in enumerate(a.blocks):
        for within in range(count):
            # The first block of a stage still has the width and the windows of the stage before, and halves the resolution.
            before = max(stage - 1, 0) if within == 0 else stage
            window = 0 if index in a.trunk.global_blocks else a.trunk.windows[before]
            halves = within == 0 and stage > 0
            yield Block(a.widths[before], a.widths[stage], a.trunk.heads[stage], a.mlp_ratio, window=window, halves=halves)
            index += 1


class Block(nn.Module):
    """A transformer block over ``(B, H, W, C)``.

    Parameters
    ----------
    width, out : int
        Channels of the input and of the result.
    heads : int
        Attention heads.
    mlp_ratio : int
        Hidden units of the MLP for each channel.
    window : int
        Side of the windows in cells; 0 for a block with global attention.
    halves : bool
        Whether the result has half the height and width.
    """

    def __init__(self, width: int, out: int, heads: int, mlp_ratio: int, *, window: int, halves: bool) -> None:
        super().__init__()
        self.window = window
        self.halves = halves
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, out, heads, halves=halves)
        self.norm2 = nn.LayerNorm(out, eps=1e-6)
        self.mlp = Mlp(out, mlp_ratio * out, nn.GELU())
        if halves:
            self.proj = nn.Linear(width, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor ``(B, H, W, out)``, or ``(B, H / 2, W / 2, out)``."""
        normed = self.norm1(x)
        if self.halves:
            x = _largest_of_four(self.proj(normed))
        x = x + (self._in_windows(normed) if self.window else self.attn(normed))
        y: Tensor = x + self.mlp(self.norm2(x))
        return y

    def _in_windows(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        side = self.window
        # As in the reference, zeros past the grid take part in attention: after the projection they are keys equal to its bias.
        x = functional.pad(x, (0, 0, 0, -W % side, 0, -H % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        x = self.attn(x.view(B, rows, side, columns, side, C).transpose(2, 3).reshape(-1, side, side, C))
        if self.halves:
            H, W, side = H // 2, W // 2, side // 2
        x = x.view(B, rows, columns, side, side, x.shape[-1]).transpose(2, 3)
        return x.reshape(B, rows * side, columns * side, -1)[:, :H, :W]


class Attention(nn.Module):
    """Self-attention over a grid; with ``halves``, two by two cells have one query, the largest of their four queries."""

    def __init__(self, width: int, out: int, heads: int, *, halves: bool) -> None:
        super().__init__()
        self.heads = heads
        self.halves = halves
        self.qkv = nn.Linear(width, 3 * out)
        self.proj = nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor ``(B, H, W, out)``, or ``(B, H / 2, W / 2, out)``."""
        B, H, W, _ = x.shape
        q, k, v = self.qkv(x).view(B, H, W, 3, -1).unbind(3)
        if self.halves:
            q = _largest_of_four(q)
        _, rows, columns, width = q.shape
        q, k, v = (one.reshape(B, -1, self.heads, width // self.heads).transpose(1, 2) for one in (q, k, v))
        x = functional.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.proj(x.transpose(1, 2).reshape(B, rows, columns, width))
        return y


def _largest_of_four(x: Tensor) -> Tensor:
    """Return the largest of each two by two cells of ``(B, H, W, C)``, for each channel.

    It is not torch's pooling, because that of MPS returned wrong values for views that are not contiguous.
    """
    rows = torch.maximum(x[:, ::2], x[:, 1::2])
    return torch.maximum(rows[:, :, ::2], rows[:, :, 1::2])
