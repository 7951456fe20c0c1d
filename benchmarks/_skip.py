"""What a benchmark says where it cannot run."""

from __future__ import annotations

import sys
from typing import NoReturn


def skip(reason: str) -> NoReturn:
    """Leave the benchmark out; the others of ``make bench`` go on."""
    print(f"skipped: {reason}")
    sys.exit(0)
