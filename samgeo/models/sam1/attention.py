"""Attention between the few tokens of each prompt and the many cells of an image, without projecting every cell per prompt.

The projections of the image are applied to the tokens instead: with the weights ``A`` and ``B``, ``(x A)(t B)^T`` is
``x (t B A^T)^T``. Positions are added to the scores and not to the cells: ``(x + p) s^T`` is ``x s^T + p s^T``, and all prompts
share ``p``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from samgeo.models.batching import by_cached_parts
from samgeo.models.compiled import image_steps

__all__ = ["Projections", "add_read_of_tokens", "read_image", "read_tokens", "what_cells_read"]


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
        absorbed = _by_head(query, of.weight(of.key) * scale).flatten(1, 2)

        def pool(part: slice) -> Tensor:
            attention = torch.softmax(_scores(absorbed[part], image[part], positions), dim=-1)
            if bias is not None:
                attention = torch.softmax(attention + bias, dim=-1)
            return attention @ image[part]

        is_compiled = bias is None and image_steps.fits(image, absorbed, positions, tokens=placed.shape[1], heads=of.heads)
        pooled = image_steps.pool_image(absorbed, image, positions) if is_compiled else by_cached_parts(pool, image)
        pooled = pooled.view(len(image), of.heads, -1, image.shape[2])
        read = _by_head(pooled, of.weight(of.value).transpose(1, 2)) + of.value.bias.view(of.heads, 1, -1)
    out: Tensor = of.output(read.transpose(1, 2).flatten(2))
    return out


def _scores(absorbed: Tensor, image: Tensor, positions: Tensor) -> Tensor:
    """Multiply tokens ``(P, T, C)`` by the sum of an image ``(P, N, C)`` and positions ``(N, C)``: ``(P, T, N)``."""
    if image.device.type == "cpu":
        return absorbed @ (image + positions).transpose(1, 2)  # the sum stays in the cache
    return (absorbed @ positions.T).baddbmm_(absorbed, image.transpose(1, 2))


def _by_head(tokens: Tensor, weight: Tensor) -> Tensor:
    """Multiply tokens ``(P, heads, T, D)`` by the weight of their head, ``(heads, D, C)``.

    The prompts are in the rows of one product for each head: `torch.matmul` would copy the weights for each prompt.
    """
    prompts, heads, count, width = tokens.shape
    product = tokens.transpose(0, 1).reshape(heads, prompts * count, width) @ weight
    return product.view(heads, prompts, count, -1).transpose(0, 1)


def _read_shared(of: Projections, query: Tensor, image: Tensor, positions: Tensor) -> Tensor:
    """Project the one image that all prompts share, and let the tokens of all prompts attend to it in one product."""
    prompts, heads, tokens, width = query.shape
    key, value = of.split(of.key(image + positions)), of.split(of.value(image))
    together = query.transpose(0, 1).reshape(1, heads, prompts * tokens, width)
    read = functional.scaled_dot_product_attention(together, key, value)
    return read.view(heads, prompts, tokens, width).transpose(0, 1)


def add_read_of_tokens(
    of: Projections,
    image: Tensor,
    positions: Tensor,
    placed: Tensor,
    tokens: Tensor,
    *,
    then: Callable[[Tensor], Tensor] | None = None,
    into: Tensor | None = None,
) -> Tensor:
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
    then : callable, optional
        Applied to the result of some prompts while it is in the cache. By default nothing is applied.
    into : tensor, shape (P, N, C), optional
        As in `samgeo.models.batching.by_cached_parts`; it may be the image.

    Returns
    -------
    tensor, shape (P, N, C)
        The image plus the attended values of each cell, after ``then``.
    """
    key, spread = _keys_and_values(of, placed, tokens)
    each = image.expand(len(placed), -1, -1)
    if len(image) < len(placed):
        query = of.split(of.query(image + positions)).transpose(2, 3)

        def scores(part: slice) -> Tensor:
            product: Tensor = key[part] @ query
            return product
    else:
        absorbed, bias = _absorbed(of, key)

        def scores(part: slice) -> Tensor:
            biased: Tensor = _scores(absorbed[part], image[part], positions).add_(bias[part, :, None])
            return biased

    def add(part: slice) -> Tensor:
        # The cells are the last axis, so that the softmax over the few tokens is vectorized along the cells.
        attention = torch.softmax(scores(part).view(-1, *key.shape[1:3], image.shape[1]), dim=2).flatten(1, 2)
        read = torch.baddbmm(each[part], attention.transpose(1, 2), spread[part])
        return read if then is None else then(read)

    return by_cached_parts(add, each, into)


def what_cells_read(of: Projections, placed: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return what `add_read_of_tokens` computes of the tokens alone.

    Returns
    -------
    absorbed : tensor, shape (P, heads * T, C)
        What the sum of a cell and its position is multiplied by for the scores.
    bias : tensor, shape (P, heads * T)
        What is added to the scores, before the softmax over the tokens of a head.
    values : tensor, shape (P, heads * T, C)
        What a cell gets from each.
    """
    key, values = _keys_and_values(of, placed, tokens)
    return *_absorbed(of, key), values


def _keys_and_values(of: Projections, placed: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Return scaled keys of tokens, ``(P, heads, T, D / heads)``, and what a cell gets from them, ``(P, heads * T, C)``."""
    key, value = of.split(of.key(placed)), of.split(of.value(tokens))
    # The attention of a head sums to 1, so the bias of the output can be divided among the heads and added to the values.
    spread = (_by_head(value, of.output_weight) + of.output.bias / of.heads).flatten(1, 2)
    return key * key.shape[-1] ** -0.5, spread


def _absorbed(of: Projections, key: Tensor) -> tuple[Tensor, Tensor]:
    """Multiply keys by the weight and the bias of the queries: ``(P, heads * T, C)`` and ``(P, heads * T)``."""
    bias = (key * of.query.bias.view(of.heads, 1, -1)).sum(-1).flatten(1, 2)
    return _by_head(key, of.weight(of.query)).flatten(1, 2), bias
