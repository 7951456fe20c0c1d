"""Freed memory is kept where nobody said otherwise; each case in a process of its own, for it changes the whole process."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from samgeo.models.allocator import DECIDING

# Blocks of 16 MB, as a layer's activations are, written and freed in turns: how many pages the system had to map anew.
CODE = """
import resource
import numpy as np
from samgeo.models.allocator import keep_freed_memory

def mapped():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        blocks = [np.ones(1 << 22, dtype=np.float32) for _ in range(6)]
        del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

mapped()
before = mapped()
done = keep_freed_memory()
mapped()
print(done, before, mapped())
"""

# Every second block is kept, so that the others cannot be returned by themselves.
RETURNING = """
import numpy as np
from samgeo.models import allocator

def resident():
    return int(open("/proc/self/statm").read().split()[1])

def look():
    allocator._watch._due = 0.0
    return allocator.return_freed_memory()

allocator.keep_freed_memory()
allocator._watch.returned()
blocks = [np.ones(1 << 17) for _ in range(200)]
kept, blocks = blocks[::2], None
before = resident()
few = look()
allocator.GROWN_AT_MOST = 50 << 20
early = allocator.return_freed_memory()
print(few, early, look(), look(), before, resident())
"""

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")


def kept(**environment: str) -> tuple[bool, int, int]:
    own = {name: value for name, value in os.environ.items() if name not in DECIDING}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=own | environment, check=True, capture_output=True, text=True)  # noqa: S603
    said, before, after = done.stdout.split()
    return said == "True", int(before), int(after)


@glibc
def test_pages_are_mapped_once():
    done, before, after = kept()
    assert done
    assert after < before / 10


@glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_what_somebody_set_stays(name):
    done, before, after = kept(**{name: "131072"})
    assert not done
    assert after > before / 2 > 0


@glibc
def test_memory_between_blocks_that_are_kept_is_returned_where_it_is_much():
    own = {name: value for name, value in os.environ.items() if name not in DECIDING}
    done = subprocess.run([sys.executable, "-c", RETURNING], env=own, check=True, capture_output=True, text=True)  # noqa: S603
    few, early, first, second, before, after = done.stdout.split()
    assert (few, early, first, second) == ("False", "False", "True", "False")
    assert int(before) - int(after) > 80 * 256  # pages of 4 KiB: 80 of the 100 MiB that were freed
