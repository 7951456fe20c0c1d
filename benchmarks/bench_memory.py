"""Resident memory of a run on sparse rasters of growing side, measured from outside.

    python benchmarks/bench_memory.py [--sides 5000 20000] [--window 1024] [--scheduler threads] [--folder FOLDER]

Each raster is a sparse tiled GeoTIFF of byte pixels: squares of 40 to 200 pixels, one for every 1000 x 1000 pixels (500 x 500
with smaller windows), on blocks that are not stored at all, and one road from top to bottom. The model is the oracle at windows
of 1024 pixels; with --window 512, sides of 10,000 and 30,000 pixels have as many windows as 20,000 and 60,000 have by default,
and the run takes a quarter of the time. The command runs
in a process of its own; this one samples the resident memory of it and of its children from /proc four times a second.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RUN = """
import json, sys, time
from samgeo.segmentation.api import segment_to_file
from samgeo.testing.oracle import Oracle
if __name__ == "__main__":
    start = time.perf_counter()
    window = int(sys.argv[4])
    done = segment_to_file(
        sys.argv[1], sys.argv[2], model=Oracle(window), points_per_side=32, overlap=window // 4, scheduler=sys.argv[3],
        workers=2, progress=False,
    )
    print(json.dumps([done.objects, done.windows, time.perf_counter() - start, time.process_time()]))
"""


def make_raster(path: Path, side: int, cell: int) -> int:
    """Write the raster; return how many objects it has."""
    import rasterio
    from rasterio.transform import from_origin
    from rasterio.windows import Window

    rng = np.random.default_rng(side)
    profile = {"driver": "GTiff", "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate"}
    profile |= {"interleave": "pixel", "SPARSE_OK": True, "BIGTIFF": "IF_SAFER", "count": 3, "dtype": "uint8"}
    profile |= {"crs": "EPSG:32633", "transform": from_origin(500_000, 5_400_000, 0.3, 0.3), "width": side, "height": side}
    cells = side // cell
    number = 1
    with rasterio.open(path, "w", **profile) as file:

        def draw(x: int, y: int, width: int, height: int, number: int) -> None:
            color = np.array([number & 255, (number >> 8) & 255, number >> 16], dtype=np.uint8)
            pixels = np.broadcast_to(color[:, None, None], (3, height, width))
            file.write(np.ascontiguousarray(pixels), window=Window(x, y, width, height))

        for y in range(0, side, 1024):
            draw(5, y, 12, min(1024, side - y), number)
        for row in range(cells):
            for column in range(cells):
                number += 1
                width, height = rng.integers(40, 201, 2).tolist()
                x, y = rng.integers(100, cell - 250, 2).tolist()
                draw(column * cell + x, row * cell + y, width, height, number)
    return number


def resident(pid: int) -> dict[int, float]:
    """Return the resident memory of a process and of all below it, in MiB."""
    found = {}
    try:
        status = Path(f"/proc/{pid}/status").read_text()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return found
    for line in status.splitlines():
        if line.startswith("VmRSS:"):
            found[pid] = int(line.split()[1]) / 1024
    for child in children:
        found |= resident(int(child))
    return found


def measure(image: Path, output: Path, scheduler: str, window: int) -> tuple[list[float], list[float], list[float]]:
    """Run it; return what it says, the peaks of the main process and of its largest child, and the main one's quarters."""
    command = [sys.executable, "-c", RUN, str(image), str(output), scheduler, str(window)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603
    samples: list[tuple[float, float]] = []
    while process.poll() is None:
        here = resident(process.pid)
        main = here.pop(process.pid, 0.0)
        samples.append((main, max(here.values(), default=0.0)))
        time.sleep(0.25)
    told, _ = process.communicate()
    if process.returncode:
        sys.exit(process.returncode)
    values = np.array(samples)
    quarters = [float(np.median(quarter)) for quarter in np.array_split(values[:, 0], 4)]
    return json.loads(told), values.max(axis=0).tolist(), quarters


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--window", type=int, default=1024, help="side of a window in pixels, 512 or more")
    parser.add_argument("--scheduler", default="threads", choices=["threads", "processes"])
    parser.add_argument("--folder", type=Path, help="where rasters are made; a temporary folder by default")
    options = parser.parse_args()
    cell = 1000 if options.window >= 1024 else 500
    print(
        "| side | windows | objects | s | processor s a 1000 windows | peak MiB | medians of quarters | largest worker, peak |"
    )
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        for side in options.sides:
            image = Path(folder) / f"{side}.tif"
            objects = make_raster(image, side, cell)
            (found, windows, seconds, processor), peak, quarters = measure(
                image, Path(folder) / f"{side}.parquet", options.scheduler, options.window
            )
            assert found == objects, (found, objects)
            worker = f"{peak[1]:.0f}" if peak[1] else ""
            print(
                f"| {side:,} | {windows:,} | {found:,} | {seconds:.0f} | {1000 * processor / windows:.0f} | {peak[0]:.0f} "
                f"| {', '.join(f'{one:.0f}' for one in quarters)} | {worker} |",
                flush=True,
            )
            image.unlink()


if __name__ == "__main__":
    main()
