"""Prompts from heights (`prompts_from` of `samgeo.segment`) beside everything mode with `filter_by_height`.

    SAMGEO_DATA=... python benchmarks/bench_raster_prompts.py [--seeds 20:24] [--pictures FOLDER]

Alexandria: a surface model of 2 m is the image, and heights above the ground are the prompts; the truth is 84 footprints, and
objects within their convex hull are counted. Towns: the image has 0.3 m, and the heights of the roofs 1 m, with noise of
0.15 m; footprints of 8 square metres and more are the truth.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import numpy as np
import rasterio
from rasterio.features import rasterize

import samgeo
from samgeo.buildings import filter_by_height
from samgeo.evaluation import match
from samgeo.geo.vector import read_vectors
from samgeo.models import keep_freed_memory
from samgeo.segmentation import RasterPrompts
from samgeo.synthetic import Scene, town

keep_freed_memory()  # as the command line does

Judged = dict[str, list[tuple[int, float, float, float, float, float]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", default="20:24", help="first seed of the towns, and the one after the last")
    parser.add_argument("--pictures", type=Path, help="a folder for pictures of the results")
    options = parser.parse_args()
    data = Path(os.environ.get("SAMGEO_DATA", "")) / "dc-dsm-dtm"
    if (data / "dsm.tif").is_file():
        alexandria(data, options.pictures)
    first, last = map(int, options.seeds.split(":"))
    towns(range(first, last), options.pictures)


def alexandria(data: Path, pictures: Path | None) -> None:
    truth = read_vectors(data / "buildings.geojson", crs="EPSG:26918")
    hull = truth.union_all().convex_hull.buffer(4)
    heights = data / "hag.tif"

    def found(prompts: RasterPrompts | None) -> gpd.GeoDataFrame:
        result = samgeo.segment(data / "dsm.tif", zoom=4, aoi=hull, prompts_from=prompts, progress=False)
        return result[result.representative_point().within(hull)]

    rows: Judged = {}
    print("\nAlexandria, zoom 4, IoU 0.3 and 0.5\n")
    everything = timed(rows, "everything", lambda: found(None), truth, (0.3, 0.5))
    timed(rows, "everything, `filter_by_height`", lambda: filter_by_height(everything, heights), truth, (0.3, 0.5))
    ways = {
        "prompts, valleys of 1 m": RasterPrompts(heights),
        "prompts, steps of 1 m": RasterPrompts(heights, split="steps"),
        "prompts, steps of 0.5 m": RasterPrompts(heights, split="steps", prominence=0.5),
        "DSM minus DTM, steps of 0.5 m": RasterPrompts(data / "dsm.tif", data / "dtm.tif", split="steps", prominence=0.5),
    }
    for name, prompts in ways.items():
        result = timed(rows, name, lambda prompts=prompts: found(prompts), truth, (0.3, 0.5))
        if pictures is not None:
            samgeo.show(heights, result, pictures / f"{name.split(',')[1].strip()}.png", fill=False, overwrite=True)
    table(rows, (0.3, 0.5))


def towns(seeds: range, pictures: Path | None) -> None:
    rows: Judged = {}
    for seed in seeds:
        scene, folder = town((640, 640), seed=seed), Path(tempfile.mkdtemp())
        image, heights = scene.save(folder / "town.tif"), write_heights(scene, seed, folder / "heights.tif")
        truth = scene.footprints[scene.footprints.area > 8]
        found = timed(rows, "everything", lambda image=image: samgeo.segment(image, progress=False), truth, (0.5, 0.8))
        timed(rows, "everything, `filter_by_height`", lambda found=found, heights=heights: filter_by_height(found, heights),
              truth, (0.5, 0.8))  # fmt: skip
        for name, split in (("prompts, valleys of 1 m", "valleys"), ("prompts, steps of 1 m", "steps")):
            prompts = RasterPrompts(heights, split=split)
            result = timed(
                rows,
                name,
                lambda image=image, prompts=prompts: samgeo.segment(image, prompts_from=prompts, progress=False),
                truth,
                (0.5, 0.8),
            )
            if pictures is not None and seed == seeds[0]:
                samgeo.show(image, result, pictures / f"town-{split}.png", overwrite=True)
    print(f"\nTowns, {len(seeds)} of 640 px, IoU 0.5 and 0.8\n")
    table(rows, (0.5, 0.8))


def write_heights(scene: Scene, seed: int, path: Path) -> Path:
    """Write the heights of the roofs of a town above the ground, with noise, in pixels of 1 m."""
    side = int(scene.labels.shape[0] * scene.geobox.affine.a)
    affine = rasterio.Affine(1, 0, scene.geobox.affine.c, 0, -1, scene.geobox.affine.f)
    roofs = zip(scene.footprints.geometry, scene.footprints["height_m"], strict=True)
    values = rasterize(roofs, out_shape=(side, side), transform=affine, dtype="float32")
    values += np.random.default_rng(seed).normal(0, 0.15, values.shape).astype(np.float32)
    profile = {"driver": "GTiff", "height": side, "width": side, "count": 1, "dtype": "float32", "transform": affine}
    with rasterio.open(path, "w", crs=str(scene.geobox.crs), **profile) as dataset:
        dataset.write(values, 1)
    return path


def timed(
    rows: Judged, name: str, work: Callable[[], gpd.GeoDataFrame], truth: gpd.GeoDataFrame, ious: tuple[float, float]
) -> gpd.GeoDataFrame:
    """Do some work, and add its figures to the rows."""
    began = time.process_time()
    result = work()
    seconds = time.process_time() - began
    figures = [value for iou in ious for one in [match(result, truth, min_iou=iou)] for value in (one.precision, one.recall)]
    rows.setdefault(name, []).append((len(result), *figures, seconds))
    return result


def table(rows: Judged, ious: tuple[float, float]) -> None:
    low, high = ious
    print(f"| way | objects | precision at {low} | recall at {low} | precision at {high} | recall at {high} | seconds |")
    print("|---|---|---|---|---|---|---|")
    for name, figures in rows.items():
        count, *values, seconds = np.mean(figures, axis=0).tolist()
        print(f"| {name} | {count:.0f} | {' | '.join(f'{value:.3f}' for value in values)} | {seconds:.0f} |", flush=True)


if __name__ == "__main__":
    main()
