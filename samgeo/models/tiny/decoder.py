"""The decoder of the bundled network, up to the predicted IoU: tokens and image attend to each other."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from samgeo.models.compiled import image_steps
from samgeo.models.sam1.attention import add_read_of_tokens, read_image, read_tokens, what_cells_read
from samgeo.models.tiny.layers import Attention, DepthwiseConv, perceptron, zeroed
from samgeo.models.tiny.prompt_encoder import Prompted, Window

__all__ = ["Decoded", "Decoder"]

# EMPTY shifts the coverage logits towards zero coverage, because most cells are not covered. LEAST_CELLS is added to the
# covered area, in cells, because an object may be much smaller than a cell.
EMPTY, LEAST_CELLS = 4.0, 0.1


@dataclass(frozen=True, slots=True, eq=False)
class Decoded:
    """Results of the decoder for ``P`` prompts.

    Attributes
    ----------
    weights : tensor of float32, shape (P, M, c)
        Weights of the stride-4 channels for each candidate mask: the single mask, then the candidates of an ambiguous prompt.
    image : tensor, shape (P, pixels, C)
        The window at stride 16 after attention, for each prompt.
    predicted_iou : tensor of float32, shape (P, M)
        From 0 to 1.
    coverage : tensor of float32, shape (P, M, pixels), or None
        Logits of the predicted share of each stride-16 cell that each candidate covers.
    """

    weights: Tensor
    image: Tensor
    predicted_iou: Tensor
    coverage: Tensor | None = None


class _TwoWayBlock(nn.Module):
    """A block in which tokens attend to each other and to the image, then the image to the tokens and to its neighbourhood."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.among_tokens = Attention(width, heads, width)
        self.tokens_to_image = Attention(width, heads, width // 2)
        self.image_to_tokens = Attention(width, heads, width // 2)
        self.perceptron = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.norm_tokens = nn.LayerNorm(width)
        self.norm_read = nn.LayerNorm(width)
        self.norm_perceptron = nn.LayerNorm(width)
        self.norm_image = nn.LayerNorm(width)
        self.neighbourhood = DepthwiseConv(width, 3, residual=True)

    def forward(self, tokens: Tensor, image: Tensor, positions: Tensor, image_positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the tokens and the image, in their shapes."""
        tokens = self.norm_tokens(tokens + read_tokens(self.among_tokens.projections, tokens + positions, tokens))
        read = read_image(self.tokens_to_image.projections, tokens + positions, image, image_positions)
        tokens = self.norm_read(tokens + read)
        tokens = self.norm_perceptron(tokens + self.perceptron(tokens))
        to_tokens = self.image_to_tokens.projections
        if image_steps.fits(image, image_positions, tokens=tokens.shape[1], heads=to_tokens.heads):
            of_tokens = what_cells_read(to_tokens, tokens + positions, tokens)
            depthwise = (self.neighbourhood.kernel, self.neighbourhood.bias)
            return tokens, image_steps.renew_image(image, image_positions, of_tokens, depthwise, self.norm_image)
        side = round(image.shape[1] ** 0.5)

        def renew(pixels: Tensor) -> Tensor:
            renewed: Tensor = self.norm_image(self.neighbourhood(pixels.view(len(pixels), side, side, -1)))
            return renewed.flatten(1, 2)

        image = add_read_of_tokens(to_tokens, image, image_positions, tokens + positions, tokens, then=renew, into=image)
        return tokens, image


class Quality(nn.Module):
    """Head that judges each candidate before it is drawn, from its token and from the image where the candidate is expected.

    Its last layer is initialised with zeros, so that it changes nothing until it is trained.

    Parameters
    ----------
    width : int
        Channels of a token and of a stride-16 pixel.
    hidden : int
        Hidden channels of its perceptron.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.cover = nn.Linear(width, width)
        self.score = perceptron(3 * width + 1, hidden, 1)
        zeroed(self.score[-1])

    def forward(self, overall: Tensor, candidates: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the addend to the logits of predicted IoU, shape (P, M), and the coverage, shape (P, M, pixels)."""
        weights = self.cover(candidates) * image.shape[-1] ** -0.5
        if image_steps.fits(image, weights) and candidates.shape[1] <= image_steps.CANDIDATES:
            coverage, covered, area = image_steps.judge_candidates(image, weights, -EMPTY)
        else:
            coverage = weights @ image.transpose(1, 2) - EMPTY
            shares = torch.sigmoid(coverage)
            covered, area = shares @ image, shares.sum(-1, keepdim=True)
        area = area + LEAST_CELLS
        seen = [overall.expand_as(candidates), candidates, covered / area, torch.log(area)]
        return self.score(torch.cat(seen, dim=-1))[..., 0].float(), coverage.float()


class Decoder(nn.Module):
    """Decoder from prompts and a window to mask weights and their predicted IoU.

    Parameters
    ----------
    width : int
        Channels of a token and of a stride-16 pixel.
    heads, depth, hidden : int
        Heads of the attention, number of two-way blocks, and hidden channels of their perceptrons.
    masks : int
        Candidates for each prompt, including the single mask.
    drawn : int
        Channels at stride 4.
    quality : int
        Hidden channels of the head that judges each candidate; 0 for none.
    """

    def __init__(self, width: int, *, heads: int, depth: int, hidden: int, masks: int, drawn: int, quality: int = 0) -> None:
        super().__init__()
        self.outputs = nn.Embedding(1 + masks, width)
        self.blocks = nn.ModuleList(_TwoWayBlock(width, heads, hidden) for _ in range(depth))
        self.last_read = Attention(width, heads, width // 2)
        self.norm = nn.LayerNorm(width)
        self.iou = perceptron(width, width, masks)
        self.weights = nn.ModuleList(perceptron(width, width, drawn) for _ in range(masks))
        self.quality = Quality(width, quality) if quality else None

    def forward(self, window: Window, prompted: Prompted) -> Decoded:
        """Decode prompts of one window."""
        dtype = self.outputs.weight.dtype
        outputs = self.outputs.weight.expand(len(prompted.tokens), -1, -1)
        tokens = torch.cat([outputs, prompted.tokens.to(dtype)], dim=1)
        positions = torch.cat([torch.zeros_like(outputs), prompted.positions.to(dtype)], dim=1)
        image = prompted.image
        for block in self.blocks:
            tokens, image = block(tokens, image, positions, window.positions)
        tokens = self.norm(tokens + read_image(self.last_read.projections, tokens + positions, image, window.positions))
        scores, coverage = self.iou(tokens[:, 0]).float(), None
        if self.quality is not None:
            judged, coverage = self.quality(tokens[:, :1], tokens[:, 1 : len(self.outputs.weight)], image)
            scores = scores + judged
        weights = torch.stack([head(tokens[:, mask]) for mask, head in enumerate(self.weights, start=1)], dim=1)
        return Decoded(weights.float(), image, torch.sigmoid(scores), coverage)
