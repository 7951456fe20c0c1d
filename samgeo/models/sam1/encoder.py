"""SAM's image encoder: a vision transformer whose blocks attend within windows, and a few of them to the whole image."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.sam1.adapters import BOTTLENECKS, PATCHES, Bottleneck, PatchAdapter
from samgeo.models.sam1.architecture import Architecture

__all__ = ["ChannelNorm", "ImageEncoder", "Mlp"]

# Factor of the adapter beside the MLP of a block, as in the published code of the Medical SAM Adapter.
MLP_ADAPTER_SHARE = 0.5


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of ``(B, C, H, W)``."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Mlp(nn.Module):
    """Two linear layers with an activation between them."""

    def __init__(self, width: int, hidden: int, activation: nn.Module) -> None:
        super().__init__()
        self.lin1 = nn.Linear(width, hidden)
        self.lin2 = nn.Linear(hidden, width)
        self.act = activation

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        y: Tensor = self.lin2(self.act(self.lin1(x)))
        return y


class ImageEncoder(nn.Module):
    """Encoder from normalised images to embeddings.

    Parameters
    ----------
    architecture : Architecture
        The sizes. Parameters have the names of the official checkpoints.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, a.width, a.patch, stride=a.patch)})
        self.pos_embed = nn.Parameter(torch.zeros(1, a.grid, a.grid, a.width))
        self.blocks = nn.ModuleList(
            Block(architecture, window=0 if index in a.global_blocks else a.window) for index in range(a.depth)
        )
        self.neck = nn.Sequential(
            nn.Conv2d(a.width, a.prompt_width, 1, bias=False),
            ChannelNorm(a.prompt_width),
            nn.Conv2d(a.prompt_width, a.prompt_width, 3, padding=1, bias=False),
            ChannelNorm(a.prompt_width),
        )
        self.adapter: PatchAdapter | None = None
        self.add_adapters(architecture)

    def add_adapters(self, architecture: Architecture) -> None:
        """Add the adapters of an architecture, if it has any."""
        a = architecture
        if a.adapter == PATCHES:
            self.adapter = PatchAdapter(a.width, a.adapter_width, a.patch, a.depth)
        elif a.adapter == BOTTLENECKS:
            for block in self.blocks:
                block.attn_adapter, block.mlp_adapter = (Bottleneck(a.width, a.adapter_width) for _ in range(2))

    def forward(self, images: Tensor) -> Tensor:
        """Encode images.

        Parameters
        ----------
        images : tensor, shape (B, 3, S, S)
            Normalised; the padding is zero.

        Returns
        -------
        tensor, shape (B, C, S / patch, S / patch)
        """
        x = images
        for output in self.outputs(images):
            x = output
        embedding: Tensor = self.neck(x.permute(0, 3, 1, 2))
        return embedding

    def outputs(self, images: Tensor) -> Iterator[Tensor]:
        """Yield the output of each block, ``(B, S / patch, S / patch, width)``."""
        patches = self.patch_embed["proj"](images).permute(0, 2, 3, 1)
        x = patches + self.pos_embed
        features = None if self.adapter is None else self.adapter.features(images, patches)
        for index, block in enumerate(self.blocks):
            if self.adapter is not None and features is not None:
                x = x + self.adapter(features, index)
            x = block(x)
            yield x


