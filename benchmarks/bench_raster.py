"""A whole raster end to end with the bundled model: the wall time, and where it goes.

    python benchmarks/bench_raster.py [--size 2048 4096] [--size 8192] [--workers 1 2] [--model tiny] [--device auto]

The raster is a tiled GeoTIFF of generated towns; everything else is the default. A share is of the time of all stages in all
threads. The model's idle share is that of the wall time, from opening the raster to the file written, in which no thread
encoded or decoded.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import samgeo
from samgeo.segment.profile import profiling
from samgeo.testing.rasters import write_raster
from samgeo.testing.scenes import town

TOWN = 1024


def towns(shape: tuple[int, int]) -> np.ndarray:
    """Four towns, again and again, over an image of any size."""
    corners = [town((TOWN, TOWN), seed=seed).image for seed in range(1, 5)]
    four = np.vstack([np.hstack(corners[:2]), np.hstack(corners[2:])])
    times = [-(-length // len(four)) for length in shape]
    return np.ascontiguousarray(np.tile(four, (*times, 1))[: shape[0], : shape[1]])


def report(size: tuple[int, int], model: Any, workers: int, folder: Path) -> None:
    image, objects = folder / "towns.tif", folder / "objects.parquet"
    processor = time.process_time()
    with profiling() as profile:
        found = samgeo.segment(image, objects, model=model, workers=workers, progress=False, overwrite=True)
    processor = time.process_time() - processor
    each = profile.wall / (size[0] * size[1] / 1e6)
    print(
        f"\n{size[0]:,} x {size[1]:,} pixels, {workers} workers, {model.name} on {model.device}: {len(found):,} objects in "
        f"{profile.wall:.1f} s ({processor:.0f} s of processor), {each:.1f} s a megapixel\n"
    )
    print("| stage | calls | s | share |\n|---|---|---|---|")
    total = sum(one.seconds for one in profile.stages)
    for one in sorted(profile.stages, key=lambda one: -one.seconds):
        print(f"| {one.name} | {one.calls:,} | {one.seconds:.2f} | {one.seconds / total:.1%} |")
    outside = f"outside encode and decode: {profile.outside_model:.1%}"
    print(f"\n{outside}; the model idle: {profile.model_idle:.1%} of the wall time", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", type=int, nargs="+", action="append", help="height and width, or a side; 2048 4096 by default"
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[2], help="threads, a run for each")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    options = parser.parse_args()
    model = samgeo.load_model(options.model, device=options.device)
    with tempfile.TemporaryDirectory() as folder:
        for given in options.size or [[2048, 4096]]:
            size = (given[0], given[-1])
            tiles = {"tiled": True, "blockxsize": 512, "blockysize": 512, "compress": "deflate"}
            write_raster(Path(folder) / "towns.tif", towns(size), **tiles)
            for workers in options.workers:
                report(size, model, workers, Path(folder))


if __name__ == "__main__":
    main()
