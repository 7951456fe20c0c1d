"""Runs of many parts, and objects as tall as the raster: processor time and bytes of the run folder.

    python benchmarks/bench_runs.py [--parts 1024 3969 16129] [--rows 250 500 1000] [--scales 1 2 4] [--skip parts rivers]

Windows have 32 pixels and overlap by 8; the model is the oracle, and everything is computed in one thread. In the first table
each window is a part of its own, so that the run folder gets one file for each; "status" is `samgeo status` of the finished
folder, and "again" is the same call once more, which reads all parts. In the second table a river is as tall as the raster,
which is four windows wide, "closing" is the time in which the last row ends it, and "bytes" are those of all files
that merging the rows writes.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from samgeo.models import keep_freed_memory
from samgeo.segmentation import run_status, segment_to_file
from samgeo.segmentation.masks.piece import Segment
from samgeo.segmentation.merge.merger import Merger
from samgeo.segmentation.run import execution
from samgeo.segmentation.run.folder_layout import MERGED
from samgeo.testing import encode_ids
from samgeo.testing.oracle import Oracle
from samgeo.testing.rasters import write_raster

keep_freed_memory()  # as the command line does

WINDOW, OVERLAP = 32, 8
STEP = WINDOW - OVERLAP


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=int, nargs="+", default=[1024, 3969, 16129], help="squares of whole numbers")
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[250, 500, 1000], help="rows of windows that a river goes through"
    )
    parser.add_argument("--scales", type=int, nargs="+", default=[1, 2, 4], help="of the second run of each river")
    parser.add_argument("--skip", nargs="*", default=[], choices=["parts", "rivers"])
    options = parser.parse_args()
    if "parts" not in options.skip:
        print("| windows | objects | processor s | ms a window | status s | again s |")
        print("|---|---|---|---|---|---|")
        for windows in options.parts:
            measure_parts(windows)
        print()
    if "rivers" not in options.skip:
        print("| rows of windows | scales | objects | processor s | closing the river s | bytes of merging |")
        print("|---|---|---|---|---|---|")
        for scales, rows in itertools.product(([1], options.scales), options.rows):
            measure_river(rows, scales)


def measure_parts(windows: int) -> None:
    """Segment a raster of houses with one window in each part."""
    side = OVERLAP + STEP * round(windows**0.5)
    with tempfile.TemporaryDirectory() as folder, patch.object(execution, "PART_WINDOWS", 1):
        image = write_raster(Path(folder) / "image.tif", encode_ids(houses((side, side))))
        run = lambda: segment(image, folder, [1], overwrite=True)  # noqa: E731
        seconds, done = processor_s(run)
        status_s, told = processor_s(lambda: run_status(Path(folder) / "run"))
        assert done.windows == windows == told.done, (done, told)
        again_s, again = processor_s(run)
        assert again.continued == windows
    each_ms = 1000 * seconds / windows
    print(f"| {windows:,} | {done.objects:,} | {seconds:.1f} | {each_ms:.2f} | {status_s:.2f} | {again_s:.2f} |", flush=True)


def measure_river(rows: int, scales: list[int]) -> None:
    """Segment a raster with a river from its top to its bottom."""
    shape = (OVERLAP + STEP * rows, OVERLAP + 4 * STEP)
    labels = houses(shape)
    labels[:, 40:60] = labels.max() + 1
    finishing: list[float] = []
    finish = Merger.finish

    def measured(merger: Merger) -> list[Segment]:
        taken, closed = processor_s(lambda: finish(merger))
        finishing.append(taken)
        return closed

    with tempfile.TemporaryDirectory() as folder, patch.object(Merger, "finish", measured):
        image = write_raster(Path(folder) / "image.tif", encode_ids(labels))
        seconds, done = processor_s(lambda: segment(image, folder, scales))
        size = sum(path.stat().st_size for path in (Path(folder) / "run" / MERGED).iterdir())
    names = ", ".join(map(str, scales))
    print(
        f"| {rows:,} | {names} | {done.objects:,} | {seconds:.1f} | {finishing[-1]:.3f} | {size:,} |",
        flush=True,
    )


def houses(shape: tuple[int, int]) -> NDArray[np.int32]:
    """Return labels with a house in every 24 x 24 pixels."""
    labels = np.zeros(shape, dtype=np.int32)
    corners = itertools.product(range(4, shape[0] - 16, STEP), range(4, shape[1] - 16, STEP))
    for number, (y, x) in enumerate(corners, start=1):
        labels[y : y + 12, x : x + 12] = number
    return labels


def segment(image: Path, folder: str, scales: list[int], **options: Any) -> Any:
    """Segment with the oracle, and keep the run folder."""
    return segment_to_file(
        image,
        Path(folder) / "objects.parquet",
        model=Oracle(WINDOW),
        overlap=OVERLAP,
        scales=tuple(scales),
        points_per_side=4,
        nodata="none",
        scheduler="synchronous",
        run_dir=Path(folder) / "run",
        progress=False,
        **options,
    )


def processor_s(work: Any) -> tuple[float, Any]:
    """Return the processor seconds of a call, and its result."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


if __name__ == "__main__":
    main()
