"""Memory that the process has freed: it is kept for reuse, and what is left of it over time is returned to the system."""

from __future__ import annotations

import ctypes
import functools
import mmap
import os
import platform
import threading
import time
from pathlib import Path

__all__ = ["keep_freed_memory", "return_freed_memory"]

# Parameters of glibc's mallopt, from malloc.h.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3

# Environment variables with which users configure the allocator. If one is set, their choice is kept.
DECIDING = frozenset({"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"})

# The activations of a window have up to 40 MB. Larger arrays, such as rasters, are still returned to the system at once.
LARGEST_KEPT = 64 << 20
KEPT_AT_MOST = 512 << 20

# Freed memory is returned when the process has grown by GROWN_AT_MOST since the last time, which is looked at once in
# LOOK_SECONDS: less of it is about to be used again, and mapping it again takes time.
GROWN_AT_MOST = 512 << 20
LOOK_SECONDS = 30.0
STATM = Path("/proc/self/statm")


@functools.cache
def keep_freed_memory() -> bool:
    """Make the C library keep freed blocks of up to 64 MB for reuse, up to half a gigabyte for each thread.

    Each layer of a network frees tens of megabytes, and the next layer allocates as many. By default glibc returns them to the
    system in between, which then has to find, clear and map every page again: on a virtual machine this took three times as
    long as the arithmetic of the encoder.

    It changes the whole process, so that samgeo does it only where it is asked: the command line and worker processes of
    samgeo's own pools call it, and a notebook or program may (docs/decisions/0014). Further calls do nothing. Elsewhere
    than with glibc, and where ``MALLOC_TRIM_THRESHOLD_``, ``MALLOC_MMAP_THRESHOLD_`` or ``GLIBC_TUNABLES`` say what somebody
    else wants, nothing is done.

    Returns
    -------
    bool
        Whether it was done.

    Examples
    --------
    >>> from samgeo.models import keep_freed_memory
    >>> keep_freed_memory() in (True, False)
    True
    """
    if DECIDING & os.environ.keys() or platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    done = [library.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT), library.mallopt(M_TRIM_THRESHOLD, KEPT_AT_MOST)]
    return all(done)


class _Watch:
    """Says when the process has grown."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._due = time.monotonic() + LOOK_SECONDS
        self._least = 0  # resident bytes after memory was returned

    def has_grown(self) -> bool:
        """Return whether it has grown, to one of the threads that ask after the time has passed, and False to the others."""
        with self._lock:
            now = time.monotonic()
            if now < self._due:
                return False
            self._due = now + LOOK_SECONDS
            return _resident() > self._least + GROWN_AT_MOST

    def returned(self) -> None:
        """Take the present size as that from which the process grows."""
        with self._lock:
            self._least = _resident()


_watch = _Watch()


def _resident() -> int:
    """Return the bytes of this process that are in main memory."""
    return int(STATM.read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


@functools.cache
def _library() -> ctypes.CDLL | None:
    """Return the C library if it is glibc on Linux, and the allocator has no settings of others."""
    if DECIDING & os.environ.keys() or platform.libc_ver()[0] != "glibc" or not STATM.exists():
        return None
    return ctypes.CDLL(None)


def return_freed_memory() -> bool:
    """Return the memory that this process has freed to the system, if the process has grown by half a gigabyte.

    Between blocks that are kept for long, such as embeddings, glibc leaves blocks that were freed. Over thousands of windows
    they add up to as much as the process needs itself. Nothing is done within thirty seconds of the last look, elsewhere than
    with glibc on Linux, and where the environment has settings of the allocator (see `keep_freed_memory`).

    Returns
    -------
    bool
        Whether it was done.

    Examples
    --------
    >>> from samgeo.models.allocator import return_freed_memory
    >>> return_freed_memory() in (True, False)
    True
    """
    if (library := _library()) is None or not _watch.has_grown():
        return False
    library.malloc_trim(0)
    _watch.returned()
    return True
