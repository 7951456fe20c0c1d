"""What a machine could do at best: its measured arithmetic, and how much arithmetic something takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from unittest.mock import patch

import torch
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

SIDE = 2048
REPEATS = 5


def peak_flops(device: torch.device, dtype: torch.dtype = torch.float32) -> float:
    """Return the floating-point operations a second of a large matrix product, the best of some, in this thread."""
    a, b = (torch.randn(SIDE, SIDE, device=device).to(dtype) for _ in range(2))
    best = float("inf")
    for _ in range(REPEATS):
        _wait(device)
        start = time.perf_counter()
        a @ b
        _wait(device)
        best = min(best, time.perf_counter() - start)
    return 2 * SIDE**3 / best


def flops_of(work: Callable[[], object]) -> int:
    """Count the floating-point operations of the matrix products and convolutions in some work, done by torch alone."""
    attention = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
    mapping = {} if attention is None else {attention: _attention}
    with without_compiled(), FlopCounterMode(display=False, custom_mapping=mapping) as counter:
        work()
    return int(counter.get_total_flops())


def without_compiled() -> AbstractContextManager[object]:
    """Return a context in which torch computes the steps that a compiled library does otherwise."""
    return patch("samgeo.models.compiled.library.library", return_value=None)


def _attention(q: tuple[int, ...], k: tuple[int, ...], v: tuple[int, ...], *_: object, **__: object) -> int:
    """Torch counts that of GPUs alone."""
    return int(sdpa_flop_count(q, k, v))


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
