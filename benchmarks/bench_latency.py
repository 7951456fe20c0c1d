"""Latency of the bundled model: encoding one window, and decoding a hundred clicks, beside what their arithmetic takes at best.

python benchmarks/bench_latency.py [--model tiny] [--device auto] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from _roofline import flops_of, peak_flops

import samgeo
from samgeo.testing.scenes import town

REPEATS, CLICKS = 15, 100


def median_ms(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = samgeo.load_model(options.model, device=options.device)
    side = model.input_size
    image = town((side, side), seed=1).image[None]
    embedding = model.embed(image)[0]
    points = np.random.default_rng(0).uniform(0, side, (CLICKS, 1, 2)).astype(np.float32)
    labels = np.ones((CLICKS, 1), dtype=np.int64)
    peak = peak_flops(model.device, model.dtype)
    print(f"a large matrix product: {peak / 1e9:,.0f} GFLOP/s in {model.dtype}")
    works: dict[str, Callable[[], object]] = {
        f"encode a window of {side} px": lambda: model.embed(image),
        f"decode {CLICKS} clicks": lambda: model.decode(embedding, points=points, labels=labels),
    }
    for name, work in works.items():
        taken, gflop = median_ms(work), flops_of(work) / 1e9
        least = 1e12 * gflop / peak
        print(f"{name}: {taken:.0f} ms, {taken / least:.1f} times the {least:.0f} ms of its {gflop:.1f} GFLOP", flush=True)


if __name__ == "__main__":
    main()
