"""Rasters of many files: processor time and open files until the first window is segmented.

    python benchmarks/bench_many_files.py [--tiles 10000] [--items 1000]

Tiles of 64 x 64 pixels lie side by side, given as a VRT, as a list in a text file, and the first of them as a STAC
ItemCollection. Each is opened, its windows are planned, and the first window is segmented by the oracle, in a process of its
own.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin

TILE = 64
RUN = """
import json, os, sys, time
from samgeo.segmentation.request import Request, open_job
from samgeo.segmentation.windows.worker import segment_window
from samgeo.segmentation.api import segment
from samgeo.testing.oracle import Oracle
import inspect
if __name__ == "__main__":
    given = {name: one.default for name, one in inspect.signature(segment).parameters.items()}
    given |= {"image": sys.argv[1], "model": Oracle(256), "points_per_side": 16, "scheduler": "synchronous"}
    import samgeo
    wall, processor = time.perf_counter(), time.process_time()
    job = open_job(Request.of(given))
    opened = time.perf_counter() - wall
    segment_window(job.raster, job.model, job.plan, (0, 0))
    files = len(os.listdir("/proc/self/fd"))
    print(json.dumps([len(job.levels), opened, time.perf_counter() - wall, time.process_time() - processor, files]))
"""


def make_tiles(folder: Path, count: int) -> list[Path]:
    """Write tiles side by side, in rows of a hundred; return their paths."""
    rng = np.random.default_rng(0)
    profile = {"driver": "GTiff", "width": TILE, "height": TILE, "count": 3, "dtype": "uint8", "crs": "EPSG:32633"}
    paths = []
    for number in range(count):
        row, column = divmod(number, 100)
        place = from_origin(500_000 + column * TILE * 0.5, 5_400_000 - row * TILE * 0.5, 0.5, 0.5)
        paths.append(folder / f"{number:06d}.tif")
        with rasterio.open(paths[-1], "w", transform=place, **profile) as file:
            file.write(rng.integers(0, 3, (3, 1, 1), dtype=np.uint8).repeat(TILE, 1).repeat(TILE, 2))
    return paths


def make_vrt(path: Path, tiles: list[Path]) -> None:
    """Write a VRT of tiles, as gdalbuildvrt does."""
    rows, columns = -(-len(tiles) // 100), min(len(tiles), 100)
    bands = []
    for band in (1, 2, 3):
        sources = "".join(
            f"<SimpleSource><SourceFilename relativeToVRT='1'>{tile.name}</SourceFilename><SourceBand>{band}</SourceBand>"
            f"<SourceProperties RasterXSize='{TILE}' RasterYSize='{TILE}' DataType='Byte' BlockXSize='{TILE}' BlockYSize='42'/>"
            f"<SrcRect xOff='0' yOff='0' xSize='{TILE}' ySize='{TILE}'/><DstRect xOff='{number % 100 * TILE}' "
            f"yOff='{number // 100 * TILE}' xSize='{TILE}' ySize='{TILE}'/></SimpleSource>"
            for number, tile in enumerate(tiles)
        )
        bands.append(f"<VRTRasterBand dataType='Byte' band='{band}'>{sources}</VRTRasterBand>")
    path.write_text(
        f"<VRTDataset rasterXSize='{columns * TILE}' rasterYSize='{rows * TILE}'><SRS>EPSG:32633</SRS>"
        f"<GeoTransform>500000, 0.5, 0, 5400000, 0, -0.5</GeoTransform>{''.join(bands)}</VRTDataset>"
    )


def make_collection(path: Path, tiles: list[Path]) -> None:
    """Write an ItemCollection with an Item for each tile."""
    features = [
        {
            "type": "Feature",
            "stac_version": "1.0.0",
            "id": tile.stem,
            "properties": {"datetime": "2024-01-01T00:00:00Z"},
            "geometry": None,
            "links": [],
            "assets": {"visual": {"href": f"./{tile.name}", "type": "image/tiff", "roles": ["visual"]}},
        }
        for tile in tiles
    ]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=1_000)
    options = parser.parse_args()
    print("| raster | files | windows | planned s | and first window s | processor s | open files at the end |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        tiles = make_tiles(folder, options.tiles)
        make_vrt(folder / "all.vrt", tiles)
        (folder / "all.txt").write_text("\n".join(tile.name for tile in tiles) + "\n")
        make_collection(folder / "items.json", tiles[: options.items])
        for name, what, files in (
            ("all.vrt", "VRT", len(tiles)),
            ("all.txt", "list of files", len(tiles)),
            ("items.json", "STAC ItemCollection", min(options.items, len(tiles))),
        ):
            command = [sys.executable, "-c", RUN, str(folder / name)]
            told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout  # noqa: S603
            windows, planned, first, processor, open_files = json.loads(told)
            print(
                f"| {what} | {files:,} | {windows:,} | {planned:.1f} | {first:.1f} | {processor:.1f} | {open_files} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
