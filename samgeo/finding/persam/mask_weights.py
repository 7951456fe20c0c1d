"""PerSAM-F: weights of a model's candidate masks (part, object, group), learned from one example.

The procedure is that of PerSAM-F (Zhang et al., arXiv:2305.03048) and of its published code. The candidates do not depend on
the weights, so they are decoded once.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from samgeo.errors import OptionError

__all__ = ["learn_mask_weights", "mix"]

# Of the focal loss (Lin et al., arXiv:1708.02002).
ALPHA, GAMMA = 0.25, 2
EPSILON = 1e-4


def learn_mask_weights(
    logits: Tensor, mask: NDArray[np.bool_], *, steps: int = 1000, learning_rate: float = 1e-3
) -> NDArray[np.float32]:
    """Learn with which weights the candidates of an example give its mask.

    All weights start equal, and all but the first are free: the first is 1 minus the sum of the others. AdamW with a cosine
    schedule minimises the sum of Dice and focal loss of the weighted sum of the logits.

    Parameters
    ----------
    logits : tensor, shape (M, H, W)
        Logits of the candidates, in pixels of the image.
    mask : ndarray of bool, shape (H, W)
        The object.
    steps : int, default 1000
        Number of steps; 0 leaves the weights equal.
    learning_rate : float, default 1e-3
        Of the first step.

    Returns
    -------
    ndarray of float32, shape (M,)
        The weights, whose sum is 1. They may be negative.

    Raises
    ------
    OptionError
        If ``steps`` is negative or the learning rate is not above 0.
    """
    if steps < 0 or not 0 < learning_rate < float("inf"):
        raise OptionError(f"steps is {steps} and learning_rate {learning_rate}; give 0 or more, and a number above 0.")
    # A clone is a tensor that may take part in a gradient; what a model decodes in inference mode may not.
    candidates = logits.flatten(1).clone()
    truth = torch.from_numpy(np.ascontiguousarray(mask)).flatten().to(candidates)
    free = torch.nn.Parameter(torch.full((len(candidates) - 1,), 1 / len(candidates), device=candidates.device))
    optimizer = torch.optim.AdamW([free], lr=learning_rate, eps=EPSILON)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    for _ in range(steps):
        loss = _loss(_all(free) @ candidates, truth)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    return _all(free).detach().cpu().numpy()


def mix(logits: Tensor, weights: NDArray[np.float32]) -> Tensor:
    """Return the weighted sums ``(P, h, w)`` of the candidates ``(P, M, h, w)`` of some prompts."""
    return torch.einsum("pmhw,m->phw", logits, torch.from_numpy(weights).to(logits))


def _all(free: Tensor) -> Tensor:
    return torch.cat([1 - free.sum(0, keepdim=True), free])


def _loss(logits: Tensor, truth: Tensor) -> Tensor:
    shares = logits.sigmoid()
    dice = 1 - (2 * (shares * truth).sum() + 1) / (shares.sum() + truth.sum() + 1)
    entropy = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    missed = shares + truth - 2 * shares * truth
    focal = (ALPHA * truth + (1 - ALPHA) * (1 - truth)) * missed**GAMMA * entropy
    return dice + focal.mean()
