"""Attention between the few tokens of each prompt and the many cells of an image, without projecting every cell per prompt.

The projections of the image are applied to the tokens instead: with the weights ``A`` and ``B``, ``(x A)(t B)^T`` is
``x (t B A^T)^T``. Positions are added to the scores and not to the cells: ``(x + p) s^T`` is ``x s^T + p s^T``, and all prompts
share ``p``.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Projections", "add_read_of_tokens", "read_image", "read_tokens"]


@dataclass(frozen=True, slots=True, eq=False)
class Projections:
    """The four linear layers of an attention from ``C`` channels to ``D`` channels, which are divided among heads, and back.

    Attributes
    ----------
    query, key, value, output : torch.nn.Linear
        ``query``, ``key`` and ``value`` map ``C`` to ``D`` channels, ``output`` maps ``D`` to ``C``.
    heads : int
        Number of heads.
    """

    query: nn.Linear
    key: nn.Linear
    value: nn.Linear
    output: nn.Linear
    heads: int

    def split(self, projected: Tensor) -> Tensor:
        """Reshape ``(P, T, D)`` to ``(P, heads, T, D / heads)``."""
        return projected.view(*projected.shape[:2], self.heads, -1).transpose(1, 2)

    def weight(self, layer: nn.Linear) -> Tensor:
        """Return the weight of the query, key or value layer as ``(heads, D / heads, C)``."""
        return layer.weight.view(self.heads, -1, layer.in_features)

    @property
    def output_weight(self) -> Tensor:
        """The weight of the output layer as ``(heads, D / heads, C)``."""
        return self.output.weight.view(self.output.out_features, self.heads, -1).permute(1, 2, 0)


def read_tokens(of: Projections, placed: Tensor, tokens: Tensor) -> Tensor:
    """Let tokens ``(P, T, C)`` attend to each other, and return the attended values.

    ``placed`` are the tokens plus their positions.
    """
    query, key, value = (of.split(layer(x)) for layer, x in ((of.query, placed), (of.key, placed), (of.value, tokens)))
    read = functional.scaled_dot_product_attention(query, key, value)
    out: Tensor = of.output(read.transpose(1, 2).flatten(2))
    return out


def read_image(of: Projections, placed: Tensor, image: Tensor, positions: Tensor, bias: Tensor | None = None) -> Tensor:
    """Let tokens attend to an image.

    Parameters
    ----------
    of : Projections
        The layers of the attention.
    placed : tensor, shape (P, T, C)
        Tokens plus their positions.
    image : tensor, shape (P, N, C), or (1, N, C) where all prompts share it
        Cells of the image.
    positions : tensor, shape (N, C)
        Positions of the cells. They are added to the keys, not to the values.
    bias : tensor, shape (N,), optional
        Added to the attention of each token to each cell, after the softmax; a second softmax makes the sum 1 again. This is
        the target-guided attention of PerSAM (arXiv:2305.03048).

    Returns
    -------
    tensor, shape (P, T, C)
        The attended values of each token.
    """
    query = of.split(of.query(placed))
    if bias is not None:
        image = image.expand(len(placed), -1, -1)
    if len(image) < len(placed):
        read = _read_shared(of, query, image, positions)
    else:
        # The bias of the key is left out: it adds a constant to a row of the softmax, which cancels.
        scale = query.shape[-1] ** -0.5
        absorbed = (query @ (of.weight(of.key) * scale)).flatten(1, 2)
        scores = (absorbed @ positions.T).baddbmm_(absorbed, image.transpose(1, 2))
        attention = torch.softmax(scores, dim=-1)
        if bias is not None:
            attention = torch.softmax(attention + bias, dim=-1)
        pooled = (attention @ image).view(len(image), of.heads, -1, image.shape[2])
        read = pooled @ of.weight(of.value).transpose(1, 2) + of.value.bias.view(of.heads, 1, -1)
    out: Tensor = of.output(read.transpose(1, 2).flatten(2))
    return out


def _read_shared(of: Projections, query: Tensor, image: Tensor, positions: Tensor) -> Tensor:
    """Project the one image that all prompts share, and let the tokens of all prompts attend to it in one product."""
    prompts, heads, tokens, width = query.shape
    key, value = of.split(of.key(image + positions)), of.split(of.value(image))
    together = query.transpose(0, 1).reshape(1, heads, prompts * tokens, width)
    read = functional.scaled_dot_product_attention(together, key, value)
    return read.view(heads, prompts, tokens, width).transpose(0, 1)


def add_read_of_tokens(of: Projections, image: Tensor, positions: Tensor, placed: Tensor, tokens: Tensor) -> Tensor:
    """Let the cells of an image attend to tokens.

    Parameters
    ----------
    of : Projections
        The layers of the attention.
    image : tensor, shape (P, N, C), or (1, N, C) where all prompts share it
        Cells of the image.
    positions : tensor, shape (N, C)
        Positions of the cells.
    placed, tokens : tensor, shape (P, T, C)
        Tokens with and without their positions.

    Returns
    -------
    tensor, shape (P, N, C)
        The image plus the attended values of each cell.
    """
    key, value = of.split(of.key(placed)), of.split(of.value(tokens))
    key = key * key.shape[-1] ** -0.5
    if len(image) < len(placed):
        scores = key @ of.split(of.query(image + positions)).transpose(2, 3)
    else:
        absorbed = (key @ of.weight(of.query)).flatten(1, 2)
        bias = (key * of.query.bias.view(of.heads, 1, -1)).sum(-1).flatten(1, 2)
        scores = (absorbed @ positions.T).add_(bias[..., None]).baddbmm_(absorbed, image.transpose(1, 2))
    # The cells are the last axis, so that the softmax over the few tokens is vectorized along the cells.
    attention = torch.softmax(scores.view(*key.shape[:3], -1), dim=2).flatten(1, 2)
    # The attention of a head sums to 1, so the bias of the output, divided by the number of heads, can be added to the values.
    spread = (value @ of.output_weight + of.output.bias / of.heads).flatten(1, 2)
    return torch.baddbmm(image.expand(len(placed), -1, -1), attention.transpose(1, 2), spread)
