"""Choice of the device, the floating-point type and the number of CPU threads with which a model runs."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from samgeo.errors import ModelError, OptionError

__all__ = [
    "DTYPES",
    "check_threads",
    "computing_in",
    "cpu_has_bfloat16",
    "resolve_device",
    "resolve_dtype",
    "sent",
    "starting_home",
    "typed_digest",
    "untyped_digest",
]


DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}

# Where Linux says what a processor has, and the names of the instructions that multiply numbers of bfloat16: those of x86 for
# vectors and for matrices. Others have no such instructions, and compute in bfloat16 more slowly than in float32.
CPU_INFO = Path("/proc/cpuinfo")
BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})
# oneDNN, with which torch computes on a processor, uses no newer instructions than these variables allow.
ONEDNN_LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
ONEDNN_WITH_BFLOAT16 = re.compile(r"all|default|avx512_core_(bf16|fp16|amx\w*)|avx10\w*", re.IGNORECASE)


def resolve_device(device: str | torch.device = "auto") -> torch.device:
    """Return the device to run on.

    Parameters
    ----------
    device : str or torch.device, default "auto"
        "cpu", "cuda", "cuda:1", "mps", or "auto": the first of CUDA, MPS and CPU that this machine has.

    Raises
    ------
    OptionError
        If it is not the name of a device.
    ModelError
        If this machine, or this build of torch, does not have it.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:
        raise OptionError(f"device {device!r} is not known; give auto, cpu, cuda, cuda:1 or mps.") from None
    if chosen.type == "cpu":
        return chosen
    if chosen.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (chosen.index or 0) < count:
            return chosen
        raise ModelError(
            f"device {str(device)!r} is not available: torch {torch.__version__} finds {count} CUDA devices. "
            "Use device='cpu' or 'auto', or install a driver and a build of torch with CUDA."
        )
    if chosen.type == "mps":
        if torch.backends.mps.is_available():
            return chosen
        raise ModelError("device 'mps' is not available: it needs Apple silicon and macOS 12.3. Use device='cpu' or 'auto'.")
    raise OptionError(f"device {str(device)!r} is not supported; give auto, cpu, cuda, cuda:1 or mps.")


def resolve_dtype(dtype: str | torch.dtype, device: torch.device) -> torch.dtype:
    """Return the floating-point type to run in.

    Parameters
    ----------
    dtype : str or torch.dtype
        "float32", "bfloat16", or "auto": bfloat16 on CUDA devices and processors that have instructions for it, float32
        elsewhere.
    device : torch.device
        Where the model will run.

    Raises
    ------
    OptionError
        If it is another type.
    ModelError
        If the device does not compute in bfloat16.
    """
    if dtype == "auto":
        has_bfloat16 = {"cuda": lambda: _cuda_has_bfloat16(device), "cpu": cpu_has_bfloat16}.get(device.type, lambda: False)
        return torch.bfloat16 if has_bfloat16() else torch.float32
    chosen = DTYPES.get(dtype) if isinstance(dtype, str) else dtype
    if chosen is None or chosen not in DTYPES.values():
        raise OptionError(f"dtype {str(dtype)!r} is not supported; give auto, {' or '.join(DTYPES)}.")
    if chosen is torch.bfloat16 and device.type == "cuda" and not _cuda_has_bfloat16(device):
        raise ModelError(f"{torch.cuda.get_device_name(device)} does not compute in bfloat16; use dtype='float32' or 'auto'.")
    return chosen


def typed_digest(digest: str, dtype: torch.dtype) -> str:
    """Return the digest of weights in a type of numbers. Other types than float32 round the weights, so their name is added."""
    return digest if dtype is torch.float32 else f"{digest}-{str(dtype).removeprefix('torch.')}"


def untyped_digest(digest: str) -> str:
    """Return the digest of the weights as their file holds them, from a digest of `typed_digest`."""
    return next((digest.removesuffix(f"-{name}") for name in DTYPES if digest.endswith(f"-{name}")), digest)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor from main memory to a device; on CUDA the copy is asynchronous."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def starting_home(tensor: Tensor) -> Callable[[], Tensor]:
    """Start an asynchronous copy of a tensor to main memory; return a function that waits for the copy and returns it."""
    if tensor.device.type != "cuda":
        return tensor.cpu
    home = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    home.copy_(tensor, non_blocking=True)
    there = torch.cuda.Event()  # type: ignore[no-untyped-call]
    there.record(torch.cuda.current_stream(tensor.device))

    def wait() -> Tensor:
        there.synchronize()
        return home

    return wait


def _cuda_has_bfloat16(device: torch.device) -> bool:
    # torch.cuda.is_bf16_supported() also accepts slow emulation, and only checks the current device.
    return torch.cuda.get_device_capability(device) >= (8, 0)


def cpu_has_bfloat16() -> bool:
    """Return whether this processor has instructions that multiply numbers of bfloat16, and torch uses them.

    Such are AVX512-BF16 (AMD since Zen 4) and AMX-BF16 (Intel Xeon since Sapphire Rapids), on Linux. The environment variable
    ``ONEDNN_MAX_CPU_ISA`` of oneDNN can forbid them.
    """
    limit = next((os.environ[name] for name in ONEDNN_LIMITS if name in os.environ), "default")
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and bool(ONEDNN_WITH_BFLOAT16.fullmatch(limit)) and not BFLOAT16_FLAGS.isdisjoint(_cpu_flags())


@functools.cache
def _cpu_flags() -> frozenset[str]:
    """Return the names of the instructions of this processor, as Linux names them; nothing elsewhere."""
    try:
        lines = CPU_INFO.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return frozenset()
    return frozenset(next((line.partition(":")[2].split() for line in lines if line.startswith("flags")), []))


def check_threads(threads: int | None) -> int | None:
    """Check a number of threads; None means torch's own choice.

    Raises
    ------
    OptionError
        If it is not a whole number, or less than 1.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise OptionError(f"threads is {threads!r}; give 1 or more, or None for torch's default.")
    return threads


@contextmanager
def computing_in(threads: int | None) -> Iterator[None]:
    """Set the number of torch threads of the calling thread for the duration of a ``with`` block; None changes nothing.

    The threads of one computation wait for each other at every step. Where other computations use the same cores, several
    threads are therefore much slower than one. The last bits of a result depend on the number of threads.
    """
    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
