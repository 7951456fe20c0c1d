"""Masks out of boxes, judged by the footprints that the boxes are of: mean IoU of each prompt, and the time.

    SAMGEO_DATA=... python benchmarks/bench_samrs.py [--model tiny] [--side 1024] [--out FOLDER]

Banepa: a square from the middle of the mosaic, in chips of 512 pixels; boxes of the footprints that lie in it, of at least 60
pixels. R-Box and RH-Box are of each footprint's rectangle of least area. IoU is that of polygons; masks that were kept out
count as 0 in the second mean. Crowns: the boxes of NEON's trees, which have no outlines to judge by: how many masks stay, and
how much of their boxes they fill.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
import shapely
from _skip import skip
from rasterio.shutil import copy

from samgeo.annotations import Annotations, read_annotations
from samgeo.models import keep_freed_memory
from samgeo.samrs import MadeSet, make_samrs

keep_freed_memory()  # as the command line does

MIN_AREA_PX = 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--side", type=int, default=1024, help="of the square of Banepa, in pixels")
    parser.add_argument("--out", type=Path, help="where to keep the data sets")
    options = parser.parse_args()
    data = Path(os.environ.get("SAMGEO_DATA", ""))
    if not (data / "oam-banepa-buildings" / "banepa.tif").is_file():
        skip("SAMGEO_DATA does not name a folder with oam-banepa-buildings/banepa.tif.")
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        banepa(data / "oam-banepa-buildings", out, options.model, options.side)
        crowns(data / "neon-tree-crowns", out, options.model)


def banepa(folder: Path, out: Path, model: str, side: int) -> None:
    image = out / "banepa.tif"
    with rasterio.open(folder / "banepa.tif") as file:
        x, y = ((length - side) // 2 for length in (file.width, file.height))
    copy(f"vrt://{folder / 'banepa.tif'}?srcwin={x},{y},{side},{side}", str(image), driver="GTiff", compress="deflate")
    table = read_annotations(folder / "footprints.geojson", images=image, class_name="building")
    shapes = shapely.make_valid(table.shapes)
    inside = shapely.within(shapes, shapely.box(0, 0, side, side)) & (shapely.area(shapes) >= MIN_AREA_PX)
    table, truth = table.take(inside), shapes[inside]
    oriented = replace(table, corners_px=table.rboxes_px())
    print(f"Banepa, {side} x {side} pixels, {len(table)} footprints")
    print("| prompt | masks | kept out | cut | mean IoU | with those kept out | median | s |")
    print("|---|---|---|---|---|---|---|---|")
    for prompt, given in (("hbox", table), ("rhbox", oriented), ("rbox", oriented)):
        start = time.perf_counter()
        made = make(image, given, out / f"banepa-{prompt}", model, prompt=prompt, chip=512, polygons=True)
        seconds = time.perf_counter() - start
        cut = sum(count for reason, count in made.statistics["rejected"].items() if reason.startswith("cut"))
        ious = iou(made.path, image, truth)
        asked = len(table) - cut
        print(
            f"| {prompt} | {len(ious)} | {asked - len(ious)} | {cut} | {ious.mean():.3f} | {ious.sum() / asked:.3f} | "
            f"{np.median(ious):.3f} | {seconds:.1f} |"
        )


def crowns(folder: Path, out: Path, model: str) -> None:
    table = read_annotations(folder, format="voc", images=folder)
    made = make(folder, table, out / "crowns", model)
    kept = read_annotations(made.path / "instances" / "all.json")
    shares = np.array([shape.area for shape in kept.shapes]) / (kept.boxes_px[:, 2:] - kept.boxes_px[:, :2]).prod(axis=1)
    print(
        f"Crowns: {made.instances} masks of {len(table)} boxes in {made.pictures} images; they fill {np.median(shares):.2f} of "
        "their boxes (median; an ellipse fills 0.79)"
    )


def make(images: Path, table: Annotations, out: Path, model: str, **options: object) -> MadeSet:
    return make_samrs(images, table, out, model=model, progress=False, **options)


def iou(folder: Path, image: Path, truth: np.ndarray) -> np.ndarray:
    """IoU of the whole objects with the footprints that they were asked for."""
    objects = gpd.read_parquet(folder / "polygons.parquet")
    with rasterio.open(image) as file:
        found = objects.geometry.affine_transform((~file.transform).to_shapely()).to_numpy()
    wanted = truth[objects.annotation]
    shared = shapely.area(shapely.intersection(shapely.make_valid(found), wanted))
    return shared / (shapely.area(found) + shapely.area(wanted) - shared)


if __name__ == "__main__":
    main()
