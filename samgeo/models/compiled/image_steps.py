"""The compiled steps on the image of a prompt at stride 16, from the prompt maps to the judgement of the candidates.

``fits`` tells whether these functions can take an image. What each computes is what the function named "of torch" computes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from samgeo.models.compiled.library import call, over_prompts, usable

__all__ = ["fits", "judge_candidates", "merge_maps", "pool_image", "renew_image"]

# The sizes for which image_steps.cpp is compiled.
CELLS, CHANNELS, HEADS = 32 * 32, 128, 4
TOKENS = range(5, 13)
CANDIDATES = 8
MAPS = (16, 32)


def fits(image: Tensor, *others: Tensor, tokens: int = TOKENS.start, heads: int = HEADS) -> bool:
    """Return whether the compiled steps can take images ``(P, N, C)`` and these other tensors."""
    return tuple(image.shape[1:]) == (CELLS, CHANNELS) and tokens in TOKENS and heads == HEADS and usable(image, *others)


def merge_maps(maps: Tensor, weight4: Tensor, merge8: nn.Linear, merge16: nn.Linear, shared: Tensor) -> Tensor:
    """Merge prompt maps, and add the image that all prompts share; of torch: ``PromptEncoder._merge``.

    Parameters
    ----------
    maps : tensor, shape (K, P, 16 N)
        The dense maps at stride 4 in nested order, the last of which is one everywhere.
    weight4 : tensor, shape (K, 16)
        Their weights.
    merge8, merge16 : torch.nn.Linear
        The layers from four pixels at stride 4 to one at stride 8, and from four of those to a cell. The bias of the second is
        not used.
    shared : tensor, shape (1, N, C)
        The image.

    Returns
    -------
    tensor, shape (P, N, C)
    """
    count, prompts, pixels = maps.shape
    image, weight4 = torch.empty(prompts, CELLS, CHANNELS), weight4.contiguous()

    def merge(part: slice) -> None:
        some, to = maps[:, part], image[part]
        layers = (merge8.weight, merge8.bias, merge16.weight)
        call("merge_maps", len(to), CELLS, count, prompts * pixels, some, weight4, *layers, shared, to)

    over_prompts(merge, prompts)
    return image


def pool_image(absorbed: Tensor, image: Tensor, positions: Tensor) -> Tensor:
    """Let queries attend to an image; of torch: ``softmax(absorbed @ (image + positions)^T) @ image``.

    Parameters
    ----------
    absorbed : tensor, shape (P, heads * T, C)
        Queries.
    image, positions : tensor, shapes (P, N, C) and (N, C)
        The image, and what is added to it for the scores.

    Returns
    -------
    tensor, shape (P, heads * T, C)
    """
    pooled, tokens = torch.empty_like(absorbed), absorbed.shape[1] // HEADS

    def pool(part: slice) -> None:
        call("pool_image", len(image[part]), tokens, absorbed[part], image[part], positions, pooled[part])

    over_prompts(pool, len(image))
    return pooled


def renew_image(
    image: Tensor,
    positions: Tensor,
    read: tuple[Tensor, Tensor, Tensor],
    neighbourhood: tuple[Tensor, Tensor],
    norm: nn.LayerNorm,
) -> Tensor:
    """Let the cells of an image read tokens, convolve and normalize them; of torch: ``add_read_of_tokens`` and its ``then``.

    Parameters
    ----------
    image, positions : tensor, shapes (P, N, C) and (N, C)
        The image, which is overwritten, and what is added to it for the scores.
    read : (tensor, tensor, tensor), shapes (P, heads * T, C), (P, heads * T) and (P, heads * T, C)
        Keys of the tokens, addends of their scores, and what a cell gets from each.
    neighbourhood : (tensor, tensor), shapes (C, 1, 3, 3) and (C,)
        Kernel and bias of the depthwise convolution.
    norm : torch.nn.LayerNorm
        The normalization.

    Returns
    -------
    tensor, shape (P, N, C)
        The image.
    """
    tokens = read[0].shape[1] // HEADS
    kernel, bias = neighbourhood
    read = (read[0].contiguous(), read[1].contiguous(), read[2].contiguous())

    def renew(part: slice) -> None:
        own = image[part]
        layers = (kernel, bias, norm.weight, norm.bias)
        call("renew_image", len(own), tokens, own, positions, *(one[part] for one in read), *layers, float(norm.eps))

    over_prompts(renew, len(image))
    return image


def judge_candidates(image: Tensor, weights: Tensor, bias: float) -> tuple[Tensor, Tensor, Tensor]:
    """Compute where candidates are expected, and what is seen there; of torch: the first lines of ``Quality.forward``.

    Parameters
    ----------
    image : tensor, shape (P, N, C)
        The image.
    weights : tensor, shape (P, M, C)
        Of each candidate.
    bias : float
        Added to the logits.

    Returns
    -------
    coverage : tensor, shape (P, M, N)
        The logits ``weights @ image^T + bias``.
    seen : tensor, shape (P, M, C)
        The cells, weighted by the sigmoid of the coverage.
    area : tensor, shape (P, M, 1)
        The sum of those weights.
    """
    prompts, candidates = weights.shape[:2]
    coverage, seen = torch.empty(prompts, candidates, CELLS), torch.empty_like(weights)
    area = torch.empty(prompts, candidates, 1)

    def judge(part: slice) -> None:
        results = (coverage[part], seen[part], area[part])
        call("judge_candidates", len(seen[part]), candidates, image[part], weights[part], float(bias), *results)

    over_prompts(judge, prompts)
    return coverage, seen, area
