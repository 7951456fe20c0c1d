"""SAM's mask decoder: tokens and image attend to each other, then each mask token predicts its mask."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.sam1.architecture import DecoderSizes
from samgeo.models.sam1.attention import Projections, add_read_of_tokens, read_image, read_tokens
from samgeo.models.sam1.encoder import ChannelNorm, Mlp

__all__ = ["Details", "Guidance", "Head", "MaskDecoder"]

# Number of prompts that a CPU upscales at once. The pixels of one prompt take 12 MB, about as much as the CPU caches hold.
PAINT_AT_ONCE = 1


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """What guides the attention between tokens and image to a target, as in PerSAM (arXiv:2305.03048).

    Attributes
    ----------
    bias : tensor, shape (g * g,)
        Added to the attention of every token to the cells of the image in the layers of the transformer; see `read_image`. The
        last reading of the image, after the layers, has no bias.
    target : tensor, shape (C,)
        Feature of the target. It is added to the tokens, to the queries of every later layer, and to the queries that read the
        image last.
    """

    bias: Tensor
    target: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Details:
    """Features of the image at a higher resolution than its cells, which are added to the pixels of every prompt.

    The pixels are in the order of the cells: the pixels of a cell are neighbours.

    Attributes
    ----------
    halves : tensor, shape (4 * g * g, C / 4)
        For the pixels at half the side of a cell.
    quarters : tensor, shape (16 * g * g, C / 8)
        For the pixels at a quarter of the side of a cell.
    """

    halves: Tensor
    quarters: Tensor

    @classmethod
    def of(cls, halves: Tensor, quarters: Tensor) -> Details:
        """Put maps of the shapes ``(C / 4, 2 * g, 2 * g)`` and ``(C / 8, 4 * g, 4 * g)`` into the order of the cells."""
        width, side, _ = halves.shape
        grid = side // 2
        in_two = halves.view(width, grid, 2, grid, 2).permute(1, 3, 2, 4, 0)
        in_four = quarters.view(-1, grid, 2, 2, grid, 2, 2).permute(1, 4, 2, 5, 3, 6, 0)
        return cls(in_two.reshape(-1, width), in_four.reshape(-1, len(quarters)))


class MaskDecoder(nn.Module):
    """Decoder from the image embedding and prompt tokens to masks and their predicted IoU.

    The heads for the IoU and the masks stay in float32, see ``keep_heads_exact``.

    Parameters
    ----------
    architecture : DecoderSizes
        The sizes. Parameters have the names of the official checkpoints.
    """

    # Number of the IoU token among the tokens of ``own_tokens``. The mask tokens follow it.
    IOU_TOKEN = 0

    def __init__(self, architecture: DecoderSizes) -> None:
        super().__init__()
        a = architecture
        width = a.prompt_width
        self.iou_token = nn.Embedding(1, width)
        self.mask_tokens = nn.Embedding(a.mask_tokens, width)
        self.transformer = TwoWayTransformer(architecture)
        self.output_upscaling = nn.Sequential(
            nn.ConvTranspose2d(width, width // 4, 2, stride=2),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.ConvTranspose2d(width // 4, width // 8, 2, stride=2),
            nn.GELU(),
        )
        self.output_hypernetworks_mlps = nn.ModuleList(Head([width, width, width, width // 8]) for _ in range(a.mask_tokens))
        self.iou_prediction_head = Head([width, *[a.iou_width] * (a.iou_depth - 1), a.mask_tokens])

    def keep_heads_exact(self) -> None:
        """Convert the IoU head and the mask heads back to float32, after the model was converted to another type."""
        self.iou_prediction_head.float()
        self.output_hypernetworks_mlps.float()

    def own_tokens(self) -> Tensor:
        """Return the tokens that stand before the prompts, ``(T, C)``: the IoU token, then the mask tokens."""
        return torch.cat([self.iou_token.weight, self.mask_tokens.weight])

    def attend(
        self, image: Tensor, positions: Tensor, prompts: Tensor, guidance: Guidance | None = None
    ) -> tuple[Tensor, Tensor]:
        """Let the prompts of one window and its image attend to each other.

        Parameters
        ----------
        image : tensor, shape (1 or P, C, g, g)
            Embedding plus dense prompt; with one row if all prompts share it.
        positions : tensor, shape (g * g, C)
            Encoded centres of the cells of the embedding.
        prompts : tensor, shape (P, T, C)
            Prompt tokens.
        guidance : Guidance, optional
            By default the attention is not guided.

        Returns
        -------
        tokens : tensor of float32, shape (P, T, C)
            The tokens of ``own_tokens`` after attention.
        cells : tensor, shape (P, C, g, g)
            The image after attention, for each prompt.
        """
        own = self.own_tokens()
        tokens = torch.cat([own.expand(len(prompts), -1, -1), prompts], dim=1)
        tokens, cells = self.transformer(image.flatten(2).transpose(1, 2), positions, tokens, guidance)
        return tokens[:, : len(own)].float(), cells.transpose(1, 2).unflatten(2, image.shape[2:])

    def predict_iou(self, tokens: Tensor) -> Tensor:
        """Return the predicted IoU of every mask token, ``(P, mask tokens)`` of float32."""
        predicted: Tensor = self.iou_prediction_head(tokens[:, self.IOU_TOKEN])
        return predicted

    def may_pass(self, predicted: Tensor, min_iou: float, *, multimask: bool) -> Tensor:
        """Return which prompts may have a mask whose predicted IoU is above a threshold.

        Parameters
        ----------
        predicted : tensor, shape (P, mask tokens)
            From ``predict_iou``.
        min_iou : float
            The threshold.
        multimask : bool
            As in ``answer``.

        Returns
        -------
        tensor of bool, shape (P,)
        """
        return (predicted[:, self._answering(multimask)] > min_iou).any(dim=1)

    def answer(
        self, tokens: Tensor, cells: Tensor, predicted: Tensor, details: Details | None = None, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Paint the masks that the prompts of a window are answered with.

        Parameters
        ----------
        tokens, cells : tensor
            From ``attend``.
        predicted : tensor, shape (P, mask tokens)
            From ``predict_iou``.
        details : Details, optional
            As in ``paint``.
        multimask : bool
            Whether a prompt has a mask for each mask token but the first, or only the mask of the first.

        Returns
        -------
        logits : tensor of float32, shape (P, M, 4 * g, 4 * g)
        predicted_iou : tensor of float32, shape (P, M)
        """
        kept = self._answering(multimask)
        return self.paint(tokens, cells, kept, details), predicted[:, kept]

    def candidates(self, *, multimask: bool) -> int:
        """Return the number ``M`` of masks that ``answer`` returns for each prompt."""
        return len(self._answering(multimask))

    def paint(self, tokens: Tensor, cells: Tensor, kept: range, details: Details | None = None) -> Tensor:
        """Return the logits of some mask tokens.

        Parameters
        ----------
        tokens, cells : tensor
            From ``attend``.
        kept : range
            Numbers of the mask tokens.
        details : Details, optional
            What is added to the pixels while the cells are upscaled. By default nothing is added.

        Returns
        -------
        tensor of float32, shape (P, M, 4 * g, 4 * g)
        """
        first = self.IOU_TOKEN + 1
        weights = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, first + i]) for i in kept], dim=1)
        step = PAINT_AT_ONCE if cells.device.type == "cpu" else len(cells)
        parts = (slice(at, at + step) for at in range(0, len(cells), step))
        return torch.cat([self._paint(weights[part], cells[part], details) for part in parts])

    def _answering(self, multimask: bool) -> range:
        return range(1, self.mask_tokens.num_embeddings) if multimask else range(1)

    def _paint(self, weights: Tensor, cells: Tensor, details: Details | None) -> Tensor:
        """Upscale the cells ``(P, C, g, g)``, and multiply them with the weights ``(P, M, c)`` of the masks."""
        first, second = (cast(nn.ConvTranspose2d, self.output_upscaling[layer]) for layer in (0, 3))
        norm = cast(ChannelNorm, self.output_upscaling[1])
        prompts, width, grid, _ = cells.shape
        # Transposed convolutions of stride 2 are matrix products that give each cell its four pixels. The pixels are kept in
        # the order of the cells until the masks are computed, because only one channel a mask must then be reordered.
        pixels = _divide(cells.permute(0, 2, 3, 1).reshape(-1, width), first, None if details is None else details.halves)
        pixels = functional.gelu(nn.LayerNorm.forward(norm, pixels))
        pixels = _divide(pixels, second, None if details is None else details.quarters)
        pixels = functional.gelu(pixels).float()
        logits = weights @ pixels.view(prompts, -1, pixels.shape[1]).transpose(1, 2)
        nested = logits.view(*weights.shape[:2], grid, grid, 2, 2, 2, 2)
        return nested.permute(0, 1, 2, 4, 6, 3, 5, 7).reshape(*weights.shape[:2], 4 * grid, 4 * grid)


