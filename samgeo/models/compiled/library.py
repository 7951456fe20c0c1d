"""The compiled library, which an installation has where a C++ compiler was there (``hatch_build.py``)."""

from __future__ import annotations

import ctypes
import functools
import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from samgeo.errors import SamgeoWarning

__all__ = ["SWITCH", "library", "over_prompts", "pointer", "usable"]

SWITCH = "SAMGEO_COMPILED"
"""Environment variable that switches the compiled functions off where it is 0."""

INTERFACE = 2
FILE = Path(__file__).parent / "steps.so"
_CAPABLE = ("AVX2", "AVX512")


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled functions, or None where they were not built, are switched off, or the processor lacks AVX2."""
    if os.environ.get(SWITCH) == "0" or torch.backends.cpu.get_cpu_capability() not in _CAPABLE or not FILE.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(FILE))
        interface = loaded.interface_number()
    except (OSError, AttributeError) as error:
        return _unusable(f"cannot be loaded ({error})")
    return loaded if interface == INTERFACE else _unusable("was built from another version of its sources")


def _unusable(why: str) -> None:
    warnings.warn(
        f"{FILE} {why}, so that decoding on a CPU is slower. Install samgeo again, or run python hatch_build.py in its source.",
        SamgeoWarning,
        stacklevel=3,
    )


def usable(*tensors: Tensor) -> bool:
    """Return whether compiled functions can take these tensors: float32 in C order on a CPU, and no gradient is wanted."""
    return (
        library() is not None
        and not torch.is_grad_enabled()
        and all(one.device.type == "cpu" and one.dtype == torch.float32 and one.is_contiguous() for one in tensors)
    )


def pointer(tensor: Tensor) -> ctypes.c_void_p:
    """Return the address of the first number of a tensor, as a compiled function takes it."""
    return ctypes.c_void_p(tensor.data_ptr())


def over_prompts(work: Callable[[slice], None], prompts: int) -> None:
    """Call ``work`` for parts of the prompts, one for each thread that torch may use. Each prompt is computed by itself.

    Parameters
    ----------
    work : callable
        Takes a slice of the prompts. A compiled function lets other threads of Python run meanwhile.
    prompts : int
        Number of prompts.
    """
    threads = min(torch.get_num_threads(), prompts)
    if threads < 2:
        work(slice(0, prompts))
        return
    ends = [prompts * thread // threads for thread in range(threads + 1)]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, map(slice, ends, ends[1:])))
