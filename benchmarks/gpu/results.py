"""What every part of the GPU kit shares: results that are written after every unit, a clock, and the arguments."""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).parents[2]


class Results:
    """A JSON file of units by name, replaced as a whole after every unit, so that a kill leaves the one before."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            self.values = {}

    def record(self, name: str, value: Any) -> None:
        """Keep what a unit gave, and write the file."""
        self.values[name] = value
        partial = self.path.with_name(f".{self.path.name}.partial")
        partial.write_text(json.dumps(self.values, indent=1, default=str), encoding="utf-8")
        os.replace(partial, self.path)  # noqa: PTH105  as one step

    def has(self, name: str) -> bool:
        """Whether a unit was measured; one that failed or was left out is tried again."""
        value = self.values.get(name)
        return isinstance(value, dict) and value.get("status") == "done"


@dataclass(frozen=True, slots=True)
class Clock:
    """The time that a part has."""

    ends: float

    @property
    def left(self) -> float:
        """Seconds that are left; below 0 when time is over."""
        return self.ends - time.monotonic()


@dataclass(frozen=True, slots=True)
class Part:
    """The arguments of a part.

    Attributes
    ----------
    out, pack : Path
    clock : Clock
    smoke : bool
        Tiny sizes, for a processor.
    device : torch.device
    network : str
    """

    out: Path
    pack: Path
    clock: Clock
    smoke: bool
    device: torch.device
    network: str

    @classmethod
    def from_arguments(cls, what: str) -> Part:
        """Read the arguments that kit.py gives."""
        parser = argparse.ArgumentParser(description=what)
        parser.add_argument("--out", type=Path, required=True)
        parser.add_argument("--pack", type=Path, required=True)
        parser.add_argument("--ends", type=float, required=True, help="of time.monotonic(), which all processes share")
        parser.add_argument("--network", default="base")
        parser.add_argument("--smoke", action="store_true")
        given = parser.parse_args()
        if os.getpgrp() == os.getpid():
            threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if device.type == "cpu" and not given.smoke:
            sys.exit("there is no CUDA device; --smoke tries the kit on a processor")
        return cls(given.out, given.pack, Clock(given.ends), given.smoke, device, given.network)


def _end_with(parent: int) -> None:
    """End this part and its children when the kit that began it is gone."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.killpg(0, signal.SIGKILL)


def wait_for(device: torch.device) -> None:
    """Wait until a device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def milliseconds(work: Callable[[], object], device: torch.device, *, repeats: int, warm: int = 2) -> dict[str, float]:
    """Return the median, least and most milliseconds of some work, to the end of what it leaves on the device."""
    times = []
    for number in range(warm + repeats):
        wait_for(device)
        start = time.perf_counter()
        work()
        wait_for(device)
        if number >= warm:
            times.append(1000 * (time.perf_counter() - start))
    return {
        "ms": round(statistics.median(times), 3),
        "least": round(min(times), 3),
        "most": round(max(times), 3),
        "repeats": repeats,
    }