class Block(nn.Module):
    """A transformer block over ``(B, H, W, C)``; ``window`` is 0 for a block with global attention."""

    def __init__(self, architecture: Architecture, window: int) -> None:
        super().__init__()
        self.window = window
        self.norm1 = nn.LayerNorm(architecture.width, eps=1e-6)
        self.attn = Attention(architecture, window or architecture.grid)
        self.norm2 = nn.LayerNorm(architecture.width, eps=1e-6)
        self.mlp = Mlp(architecture.width, architecture.mlp_width, nn.GELU())
        self.attn_adapter: Bottleneck | None = None
        self.mlp_adapter: Bottleneck | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape."""
        normed = self.norm1(x)
        attended = self._in_windows(normed) if self.window else self.attn(normed)
        if self.attn_adapter is not None:
            attended = attended + self.attn_adapter(attended)
        x = x + attended
        normed = self.norm2(x)
        y: Tensor = x + self.mlp(normed)
        if self.mlp_adapter is not None:
            y = y + MLP_ADAPTER_SHARE * self.mlp_adapter(normed)
        return y

    def _in_windows(self, x: Tensor) -> Tensor:
        B, H, W, C = x.shape
        side = self.window
        # As in the reference, zeros past the grid take part in attention: after the projection they are keys equal to its bias.
        x = functional.pad(x, (0, 0, 0, -W % side, 0, -H % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        windows = x.view(B, rows, side, columns, side, C).transpose(2, 3).reshape(-1, side, side, C)
        x = self.attn(windows).view(B, rows, columns, side, side, C).transpose(2, 3)
        return x.reshape(B, rows * side, columns * side, C)[:, :H, :W]


class Attention(nn.Module):
    """Self-attention over a square grid, with decomposed relative positions.

    The position terms ``q . r_y + q . r_x`` are not added to the attention logits as a bias. They are appended to the queries,
    and the keys get a one in the place of their row and of their column, which gives the same logits. Fused attention then
    needs no bias tensor, which at 64 x 64 patches would be the largest tensor of the encoder.
    """

    def __init__(self, architecture: Architecture, side: int) -> None:
        super().__init__()
        self.heads = architecture.heads
        head_width = architecture.width // architecture.heads
        self.qkv = nn.Linear(architecture.width, 3 * architecture.width, bias=architecture.qkv_bias)
        self.proj = nn.Linear(architecture.width, architecture.width)
        self.relative = architecture.relative_positions
        if self.relative:
            self.rel_pos_h = nn.Parameter(torch.zeros(2 * side - 1, head_width))
            self.rel_pos_w = nn.Parameter(torch.zeros(2 * side - 1, head_width))

    def forward(self, x: Tensor) -> Tensor:
        """Return a tensor of the same shape ``(B, side, side, C)``."""
        B, H, W, C = x.shape
        width = C // self.heads
        q, k, v = self.qkv(x).view(B, H * W, 3, self.heads, width).permute(2, 0, 3, 1, 4).unbind(0)
        if self.relative:
            rows, columns = self._positions(q.reshape(B, self.heads, H, W, width))
            where = _one_hot_positions(H, W, x).expand(B, self.heads, -1, -1)
            q = torch.cat([q * width**-0.5, rows, columns], dim=-1)
            k = torch.cat([k, where], dim=-1)
            # Fused kernels require values that are as wide as queries and keys.
            v = functional.pad(v, (0, H + W))
            x = functional.scaled_dot_product_attention(q, k, v, scale=1.0)[..., :width]
        else:
            x = functional.scaled_dot_product_attention(q, k, v)
        y: Tensor = self.proj(x.transpose(1, 2).reshape(B, H, W, C))
        return y

    def _positions(self, q: Tensor) -> tuple[Tensor, Tensor]:
        B, heads, H, W, _ = q.shape
        rows = torch.einsum("bnhwc,hkc->bnhwk", q, _relative(self.rel_pos_h, H))
        columns = torch.einsum("bnhwc,wkc->bnhwk", q, _relative(self.rel_pos_w, W))
        return rows.reshape(B, heads, H * W, H), columns.reshape(B, heads, H * W, W)


def _relative(table: Tensor, side: int) -> Tensor:
    """Return the row of the table for each query and key, ``(side, side, C)``."""
    position = torch.arange(side, device=table.device)
    return table[position[:, None] - position[None, :] + side - 1]


def _one_hot_positions(H: int, W: int, like: Tensor) -> Tensor:
    """Return ``(H * W, H + W)``, with a one for the row and a one for the column of each cell."""
    rows = torch.eye(H, dtype=like.dtype, device=like.device).repeat_interleave(W, 0)
    columns = torch.eye(W, dtype=like.dtype, device=like.device).repeat(H, 1)
    return torch.cat([rows, columns], dim=1)
