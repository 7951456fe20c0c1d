"""Work in parts that fit the memory: the size of a part is chosen from the free memory, and halved if it was too large."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch
from torch import Tensor

from samgeo.errors import ModelError

__all__ = ["by_cached_parts", "explain_no_memory", "fitting", "for_parts", "in_parts", "joined"]

Result = TypeVar("Result")
Given = ParamSpec("Given")

# Bytes of the images that a core of a CPU processes at once.
CACHED_BYTES = 1 << 20
# Messages of torch's allocators that raise a plain RuntimeError: the CPU allocators of Linux and Windows, and that of MPS.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def fitting(device: torch.device, bytes_each: float, *, budget: float) -> int:
    """Return how many items of a given size to process at once.

    On CUDA the number is a power of two: the last bits of a model's results depend on how many items it processes at once, and
    should not depend on small changes of the free memory.

    Parameters
    ----------
    device : torch.device
        Where the work runs. On CUDA the items may take half of the memory that is free or that torch keeps for reuse.
    bytes_each : float
        Memory that one item takes.
    budget : float
        Bytes that the items may take together on other devices, where free memory is not used as a limit.

    Returns
    -------
    int
        At least 1.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        kept = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        budget = (free + kept) / 2
    count = max(int(budget / bytes_each), 1)
    return 1 << (count.bit_length() - 1) if device.type == "cuda" else count


def in_parts(work: Callable[[slice], Result], count: int, at_once: int) -> list[Result]:
    """Call ``work`` for parts of ``count`` items, in order; when memory runs out, repeat with parts of half the size.

    Parameters
    ----------
    work : callable
        Takes a slice. It may be called again for a part in which it ran out of memory, so it must not keep partial results.
    count : int
        Number of items.
    at_once : int
        Size of the first part.

    Returns
    -------
    list
        The results of ``work`` for the parts.

    Raises
    ------
    torch.OutOfMemoryError, MemoryError, RuntimeError
        The error of ``work``, if the memory does not suffice for a single item.
    """
    done: list[Result] = []
    start, step = 0, max(at_once, 1)
    while start < count:
        part = slice(start, min(start + step, count))
        try:
            done.append(work(part))
        except (RuntimeError, MemoryError) as error:
            if not _is_no_memory(error) or part.stop - part.start == 1:
                raise
            step = (part.stop - part.start) // 2
        else:
            start = part.stop
            continue
        # The cache is emptied after the except block, because the error keeps alive the frames that hold the allocated tensors.
        torch.cuda.empty_cache()
    return done


def for_parts(work: Callable[[slice], None], count: int, at_once: int) -> None:
    """Call `in_parts` for a ``work`` that stores its results itself."""
    in_parts(work, count, at_once)


def joined(parts: list[Result]) -> Result:
    """Join the embeddings of several parts: dataclasses whose fields are tensors with a row for each window."""
    if len(parts) == 1:
        return parts[0]
    made: Any = type(parts[0])
    whole: Result = made(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(made)))
    return whole


def by_cached_parts(work: Callable[[slice], Tensor], image: Tensor, into: Tensor | None = None) -> Tensor:
    """Call ``work`` for parts of the prompts, and join the results.

    On a CPU the images of a part fit the cache of a core, so that each operation finds there what the one before it wrote. On
    other devices, and where gradients are computed, all prompts are one part.

    Parameters
    ----------
    work : callable
        Takes a slice of the prompts, and returns a tensor with a row for each.
    image : tensor, shape (P, N, C)
        The images of the prompts, from whose size the number of prompts in a part is computed.
    into : tensor, optional
        Overwritten with the results where there are several parts. By default the results get memory of their own.
    """
    prompts = len(image)
    whole = image.device.type != "cpu" or torch.is_grad_enabled()
    at_once = prompts if whole else max(CACHED_BYTES // image[:1].nbytes, 1)
    first = work(slice(0, at_once))
    if at_once >= prompts:
        return first
    results = first.new_empty(prompts, *first.shape[1:]) if into is None else into
    results[:at_once] = first
    for start in range(at_once, prompts, at_once):
        part = slice(start, start + at_once)
        results[part] = work(part)
    return results


class _Placed(Protocol):
    name: str
    device: torch.device


Model = TypeVar("Model", bound=_Placed)


def explain_no_memory(
    method: Callable[Concatenate[Model, Given], Result],
) -> Callable[Concatenate[Model, Given], Result]:
    """Decorate a method of a model so that it raises a `ModelError` with a remedy when memory runs out."""

    @functools.wraps(method)
    def explaining(self: Model, /, *given: Given.args, **named: Given.kwargs) -> Result:
        try:
            return method(self, *given, **named)
        except (RuntimeError, MemoryError) as error:
            if not _is_no_memory(error):
                raise
            raise ModelError(
                f"{self.name} has no memory left on {self.device}, even for a single prompt or window. Give fewer prompts in "
                "one call, end other programs that use the device, or use a smaller model, dtype='bfloat16' or device='cpu'."
            ) from None

    return explaining


def _is_no_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in _NO_MEMORY)
