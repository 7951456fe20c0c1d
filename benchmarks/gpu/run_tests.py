"""The part of the GPU kit that runs the tests marked ``gpu``, each recorded as it ends."""

from __future__ import annotations

import os
import sys
from typing import Any

from results import ROOT, Part, Results

FILES = (
    "tests/models/test_parity_on_gpu.py",
    "tests/training/test_train_on_gpu.py",
    "tests/segmentation/test_on_gpu.py",
    "tests/models/test_registry.py",
)


class Recorder:
    """Writes each test's outcome when it is known, leaves out what passed before, and stops when time is over."""

    def __init__(self, part: Part, results: Results) -> None:
        self.part, self.results = part, results

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if not self.results.has(item.nodeid)]

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            lines = str(report.longrepr).strip().splitlines()
            self.results.record(report.nodeid, {"status": "left out", "reason": lines[-1] if lines else "not collected"})

    def pytest_runtest_setup(self) -> None:
        import pytest

        if self.part.clock.left <= 0:
            pytest.exit("the time of the tests is over", returncode=0)

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.when == "call" or (report.when == "setup" and report.outcome != "passed"):
            status = {"passed": "done", "failed": "failed", "skipped": "left out"}[report.outcome]
            if "ModuleNotFoundError" in str(report.longrepr):
                status = "left out"
            value: dict[str, Any] = {"status": status, "seconds": round(report.duration, 2)}
            if report.outcome != "passed":
                value["reason"] = str(report.longrepr)[-1500:]
            self.results.record(report.nodeid, value)


def main() -> None:
    part = Part.from_arguments(__doc__)
    results = Results(part.out / "tests.json")
    try:
        import pytest
    except ImportError:
        results.record("pytest", {"status": "left out", "reason": "pytest is not installed"})
        return
    os.chdir(ROOT)
    os.environ["SAMGEO_GPU_TESTS_ON"] = part.device.type
    # Warnings of another torch than the one that is pinned are no failures here.
    given = ["-m", "gpu", "-W", "default", "-q", "-p", "no:cacheprovider", "--continue-on-collection-errors", "--tb=short"]
    files = [file for file in FILES if (ROOT / file).exists()]
    pytest.main([*given, *files], plugins=[Recorder(part, results)])
    # Files that need a package which is missing are no failures.
    sys.exit(any(value["status"] == "failed" for value in results.values.values()))


if __name__ == "__main__":
    main()
