"""Ways of doing the same thing, timed in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def in_turns(repeats: int, *, warm: bool = False, **works: Callable[[], object]) -> dict[str, float]:
    """Return the median seconds of each, run in turns after one round that does not count, unless they are warm."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for round_ in range(repeats if warm else repeats + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if warm or round_:
                times[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def say(what: str, seconds: dict[str, float]) -> None:
    """Print a table: each way, its milliseconds, and how many times those of the first."""
    ours = next(iter(seconds.values()))
    print(f"\n{what}\n\n| way | ms | times ours |\n|---|---|---|")
    for name, value in seconds.items():
        print(f"| {name.replace('_', ' ')} | {1000 * value:.2f} | {value / ours:.1f} |", flush=True)
