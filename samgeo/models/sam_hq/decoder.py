"""SAM-HQ's mask decoder: SAM's, with a token and features of the image for a mask of high quality."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.sam1.architecture import DecoderSizes
from samgeo.models.sam1.decoder import Details, Head, MaskDecoder
from samgeo.models.sam1.encoder import ChannelNorm

__all__ = ["HqMaskDecoder"]

# Number of prompts that are painted at once on a CPU, and elsewhere. Painting takes about twice as much memory as attention, so
# fewer prompts are painted than attend at once.
PAINT_AT_ONCE_ON_CPU, PAINT_AT_ONCE = 1, 16


class HqMaskDecoder(MaskDecoder):
    """Decoder from the image embedding, the high-quality features and prompt tokens to masks and their predicted IoU.

    A prompt has one mask of high quality, besides the masks of SAM.

    Parameters
    ----------
    architecture : DecoderSizes
        The sizes. Parameters have the names of the official checkpoints.
    early_width : int
        Channels of the early features of the image encoder.
    hq_only : bool, default False
        Whether the mask of high quality is the answer. By default its logits are added to those of SAM's masks.
    """

    def __init__(self, architecture: DecoderSizes, early_width: int, *, hq_only: bool = False) -> None:
        super().__init__(architecture)
        width = architecture.prompt_width
        self.hq_only = hq_only
        self.hf_token = nn.Embedding(1, width)
        self.hf_mlp = Head([width, width, width, width // 8])
        self.compress_vit_feat = _four_times(early_width, width, width // 8)
        self.embedding_encoder = _four_times(width, width // 4, width // 8)
        self.embedding_maskfeature = nn.Sequential(
            nn.Conv2d(width // 8, width // 4, 3, padding=1),
            ChannelNorm(width // 4),
            nn.GELU(),
            nn.Conv2d(width // 4, width // 8, 3, padding=1),
        )

    def keep_heads_exact(self) -> None:
        """Convert the IoU head and the mask heads back to float32, after the model was converted to another type."""
        super().keep_heads_exact()
        self.hf_mlp.float()

    def own_tokens(self) -> Tensor:
        """Return the tokens before the prompts, ``(T, C)``: the IoU token, the mask tokens, the token of high quality."""
        return torch.cat([super().own_tokens(), self.hf_token.weight])

    def hq_features(self, embeddings: Tensor, early: Tensor) -> Tensor:
        """Return the high-quality features of images.

        Parameters
        ----------
        embeddings : tensor, shape (B, C, g, g)
            From the image encoder.
        early : tensor, shape (B, early width, g, g)
            Early features of the image encoder.

        Returns
        -------
        tensor, shape (B, C / 8, 4 * g, 4 * g)
        """
        features: Tensor = self.embedding_encoder(embeddings) + self.compress_vit_feat(early)
        return features

    def candidates(self, *, multimask: bool) -> int:
        """Return the number ``M`` of masks that ``answer`` returns for each prompt."""
        return 1 if self.hq_only else super().candidates(multimask=multimask)

    def answer(
        self, tokens: Tensor, cells: Tensor, predicted: Tensor, details: Details | None = None, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Paint the masks that the prompts of a window are answered with; see `MaskDecoder.answer`.

        The mask of high quality alone has the highest predicted IoU of those masks of SAM to which it would be added.
        """
        logits, scores = super().answer(tokens, cells, predicted, details, multimask=multimask)
        return logits, scores.amax(dim=1, keepdim=True) if self.hq_only else scores

    def paint(self, tokens: Tensor, cells: Tensor, kept: range, details: Details | None = None) -> Tensor:
        """Return the logits of some mask tokens plus those of the mask of high quality, or the latter alone.

        Parameters
        ----------
        tokens, cells : tensor
            From ``attend``.
        kept : range
            Numbers of the mask tokens.
        details : Details
            Its ``quarters`` are the high-quality features, shape (16 * g * g, C / 8). They are in the order of the pixels of a
            mask, because they are added after the pixels are put into this order.

        Returns
        -------
        tensor of float32, shape (P, M, 4 * g, 4 * g), or (P, 1, 4 * g, 4 * g) for the mask of high quality alone
        """
        first = self.IOU_TOKEN + 1
        weights = torch.stack([self.output_hypernetworks_mlps[i](tokens[:, first + i]) for i in kept], dim=1)
        hq_weights = self.hf_mlp(tokens[:, -1])
        features = cast(Details, details).quarters.float().T
        same = torch.eye(weights.shape[2], device=cells.device)
        step = PAINT_AT_ONCE_ON_CPU if cells.device.type == "cpu" else PAINT_AT_ONCE
        painted = []
        for at in range(0, len(cells), step):
            part = slice(at, at + step)
            # The weights of a mask for each channel give the channels themselves.
            pixels = self._paint(same.expand(len(cells[part]), -1, -1), cells[part], None)
            logits = self._paint_hq(hq_weights[part], pixels, features)
            if not self.hq_only:
                logits = logits + (weights[part] @ pixels.flatten(2)).view(len(pixels), -1, *pixels.shape[2:])
            painted.append(logits)
        return torch.cat(painted)

    def _paint_hq(self, weights: Tensor, pixels: Tensor, features: Tensor) -> Tensor:
        """Return the logits of masks of high quality, ``(P, 1, H, W)``.

        Parameters
        ----------
        weights : tensor, shape (P, c)
            Weights of the channels in each mask.
        pixels : tensor, shape (P, c, H, W)
            The upscaled cells of each prompt.
        features : tensor, shape (c, H * W)
            High-quality features of the image.
        """
        first, second = (cast(nn.Conv2d, self.embedding_maskfeature[layer]) for layer in (0, 3))
        x = pixels.to(first.weight.dtype, memory_format=torch.channels_last)
        x = functional.gelu(self.embedding_maskfeature[1](first(x))).float()
        # The second convolution and the product with the weights of a mask are one convolution to one channel.
        kernels = torch.einsum("pc,cdyx->pdyx", weights, second.weight.float())
        prompts, _, height, width = x.shape
        logits = functional.conv2d(x.reshape(1, -1, height, width), kernels, padding=1, groups=prompts)
        added = weights @ (features + cast(Tensor, second.bias).float()[:, None])
        return logits.view(prompts, 1, height, width) + added.view(prompts, 1, height, width)


def _four_times(width: int, between: int, made: int) -> nn.Sequential:
    """Return layers that turn maps ``(B, width, g, g)`` into maps ``(B, made, 4 * g, 4 * g)``."""
    return nn.Sequential(
        nn.ConvTranspose2d(width, between, 2, stride=2),
        ChannelNorm(between),
        nn.GELU(),
        nn.ConvTranspose2d(between, made, 2, stride=2),
    )
