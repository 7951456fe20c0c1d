"""Pooling of feature maps inside boxes, which SAM 3 needs for its exemplars, without torchvision."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["roi_align"]


def roi_align(features: Tensor, boxes: Sequence[Tensor], size: int) -> Tensor:
    """Return the mean of bilinear samples in each bin of each box.

    The samples are those of RoIAlign with an adaptive number of samples and without the shift by half a pixel: a box is at
    least one cell wide, each bin has as many samples along an axis as the bin's width rounded up, and a sample more than one
    cell outside the map is zero. Sampling is separable, so that two small matrices for each box do the work.

    Parameters
    ----------
    features : tensor, shape (B, C, h, w)
        Feature maps.
    boxes : sequence of B tensors, shape (N, 4)
        x0, y0, x1, y1 in cells of the maps.
    size : int
        Number of bins along each side.

    Returns
    -------
    tensor, shape (total N, C, size, size)

    Examples
    --------
    >>> import torch
    >>> from samgeo.finding.text.roi_align import roi_align
    >>> features = torch.arange(16.0).reshape(1, 1, 4, 4)
    >>> roi_align(features, [torch.tensor([[0.0, 0.0, 2.0, 2.0]])], 2)[0, 0].tolist()
    [[2.5, 3.5], [6.5, 7.5]]
    """
    height, width = features.shape[-2:]
    pooled = []
    for maps, of_one in zip(features, boxes, strict=True):
        for x0, y0, x1, y1 in of_one.float().tolist():
            rows, columns = (
                _weights(low, high, cells, size).to(maps.dtype).to(maps.device)
                for low, high, cells in ((y0, y1, height), (x0, x1, width))
            )
            pooled.append(torch.einsum("ph,chw,qw->cpq", rows, maps, columns))
    return torch.stack(pooled) if pooled else features.new_zeros((0, features.shape[1], size, size))


def _weights(start: float, end: float, cells: int, size: int) -> Tensor:
    """Return the share of each cell in each bin along one axis, shape (size, cells)."""
    extent = max(end - start, 1.0)
    samples = max(-int(-extent // size), 1)
    places = start + (torch.arange(size * samples, dtype=torch.float64) + 0.5) * extent / (size * samples)
    inside = (places >= -1) & (places <= cells)
    places = places.clamp(0, cells - 1)
    low = places.floor().long().clamp(max=cells - 1)
    high = (low + 1).clamp(max=cells - 1)
    part = places - low
    weights = torch.zeros((size * samples, cells), dtype=torch.float64)
    row = torch.arange(len(places))
    weights[row, low] += (1 - part) * inside
    weights[row, high] += part * inside
    return weights.reshape(size, samples, cells).mean(1)
