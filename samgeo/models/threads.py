"""On how many cores of a CPU a model computes in the thread that calls it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from samgeo.errors import OptionError

__all__ = ["check_threads", "computing_in"]


def check_threads(threads: int | None) -> int | None:
    """Check a number of threads; None stands for torch's own choice.

    Raises
    ------
    OptionError
        If it is no number, or less than 1.
    """
    if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
        raise OptionError(f"threads is {threads!r}; give 1 or more, or None for as many as torch takes.")
    return threads


@contextmanager
def computing_in(threads: int | None) -> Iterator[None]:
    """Have torch compute in so many threads within, where it is called from this thread; None leaves it alone.

    The threads of one computation wait for each other at every step: where others use the same cores, several are slower than
    one, by much. And the last bits of a result depend on how many there are.
    """
    import torch

    before = torch.get_num_threads()
    if threads is None or threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
