"""Comparing masks of which not everything is drawn."""

import torch
from torch import Tensor

from samgeo.models.tiny.mask_regions import BACKGROUND

__all__ = ["assert_same_masks"]


def assert_same_masks(gated: Tensor, ungated: Tensor, *, rtol: float, atol: float) -> None:
    """Compare logits where both are drawn: one draws where any candidate is expected, the other where those that pass are."""
    both = (gated != BACKGROUND) & (ungated != BACKGROUND)
    torch.testing.assert_close(gated[both], ungated[both], rtol=rtol, atol=atol)
    assert not (gated[~both] > 0).any()
    assert not (ungated[~both] > 0).any()
