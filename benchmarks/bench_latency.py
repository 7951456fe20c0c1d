"""Latency of the bundled model: encoding a window, and decoding a hundred prompts, beside what their arithmetic takes at best.

Then the same prompts with the compiled library and by torch alone, in turns, up to the predicted IoU and with their masks.
Then clicks anywhere and boxes of buildings, drawn where masks are expected and in the whole window, in turns: the same masks.
Then everything of a window in float32 and in bfloat16, in turns, and how much the masks differ; with SAMGEO_DATA also for
windows of real imagery.

python benchmarks/bench_latency.py [--model tiny] [--device auto] [--dtype auto] [--threads 2]
                                   [--parts floor compiled regions types]
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import rasterio
import torch
from _roofline import flops_of, peak_flops, without_compiled
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
PARTS = ("floor", "compiled", "regions", "types")
# Points a side, and the gate, of everything mode with the bundled model.
SIDE_POINTS, GATE = 24, 0.55
WINDOWS = 8


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


def compare_compiled(model: Tiny, embedding: Any, what: str, **prompts: Any) -> None:
    """Time prompts with the compiled library and without it."""
    window = model.network.window(embedding)
    names = ("points", "labels", "boxes", "masks")
    given = [torch.from_numpy(prompts[name]) if name in prompts else None for name in names]

    @torch.inference_mode()
    def judged() -> None:
        for start in range(0, CLICKS, 16):
            model.network.decode(window, *(None if one is None else one[start : start + 16] for one in given))

    def drawn() -> None:
        model.decode(embedding, **prompts)

    def by_torch(work: Callable[[], None]) -> None:
        with without_compiled():
            work()

    say(f"{what}, up to the predicted IoU", in_turns(REPEATS // 2, compiled=judged, torch=partial(by_torch, judged)))
    say(f"{what}, with masks", in_turns(REPEATS // 3, compiled=drawn, torch=partial(by_torch, drawn)))


def compare_types(name: str, device: str, windows: dict[str, list[np.ndarray]]) -> None:
    """Time a window with a lattice of points in both types, and compare the masks that pass the gate."""
    models = {dtype: samgeo.load_model(name, device=device, dtype=dtype) for dtype in ("float32", "bfloat16")}
    side = models["float32"].input_size
    lattice = (np.arange(SIDE_POINTS) + 0.5) / SIDE_POINTS * side
    clicks = np.stack(np.meshgrid(lattice, lattice), -1).reshape(-1, 1, 2).astype(np.float32)
    points: dict[str, Any] = {"points": clicks, "labels": np.ones((len(clicks), 1), np.int64)}
    first = next(iter(windows.values()))[0][None]
    embeddings = {dtype: model.embed(first)[0] for dtype, model in models.items()}
    say(
        f"encode a window of {side} px",
        in_turns(REPEATS // 3, **{key: partial(one.embed, first) for key, one in models.items()}),
    )
    gated = {
        key: partial(one.decode_gated, embeddings[key], min_iou=GATE, **points)  # type: ignore[attr-defined]
        for key, one in models.items()
        if hasattr(one, "decode_gated")
    }
    say(f"decode {len(clicks)} points, drawn above {GATE}", in_turns(REPEATS // 5, **gated))
    print("\nmasks in both types\n\n| place | windows | masks | in bfloat16 | mean IoU | median | 5th percentile |")
    print("|---|---|---|---|---|---|---|")
    for place, images in windows.items():
        ious, exact, rounded = [], 0, 0
        for image in images:
            answers = (one.decode(one.embed(image[None])[0], **points) for one in models.values())
            (logits, scores), (close, close_scores) = answers
            passing = scores > GATE
            exact, rounded = exact + int(passing.sum()), rounded + int((close_scores > GATE).sum())
            masks, same = (logits > 0)[passing], (close > 0)[passing]
            union = (masks | same).sum((1, 2))
            ious.append(((masks & same).sum((1, 2))[union > 0] / union[union > 0]).cpu().numpy())
        iou = np.concatenate(ious)
        cells = f"{iou.mean():.4f} | {np.median(iou):.4f} | {np.quantile(iou, 0.05):.4f}"
        print(f"| {place} | {len(images)} | {exact} | {rounded} | {cells} |", flush=True)


def real_windows(side: int) -> dict[str, list[np.ndarray]]:
    """Return the middles of some images of the folder in SAMGEO_DATA; nothing without it."""
    folder = os.environ.get("SAMGEO_DATA")
    places = {"Banepa": "oam-banepa-buildings/**/*.tif", "Dubai": "dubai-semseg/**/*.jpg"}
    found: dict[str, list[np.ndarray]] = {}
    for place, pattern in places.items() if folder else ():
        for path in sorted(Path(str(folder)).glob(pattern)):
            with rasterio.open(path) as file:
                if min(file.shape) < side or file.dtypes[0] != "uint8":
                    continue
                row, column = ((length - side) // 2 for length in file.shape)
                window = rasterio.windows.Window(column, row, side, side)
                image = np.ascontiguousarray(np.moveaxis(file.read([1, 2, 3], window=window), 0, -1))
            if (image.max(-1) == 0).mean() < 0.1:
                found.setdefault(place, []).append(image)
            if len(found.get(place, ())) == WINDOWS:
                break
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = samgeo.load_model(options.model, device=options.device, dtype=options.dtype)
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
    if "floor" in options.parts:
        peak = peak_flops(model.device, model.dtype)
        print(f"a large matrix product: {peak / 1e9:,.0f} GFLOP/s in {model.dtype}")
        works: dict[str, Callable[[], object]] = {f"encode a window of {side} px": lambda: model.embed(image)}
        works |= {f"decode {what}": partial(model.decode, embedding, **given) for what, given in prompts.items()}
        for name, work in works.items():
            taken, gflop = median_ms(work), flops_of(work) / 1e9
            least = 1e12 * gflop / peak
            print(f"{name}: {taken:.0f} ms, {taken / least:.1f} times the {least:.0f} ms of its {gflop:.1f} GFLOP", flush=True)
    if "compiled" in options.parts and isinstance(model, Tiny):
        for what, given in prompts.items():
            compare_compiled(model, embedding, what, **given)
    if "regions" in options.parts and isinstance(model, Tiny):
        for what, given in prompts.items():
            compare_regions(model, embedding, what, **given)
    if "types" in options.parts:
        towns = [town((side, side), seed=seed).image for seed in range(1, 5)]
        compare_types(options.model, options.device, {"towns": towns, **real_windows(side)})


if __name__ == "__main__":
    main()
