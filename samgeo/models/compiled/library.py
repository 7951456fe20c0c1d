"""The compiled library, which an installation has where a C++ compiler was there (``hatch_build.py``)."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from samgeo.errors import warn

__all__ = ["SWITCH", "call", "library", "over_prompts", "usable"]

SWITCH = "SAMGEO_COMPILED"
"""Environment variable that switches the compiled functions off where it is 0."""

INTERFACE = 3
FILE = Path(__file__).parent / "steps.so"
_CAPABLE = ("AVX2", "AVX512")


@functools.cache
def library() -> ctypes.CDLL | None:
    """Return the compiled functions, or None where they were not built, are switched off, or the processor lacks AVX2."""
    if os.environ.get(SWITCH) == "0" or torch.backends.cpu.get_cpu_capability() not in _CAPABLE or not FILE.exists():
        return None
    try:
        loaded = ctypes.CDLL(str(FILE))
        if loaded.interface_number() == INTERFACE:
            return loaded
        why = "was built from another version of its sources"
    except (OSError, AttributeError) as error:
        why = f"cannot be loaded ({error})"
    warn(f"{FILE} {why}, so that CPUs are slower. Install samgeo again, or run python hatch_build.py in its source.")
    return None


def usable(*tensors: Tensor) -> bool:
    """Return whether compiled functions can take these tensors: float32 in C order on a CPU, and no gradient is wanted.

    Never while ``torch.compile`` reads the code: it cannot see into the functions.
    """
    return (
        not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and library() is not None
        and all(one.device.type == "cpu" and one.dtype == torch.float32 and one.is_contiguous() for one in tensors)
    )


def call(name: str, *given: int | float | Tensor) -> None:
    """Call a compiled function, which `usable` has said to be there.

    Parameters
    ----------
    name : str
        Name of the function.
    *given : int, float or tensor
        A whole number is passed as ``int64_t``, another number as ``float``, and a tensor as the address of its first number.
    """
    getattr(library(), name)(*map(_passed, given))


def _passed(value: float | Tensor) -> ctypes.c_int64 | ctypes.c_float | ctypes.c_void_p:
    if isinstance(value, Tensor):
        return ctypes.c_void_p(value.data_ptr())
    return ctypes.c_int64(value) if isinstance(value, int) else ctypes.c_float(value)


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
    list(_threads(torch.get_num_threads()).map(work, map(slice, ends, ends[1:])))


@functools.cache
def _threads(count: int) -> ThreadPoolExecutor:
    """Return threads that wait for work: to start them takes longer than a prompt."""
    return ThreadPoolExecutor(count, thread_name_prefix="samgeo")


# A process that is forked has none of the threads.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.cache_clear)
