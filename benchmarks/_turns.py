"""Ways of doing the same thing, timed in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Seconds:
    """Seconds of a way.

    Attributes
    ----------
    wall : float
        On the clock. On a machine that others use, it depends on what they do.
    processor : float
        Of all cores that this process used. Compare ways by it.
    """

    wall: float
    processor: float


def in_turns(repeats: int, *, warm: bool = False, **works: Callable[[], object]) -> dict[str, Seconds]:
    """Return the median seconds of each, run in turns after one round that does not count, unless they are warm."""
    times: dict[str, list[Seconds]] = {name: [] for name in works}
    for round_ in range(repeats if warm else repeats + 1):
        for name, work in works.items():
            wall, processor = time.perf_counter(), time.process_time()
            work()
            if warm or round_:
                times[name].append(Seconds(time.perf_counter() - wall, time.process_time() - processor))
    return {
        name: Seconds(statistics.median(one.wall for one in taken), statistics.median(one.processor for one in taken))
        for name, taken in times.items()
    }


def say(what: str, seconds: Mapping[str, Seconds]) -> None:
    """Print a table: each way, its milliseconds, and its processor time as a multiple of that of the first."""
    ours = next(iter(seconds.values()))
    print(f"\n{what}\n\n| way | wall ms | processor ms | times ours |\n|---|---|---|---|")
    for name, one in seconds.items():
        ratio = one.processor / max(ours.processor, 1e-9)
        print(f"| {name.replace('_', ' ')} | {1000 * one.wall:.2f} | {1000 * one.processor:.2f} | {ratio:.2f} |", flush=True)
