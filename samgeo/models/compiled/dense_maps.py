"""The compiled functions for dense prompt maps at stride 4 in nested order."""

from __future__ import annotations

import torch
from torch import Tensor

from samgeo.models.compiled.library import call, over_prompts, usable

__all__ = ["MOST_PIXELS", "click_maps", "enlarge_nested", "usable"]

MOST_PIXELS = 128
"""Largest side of a map."""


def click_maps(
    x: Tensor, y: Tensor, points: Tensor, labels: Tensor, label: int, *, factors: tuple[float, float]
) -> tuple[Tensor, Tensor]:
    """Return two maps of the distance d from each pixel to the nearest point that has a label.

    Parameters
    ----------
    x, y : tensor, shape (pixels,)
        Centres of the pixels, whose number is a multiple of 8.
    points : tensor, shape (P, N, 2)
        The points of each prompt.
    labels : tensor of int64, shape (P, N)
        Their labels.
    label : int
        The label. Where a prompt has no such point the maps are zero.
    factors : (float, float)
        Of the exponents; both are negative.

    Returns
    -------
    (tensor, tensor), shapes (P, pixels)
        e to the power of the first factor times d squared, and of the second times d.
    """
    prompts, count = labels.shape
    spot, decay = torch.empty(prompts, len(x)), torch.empty(prompts, len(x))

    def draw(part: slice) -> None:
        given = (x, y, points[part], labels[part])
        call("click_maps", len(spot[part]), count, len(x), *given, int(label), *factors, spot[part], decay[part])

    over_prompts(draw, prompts)
    return spot, decay


def enlarge_nested(rows: Tensor, factor: int) -> Tensor:
    """Interpolate square maps bilinearly, with ``align_corners=False``, and lay them out in nested order.

    Parameters
    ----------
    rows : tensor, shape (P, pixels)
        Square maps, in the order of rows.
    factor : int
        2 or 4 times as many rows and columns, at most `MOST_PIXELS`.

    Returns
    -------
    tensor, shape (P, factor ** 2 * pixels)
    """
    side = round(rows.shape[1] ** 0.5)
    nested = torch.empty(len(rows), factor**2 * side**2)
    over_prompts(lambda part: call("enlarge_nested", len(rows[part]), side, factor, rows[part], nested[part]), len(rows))
    return nested
