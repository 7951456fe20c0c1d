"""Many prompts into a file: processor time and peak memory of clicks and boxes by the tens of thousands.

    python benchmarks/bench_prompts_scale.py [--clicks 10000 100000] [--boxes 100000]

The raster has 4,000 x 4,000 pixels with a square in every 40 x 40. The model is the oracle at windows of 256 pixels. Each run
is a process of its own, which says its processor time and its largest resident memory at the end.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SIDE, CELL = 4000, 40
RUN = """
import json, resource, sys, time
import numpy as np
from samgeo.segmentation import predict_to_file
from samgeo.testing.oracle import Oracle
if __name__ == "__main__":
    image, output, kind, count, side = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
    xy = np.random.default_rng(1).uniform(0, side - 20, (count, 2))
    given = {"points": xy} if kind == "clicks" else {"boxes": np.concatenate([xy, xy + 15], axis=1)}
    start = time.process_time()
    done = predict_to_file(image, output, model=Oracle(256), scales=(1,), crs="pixels", progress=False, **given)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps([done.prompts, done.objects, time.process_time() - start, peak]))
"""


def make_raster(path: Path) -> None:
    from samgeo.testing import encode_ids
    from samgeo.testing.rasters import write_raster

    labels = np.zeros((SIDE, SIDE), dtype=np.int32)
    rng, number = np.random.default_rng(0), 0
    for y in range(0, SIDE, CELL):
        for x in range(0, SIDE, CELL):
            number += 1
            width, height = rng.integers(15, CELL - 5, 2)
            labels[y + 2 : y + 2 + height, x + 2 : x + 2 + width] = number
    write_raster(path, encode_ids(labels))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clicks", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--boxes", type=int, nargs="*", default=[100_000])
    options = parser.parse_args()
    print("| prompts | number | objects | processor s | ms a prompt | peak MiB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image.tif"
        make_raster(image)
        for kind, count in [("clicks", one) for one in options.clicks] + [("boxes", one) for one in options.boxes]:
            command = [sys.executable, "-c", RUN, str(image), f"{folder}/{kind}{count}.parquet", kind, str(count), str(SIDE)]
            told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603
            prompts, objects, processor, peak = json.loads(told)
            print(
                f"| {kind} | {prompts:,} | {objects:,} | {processor:.0f} | {1000 * processor / prompts:.2f} | {peak:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