def _divide(cells: Tensor, layer: nn.ConvTranspose2d, detail: Tensor | None = None) -> Tensor:
    """Split cells ``(N, C)`` into four pixels each, ``(4 N, c)``, in the order of rows within a cell.

    A detail, ``(n, c)``, is added to the pixels of each prompt, of which there are ``n``.
    """
    pixels = cells @ layer.weight.permute(0, 2, 3, 1).flatten(1)
    pixels = pixels.view(-1, layer.out_channels) + cast(Tensor, layer.bias)
    if detail is not None:
        pixels = (pixels.view(-1, *detail.shape) + detail).flatten(0, 1)
    return pixels


class TwoWayTransformer(nn.Module):
    """A transformer in which tokens attend to the image and the image to the tokens."""

    def __init__(self, architecture: DecoderSizes) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayLayer(architecture, first=i == 0) for i in range(architecture.decoder_depth))
        self.final_attn_token_to_image = Attention(architecture, architecture.decoder_inner_width)
        self.norm_final_attn = nn.LayerNorm(architecture.prompt_width)

    def forward(
        self, cells: Tensor, positions: Tensor, tokens: Tensor, guidance: Guidance | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return tokens ``(P, T, C)`` and cells ``(P, g * g, C)`` for cells ``(1 or P, g * g, C)``."""
        bias = None if guidance is None else guidance.bias
        if guidance is not None:
            # The published code adds the target in place to the tensor that is both the first queries and the positions of
            # all later queries, so that the positions have it too.
            tokens = tokens + guidance.target
        queries = tokens
        for index, layer in enumerate(self.layers):
            if guidance is not None and index > 0:
                queries = queries + guidance.target
            queries, cells = layer(queries, cells, tokens, positions, bias)
        placed = queries + tokens if guidance is None else queries + tokens + guidance.target
        attended = read_image(self.final_attn_token_to_image.projections, placed, cells, positions)
        return self.norm_final_attn(queries + attended), cells


class TwoWayLayer(nn.Module):
    """A layer of four steps: self-attention of tokens, tokens to image, an MLP on tokens, image to tokens."""

    def __init__(self, architecture: DecoderSizes, *, first: bool) -> None:
        super().__init__()
        width, inner = architecture.prompt_width, architecture.decoder_inner_width
        self.first = first
        self.self_attn = Attention(architecture, width)
        self.norm1 = nn.LayerNorm(width)
        self.cross_attn_token_to_image = Attention(architecture, inner)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, architecture.decoder_mlp_width, nn.ReLU())
        self.norm3 = nn.LayerNorm(width)
        self.cross_attn_image_to_token = Attention(architecture, inner)
        self.norm4 = nn.LayerNorm(width)

    def forward(
        self, queries: Tensor, cells: Tensor, tokens: Tensor, positions: Tensor, bias: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return new queries and cells; ``tokens`` are the positions of the queries, ``positions`` those of the cells.

        A bias, shape ``(g * g,)``, guides the reading of the image; see `read_image`.
        """
        if self.first:
            queries = read_tokens(self.self_attn.projections, queries, queries)
        else:
            queries = queries + read_tokens(self.self_attn.projections, queries + tokens, queries)
        queries = self.norm1(queries)
        read = read_image(self.cross_attn_token_to_image.projections, queries + tokens, cells, positions, bias)
        queries = self.norm2(queries + read)
        queries = self.norm3(queries + self.mlp(queries))
        to_tokens = self.cross_attn_image_to_token.projections
        return queries, add_read_of_tokens(to_tokens, cells, positions, queries + tokens, queries, then=self.norm4)


class Attention(nn.Module):
    """The layers of an attention over ``inner`` channels; `samgeo.models.sam1.attention` computes the attention."""

    def __init__(self, architecture: DecoderSizes, inner: int) -> None:
        super().__init__()
        width = architecture.prompt_width
        self.heads = architecture.decoder_heads
        self.q_proj = nn.Linear(width, inner)
        self.k_proj = nn.Linear(width, inner)
        self.v_proj = nn.Linear(width, inner)
        self.out_proj = nn.Linear(inner, width)

    @property
    def projections(self) -> Projections:
        """The layers, as the functions of `samgeo.models.sam1.attention` take them."""
        return Projections(self.q_proj, self.k_proj, self.v_proj, self.out_proj, self.heads)


class Head(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(..., widths[-1])`` for ``(..., widths[0])``."""
        for layer in self.layers[:-1]:
            x = functional.relu(layer(x))
        y: Tensor = self.layers[-1](x)
        return y
