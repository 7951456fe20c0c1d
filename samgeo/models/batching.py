"""Work in parts that fit the memory: their size is chosen from what is free, and halved when it was too much."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

import torch

from samgeo.errors import ModelError

__all__ = ["explain_no_memory", "fitting", "for_parts", "in_parts", "joined"]

Result = TypeVar("Result")
Given = ParamSpec("Given")

# What torch's allocators say where they raise a plain RuntimeError: that of the CPU on Linux and on Windows, and that of MPS.
_NO_MEMORY = ("can't allocate memory", "not enough memory", "out of memory")


def fitting(device: torch.device, bytes_each: float, *, budget: float) -> int:
    """Return how many things of so many bytes to work on at once.

    On CUDA it is a power of two: the last bits of what a model says depend on how many it works on, and not on every megabyte
    that somebody else frees.

    Parameters
    ----------
    device : torch.device
        Where. On CUDA they may take half of the memory that is free or kept by torch for reuse.
    bytes_each : float
        Memory that one takes.
    budget : float
        Bytes that they may take together on other devices, whose free memory is not a limit worth going to.

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
    """Do ``work`` for parts of ``count`` things, in order; when memory runs out, again with half as many at once.

    Parameters
    ----------
    work : callable
        Takes a slice. It may be called again for a part in which it ran out of memory, so it keeps nothing before it is done.
    count : int
        How many things there are.
    at_once : int
        How many to begin with.

    Returns
    -------
    list
        What ``work`` returned for each part.

    Raises
    ------
    torch.OutOfMemoryError, MemoryError, RuntimeError
        That of ``work``, if there is no memory for a single one.
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
        # Only here is the error gone, and with it the frames that held what had been allocated.
        torch.cuda.empty_cache()
    return done


def for_parts(work: Callable[[slice], None], count: int, at_once: int) -> None:
    """Do `in_parts` where ``work`` writes its result somewhere itself."""
    in_parts(work, count, at_once)


def joined(parts: list[Result]) -> Result:
    """Join embeddings of several parts: dataclasses whose fields are tensors with a row a window."""
    if len(parts) == 1:
        return parts[0]
    made: Any = type(parts[0])
    whole: Result = made(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(made)))
    return whole


class _Placed(Protocol):
    name: str
    device: torch.device


Model = TypeVar("Model", bound=_Placed)


def explain_no_memory(
    method: Callable[Concatenate[Model, Given], Result],
) -> Callable[Concatenate[Model, Given], Result]:
    """Make a model's method say what to do when memory runs out although it works in parts.

    The method then raises a `ModelError`.
    """

    @functools.wraps(method)
    def explaining(self: Model, /, *given: Given.args, **named: Given.kwargs) -> Result:
        try:
            return method(self, *given, **named)
        except (RuntimeError, MemoryError) as error:
            if not _is_no_memory(error):
                raise
            raise ModelError(
                f"{self.name} has no memory left on {self.device}, for one prompt or window at a time either. "
                "Give fewer prompts in one call, close what else uses the device, take a smaller model or dtype='bfloat16', "
                "or device='cpu'."
            ) from None

    return explaining


def _is_no_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or any(text in str(error) for text in _NO_MEMORY)
