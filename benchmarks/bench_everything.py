"""Everything mode on the Banepa mosaic: footprints found, and the time.

    SAMGEO_DATA=... python benchmarks/bench_everything.py [--model tiny] [--points-per-side 16 32] [--picture banepa.png]

Truth: the OpenStreetMap footprints of the mosaic. A footprint is found when an object of IoU 0.5 or more with it is paired with
it, the best IoU first, each object and footprint at most once. Precision is the share of all objects that are paired:
everything mode also finds roads, trees, cars and the parts of roofs, none of which is in the truth.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import geopandas as gpd
from _skip import skip

import samgeo
from samgeo.evaluation import match
from samgeo.models import keep_freed_memory

keep_freed_memory()  # as the command line does


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--points-per-side", type=int, nargs="+", default=[None], help="the model's own by default")
    parser.add_argument("--picture", type=Path, help="a PNG of the last run's objects")
    options = parser.parse_args()
    folder = Path(os.environ.get("SAMGEO_DATA", "")) / "oam-banepa-buildings"
    if not (folder / "banepa.tif").is_file():
        skip("SAMGEO_DATA does not name a folder with oam-banepa-buildings/banepa.tif.")
    truth = gpd.read_file(folder / "footprints.geojson")
    print("| points a side | objects | footprints | recall | precision | mean IoU of pairs | wall s | CPU s |")
    print("|---|---|---|---|---|---|---|---|")
    for points in options.points_per_side:
        wall, cpu = time.perf_counter(), time.process_time()
        found = samgeo.segment(
            folder / "banepa.tif", model=options.model, device=options.device, points_per_side=points, progress=False
        )
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        pairs = match(found, truth)
        used = found.attrs["samgeo"]["options"]["points_per_side"]
        print(
            f"| {used} | {pairs.found} | {pairs.truth} | {pairs.recall:.3f} | {pairs.precision:.3f} | {pairs.mean_iou:.3f} "
            f"| {wall:.0f} | {cpu:.0f} |",
            flush=True,
        )
    if options.picture is not None:
        samgeo.show(folder / "banepa.tif", found, options.picture, overwrite=True)


if __name__ == "__main__":
    main()
