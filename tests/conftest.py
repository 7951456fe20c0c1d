"""What all tests share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

# Models of the type "auto" compute in float32 on every processor, so that tests see the same masks everywhere. This must be set
# before torch is imported, and processes that tests start inherit it.
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_VNNI")

from samgeo.models import keep_freed_memory

if TYPE_CHECKING:
    from xdist.scheduler import WorkStealingScheduling

# As the command line does: models on a processor are faster for it.
keep_freed_memory()

# Files with tests that take long, the longest first. A long test that starts last keeps one worker busy while others are idle.
LONG_FIRST = (
    "test_notebooks.py",
    "test_run_kills.py",
    "test_hostile_runs.py",
    "test_hostile_rasters.py",
    "test_hostile_vectors.py",
    "test_cluster.py",
    "test_gpu_kit.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    ranks = {name: rank for rank, name in enumerate(LONG_FIRST)}
    items.sort(key=lambda item: ranks.get(item.path.name, len(ranks)))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> WorkStealingScheduling | None:
    """Give each worker consecutive tests, so that fixtures of a module are made once, and idle workers the rest of others.

    A ``--dist`` other than the default of ``-n`` is left as it is.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)
