"""Latency of the bundled model: encoding a window, and decoding a hundred prompts, beside what their arithmetic takes at best.

Then clicks anywhere and boxes of buildings, drawn where masks are expected and in the whole window, in turns: the same masks.

python benchmarks/bench_latency.py [--model tiny] [--device auto] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from _roofline import flops_of, peak_flops
from _turns import in_turns, say
from scipy.ndimage import find_objects

import samgeo
from samgeo.models import keep_freed_memory
from samgeo.models.tiny import Tiny
from samgeo.models.tiny.mask_regions import BACKGROUND
from samgeo.synthetic import town
from samgeo.training.data.simulated_prompts import centre_click

keep_freed_memory()  # as the command line does

REPEATS, CLICKS = 15, 100


def median_ms(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def compare_regions(model: Any, embedding: Any, what: str, **prompts: Any) -> None:
    def regions() -> torch.Tensor:
        logits: torch.Tensor = model.decode(embedding, **prompts)[0]
        return logits

    def whole_window() -> torch.Tensor:
        with patch("samgeo.models.tiny.mask_regions.SIDES", ()):
            return regions()

    some, whole = regions(), whole_window()
    differing = ((some > 0) != (whole > 0)).flatten(2).any(2)
    drawn = (some != BACKGROUND).float().mean()
    print(f"\n{what}: {drawn:.0%} of the pixels have logits; {int(differing.sum())} of {differing.numel()} masks differ")
    say(what, in_turns(REPEATS // 3, regions=regions, whole_window=whole_window))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = samgeo.load_model(options.model, device=options.device)
    side = model.input_size
    scene = town((side, side), seed=1)
    image = scene.image[None]
    embedding = model.embed(image)[0]
    anywhere = np.random.default_rng(0).uniform(0, side, (CLICKS, 1, 2)).astype(np.float32)
    # A window has fewer buildings than a hundred: some are asked for twice.
    found = [np.array([x.start, y.start, x.stop, y.stop], np.float32) for y, x in filter(None, find_objects(scene.labels))]
    boxes = np.resize(found, (CLICKS, 4))
    clicks = [centre_click(scene.labels == number)[0] for number in np.unique(scene.labels) if number]
    on_buildings = np.resize(np.array(clicks, np.float32), (CLICKS, 1, 2))
    labels = np.ones((CLICKS, 1), dtype=np.int64)
    prompts: dict[str, dict[str, Any]] = {
        f"{CLICKS} clicks anywhere": {"points": anywhere, "labels": labels},
        f"{CLICKS} clicks on buildings": {"points": on_buildings, "labels": labels},
        f"{CLICKS} boxes of buildings": {"boxes": boxes, "multimask": False},
    }
    peak = peak_flops(model.device, model.dtype)
    print(f"a large matrix product: {peak / 1e9:,.0f} GFLOP/s in {model.dtype}")
    works: dict[str, Callable[[], object]] = {f"encode a window of {side} px": lambda: model.embed(image)}
    works |= {f"decode {what}": partial(model.decode, embedding, **given) for what, given in prompts.items()}
    for name, work in works.items():
        taken, gflop = median_ms(work), flops_of(work) / 1e9
        least = 1e12 * gflop / peak
        print(f"{name}: {taken:.0f} ms, {taken / least:.1f} times the {least:.0f} ms of its {gflop:.1f} GFLOP", flush=True)
    if isinstance(model, Tiny):
        for what, given in prompts.items():
            compare_regions(model, embedding, what, **given)


if __name__ == "__main__":
    main()
