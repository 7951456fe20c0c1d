"""Attention between the few tokens of each prompt and the many cells of an image.

The image-side projections are absorbed into the tokens: with weights ``A`` and ``B``, ``(x A)(t B)^T`` is ``x (t B A^T)^T``,
which never makes a projection of every cell for every prompt. Positions are added to the scores, not to the cells:
``(x + p) s^T`` is ``x s^T + p s^T``, and all prompts share ``p``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Projections", "add_read_of_tokens", "read_image", "read_tokens"]


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """The four linear layers of an attention from ``C`` channels to ``heads`` times some, and back.

    Attributes
    ----------
    query, key, value, output : torch.nn.Linear
    heads : int
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    heads: int

    def split(self, projected: Tensor) -> Tensor:
        """Turn ``(P, T, D)`` into ``(P, heads, T, D / heads)``."""
        return projected.view(*projected.shape[:2], self.heads, -1).transpose(1, 2)

    def weight(self, layer: nn.Linear) -> Tensor:
        """Return the weight of an inward layer as ``(heads, D / heads, C)``."""
        return layer.weight.view(self.heads, -1, layer.in_features)

    @property
    def output_weight(self) -> Tensor:
        """The weight of the outward layer as ``(heads, D / heads, C)``."""
        return self.output.weight.view(self.output.out_features, self.heads, -1).permute(1, 2, 0)


def read_tokens(of: Projections, placed: Tensor, tokens: Tensor) -> Tensor:
    """Let tokens ``(P, T, C)``, with their positions in ``placed``, read each other; return what each has read."""
    query, key, value = (of.split(layer(x)) for layer, x in ((of.query, placed), (of.key, placed), (of.value, tokens)))
    read = functional.scaled_dot_product_attention(query, key, value)
    out: Tensor = of.output(read.transpose(1, 2).flatten(2))
    return out


def read_image(of: Projections, placed: Tensor, image: Tensor, positions: Tensor) -> Tensor:
    """Let tokens read an image.

    Parameters
    ----------
    of : Projections
    placed : tensor, shape (P, T, C)
        Tokens with their positions.
    image : tensor, shape (P, N, C), or (1, N, C) where all prompts share it
    positions : tensor, shape (N, C)
        Of the cells; part of what tokens look for, not of what they read.

    Returns
    -------
    tensor, shape (P, T, C)
        What each token has read.
    """
    query = of.split(of.query(placed))
    if len(image) < len(placed):
        read = _read_shared(of, query, image, positions)
    else:
        # The key's bias shifts a whole row of the softmax and cancels.
        scale = query.shape[-1] ** -0.5
        absorbed = (query @ (of.weight(of.key) * scale)).flatten(1, 2)
        scores = torch.baddbmm(absorbed @ positions.T, absorbed, image.transpose(1, 2))
        pooled = (torch.softmax(scores, dim=-1) @ image).view(len(image), of.heads, -1, image.shape[2])
        read = pooled @ of.weight(of.value).transpose(1, 2) + of.value.bias.view(of.heads, 1, -1)
    out: Tensor = of.output(read.transpose(1, 2).flatten(2))
    return out


def _read_shared(of: Projections, query: Tensor, image: Tensor, positions: Tensor) -> Tensor:
    """Project the one image, and let the tokens of all prompts read it as those of one."""
    prompts, heads, tokens, width = query.shape
    key, value = of.split(of.key(image + positions)), of.split(of.value(image))
    together = query.transpose(0, 1).reshape(1, heads, prompts * tokens, width)
    read = functional.scaled_dot_product_attention(together, key, value)
    return read.view(heads, prompts, tokens, width).transpose(0, 1)


def add_read_of_tokens(of: Projections, image: Tensor, positions: Tensor, placed: Tensor, tokens: Tensor) -> Tensor:
    """Let the cells of an image read tokens.

    Parameters
    ----------
    of : Projections
    image : tensor, shape (P, N, C), or (1, N, C) where all prompts share it
    positions : tensor, shape (N, C)
        Of the cells.
    placed, tokens : tensor, shape (P, T, C)
        Tokens with their positions, and without.

    Returns
    -------
    tensor, shape (P, N, C)
        The image plus what each cell has read.
    """
    key, value = of.split(of.key(placed)), of.split(of.value(tokens))
    key = key * key.shape[-1] ** -0.5
    if len(image) < len(placed):
        scores = key @ of.split(of.query(image + positions)).transpose(2, 3)
    else:
        absorbed = (key @ of.weight(of.query)).flatten(1, 2)
        bias = (key * of.query.bias.view(of.heads, 1, -1)).sum(-1).flatten(1, 2)
        scores = torch.baddbmm(absorbed @ positions.T + bias[..., None], absorbed, image.transpose(1, 2))
    # Heads and tokens come before cells: a softmax over the few tokens then runs along all cells at once.
    attention = torch.softmax(scores.view(*key.shape[:3], -1), dim=2).flatten(1, 2)
    # A head's attention sums to 1, so that its share of the bias may ride on the values.
    spread = (value @ of.output_weight + of.output.bias / of.heads).flatten(1, 2)
    return torch.baddbmm(image.expand(len(placed), -1, -1), attention.transpose(1, 2), spread)
